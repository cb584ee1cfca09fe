//! Admission of native sockets (docs/protocol-native.md, Connecting): a ticket, a header, or the first frame.

use super::answer::Answer;
use super::entrance::{Entrance, Rejection};
use super::handshake::{HandshakeStep, Unverified};
use super::request_head::RequestHead;
use crate::code::Refusal;
use crate::dialect::native::ID;
use crate::engine::input::DialectId;
use crate::policy::configuration::Configuration;
use crate::server::admission::Admission;

/// The path of native sockets.
pub const WEBSOCKET: &str = "/realtime/v1/websocket";

/// How native sockets are opened.
pub struct NativeEntrance;

impl Entrance for NativeEntrance {
    fn dialects(&self) -> &'static [DialectId] {
        &[ID]
    }

    fn is_path(&self, path: &str) -> bool {
        path == WEBSOCKET
    }

    fn admit(&self, head: &RequestHead, configuration: &Configuration, now: u64) -> Result<HandshakeStep, Refusal> {
        let named = head.named_organization()?;
        let (recover, missed_after) = head.recovery()?;
        let batches = head.parameter("batch") == Some("true");
        let admission = Admission { recover, batches, missed_after, ..Admission::of(ID, head) };
        if let Some(ticket) = head.parameter("ws_ticket") {
            return HandshakeStep::with_ticket(ticket, named, admission, configuration, now);
        }
        if let Some(token) = head.bearer() {
            let organization = head.organization(configuration)?;
            return Ok(HandshakeStep::Verify(Box::new(Unverified::new(token.to_owned(), organization, admission))));
        }
        Ok(match named {
            Some(organization) => HandshakeStep::Open(organization.to_owned(), Box::new(admission)),
            None => HandshakeStep::Hold(ID),
        })
    }

    fn refused(&self, _head: Option<&RequestHead>, refusal: &Refusal) -> Rejection {
        Rejection::Answer(Answer::from(refusal))
    }
}
