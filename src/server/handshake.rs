//! Who may open a socket (docs/protocol-native.md, Connecting): decided before an organization's object is woken.

use super::admission::Admission;
use super::answer::Answer;
use super::request_head::RequestHead;
use super::supabase;
use crate::code::{Code, Refusal};
use crate::policy::configuration::Configuration;
use crate::policy::credential::{Credentials, Proven};
use crate::policy::organization::is_organization;
use crate::policy::ticket::Ticket;
use crate::policy::token::TokenError;

/// What to do with a request for a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Open it at this organization's object.
    Open(String, Box<Admission>),
    /// Verify a credential, then go on with [`Unverified::conclude`].
    Verify(Box<Unverified>),
    /// Hold it until its first frame names the organization.
    Hold,
}

/// A socket whose credential is not verified yet: that may take keys which must be fetched first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    credential: String,
    asked: Asked,
    admission: Admission,
}

/// Where someone wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    /// To this organization.
    Organization(String),
    /// To the one that a client of Supabase means at this host.
    Host(String),
}

/// Takes the first step: all that needs no key.
///
/// # Errors
/// The refusal that is answered in place of the upgrade.
pub fn admit(head: &RequestHead, configuration: &Configuration, now: u64) -> Result<Step, Refusal> {
    let is_upgrade = head.upgrade.as_deref().is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
    if !is_upgrade {
        return Err(Refusal::of(Code::UpgradeRequired));
    }
    head.check_origin(configuration)?;
    if supabase::is_client(head) {
        let (dialect, credential) = supabase::credential(head)?;
        let admission = Admission { dialect: dialect.0, protocol: protocol(head), ..Admission::default() };
        return Ok(Step::Verify(Box::new(Unverified { credential, asked: Asked::Host(head.host.clone()), admission })));
    }
    native(head, configuration, now)
}

/// The refusal of a socket in its client's words.
pub fn refused(head: &RequestHead, refusal: &Refusal) -> Answer {
    if supabase::is_client(head) { supabase::refused(refusal) } else { Answer::from(refusal) }
}

fn native(head: &RequestHead, configuration: &Configuration, now: u64) -> Result<Step, Refusal> {
    let named = head.parameter("organizationId");
    if named.is_some_and(|name| !is_organization(name)) {
        return Err(Refusal::at(Code::InvalidRequest, "organizationId", "organizationId is no organization id"));
    }
    let (recover, missed_after) = recovery(head)?;
    let admission = Admission { recover, missed_after, protocol: protocol(head), ..Admission::default() };
    if let Some(ticket) = head.parameter("ws_ticket") {
        return with_ticket(ticket, named, admission, configuration, now);
    }
    if let Some(token) = head.bearer() {
        let organization = named.or(configuration.credentials.default_organization.as_deref());
        let missing = || Refusal::at(Code::InvalidRequest, "organizationId", "organizationId is required");
        let asked = Asked::Organization(organization.ok_or_else(missing)?.to_owned());
        return Ok(Step::Verify(Box::new(Unverified { credential: token.to_owned(), asked, admission })));
    }
    Ok(match named {
        Some(organization) => Step::Open(organization.to_owned(), Box::new(admission)),
        None => Step::Hold,
    })
}

fn protocol(head: &RequestHead) -> Option<String> {
    head.subprotocol().map(str::to_owned)
}

fn with_ticket(
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

impl Unverified {
    /// What is to be verified.
    pub fn credential(&self) -> &str {
        &self.credential
    }

    /// Takes the second step, from what the credential proved: the organization, and what its object is told.
    ///
    /// # Errors
    /// The refusal that is answered in place of the upgrade.
    pub fn conclude(
        self,
        credentials: &Credentials,
        proven: Result<Proven<'_>, TokenError>,
    ) -> Result<(String, Admission), Refusal> {
        let (organization, principal) = match self.asked {
            Asked::Organization(organization) => {
                let principal = credentials.within(&proven.map_err(TokenError::code)?, &organization)?;
                (organization, principal)
            }
            Asked::Host(host) => {
                let tenant = |proven| credentials.tenant(&proven, &host).map_err(TokenError::Refused);
                supabase::admitted(proven.and_then(tenant))?
            }
        };
        Ok((organization, Admission { principal: Some(principal), ..self.admission }))
    }
}

/// `recover=true`, or `epoch` and `offset`: recovery for those who are authenticated before their first frame.
fn recovery(head: &RequestHead) -> Result<(bool, Option<(String, u64)>), Refusal> {
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
