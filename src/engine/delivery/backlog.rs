//! Frames that wait for the key set, for the database, or for a replay that an earlier frame requested.
//!
//! Each socket queues its own frames in order. This module counts their bytes over all sockets and releases them.

use std::collections::{BTreeMap, VecDeque};

use crate::engine::command::DecodedFrame;
use crate::engine::input::SocketId;
use crate::policy::limits::WAITING_BYTES;

/// The waiting frames of all sockets.
#[derive(Default)]
pub(super) struct Backlog {
    bytes: usize,
    /// The bytes of each socket's waiting frames.
    by_socket: BTreeMap<SocketId, usize>,
    released: VecDeque<(SocketId, DecodedFrame)>,
}

impl Backlog {
    /// Whether `bytes` more may be queued.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes + bytes <= WAITING_BYTES
    }

    /// Counts a queued frame.
    pub(super) fn add(&mut self, socket: SocketId, bytes: usize) {
        self.bytes += bytes;
        *self.by_socket.entry(socket).or_default() += bytes;
    }

    fn discount(&mut self, socket: SocketId) {
        self.bytes -= self.by_socket.remove(&socket).unwrap_or_default();
    }

    /// Releases the frames of a socket, after those released earlier.
    pub(super) fn release(&mut self, socket: SocketId, frames: Option<VecDeque<DecodedFrame>>) {
        self.discount(socket);
        self.released.extend(frames.into_iter().flatten().map(|frame| (socket, frame)));
    }

    /// The next released frame.
    pub(super) fn next(&mut self) -> Option<(SocketId, DecodedFrame)> {
        self.released.pop_front()
    }

    /// Drops the frames of a closed socket: its number may be reused before they are handled.
    pub(super) fn forget(&mut self, socket: SocketId) {
        self.discount(socket);
        self.released.retain(|(of, _)| *of != socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_no_more_takes_no_room() {
        let (one, other) = (SocketId(1), SocketId(2));
        let mut backlog = Backlog::default();
        for _ in 0..3 {
            backlog.add(one, WAITING_BYTES / 2);
            backlog.add(other, WAITING_BYTES / 2);
            assert!(!backlog.has_room_for(1));
            backlog.release(one, None);
            assert!(backlog.has_room_for(WAITING_BYTES / 2) && !backlog.has_room_for(WAITING_BYTES));
            backlog.forget(other);
            assert!(backlog.has_room_for(WAITING_BYTES));
        }
    }
}
