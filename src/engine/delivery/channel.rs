//! The channels of a socket (Phoenix): each is a session with its own principal and subscriptions.

use std::rc::Rc;

use super::Delivery;
use super::grants::NoGrant;
use super::session::{JoinedChannel, Session, Subscribed, Subscription, may_see_members};
use super::subscriptions::Totals;
use crate::code::{Code, Reason, Refusal};
use crate::engine::command::{ChannelAct, ChannelFrame, Command, Join, TableTarget};
use crate::engine::effect::{Log, Task};
use crate::engine::event::{Address, Event};
use crate::engine::input::SocketId;
use crate::engine::message::{Announcement, From, Origin, Out, SessionId, ToStream};
use crate::engine::profile::{Duplicate, Profile};
use crate::policy::channel::Topic;
use crate::policy::limits::{REJECTION_FACTOR, STATE_BYTES};
use crate::policy::principal::Principal;
use crate::policy::token::TokenError;

/// A join that has been granted.
struct Entry {
    principal: Rc<Principal>,
    messages: bool,
    presence: bool,
    tables: Vec<Subscription>,
    /// Whether its table subscriptions are active; `None` if it requested none.
    live: Option<Result<(), Refusal>>,
    /// The subscriptions that the database has not answered for.
    pending: Vec<String>,
}

impl Delivery {
    /// Handles a frame about a channel; `session` is the channel's current session.
    pub(super) fn in_channel(
        &mut self,
        now: u64,
        socket: SocketId,
        session: Option<SessionId>,
        frame: ChannelFrame,
        out: &mut Out,
    ) {
        match (session, &frame.act) {
            (_, ChannelAct::Join(join)) => self.join(now, socket, &frame, join, out),
            (Some(_), ChannelAct::Nothing) => {}
            (Some(session), ChannelAct::Refresh(token)) => self.renew_with(now, session, token.clone(), &frame, out),
            // A newer join owns the current session.
            (Some(session), ChannelAct::Leave) if self.is_stale(session, frame.reference.as_deref()) => {}
            (Some(session), _) => self.act(now, session, frame.act, frame.id, out),
            (None, ChannelAct::Leave) => {
                if let Some(id) = frame.id {
                    let address = address(frame.name, frame.reference);
                    self.registry.tell_socket(socket, address, Event::Acknowledged { id, retained: None }, out);
                }
            }
            // A frame for a channel that has just ended is not a client error.
            (None, _) => {
                let unknown = Refusal::of(Code::UnknownSubscription);
                let refusal = if let ChannelAct::Refused(refusal) = frame.act { refusal } else { unknown };
                let event = Event::Refused { refusal, id: frame.id, topic: None };
                self.registry.tell_socket(socket, address(frame.name, None), event, out);
            }
        }
    }

    /// Whether a frame belongs to an earlier join than the current one; a frame without a reference is never stale.
    fn is_stale(&self, session: SessionId, reference: Option<&str>) -> bool {
        let address = self.registry.session(session).and_then(Session::address);
        let current = address.and_then(|address| address.reference.as_deref());
        reference.is_some_and(|reference| current.is_some_and(|current| current != reference))
    }

    /// Rejects a frame that exceeds the rate limit, or the number of frames that may wait for keys. Flooding a channel
    /// closes that channel, and flooding with joins closes the socket. A frame with a reference receives a reply until
    /// the socket is closed.
    pub(super) fn slow_down(&mut self, now: u64, socket: SocketId, frame: ChannelFrame, floods: bool, out: &mut Out) {
        let ends = floods && matches!(frame.act, ChannelAct::Join(_));
        if self.count_rejection(now, socket, out) {
            return;
        }
        let refusal = Refusal::of(Code::RateLimited);
        let session = self.registry.socket(socket).and_then(|socket| socket.addressed(&frame));
        let event = match (frame.act, frame.id) {
            (ChannelAct::Publish { .. } | ChannelAct::Track { .. }, _) if floods && session.is_some() => {
                return session.into_iter().for_each(|session| self.end(session, Refusal::of(Code::RateLimited), out));
            }
            (ChannelAct::Join(_), Some(id)) => Some(Event::NotJoined { id, refusal }),
            (ChannelAct::Refresh(_), _) => None,
            (_, id) => Some(Event::Refused { refusal, id, topic: None }),
        };
        if let Some(event) = event {
            self.registry.tell_socket(socket, address(frame.name, frame.reference), event, out);
        }
        if ends {
            self.close(socket, Code::JoinLimit, out);
        }
    }

    /// Counts a rejected frame, and closes a socket that keeps sending them; returns whether it did. The limit must
    /// tolerate clients that rejoin all their channels with an expired token about ten times a minute.
    fn count_rejection(&mut self, now: u64, socket: SocketId, out: &mut Out) -> bool {
        let limits = &self.configuration.limits;
        let most = limits.frames_per_second.saturating_add(limits.topics).saturating_mul(REJECTION_FACTOR);
        let Some(known) = self.registry.socket_mut(socket) else { return false };
        let closes = known.rejected.add(now, most);
        if closes {
            self.close(socket, Code::TooManyErrors, out);
        }
        closes
    }

    fn join(&mut self, now: u64, socket: SocketId, frame: &ChannelFrame, join: &Join, out: &mut Out) {
        let named = self.verifier.identify_join(now, (&mut self.registry, socket), join);
        let admitted = match named.map(|principal| self.granted(now, &principal, std::slice::from_ref(&join.topic))) {
            Ok(Ok(principal)) => {
                let paid = self.pay_to_enter(now, socket, principal.user.as_deref());
                paid.and_then(|()| self.admit_channel(socket, frame, join, principal))
            }
            Ok(Err(NoGrant::Unknown(group, topic))) => {
                let again = Command::Channel(Box::new(frame.clone()));
                return self.wait_for_grant(socket, (group, topic), again, out);
            }
            Ok(Err(NoGrant::Unavailable)) => Err(Refusal::of(Code::SourceUnavailable)),
            Err(TokenError::NeedsKeys) => {
                return self.wait_for_keys(socket, Command::Channel(Box::new(frame.clone())), out);
            }
            Err(error) => Err(Refusal::from(error)),
        };
        let Some(known) = self.registry.socket(socket) else { return };
        let admitted = match (known.named(&frame.name), known.profile.duplicate) {
            (None, _) => admitted,
            (Some(_), Duplicate::Refused) => Err(Refusal::of(Code::SubscriptionExists)),
            // A rejoin leaves the old session first, even when the new join is refused.
            (Some(before), Duplicate::Replaces) => {
                self.registry.tell(before, Event::Left { id: None }, out);
                self.leave(before, out);
                admitted
            }
        };
        match admitted {
            Ok(entry) => self.entered(now, socket, frame, join, entry, out),
            Err(refusal) => self.reject_join(now, socket, frame, refusal, out),
        }
    }

    fn reject_join(&mut self, now: u64, socket: SocketId, frame: &ChannelFrame, refusal: Refusal, out: &mut Out) {
        if self.count_rejection(now, socket, out) {
            return;
        }
        self.registry.log("refused", socket, Some(refusal.code), out);
        if let Some(id) = frame.id.clone() {
            let address = address(frame.name.clone(), frame.reference.clone());
            self.registry.tell_socket(socket, address, Event::NotJoined { id, refusal }, out);
        }
    }

    fn admit_channel(
        &self,
        socket: SocketId,
        frame: &ChannelFrame,
        join: &Join,
        principal: Rc<Principal>,
    ) -> Result<Entry, Refusal> {
        if join.topic.name.is_empty() {
            return Err(Refusal::with(Code::InvalidFrame, Reason::UnnamedTopic));
        }
        let known = self.registry.socket(socket).ok_or(Code::Internal)?;
        let before = known.named(&frame.name);
        let mut present = Totals::default();
        let mut count = 0;
        for session in known.sessions.iter().filter(|session| Some(session.id) != before) {
            count += 1;
            present = present.plus(session.subscriptions.totals());
        }
        if count >= self.configuration.limits.topics || known.state_bytes > STATE_BYTES {
            return Err(Refusal::of(Code::TopicLimit));
        }
        let (messages, presence) = self.rights().sight(&join.topic, join.presence, &principal)?;
        if join.replay.is_some() && !join.topic.private {
            return Err(Refusal::with(Code::InvalidFrame, Reason::PublicReplay));
        }
        let live = (!join.tables.is_empty()).then_some(Ok(()));
        let mut entry = Entry { principal, messages, presence, tables: Vec::new(), live, pending: Vec::new() };
        for target in &join.tables {
            match target {
                Err(refusal) => entry.live = Some(Err(refusal.clone())),
                Ok(target) => self.admit_table(&mut entry, &mut present, target, known.profile)?,
            }
        }
        Ok(entry)
    }

    /// Adds a table to a channel that is being joined, and to the totals of its socket.
    fn admit_table(
        &self,
        entry: &mut Entry,
        present: &mut Totals,
        target: &TableTarget,
        profile: &Profile,
    ) -> Result<(), Refusal> {
        self.rights().refuse_table(&entry.principal, *present, target).map_or(Ok(()), Err)?;
        let subscription = Subscription::new(target.number.to_string(), Subscribed::Table(target.clone()));
        match self.rights().is_live(&entry.principal, &subscription, profile) {
            Ok(true) => {}
            Ok(false) => entry.pending.push(subscription.id.clone()),
            Err(refusal) => entry.live = Some(Err(refusal)),
        }
        *present = present.plus(Totals::of(target));
        entry.tables.push(subscription);
        Ok(())
    }

    fn entered(&mut self, now: u64, socket: SocketId, frame: &ChannelFrame, join: &Join, entry: Entry, out: &mut Out) {
        let Some(known) = self.registry.socket_mut(socket) else { return };
        let client_id: Rc<str> = Rc::from(format!("{}.{}", known.client_id, known.entered));
        let id = SessionId { socket, number: known.next_number() };
        known.entered += 1;
        let mut session = Session::new(id, client_id.clone(), entry.principal);
        session.subscriptions = entry.tables.into_iter().collect();
        session.channel = Some(Box::new(JoinedChannel {
            address: Address {
                name: Rc::from(frame.name.as_str()),
                reference: frame.reference.as_deref().map(Rc::from),
            },
            topic: join.topic.clone(),
            messages: entry.messages,
            presence: entry.presence,
            presence_key: join.presence_key.as_deref().map(Rc::from),
            echo: join.echo,
            acknowledge: join.acknowledge,
        }));
        // The client must not be told that messages flow before they do, nor that tables are live before all of them
        // are.
        let announces_later = join.announce && !self.registry.hears_database();
        let is_refused = matches!(entry.live, Some(Err(_)));
        let waits = !is_refused && (announces_later || !entry.pending.is_empty());
        session.awaiting = Self::awaiting(now, entry.pending, join.announce).filter(|_| waits);
        let watch = session.watched(&self.configuration).cloned();
        self.registry.enter(session);
        out.run(Task::Log(Log { event: "joined", connection: Some(client_id), code: None, details: Vec::new() }));
        let from = match join.replay {
            Some(replay) if entry.messages => From::Topic(join.topic.name.clone(), replay),
            _ => From::Now,
        };
        let live = Event::Live {
            tables: entry.live.filter(|_| !waits),
            announce: join.announce && !waits && !announces_later,
        };
        let reference = frame.id.clone().unwrap_or_default();
        let then = Announcement::Joined { id: reference, answer: join.answer.clone(), live, watch };
        out.to_stream.push_back(ToStream::Resume { session: id, from, then });
    }

    /// Executes a command in a joined channel.
    fn act(&mut self, now: u64, session: SessionId, act: ChannelAct, id: Option<String>, out: &mut Out) {
        let Some(known) = self.registry.session(session) else { return };
        let Some(channel) = &known.channel else { return };
        let principal = known.principal.clone();
        let acknowledge = id.clone().filter(|_| channel.acknowledge);
        let topic = channel.topic.clone();
        let (done, answer) = match act {
            ChannelAct::Leave => {
                self.registry.tell(session, Event::Left { id }, out);
                return self.leave(session, out);
            }
            ChannelAct::Publish { event, payload, whole, persist } => {
                let origin = Origin {
                    session,
                    acknowledge: acknowledge.clone(),
                    echo: channel.echo,
                    persist,
                    key: None,
                    relayed: None,
                };
                (self.publish_from(&principal, topic, (&event, payload, whole), origin, out), acknowledge)
            }
            ChannelAct::Track { metadata } => (self.appear(session, &principal, topic, metadata, id.clone(), out), id),
            ChannelAct::Untrack => {
                if known.present.contains(&Some(topic.clone())) {
                    let topic = Some(topic);
                    let untrack = |client_id| ToStream::Untrack { session, topic, client_id, key: None };
                    self.tell_stream(session, untrack, out);
                }
                id.into_iter()
                    .for_each(|id| self.registry.tell(session, Event::Acknowledged { id, retained: None }, out));
                (Ok(()), None)
            }
            ChannelAct::Refused(refusal) => (Err(refusal), id),
            ChannelAct::Join(_) | ChannelAct::Refresh(_) | ChannelAct::Nothing => (Ok(()), None),
        };
        if let Err(refusal) = done {
            self.refuse(now, session, refusal, (answer, None), out);
        }
    }

    /// A channel that tracks a presence also receives that roster from then on.
    fn appear(
        &mut self,
        session: SessionId,
        principal: &Principal,
        topic: Topic,
        metadata: Rc<str>,
        id: Option<String>,
        out: &mut Out,
    ) -> Result<(), Refusal> {
        let channel = self.registry.session(session).and_then(|session| session.channel.as_ref());
        let is_told = channel.is_some_and(|channel| channel.presence);
        let may_see = may_see_members(&self.configuration, &topic, principal);
        let key = channel.and_then(|channel| channel.presence_key.clone());
        self.track(session, principal, Some(topic), (key, metadata), (!is_told && may_see, id), out)?;
        if !is_told {
            self.registry
                .change(session, |session| session.channel.iter_mut().for_each(|channel| channel.presence = true));
        }
        Ok(())
    }
}

/// The address of a channel that the socket has not joined.
fn address(name: String, reference: Option<String>) -> Option<Address> {
    Some(Address { name: Rc::from(name), reference: reference.map(Rc::from) })
}
