//! An index from users and claim values, by which rules select sessions, to the sessions that have them.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::engine::input::SocketId;
use crate::engine::message::SessionId;
use crate::policy::principal::{Principal, SUBJECT};

/// The user is the claim `sub`. Values are indexed by digest to save memory, because tens of thousands of sessions have
/// different ones; digests may collide.
#[derive(Default)]
pub(super) struct ClaimIndex {
    candidates: BTreeSet<(u64, SessionId)>,
}

impl ClaimIndex {
    /// Adds a session under every claim value of its principal.
    pub(super) fn add(&mut self, session: SessionId, principal: &Principal) {
        self.candidates.extend(digests(principal).map(|digest| (digest, session)));
    }

    /// Removes a session from every claim value of its principal.
    pub(super) fn remove(&mut self, session: SessionId, principal: &Principal) {
        for digest in digests(principal) {
            self.candidates.remove(&(digest, session));
        }
    }

    /// The sessions that may have this value of a claim: all that do, and possibly others.
    pub(super) fn candidates(&self, claim: &str, value: &str) -> impl Iterator<Item = SessionId> {
        let digest = digest(claim, value);
        let with = |n| (digest, SessionId { socket: SocketId(n), number: n });
        self.candidates.range(with(0)..=with(u32::MAX)).map(|(_, session)| *session)
    }
}

fn digests(principal: &Principal) -> impl Iterator<Item = u64> {
    let user = principal.user.iter().map(|user| digest(SUBJECT, user));
    let claims = principal.claims.iter();
    user.chain(claims.flat_map(|(claim, values)| values.iter().map(|value| digest(claim, value))))
}

fn digest(claim: &str, value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (claim, value).hash(&mut hasher);
    hasher.finish()
}
