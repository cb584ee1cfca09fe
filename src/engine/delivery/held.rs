//! Held sockets: while the changes that a returning client missed are being judged, its frames wait, and live events
//! are queued behind the replay.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;

use super::Delivery;
use crate::engine::effect::Effect;
use crate::engine::event::Event;
use crate::engine::input::SocketId;
use crate::engine::message::Out;

/// Bytes of events queued for one held socket, and for all of them together; beyond this, the client has to reconnect.
const MAX_HELD_BYTES: usize = 4 << 20;
const MAX_ALL_HELD_BYTES: usize = 16 << 20;
/// The overhead of a queued event.
const EVENT_BYTES: usize = 256;

/// The held sockets, with their queued events.
#[derive(Default)]
pub(super) struct Held {
    sockets: BTreeMap<SocketId, Queue>,
    /// Sockets of a relay whose frames wait until the root has answered, or whose session does.
    asking: BTreeSet<SocketId>,
}

#[derive(Default)]
struct Queue {
    events: Vec<Effect>,
    bytes: usize,
}

impl Held {
    /// Whether a socket is held.
    pub(super) fn has(&self, socket: SocketId) -> bool {
        self.sockets.contains_key(&socket)
    }

    /// Whether what a socket waits for exists in memory only.
    pub(super) fn depends_on_memory(&self, socket: SocketId) -> bool {
        self.has(socket) || self.asking.contains(&socket)
    }

    /// Removes a closed socket.
    pub(super) fn forget(&mut self, socket: SocketId) {
        self.sockets.remove(&socket);
        self.asking.remove(&socket);
    }

    /// Drops selected events from a socket's queue.
    pub(super) fn drop_events(&mut self, socket: SocketId, is_dropped: impl Fn(&Event) -> bool) {
        let Some(queue) = self.sockets.get_mut(&socket) else { return };
        queue.events.retain(|effect| !matches!(effect, Effect::Deliver { event, .. } if is_dropped(event)));
    }

    /// A held socket with too many queued bytes, or the one with the most if all together have too many.
    fn overfull(&self) -> Option<SocketId> {
        let full = self.sockets.iter().find(|(_, queue)| queue.bytes > MAX_HELD_BYTES);
        let all: usize = self.sockets.values().map(|queue| queue.bytes).sum();
        let largest = || self.sockets.iter().max_by_key(|(_, queue)| queue.bytes).filter(|_| all > MAX_ALL_HELD_BYTES);
        full.or_else(largest).map(|(socket, _)| *socket)
    }
}

impl Delivery {
    /// Queues a socket's events and frames from now on.
    pub(in crate::engine) fn hold_socket(&mut self, id: SocketId) {
        self.waits.held.sockets.entry(id).or_default();
        if let Some(socket) = self.registry.socket_mut(id) {
            socket.waiting.get_or_insert_default();
        }
        self.registry.save_later(id);
    }

    /// A frame cannot be handled before the root has answered, or a session that was opened with a principal cannot
    /// start; both are in memory only.
    pub(in crate::engine) fn wait_for_root(&mut self, id: SocketId) {
        self.waits.held.asking.insert(id);
        self.registry.save_later(id);
    }

    /// The root has answered.
    pub(in crate::engine) fn wait_no_longer(&mut self, id: SocketId) {
        if self.waits.held.asking.remove(&id) {
            self.registry.save_later(id);
        }
    }

    /// Sends a held socket its queued events, then handles its queued frames.
    pub(super) fn release_held(&mut self, id: SocketId, out: &mut Out) {
        let Some(queue) = self.waits.held.sockets.remove(&id) else { return };
        out.effects.extend(queue.events);
        self.registry.save_later(id);
        let frames = self.registry.socket_mut(id).and_then(|socket| socket.waiting.take());
        self.backlog.release(id, frames);
    }

    /// Queues the events of held sockets. A socket whose queue grows too long is closed.
    pub(in crate::engine) fn hold(&mut self, out: &mut Out) {
        if self.waits.held.sockets.is_empty() {
            return;
        }
        for effect in take(&mut out.effects) {
            match effect {
                Effect::Deliver { to, dialect, address, event, may_wait } => {
                    let (held, to): (Vec<_>, Vec<_>) = to.into_iter().partition(|socket| self.waits.held.has(*socket));
                    for socket in held {
                        let (address, event) = (address.clone(), event.clone());
                        let queue = self.waits.held.sockets.entry(socket).or_default();
                        queue.bytes += EVENT_BYTES + event.bytes();
                        queue.events.push(Effect::Deliver { to: vec![socket], dialect, address, event, may_wait });
                    }
                    if !to.is_empty() {
                        out.effects.push(Effect::Deliver { to, dialect, address, event, may_wait });
                    }
                }
                task @ Effect::Do(_) => out.effects.push(task),
            }
        }
        while let Some(socket) = self.waits.held.overfull() {
            self.restart(socket, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(bytes: &[usize]) -> Held {
        let queue = |bytes: &usize| Queue { events: Vec::new(), bytes: *bytes };
        Held { asking: BTreeSet::new(), sockets: (0..).map(SocketId).zip(bytes.iter().map(queue)).collect() }
    }

    #[test]
    fn what_waits_for_held_sockets_is_bounded_in_bytes() {
        assert_eq!(held(&[MAX_HELD_BYTES; 4]).overfull(), None);
        assert_eq!(held(&[1, MAX_HELD_BYTES + 1, 2]).overfull(), Some(SocketId(1)));
        let third = MAX_HELD_BYTES - 1;
        assert_eq!(held(&[third, third, MAX_HELD_BYTES, third, 4]).overfull(), Some(SocketId(2)), "all together");
    }
}
