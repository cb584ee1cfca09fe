//! Frames that wait: for the key set, for the database's word, for the history that an earlier frame asked for.
//!
//! Those of one socket stand at the socket, in their order. Here is how many bytes they are together, and which of them may
//! go on.

use std::collections::VecDeque;

use crate::engine::command::{Command, Malformed};
use crate::engine::input::SocketId;
use crate::policy::limits::WAITING_BYTES;

/// The frames of all sockets that wait.
#[derive(Default)]
pub(super) struct Backlog {
    bytes: usize,
    released: VecDeque<(SocketId, Frame)>,
}

/// A frame as its dialect read it.
pub(super) type Frame = Result<Command, Malformed>;

impl Backlog {
    /// Whether `bytes` more may wait.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes + bytes <= WAITING_BYTES
    }

    /// Counts a frame that waits.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Nothing waits any more but what is released.
    pub(super) fn clear(&mut self) {
        self.bytes = 0;
    }

    /// Lets frames of a socket go on, after those that were released before.
    pub(super) fn release(&mut self, socket: SocketId, frames: Option<VecDeque<Frame>>) {
        self.released.extend(frames.into_iter().flatten().map(|frame| (socket, frame)));
    }

    /// The next frame that may go on.
    pub(super) fn next(&mut self) -> Option<(SocketId, Frame)> {
        self.released.pop_front()
    }

    /// Forgets a socket that has ended: its number may be another's before their turn comes.
    pub(super) fn forget(&mut self, socket: SocketId) {
        self.released.retain(|(of, _)| *of != socket);
    }
}
