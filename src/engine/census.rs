//! How many sockets a tenant has at its other objects: its limits count all of them.

use std::collections::BTreeMap;

/// Authenticated sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// All of them.
    pub connections: u64,
    /// By user.
    pub users: BTreeMap<String, u64>,
    /// Those that count as listeners of the tenant's app.
    pub listeners: u64,
}

impl Census {
    /// Those of one user.
    pub(super) fn of_user(&self, user: &str) -> u64 {
        self.users.get(user).copied().unwrap_or_default()
    }

    /// Replaces a user's count `before` by `now`.
    pub(super) fn recount(&mut self, user: &str, before: u64, now: u64) {
        let count = self.of_user(user).saturating_sub(before).saturating_add(now);
        match count {
            0 => _ = self.users.remove(user),
            count => _ = self.users.insert(user.to_owned(), count),
        }
    }
}
