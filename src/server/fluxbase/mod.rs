//! Admission of Fluxbase's clients: which address and token admit whom, and how refusals are worded
//! (docs/protocol-fluxbase.md, Connecting).

pub mod access;
mod gathering;
pub mod rest;
pub mod tables;

use serde_json::json;

use super::admission::Admission;
use super::answer::Answer;
use super::entrance::{Entrance, Rejection};
use super::handshake::{HandshakeStep, Unverified};
use super::request_head::RequestHead;
use crate::code::{Code, Refusal};
use crate::dialect::fluxbase::configuration::Settings;
use crate::dialect::fluxbase::{ANONYMOUS_ROLE, ID};
use crate::engine::input::DialectId;
use crate::policy::configuration::Configuration;
use crate::policy::principal::Principal;

/// The path of their sockets.
pub const WEBSOCKET: &str = "/realtime";
/// The message for an invalid credential.
const BAD_TOKEN: &str = "Invalid or expired token";

/// How sockets of Fluxbase's clients are opened.
pub struct FluxbaseEntrance;

impl Entrance for FluxbaseEntrance {
    fn dialects(&self) -> &'static [DialectId] {
        &[ID]
    }

    fn is_path(&self, path: &str) -> bool {
        path == WEBSOCKET
    }

    fn admit(&self, head: &RequestHead, configuration: &Configuration, _now: u64) -> Result<HandshakeStep, Refusal> {
        let settings: &Settings = configuration.sections.get().ok_or(Code::NotFound)?;
        let organization = settings.organization.clone();
        let (recover, missed_after) = head.recovery()?;
        let admission = Admission { recover, missed_after, ..Admission::of(ID, head) };
        let token = head.socket_credential();
        Ok(match token {
            Some(token) => HandshakeStep::Verify(Box::new(Unverified::new(token.to_owned(), organization, admission))),
            None => {
                let principal = Some(Principal::anonymous(ANONYMOUS_ROLE));
                HandshakeStep::Open(organization, Box::new(Admission { principal, ..admission }))
            }
        })
    }

    fn refused(&self, _head: Option<&RequestHead>, refusal: &Refusal) -> Rejection {
        Rejection::Answer(answer_to(refusal))
    }
}

/// The answer to a refusal: `{"error", "code"}`, with our code.
pub fn answer_to(refusal: &Refusal) -> Answer {
    let (status, error) = match refusal.code {
        Code::InvalidToken | Code::TokenExpired | Code::WrongOrganization => (401, BAD_TOKEN),
        code => (code.status(), &*refusal.message),
    };
    let Answer { retry_after, .. } = Answer::from(refusal);
    let body = json!({ "error": error, "code": refusal.code.as_str() });
    Answer { retry_after, ..Answer::json(status, &body) }
}
