//! One tenant: passes messages between its two halves and keeps one alarm for all deadlines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::delivery::Delivery;
use super::effect::{Administered, Effect, Task};
use super::figures::Figures;
use super::input::{ConnectionQuery, DialectId, Input, PresenceRow, SocketId, Stored};
use super::leftovers::Leftovers;
use super::message::Out;
use super::profile::Profiles;
use super::relay::{Hub, RelayQuestions, Up};
use super::stream::Stream;
use crate::policy::configuration::Configuration;
use crate::policy::limits::AUTH_DEADLINE;

/// One organization's stream and connections.
///
/// Every input is handled completely, and its effects are executed in order before the next input.
pub struct Tenant {
    pub(super) stream: Stream,
    pub(super) delivery: Delivery,
    /// The relays, if the configuration allows any.
    pub(super) hub: Option<Hub>,
    /// Messages of relays that have not been handled yet.
    pub(super) relayed: VecDeque<(u32, Up)>,
    /// The questions of relays to the database.
    pub(super) questions: RelayQuestions,
    leftovers: Leftovers,
    alarm: Option<u64>,
    /// The pending timers, by due time.
    timers: BTreeSet<u64>,
    since: u64,
}

/// What a tenant needs from its environment at wake.
pub struct Environment {
    /// The time, in Unix milliseconds.
    pub now: u64,
    /// The tenant's id.
    pub organization: String,
    /// The deployment's configuration.
    pub configuration: Rc<Configuration>,
    /// A random epoch, used if this life starts the stream.
    pub epoch: String,
}

impl Tenant {
    /// Wakes a tenant: after a first start, a hibernation, a deploy or a crash alike (invariant 4).
    pub fn wake(environment: Environment, profiles: Profiles, mut stored: Stored, effects: &mut Vec<Effect>) -> Tenant {
        let Environment { now, organization, configuration, epoch } = environment;
        let mut out = Out::default();
        let organization: Rc<str> = Rc::from(organization);
        let environment = (configuration.clone(), &*organization);
        let mut stream = Stream::wake(now, environment, epoch.clone(), &stored);
        let limits_listeners = configuration.app(&organization).is_some_and(|app| app.listeners.is_some());
        let hub = configuration.relays.map(|relays| Hub::wake((relays, limits_listeners), epoch, &stored));
        let places = stream.presence().places();
        let of_relay = |(client, _): &&(Rc<str>, _)| hub.as_ref().is_some_and(|hub| hub.has(client));
        let own: BTreeSet<_>;
        let places = match &hub {
            None => places,
            Some(_) => {
                own = places.iter().filter(|place| !of_relay(place)).cloned().collect();
                &own
            }
        };
        if hub.is_none() {
            Hub::forget_all(&stored, &mut out);
        }
        let mut delivery =
            Delivery::wake(now, organization, (configuration, profiles), &mut stored, Some(places), &mut out);
        hub.iter().for_each(|hub| delivery.count_in(hub.census()));
        stream.learn(delivery.catalog());
        let leftovers = Leftovers::new(stored.gone, now);
        let (relayed, timers) = (VecDeque::new(), BTreeSet::new());
        let questions = RelayQuestions::default();
        let mut tenant =
            Tenant { stream, delivery, hub, relayed, questions, leftovers, alarm: None, timers, since: now };
        tenant.leftovers.remove_due(now, !tenant.delivery.is_empty(), &mut out);
        // No alarm is set here: if an alarm is what wakes the object, the runtime would treat it as cancelled.
        tenant.settle(now, out, effects);
        tenant.set_timer(effects);
        tenant
    }

    /// Handles one input; `now` in Unix milliseconds.
    pub fn handle(&mut self, now: u64, input: Input, effects: &mut Vec<Effect>) {
        let mut out = Out::default();
        // Runs while the object wakes, when no alarm may be set.
        let is_waking = matches!(input, Input::GoneRead(_));
        let may_end_in_vain = matches!(input, Input::Alarm) || !self.delivery.is_empty();
        self.delivery.expire(now, &mut out);
        self.delivery.flush_presence(now, &mut out);
        self.dispatch(now, input, &mut out);
        self.settle(now, out, effects);
        self.set_timer(effects);
        if may_end_in_vain && self.delivery.is_empty() && !self.stream.has_begun() {
            self.alarm = None;
            effects.push(Effect::Do(Task::DeleteStorage));
            return;
        }
        if !is_waking {
            self.arm(effects);
        }
    }

    fn dispatch(&mut self, now: u64, input: Input, out: &mut Out) {
        match input {
            Input::Open(open) => self.open(now, open, out),
            Input::Frame { socket, frame, bytes } => self.delivery.frame(now, socket, frame, bytes, out),
            Input::Closed { socket } => self.delivery.closed(socket, out),
            Input::Publish { publications, remembered } => self.stream.publish(now, publications, remembered, out),
            Input::PublishForClient { publisher, publications } => {
                match self.delivery.pay_for(now, &publisher, &publications) {
                    Ok(()) => self.stream.publish_all(now, publications, BTreeMap::new(), out),
                    Err(refusal) => out.run(Task::Published(Err(refusal))),
                }
            }
            Input::Recalled(remembered) => self.recalled(now, remembered, out),
            Input::HistoryRead(read) => self.stream.history_read(read, out),
            Input::GoneRead(rows) => self.gone_read(rows.unwrap_or_default(), out),
            Input::KeysFetched(answer) => {
                self.delivery.keys_fetched(now, answer.as_ref().map(|(time, text)| (*time, text.as_str())))
            }
            Input::Changes(batch) => self.stream.changes(now, *batch, out),
            Input::Feed { is_lost, catalog } => self.fed(now, is_lost, catalog, out),
            Input::InterestAnswered { revision, catalog } => self.interest_answered(now, revision, catalog, out),
            Input::Judged { number, verdicts } => self.judged(number, verdicts, out),
            Input::Unread { socket, bytes } => self.delivery.unread(socket, bytes, out),
            Input::Tick => drop(self.timers.pop_first()),
            Input::Authorized { number, grant } => self.authorized(now, number, grant),
            Input::Called(answer) => self.delivery.called(answer, out),
            Input::Alarm => self.housekeep(now, out),
            Input::Connections(query) => out.run(self.connections(&query)),
            Input::Tables(changes) => {
                let states = self.delivery.administer(now, changes, out).map(Administered::Tables);
                self.tell_tables();
                out.run(Task::Administered(states));
            }
            Input::Channels => out.run(Task::Administered(Ok(Administered::Channels(self.delivery.channels())))),
            Input::Stats => out.run(Task::Figures(Box::new(self.figures()))),
            of_relays => self.of_relays(now, of_relays, out),
        }
    }

    /// Ends this life because its memory is ahead of the storage. Requests that are lost with it must be repeated by
    /// clients.
    pub fn give_up(&mut self) -> Vec<Effect> {
        self.delivery.give_up()
    }

    /// A free socket number, the same until a connection opens under it.
    pub fn vacant(&mut self) -> SocketId {
        self.delivery.vacant()
    }

    /// How many sockets there are, authenticated or not.
    pub fn sockets(&self) -> u64 {
        let (authenticated, pending) = self.delivery.counts();
        authenticated + pending
    }

    /// The dialect of a connection; `None` if it does not exist.
    pub fn dialect(&self, socket: SocketId) -> Option<DialectId> {
        self.delivery.dialect(socket)
    }

    fn connections(&self, query: &ConnectionQuery) -> Task {
        let mut connections = self.delivery.connections(query);
        connections.relays = self.hub.as_ref().map(Hub::numbers).unwrap_or_default();
        Task::Administered(Ok(Administered::Connections(connections)))
    }

    fn housekeep(&mut self, now: u64, out: &mut Out) {
        self.alarm = None;
        self.stream.housekeep(now, out);
        self.leftovers.remove_due(now, !self.delivery.is_empty(), out);
    }

    /// Removes the presences of closed sockets and informs the listeners.
    fn gone_read(&mut self, mut rows: Vec<PresenceRow>, out: &mut Out) {
        rows.retain(|row| self.delivery.hears_presence(row));
        self.stream.let_leave(&rows, out);
        self.leftovers.remove_read(out);
    }

    /// Exchanges messages until none are left, then stores what must outlive memory.
    fn settle(&mut self, now: u64, mut out: Out, effects: &mut Vec<Effect>) {
        loop {
            self.carry(now, &mut out);
            self.delivery.hold(&mut out);
            if out.to_stream.is_empty() && out.to_delivery.is_empty() {
                break;
            }
        }
        self.delivery.batch(now, &mut out);
        self.forget_relays(&mut out);
        self.delivery.save(now, &mut out);
        self.answer_listeners(&mut out);
        self.tell_relays(now, &mut out);
        effects.append(&mut out.effects);
    }

    /// The next message of a relay, unless a history read or an idempotency look-up for an earlier message is pending.
    fn next_relayed(&mut self) -> Option<(u32, Up)> {
        if self.stream.is_reading() || self.stream.recalling().is_some() {
            return None;
        }
        let hub = self.hub.as_mut()?;
        while let Some((relay, message)) = self.relayed.pop_front() {
            if let Some(message) = hub.postpone(relay, message) {
                return Some((relay, message));
            }
        }
        hub.next_postponed()
    }

    fn carry(&mut self, now: u64, out: &mut Out) {
        loop {
            if let Some(message) = out.to_stream.pop_front() {
                self.stream.receive(now, message, out);
            } else if let Some(message) = out.to_delivery.pop_front() {
                self.deliver(now, message, out);
            } else if let Some((relay, message)) = self.next_relayed() {
                self.relayed(now, relay, message, out);
            } else if self.stream.is_reading() || !self.delivery.release(now, out) {
                // Waiting frames continue once the history that an earlier frame requested has been read: frames keep
                // their order, and only one connection reads at a time.
                break;
            }
        }
    }

    /// Sets the alarm if it would fire too late, or so early that it would wake a hibernating object for nothing. An
    /// alarm that is slightly too early is left alone, because connections that are authenticating would otherwise move
    /// it back and forth at the cost of a write each. After a wake its time is unknown, and asking would need an await,
    /// so it is set again.
    fn arm(&mut self, effects: &mut Vec<Effect>) {
        let relays = self.hub.as_ref().and_then(Hub::deadline);
        let deadlines = [self.delivery.deadline(), self.stream.deadline(), self.leftovers.deadline(), relays];
        let Some(next) = deadlines.into_iter().flatten().min() else { return };
        let fits = |alarm: u64| (next.saturating_sub(AUTH_DEADLINE)..=next).contains(&alarm);
        if !self.alarm.is_some_and(fits) {
            self.alarm = Some(next);
            effects.push(Effect::Do(Task::SetAlarm(next)));
        }
    }

    /// Sets a timer for coalesced events, unless one is due just as early.
    fn set_timer(&mut self, effects: &mut Vec<Effect>) {
        let due = [self.delivery.next_flush(), self.delivery.next_batch()].into_iter().flatten().min();
        let is_sooner = |due: &u64| self.timers.first().is_none_or(|first| due < first);
        if let Some(due) = due.filter(is_sooner) {
            self.timers.insert(due);
            effects.push(Effect::Do(Task::SetTimer(due)));
        }
    }

    fn figures(&self) -> Figures {
        let position = self.stream.position();
        let mut figures = Figures {
            presence: self.stream.presence().places().len() as u64,
            epoch: position.epoch,
            offset: position.offset,
            publications: self.stream.publications,
            deliveries: self.stream.deliveries,
            since: self.since,
            relays: self.hub.as_ref().map(Hub::figures).unwrap_or_default(),
            missed_by_relays: self.hub.as_ref().map(Hub::missed),
            ..Figures::default()
        };
        self.delivery.figures(&mut figures);
        if let Some(database) = &mut figures.database {
            (database.failed, database.lost) = (self.stream.failed, self.stream.lost);
        }
        figures
    }
}
