//! The life of a connection: opening, proving who it is, refreshing, expiring.

use std::rc::Rc;

use super::Delivery;
use super::connection::{Carrier, Connection, Part};
use crate::code::{Code, Refusal};
use crate::engine::command::{Authenticate, Command, Position, Recover};
use crate::engine::effect::{Log, Task, Write};
use crate::engine::event::{Authenticated, Event};
use crate::engine::input::{Open, SocketId};
use crate::engine::message::{Announcement, From, Missed, Out, ToStream};
use crate::policy::channel::Topic;
use crate::policy::limits::{EXPIRY_GRACE, WAITING_BYTES};
use crate::policy::principal::Principal;
use crate::policy::secret::Secret;
use crate::policy::token::TokenError;

impl Delivery {
    /// Accepts a connection, or turns it away.
    pub(in crate::engine) fn open(&mut self, now: u64, open: Open, out: &mut Out) {
        if let Some(ticket) = open.ticket {
            if ticket.spent {
                out.run(Task::TurnAway(Refusal::because(Code::InvalidToken, "The ticket was used before.")));
                return;
            }
            out.to_stream.push_back(ToStream::Begin);
            out.run(Task::Write(Write::Spend { id: ticket.id, expires: ticket.expires, forget: now }));
        }
        // Those who have said nothing yet are counted apart: they must not keep out those who can prove who they are.
        let crowded = open.principal.is_none() && self.connections.pending() >= self.configuration.limits.pending;
        let is_full = crowded || self.is_full();
        // Channels' clients know no other way to be told why.
        if is_full && open.carries_channels {
            self.log("refused", open.socket, Some(Code::ConnectionLimit), out);
            return out.run(Task::TurnAway(Refusal::of(Code::ConnectionLimit)));
        }
        let client_id: Rc<str> = Rc::from(open.client_id);
        out.run(Task::Accept { socket: open.socket, client_id: client_id.clone() });
        let limits = &self.configuration.limits;
        let carrier = || Part::Carrier(Carrier::new(0, limits.joins_per_second, now));
        let part = if open.carries_channels { carrier() } else { Part::Whole };
        let rate = limits.frames_per_second;
        self.insert(Connection::new(open.socket, client_id, open.wire, part, now, rate));
        self.unsaved.insert(open.socket);
        if is_full {
            return self.fail(open.socket, Code::ConnectionLimit, out);
        }
        if let Some(principal) = open.principal {
            if open.carries_channels {
                return self.change(open.socket, |connection| connection.principal = Some(Rc::new(principal)));
            }
            self.begin(open.socket, principal, open.recover, Default::default(), out);
        }
    }

    /// Handles an authentication frame, the first or a later one.
    pub(super) fn authenticate(&mut self, now: u64, socket: SocketId, frame: Authenticate, out: &mut Out) {
        let Some(connection) = self.connections.get(socket) else { return };
        let before = connection.principal.clone();
        match self.identify(now, &frame) {
            Err(TokenError::NeedsKeys) => self.wait_for_keys(socket, Command::Authenticate(frame), out),
            Err(error) if before.is_none() => self.fail(socket, error.code(), out),
            // A bad token leaves the identity that stands; its own expiry will end it.
            Err(error) => self.refuse(now, socket, Refusal::of(error.code()), None, out),
            Ok(principal) => match before {
                None if self.is_full() => self.fail(socket, Code::ConnectionLimit, out),
                None => self.start(now, socket, principal, frame, out),
                Some(before) if before.user != principal.user || before.method != principal.method => {
                    self.refuse(now, socket, Refusal::of(Code::WrongUser), None, out);
                }
                Some(_) => self.refresh(now, socket, principal, out),
            },
        }
    }

    /// Does what is due: connections that never said who they are, tokens that have expired.
    pub(in crate::engine) fn expire(&mut self, now: u64, out: &mut Out) {
        while let Some((time, socket)) = self.deadlines.first().copied().filter(|(time, _)| *time <= now) {
            self.deadlines.remove(&(time, socket));
            let Some(connection) = self.connections.get(socket) else { continue };
            match &connection.principal {
                None => self.fail(socket, Code::AuthTimeout, out),
                Some(_) if connection.channel().is_some() => {
                    let expired = TokenError::Expired(now.saturating_sub(time) / 1_000);
                    self.end_because(socket, Refusal::from(expired), out);
                }
                Some(_) if connection.told_expired => self.end(socket, Code::TokenExpired, out),
                Some(_) => {
                    self.tell(socket, Event::AuthExpired, out);
                    self.change(socket, |connection| connection.told_expired = true);
                }
            }
        }
    }

    /// Takes in the key set and lets go the frames that waited for it.
    pub(in crate::engine) fn keys_fetched(&mut self, now: u64, answer: Option<&str>) {
        self.keys.answered(now, answer);
        self.fetching_keys = false;
        self.waiting_bytes = 0;
        for connection in self.connections.iter_mut() {
            let socket = connection.socket;
            self.released.extend(connection.waiting.take().into_iter().flatten().map(|frame| (socket, frame)));
        }
    }

    /// Handles the next frame that has waited; `false` when there is none.
    pub(in crate::engine) fn release(&mut self, now: u64, out: &mut Out) -> bool {
        let Some((socket, frame)) = self.released.pop_front() else { return false };
        self.handle(now, socket, frame, out);
        true
    }

    /// Tells a connection where the stream stands, what it has missed, and lets it go on from there.
    pub(super) fn resumed(
        &mut self,
        socket: SocketId,
        position: Position,
        missed: Option<Missed>,
        then: Announcement,
        out: &mut Out,
    ) {
        let recovered = missed.as_ref().map(|missed| matches!(missed, Missed::Everything(_)));
        let (mut only, mut live) = (None, None);
        let watch = match then {
            Announcement::Authenticated { with_position, then, watch } => {
                self.welcome(socket, with_position.then_some(position), recovered, out);
                then.into_iter().for_each(|event| self.tell(socket, event, out));
                watch
            }
            Announcement::Subscribed { id, topic, watch } => {
                self.tell(socket, Event::Subscribed { id, recovered }, out);
                only = Some(topic.clone());
                watch.then_some(topic).into_iter().collect()
            }
            Announcement::Joined { id, answer, live: after, watch } => {
                self.tell(socket, Event::Joined { id, answer }, out);
                live = Some(after);
                watch.into_iter().collect()
            }
        };
        let publications = match missed {
            Some(Missed::Everything(publications)) => publications,
            Some(Missed::TooMuch) | None => Vec::new(),
        };
        for accepted in publications.iter().filter(|one| only.is_none() || one.publication.topic == only) {
            self.events_for(socket, accepted).into_iter().for_each(|event| self.tell(socket, event, out));
        }
        live.into_iter().for_each(|event| self.tell(socket, event, out));
        out.to_stream.extend(watch.into_iter().map(|topic| ToStream::Roster { socket, topic }));
    }

    fn is_full(&self) -> bool {
        self.connections.authenticated() >= self.configuration.limits.connections
    }

    fn identify(&self, now: u64, frame: &Authenticate) -> Result<Principal, TokenError> {
        if frame.organization.as_ref().is_some_and(|organization| **organization != *self.organization) {
            return Err(TokenError::Refused(Code::WrongOrganization));
        }
        self.principal(now, &frame.token)
    }

    /// Whom a token names.
    pub(super) fn principal(&self, now: u64, token: &Secret) -> Result<Principal, TokenError> {
        self.configuration.credentials.principal(now, token.expose(), &self.organization, &self.keys)
    }

    pub(super) fn wait_for_keys(&mut self, socket: SocketId, command: Command, out: &mut Out) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        match &connection.principal {
            None if self.waiting_bytes > WAITING_BYTES => return self.fail(socket, Code::KeysUnavailable, out),
            Some(_) if self.waiting_bytes > WAITING_BYTES => return self.end(socket, Code::KeysUnavailable, out),
            _ => {}
        }
        connection.waiting.get_or_insert_default().push_front(Ok(command));
        if !std::mem::replace(&mut self.fetching_keys, true) {
            out.run(Task::FetchKeys);
        }
    }

    /// A first authentication: the subscriptions that come with it stand before anything is replayed.
    fn start(&mut self, now: u64, socket: SocketId, principal: Principal, frame: Authenticate, out: &mut Out) {
        let principal_for = Rc::new(principal.clone());
        let mut then = Vec::new();
        let (mut accepted, mut watch) = (Vec::new(), Vec::new());
        for subscribe in frame.subscriptions {
            let watched = subscribe.watched();
            match self.admit(&principal_for, &accepted, subscribe) {
                Ok(subscription) => {
                    then.push(Event::Subscribed { id: subscription.id.clone(), recovered: None });
                    accepted.push(subscription);
                    watch.extend(watched);
                }
                Err((refusal, id)) => then.push(Event::Refused { refusal, id: Some(id) }),
            }
        }
        let refused = then.iter().filter(|event| matches!(event, Event::Refused { .. })).count();
        self.change(socket, |connection| {
            connection.subscriptions = accepted;
            for _ in 0..refused {
                connection.errors.add(now, u64::MAX);
            }
        });
        self.begin(socket, principal, frame.recover, (then, watch), out);
    }

    /// From here on the connection is somebody.
    fn begin(
        &mut self,
        socket: SocketId,
        principal: Principal,
        recover: Recover,
        (then, watch): (Vec<Event>, Vec<Topic>),
        out: &mut Out,
    ) {
        let method = principal.method.wire();
        self.change(socket, |connection| {
            connection.principal = Some(Rc::new(principal));
            connection.offsets = recover != Recover::Off;
        });
        let connection = self.connections.get(socket).map(|connection| connection.client_id.clone());
        let details = vec![("method", method.to_owned())];
        out.run(Task::Log(Log { event: "connected", connection, code: None, details }));
        let with_position = recover != Recover::Off;
        let from = match recover {
            Recover::From(position) => From::Position(position),
            Recover::Off | Recover::On => From::Now,
        };
        let then = Announcement::Authenticated { with_position, then, watch };
        out.to_stream.push_back(ToStream::Resume { socket, from, then });
    }

    /// A later authentication: everything that was allowed is decided again.
    fn refresh(&mut self, now: u64, socket: SocketId, principal: Principal, out: &mut Out) {
        self.change(socket, |connection| {
            // Whoever answers with a token that is over too is told no second time: that would go on for ever.
            connection.told_expired &= principal.expires.is_some_and(|expires| expires <= now);
            connection.principal = Some(Rc::new(principal));
        });
        self.welcome(socket, None, None, out);
        self.reauthorize(socket, out);
    }

    fn welcome(&self, socket: SocketId, position: Option<Position>, recovered: Option<bool>, out: &mut Out) {
        let Some(principal) = self.connections.get(socket).and_then(|connection| connection.principal.clone()) else {
            return;
        };
        let organization = self.organization.clone();
        self.tell(socket, Event::Authenticated(Authenticated { organization, principal, position, recovered }), out);
    }

    /// Ends a connection that is nobody.
    pub(super) fn fail(&mut self, socket: SocketId, code: Code, out: &mut Out) {
        self.tell(socket, Event::AuthFailed(code), out);
        self.end(socket, code, out);
    }
}

// A grace shorter than the leeway would close connections whose token is still accepted at the door.
const _: () = assert!(EXPIRY_GRACE >= crate::policy::token::LEEWAY);
