//! The clients' identities, and how they authenticate.

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, Mac};
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use serde_json::json;
use sha2::Sha256;

use crate::object::ORGANIZATION;
use crate::world::START;

/// How long tokens are valid: no client has to reconnect for a new one.
const SESSION: u64 = 30 * 86_400_000;
/// The secret that signs them.
pub(crate) const JWT_SECRET: &str = "the-jwt-secret-of-the-simulation-0123456789";

pub(crate) fn room(place: usize) -> String {
    format!("room:{place}")
}

pub(crate) fn user(person: u32) -> String {
    format!("user-{person}")
}

pub(crate) fn principal(person: u32) -> Principal {
    Principal {
        user: Some(user(person)),
        roles: Roles::new(["member".to_owned()]),
        method: Method::Session,
        expires: Some(START + SESSION),
        claims: Default::default(),
        all_claims: None,
        grants: Default::default(),
    }
}

pub(crate) fn token(person: u32) -> String {
    let claims = json!({ "sub": user(person), "roles": ["member"], "organizationId": ORGANIZATION, "exp": (START + SESSION) / 1_000 });
    let part = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
    let message = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(&claims.to_string()));
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(JWT_SECRET.as_bytes()).expect("any length will do");
    mac.update(message.as_bytes());
    format!("{message}.{}", Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes()))
}
