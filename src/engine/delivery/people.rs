//! Indexes from what rules ask for, a user or a claim's value, to the connections that have it.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::input::SocketId;
use crate::policy::principal::{Principal, SUBJECT};

/// Claim, then value, then connections; the user is the claim `sub`.
#[derive(Default)]
pub(super) struct People {
    holders: BTreeMap<String, BTreeMap<String, BTreeSet<SocketId>>>,
}

impl People {
    /// Adds a connection under everything that its principal has.
    pub(super) fn add(&mut self, socket: SocketId, principal: &Principal) {
        for (claim, value) in pairs(principal) {
            let values = self.holders.entry(claim.to_owned()).or_default();
            values.entry(value.clone()).or_default().insert(socket);
        }
    }

    /// Removes a connection from everything that its principal has.
    pub(super) fn remove(&mut self, socket: SocketId, principal: &Principal) {
        for (claim, value) in pairs(principal) {
            let Some(values) = self.holders.get_mut(claim) else { continue };
            let Some(sockets) = values.get_mut(value) else { continue };
            sockets.remove(&socket);
            if sockets.is_empty() {
                values.remove(value);
            }
        }
    }

    /// The connections of a user.
    pub(super) fn user(&self, user: &str) -> impl Iterator<Item = SocketId> {
        self.holders(SUBJECT, user)
    }

    /// The connections that have this value of a claim.
    pub(super) fn holders(&self, claim: &str, value: &str) -> impl Iterator<Item = SocketId> {
        self.holders.get(claim).and_then(|values| values.get(value)).into_iter().flatten().copied()
    }
}

fn pairs(principal: &Principal) -> impl Iterator<Item = (&str, &String)> {
    let user = principal.user.iter().map(|user| (SUBJECT, user));
    user.chain(principal.claims.iter().flat_map(|(claim, values)| values.iter().map(|value| (claim.as_str(), value))))
}
