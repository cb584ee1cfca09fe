//! Several events in one frame, for sessions that opt in. The events of one input are sent together, and under load so
//! are those of a short window, which grows with the number of recipients. The first event after a pause is sent at
//! once, so batching adds no delay to an idle tenant.
//!
//! Sockets with the same pending events share one list, so each event is handled once. When an input ends, a list holds
//! only events that are stored or need no storage. The lists exist in memory only: see [`Delivery::give_up`].

use std::collections::BTreeMap;
use std::mem::take;
use std::rc::Rc;

use super::Delivery;
use crate::code::Code;
use crate::engine::effect::{Effect, Task};
use crate::engine::event::Event;
use crate::engine::input::{DialectId, SocketId};
use crate::engine::message::Out;
use crate::policy::configuration::MAX_BATCH_MILLISECONDS;

/// Limits on the pending events and their bytes; beyond them all lists are flushed at once.
const MAX_WAITING: usize = 1_000;
const MAX_WAITING_BYTES: usize = 1 << 20;
/// The most lists that one event is added to. Each list is encoded separately, and beyond this few sockets share one
/// anyway.
const MAX_LISTS_OF_EVENT: usize = 16;
/// How many frames of a flush lengthen the next window by a millisecond. The runtime takes 25 to 50 µs for a frame, so
/// sending takes at most two thirds of the thread's time.
const FRAMES_PER_MILLISECOND: usize = 12;

/// Pending events of sockets that accept several per frame.
#[derive(Default)]
pub(super) struct Batches {
    lists: Vec<List>,
    /// The list of each socket that has pending events.
    places: BTreeMap<SocketId, usize>,
    /// The end of the current window, in Unix milliseconds.
    window_end: u64,
    /// Events over all lists (a shared event counts once), and their bytes.
    count: usize,
    bytes: usize,
    /// Frames of the last flush of all lists.
    flushed: usize,
    /// Sockets closed during this input; their numbers may be reused by the next.
    gone: Vec<SocketId>,
}

/// The same events for several sockets of one dialect.
struct List {
    dialect: DialectId,
    to: Vec<SocketId>,
    events: Vec<Event>,
}

impl Batches {
    /// Removes a closed socket when this input ends.
    pub(super) fn forget(&mut self, socket: SocketId) {
        self.gone.push(socket);
    }

    /// When the current window ends, in Unix milliseconds; `None` when no event is pending.
    fn deadline(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.window_end)
    }

    fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How long events wait after the last flush, in milliseconds; at least as long as configured.
    fn window(&self, configured: u64) -> u64 {
        let paced = u64::try_from(self.flushed / FRAMES_PER_MILLISECOND).unwrap_or(MAX_BATCH_MILLISECONDS);
        if configured == 0 { 0 } else { configured.max(paced.min(MAX_BATCH_MILLISECONDS)) }
    }

    /// Adds an event to the lists of these sockets. If they share hardly any list, the event is sent at once, after the
    /// pending events of each socket, so that it is encoded once for all of them.
    fn add(&mut self, dialect: DialectId, to: Vec<SocketId>, event: Event) -> Vec<Effect> {
        self.count += 1;
        self.bytes += event.bytes();
        // Consecutive events usually have the same recipients.
        let place = to.first().and_then(|first| self.places.get(first));
        if let Some(list) = place.and_then(|place| self.lists.get_mut(*place)).filter(|list| list.to == to) {
            list.events.push(event);
            return Vec::new();
        }
        let mut parts: BTreeMap<Option<usize>, Vec<SocketId>> = BTreeMap::new();
        for socket in &to {
            parts.entry(self.places.get(socket).copied()).or_default().push(*socket);
        }
        if parts.len() > MAX_LISTS_OF_EVENT {
            let mut effects = self.take_for(to.iter().copied());
            effects.push(Effect::Deliver { to, dialect, address: None, event, may_wait: false });
            return effects;
        }
        for (place, part) in parts {
            match place.and_then(|place| self.lists.get_mut(place)) {
                Some(list) if list.to.len() == part.len() => list.events.push(event.clone()),
                Some(list) => {
                    let events = list.events.iter().cloned().chain([event.clone()]).collect();
                    self.begin(dialect, part, events);
                }
                None => self.begin(dialect, part, vec![event.clone()]),
            }
        }
        Vec::new()
    }

    /// Starts a list; its sockets leave their previous one.
    fn begin(&mut self, dialect: DialectId, to: Vec<SocketId>, events: Vec<Event>) {
        let place = self.lists.len();
        let mut left = None;
        for socket in &to {
            left = self.places.insert(*socket, place);
        }
        let places = &self.places;
        if let Some((left, list)) = left.and_then(|left| Some((left, self.lists.get_mut(left)?))) {
            list.to.retain(|socket| places.get(socket) == Some(&left));
        }
        self.lists.push(List { dialect, to, events });
    }

    /// Takes the pending events of these sockets, which leave their lists: one delivery per list.
    fn take_for(&mut self, sockets: impl IntoIterator<Item = SocketId>) -> Vec<Effect> {
        let mut parts: BTreeMap<usize, Vec<SocketId>> = BTreeMap::new();
        for socket in sockets {
            if let Some(place) = self.places.remove(&socket) {
                parts.entry(place).or_default().push(socket);
            }
        }
        let mut taken = Vec::new();
        for (place, part) in parts {
            let Some(list) = self.lists.get_mut(place) else { continue };
            list.to.retain(|socket| self.places.get(socket) == Some(&place));
            let events = if list.to.is_empty() { take(&mut list.events) } else { list.events.clone() };
            taken.push(deliver(list.dialect, part, events));
        }
        taken
    }

    /// Takes all lists.
    fn take_all(&mut self) -> impl Iterator<Item = Effect> + use<> {
        (self.count, self.bytes) = (0, 0);
        self.flushed = self.places.len();
        self.places.clear();
        let lists = take(&mut self.lists).into_iter().filter(|list| !list.to.is_empty());
        lists.map(|List { dialect, to, events }| deliver(dialect, to, events))
    }
}

fn deliver(dialect: DialectId, to: Vec<SocketId>, mut events: Vec<Event>) -> Effect {
    let event = match (events.pop(), events.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            events.extend(last);
            Event::Batch(Rc::from(events))
        }
    };
    Effect::Deliver { to, dialect, address: None, event, may_wait: false }
}

impl Delivery {
    /// Batches events for recipients that accept it. An event that must not wait is sent after the pending events of
    /// its socket, so that every socket receives its events in order.
    pub(in crate::engine) fn batch(&mut self, now: u64, out: &mut Out) {
        if self.batches.is_empty() && !out.effects.iter().any(may_wait) {
            self.batches.gone.clear();
            return;
        }
        for effect in take(&mut out.effects) {
            match effect {
                Effect::Deliver { to, dialect, event, may_wait: true, .. } => {
                    out.effects.extend(self.batches.add(dialect, to, event));
                }
                effect => {
                    self.overtake(&effect, out);
                    out.effects.push(effect);
                }
            }
        }
        let gone = take(&mut self.batches.gone);
        drop(self.batches.take_for(gone));
        self.flush_batches(now, out);
    }

    /// Flushes the lists of sockets that an effect must not overtake.
    fn overtake(&mut self, effect: &Effect, out: &mut Out) {
        match effect {
            Effect::Deliver { to, .. } => {
                out.effects.extend(self.batches.take_for(to.iter().copied()));
            }
            Effect::Do(Task::Close { socket, .. }) => out.effects.extend(self.batches.take_for([*socket])),
            Effect::Do(_) => {}
        }
    }

    /// Flushes all lists once the window is over or full. A clock that goes back must not extend the wait beyond one
    /// window.
    fn flush_batches(&mut self, now: u64, out: &mut Out) {
        let configured = self.configuration.batch_milliseconds;
        let window = self.batches.window(configured);
        let is_over = now >= self.batches.window_end || self.batches.window_end > now.saturating_add(window);
        let is_full = self.batches.count > MAX_WAITING || self.batches.bytes > MAX_WAITING_BYTES;
        if !self.batches.is_empty() && (is_over || is_full) {
            out.effects.extend(self.batches.take_all());
            self.batches.window_end = now.saturating_add(self.batches.window(configured));
        }
    }

    /// When pending events are due, in Unix milliseconds.
    pub(in crate::engine) fn next_batch(&self) -> Option<u64> {
        self.batches.deadline()
    }

    /// The memory is about to be lost, but the sockets survive: those with pending events have to reconnect.
    pub(in crate::engine) fn give_up(&mut self) -> Vec<Effect> {
        let lists = take(&mut self.batches).lists;
        let waiting =
            lists.into_iter().flat_map(|List { dialect, to, .. }| to.into_iter().map(move |to| (to, dialect)));
        let close = |(socket, dialect)| Task::Close { socket, dialect: Some(dialect), code: Code::ServiceRestart };
        waiting.map(|socket| Effect::Do(close(socket))).collect()
    }
}

fn may_wait(effect: &Effect) -> bool {
    matches!(effect, Effect::Deliver { may_wait: true, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECT: DialectId = DialectId(0);

    fn sockets(numbers: &[u32]) -> Vec<SocketId> {
        numbers.iter().copied().map(SocketId).collect()
    }

    fn event(time: u64) -> Event {
        Event::Heartbeat { time }
    }

    fn times(event: &Event) -> Vec<u64> {
        match event {
            Event::Heartbeat { time } => vec![*time],
            Event::Batch(events) => events.iter().flat_map(times).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// The events of each socket, and the number of frames that carry them.
    fn told(batches: &mut Batches) -> (BTreeMap<u32, Vec<u64>>, usize) {
        let (mut told, mut frames) = (BTreeMap::<u32, Vec<u64>>::new(), 0);
        for effect in batches.take_all() {
            let Effect::Deliver { to, event, .. } = effect else { panic!("{effect:?}") };
            frames += 1;
            for socket in to {
                told.entry(socket.0).or_default().extend(times(&event));
            }
        }
        (told, frames)
    }

    #[test]
    fn those_who_are_told_the_same_share_a_frame() {
        let mut batches = Batches::default();
        batches.add(DIALECT, sockets(&[1, 2, 3, 4]), event(1));
        batches.add(DIALECT, sockets(&[1, 2, 3, 4]), event(2));
        batches.add(DIALECT, sockets(&[3, 2]), event(3));
        batches.add(DIALECT, sockets(&[2, 3, 5]), event(4));
        let expected = [(1, vec![1, 2]), (2, vec![1, 2, 3, 4]), (3, vec![1, 2, 3, 4]), (4, vec![1, 2]), (5, vec![4])];
        assert_eq!(told(&mut batches), (BTreeMap::from(expected), 3));
        assert_eq!(told(&mut batches), (BTreeMap::new(), 0), "once");
    }

    #[test]
    fn those_who_are_taken_out_together_share_a_frame() {
        let mut batches = Batches::default();
        let all: Vec<u32> = (0..1_000).collect();
        batches.add(DIALECT, sockets(&all), event(1));
        batches.add(DIALECT, sockets(&all[..500]), event(2));
        let taken = batches.take_for(sockets(&all));
        let told = taken.iter().map(|effect| match effect {
            Effect::Deliver { to, event, .. } => (to.len(), times(event)),
            other => panic!("{other:?}"),
        });
        let told: Vec<_> = told.collect();
        assert_eq!(told, [(500, vec![1]), (500, vec![1, 2])]);
        assert_eq!(batches.take_all().count(), 0);
    }

    /// Each socket skips a different event, so no two receive the same.
    #[test]
    fn however_different_recipients_are_an_event_is_encoded_a_few_times() {
        let mut batches = Batches::default();
        let (mut told, mut encoded) = (BTreeMap::<u32, Vec<u64>>::new(), 0);
        let mut note = |effects: Vec<Effect>| {
            for effect in effects {
                let Effect::Deliver { to, event, .. } = effect else { panic!("{effect:?}") };
                let times = times(&event);
                encoded += times.len();
                to.iter().for_each(|socket| told.entry(socket.0).or_default().extend(&times));
            }
        };
        for time in 0..100 {
            let to: Vec<u32> = (0..100).filter(|socket| u64::from(*socket) != time).collect();
            note(batches.add(DIALECT, sockets(&to), event(time)));
        }
        note(batches.take_all().collect());
        for (socket, times) in told {
            assert!(times.into_iter().eq((0..100).filter(|time| *time != u64::from(socket))), "{socket}");
        }
        assert!(encoded <= 100 * (MAX_LISTS_OF_EVENT + 1), "{encoded}");
    }

    #[test]
    fn the_window_grows_with_the_sockets_that_were_sent_to() {
        let window_after = |count: u32, configured| {
            let mut batches = Batches::default();
            batches.add(DIALECT, (0..count).map(SocketId).collect(), event(1));
            batches.add(DIALECT, (0..count).map(SocketId).collect(), event(2));
            assert_eq!(batches.take_all().count(), 1);
            batches.window(configured)
        };
        assert_eq!([1, 400, 1_000, 5_000].map(|count| window_after(count, 20)), [20, 33, 83, 90]);
        assert_eq!(
            (window_after(1_000, 90), window_after(5_000, 0)),
            (90, 0),
            "as configured, where that is longer or off"
        );
    }

    #[test]
    fn one_that_is_taken_out_leaves_the_others_theirs() {
        let mut batches = Batches::default();
        batches.add(DIALECT, sockets(&[1, 2]), event(1));
        let taken = batches.take_for([SocketId(1)]);
        let [Effect::Deliver { to, event: taken, .. }] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!((to.clone(), times(taken)), (sockets(&[1]), vec![1]));
        assert!(batches.take_for([SocketId(1)]).is_empty());
        batches.add(DIALECT, sockets(&[1, 2]), event(2));
        assert_eq!(told(&mut batches), (BTreeMap::from([(1, vec![2]), (2, vec![1, 2])]), 2));
    }
}
