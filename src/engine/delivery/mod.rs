//! The delivery half of a tenant: its sockets and sessions, their subscriptions, and what each of them sees.
//!
//! Work is done once per class of sessions, and per session only if a rule singles it out; nothing walks all sessions
//! (invariant 6).

mod arrivals;
mod attachment;
mod attempts;
mod away;
mod awaiting;
mod backlog;
mod batching;
mod beside;
pub mod call;
mod channel;
mod claim_index;
mod class;
mod class_key_cache;
mod client_key;
mod database;
mod fan_out;
mod figures;
mod filter_index;
mod filter_meter;
mod frame;
mod gathering;
mod grants;
mod heartbeat;
mod held;
mod identity;
mod judging;
mod memberships;
mod opening;
mod presence_windows;
mod reading;
mod registry;
mod rights;
mod rosters;
mod rules;
mod session;
mod socket;
mod spending;
mod state_rows;
mod sockets;
mod subscribe;
mod subscriptions;
mod tables;
mod sending;
mod verifier;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::budget::Budget;
use super::database::catalog::Catalog;
use super::distinct::Distinct;
use super::effect::{Connections, Effect, Task, Write};
use super::event::Event;
use super::figures::Figures;
use super::input::{ConnectionQuery, DialectId, SocketId, StatePart, Stored};
use super::message::{Out, SessionId, ToDelivery, ToStream};
use super::profile::{Profiles, Sessions};
use super::table_settings::{TableChange, TableState};
use crate::code::{Code, Refusal};
use crate::policy::channel::Topic;
use crate::policy::configuration::Configuration;
pub(super) use arrivals::Arrival;
use arrivals::ChangedConnection;
use attempts::FailedAttempts;
pub(super) use away::ClassScope;
use backlog::Backlog;
use batching::Batches;
use database::{DatabaseLink, DatabaseWaits};
use fan_out::FanOut;
use filter_meter::FilterMeter;
use heartbeat::{BEAT, Heartbeats};
use presence_windows::PresenceWindows;
use registry::Registry;
use rights::Rights;
use tables::EnabledTables;
use verifier::Verifier;

/// Sockets and sessions, and everything that decides what they are sent.
pub(super) struct Delivery {
    organization: Rc<str>,
    configuration: Rc<Configuration>,
    profiles: Profiles,
    tables: EnabledTables,
    registry: Registry,
    budget: Budget,
    presence_windows: PresenceWindows,
    batches: Batches,
    verifier: Verifier,
    backlog: Backlog,
    /// Sessions that wait for the database to answer.
    waits: DatabaseWaits,
    /// The budgets of regular expressions.
    meter: FilterMeter,
    /// Sockets that were closed because their clients did not read.
    too_slow: u64,
    /// Attempts to authenticate that failed.
    failed: FailedAttempts,
    /// Function calls that wait for their answers.
    calls: u64,
    /// Connections that opened or closed with this input, if these are announced.
    noted: Vec<ChangedConnection>,
    /// The same, for the other objects of the tenant.
    arrivals: Vec<Arrival>,
}

impl Delivery {
    /// Restores the sockets from their attachments; `places` says where they are present, if this object has the
    /// presence rows. A socket with an unreadable attachment is closed so that its client reconnects.
    pub(super) fn wake(
        now: u64,
        organization: Rc<str>,
        (configuration, profiles): (Rc<Configuration>, Profiles),
        stored: &mut Stored,
        places: Option<&BTreeSet<(Rc<str>, Option<Topic>)>>,
        out: &mut Out,
    ) -> Delivery {
        let max_relay = configuration.relays.map_or(0, |relays| relays.max);
        let database = configuration.databases().of(&organization);
        let database = database.map(|database| DatabaseLink::wake(database, stored, max_relay));
        let verifier = Verifier::wake(organization.clone(), configuration.clone(), stored);
        let mut delivery = Delivery {
            tables: EnabledTables::wake(organization.clone(), configuration.clone(), stored),
            registry: Registry::new(configuration.clone(), database, Heartbeats::after(stored.facts.get(BEAT))),
            organization,
            budget: Budget::new(&configuration.limits, now),
            meter: FilterMeter::new(&configuration.limits, now),
            too_slow: 0,
            failed: FailedAttempts::default(),
            configuration,
            profiles,
            presence_windows: PresenceWindows::default(),
            batches: Batches::default(),
            verifier,
            backlog: Backlog::default(),
            waits: DatabaseWaits::default(),
            calls: 0,
            noted: Vec::new(),
            arrivals: Vec::new(),
        };
        // Each text is dropped before the next one is read: Wasm memory never shrinks.
        for (first, lines) in std::mem::take(&mut stored.sockets) {
            for (number, text) in (first.0..).zip(lines.split('\n')) {
                delivery.restore(now, (SocketId(number), text), &stored.states, places, out);
            }
        }
        delivery.clean(stored, places, out);
        delivery.tell_database(now, out);
        delivery
    }

    /// Restores a socket from its attachment.
    fn restore(
        &mut self,
        now: u64,
        (id, text): (SocketId, &str),
        states: &BTreeMap<String, Vec<StatePart>>,
        places: Option<&BTreeSet<(Rc<str>, Option<Topic>)>>,
        out: &mut Out,
    ) {
        let read = attachment::read(id, text, states, self.profiles, now);
        let Some(mut socket) = read.filter(|socket| self.registry.is_judgeable(socket)) else {
            let dialect = attachment::dialect_of(text);
            let speaks_alone = |dialect: &DialectId| {
                (self.profiles)(*dialect).is_some_and(|profile| profile.sessions == Sessions::One)
            };
            if let Some(dialect) = dialect.filter(speaks_alone) {
                let event = Event::Ended(Refusal::of(Code::ServiceRestart));
                out.effects.push(Effect::Deliver { to: vec![id], dialect, address: None, event, may_wait: false });
            }
            return out.run(Task::Close { socket: id, dialect, code: Code::ServiceRestart });
        };
        for session in &mut socket.sessions {
            places.into_iter().for_each(|places| session.be_present(places));
            session.admit_again(&self.configuration);
        }
        self.registry.insert(socket);
    }

    /// Handles a message of the stream.
    pub(super) fn receive(&mut self, now: u64, message: ToDelivery, out: &mut Out) {
        match message {
            ToDelivery::Publish { accepted, origin } => self.fan_out().publish(&accepted, origin, out),
            ToDelivery::Resumed { session, position, missed, read, then } => {
                self.charge_replay(now, session, read);
                self.resumed(session, position, missed, then, out);
            }
            ToDelivery::Roster { session, topic, members } => self.tell_roster(now, session, topic, members, out),
            ToDelivery::Present { session, topic, present } => self.present(session, topic, present, out),
            ToDelivery::Presence { topic, event } => self.presence_changed(now, topic, event, out),
            ToDelivery::Gathered { topic, event, only } => self.tell_gathered(now, topic, event, only, out),
            ToDelivery::Refused { session, refusal, id, topic } => self.refuse(now, session, refusal, (id, topic), out),
            ToDelivery::Done { session, id } => {
                self.registry.tell(session, Event::Acknowledged { id, retained: None }, out)
            }
        }
    }

    /// Removes a closed socket with its sessions.
    pub(super) fn closed(&mut self, id: SocketId, out: &mut Out) {
        let Some(socket) = self.registry.socket(id) else { return };
        let sessions: Vec<SessionId> = socket.sessions.iter().map(|session| session.id).collect();
        let arrival = ChangedConnection::disconnected(socket);
        self.note_arrival(arrival);
        sessions.into_iter().for_each(|session| self.leave(session, out));
        let Some(socket) = self.registry.remove(id) else { return };
        self.batches.forget(id);
        self.waits.held.forget(id);
        self.waits.judging.forget(id);
        self.waits.grants.forget(id);
        self.backlog.forget(id);
        if socket.rows.is_some() {
            out.run(Task::Write(Write::DropState { client_id: socket.client_id }));
        }
    }

    /// Removes a session and everything that refers to it.
    fn leave(&mut self, id: SessionId, out: &mut Out) {
        let Some(session) = self.registry.leave(id) else { return };
        if !session.present.is_empty() || !session.asked_presence.borrow().is_empty() {
            out.to_stream.push_back(ToStream::Gone { client_id: session.client_id });
        }
    }

    /// Stores what must outlive memory, before the effects of this input end (invariant 4).
    pub(super) fn save(&mut self, now: u64, out: &mut Out) {
        self.tell_arrivals(now, out);
        self.tell_database(now, out);
        for id in self.registry.take_unsaved() {
            let is_held = self.waits.held.depends_on_memory(id);
            let Some(socket) = self.registry.socket_mut(id) else { continue };
            socket.is_held = is_held;
            attachment::write(socket, out);
        }
    }

    /// The fan-out of publications.
    fn fan_out(&self) -> FanOut<'_> {
        let Delivery { configuration, profiles, tables, registry, meter, .. } = self;
        FanOut { configuration, profiles: *profiles, tables, registry, meter }
    }

    /// The rights of principals.
    fn rights(&self) -> Rights<'_> {
        let Delivery { organization, configuration, tables, registry, .. } = self;
        Rights { organization, configuration, tables, registry }
    }

    /// Whether there are no sockets.
    pub(super) fn is_empty(&self) -> bool {
        self.registry.sockets().iter().next().is_none()
    }

    /// A number for the next socket.
    pub(super) fn vacant(&mut self) -> SocketId {
        self.registry.vacant()
    }

    /// The dialect of a socket.
    pub(super) fn dialect(&self, socket: SocketId) -> Option<DialectId> {
        self.registry.socket(socket).map(|socket| socket.dialect)
    }

    /// The tables as the database last described them.
    pub(super) fn catalog(&self) -> Option<Rc<Catalog>> {
        self.registry.catalog()
    }

    /// The connections that match a query.
    pub(super) fn connections(&self, query: &ConnectionQuery) -> Connections {
        self.registry.connections(query)
    }

    /// The channels that have a subscriber.
    pub(super) fn channels(&self) -> Distinct {
        self.registry.channels()
    }

    /// Changes table settings, all or none, and returns all of them.
    pub(super) fn administer(
        &mut self,
        now: u64,
        changes: Vec<TableChange>,
        out: &mut Out,
    ) -> Result<Vec<TableState>, Refusal> {
        self.tables.administer(now, changes, out)
    }

    /// Adds the delivery's counts to the figures.
    pub(super) fn figures(&self, figures: &mut Figures) {
        self.registry.figures(figures);
        figures.too_slow = self.too_slow;
        figures.refused_attempts = self.failed.count;
    }

    /// The next deadline, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.registry.deadline()
    }

    /// Closes a socket.
    fn close(&mut self, id: SocketId, code: Code, out: &mut Out) {
        self.registry.log("closed", id, Some(code), out);
        out.run(Task::Close { socket: id, dialect: self.dialect(id), code });
        self.closed(id, out);
    }

    /// Ends a session, and closes its socket if it carries no other.
    fn end(&mut self, id: SessionId, refusal: Refusal, out: &mut Out) {
        match self.registry.profile(id.socket).map(|profile| profile.sessions) {
            None => {}
            Some(Sessions::One) => {
                let code = refusal.code;
                self.registry.tell(id, Event::Ended(refusal), out);
                self.close(id.socket, code, out);
            }
            Some(Sessions::Many) => {
                self.registry.log_session("closed", id, Some(refusal.code), out);
                self.registry.tell(id, Event::Ended(refusal), out);
                self.leave(id, out);
            }
        }
    }
}
