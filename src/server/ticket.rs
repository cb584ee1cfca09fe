//! `POST /realtime/v1/ws-ticket` (docs/protocol-native.md, Connecting).

use serde_json::json;

use super::answer::Answer;
use super::api::Cors;
use super::request_head::RequestHead;
use crate::code::{Code, Refusal};
use crate::policy::configuration::Configuration;
use crate::policy::credential::Proven;
use crate::policy::organization::is_organization;
use crate::policy::ticket::{LIFETIME_SECONDS, Ticket};
use crate::policy::token::TokenError;
use crate::value::form::Form;

/// CORS permissions of the ticket endpoint.
pub const CORS: Cors = Cors { methods: "POST", headers: "authorization, content-type" };

/// The token of a caller; checked before the body is read.
///
/// # Errors
/// [`Code::OriginNotAllowed`] or [`Code::Unauthorized`].
pub fn token<'a>(head: &'a RequestHead, configuration: &Configuration) -> Result<&'a str, Code> {
    head.check_origin(configuration)?;
    head.bearer().ok_or(Code::Unauthorized)
}

/// The organization of the requested ticket.
///
/// # Errors
/// [`Code::InvalidRequest`] with the path of the offending key.
pub fn organization(body: &str, configuration: &Configuration) -> Result<String, Refusal> {
    let mut form = Form::read(body, Code::InvalidRequest)?;
    let named = form.take("organizationId").map(|organization| organization.text()).transpose()?;
    let organization = named.or_else(|| configuration.credentials.default_organization.clone());
    let missing = form.refuse("organizationId", "is required and names an organization");
    let organization = organization.filter(|organization| is_organization(organization)).ok_or(missing)?;
    form.finish()?;
    Ok(organization)
}

/// The answer with a ticket of this random id, for the verified token; `now` in Unix milliseconds.
///
/// # Errors
/// The reason for refusing the ticket.
pub fn issue(
    configuration: &Configuration,
    organization: String,
    proven: Result<Proven<'_>, TokenError>,
    id: String,
    now: u64,
) -> Result<Answer, Refusal> {
    let proven = proven.map_err(TokenError::code)?;
    let principal = configuration.credentials.within(&proven, &organization)?;
    let secret = configuration.access_tokens.first().ok_or(Code::Configuration)?;
    let ticket = Ticket { id, organization, expires: now + LIFETIME_SECONDS * 1_000, principal };
    let too_large =
        || Refusal::because(Code::PayloadTooLarge, "The token's roles and claims are too large for a ticket.");
    let ticket = ticket.sign(secret).ok_or_else(too_large)?;
    Ok(Answer::json(200, &json!({ "wsTicket": ticket, "expiresIn": LIFETIME_SECONDS })))
}
