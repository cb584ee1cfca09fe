//! A relay's delivery: what it records for the object with the stream, and what it learns from it (`engine/relay`).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::Delivery;
use super::class::{ClassKey, Scope};
use super::session::Session;
use super::socket::Socket;
use crate::code::{Code, Refusal};
use crate::engine::census::Census;
use crate::engine::command::{Authenticate, DecodedFrame, Recover};
use crate::engine::event::Event;
use crate::engine::input::SocketId;
use crate::engine::message::{Out, SessionId, ToStream};
use crate::engine::profile::Sessions;
use crate::policy::channel::Topic;
use crate::policy::principal::Principal;

/// How many sockets hold the relay's note in their attachments: more than one, because a socket may be closing.
const NOTES: usize = 2;

/// What a class of sessions listens to.
pub(in crate::engine) enum ClassScope<'a> {
    /// Publications to the organization: these tables, or everything if there are none.
    Organization {
        /// Schema and table.
        tables: Vec<(&'a str, &'a str)>,
    },
    /// Publications to a topic.
    Topic(&'a Topic),
    /// Presence in a topic, or in the lobby.
    Presence(Option<&'a Topic>),
}

/// A class that has a new member.
pub(in crate::engine) struct NotedClass(Rc<ClassKey>);

/// What is recorded for the object with the stream.
#[derive(Default)]
pub(super) struct Away {
    classes: Vec<NotedClass>,
    users: BTreeSet<String>,
    ended: u64,
    /// Why the root refuses the current command.
    refusal: Option<Refusal>,
    /// The cost of the current command.
    units: u64,
    /// Unpaid costs: socket, user, units.
    charges: Vec<(String, Option<String>, u64)>,
}

impl NotedClass {
    /// The scope of the class.
    pub(in crate::engine) fn scope(&self) -> ClassScope<'_> {
        scope_of(&self.0)
    }
}

fn scope_of(class: &ClassKey) -> ClassScope<'_> {
    match &class.scope {
        Scope::Topic(topic) => ClassScope::Topic(topic),
        Scope::Presence(topic) => ClassScope::Presence(topic.as_ref()),
        Scope::Organization => {
            let tables = class.selector.targets().iter();
            ClassScope::Organization { tables: tables.map(|target| (&*target.schema, &*target.table)).collect() }
        }
    }
}

impl Away {
    /// Records a session that was indexed.
    pub(super) fn listed(&mut self, session: &Session) {
        session.classes.iter().for_each(|class| self.joined(class));
        self.users.extend(session.principal.user.clone());
    }

    /// Records a class that a session has joined.
    pub(super) fn joined(&mut self, class: &Rc<ClassKey>) {
        self.classes.push(NotedClass(class.clone()));
    }

    /// Records a session that was removed from the indexes.
    pub(super) fn unlisted(&mut self, session: &Session) {
        self.ended += 1;
        self.users.extend(session.principal.user.clone());
    }

    /// Records a socket that opened or closed.
    pub(super) fn counted(&mut self, socket: &Socket) {
        self.users.extend(socket.principal().and_then(|principal| principal.user.clone()));
    }

    /// Whether the root admits a command of this cost.
    pub(super) fn pay(&mut self, units: u64) -> Result<(), Refusal> {
        self.units += units;
        self.refusal.take().map_or(Ok(()), Err)
    }

    /// Records a cost to be charged.
    pub(super) fn charge(&mut self, socket: &str, user: Option<&str>, units: u64) {
        self.charges.push((socket.to_owned(), user.map(str::to_owned), units));
    }
}

impl Delivery {
    /// Makes this the delivery of a relay.
    pub(in crate::engine) fn become_relay(&mut self) {
        let mut away = Away::default();
        for socket in self.registry.sockets().iter() {
            away.counted(socket);
            socket.sessions.iter().for_each(|session| away.listed(session));
        }
        self.registry.become_relay(away);
    }

    /// Adds the sockets at other objects to the counts.
    pub(in crate::engine) fn count_in(&mut self, census: Rc<RefCell<Census>>) {
        self.registry.census = census;
    }

    /// The classes with new members, the users whose number of sockets may have changed, and how many sessions were
    /// removed, all since the last call.
    pub(in crate::engine) fn take_notes(&mut self) -> (Vec<NotedClass>, BTreeSet<String>, u64) {
        let Some(away) = &mut self.registry.away else { return Default::default() };
        (std::mem::take(&mut away.classes), std::mem::take(&mut away.users), std::mem::take(&mut away.ended))
    }

    /// The unpaid costs since the last call: socket, user, units.
    pub(in crate::engine) fn take_charges(&mut self) -> Vec<(String, Option<String>, u64)> {
        self.registry.away.as_mut().map(|away| std::mem::take(&mut away.charges)).unwrap_or_default()
    }

    /// The scope of every class.
    pub(in crate::engine) fn each_class(&self, mut each: impl FnMut(ClassScope<'_>)) {
        self.registry.classes.keys().for_each(|class| each(scope_of(class)));
    }

    /// Every user with its number of sockets.
    pub(in crate::engine) fn each_user(&self, each: impl FnMut(&str, u64)) {
        self.registry.sockets().each_user(each);
    }

    /// Authenticated sockets of a user.
    pub(in crate::engine) fn of_user(&self, user: &str) -> u64 {
        self.registry.sockets().of_user(user)
    }

    /// Authenticated sockets that are listeners of the tenant's app.
    pub(in crate::engine) fn app_listeners(&self) -> u64 {
        self.registry.sockets().entered_listeners()
    }

    /// Whether a socket will count as such a listener once authenticated.
    pub(in crate::engine) fn is_listener(&self, socket: SocketId) -> bool {
        self.registry.profile(socket).is_some_and(|profile| profile.is_listener)
    }

    /// The numbers of authenticated and unauthenticated sockets.
    pub(in crate::engine) fn counts(&self) -> (u64, u64) {
        (self.registry.sockets().authenticated(), self.registry.sockets().pending())
    }

    /// How many sockets the tenant may have at all its objects.
    pub(in crate::engine) fn max_connections(&self) -> u64 {
        self.configuration.limits.connections
    }

    /// Starts a command: `refusal` is the root's, and the cost is counted from here.
    pub(in crate::engine) fn prepare(&mut self, refusal: Option<Refusal>) {
        if let Some(away) = &mut self.registry.away {
            (away.refusal, away.units) = (refusal, 0);
        }
    }

    /// The cost of the last command.
    pub(in crate::engine) fn take_units(&mut self) -> u64 {
        self.registry.away.as_mut().map_or(0, |away| std::mem::take(&mut away.units))
    }

    /// The next frame that has waited and may continue.
    pub(in crate::engine) fn next_released(&mut self) -> Option<(SocketId, DecodedFrame)> {
        self.backlog.next()
    }

    /// Public id and user of a socket; `None` if it does not exist.
    pub(in crate::engine) fn payer(&self, socket: SocketId) -> Option<(Rc<str>, Option<String>)> {
        let socket = self.registry.socket(socket)?;
        Some((socket.client_id.clone(), socket.principal().and_then(|principal| principal.user.clone())))
    }

    /// The topics whose messages a socket's sessions receive.
    pub(in crate::engine) fn topics_of(&self, socket: SocketId) -> Vec<Topic> {
        let sessions = self.registry.socket(socket).into_iter().flat_map(|socket| &socket.sessions);
        sessions.flat_map(Session::topics).cloned().collect()
    }

    /// Whether a session is present in a topic.
    pub(in crate::engine) fn is_present(&self, id: SessionId, topic: &Option<Topic>) -> bool {
        self.registry.session(id).is_some_and(|session| session.present.contains(topic))
    }

    /// Whether a socket is authenticated.
    pub(in crate::engine) fn is_authenticated(&self, socket: SocketId) -> bool {
        self.registry.socket(socket).is_some_and(|socket| socket.principal().is_some())
    }

    /// Whether a socket's frames are queued.
    pub(in crate::engine) fn is_waiting(&self, socket: SocketId) -> bool {
        self.registry.socket(socket).is_some_and(|socket| socket.waiting.is_some())
    }

    /// Whether the limits leave room for one more socket of a principal.
    pub(in crate::engine) fn has_room_for(&self, principal: &Principal, address: Option<&str>) -> bool {
        !self.rights().is_full_from(principal, address)
    }

    /// Whether a socket has a single session, which starts when it is opened.
    pub(in crate::engine) fn begins_at_once(&self, dialect: crate::engine::input::DialectId) -> bool {
        (self.profiles)(dialect).is_some_and(|profile| profile.sessions == Sessions::One)
    }

    /// The user that a first authentication proves; `None` if it proves none.
    pub(in crate::engine) fn authenticating_user(
        &self,
        now: u64,
        socket: SocketId,
        frame: &Authenticate,
    ) -> Option<Option<String>> {
        self.verifier.identify(now, self.registry.profile(socket), frame).ok().map(|principal| principal.user)
    }

    /// Starts the session of a socket that was opened with a principal, if there is still room.
    pub(in crate::engine) fn begin_opened(
        &mut self,
        now: u64,
        socket: SocketId,
        (principal, recover, batches): (Principal, Recover, bool),
        out: &mut Out,
    ) {
        self.wait_no_longer(socket);
        let Some(profile) = self.registry.profile(socket) else { return };
        if self.rights().is_full_for(&principal) {
            return self.fail(socket, Code::ConnectionLimit, out);
        }
        // Another object may have opened the last socket that the plan allows.
        if let Some(refusal) = self.rights().refuse_listener(profile, self.app_listeners()) {
            return self.fail(socket, refusal.code, out);
        }
        self.begin_opened_session(now, socket, (Rc::new(profile.with_role(principal)), recover, batches), out);
    }

    /// Sets where the sockets are present. Members whose sockets have closed meanwhile leave.
    pub(in crate::engine) fn be_present(&mut self, places: &BTreeSet<(Rc<str>, Option<Topic>)>, out: &mut Out) {
        let sessions: Vec<SessionId> =
            self.registry.sockets().iter().flat_map(|socket| &socket.sessions).map(|session| session.id).collect();
        let mut living: BTreeSet<Rc<str>> = BTreeSet::new();
        for id in sessions {
            let Some(session) = self.registry.session(id) else { continue };
            living.insert(session.client_id.clone());
            let own = places.range((session.client_id.clone(), None)..);
            let own = own.take_while(|(client, _)| *client == session.client_id).map(|(_, topic)| topic);
            if !own.eq(session.present.iter().collect::<BTreeSet<_>>()) {
                self.registry.relist(id, |session| session.be_present(places));
                self.registry.save_places(id);
            }
        }
        let gone = places.iter().map(|(client_id, _)| client_id).filter(|client_id| !living.contains(*client_id));
        for client_id in gone.cloned().collect::<BTreeSet<_>>() {
            out.to_stream.push_back(ToStream::Gone { client_id });
        }
    }

    /// Stores the relay's note in two attachments, if possible those that have the previous one.
    pub(in crate::engine) fn note(&mut self, note: &Rc<str>, noted_sockets: &mut Vec<(SocketId, Rc<str>)>) {
        let client_id = |id: SocketId| self.registry.socket(id).map(|socket| &socket.client_id);
        noted_sockets.retain(|(id, known)| client_id(*id) == Some(known));
        if noted_sockets.len() < NOTES {
            let is_other = |socket: &&Socket| noted_sockets.iter().all(|(id, _)| *id != socket.id);
            let others = self.registry.sockets().iter().filter(is_other).take(NOTES - noted_sockets.len());
            let others: Vec<_> = others.map(|socket| (socket.id, socket.client_id.clone())).collect();
            noted_sockets.extend(others);
        }
        noted_sockets.iter().for_each(|(id, _)| self.registry.note(*id, note));
    }

    /// Closes every socket: clients reconnect, and recover what was retained.
    pub(in crate::engine) fn restart_all(&mut self, out: &mut Out) {
        let all: Vec<SocketId> = self.registry.sockets().iter().map(|socket| socket.id).collect();
        all.into_iter().for_each(|socket| self.restart(socket, out));
    }

    /// Closes one socket in the same way, if it still belongs to this client.
    pub(in crate::engine) fn restart(&mut self, socket: SocketId, out: &mut Out) {
        // Closing the socket informs all channels of a client at once.
        if self.registry.profile(socket).is_some_and(|profile| profile.sessions == Sessions::One) {
            self.registry.tell_socket(socket, None, Event::Ended(Refusal::of(Code::ServiceRestart)), out);
        }
        self.close(socket, Code::ServiceRestart, out);
    }
}
