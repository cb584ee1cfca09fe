//! The delivery half of a tenant: its sockets and sessions, what they listen to, and what each of them sees.
//!
//! Work is done once per class of sessions, and for single ones only where a rule names them; nothing walks all
//! sessions (invariant 6).

mod attachment;
mod awaiting;
pub mod call;
mod channel;
mod class;
mod database;
mod fan_out;
mod figures;
mod filter_index;
mod frame;
mod gathering;
mod grants;
mod heartbeat;
mod identity;
mod judging;
mod opening;
mod people;
mod presence_windows;
mod rules;
mod session;
mod socket;
mod spending;
mod sockets;
mod subscribe;
mod tables;
mod telling;

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::budget::Budget;
use super::command::{Command, Malformed};
use super::effect::{Task, Write};
use super::event::Event;
use super::input::{DialectId, SocketId, Stored};
use super::message::{Out, SessionId, ToDelivery, ToStream};
use super::profile::{Profile, Profiles, Sessions};
use super::table_settings::{self, TableSettings};
use crate::code::{Code, Refusal};
use crate::policy::channel::Topic;
use crate::policy::configuration::Configuration;
use crate::policy::key_set::KeySet;
use class::Classes;
use database::{DatabaseLink, Waits};
use heartbeat::{BEAT, Heartbeats};
use people::People;
use presence_windows::PresenceWindows;
use session::Session;
use socket::Socket;
use sockets::Sockets;

/// One tenant's sockets and sessions.
pub(super) struct Delivery {
    organization: Rc<str>,
    configuration: Rc<Configuration>,
    profiles: Profiles,
    tables: TableSettings,
    sockets: Sockets,
    classes: Classes,
    people: People,
    budget: Budget,
    presence_windows: PresenceWindows,
    deadlines: BTreeSet<(u64, Due)>,
    keys: KeySet,
    fetching_keys: bool,
    /// Bytes of the frames that wait for the key set, of all sockets.
    waiting_bytes: usize,
    /// Frames that waited for the key set and may now go on, in their order.
    released: VecDeque<(SocketId, Result<Command, Malformed>)>,
    /// Sockets whose stored state is not what memory has.
    unsaved: BTreeSet<SocketId>,
    /// The database that the organization takes its changes from.
    database: Option<DatabaseLink>,
    /// Who waits for it to answer.
    waits: Waits,
    heartbeats: Heartbeats,
    /// Calls of functions that wait for their answers.
    calls: u64,
}

/// What is due at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The socket's first authentication.
    Authentication(SocketId),
    /// The end of a session's token, or of its grace.
    Expiry(SessionId),
    /// The end of a session's wait for the database.
    Database(SessionId),
}

impl Delivery {
    /// The sockets as their attachments tell them. One whose attachment cannot be read is told to connect again.
    pub(super) fn wake(
        now: u64,
        organization: Rc<str>,
        (configuration, profiles): (Rc<Configuration>, Profiles),
        stored: &Stored,
        places: &BTreeSet<(Rc<str>, Option<Topic>)>,
        out: &mut Out,
    ) -> Delivery {
        let database = configuration.databases().of(&organization).cloned();
        let mut delivery = Delivery {
            database: database.map(|database| DatabaseLink::wake(database, stored)),
            waits: Waits::default(),
            organization,
            budget: Budget::new(&configuration.limits, now),
            configuration,
            profiles,
            tables: TableSettings::read(stored.facts.get(table_settings::FACT)),
            sockets: Sockets::default(),
            classes: Classes::default(),
            people: People::default(),
            presence_windows: PresenceWindows::default(),
            deadlines: BTreeSet::new(),
            keys: KeySet::default(),
            fetching_keys: false,
            waiting_bytes: 0,
            released: VecDeque::new(),
            unsaved: BTreeSet::new(),
            heartbeats: Heartbeats::after(stored.facts.get(BEAT)),
            calls: 0,
        };
        if let Some((time, keys)) = &stored.keys {
            delivery.keys.answered(*time, Some(keys));
        }
        for (id, text) in &stored.sockets {
            let limits = &delivery.configuration.limits;
            let read = attachment::read(*id, text, &stored.overflow, (profiles, limits), now);
            match read.filter(|socket| delivery.is_judgeable(socket)) {
                Some(mut socket) => {
                    for session in &mut socket.sessions {
                        session.be_present(places);
                        session.admit_again(&delivery.configuration);
                    }
                    delivery.insert(socket);
                }
                None => out.run(Task::Close { socket: *id, dialect: None, code: Code::ServiceRestart }),
            }
        }
        delivery.clean(stored, places, out);
        delivery.tell_database(now, out);
        delivery
    }

    /// Handles a message of the stream.
    pub(super) fn receive(&mut self, now: u64, message: ToDelivery, out: &mut Out) {
        match message {
            ToDelivery::Publish { accepted, origin } => self.publish(&accepted, origin, out),
            ToDelivery::Resumed { session, position, missed, then } => {
                self.charge_replay(now, session, missed.as_ref());
                self.resumed(session, position, missed, then, out);
            }
            ToDelivery::Roster { session, topic, mut members } => {
                self.charge_roster(now, session, members.iter().map(|member| &**member));
                self.leave_out_oneself(session, &mut members);
                self.tell(session, Event::PresenceState { topic, members }, out);
            }
            ToDelivery::Present { session, topic, present } => self.present(session, topic, present, out),
            ToDelivery::Presence { topic, event } => self.presence_changed(now, topic, event, out),
            ToDelivery::Gathered { event, only: Some(session), .. } => self.tell(session, event, out),
            ToDelivery::Gathered { topic, event, only: None } => self.spread_with_roster(topic, event, out),
            ToDelivery::Refused { session, refusal, id, topic } => self.refuse(now, session, refusal, (id, topic), out),
            ToDelivery::Done { session, id } => self.tell(session, Event::Acknowledged { id, kept: None }, out),
        }
    }

    /// Forgets a socket that has ended, with its sessions.
    pub(super) fn closed(&mut self, id: SocketId, out: &mut Out) {
        let Some(socket) = self.sockets.get(id) else { return };
        self.deadlines.remove(&(socket.deadline(), Due::Authentication(id)));
        let sessions: Vec<SessionId> = socket.sessions.iter().map(|session| session.id).collect();
        sessions.into_iter().for_each(|session| self.leave(session, out));
        let Some(socket) = self.sockets.remove(id) else { return };
        self.waits.judging.forget(id);
        self.waits.grants.forget(id);
        self.heartbeats.remove(&socket);
        self.unsaved.remove(&id);
        // Its number may be another's before their turn comes.
        self.released.retain(|(of, _)| *of != id);
        if socket.overflowed {
            out.run(Task::Write(Write::DropOverflow { client_id: socket.client_id }));
        }
    }

    /// Forgets a session that has ended, with all that it was part of.
    fn leave(&mut self, id: SessionId, out: &mut Out) {
        self.unlist(id);
        let Some(session) = self.sockets.leave(id) else { return };
        self.unsaved.insert(id.socket);
        if !session.present.is_empty() {
            out.to_stream.push_back(ToStream::Gone { client_id: session.client_id });
        }
    }

    /// Writes what must outlive memory, before the effects of this input end (invariant 4).
    pub(super) fn save(&mut self, now: u64, out: &mut Out) {
        self.tell_database(now, out);
        for id in std::mem::take(&mut self.unsaved) {
            let is_held = self.waits.judging.holds(id);
            let Some(socket) = self.sockets.get_mut(id) else { continue };
            socket.is_held = is_held;
            (socket.overflowed, socket.state_bytes) = attachment::write(socket, out);
        }
    }

    /// Whether there is no socket.
    pub(super) fn is_empty(&self) -> bool {
        self.sockets.iter().next().is_none()
    }

    /// A number for the next socket.
    pub(super) fn vacant(&mut self) -> SocketId {
        self.sockets.vacant()
    }

    /// How a socket's frames are read.
    pub(super) fn dialect(&self, socket: SocketId) -> Option<DialectId> {
        self.sockets.get(socket).map(|socket| socket.dialect)
    }

    /// When something is due next, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        let due = self.deadlines.first().map(|(time, _)| *time);
        due.into_iter().chain(self.database_deadline()).chain(self.heartbeats.deadline()).min()
    }

    /// Ends a socket.
    fn close(&mut self, id: SocketId, code: Code, out: &mut Out) {
        self.log("closed", id, Some(code), out);
        out.run(Task::Close { socket: id, dialect: self.dialect(id), code });
        self.closed(id, out);
    }

    /// Ends a session, and its socket where that carries no other.
    fn end(&mut self, id: SessionId, refusal: Refusal, out: &mut Out) {
        match self.profile(id.socket).map(|profile| profile.sessions) {
            None => {}
            Some(Sessions::One) => {
                let code = refusal.code;
                self.tell(id, Event::Ended(refusal), out);
                self.close(id.socket, code, out);
            }
            Some(Sessions::Many) => {
                self.log_session("closed", id, Some(refusal.code), out);
                self.tell(id, Event::Ended(refusal), out);
                self.leave(id, out);
            }
        }
    }

    fn profile(&self, id: SocketId) -> Option<&'static Profile> {
        self.sockets.get(id).map(|socket| socket.profile)
    }

    /// Takes a socket in, with its sessions.
    fn insert(&mut self, socket: Socket) {
        if socket.principal().is_none() {
            self.deadlines.insert((socket.deadline(), Due::Authentication(socket.id)));
        }
        if self.configuration.heartbeats {
            self.heartbeats.add(&socket);
        }
        let sessions: Vec<SessionId> = socket.sessions.iter().map(|session| session.id).collect();
        self.sockets.insert(socket);
        sessions.into_iter().for_each(|session| self.list(session));
    }

    /// Takes a session in.
    fn enter(&mut self, session: Session) {
        let id = session.id;
        if let Some(socket) = self.sockets.get(id.socket) {
            self.deadlines.remove(&(socket.deadline(), Due::Authentication(id.socket)));
        }
        self.sockets.enter(session);
        self.list(id);
        self.unsaved.insert(id.socket);
    }

    /// Changes a session and brings all indexes up to date with it.
    fn change(&mut self, id: SessionId, change: impl FnOnce(&mut Session)) {
        self.relist(id, change);
        self.unsaved.insert(id.socket);
    }

    /// The same for what the attachment does not hold.
    fn relist(&mut self, id: SessionId, change: impl FnOnce(&mut Session)) {
        self.unlist(id);
        if let Some(session) = self.sockets.session_mut(id) {
            change(session);
        }
        self.list(id);
    }

    fn list(&mut self, id: SessionId) {
        let Some(Socket { dialect, profile, .. }) = self.sockets.get(id.socket) else { return };
        let dialect = (*dialect, *profile);
        let standing = self.sockets.session(id).and_then(|session| self.standing(&session.principal));
        let Some(session) = self.sockets.session_mut(id) else { return };
        session.standing = standing;
        session.classes = session.class_keys(dialect, &self.configuration);
        for key in &session.classes {
            self.classes.join(key, id);
        }
        self.people.add(id, &session.principal);
        self.deadlines.extend(session.deadline().map(|time| (time, Due::Expiry(id))));
        self.listen(id);
    }

    fn unlist(&mut self, id: SessionId) {
        self.listen_no_more(id);
        let Some(session) = self.sockets.session_mut(id) else { return };
        for key in std::mem::take(&mut session.classes) {
            self.classes.leave(&key, id);
        }
        self.people.remove(id, &session.principal);
        if let Some(time) = session.deadline() {
            self.deadlines.remove(&(time, Due::Expiry(id)));
        }
    }
}
