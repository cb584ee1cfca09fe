//! Stream keys: they let the client of a one-way stream send frames in separate requests
//! (docs/protocol-event-stream.md, Sending). A key names a connection, grants nothing beyond it, and is worthless once
//! it has closed.

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::Mac;
use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::ticket::{signature, subkey};
use crate::code::Code;

/// Domain separation between these signatures and those of tickets.
const INFO: &[u8] = b"stream 1";
/// Maximum bytes of a key: organization and connection ids are bounded, and base64 adds a third.
const MAX_KEY: usize = 1024;

/// What a key names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamKey {
    /// The organization.
    pub organization: String,
    /// The connection's public id.
    pub client_id: String,
}

impl StreamKey {
    /// The key as text: its JSON and the JSON's signature, both base64url.
    pub fn sign(&self, secret: &Secret) -> Option<String> {
        let payload = Base64UrlUnpadded::encode_string(&serde_json::to_vec(self).ok()?);
        let signature = signature(subkey(secret, INFO), &payload)?.finalize().into_bytes();
        Some(format!("{payload}.{}", Base64UrlUnpadded::encode_string(&signature)))
    }

    /// Reads a key signed with one of `secrets`.
    ///
    /// # Errors
    /// [`Code::InvalidToken`]
    pub fn verify<'a>(text: &str, mut secrets: impl Iterator<Item = &'a Secret>) -> Result<StreamKey, Code> {
        let parts = text.split_once('.').filter(|_| text.len() <= MAX_KEY);
        let (payload, mac) = parts.ok_or(Code::InvalidToken)?;
        let mac = Base64UrlUnpadded::decode_vec(mac).map_err(|_| Code::InvalidToken)?;
        let is_signed_by = |secret| {
            signature(subkey(secret, INFO), payload).is_some_and(|signature| signature.verify_slice(&mac).is_ok())
        };
        if !secrets.any(is_signed_by) {
            return Err(Code::InvalidToken);
        }
        let json = Base64UrlUnpadded::decode_vec(payload).map_err(|_| Code::InvalidToken)?;
        serde_json::from_slice(&json).map_err(|_| Code::InvalidToken)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::policy::principal::{Method, Principal};
    use crate::policy::roles::Roles;
    use crate::policy::ticket::Ticket;

    #[test]
    fn a_key_is_read_by_who_signed_it_and_is_no_ticket() {
        let secret = Secret::new("an-access-token-of-thirty-two-bytes");
        let other = Secret::new("another-token-of-thirty-two-bytes..");
        let key = StreamKey { organization: "org_1".into(), client_id: "c1".into() };
        let text = key.sign(&secret).unwrap();
        assert_eq!(StreamKey::verify(&text, [&other, &secret].into_iter()), Ok(key));
        assert_eq!(StreamKey::verify(&text, [&other].into_iter()), Err(Code::InvalidToken));
        assert_eq!(Ticket::verify(&text, [&secret].into_iter(), 0), Err(Code::InvalidToken));
        let principal = Principal {
            user: None,
            roles: Roles::default(),
            method: Method::Session,
            expires: None,
            claims: Default::default(),
            all_claims: None,
            grants: Default::default(),
        };
        let ticket = Ticket { id: "t1".into(), organization: "org_1".into(), expires: 9, principal };
        let ticket = ticket.sign(&secret).unwrap();
        assert_eq!(StreamKey::verify(&ticket, [&secret].into_iter()), Err(Code::InvalidToken));
        let (payload, mac) = text.split_once('.').unwrap();
        for forged in ["", ".", "a.b", payload, &format!("{payload}."), &format!("x{payload}.{mac}"), &"a".repeat(2000)]
        {
            assert_eq!(StreamKey::verify(forged, [&secret].into_iter()), Err(Code::InvalidToken), "{forged}");
        }
    }
}
