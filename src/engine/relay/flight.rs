//! Batches for a relay: the messages that wait, and those that are on their way.

use std::rc::Rc;

use super::form::{Down, VERSION, text};
use crate::value::json;

/// A message that waits.
pub(super) struct QueuedMessage {
    pub(super) text: Rc<str>,
    /// Whether it is for one session, which means nothing in another life of the relay.
    pub(super) is_answer: bool,
    /// The number of the question that it answers.
    pub(super) answers: Option<u64>,
    /// Whether it is lost for good if it does not arrive: it is for many sessions, and cannot be asked for again.
    pub(super) is_unretained: bool,
}

impl QueuedMessage {
    /// Its bytes, if it is for one session.
    pub(super) fn answer_bytes(&self) -> usize {
        if self.is_answer { self.text.len() } else { 0 }
    }

    /// Makes a relay of an earlier version, which cannot catch up, disconnect its clients.
    pub(super) fn for_earlier_version(&mut self) {
        if *self.text == text(&Down::Behind) {
            self.text = Rc::from(text(&Down::Restart));
        }
    }
}

/// A batch that is being delivered, or will be sent again.
pub(super) struct BatchInFlight {
    pub(super) sequence: u64,
    pub(super) messages: Vec<QueuedMessage>,
    pub(super) has_unretained: bool,
    pub(super) attempts: u32,
    /// When it is sent again after a failure, in Unix milliseconds.
    pub(super) again_at: Option<u64>,
}

impl BatchInFlight {
    /// The text to send. The messages are encoded already: most are the same for many relays.
    pub(super) fn body(&self, root: &str, life: &str) -> String {
        let bytes = self.messages.iter().map(|message| message.text.len() + 1).sum::<usize>();
        let mut out = String::with_capacity(bytes + 128);
        out.push_str(&format!("{{\"version\":{VERSION},\"root\":"));
        json::write_string(&mut out, root);
        out.push_str(",\"life\":");
        json::write_string(&mut out, life);
        out.push_str(&format!(",\"sequence\":{},\"again\":{},\"messages\":[", self.sequence, self.attempts > 1));
        for (number, message) in self.messages.iter().enumerate() {
            if number > 0 {
                out.push(',');
            }
            out.push_str(&message.text);
        }
        out.push_str("]}");
        out
    }
}
