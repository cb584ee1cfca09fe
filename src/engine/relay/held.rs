//! Messages that a relay holds while it catches up.

use std::collections::VecDeque;

use super::database_form::DatabaseDown;
use super::form::Down;

/// Messages that wait until everything before them is delivered.
#[derive(Default)]
pub(super) struct HeldMessages {
    messages: VecDeque<IncomingMessage>,
    pub(super) bytes: usize,
    pub(super) has_unretained: bool,
    /// Whether one of them will increase a session's interest.
    pub(super) has_grant: bool,
}

impl HeldMessages {
    /// Adds a message.
    pub(super) fn push(&mut self, incoming: IncomingMessage) {
        self.bytes += incoming.bytes;
        self.has_unretained |= incoming.is_unretained();
        self.has_grant |= incoming.is_grant();
        self.messages.push_back(incoming);
    }

    /// Removes the messages up to this offset; all of them without one.
    pub(super) fn take(&mut self, read_to: Option<u64>) -> VecDeque<IncomingMessage> {
        let Some(read_to) = read_to else { return std::mem::take(self).messages };
        let is_within = |incoming: &IncomingMessage| incoming.offset().is_some_and(|offset| offset <= read_to);
        let count = self.messages.iter().rposition(is_within).map_or(0, |last| last + 1);
        let rest = self.messages.split_off(count);
        let taken = std::mem::take(self).messages;
        rest.into_iter().for_each(|incoming| self.push(incoming));
        taken
    }
}

/// A message of the root, with the context of its batch.
pub(super) struct IncomingMessage {
    pub(super) message: Down,
    pub(super) is_for_this_life: bool,
    pub(super) bytes: usize,
}

impl IncomingMessage {
    /// The stream's offset when it was sent, if it carries one.
    pub(super) fn offset(&self) -> Option<u64> {
        match &self.message {
            Down::Publish { offset, .. } => Some(*offset),
            Down::Answer(form) => Some(form.offset),
            _ => None,
        }
    }

    /// Whether it comes after the publication of its offset; otherwise it is that publication.
    pub(super) fn follows_its_offset(&self) -> bool {
        !matches!(&self.message, Down::Publish { kept: true, .. })
    }

    /// Whether it lets a session receive what it has not received so far.
    fn is_grant(&self) -> bool {
        let is_grant =
            matches!(&self.message, Down::Answer(_) | Down::Places { .. } | Down::Present { present: true, .. });
        is_grant && self.is_for_this_life
    }

    /// Whether it is for many sessions and not in the history.
    fn is_unretained(&self) -> bool {
        match &self.message {
            Down::Publish { kept, .. } => !kept,
            Down::Presence { .. } | Down::Gathered { .. } | Down::Arrived(_) => true,
            Down::Database(DatabaseDown::Feed { .. }) => true,
            _ => false,
        }
    }
}
