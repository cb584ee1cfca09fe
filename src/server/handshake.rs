//! Admission of sockets, decided before an organization's object is woken.

use super::admission::Admission;
use super::answer::Answer;
use super::dialects;
use super::entrance::{Entrance, Rejection};
use super::request_head::RequestHead;
use super::streaming::StreamedBody;
use crate::code::{Code, Refusal};
use crate::engine::input::DialectId;
use crate::policy::attempts::CredentialDigest;
use crate::policy::configuration::Configuration;
use crate::policy::credential::{Credentials, Proven};
use crate::policy::ticket::Ticket;
use crate::policy::token::TokenError;

/// The decision on a socket request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeStep {
    /// Open it at this organization's object.
    Open(String, Box<Admission>),
    /// Verify a credential, then continue with [`Unverified::conclude`].
    Verify(Box<Unverified>),
    /// Hold it until its first frame, in this dialect, names the organization.
    Hold(DialectId),
}

impl HandshakeStep {
    /// The digest of the credential that the attempt rests on; `None` if it has none, or its first frame is to have one.
    pub fn credential(&self) -> Option<CredentialDigest> {
        match self {
            HandshakeStep::Verify(unverified) => Some(CredentialDigest::of(&unverified.asked, &unverified.credential)),
            HandshakeStep::Open(organization, admission) => {
                admission.ticket.as_ref().map(|(id, _)| CredentialDigest::of(organization, id))
            }
            HandshakeStep::Hold(_) => None,
        }
    }

    /// Whether it needs no credential: the socket is nobody's.
    pub fn is_anonymous(&self) -> bool {
        matches!(self, HandshakeStep::Open(_, admission) if admission.ticket.is_none() && admission.principal.is_some())
    }

    /// Opens a socket for the holder of a ticket; `named` is the organization that the address names.
    ///
    /// # Errors
    /// [`Code::InvalidToken`] or [`Code::TokenExpired`].
    pub fn with_ticket(
        ticket: &str,
        named: Option<&str>,
        admission: Admission,
        configuration: &Configuration,
        now: u64,
    ) -> Result<HandshakeStep, Refusal> {
        let ticket = Ticket::verify(ticket, configuration.access_tokens.iter(), now)?;
        if named.is_some_and(|name| name != ticket.organization) {
            return Err(Refusal::because(Code::InvalidToken, "The ticket is for another organization."));
        }
        let admission =
            Admission { principal: Some(ticket.principal), ticket: Some((ticket.id, ticket.expires)), ..admission };
        Ok(HandshakeStep::Open(ticket.organization, Box::new(admission)))
    }
}

/// A socket whose credential is not verified yet; keys may have to be fetched first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    credential: String,
    asked: String,
    admission: Admission,
}

/// The first step: everything that needs no keys.
///
/// # Errors
/// The refusal, which is reported as [`refused`] decides.
pub fn admit(head: &RequestHead, configuration: &Configuration, now: u64) -> Result<HandshakeStep, Refusal> {
    let is_upgrade = head.upgrade.as_deref().is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
    let entrance = dialects::entrance(head);
    if !is_upgrade && !entrance.is_some_and(Entrance::is_streamed) {
        return Err(Refusal::of(Code::UpgradeRequired));
    }
    head.check_origin(configuration)?;
    entrance.ok_or(Code::NotFound)?.admit(head, configuration, now)
}

/// How a client is told that its socket is refused. Requests that do not ask for a socket receive an HTTP answer.
pub fn refused(head: &RequestHead, refusal: &Refusal) -> Rejection {
    match in_its_words(dialects::entrance(head), Some(head), refusal) {
        Rejection::Close { .. } if refusal.code == Code::UpgradeRequired => Rejection::Answer(Answer::from(refusal)),
        rejection => rejection,
    }
}

/// The same when the organization's object refuses a socket of this dialect.
pub fn refused_by_object(dialect: DialectId, refusal: &Refusal) -> Rejection {
    in_its_words(dialects::entrance_of(dialect), None, refusal)
}

/// Whether a socket of this admission is served as the body of an HTTP answer.
pub fn is_streamed(admission: &Admission) -> bool {
    dialects::entrance_of(DialectId(admission.dialect)).is_some_and(Entrance::is_streamed)
}

/// The HTTP body that serves a socket of this admission; `None` for WebSockets.
pub fn streamed_body(
    organization: &str,
    admission: &Admission,
    configuration: &Configuration,
) -> Option<Box<dyn StreamedBody>> {
    dialects::entrance_of(DialectId(admission.dialect))?.body(organization, admission, configuration)
}

fn in_its_words(entrance: Option<&dyn Entrance>, head: Option<&RequestHead>, refusal: &Refusal) -> Rejection {
    let ours = || Rejection::Answer(Answer::from(refusal));
    entrance.map_or_else(ours, |entrance| entrance.refused(head, refusal))
}

impl Unverified {
    /// A socket of this admission, pending verification of its credential.
    pub fn new(credential: String, asked: String, admission: Admission) -> Unverified {
        Unverified { credential, asked, admission }
    }

    /// The credential to verify.
    pub fn credential(&self) -> &str {
        &self.credential
    }

    /// The second step: the organization and its object's input, from the verified credential.
    ///
    /// # Errors
    /// The refusal, which is reported as [`refused`] decides.
    pub fn conclude(
        self,
        credentials: &Credentials,
        proven: Result<Proven<'_>, TokenError>,
    ) -> Result<(String, Admission), Refusal> {
        let entrance = dialects::entrance_of(DialectId(self.admission.dialect)).ok_or(Code::Internal)?;
        let (organization, principal) = entrance.enter(self.asked, credentials, proven)?;
        Ok((organization, Admission { principal: Some(principal), ..self.admission }))
    }
}
