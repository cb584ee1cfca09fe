//! Admission of event streams (docs/protocol-event-stream.md): a ticket or a header; the address carries what a native
//! socket's first frame would.

pub mod body;
pub mod frames;

use serde_json::{Value, json};

use super::admission::Admission;
use super::answer::Answer;
use super::entrance::{Entrance, Rejection};
use super::handshake::{HandshakeStep, Unverified};
use super::request_head::RequestHead;
use super::streaming::StreamedBody;
use crate::code::{Code, Refusal};
use crate::dialect::event_stream::ID;
use crate::dialect::event_stream::block::position;
use crate::engine::input::DialectId;
use crate::policy::configuration::Configuration;
use crate::policy::stream_key::StreamKey;
use body::EventStreamBody;

/// The path of event streams.
pub const EVENTS: &str = "/realtime/v1/events";

/// How event streams are opened.
pub struct EventStreamEntrance;

impl Entrance for EventStreamEntrance {
    fn dialects(&self) -> &'static [DialectId] {
        &[ID]
    }

    fn is_path(&self, path: &str) -> bool {
        path == EVENTS
    }

    fn admit(&self, head: &RequestHead, configuration: &Configuration, now: u64) -> Result<HandshakeStep, Refusal> {
        let named = head.named_organization()?;
        let missed_after = missed_after(head)?;
        let first = Some(first_frame(head, missed_after.as_ref())?);
        let admission = Admission { first, missed_after, ..Admission::of(ID, head) };
        admission.first()?;
        if let Some(ticket) = head.parameter("ws_ticket") {
            return HandshakeStep::with_ticket(ticket, named, admission, configuration, now);
        }
        let token = head.bearer().ok_or(Code::Unauthorized)?;
        let organization = head.organization(configuration)?;
        Ok(HandshakeStep::Verify(Box::new(Unverified::new(token.to_owned(), organization, admission))))
    }

    fn refused(&self, _head: Option<&RequestHead>, refusal: &Refusal) -> Rejection {
        Rejection::Answer(Answer::from(refusal))
    }

    fn is_streamed(&self) -> bool {
        true
    }

    fn body(
        &self,
        organization: &str,
        admission: &Admission,
        configuration: &Configuration,
    ) -> Option<Box<dyn StreamedBody>> {
        let client_id = admission.client_id.clone()?;
        let epoch = admission.missed_after.as_ref().map(|(epoch, _)| epoch.clone());
        let key = StreamKey { organization: organization.to_owned(), client_id };
        Some(Box::new(EventStreamBody::new(&key, configuration.access_tokens.first()?, epoch)?))
    }
}

/// The frame that the address implies. It has no token, because the principal is already proven.
fn first_frame(head: &RequestHead, missed_after: Option<&(String, u64)>) -> Result<String, Refusal> {
    let mut frame = json!({ "type": "auth", "token": "", "recover": true });
    if let Some((epoch, offset)) = missed_after {
        set(&mut frame, "recover", json!({ "epoch": epoch, "offset": offset }));
    }
    if let Some(subscriptions) = head.parameter("subscriptions") {
        let list = serde_json::from_str(subscriptions).ok().filter(Value::is_array);
        let no_list = || Refusal::at(Code::InvalidRequest, "subscriptions", "subscriptions is no JSON list");
        set(&mut frame, "subscriptions", list.ok_or_else(no_list)?);
    }
    Ok(frame.to_string())
}

fn set(frame: &mut Value, key: &str, value: Value) {
    if let Some(frame) = frame.as_object_mut() {
        frame.insert(key.to_owned(), value);
    }
}

/// The position to recover from. The header is newer than the address, which browsers repeat on reconnect.
fn missed_after(head: &RequestHead) -> Result<Option<(String, u64)>, Refusal> {
    let id = head.last_event_id.as_deref().filter(|id| !id.is_empty()).or(head.parameter("lastEventId"));
    let malformed = || Refusal::at(Code::InvalidRequest, "Last-Event-ID", "Last-Event-ID is no id of this server");
    id.map(|id| position(id).ok_or_else(malformed)).transpose()
}
