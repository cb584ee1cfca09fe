//! What a deployment's issuer signs: session tokens, with the shared secret or an Ed25519 key, and its key set.

use std::collections::BTreeMap;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_compact::{KeyPair, Seed};
use hmac::{Hmac, Mac};
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The rig's `JWT_SECRET`.
pub const JWT_SECRET: &str = "the-jwt-secret-of-the-rig-0123456789";

/// A session token signed with [`JWT_SECRET`].
pub fn hs256(claims: &Value) -> String {
    let message = message(&json!({ "alg": "HS256", "typ": "JWT" }), claims);
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(JWT_SECRET.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    signed(&message, &mac.finalize().into_bytes())
}

/// A session token signed with the Ed25519 key of this number, with this `kid`.
pub fn ed25519(number: u8, kid: &str, claims: &Value) -> String {
    let message = message(&json!({ "alg": "EdDSA", "kid": kid }), claims);
    let signature = pair(number).sk.sign(message.as_bytes(), None);
    signed(&message, signature.as_ref())
}

/// A key set with the public halves of these keys: number and `kid`.
pub fn key_set(keys: &[(u8, &str)]) -> String {
    let key = |(number, kid): &(u8, &str)| {
        let x = Base64UrlUnpadded::encode_string(pair(*number).pk.as_ref());
        json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid })
    };
    json!({ "keys": keys.iter().map(key).collect::<Vec<_>>() }).to_string()
}

/// The digest with which an API key is configured.
pub fn api_key_hash(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pair(number: u8) -> KeyPair {
    KeyPair::from_seed(Seed::new([number; 32]))
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

fn signed(message: &str, signature: &[u8]) -> String {
    format!("{message}.{}", Base64UrlUnpadded::encode_string(signature))
}

/// A principal as proven by a header or a ticket.
pub fn principal(user: &str, roles: &[&str], expires: Option<u64>) -> Principal {
    Principal {
        user: Some(user.to_owned()),
        roles: Roles::new(roles.iter().map(|role| (*role).to_owned())),
        method: Method::Session,
        expires,
        claims: BTreeMap::new(),
        all_claims: None,
        grants: Default::default(),
    }
}
