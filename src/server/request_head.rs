//! The head of a request as plain values.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::code::{Code, Refusal};
use crate::policy::configuration::Configuration;
use crate::policy::organization::is_organization;
use crate::value::percent;

/// Replaces a parameter that is not valid text, so that it does not count as absent.
const NO_TEXT: &str = "\u{fffd}";

/// The longest request id: Cloudflare's have 20 characters.
const MAX_REQUEST_ID: usize = 64;

/// The head of a request: everything that admission depends on.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The host's name, without its port.
    pub host: String,
    /// Scheme, host and port under which sockets are opened here, such as `wss://api.example.com`.
    pub websocket_origin: String,
    /// The method.
    pub method: String,
    /// The path, still encoded, as [`super::route::normal`] gives it.
    pub path: String,
    /// The parameters of the query.
    pub query: Query,
    /// `Upgrade`
    pub upgrade: Option<String>,
    /// `Origin`
    pub origin: Option<String>,
    /// `Authorization`
    pub authorization: Option<String>,
    /// `apikey`
    pub api_key: Option<String>,
    /// `x-api-key`
    pub x_api_key: Option<String>,
    /// The media type of `Content-Type`, in lower case and without parameters.
    pub media_type: Option<String>,
    /// `Sec-WebSocket-Protocol`
    pub protocols: Option<String>,
    /// `Last-Event-ID`
    pub last_event_id: Option<String>,
    /// The [`network`] of `CF-Connecting-IP`, which Cloudflare sets and clients cannot; absent if the Worker runs
    /// elsewhere.
    pub address: Option<String>,
    /// The request's id in Cloudflare's logs, from `CF-Ray`; absent if the Worker runs elsewhere.
    pub request_id: Option<String>,
}

impl RequestHead {
    /// The token of `Authorization: Bearer …`.
    pub fn bearer(&self) -> Option<&str> {
        bearer(self.authorization.as_deref()?)
    }

    /// The credential of a socket: the bearer, otherwise the parameter `token`. Any other `Authorization` becomes an
    /// empty credential, which is never valid: a client that sends one does not mean to be anonymous.
    pub fn socket_credential(&self) -> Option<&str> {
        let bearer = self.bearer().filter(|token| !token.is_empty());
        bearer.or_else(|| self.parameter("token")).or(self.authorization.as_ref().map(|_| ""))
    }

    /// A parameter that is present and not empty.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name)
    }

    /// The negotiated subprotocol: the first one offered. No dialect defines one, but a browser that offers some and
    /// receives none closes the socket.
    pub fn subprotocol(&self) -> Option<&str> {
        let first = self.protocols.as_deref()?.split(',').next()?.trim();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        (!first.is_empty() && first.bytes().all(is_token)).then_some(first)
    }

    /// Admits requests without an origin, and those of allowed origins.
    ///
    /// # Errors
    /// [`Code::OriginNotAllowed`]
    pub fn check_origin(&self, configuration: &Configuration) -> Result<(), Code> {
        if configuration.allows_origin(self.origin.as_deref()) { Ok(()) } else { Err(Code::OriginNotAllowed) }
    }

    /// The organization that the address names, if it names one.
    ///
    /// # Errors
    /// When that is no organization id.
    pub fn named_organization(&self) -> Result<Option<&str>, Refusal> {
        let named = self.parameter("organizationId");
        if named.is_some_and(|name| !is_organization(name)) {
            return Err(Refusal::at(Code::InvalidRequest, "organizationId", "organizationId is no organization id"));
        }
        Ok(named)
    }

    /// `recover=true`, or `epoch` and `offset`: recovery for clients that are authenticated before their first frame.
    ///
    /// # Errors
    /// When one of the parameters is malformed or alone.
    pub fn recovery(&self) -> Result<(bool, Option<(String, u64)>), Refusal> {
        let malformed = |field| Refusal::at(Code::InvalidRequest, field, format!("{field} is malformed"));
        match (self.parameter("epoch"), self.parameter("offset"), self.parameter("recover")) {
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

    /// The organization that a request names, or the default.
    ///
    /// # Errors
    /// When it names none, and there is no default.
    pub fn organization(&self, configuration: &Configuration) -> Result<String, Refusal> {
        let default = configuration.credentials.default_organization.as_deref();
        let organization = self.parameter("organizationId").or(default).filter(|name| is_organization(name));
        let missing = || Refusal::at(Code::InvalidRequest, "organizationId", "organizationId is required");
        organization.map(str::to_owned).ok_or_else(missing)
    }
}

/// The network that an address counts towards: an IPv6 host has a whole /64 (RFC 6177), so all its addresses count as
/// one. `None` for anything else: where Cloudflare does not set the header, a client may send any text in it.
pub fn network(address: &str) -> Option<String> {
    Some(match address.trim().parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    })
}

/// The request id of a `CF-Ray` header, validated, because a client may set it if Cloudflare does not.
pub fn request_id(ray: String) -> Option<String> {
    let is_id =
        (1..=MAX_REQUEST_ID).contains(&ray.len()) && ray.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_id.then_some(ray)
}

/// The token of an `Authorization` header of the scheme `Bearer`.
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Admits the holder of the access token.
///
/// # Errors
/// [`Code::Unauthorized`]
pub fn authorize(authorization: Option<&str>, configuration: &Configuration) -> Result<(), Code> {
    let token = authorization.and_then(bearer).unwrap_or_default();
    if configuration.is_access_token(token) { Ok(()) } else { Err(Code::Unauthorized) }
}

/// The parameters of a query, parsed as `URLSearchParams` does.
#[derive(Clone, Debug, Default)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads `?a=b&c=d`; the first value of a repeated name counts.
    pub fn read(query: &str) -> Query {
        let mut parameters = BTreeMap::new();
        let query = query.strip_prefix('?').unwrap_or(query);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters.entry(decode(name)).or_insert_with(|| decode(value));
        }
        Query(parameters)
    }

    /// A parameter that is present and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// `application/x-www-form-urlencoded`: a plus is a space.
fn decode(text: &str) -> String {
    percent::decode(&text.replace('+', " ")).unwrap_or_else(|| NO_TEXT.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_browsers_write_it() {
        let query = Query::read("?a=1&b=x%20y+z&a=2&persist%5Bttl%5D=9&c&d=&=e&f=%ff&&g=a=b&h=%2B");
        let cases = [
            ("a", Some("1")),
            ("b", Some("x y z")),
            ("persist[ttl]", Some("9")),
            ("c", None),
            ("d", None),
            ("f", Some(NO_TEXT)),
            ("g", Some("a=b")),
            ("h", Some("+")),
            ("i", None),
        ];
        for (name, value) in cases {
            assert_eq!(query.get(name), value, "{name}");
        }
        assert_eq!(Query::read("a=&a=2").get("a"), None, "the first value counts, also where it is empty");
        assert_eq!(Query::read("").get(""), None);
    }

    #[test]
    fn the_first_subprotocol_is_agreed_to() {
        let cases = [
            (None, None),
            (Some(""), None),
            (Some("chat"), Some("chat")),
            (Some(" realtime.v1 , chat"), Some("realtime.v1")),
            (Some(",chat"), None),
            (Some("a b"), None),
            (Some("a\r\nset-cookie: x"), None),
            (Some("é"), None),
        ];
        for (offered, agreed) in cases {
            let head = RequestHead { protocols: offered.map(str::to_owned), ..RequestHead::default() };
            assert_eq!(head.subprotocol(), agreed, "{offered:?}");
        }
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one() {
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network(" 2001:DB8:1:2::9"));
        assert_ne!(network("2001:db8:1:2::9"), network("2001:db8:1:3::9"));
        for same in ["192.0.2.7", "::ffff:192.0.2.7", " 192.0.2.7"] {
            assert_eq!(network(same).as_deref(), Some("192.0.2.7"), "{same}");
        }
        for other in ["", "none", "192.0.2.7, 192.0.2.8", &"1".repeat(10_000)] {
            assert_eq!(network(other), None);
        }
    }

    #[test]
    fn a_bearer_token_is_read_without_the_space_around_it() {
        for header in ["Bearer t", "bearer  t ", "BEARER t", "\tBearer t"] {
            assert_eq!(bearer(header), Some("t"), "{header:?}");
        }
        for header in ["", "Bearer", "t", "Basic t", "Bearert"] {
            assert_eq!(bearer(header), None, "{header:?}");
        }
    }
}
