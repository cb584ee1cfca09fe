//! Admission of native sockets (docs/protocol-native.md, Connecting): a ticket, a header, or the first frame.

use super::answer::Answer;
use super::entrance::{Entrance, Rejection};
use super::handshake::{Step, Unverified};
use super::request_head::RequestHead;
use crate::code::{Code, Refusal};
use crate::dialect::native::ID;
use crate::engine::input::DialectId;
use crate::policy::configuration::Configuration;
use crate::policy::organization::is_organization;
use crate::policy::ticket::Ticket;
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

    fn admit(&self, head: &RequestHead, configuration: &Configuration, now: u64) -> Result<Step, Refusal> {
        let named = named_organization(head)?;
        let (recover, missed_after) = recovery(head)?;
        let batches = head.parameter("batch") == Some("true");
        let admission = Admission { recover, batches, missed_after, ..Admission::of(ID, head) };
        if let Some(ticket) = head.parameter("ws_ticket") {
            return with_ticket(ticket, named, admission, configuration, now);
        }
        if let Some(token) = head.bearer() {
            let organization = head.organization(configuration)?;
            return Ok(Step::Verify(Box::new(Unverified::new(token.to_owned(), organization, admission))));
        }
        Ok(match named {
            Some(organization) => Step::Open(organization.to_owned(), Box::new(admission)),
            None => Step::Hold(ID),
        })
    }

    fn refused(&self, _head: Option<&RequestHead>, refusal: &Refusal) -> Rejection {
        Rejection::Answer(Answer::from(refusal))
    }
}

/// The organization in the address, if there is one.
pub(super) fn named_organization(head: &RequestHead) -> Result<Option<&str>, Refusal> {
    let named = head.parameter("organizationId");
    if named.is_some_and(|name| !is_organization(name)) {
        return Err(Refusal::at(Code::InvalidRequest, "organizationId", "organizationId is no organization id"));
    }
    Ok(named)
}

/// Admits the holder of a ticket.
pub(super) fn with_ticket(
    ticket: &str,
    named: Option<&str>,
    admission: Admission,
    configuration: &Configuration,
    now: u64,
) -> Result<Step, Refusal> {
    let ticket = Ticket::verify(ticket, configuration.access_tokens.iter(), now)?;
    if named.is_some_and(|name| name != ticket.organization) {
        return Err(Refusal::because(Code::InvalidToken, "The ticket is for another organization."));
    }
    let admission =
        Admission { principal: Some(ticket.principal), ticket: Some((ticket.id, ticket.expires)), ..admission };
    Ok(Step::Open(ticket.organization, Box::new(admission)))
}

/// `recover=true`, or `epoch` and `offset`: recovery for clients that are authenticated before their first frame.
pub(super) fn recovery(head: &RequestHead) -> Result<(bool, Option<(String, u64)>), Refusal> {
    let malformed = |field| Refusal::at(Code::InvalidRequest, field, format!("{field} is malformed"));
    match (head.parameter("epoch"), head.parameter("offset"), head.parameter("recover")) {
        (Some(epoch), Some(offset), _) => {
            let offset = offset.parse().map_err(|_| malformed("offset"))?;
            Ok((true, Some((epoch.to_owned(), offset))))
        }
        (Some(_), None, _) => Err(malformed("offset")),
        (None, Some(_), _) => Err(malformed("epoch")),
        (None, None, Some("true")) => Ok((true, None)),
        (None, None, None | Some("false")) => Ok((false, None)),
        (None, None, Some(_)) => Err(malformed("recover")),
    }
}
