//! The root's part in catching up: what it sends a relay that has missed something, and what it stores so that another
//! life can.

use super::codec;
use super::form::{AnswerForm, Ask, Down, FromForm, text};
use super::hub::Hub;
use super::link::Link;
use crate::engine::command::Position;
use crate::engine::effect::{Task, Write};
use crate::engine::figures::MissedByRelays;
use crate::engine::input::Stored;
use crate::engine::message::{Accepted, Missed, Out, ToDelivery};

/// The fact that records batches in flight.
const FACT: &str = "relays";

/// What is in flight to relays, and would be lost with the root's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Busy {
    /// Nothing.
    Idle,
    /// Messages that the history has, or that are repeated anyway.
    Retained,
    /// A message that cannot be repeated.
    Unretained,
}

impl Busy {
    /// The stored state. An earlier version did not distinguish the two.
    pub(super) fn read(stored: &Stored) -> Busy {
        match stored.facts.get(FACT).map(String::as_str) {
            Some("1") => Busy::Unretained,
            Some("2") => Busy::Retained,
            _ => Busy::Idle,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Busy::Idle => "0",
            Busy::Retained => "2",
            Busy::Unretained => "1",
        }
    }

    /// Tells a relay that the previous life may have lost messages. How many is unknown, so it counts as one.
    pub(super) fn told_after(self, link: &mut Link) {
        match self {
            Busy::Idle => {}
            Busy::Retained => link.fall_behind(0),
            Busy::Unretained => link.fall_behind(1),
        }
    }
}

/// Whether a message can be repeated from the history.
pub(super) fn is_retained(message: &ToDelivery) -> bool {
    matches!(message, ToDelivery::Publish { accepted, .. } if accepted.is_retained)
}

impl Ask {
    /// Whether a relay asks for itself rather than for one of its sockets.
    pub(super) fn is_for_relay(&self) -> bool {
        matches!(self.from, Some(FromForm::All { .. }))
    }
}

impl Hub {
    /// Stores the state before anything is sent. It is only lowered once nothing is in flight, which saves a row.
    pub(super) fn note_busy(&mut self, out: &mut Out) {
        let level = |link: &Link| match (link.is_idle(), link.has_unretained()) {
            (true, _) => Busy::Idle,
            (false, false) => Busy::Retained,
            (false, true) => Busy::Unretained,
        };
        let now = self.links.values().map(level).max().unwrap_or(Busy::Idle);
        let now = if now == Busy::Idle { now } else { now.max(self.busy) };
        if now != self.busy {
            self.busy = now;
            out.run(Task::Write(Write::Fact { name: FACT, value: now.text().to_owned() }));
        }
    }

    /// What relays have missed since the object was constructed.
    pub(in crate::engine) fn missed(&self) -> MissedByRelays {
        let mut missed = self.missed_before;
        self.links.values().for_each(|link| missed.add(link.lost, link.recovered));
        missed
    }

    /// Sends a relay a portion of what it missed, or that it cannot be recovered.
    pub(in crate::engine) fn answer_missed(
        &mut self,
        (relay, ask): (u32, &Ask),
        missed: Option<Missed>,
        position: Position,
    ) {
        let Some(link) = self.links.get_mut(&relay) else { return };
        let read = match missed {
            Some(Missed::Everything(read)) => Some(read),
            Some(Missed::TooMuch) | None => None,
        };
        let last = read.as_ref().and_then(|read| read.last()).map(|last| last.offset);
        let rows = read.and_then(|read| wanted(read, ask, link));
        match &rows {
            Some(rows) => link.recovered += rows.len() as u64,
            None => link.lost += 1,
        }
        let missed = codec::missed_form(&rows.map_or(Missed::TooMuch, Missed::Everything));
        let answer = text(&Down::Answer(Box::new(AnswerForm {
            number: ask.number,
            epoch: position.epoch,
            offset: position.offset,
            connections: 0,
            of_user: 0,
            listeners: 0,
            refusal: None,
            missed: Some(missed),
            read_to: last.filter(|last| *last < position.offset),
            rosters: Vec::new(),
        })));
        if !link.push_reply(answer.into()) {
            self.repeat_tables(relay);
        }
    }
}

/// Those of these that may have a recipient at a relay; `None` if some must be judged for each session first.
fn wanted(read: Vec<Accepted>, ask: &Ask, link: &Link) -> Option<Vec<Accepted>> {
    let everything = matches!(ask.from, Some(FromForm::All { everything: true, .. }));
    // What a grant in flight adds to a session's interest is sent after it as usual, and need not be read.
    let is_wanted = |accepted: &Accepted| everything || link.interest.wants_publication(&accepted.publication);
    let wanted = read.into_iter().filter(is_wanted);
    wanted.map(|accepted| accepted.publication.database.is_none().then_some(accepted)).collect()
}
