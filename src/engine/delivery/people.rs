//! The index from what rules ask for, a user or a claim's value, to the connections that have it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::engine::input::SocketId;
use crate::policy::principal::{Principal, SUBJECT};

/// Claim, value, connection; the user is the claim `sub`.
#[derive(Default)]
pub(super) struct People {
    holders: BTreeSet<(String, String, SocketId)>,
}

impl People {
    /// Adds a connection under everything that its principal has.
    pub(super) fn add(&mut self, socket: SocketId, principal: &Principal) {
        self.holders.extend(pairs(principal).map(|(claim, value)| (claim.to_owned(), value.clone(), socket)));
    }

    /// Removes a connection from everything that its principal has.
    pub(super) fn remove(&mut self, socket: SocketId, principal: &Principal) {
        for (claim, value) in pairs(principal) {
            self.holders.remove(&(claim.to_owned(), value.clone(), socket));
        }
    }

    /// The connections of a user.
    pub(super) fn user(&self, user: &str) -> impl Iterator<Item = SocketId> {
        self.holders(SUBJECT, user)
    }

    /// The connections that have this value of a claim.
    pub(super) fn holders(&self, claim: &str, value: &str) -> impl Iterator<Item = SocketId> {
        self.holders.range(all(claim, value)).map(|(_, _, socket)| *socket)
    }
}

fn all(claim: &str, value: &str) -> RangeInclusive<(String, String, SocketId)> {
    let with = |socket| (claim.to_owned(), value.to_owned(), SocketId(socket));
    with(0)..=with(u32::MAX)
}

fn pairs(principal: &Principal) -> impl Iterator<Item = (&str, &String)> {
    let user = principal.user.iter().map(|user| (SUBJECT, user));
    user.chain(principal.claims.iter().flat_map(|(claim, values)| values.iter().map(|value| (claim.as_str(), value))))
}
