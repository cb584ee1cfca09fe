//! The public keys of `JWKS_URL` and when to fetch them (RFC 7517; docs/protocol-native.md, Connecting).

use std::borrow::Cow;

use base64ct::{Base64UrlUnpadded, Encoding};
use jwt_compact::Algorithm;
use jwt_compact::alg::{Ed25519, Es256, Rsa, RsaPublicKey, StrongKey};
use jwt_compact::jwk::JsonWebKey;
use serde_json::Value;

use super::shared_keys::PAUSE;
use super::signature::{Token, signed_with};

/// How long fetched keys are fresh, in milliseconds.
const FRESH: u64 = 10 * 60_000;
/// How long old keys are used while the URL does not answer, in milliseconds.
const STALE: u64 = 60 * 60_000;
/// Maximum usable keys read from one set; the rest are ignored.
const MAX_KEYS: usize = 1_000;
/// Maximum keys tried for one token: without a `kid` each key of its type costs a verification.
const MAX_CANDIDATES: usize = 16;

type EdKey = <Ed25519 as Algorithm>::VerifyingKey;
type EcKey = <Es256 as Algorithm>::VerifyingKey;

/// One public key. The algorithms it may verify come from the key, never from a token (RFC 8725, 3.1).
struct PublicKey {
    id: Option<String>,
    algorithm: Option<String>,
    material: Material,
}

enum Material {
    Rsa(Box<StrongKey<RsaPublicKey>>),
    P256(EcKey),
    Ed25519(EdKey),
}

/// The keys of one URL, with the times that decide when they are fetched again.
#[derive(Default)]
pub struct KeySet {
    keys: Vec<PublicKey>,
    fetched: Option<u64>,
    attempted: Option<u64>,
}

/// The key set's answer about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureVerdict {
    /// One of the keys signed it.
    Valid,
    /// None of the keys signed it.
    Invalid,
    /// The set must be fetched before this can be decided.
    Fetch,
    /// The set could not be fetched.
    Unavailable,
}

impl KeySet {
    /// Whether one of the keys signed the token; `now` in Unix milliseconds.
    pub fn verify(&self, now: u64, token: &Token<'_>, message: &str) -> SignatureVerdict {
        let id = token.header().key_id.as_deref();
        let age = self.fetched.map(|fetched| now.saturating_sub(fetched));
        let may_fetch = self.attempted.is_none_or(|attempted| now.saturating_sub(attempted) >= PAUSE);
        let known = id.is_none() || self.keys.iter().any(|key| key.id.as_deref() == id);
        let stale = age.is_none_or(|age| age >= FRESH);
        if may_fetch && (stale || !known) {
            return SignatureVerdict::Fetch;
        }
        if age.is_none_or(|age| age >= STALE) {
            return SignatureVerdict::Unavailable;
        }
        // The key may be newer than the last fetch: only a set fetched since then can prove that it does not exist.
        if !known && self.fetched != Some(now) {
            return SignatureVerdict::Unavailable;
        }
        let algorithm = token.algorithm();
        let is_candidate = |key: &&PublicKey| (id.is_none() || key.id.as_deref() == id) && key.may_verify(algorithm);
        let mut candidates = self.keys.iter().filter(is_candidate).take(MAX_CANDIDATES);
        if candidates.any(|key| key.has_signed(token, message)) {
            SignatureVerdict::Valid
        } else {
            SignatureVerdict::Invalid
        }
    }

    /// Applies the URL's response, or its absence, and returns whether it was a key set. Keys of unknown types are
    /// ignored.
    pub fn answered(&mut self, now: u64, answer: Option<&str>) -> bool {
        self.shared(now, answer.map(|text| (now, text)));
        self.fetched == Some(now)
    }

    /// The same with a response that was fetched earlier for others: a key missing from it may exist by now.
    pub fn shared(&mut self, now: u64, answer: Option<(u64, &str)>) {
        self.attempted = Some(now);
        let Some((time, text)) = answer.filter(|(time, _)| self.fetched.is_none_or(|ours| ours <= *time)) else {
            return;
        };
        let set = serde_json::from_str::<Value>(text).ok();
        if let Some(Value::Array(keys)) = set.as_ref().and_then(|set| set.get("keys")) {
            self.keys = keys.iter().filter_map(PublicKey::read).take(MAX_KEYS).collect();
            self.fetched = Some(time);
        }
    }
}

impl PublicKey {
    fn read(value: &Value) -> Option<PublicKey> {
        if !is_for_verifying(value) {
            return None;
        }
        let material = match value.get("kty").and_then(Value::as_str)? {
            "RSA" => Material::Rsa(Box::new(StrongKey::try_from(RsaPublicKey::try_from(&rsa(value)?).ok()?).ok()?)),
            "EC" => Material::P256(EcKey::try_from(&elliptic_curve(value)?).ok()?),
            "OKP" => Material::Ed25519(EdKey::try_from(&key_pair(value)?).ok()?),
            // A symmetric key in a public set would let every reader of it sign.
            _ => return None,
        };
        Some(PublicKey { id: text(value, "kid"), algorithm: text(value, "alg"), material })
    }

    /// Whether the key's kind and its own `alg` allow this algorithm. `Ed25519` is the newer name of what `EdDSA` means
    /// with such a key (RFC 9864, 2.2).
    fn may_verify(&self, algorithm: &str) -> bool {
        let same = |only: &str| only == algorithm || (is_edwards(only) && is_edwards(algorithm));
        let is_of_kind = match &self.material {
            Material::Rsa(_) => matches!(algorithm, "RS256" | "RS384" | "RS512"),
            Material::P256(_) => algorithm == "ES256",
            Material::Ed25519(_) => is_edwards(algorithm),
        };
        is_of_kind && self.algorithm.as_deref().is_none_or(same)
    }

    fn has_signed(&self, token: &Token<'_>, message: &str) -> bool {
        match &self.material {
            Material::Rsa(key) => [Rsa::rs256(), Rsa::rs384(), Rsa::rs512()]
                .iter()
                .any(|rsa| signed_with(rsa, key.as_ref().as_ref(), token, message)),
            Material::P256(key) => signed_with(&Es256, key, token, message),
            Material::Ed25519(key) => {
                let specific = Ed25519::with_specific_name();
                signed_with(&Ed25519, key, token, message) || signed_with(&specific, key, token, message)
            }
        }
    }
}

fn is_edwards(algorithm: &str) -> bool {
    matches!(algorithm, "EdDSA" | "Ed25519")
}

/// The members of a public key (RFC 7518, section 6). The library's own parser would pull serde's buffered
/// deserialization into the Wasm, a tenth of its size.
fn rsa(value: &Value) -> Option<JsonWebKey<'static>> {
    let (modulus, public_exponent) = (bytes(value, "n")?, bytes(value, "e")?);
    Some(JsonWebKey::Rsa { modulus, public_exponent, private_parts: None })
}

fn elliptic_curve(value: &Value) -> Option<JsonWebKey<'static>> {
    let (x, y) = (bytes(value, "x")?, bytes(value, "y")?);
    Some(JsonWebKey::EllipticCurve { curve: text(value, "crv")?.into(), x, y, secret: None })
}

fn key_pair(value: &Value) -> Option<JsonWebKey<'static>> {
    Some(JsonWebKey::KeyPair { curve: text(value, "crv")?.into(), x: bytes(value, "x")?, secret: None })
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn bytes(value: &Value, name: &str) -> Option<Cow<'static, [u8]>> {
    // RFC 7518 allows no padding, but some issuers add it.
    let text = value.get(name)?.as_str()?.trim_end_matches('=');
    Base64UrlUnpadded::decode_vec(text).ok().map(Cow::Owned)
}

/// Whether a key's own members allow it to verify signatures (RFC 7517, 4.2 to 4.4); malformed members disallow it.
fn is_for_verifying(key: &Value) -> bool {
    let word = |name: &str| key.get(name).filter(|value| !value.is_null());
    let operations = |list: &Value| list.as_array().is_some_and(|list| list.iter().any(|one| one == "verify"));
    word("use").is_none_or(|purpose| purpose == "sig")
        && word("key_ops").is_none_or(operations)
        && word("alg").is_none_or(Value::is_string)
}
