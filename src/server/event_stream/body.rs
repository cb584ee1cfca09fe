//! What a socket's frames become in an event stream.

use serde_json::json;

use crate::code::{Code, Retry};
use crate::dialect::event_stream::block::complete;
use crate::policy::secret::Secret;
use crate::policy::stream_key::StreamKey;
use crate::server::streaming::StreamedBody;

/// When a client comes back at the earliest, in milliseconds; up to three times as much is added, so that those who were
/// cut off together do not come back together.
const MIN_RETRY: u32 = 1_000;
/// When one comes back whose stream was ended with a code that says "later".
const RETRY_LATER: u32 = 15_000;
/// When one comes back whose request has to be mended first: no browser's client can be told to stay away.
const RETRY_MENDED: u32 = 300_000;

/// The body of one event stream.
pub struct Body {
    /// With it the client sends.
    key: String,
    /// When the client is to come back, in milliseconds.
    retry: u32,
    /// The epoch of the events, once it is known.
    epoch: Option<String>,
}

impl Body {
    /// The body of the connection that this key names, whose random id also spreads the returns of all.
    pub fn new(key: &StreamKey, secret: &Secret, epoch: Option<String>) -> Option<Body> {
        let chance = key.client_id.get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or_default();
        Some(Body { key: key.sign(secret)?, retry: MIN_RETRY + chance % (3 * MIN_RETRY), epoch })
    }
}

impl StreamedBody for Body {
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
