//! Future events, in the order of their time.

use std::collections::BTreeMap;

use realtime_worker::engine::census::Census;
use realtime_worker::engine::relay::Peer;

/// Something that happens at a time.
pub(crate) enum Event {
    /// The API worker publishes to a place.
    Publish { place: usize },
    /// A client asks the Worker for a socket.
    Come { person: u32 },
    /// The Worker's request arrives at an object.
    Open { person: u32, isolate: usize, object: usize },
    /// The organization's object has answered a relay, in this life of the relay.
    Admitted { person: u32, isolate: usize, object: usize, life: u32, census: Census },
    /// The first frame of a client arrives.
    Authenticate { person: u32, connection: u32 },
    /// A client's network fails.
    Leave { person: u32, connection: u32 },
    /// An object notices that.
    Closed { object: usize, life: u32, socket: u32, connection: u32 },
    /// A request between objects arrives.
    Arrive { letter: Letter },
    /// Its answer arrives, or it is known that there is none.
    Answered { from: usize, life: u32, peer: Peer, answer: Option<String> },
    /// A timer of a life is due.
    Tick { object: usize, life: u32 },
    /// An alarm is due, unless it was set to another time.
    Alarm { object: usize, time: u64 },
    /// An object loses its memory, and its sockets stay.
    Sleep { object: usize },
    /// An object loses both.
    Crash { object: usize },
}

/// A request between two objects.
pub(crate) struct Letter {
    pub(crate) from: usize,
    /// The life that sent it.
    pub(crate) life: u32,
    pub(crate) to: usize,
    pub(crate) body: String,
}

/// The future events. Events of the same time keep their order.
#[derive(Default)]
pub(crate) struct Queue {
    events: BTreeMap<(u64, u64), Event>,
    last: u64,
}

impl Queue {
    pub(crate) fn add(&mut self, time: u64, event: Event) {
        self.last += 1;
        self.events.insert((time, self.last), event);
    }

    /// The next event before a time.
    pub(crate) fn pop_before(&mut self, end: u64) -> Option<(u64, Event)> {
        let entry = self.events.first_entry().filter(|entry| entry.key().0 < end)?;
        let ((time, _), event) = entry.remove_entry();
        Some((time, event))
    }
}
