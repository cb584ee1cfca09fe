//! Session tokens: JSON Web Tokens (RFC 7519), verified as RFC 8725 requires. `jwt-compact` checks the signatures.

use base64ct::{Base64UrlUnpadded, Encoding};
use jwt_compact::UntrustedToken;
use jwt_compact::alg::{Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key};
use serde_json::{Map, Value};

use super::app::AppTerms;
use super::claims::{Claims, SigningApp};
use super::key_set::{KeySet, SignatureVerdict};
use super::organization::is_organization;
use super::secret::Secret;
use super::signature::{Token, signed_with};
use crate::code::{Code, Reason, Refusal};
use crate::value::json;

/// The tolerated clock skew, in milliseconds.
pub const LEEWAY: u64 = 30_000;
/// Bytes of a token.
pub const MAX_TOKEN: usize = 16 * 1024;

/// The deployment's settings for session tokens.
#[derive(Clone, Debug, Default)]
pub struct TokenRules {
    /// `JWT_SECRET`
    pub secret: Option<Secret>,
    /// `JWKS_URL`
    pub key_set_url: Option<String>,
    /// `JWT_ISSUER`
    pub issuer: Option<String>,
    /// `JWT_AUDIENCE`
    pub audience: Option<String>,
    /// What apps call their own issuers, in addition to `JWT_ISSUER`; `None` if there are no apps.
    pub apps: Option<&'static AppTerms>,
}

/// Why a token proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It is refused with this code.
    Refused(Code),
    /// It is not a token.
    Malformed,
    /// It is signed, but has no expiry.
    Endless,
    /// It is signed, and expired this many seconds ago.
    Expired(u64),
    /// The key set must be fetched first; then verify again.
    NeedsKeys,
}

impl TokenError {
    /// The code of the refusal.
    pub fn code(self) -> Code {
        match self {
            TokenError::Refused(code) => code,
            TokenError::Malformed | TokenError::Endless => Code::InvalidToken,
            TokenError::Expired(_) => Code::TokenExpired,
            TokenError::NeedsKeys => Code::KeysUnavailable,
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Refusal {
        let code = error.code();
        match error {
            TokenError::Malformed => Refusal::with(code, Reason::MalformedToken),
            TokenError::Endless => Refusal::with(code, Reason::MissingClaims),
            TokenError::Expired(seconds) => {
                Refusal::because(code, ["Token has expired ", &*seconds.to_string(), " seconds ago"].concat())
            }
            TokenError::Refused(_) | TokenError::NeedsKeys => Refusal::of(code),
        }
    }
}

impl TokenRules {
    /// The claims of a valid token; `now` in Unix milliseconds.
    ///
    /// # Errors
    /// Why the token is invalid, with [`Code::InvalidToken`] or [`Code::KeysUnavailable`], or that keys are needed
    /// first.
    pub fn verify(&self, now: u64, token: &str, keys: &KeySet) -> Result<Claims, TokenError> {
        let invalid = TokenError::Refused(Code::InvalidToken);
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let parsed: Token<'_> = UntrustedToken::try_from(token).map_err(|_| TokenError::Malformed)?;
        let (message, _) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        if parsed.header().other_fields.crit.is_some() {
            return Err(invalid);
        }
        self.check_signature(now, &parsed, message, keys)?;
        let claims = payload(message).ok_or(TokenError::Malformed)?;
        self.check_claims(now, claims, parsed.algorithm())
    }

    /// `HS*` is only verified with the secret, everything else only with public keys: the type of key decides.
    fn check_signature(&self, now: u64, token: &Token<'_>, message: &str, keys: &KeySet) -> Result<(), TokenError> {
        let verdict = match (token.algorithm().starts_with("HS"), &self.secret, &self.key_set_url) {
            (true, Some(secret), _) if hmac_signed(secret, token, message) => SignatureVerdict::Valid,
            (false, _, Some(_)) => keys.verify(now, token, message),
            _ => SignatureVerdict::Invalid,
        };
        match verdict {
            SignatureVerdict::Valid => Ok(()),
            SignatureVerdict::Invalid => Err(TokenError::Refused(Code::InvalidToken)),
            SignatureVerdict::Fetch => Err(TokenError::NeedsKeys),
            SignatureVerdict::Unavailable => Err(TokenError::Refused(Code::KeysUnavailable)),
        }
    }

    fn check_claims(&self, now: u64, mut values: Map<String, Value>, algorithm: &str) -> Result<Claims, TokenError> {
        let expires = values.remove("exp").and_then(|time| milliseconds(&time)).ok_or(TokenError::Endless)?;
        let is_begun = |start| milliseconds(&start).is_some_and(|start| start <= now.saturating_add(LEEWAY));
        let begun = values.remove("nbf").is_none_or(is_begun);
        let issuer = values.get("iss").and_then(Value::as_str);
        let app = self.apps.and_then(|terms| {
            let id = issuer?.strip_prefix(terms.issuer)?.to_owned();
            Some(SigningApp { id, terms })
        });
        let issued = match &app {
            Some(app) => is_organization(&app.id) && algorithm == app.terms.algorithm,
            None => self.issuer.as_deref().is_none_or(|expected| issuer == Some(expected)),
        };
        let meant = self.audience.as_ref().is_none_or(|audience| names(values.get("aud"), audience));
        if !begun || !issued || !meant {
            return Err(TokenError::Refused(Code::InvalidToken));
        }
        if expires.saturating_add(LEEWAY) <= now {
            return Err(TokenError::Expired(now.saturating_sub(expires) / 1_000));
        }
        Ok(Claims { values, expires, app })
    }
}

fn hmac_signed(secret: &Secret, token: &Token<'_>, message: &str) -> bool {
    let secret = secret.expose();
    match token.algorithm() {
        "HS256" => signed_with(&Hs256, &Hs256Key::new(secret), token, message),
        "HS384" => signed_with(&Hs384, &Hs384Key::new(secret), token, message),
        "HS512" => signed_with(&Hs512, &Hs512Key::new(secret), token, message),
        _ => false,
    }
}

/// The claims in the signed part `header.payload`; none when a claim is repeated (RFC 7519, section 4).
fn payload(message: &str) -> Option<Map<String, Value>> {
    let (_, payload) = message.split_once('.')?;
    let text = String::from_utf8(Base64UrlUnpadded::decode_vec(payload).ok()?).ok()?;
    json::object(&text).ok()?;
    serde_json::from_str(&text).ok()
}

/// A NumericDate (seconds, possibly with a fraction: RFC 7519, section 2) as Unix milliseconds.
fn milliseconds(date: &Value) -> Option<u64> {
    if let Some(seconds) = date.as_u64() {
        return Some(seconds.saturating_mul(1_000));
    }
    let seconds = date.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0)?;
    // `as` saturates: a float becomes the nearest integer in range.
    Some((seconds * 1_000.0) as u64)
}

/// Whether the audience claim, a string or a list, contains `audience`.
fn names(claim: Option<&Value>, audience: &str) -> bool {
    match claim {
        Some(Value::String(only)) => only == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    }
}
