//! Creates tokens, valid and forged. The keys in `tests/data/keys` were generated for these tests and protect nothing.
#![allow(dead_code, missing_docs, reason = "each test file uses another part; the names say what they make")]

use base64ct::{Base64UrlUnpadded, Encoding};
use jwt_compact::alg::{Ed25519, Es256, Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key, Rsa, RsaPrivateKey};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{Algorithm, AlgorithmSignature};
use realtime_worker::code::Code;
use realtime_worker::policy::credential::Credentials;
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::policy::principal::Principal;
use realtime_worker::policy::secret::Secret;
use realtime_worker::policy::token::{TokenError, TokenRules};
use serde_json::{Value, json};

/// The secret of the deployments in these tests.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The current time in these tests, in Unix milliseconds.
pub const NOW: u64 = 1_800_000_000_000;
/// The same in seconds, as in tokens.
pub const NOW_SECONDS: u64 = NOW / 1_000;

pub const RSA: &str = include_str!("../data/keys/rsa_2048.json");
pub const RSA_OTHER: &str = include_str!("../data/keys/rsa_2048_other.json");
pub const RSA_WEAK: &str = include_str!("../data/keys/rsa_1024.json");
pub const RSA_PEM: &str = include_str!("../data/keys/rsa_2048.public.pem");
pub const ED25519: &str = include_str!("../data/keys/ed25519.json");
pub const P256: &str = include_str!("../data/keys/p256.json");

/// Claims that every deployment here accepts for `org_1`.
pub fn good_claims() -> Value {
    json!({ "sub": "u7", "organizationId": "org_1", "role": "admin", "exp": NOW_SECONDS + 3_600 })
}

/// The valid claims with one of them set.
pub fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = good_claims();
    claims[name] = value;
    claims
}

/// The valid claims without one.
pub fn claims_without(name: &str) -> Value {
    let mut claims = good_claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

pub fn decode(text: &str) -> Vec<u8> {
    Base64UrlUnpadded::decode_vec(text).unwrap()
}

/// A token with exactly this header and these claims; its signature is valid for `header` only if the caller chose the
/// algorithm accordingly.
pub fn signed<A: Algorithm>(algorithm: &A, key: &A::SigningKey, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = algorithm.sign(key, message.as_bytes());
    format!("{message}.{}", encode(signature.as_bytes()))
}

/// `{"alg":…}` with further members.
pub fn header(algorithm: &str, more: Value) -> String {
    let mut header = json!({ "alg": algorithm, "typ": "JWT" });
    header.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    header.to_string()
}

/// An HMAC token; the algorithm is that of the header's name.
pub fn hmac(algorithm: &str, secret: impl AsRef<[u8]>, claims: &Value) -> String {
    let (header, claims) = (header(algorithm, json!({})), claims.to_string());
    match algorithm {
        "HS384" => signed(&Hs384, &Hs384Key::new(secret), &header, &claims),
        "HS512" => signed(&Hs512, &Hs512Key::new(secret), &header, &claims),
        _ => signed(&Hs256, &Hs256Key::new(secret), &header, &claims),
    }
}

/// An HS256 token whose parts are written by the caller.
pub fn hs256_of(header: &str, claims: &str) -> String {
    signed(&Hs256, &Hs256Key::new(SECRET), header, claims)
}

pub fn rsa_key(private: &str) -> RsaPrivateKey {
    let jwk: JsonWebKey<'_> = serde_json::from_str(private).unwrap();
    RsaPrivateKey::try_from(&jwk).unwrap()
}

/// An RSA, P-256 or Ed25519 token of `private`, whose header names `algorithm` and has further members.
pub fn asymmetric(algorithm: &str, private: &str, more: Value, claims: &Value) -> String {
    let (header, claims) = (header(algorithm, more), claims.to_string());
    let jwk: JsonWebKey<'_> = serde_json::from_str(private).unwrap();
    match algorithm {
        "EdDSA" | "Ed25519" => signed(&Ed25519, &(&jwk).try_into().unwrap(), &header, &claims),
        "ES256" => signed(&Es256, &(&jwk).try_into().unwrap(), &header, &claims),
        name => signed(&Rsa::with_name(name), &rsa_key(private), &header, &claims),
    }
}

/// The public half of a key of `tests/data/keys`, as in a key set, with further members.
pub fn public(private: &str, more: Value) -> Value {
    let mut key: Value = serde_json::from_str(private).unwrap();
    let members = key.as_object_mut().unwrap();
    ["d", "p", "q"].into_iter().for_each(|name| drop(members.remove(name)));
    members.extend(more.as_object().cloned().unwrap_or_default());
    key
}

/// The text of a key set's URL.
pub fn answer(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// A key set that was fetched at [`NOW`].
pub fn key_set(keys: &[Value]) -> KeySet {
    let mut set = KeySet::default();
    set.answered(NOW, Some(&answer(keys)));
    set
}

/// A deployment with a secret only.
pub fn with_secret() -> Credentials {
    let tokens = TokenRules { secret: Some(Secret::new(SECRET)), ..TokenRules::default() };
    Credentials { tokens, ..Credentials::default() }
}

/// A deployment with a key set only.
pub fn with_keys() -> Credentials {
    let tokens = TokenRules { key_set_url: Some("https://id.example/keys".into()), ..TokenRules::default() };
    Credentials { tokens, ..Credentials::default() }
}

/// A deployment with both.
pub fn with_both() -> Credentials {
    let mut credentials = with_keys();
    credentials.tokens.secret = Some(Secret::new(SECRET));
    credentials
}

/// How the deployment judges a credential for `org_1`; for a refusal, the code.
pub fn ask(credentials: &Credentials, keys: &KeySet, token: &str) -> Result<Principal, TokenError> {
    credentials.principal(NOW, token, "org_1", keys).map_err(plain)
}

/// The same error, reduced to its code.
pub fn plain(error: TokenError) -> TokenError {
    if error == TokenError::NeedsKeys { error } else { TokenError::Refused(error.code()) }
}

/// A refusal with `code`.
pub const fn refused(code: Code) -> Result<(), TokenError> {
    Err(TokenError::Refused(code))
}

/// A refusal as [`Code::InvalidToken`].
pub const INVALID: Result<(), TokenError> = refused(Code::InvalidToken);
