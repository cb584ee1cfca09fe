//! Signature checks: the library's verification, guarded against its panics.

use jwt_compact::{Algorithm, AlgorithmSignature, UntrustedToken};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A parsed token that is not verified yet.
pub type Token<'a> = UntrustedToken<'a, Header>;

/// The header members that matter besides the library's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Critical extensions (RFC 7515, 4.1.11). None are supported.
    #[serde(default, skip_serializing, deserialize_with = "present")]
    pub(super) crit: Option<Value>,
}

/// Whether the token names this algorithm and its signature of `message` is that of `key`.
pub(super) fn signed_with<A: Algorithm>(
    algorithm: &A,
    key: &A::VerifyingKey,
    token: &Token<'_>,
    message: &str,
) -> bool {
    let bytes = token.signature_bytes();
    // Some of the library's signature types panic on an unexpected length.
    let fits = A::Signature::LENGTH.is_none_or(|length| length.get() == bytes.len());
    if algorithm.name() != token.algorithm() || !fits {
        return false;
    }
    let signature = A::Signature::try_from_slice(bytes);
    signature.is_ok_and(|signature| algorithm.verify_signature(&signature, key, message.as_bytes()))
}

/// A member that is present, even as `null`: a plain `Option` would treat `null` as absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
