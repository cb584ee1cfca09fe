//! Tickets: single-use credentials, valid for sixty seconds, that keep tokens out of URLs (docs/protocol-native.md,
//! Connecting).

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::principal::Principal;
use super::secret::Secret;
use crate::code::Code;

/// The lifetime of a ticket, in seconds.
pub const LIFETIME_SECONDS: u64 = 60;
/// HKDF's salt and info: they separate the derived key from the secret's use as a bearer token.
const SALT: &[u8] = b"realtime-worker";
const INFO: &[u8] = b"ticket 2";
/// The key derivation before HKDF. Tickets signed with it are accepted for the lifetime of one, which covers a deploy.
const PURPOSE_1: &[u8] = b"realtime-worker ticket 1";
/// Maximum bytes of a ticket: it travels in a URL.
const MAX_TICKET: usize = 8 * 1024;

/// The contents of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Random; stored once redeemed.
    pub id: String,
    /// The organization that it grants access to.
    pub organization: String,
    /// When it expires, in Unix milliseconds.
    pub expires: u64,
    /// The principal of its holder.
    pub principal: Principal,
}

impl Ticket {
    /// The ticket as text: its JSON and the JSON's signature, both base64url; `None` when it would be too long for a
    /// URL.
    pub fn sign(&self, secret: &Secret) -> Option<String> {
        let payload = Base64UrlUnpadded::encode_string(&serde_json::to_vec(self).ok()?);
        let signature =
            Base64UrlUnpadded::encode_string(&signature(subkey(secret, INFO), &payload)?.finalize().into_bytes());
        Some(format!("{payload}.{signature}")).filter(|text| text.len() <= MAX_TICKET)
    }

    /// Reads a ticket signed with one of `secrets`; `now` in Unix milliseconds.
    ///
    /// # Errors
    /// [`Code::InvalidToken`] or [`Code::TokenExpired`]. The organization's object checks whether it was redeemed
    /// before.
    pub fn verify<'a>(text: &str, secrets: impl Iterator<Item = &'a Secret>, now: u64) -> Result<Ticket, Code> {
        if text.len() > MAX_TICKET {
            return Err(Code::InvalidToken);
        }
        let (payload, mac) = text.split_once('.').ok_or(Code::InvalidToken)?;
        let mac = Base64UrlUnpadded::decode_vec(mac).map_err(|_| Code::InvalidToken)?;
        let mut secrets = secrets;
        let signed_by = |secret| {
            let is_of = |key| signature(key, payload).is_some_and(|signature| signature.verify_slice(&mac).is_ok());
            is_of(subkey(secret, INFO)) | is_of(subkey_1(secret))
        };
        if !secrets.any(signed_by) {
            return Err(Code::InvalidToken);
        }
        let json = Base64UrlUnpadded::decode_vec(payload).map_err(|_| Code::InvalidToken)?;
        let ticket: Ticket = serde_json::from_slice(&json).map_err(|_| Code::InvalidToken)?;
        if ticket.expires <= now { Err(Code::TokenExpired) } else { Ok(ticket) }
    }
}

pub(super) type SigningKey = [u8; 32];

/// The signing key of tickets: the first output block of HKDF-SHA256 (RFC 5869). `info` separates other uses.
pub(super) fn subkey(secret: &Secret, info: &[u8]) -> Option<SigningKey> {
    let extracted: SigningKey = keyed(SALT)?.chain_update(secret.expose()).finalize().into_bytes().into();
    Some(keyed(&extracted)?.chain_update(info).chain_update([1]).finalize().into_bytes().into())
}

fn subkey_1(secret: &Secret) -> Option<SigningKey> {
    Some(keyed(secret.expose().as_bytes())?.chain_update(PURPOSE_1).finalize().into_bytes().into())
}

pub(super) fn signature(key: Option<SigningKey>, payload: &str) -> Option<Hmac<Sha256>> {
    Some(keyed(&key?)?.chain_update(payload))
}

/// HMAC accepts keys of any length, so this is never `None`; if it were, nothing would be signed or accepted.
fn keyed(key: &[u8]) -> Option<Hmac<Sha256>> {
    <Hmac<Sha256> as Mac>::new_from_slice(key).ok()
}
