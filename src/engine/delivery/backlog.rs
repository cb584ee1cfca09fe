//! Frames that wait for the key set, for an answer of the database, or for history that an earlier frame asked for.
//!
//! Each socket queues its own frames in order. This module counts their bytes over all sockets and releases them.

use std::collections::VecDeque;

use crate::engine::command::{Command, Malformed};
use crate::engine::input::SocketId;
use crate::policy::limits::WAITING_BYTES;

/// The waiting frames of all sockets.
#[derive(Default)]
pub(super) struct Backlog {
    bytes: usize,
    released: VecDeque<(SocketId, Frame)>,
}

/// A frame as decoded by its dialect.
pub(super) type Frame = Result<Command, Malformed>;

impl Backlog {
    /// Whether `bytes` more may be queued.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes + bytes <= WAITING_BYTES
    }

    /// Counts a queued frame.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Resets the count; only released frames remain.
    pub(super) fn clear(&mut self) {
        self.bytes = 0;
    }

    /// Releases the frames of a socket, after those released earlier.
    pub(super) fn release(&mut self, socket: SocketId, frames: Option<VecDeque<Frame>>) {
        self.released.extend(frames.into_iter().flatten().map(|frame| (socket, frame)));
    }

    /// The next released frame.
    pub(super) fn next(&mut self) -> Option<(SocketId, Frame)> {
        self.released.pop_front()
    }

    /// Forgets a closed socket: its number may be reused before its frames are handled.
    pub(super) fn forget(&mut self, socket: SocketId) {
        self.released.retain(|(of, _)| *of != socket);
    }
}
