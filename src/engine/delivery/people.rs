//! The index from what rules ask for (a user or a claim's value) to the sessions that have it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::engine::input::SocketId;
use crate::engine::message::SessionId;
use crate::policy::principal::{Principal, SUBJECT};

/// Claim, value, session; the user is the claim `sub`.
#[derive(Default)]
pub(super) struct People {
    holders: BTreeSet<(String, String, SessionId)>,
}

impl People {
    /// Adds a session under every claim value of its principal.
    pub(super) fn add(&mut self, session: SessionId, principal: &Principal) {
        self.holders.extend(pairs(principal).map(|(claim, value)| (claim.to_owned(), value.clone(), session)));
    }

    /// Removes a session from every claim value of its principal.
    pub(super) fn remove(&mut self, session: SessionId, principal: &Principal) {
        for (claim, value) in pairs(principal) {
            self.holders.remove(&(claim.to_owned(), value.clone(), session));
        }
    }

    /// The sessions of a user.
    pub(super) fn user(&self, user: &str) -> impl Iterator<Item = SessionId> {
        self.holders(SUBJECT, user)
    }

    /// The sessions that have this value of a claim.
    pub(super) fn holders(&self, claim: &str, value: &str) -> impl Iterator<Item = SessionId> {
        self.holders.range(all(claim, value)).map(|(_, _, session)| *session)
    }
}

fn all(claim: &str, value: &str) -> RangeInclusive<(String, String, SessionId)> {
    let with = |n| (claim.to_owned(), value.to_owned(), SessionId { socket: SocketId(n), number: n });
    with(0)..=with(u32::MAX)
}

fn pairs(principal: &Principal) -> impl Iterator<Item = (&str, &String)> {
    let user = principal.user.iter().map(|user| (SUBJECT, user));
    user.chain(principal.claims.iter().flat_map(|(claim, values)| values.iter().map(|value| (claim.as_str(), value))))
}
