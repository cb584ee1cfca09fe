//! Messages of a relay whose answers may be large: what sessions missed, and rosters. They are handled once little waits for
//! the relay, because a few such answers would be more than may wait.

use std::collections::{BTreeSet, VecDeque};

use super::form::Up;

/// How many may be postponed.
const MAX_POSTPONED: usize = 10_000;

/// The postponed messages, in order.
#[derive(Default)]
pub(super) struct Postponed {
    messages: VecDeque<Up>,
    /// The numbers of the questions among them: a relay repeats a question.
    questions: BTreeSet<u64>,
}

impl Postponed {
    /// Adds a message if its answer may be large; any other is returned.
    pub(super) fn add(&mut self, message: Up) -> Option<Up> {
        let may_be_large = match &message {
            Up::Ask(ask) => !ask.is_for_relay() && (ask.from.is_some() || !ask.watch.is_empty()),
            Up::Roster { .. } => true,
            _ => false,
        };
        if !may_be_large || self.messages.len() >= MAX_POSTPONED {
            return Some(message);
        }
        let is_known = matches!(&message, Up::Ask(ask) if !self.questions.insert(ask.number));
        self.messages.extend((!is_known).then_some(message));
        None
    }

    /// Takes the oldest.
    pub(super) fn next(&mut self) -> Option<Up> {
        let message = self.messages.pop_front()?;
        if let Up::Ask(ask) = &message {
            self.questions.remove(&ask.number);
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::super::form::{Ask, PayerForm};
    use super::*;

    fn ask(number: u64) -> Up {
        let payer = PayerForm { socket: "r1-c1".to_owned(), user: None };
        let watch = vec![(true, "room".to_owned())];
        Up::Ask(Ask { number, payer, units: 1, enters: false, listens: false, from: None, only: None, watch })
    }

    #[test]
    fn a_repeated_question_is_postponed_once_and_what_has_a_small_answer_is_not() {
        let mut postponed = Postponed::default();
        let roster = || Up::Roster { session: (0, 0), topic: (true, "room".to_owned()) };
        for message in [ask(2), roster(), ask(1), ask(2), roster()] {
            assert!(postponed.add(message).is_none());
        }
        assert!(postponed.add(Up::Gone { client: "r1-c1".to_owned() }).is_some());
        let numbers = std::iter::from_fn(|| postponed.next()).map(|message| match message {
            Up::Ask(ask) => ask.number,
            _ => 0,
        });
        assert_eq!(numbers.collect::<Vec<_>>(), [2, 0, 1, 0]);
        assert!(postponed.add(ask(2)).is_none() && postponed.next().is_some());
        (0..MAX_POSTPONED).for_each(|_| assert!(postponed.add(roster()).is_none()));
        assert!(postponed.add(roster()).is_some());
    }
}
