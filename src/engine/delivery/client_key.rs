//! The idempotency keys of clients. They are stored beside the API worker's keys, as digests of user, topic and key, so
//! that a client cannot choose a key under which anyone else publishes.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::policy::channel::Topic;
use crate::policy::principal::Principal;

/// The name under which a client's key is stored.
pub(super) fn of(principal: &Principal, topic: &Topic, key: &str) -> String {
    let mut digest = Sha256::new();
    let space = if topic.private { "private" } else { "public" };
    for part in [principal.method.as_str(), principal.user.as_deref().unwrap_or_default(), space, &*topic.name, key] {
        // Each part is preceded by its length, so that different parts never concatenate to the same bytes.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let mut name = String::from("client ");
    for byte in digest.finalize() {
        // Writing to a String never fails.
        let _ = write!(name, "{byte:02x}");
    }
    name
}
