//! Admission of Supabase's clients: the address and key that admit them, and the format of refusals
//! (docs/protocol-supabase.md, Connecting).

pub mod rest;

use super::admission::Admission;
use super::answer::Answer;
use super::entrance::{Entrance, Rejection};
use super::handshake::{HandshakeStep, Unverified};
use super::native::WEBSOCKET;
use super::request_head::RequestHead;
use crate::code::{Code, Refusal};
use crate::dialect::phoenix::{V1, V2, reason};
use crate::engine::input::DialectId;
use crate::policy::configuration::Configuration;
use crate::policy::credential::{Credentials, Proven};
use crate::policy::organization::is_organization;
use crate::policy::principal::{Method, Principal};
use crate::policy::token::TokenError;
use crate::value::{json, percent};

/// An admitted client: the organization and its principal there.
pub type AdmittedClient = (String, Principal);

/// How sockets of Supabase's clients are opened: on the path of native ones, with a key.
pub struct SupabaseEntrance;

impl Entrance for SupabaseEntrance {
    fn dialects(&self) -> &'static [DialectId] {
        &[V1, V2]
    }

    fn is_path(&self, path: &str) -> bool {
        path == WEBSOCKET
    }

    fn recognizes(&self, head: &RequestHead) -> bool {
        self.is_path(&head.path) && ["vsn", "apikey"].into_iter().any(|name| head.parameter(name).is_some())
    }

    fn admit(&self, head: &RequestHead, _configuration: &Configuration, _now: u64) -> Result<HandshakeStep, Refusal> {
        let unspoken = || Refusal::because(Code::InvalidRequest, "The vsn must match ~> 1.0.0 or ~> 2.0.0");
        let dialect = dialect_of_version(head.parameter("vsn")).ok_or_else(unspoken)?;
        let key = key(head.x_api_key.as_deref(), head.parameter("apikey")).ok_or(Code::Unauthorized)?;
        let admission = Admission::of(dialect, head);
        Ok(HandshakeStep::Verify(Box::new(Unverified::new(key, head.host.clone(), admission))))
    }

    /// `asked` is the host, which selects among several organizations.
    fn enter(
        &self,
        asked: String,
        credentials: &Credentials,
        proven: Result<Proven<'_>, TokenError>,
    ) -> Result<(String, Principal), Refusal> {
        let tenant = |proven| credentials.tenant(&proven, &asked).map_err(TokenError::Refused);
        admitted(proven.and_then(tenant))
    }

    fn refused(&self, _head: Option<&RequestHead>, refusal: &Refusal) -> Rejection {
        Rejection::Answer(refused(refusal))
    }
}

/// The publisher of a REST request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestPublisher {
    /// The holder of the access token, to this organization.
    Service(String),
    /// The holder of this key, which is not verified yet.
    Client(String),
}

/// Identifies the publisher.
///
/// # Errors
/// [`Code::OriginNotAllowed`], [`Code::Unauthorized`], or [`Code::WrongOrganization`] if the service names none.
pub fn publisher(head: &RequestHead, configuration: &Configuration) -> Result<RestPublisher, Code> {
    head.check_origin(configuration)?;
    let bearer = key(None, head.bearer());
    let key = bearer.or_else(|| key(head.api_key.as_deref(), None)).ok_or(Code::Unauthorized)?;
    if !configuration.is_access_token(&key) {
        return Ok(RestPublisher::Client(key));
    }
    let credentials = &configuration.credentials;
    let (asked, is_bound) = credentials.asked_for(&head.host);
    let default = if is_bound { Some(asked) } else { credentials.default_organization.as_deref() };
    let organization = head.parameter("organizationId").or(default).filter(|name| is_organization(name));
    organization.map(|name| RestPublisher::Service(name.to_owned())).ok_or(Code::WrongOrganization)
}

/// The dialect for a serializer version; `None` if it is not supported. The default is the first version.
pub fn dialect_of_version(version: Option<&str>) -> Option<DialectId> {
    let Some(version) = version else { return Some(V1) };
    let (serializer, patch) = version.rsplit_once('.')?;
    let is_number = patch.parse::<u32>().is_ok_and(|number| number.to_string() == patch);
    match serializer {
        "1.0" if is_number => Some(V1),
        "2.0" if is_number => Some(V2),
        _ => None,
    }
}

/// The key of a client: from the header, still encoded, otherwise from the address. White space comes from copying and
/// is removed.
pub fn key(header: Option<&str>, parameter: Option<&str>) -> Option<String> {
    let header = header.map(|text| percent::decode(text).unwrap_or_else(|| text.to_owned()));
    let mut key = header.or_else(|| parameter.map(str::to_owned))?;
    key.retain(|c| !c.is_whitespace());
    (!key.is_empty()).then_some(key)
}

/// The client that a key admits.
///
/// # Errors
/// The refusal of an invalid key, or of a token without a role.
pub fn admitted(proven: Result<AdmittedClient, TokenError>) -> Result<AdmittedClient, Refusal> {
    let admitted = proven?;
    let (_, principal) = &admitted;
    let has_role = principal.method != Method::Session || principal.roles.first().is_some();
    // This protocol requires a role, just as it requires an expiry.
    if has_role { Ok(admitted) } else { Err(Refusal::from(TokenError::Endless)) }
}

/// The answer when a socket is refused: `{"error", "code"}`, with our code.
pub fn refused(refusal: &Refusal) -> Answer {
    let (status, message): (u16, &str) = match refusal.code {
        Code::Unauthorized => (401, "API key is missing"),
        Code::TokenExpired => (401, "Token has expired"),
        Code::WrongOrganization => (404, "Tenant not found"),
        Code::ConnectionLimit => (429, "Too many connected users"),
        Code::InvalidToken => (401, reason::token(refusal).map_or("", |(_, sentence)| sentence)),
        Code::Internal | Code::Overloaded | Code::KeysUnavailable => (500, "Error connecting to Realtime"),
        Code::InvalidRequest => (403, &refusal.message),
        code => (code.status(), &refusal.message),
    };
    let mut body = String::from("{\"error\":");
    json::write_string(&mut body, message);
    body.push_str(",\"code\":\"");
    body.push_str(refusal.code.as_str());
    body.push_str("\"}");
    Answer { status, body, retry_after: Answer::from(refusal).retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_serializers_are_spoken() {
        assert_eq!(dialect_of_version(None), Some(DialectId(1)));
        for (version, number) in [("1.0.0", 1), ("1.0.7", 1), ("2.0.0", 2), ("2.0.10", 2)] {
            assert_eq!(dialect_of_version(Some(version)), Some(DialectId(number)), "{version}");
        }
        let others = ["", "1", "2", "1.0", "2.0", "1.1.0", "2.1.0", "3.0.0", "0.0.0", "v2.0.0", "2.0.0.0", "2.0.x"];
        for version in others.into_iter().chain(["2.0.", "2.0.00", "02.0.0", "2.0.0 ", "2.0.-1", "2.0.+1", "2.0.0-a"]) {
            assert_eq!(dialect_of_version(Some(version)), None, "{version}");
        }
    }

    #[test]
    fn the_headers_key_counts_before_the_address() {
        assert_eq!(key(Some("a%2Eb"), Some("c")).as_deref(), Some("a.b"));
        assert_eq!(key(None, Some(" a\n.b ")).as_deref(), Some("a.b"));
        assert_eq!(key(None, Some("a%2Eb")).as_deref(), Some("a%2Eb"), "decoded by whoever read the address");
        assert_eq!(key(Some("%ff"), None).as_deref(), Some("%ff"));
        for nothing in [key(None, None), key(None, Some(" ")), key(Some(""), Some("c"))] {
            assert_eq!(nothing, None);
        }
    }
}
