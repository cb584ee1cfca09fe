//! Sockets whose first frame authenticates nobody, charged to their addresses. The Worker counts on its own what it
//! refuses itself; only this object learns how a first frame ends.

use super::Delivery;
use crate::code::Code;
use crate::engine::effect::Task;
use crate::engine::input::{Open, SocketId};
use crate::engine::message::Out;
use crate::policy::attempts::{RefusedAttempts, is_charged};

/// Attempts to authenticate that failed, in memory only: an object that is attacked does not hibernate.
#[derive(Default)]
pub(super) struct FailedAttempts {
    by_address: RefusedAttempts,
    /// Refused for their credential, or for those before.
    pub(super) count: u64,
}

impl Delivery {
    /// Closes a socket that failed to authenticate, and charges its address if that was for its credential.
    pub(super) fn fail_attempt(&mut self, now: u64, socket: SocketId, code: Code, out: &mut Out) {
        if is_charged(code) {
            self.failed.count += 1;
            let limit = self.configuration.limits.refused_per_address;
            let address = self.registry.socket(socket).and_then(|socket| socket.address.clone());
            address.into_iter().for_each(|address| self.failed.by_address.refuse(now, limit, &address, None));
        }
        self.fail(socket, code, out);
    }

    /// Opens a socket, unless it has proven nothing yet and its address has used up its budget.
    pub(in crate::engine) fn open_unless_rejected(&mut self, now: u64, open: Open, out: &mut Out) {
        if !self.rejects_stranger(now, &open, out) {
            self.open(now, open, out);
        }
    }

    /// Rejects a socket that has proven nothing yet if its address has used up its budget; returns whether it has.
    pub(in crate::engine) fn rejects_stranger(&mut self, now: u64, open: &Open, out: &mut Out) -> bool {
        let limit = self.configuration.limits.refused_per_address;
        let address = open.address.as_deref().filter(|_| open.principal.is_none());
        let checked = address.map(|address| self.failed.by_address.check(now, limit, address, None));
        let Some(Err(refusal)) = checked else { return false };
        self.failed.count += 1;
        self.registry.log("refused", open.socket, Some(refusal.code), out);
        out.run(Task::Reject(refusal));
        true
    }
}
