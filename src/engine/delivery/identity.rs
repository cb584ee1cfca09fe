//! The identity of a session: the principal that its token names, from its first token through each renewal to its
//! expiry.

use std::rc::Rc;

use super::Delivery;
use super::grants::NoGrant;
use super::registry::Due;
use super::session::{Session, Subscribed};
use crate::code::{Code, Reason, Refusal};
use crate::engine::command::{ChannelAct, ChannelFrame, Command};
use crate::engine::effect::Task;
use crate::engine::event::Event;
use crate::engine::input::SocketId;
use crate::engine::message::{Out, SessionId, ToStream};
use crate::engine::profile::{Expiry, LostTable, Renewal};
use crate::policy::channel::{Action, Topic};
use crate::policy::limits::EXPIRY_GRACE;
use crate::policy::principal::Principal;
use crate::policy::secret::Secret;
use crate::policy::token::{LEEWAY, TokenError};

impl Delivery {
    /// A fresh token for a channel's session.
    pub(super) fn renew_with(&mut self, now: u64, id: SessionId, token: Secret, frame: &ChannelFrame, out: &mut Out) {
        let named = self.verifier.named_by(now, (&mut self.registry, id.socket), &token);
        // It is queued under its channel's name, whatever reference it was addressed with.
        let name = self.registry.session(id).and_then(Session::address).map(|address| address.name.to_string());
        let act = ChannelAct::Refresh(token);
        let again =
            ChannelFrame { name: name.unwrap_or_default(), by_reference: false, id: None, act, ..frame.clone() };
        self.renew(now, id, named, Command::Channel(Box::new(again)), out);
    }

    /// Applies the principal of a fresh token, or follows the dialect if the token is invalid. `again` is the frame to
    /// queue if keys have to be fetched first.
    pub(super) fn renew(
        &mut self,
        now: u64,
        id: SessionId,
        named: Result<Rc<Principal>, TokenError>,
        again: Command,
        out: &mut Out,
    ) {
        let (Some(session), Some(profile)) = (self.registry.session(id), self.registry.profile(id.socket)) else {
            return;
        };
        let before = session.principal.clone();
        match (profile.renewal, named) {
            (_, Err(TokenError::NeedsKeys)) => self.wait_for_keys(id.socket, again, out),
            // An invalid token keeps the current identity, which ends with its own expiry.
            (Renewal::Answered | Renewal::AnsweredForAnyone, Err(error)) => {
                self.refuse(now, id, Refusal::of(error.code()), (None, None), out);
            }
            // Missing keys say nothing about the token, so the current identity ends at its own expiry.
            (Renewal::Silent, Err(TokenError::Refused(Code::KeysUnavailable))) => {}
            (Renewal::Silent, Err(error)) => self.end(id, Refusal::from(error), out),
            (Renewal::Answered, Ok(principal))
                if before.user != principal.user || before.method != principal.method =>
            {
                self.refuse(now, id, Refusal::of(Code::WrongUser), (None, None), out);
            }
            (Renewal::AnsweredForAnyone, Ok(principal))
                if before.user != principal.user && self.rights().has_all_of(&principal) =>
            {
                self.refuse(now, id, Refusal::of(Code::ConnectionLimit), (None, None), out);
            }
            // The same token changes nothing.
            (Renewal::Silent, Ok(principal)) if before.is_same(&principal) => {}
            (renewal, Ok(principal)) => match (self.granted(now, &principal, &session.places_of_rights()), renewal) {
                (Ok(principal), renewal) => self.go_on_as(now, id, principal, renewal.is_answered(), out),
                (Err(NoGrant::Unknown(group, topic)), _) => self.wait_for_grant(id.socket, (group, topic), again, out),
                (Err(NoGrant::Unavailable), renewal) if renewal.is_answered() => {
                    self.refuse(now, id, Refusal::of(Code::SourceUnavailable), (None, None), out);
                }
                (Err(NoGrant::Unavailable), _) => {}
            },
        }
    }

    fn go_on_as(&mut self, now: u64, id: SessionId, principal: Rc<Principal>, is_answered: bool, out: &mut Out) {
        let Some(session) = self.registry.session(id) else { return };
        let user_changed = session.principal.user != principal.user;
        let before = self.sight_of(session);
        self.registry.change_identity(id, |session| {
            // A client that answers with another expired token is not asked again, because that could loop forever.
            session.told_expired &= principal.expires.is_some_and(|expires| expires <= now);
            session.principal = principal;
        });
        if is_answered {
            self.welcome(id, (None, None), true, out);
        }
        self.reauthorize(now, id, user_changed, before, out);
    }

    /// What a session reads of its joined channel: messages, members.
    fn sight_of(&self, session: &Session) -> (bool, bool) {
        let messages = session.channel.as_ref().is_some_and(|channel| channel.messages);
        (messages, session.watched(&self.configuration).is_some())
    }

    /// Recomputes a session's rights after its principal changed. `before` is what it could read of its channel until
    /// now. A session that loses any of it loses the channel, because its client could not tell what it misses.
    fn reauthorize(&mut self, now: u64, id: SessionId, user_changed: bool, before: (bool, bool), out: &mut Out) {
        let (Some(session), Some(profile)) = (self.registry.session(id), self.registry.profile(id.socket)) else {
            return;
        };
        if let Some(channel) = &session.channel {
            let messages = match self.rights().sight(&channel.topic, channel.presence, &session.principal) {
                Ok((messages, _)) => messages,
                Err(refusal) => return self.end(id, refusal, out),
            };
            if (before.0 && !messages) || (before.1 && session.watched(&self.configuration).is_none()) {
                return self.end(id, Refusal::with(Code::Forbidden, Reason::ReadRevoked), out);
            }
            self.registry
                .change(id, |session| session.channel.iter_mut().for_each(|channel| channel.messages = messages));
        }
        self.withdraw(id, user_changed, out);
        match profile.lost_table {
            LostTable::Ends => self.end_lost(id, out),
            LostTable::Dormant => self.tell_live(now, id, out),
        }
        let watches = self.registry.session(id).and_then(|session| session.watched(&self.configuration));
        if let Some(topic) = watches.filter(|_| !before.1) {
            out.to_stream.push_back(ToStream::Roster { session: id, topic: topic.clone() });
        }
    }

    /// Removes presences under a previous user, and those that the principal may no longer have.
    fn withdraw(&self, id: SessionId, user_changed: bool, out: &mut Out) {
        let Some(session) = self.registry.session(id) else { return };
        let may_stay = |topic: &Option<Topic>| {
            !user_changed && self.configuration.authorize_presence(topic.as_ref(), &session.principal).is_ok()
        };
        for topic in session.present.iter().filter(|topic| !may_stay(topic)).cloned() {
            let client_id = session.client_id.clone();
            out.to_stream.push_back(ToStream::Untrack { session: id, topic, client_id, key: None });
        }
    }

    /// Removes the subscriptions that the principal may no longer have.
    fn end_lost(&mut self, id: SessionId, out: &mut Out) {
        let Some(session) = self.registry.session(id) else { return };
        let is_lost = |target: &Subscribed| match target {
            Subscribed::Topic(topic) => self.configuration.authorize(Action::Read, topic, &session.principal).is_err(),
            Subscribed::Table(target) => !self.rights().admits(target, &session.principal),
        };
        let lost = session.subscriptions.iter().filter(|subscription| is_lost(&subscription.target));
        let lost: Vec<String> = lost.map(|subscription| subscription.id.clone()).collect();
        if !lost.is_empty() {
            self.registry.change(id, |session| session.subscriptions.retain(|one| !lost.contains(&one.id)));
        }
        // These are not the client's frames, so they do not count as its errors.
        for name in lost {
            self.registry.log_session("refused", id, Some(Code::Forbidden), out);
            self.registry.tell(
                id,
                Event::Refused { refusal: Refusal::of(Code::Forbidden), id: Some(name), topic: None },
                out,
            );
        }
    }

    /// Handles what is due: sockets that never authenticated, and expired tokens.
    pub(in crate::engine) fn expire(&mut self, now: u64, out: &mut Out) {
        self.meter.set_time(now);
        while let Some((time, due)) = self.registry.next_due(now) {
            match due {
                Due::Authentication(socket) => self.fail(socket, Code::AuthTimeout, out),
                Due::Expiry(session) => self.expired(now, time, session, out),
                Due::Database(session) => self.database_timed_out(now, session, out),
            }
        }
        self.registry.heartbeats.beat(now, out);
    }

    fn expired(&mut self, now: u64, time: u64, id: SessionId, out: &mut Out) {
        let (Some(session), Some(profile)) = (self.registry.session(id), self.registry.profile(id.socket)) else {
            return;
        };
        match profile.expiry {
            Expiry::Grace if session.told_expired => self.end(id, Refusal::of(Code::TokenExpired), out),
            Expiry::Grace => {
                self.registry.tell(id, Event::AuthExpired, out);
                self.registry.change(id, |session| session.told_expired = true);
            }
            Expiry::Ends => {
                let expired = TokenError::Expired(now.saturating_sub(time) / 1_000);
                self.end(id, Refusal::from(expired), out);
            }
        }
    }

    /// Applies the key set and releases the frames that waited for it.
    pub(in crate::engine) fn keys_fetched(&mut self, now: u64, answer: Option<(u64, &str)>) {
        self.verifier.fetched(now, answer);
        for socket in self.registry.sockets_mut() {
            let id = socket.id;
            if self.waits.held.has(id) || self.waits.grants.makes_wait(id) {
                continue;
            }
            self.backlog.release(id, socket.waiting.take());
        }
    }

    /// Handles the next released frame; `false` when there is none.
    pub(in crate::engine) fn release(&mut self, now: u64, out: &mut Out) -> bool {
        let Some((socket, frame)) = self.backlog.next() else { return false };
        self.handle(now, socket, frame, out);
        true
    }

    /// Queues a frame, and those that follow it on its socket, until the key set arrives.
    pub(super) fn wait_for_keys(&mut self, id: SocketId, command: Command, out: &mut Out) {
        let Some(socket) = self.registry.socket_mut(id) else { return };
        if !self.backlog.has_room_for(0) {
            return match socket.principal() {
                None => self.fail(id, Code::KeysUnavailable, out),
                Some(_) => self.close(id, Code::KeysUnavailable, out),
            };
        }
        socket.waiting.get_or_insert_default().push_front(Ok(command));
        if self.verifier.must_fetch() {
            out.run(Task::FetchKeys);
        }
    }
}

// A grace shorter than the leeway would close sockets whose token the handshake still accepts.
const _: () = assert!(EXPIRY_GRACE >= LEEWAY);
