//! What is stored of sockets that are gone when the object comes to life, as after a crash or a deploy. It goes in portions:
//! an organization may have left more than memory holds, and nobody waits for it.

use super::effect::{Task, Write};
use super::message::Out;

/// Sockets of one portion. Each may be present in a few dozen places, with a few KiB in each.
const PORTION: usize = 64;
/// Between two portions, in milliseconds.
const PAUSE: u64 = 100;

/// The sockets that are gone and of which something is stored.
pub(super) struct Leftovers {
    /// Their public ids.
    client_ids: Vec<String>,
    /// Those whose presence is being read.
    reading: Vec<String>,
    /// When the next portion is due, in Unix milliseconds.
    due: u64,
}

impl Leftovers {
    pub(super) fn new(client_ids: Vec<String>, now: u64) -> Leftovers {
        Leftovers { client_ids, reading: Vec::new(), due: now }
    }

    /// Removes a portion where one is due. Its presence is read first where somebody may have to be told who left.
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

    /// Removes the portion whose presence was read.
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
