//! A socket's frames encoded as an event stream.

use serde_json::json;

use crate::code::{Code, Retry};
use crate::dialect::event_stream::block::complete;
use crate::policy::secret::Secret;
use crate::policy::stream_key::StreamKey;
use crate::server::streaming::StreamedBody;

/// The minimum reconnect delay, in milliseconds. Up to three times as much is added, so that clients that were
/// disconnected together do not reconnect together.
const MIN_RETRY: u32 = 1_000;
/// The reconnect delay after a temporary close code.
const RETRY_LATER: u32 = 15_000;
/// The reconnect delay after a permanent error: browsers cannot be told to stop reconnecting.
const RETRY_MENDED: u32 = 300_000;

/// The body of one event stream.
pub struct EventStreamBody {
    /// The key with which the client sends frames.
    key: String,
    /// The reconnect delay, in milliseconds.
    retry: u32,
    /// The epoch of the events, once it is known.
    epoch: Option<String>,
}

impl EventStreamBody {
    /// The body of this key's connection; its random id also spreads reconnects.
    pub fn new(key: &StreamKey, secret: &Secret, epoch: Option<String>) -> Option<EventStreamBody> {
        let chance = key.client_id.get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or_default();
        Some(EventStreamBody { key: key.sign(secret)?, retry: MIN_RETRY + chance % (3 * MIN_RETRY), epoch })
    }
}

impl StreamedBody for EventStreamBody {
    fn media_type(&self) -> &'static str {
        "text/event-stream"
    }

    fn opening(&self) -> String {
        let data = json!({ "key": self.key });
        format!("retry: {}\nevent: stream\ndata: {data}\n\n", self.retry)
    }

    fn frame(&mut self, text: &str) -> String {
        complete(text, &mut self.epoch).into_owned()
    }

    fn silence(&self) -> &'static str {
        ":\n\n"
    }

    fn end(&self, code: u16, reason: &str) -> String {
        let known = Code::ALL.iter().find(|known| known.as_str() == reason);
        let retry = match known.map(|code| code.retry()) {
            Some(Retry::No) => RETRY_MENDED,
            Some(Retry::Later) => RETRY_LATER + self.retry,
            Some(Retry::FreshToken) | None => self.retry,
        };
        let data = json!({ "code": code, "reason": reason });
        format!("retry: {retry}\nevent: end\ndata: {data}\n\n")
    }
}
