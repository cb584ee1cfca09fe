//! The life of a socket: opening, first authentication, and the welcome once the stream has reported its position.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Delivery;
use super::arrivals::ChangedConnection;
use super::class::Scope;
use super::grants::{NoGrant, topics_of};
use super::session::{Awaiting, Session};
use super::socket::Socket;
use super::subscriptions::Subscriptions;
use crate::code::{Code, Refusal};
use crate::engine::command::{Authenticate, Command, Position, Recover};
use crate::engine::effect::{Log, Task, Write};
use crate::engine::event::{Authenticated, Event};
use crate::engine::input::{Open, PresenceRow, SocketId, Stored};
use crate::engine::message::{Announcement, From, Missed, Out, SessionId, ToStream};
use crate::engine::profile::{Profile, Sessions};
use crate::policy::channel::Topic;
use crate::policy::principal::Principal;
use crate::policy::token::TokenError;

/// What a session starts with.
#[derive(Default)]
struct Beginning {
    /// Whether one frame may carry several events.
    batches: bool,
    subscriptions: Subscriptions,
    /// Whether it receives only what it subscribes to.
    explicit: bool,
    /// The confirmations and refusals of its subscriptions.
    then: Vec<Event>,
    /// Topics whose roster is sent at once.
    watch: Vec<Topic>,
    /// The database answers that the session waits for.
    awaiting: Option<Box<Awaiting>>,
}

impl Delivery {
    /// Whether anyone receives presence of this topic.
    pub(in crate::engine) fn hears_presence(&self, row: &PresenceRow) -> bool {
        let topic =
            row.topic.as_ref().map(|(private, name)| Topic { private: *private, name: Rc::from(name.as_str()) });
        self.registry.classes.of(&Scope::Presence(topic)).next().is_some()
    }

    /// Removes state of surviving sockets that could not be read.
    pub(super) fn clean(&self, stored: &Stored, places: Option<&BTreeSet<(Rc<str>, Option<Topic>)>>, out: &mut Out) {
        if places.is_none_or(BTreeSet::is_empty) && stored.states.is_empty() {
            return;
        }
        let sessions =
            self.registry.sockets().iter().flat_map(|socket| &socket.sessions).map(|session| &*session.client_id);
        let mut living: Vec<&str> =
            self.registry.sockets().iter().map(|socket| &*socket.client_id).chain(sessions).collect();
        living.sort_unstable();
        let lives = |client_id: &str| living.binary_search(&client_id).is_ok();
        for (client_id, _) in places.into_iter().flatten().filter(|(client_id, _)| !lives(client_id)) {
            out.to_stream.push_back(ToStream::Gone { client_id: client_id.clone() });
        }
        for client_id in stored.states.keys().filter(|client_id| !lives(client_id)) {
            out.run(Task::Write(Write::DropState { client_id: Rc::from(client_id.as_str()) }));
        }
    }

    /// Accepts a socket or rejects it. A socket of an unknown dialect could be neither read nor written.
    pub(in crate::engine) fn open(&mut self, now: u64, mut open: Open, out: &mut Out) {
        let Some(profile) = (self.profiles)(open.dialect) else {
            return out.run(Task::Reject(Refusal::of(Code::Internal)));
        };
        match self.admit_socket(now, profile, &mut open, out) {
            Ok(is_full) => self.accept_socket(now, open, profile, is_full, out),
            Err(refusal) => out.run(Task::Reject(refusal)),
        }
    }

    /// Redeems the ticket, and returns an error if the limits leave no room: some dialects report it on the accepted
    /// socket.
    fn admit_socket(&mut self, now: u64, profile: &Profile, open: &mut Open, out: &mut Out) -> Result<bool, Refusal> {
        if let Some(ticket) = open.ticket.take() {
            if ticket.spent {
                return Err(Refusal::because(Code::InvalidToken, "The ticket was used before."));
            }
            out.to_stream.push_back(ToStream::Begin);
            out.run(Task::Write(Write::Spend { id: ticket.id, expires: ticket.expires, forget: now }));
        }
        if let Some(refusal) = self.rights().refuse_listener(profile, self.registry.sockets().listeners()) {
            self.registry.log("refused", open.socket, Some(refusal.code), out);
            return Err(refusal);
        }
        let is_full = match &open.principal {
            Some(principal) => self.rights().is_full_from(principal, open.address.as_deref()),
            None => self.rights().is_full() || !self.make_room(open.address.as_deref(), out),
        };
        if is_full && profile.rejects_at_handshake {
            self.registry.log("refused", open.socket, Some(Code::ConnectionLimit), out);
            return Err(Refusal::of(Code::ConnectionLimit));
        }
        Ok(is_full)
    }

    fn accept_socket(&mut self, now: u64, open: Open, profile: &'static Profile, is_full: bool, out: &mut Out) {
        let client_id: Rc<str> = Rc::from(open.client_id);
        out.run(Task::Accept { socket: open.socket, client_id: client_id.clone() });
        let mut socket = Socket::new(open.socket, client_id, (open.dialect, profile), now);
        socket.address = open.address.map(Rc::from);
        let principal = open.principal.filter(|_| !is_full).map(|principal| Rc::new(profile.with_role(principal)));
        if profile.sessions == Sessions::Many {
            socket.opened_as = principal.clone();
        }
        self.registry.insert(socket);
        self.registry.save_later(open.socket);
        match principal {
            _ if is_full => self.fail(open.socket, Code::ConnectionLimit, out),
            Some(principal) if profile.sessions == Sessions::One => {
                self.begin_opened_session(now, open.socket, (principal, open.recover, open.batches), out);
            }
            Some(_) => {
                let arrival = self.registry.socket(open.socket).and_then(ChangedConnection::connected);
                self.note_arrival(arrival);
            }
            None => {}
        }
    }

    /// Handles an authentication frame, the first or a later one.
    pub(super) fn authenticate(&mut self, now: u64, socket: SocketId, frame: Authenticate, out: &mut Out) {
        let Some(session) =
            self.registry.socket(socket).map(|socket| socket.sessions.first().map(|session| session.id))
        else {
            return;
        };
        let named = self.verifier.identify(now, self.registry.profile(socket), &frame);
        match (named, session) {
            (named, Some(session)) => {
                self.renew(now, session, named.map(Rc::new), Command::Authenticate(frame), out);
            }
            (Err(TokenError::NeedsKeys), None) => self.wait_for_keys(socket, Command::Authenticate(frame), out),
            (Err(error), None) => self.fail_attempt(now, socket, error.code(), out),
            (Ok(principal), None) if self.rights().is_full_for(&principal) => {
                self.fail(socket, Code::ConnectionLimit, out)
            }
            (Ok(principal), None) => {
                let principal = Rc::new(principal);
                let command = Command::Authenticate(frame);
                let granted = self.granted(now, &principal, &topics_of(&command));
                match (granted, command) {
                    (Err(NoGrant::Unknown(group, topic)), command) => {
                        self.wait_for_grant(socket, (group, topic), command, out);
                    }
                    // A missing grant is reported with its subscription.
                    (granted, Command::Authenticate(frame)) => {
                        self.start(now, socket, granted.unwrap_or(principal), frame, out);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Sends a session the stream's position and what it missed, and continues from there.
    pub(super) fn resumed(
        &mut self,
        session: SessionId,
        position: Position,
        missed: Option<Missed>,
        then: Announcement,
        out: &mut Out,
    ) {
        self.drop_replayed(session, missed.as_ref(), &then);
        if let Some((missed, then)) = self.judge_first(session, &position, missed, then, out) {
            self.tell_resumed(session, position, missed, then, out);
            self.release_held(session.socket, out);
        }
    }

    pub(super) fn tell_resumed(
        &mut self,
        session: SessionId,
        position: Position,
        missed: Option<Missed>,
        then: Announcement,
        out: &mut Out,
    ) {
        let recovered = missed.as_ref().map(|missed| matches!(missed, Missed::Everything(_)));
        let (mut only, mut live) = (None, None);
        let watch = match then {
            Announcement::Authenticated { with_position, then, watch } => {
                self.welcome(session, (with_position.then_some(position), recovered), false, out);
                then.into_iter().for_each(|event| self.registry.tell(session, event, out));
                watch
            }
            Announcement::Subscribed { id, answer, to, watch } => {
                let name = id.clone();
                self.registry.tell(session, Event::Subscribed { id, answer, recovered }, out);
                self.warn_of_table(session, &name, out);
                only = Some(to);
                watch.into_iter().collect()
            }
            Announcement::Joined { id, answer, live: after, watch } => {
                self.registry.tell(session, Event::Joined { id, answer }, out);
                live = Some(after);
                watch.into_iter().collect()
            }
            // The root answers this before it gets here.
            Announcement::Asked { .. } => Vec::new(),
        };
        for accepted in &missed.map(Missed::into_publications).unwrap_or_default() {
            self.fan_out()
                .events_for(session, accepted, only.as_ref())
                .into_iter()
                .for_each(|event| self.registry.tell(session, event, out));
        }
        live.into_iter().for_each(|event| self.registry.tell(session, event, out));
        out.to_stream.extend(watch.into_iter().map(|topic| ToStream::Roster { session, topic }));
    }

    /// Makes room for an unauthenticated socket. Such sockets have a limit of their own: the oldest is closed first, or
    /// the oldest of its address once the address has its share. Silent sockets must not keep out genuine ones.
    fn make_room(&mut self, address: Option<&str>, out: &mut Out) -> bool {
        let share = self.configuration.limits.pending_per_address;
        let own = address.and_then(|address| self.registry.sockets().oldest_of(address, share));
        own.into_iter().for_each(|socket| self.fail(socket, Code::ConnectionLimit, out));
        if self.registry.sockets().pending() < self.configuration.limits.pending {
            return true;
        }
        let oldest = self.registry.oldest_pending();
        oldest.into_iter().for_each(|socket| self.fail(socket, Code::ConnectionLimit, out));
        oldest.is_some()
    }

    /// The first authentication: its subscriptions become active before anything is replayed.
    fn start(&mut self, now: u64, socket: SocketId, principal: Rc<Principal>, frame: Authenticate, out: &mut Out) {
        let (explicit, batches) = (frame.subscriptions.is_some(), frame.batches);
        let mut beginning = Beginning { explicit, batches, ..Beginning::default() };
        let (mut refused, mut pending) = (0, Vec::new());
        let Some(profile) = self.registry.profile(socket) else { return };
        for subscribe in frame.subscriptions.unwrap_or_default() {
            let watched = subscribe.watched();
            let answer = subscribe.answer.clone();
            let admitted =
                self.rights().admit(&principal, &beginning.subscriptions, subscribe).and_then(|subscription| {
                    let is_live = self.rights().is_live(&principal, &subscription, profile);
                    is_live.map_err(|refusal| (refusal, subscription.id.clone())).map(|is_live| (subscription, is_live))
                });
            match admitted {
                Ok((subscription, is_live)) => {
                    let id = subscription.id.clone();
                    // A resuming session is informed once the database has answered, whatever the answer.
                    if is_live || matches!(frame.recover, Recover::From(_)) {
                        beginning.then.push(Event::Subscribed { id: id.clone(), answer, recovered: None });
                    }
                    pending.extend((!is_live).then_some(id));
                    beginning.subscriptions.push(subscription);
                    beginning.watch.extend(watched);
                }
                Err((refusal, id)) => {
                    refused += 1;
                    beginning.then.push(Event::Refused { refusal, id: Some(id), topic: None });
                }
            }
        }
        beginning.awaiting = Self::awaiting(now, pending, false);
        if let Some(socket) = self.registry.socket_mut(socket) {
            for _ in 0..refused {
                socket.errors.add(now, u64::MAX);
            }
        }
        self.begin(now, socket, principal, frame.recover, beginning, out);
    }

    /// The session of a socket that was opened with a principal.
    pub(super) fn begin_opened_session(
        &mut self,
        now: u64,
        socket: SocketId,
        (principal, recover, batches): (Rc<Principal>, Recover, bool),
        out: &mut Out,
    ) {
        self.begin(now, socket, principal, recover, Beginning { batches, ..Beginning::default() }, out);
    }

    /// Marks the socket as authenticated.
    fn begin(
        &mut self,
        now: u64,
        socket: SocketId,
        principal: Rc<Principal>,
        recover: Recover,
        beginning: Beginning,
        out: &mut Out,
    ) {
        let Some(client_id) = self.registry.socket(socket).map(|socket| socket.client_id.clone()) else { return };
        let id = SessionId { socket, number: 0 };
        let details = vec![("method", principal.method.as_str().to_owned())];
        let user = principal.user.clone();
        let mut session = Session::new(id, client_id.clone(), principal);
        session.offsets = recover != Recover::Off;
        session.batches = beginning.batches;
        session.subscriptions = beginning.subscriptions;
        session.explicit = beginning.explicit;
        session.awaiting = beginning.awaiting;
        self.registry.enter(session);
        let arrival = self.registry.socket(socket).and_then(ChangedConnection::connected);
        self.note_arrival(arrival);
        out.run(Task::Log(Log { event: "connected", connection: Some(client_id), code: None, details }));
        let with_position = recover != Recover::Off;
        let then = Announcement::Authenticated { with_position, then: beginning.then, watch: beginning.watch };
        let (from, then) = match recover {
            Recover::From(mut position) => {
                if self.pay_to_enter(now, socket, user.as_deref()).is_err() {
                    // This epoch matches no stream, so a payer in debt is told that it did not recover.
                    position.epoch = String::new();
                }
                match self.resume_later(now, id, position, then, out) {
                    Some((position, then)) => (self.registry.since(id, position), then),
                    None => return,
                }
            }
            Recover::Off | Recover::On => (From::Now, then),
        };
        out.to_stream.push_back(ToStream::Resume { session: id, from, then });
    }

    /// Sends a session its identity.
    pub(super) fn welcome(
        &self,
        id: SessionId,
        (position, recovered): (Option<Position>, Option<bool>),
        is_renewal: bool,
        out: &mut Out,
    ) {
        let Some(session) = self.registry.session(id) else { return };
        let (organization, principal) = (self.organization.clone(), session.principal.clone());
        let authenticated = Authenticated { organization, principal, position, recovered, is_renewal };
        self.registry.tell(id, Event::Authenticated(authenticated), out);
    }

    /// Closes a socket that failed to authenticate.
    pub(super) fn fail(&mut self, socket: SocketId, code: Code, out: &mut Out) {
        self.registry.tell_socket(socket, None, Event::AuthFailed(code), out);
        self.close(socket, code, out);
    }
}
