//! Where new sockets go, and how full the objects are.

use super::form::{Down, text};
use super::hub::Hub;
use super::link::Link;

/// How often relays are asked for their counts, in milliseconds.
const COUNTS_EVERY: u64 = 60_000;

impl Hub {
    /// The object for the next socket: 0 for the root, otherwise a relay. They are filled one after another.
    pub(in crate::engine) fn place(&self, own: u64) -> u32 {
        let least = || (1..=self.configuration.max).min_by_key(|relay| self.load(*relay));
        self.with_room(own).or_else(least).unwrap_or_default()
    }

    fn with_room(&self, own: u64) -> Option<u32> {
        let share = self.configuration.sockets;
        if own < share { Some(0) } else { (1..=self.configuration.max).find(|relay| self.load(*relay) < share) }
    }

    fn load(&self, relay: u32) -> u64 {
        self.links.get(&relay).map_or(0, |link| link.counted() + link.pending)
    }

    /// Asks the relays how many sockets they have, if there seems to be no room for another. A relay that has lost its
    /// sockets with its memory only says so once something wakes it, and nobody must be refused for these. `own`: the
    /// root's sockets, authenticated and not.
    pub(in crate::engine) fn ask_counts(&mut self, now: u64, own: (u64, u64), max: u64) {
        let connections = self.census.borrow().connections.saturating_add(own.0);
        let is_at_limit = connections >= max;
        let has_room = !is_at_limit && self.with_room(own.0 + own.1).is_some();
        if has_room || now.abs_diff(self.counts_asked) < COUNTS_EVERY {
            return;
        }
        self.counts_asked = now;
        // Where only the shares are used up, sockets are opened nevertheless, and relays that have spoken may rest.
        let is_asked = |link: &&mut Link| link.is_idle() && (is_at_limit || link.life.is_none());
        self.links.values_mut().filter(is_asked).for_each(Link::ask_counts);
    }
}

impl Link {
    /// Sends an answer to no session, because the batch's own answer has the counts.
    fn ask_counts(&mut self) {
        self.push_reply(text(&Down::Done { session: (u32::MAX, u32::MAX), id: String::new() }).into());
    }
}
