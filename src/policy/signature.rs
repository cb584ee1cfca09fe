//! Whether a key has signed a token: the library's check, behind a door that its panics cannot pass.

use jwt_compact::{Algorithm, AlgorithmSignature, UntrustedToken};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A token that is parsed and not yet believed.
pub type Token<'a> = UntrustedToken<'a, Header>;

/// The header members that matter beyond those of the library.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Extensions that a reader must understand (RFC 7515, 4.1.11). We understand none.
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
    // Some of the library's signature types panic on a length that is not theirs.
    let fits = A::Signature::LENGTH.is_none_or(|length| length.get() == bytes.len());
    if algorithm.name() != token.algorithm() || !fits {
        return false;
    }
    let signature = A::Signature::try_from_slice(bytes);
    signature.is_ok_and(|signature| algorithm.verify_signature(&signature, key, message.as_bytes()))
}

/// A member that is there, be it `null`: an `Option` alone would take `null` for absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
