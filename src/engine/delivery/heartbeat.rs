//! Heartbeats for sockets whose dialect requires them.
//!
//! A heartbeat is due at every multiple of the dialect's period. A wake can therefore derive the next one from the
//! last, and one deadline serves all sockets whenever they opened.

use std::collections::{BTreeMap, BTreeSet};

use super::socket::Socket;
use crate::engine::effect::{Effect, Task, Write};
use crate::engine::event::Event;
use crate::engine::input::{DialectId, SocketId};
use crate::engine::message::Out;

/// The fact under which a wake finds the time of the last heartbeat.
pub(super) const BEAT: &str = "heartbeat";

/// The sockets that receive heartbeats.
#[derive(Default)]
pub(super) struct Heartbeats {
    /// By dialect, with the next due time in Unix milliseconds.
    rhythms: BTreeMap<DialectId, Rhythm>,
    /// When the last heartbeat was sent.
    last: u64,
}

struct Rhythm {
    period: u64,
    next: u64,
    sockets: BTreeSet<SocketId>,
}

impl Heartbeats {
    /// The state after a wake, from the last heartbeat before it.
    pub(super) fn after(last: Option<&String>) -> Heartbeats {
        Heartbeats { rhythms: BTreeMap::new(), last: last.and_then(|time| time.parse().ok()).unwrap_or(0) }
    }

    /// Adds a socket if its dialect has heartbeats.
    pub(super) fn add(&mut self, socket: &Socket) {
        let Some(period) = socket.profile.heartbeat else { return };
        // A surviving socket must neither miss a heartbeat nor receive one twice.
        let next = next(socket.opened.max(self.last), period);
        let new = || Rhythm { period, next, sockets: BTreeSet::new() };
        let rhythm = self.rhythms.entry(socket.dialect).or_insert_with(new);
        rhythm.next = rhythm.next.min(next);
        rhythm.sockets.insert(socket.id);
    }

    /// Removes a closed socket.
    pub(super) fn remove(&mut self, socket: &Socket) {
        let Some(rhythm) = self.rhythms.get_mut(&socket.dialect) else { return };
        rhythm.sockets.remove(&socket.id);
        if rhythm.sockets.is_empty() {
            self.rhythms.remove(&socket.dialect);
        }
    }

    /// When the next heartbeat is due, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.rhythms.values().map(|rhythm| rhythm.next).min()
    }
}

impl Heartbeats {
    /// Sends the heartbeats that are due.
    pub(super) fn beat(&mut self, now: u64, out: &mut Out) {
        for (dialect, rhythm) in self.rhythms.iter_mut().filter(|(_, rhythm)| rhythm.next <= now) {
            rhythm.next = next(now, rhythm.period);
            self.last = now;
            let to = rhythm.sockets.iter().copied().collect();
            let event = Event::Heartbeat { time: now };
            out.effects.push(Effect::Deliver { to, dialect: *dialect, address: None, event, may_wait: false });
            out.run(Task::Write(Write::Fact { name: BEAT, value: now.to_string() }));
        }
    }
}

/// The first multiple of the period after `now`.
fn next(time: u64, period: u64) -> u64 {
    let period = period.max(1);
    (time / period).saturating_add(1).saturating_mul(period)
}
