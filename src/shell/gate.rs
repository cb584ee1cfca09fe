//! The Worker's door for sockets: what is checked before an organization's object is woken (native.md, section 4).

use serde::{Deserialize, Serialize};
use web_sys::RequestInit;
use worker::{Env, Headers, Request, Response, Result};

use super::http::{self, Address};
use super::keys;
use super::runtime::now;
use crate::code::{Code, Refusal};
use crate::engine::command::{Position, Recover};
use crate::policy::configuration::Configuration;
use crate::policy::organization::is_organization;
use crate::policy::principal::Principal;
use crate::policy::ticket::Ticket;
use crate::policy::token::TokenError;

/// The header in which the Worker tells the object what it has verified. Only the Worker can reach the object.
pub const PASS: &str = "x-realtime-pass";

/// What the Worker has verified of a connection.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Pass {
    /// Who it is, where a ticket or a header has proven it.
    pub principal: Option<Principal>,
    /// Id and end (Unix milliseconds) of the ticket, whose single use the object sees to.
    pub ticket: Option<(String, u64)>,
    /// Whether offsets are wanted.
    pub recover: bool,
    /// The position, epoch and offset, after which events were missed.
    pub missed_after: Option<(String, u64)>,
    /// How its frames are written.
    #[serde(default)]
    pub wire: u8,
}

impl Pass {
    /// What the engine is told of it.
    pub fn recovery(&self) -> Recover {
        match &self.missed_after {
            None if self.recover => Recover::On,
            None => Recover::Off,
            Some((epoch, offset)) => Recover::From(Position { epoch: epoch.clone(), offset: *offset }),
        }
    }
}

/// Where a socket goes.
pub enum Destination {
    /// Straight to this organization's object.
    Object(String, Box<Pass>),
    /// Held by the Worker until its first frame names the organization.
    Held,
}

/// Decides where a socket goes, from its address and headers.
///
/// # Errors
/// The refusal that is answered in place of the upgrade.
pub async fn admit(
    request: &Request,
    address: &Address,
    configuration: &Configuration,
) -> std::result::Result<Destination, Refusal> {
    check(request, configuration)?;
    let named = address.parameter("organizationId");
    if named.as_deref().is_some_and(|name| !is_organization(name)) {
        return Err(Refusal::at(Code::InvalidRequest, "organizationId", "organizationId is no organization id"));
    }
    let (recover, missed_after) = recovery(address)?;
    let mut pass = Pass { recover, missed_after, ..Pass::default() };
    if let Some(ticket) = address.parameter("ws_ticket") {
        let ticket = Ticket::verify(&ticket, configuration.access_tokens.iter(), now())?;
        if named.is_some_and(|name| name != ticket.organization) {
            return Err(Refusal::because(Code::InvalidToken, "The ticket is for another organization."));
        }
        pass.principal = Some(ticket.principal);
        pass.ticket = Some((ticket.id, ticket.expires));
        return Ok(Destination::Object(ticket.organization, Box::new(pass)));
    }
    let organization = named.or_else(|| configuration.credentials.default_organization.clone());
    if let Some(token) = http::bearer(request) {
        let missing = || Refusal::at(Code::InvalidRequest, "organizationId", "organizationId is required");
        let organization = organization.ok_or_else(missing)?;
        pass.principal = Some(principal(configuration, &token, &organization).await?);
        return Ok(Destination::Object(organization, Box::new(pass)));
    }
    match address.parameter("organizationId") {
        Some(organization) => Ok(Destination::Object(organization, Box::new(pass))),
        None => Ok(Destination::Held),
    }
}

/// Whether the request is for a socket, of a page that may have one.
///
/// # Errors
/// [`Code::UpgradeRequired`] or [`Code::OriginNotAllowed`].
pub fn check(request: &Request, configuration: &Configuration) -> std::result::Result<(), Code> {
    if !http::header(request, "upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
        return Err(Code::UpgradeRequired);
    }
    if !configuration.allows_origin(http::header(request, "origin").as_deref()) {
        return Err(Code::OriginNotAllowed);
    }
    Ok(())
}

/// The principal that a token proves within an organization.
///
/// # Errors
/// The code to refuse it with.
pub async fn principal(
    configuration: &Configuration,
    token: &str,
    organization: &str,
) -> std::result::Result<Principal, Code> {
    let proven = keys::verify(&configuration.credentials, token).await.map_err(TokenError::code)?;
    configuration.credentials.within(&proven, organization)
}

/// Opens a socket at an organization's object.
pub async fn open(env: &Env, organization: &str, pass: &Pass) -> Result<Response> {
    let headers = Headers::new();
    headers.set("upgrade", "websocket")?;
    headers.set(PASS, &ascii(&serde_json::to_string(pass)?))?;
    let init = RequestInit::new();
    init.set_headers(headers.0.as_ref());
    http::ask(env, organization, "/open", &init).await.map(Response::from)
}

/// `recover=true`, or `epoch` and `offset`: recovery for those who are authenticated before their first frame.
fn recovery(address: &Address) -> std::result::Result<(bool, Option<(String, u64)>), Refusal> {
    let malformed = |field| Refusal::at(Code::InvalidRequest, field, format!("{field} is malformed"));
    match (address.parameter("epoch"), address.parameter("offset"), address.parameter("recover").as_deref()) {
        (Some(epoch), Some(offset), _) => {
            let offset = offset.parse().map_err(|_| malformed("offset"))?;
            Ok((true, Some((epoch, offset))))
        }
        (Some(_), None, _) => Err(malformed("offset")),
        (None, Some(_), _) => Err(malformed("epoch")),
        (None, None, Some("true")) => Ok((true, None)),
        (None, None, None | Some("false")) => Ok((false, None)),
        (None, None, Some(_)) => Err(malformed("recover")),
    }
}

/// JSON in ASCII only: a header's value is Latin-1, and a user's name may be anything.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}
