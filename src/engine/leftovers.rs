//! Removes what is stored for sockets that were already closed at the wake, as after a crash or a deploy. It works in
//! portions, because an organization may have left more than fits into memory, and nobody waits for it.

use super::effect::{Task, Write};
use super::message::Out;

/// Sockets per portion. Each may be present in a few dozen topics, with a few KiB in each.
const PORTION: usize = 64;
/// The pause between two portions, in milliseconds.
const PAUSE: u64 = 100;

/// The closed sockets that still have rows.
pub(super) struct Leftovers {
    /// Their public ids.
    client_ids: Vec<String>,
    /// Those whose presence rows are being read.
    reading: Vec<String>,
    /// When the next portion is due, in Unix milliseconds.
    due: u64,
}

impl Leftovers {
    pub(super) fn new(client_ids: Vec<String>, now: u64) -> Leftovers {
        Leftovers { client_ids, reading: Vec::new(), due: now }
    }

    /// Removes a portion if one is due. Its presence rows are read first if listeners may have to learn who left.
    pub(super) fn remove_due(&mut self, now: u64, is_anyone_there: bool, out: &mut Out) {
        if self.client_ids.is_empty() || self.due > now {
            return;
        }
        self.due = now.saturating_add(PAUSE);
        let client_ids = self.client_ids.split_off(self.client_ids.len().saturating_sub(PORTION));
        if is_anyone_there {
            self.reading.clone_from(&client_ids);
            out.run(Task::ReadGone { client_ids });
        } else {
            out.run(Task::Write(Write::Forget { client_ids }));
        }
    }

    /// Removes the portion whose presence rows were read.
    pub(super) fn remove_read(&mut self, out: &mut Out) {
        let client_ids = std::mem::take(&mut self.reading);
        if !client_ids.is_empty() {
            out.run(Task::Write(Write::Forget { client_ids }));
        }
    }

    /// When the next portion is due, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        (!self.client_ids.is_empty()).then_some(self.due)
    }
}
