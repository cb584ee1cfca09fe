//! Commands of an authenticated session: subscriptions, publishing, presence.

use std::rc::Rc;

use super::Delivery;
use super::client_key;
use super::grants::{NoGrant, topics_of};
use super::session::{Subscribed, Subscription};
use crate::code::{Code, Refusal};
use crate::engine::command::{Command, Subscribe};
use crate::engine::event::{Event, Member};
use crate::engine::message::{Announcement, From, Origin, Out, RecoveryTarget, SessionId, ToStream, Tracking};
use crate::engine::profile::{Duplicate, RosterOnTracking, SubscribableTables, UnknownSubscription};
use crate::engine::publication::{Payload, Publication};
use crate::policy::channel::{Action, Topic};
use crate::policy::limits::{RETAINED_BYTES, STATE_BYTES};
use crate::policy::principal::Principal;

/// The prefix of subscription ids that the server creates; no client's id can start with it.
const IMPLICIT_ID: &str = "\u{0}";

impl Delivery {
    /// Executes a session's command, or refuses it.
    pub(super) fn execute(&mut self, now: u64, session: SessionId, command: Command, out: &mut Out) {
        let Some(before) = self.registry.session(session).map(|session| session.principal.clone()) else { return };
        match self.granted(now, &before, &topics_of(&command)) {
            Ok(principal) => {
                if !Rc::ptr_eq(&before, &principal) {
                    self.registry.change(session, |session| session.principal = principal.clone());
                }
                self.execute_as(now, session, &principal, command, out);
            }
            Err(NoGrant::Unknown(group, topic)) => self.wait_for_grant(session.socket, (group, topic), command, out),
            Err(NoGrant::Unavailable) => {
                let named = (id_of(&command), topic_of(&command).cloned());
                self.refuse(now, session, Refusal::of(Code::SourceUnavailable), named, out);
            }
        }
    }

    fn execute_as(&mut self, now: u64, session: SessionId, principal: &Principal, command: Command, out: &mut Out) {
        let topic = topic_of(&command).cloned();
        let (done, id) = match command {
            Command::Subscribe(subscribe) => {
                let id = subscribe.id.clone();
                (self.subscribe(now, session, principal, subscribe, out), Some(id))
            }
            Command::Unsubscribe { id } => (self.unsubscribe(session, &id, out), Some(id)),
            Command::UnsubscribeAll { id } => {
                self.unsubscribe_all(session, id.as_deref(), out);
                (Ok(()), None)
            }
            Command::Publish { topic, event, payload, id, echo, key } => {
                self.subscribe_publisher(session, principal, &topic);
                let key = key.map(|key| client_key::of(principal, &topic, &key));
                let origin = Origin { session, acknowledge: id.clone(), echo, persist: false, key, relayed: None };
                (self.publish_from(principal, topic, (&event, payload, None), origin, out), id)
            }
            Command::Track { topic, key, metadata } => {
                (self.track(session, principal, topic, (key, metadata), (false, None), out), None)
            }
            Command::Update { topic, .. } if !self.may_update(session, &topic) => (Ok(()), None),
            Command::Update { topic, metadata } => {
                let done = self.rights().check_metadata(&metadata);
                let tell = |client_id| ToStream::Update { session, topic, client_id, metadata };
                (done.map(|()| self.tell_stream(session, tell, out)), None)
            }
            Command::Untrack { topic, key } => {
                self.tell_stream(session, |client_id| ToStream::Untrack { session, topic, client_id, key }, out);
                (Ok(()), None)
            }
            Command::Call(call) => return self.call(now, session, call, out),
            // Handled before authentication.
            Command::Authenticate(_) | Command::Channel(_) | Command::Ping { .. } => (Ok(()), None),
        };
        if let Err(refusal) = done {
            self.refuse(now, session, refusal, (id, topic), out);
        }
    }

    fn subscribe(
        &mut self,
        now: u64,
        session: SessionId,
        principal: &Principal,
        subscribe: Subscribe,
        out: &mut Out,
    ) -> Result<(), Refusal> {
        let (watch, from, answer) = (subscribe.watched(), subscribe.recover.clone(), subscribe.answer.clone());
        let (Subscription { id, target, .. }, is_live) = self.add_subscription(session, principal, subscribe)?;
        let to = match target {
            Subscribed::Table(_) if !is_live => {
                self.wait_for_database(now, session, vec![(id.clone(), answer)]);
                if let Some(from) = from {
                    self.registry.change(session, |session| session.note_position(id, from));
                }
                return Ok(());
            }
            Subscribed::Table(_) if from.is_none() => {
                let name = id.clone();
                self.registry.tell(session, Event::Subscribed { id, answer, recovered: None }, out);
                self.warn_of_table(session, &name, out);
                return Ok(());
            }
            Subscribed::Table(target) => RecoveryTarget::Table(target),
            Subscribed::Topic(topic) => RecoveryTarget::Topic(topic),
        };
        // The stream may have to read first, so the request goes through it and the roster follows the replay.
        let from = match (from, &to) {
            (None, _) => From::Now,
            (Some(from), RecoveryTarget::Topic(_)) => From::Position(from, Vec::new()),
            (Some(from), RecoveryTarget::Table(_)) => self.registry.since(session, from),
        };
        let then = Announcement::Subscribed { id, answer, to, watch };
        out.to_stream.push_back(ToStream::Resume { session, from, then });
        Ok(())
    }

    /// Adds a subscription if the session may have it, and returns whether it is active at once.
    fn add_subscription(
        &mut self,
        session: SessionId,
        principal: &Principal,
        subscribe: Subscribe,
    ) -> Result<(Subscription, bool), Refusal> {
        let known = self.registry.socket(session.socket).ok_or(Code::Internal)?;
        if known.state_bytes > STATE_BYTES {
            return Err(Refusal::of(Code::SubscriptionLimit));
        }
        if known.profile.tables == SubscribableTables::Enabled {
            self.rights().check_enabled(principal, &subscribe.target)?;
        }
        let present = &known.session(session.number).ok_or(Code::Internal)?.subscriptions;
        let may_replace = known.profile.duplicate == Duplicate::Replaces && !subscribe.is_numbered;
        let rest = (may_replace && present.get(&subscribe.id).is_some()).then(|| {
            let mut rest = present.clone();
            rest.remove(&subscribe.id);
            rest
        });
        let subscription = self.rights().admit(principal, rest.as_ref().unwrap_or(present), subscribe);
        let subscription = subscription.map_err(|(refusal, _)| refusal)?;
        let is_live = self.rights().is_live(principal, &subscription, known.profile)?;
        let added = subscription.clone();
        match rest {
            Some(mut all) => self.registry.change(session, |session| {
                session.stop_waiting_for(&subscription.id);
                all.push(subscription);
                session.subscriptions = all;
            }),
            None => self.registry.subscribe(session, subscription),
        }
        Ok((added, is_live))
    }

    fn unsubscribe(&mut self, session: SessionId, id: &str, out: &mut Out) -> Result<(), Refusal> {
        let profile = self.registry.profile(session.socket).ok_or(Code::Internal)?;
        let was_there = self.registry.unsubscribe(session, id);
        if !was_there && profile.unknown_subscription == UnknownSubscription::Refused {
            return Err(Refusal::of(Code::UnknownSubscription));
        }
        self.registry.tell(session, Event::Unsubscribed { id: id.to_owned() }, out);
        Ok(())
    }

    /// Ends the subscriptions that [`Command::UnsubscribeAll`] names.
    fn unsubscribe_all(&mut self, session: SessionId, id: Option<&str>, out: &mut Out) {
        let Some(known) = self.registry.session(session) else { return };
        let is_named = |one: &Subscription| id == Some(one.id.as_str());
        let is_alone = known.subscriptions.iter().any(|one| is_named(one) && one.table().is_some());
        let ends = |one: &Subscription| is_named(one) || id.is_none() || (!is_alone && one.is_numbered());
        let ended: Vec<String> = known.subscriptions.iter().filter(|one| ends(one)).map(|one| one.id.clone()).collect();
        if !ended.is_empty() {
            self.registry.change(session, |session| {
                session.subscriptions.retain(|one| !ended.contains(&one.id));
                ended.iter().for_each(|id| session.stop_waiting_for(id));
            });
        }
        let id = id.filter(|_| is_alone).unwrap_or_default().to_owned();
        self.registry.tell(session, Event::Unsubscribed { id }, out);
    }

    /// Subscribes a publisher to its topic, in dialects that do so, if it may read the topic.
    fn subscribe_publisher(&mut self, session: SessionId, principal: &Principal, topic: &Topic) {
        let Some(known) = self.registry.session(session) else { return };
        let is_so = self.registry.profile(session.socket).is_some_and(|profile| profile.publishing_subscribes);
        if !is_so || known.hears(topic) {
            return;
        }
        let may_write = self.configuration.authorize(Action::Write, topic, principal).is_ok();
        if may_write && self.rights().refuse_topic(principal, &known.subscriptions, topic, false).is_none() {
            let id = [IMPLICIT_ID, &*topic.name].concat();
            let subscription = Subscription::new(id, Subscribed::Topic(topic.clone()));
            self.registry.subscribe(session, subscription);
        }
    }

    pub(super) fn publish_from(
        &self,
        principal: &Principal,
        topic: Topic,
        (event, payload, whole): (&str, Payload, Option<Rc<str>>),
        origin: Origin,
        out: &mut Out,
    ) -> Result<(), Refusal> {
        let keep = self.configuration.may_publish(&topic, principal)?;
        if origin.persist && !keep {
            return Err(Refusal::of(Code::Forbidden));
        }
        let mut publication = Publication::from_client(topic, event, payload)?;
        if let Some(whole) = whole {
            publication = publication.said_in(whole);
        }
        // A failing write would end this life of the object.
        if keep && publication.source.len() > RETAINED_BYTES {
            return Err(Refusal::of(Code::FrameTooLarge));
        }
        let publication = Box::new(publication);
        out.to_stream.push_back(ToStream::Publish { publication, keep, origin });
        Ok(())
    }

    /// Makes a session present. It first receives the roster, and an acknowledgement with the id if it sent one.
    pub(super) fn track(
        &self,
        session: SessionId,
        principal: &Principal,
        topic: Option<Topic>,
        (key, metadata): (Option<Rc<str>>, Rc<str>),
        (roster, id): (bool, Option<String>),
        out: &mut Out,
    ) -> Result<(), Refusal> {
        let (Some(known), Some(profile)) = (self.registry.session(session), self.registry.profile(session.socket))
        else {
            return Ok(());
        };
        let asked = if roster { RosterOnTracking::Appearing } else { RosterOnTracking::Never };
        let roster = asked.max(profile.roster_on_tracking);
        self.configuration.authorize_presence(topic.as_ref(), principal)?;
        self.rights().check_metadata(&metadata)?;
        let mut asked = known.asked_presence.borrow_mut();
        let is_new = !known.present.contains(&topic) && !asked.contains(&topic);
        if is_new && (known.present.len() + asked.len()) as u64 >= self.configuration.limits.presences {
            return Err(Refusal::of(Code::PresenceLimit));
        }
        if is_new {
            asked.insert(topic.clone());
        }
        let user = principal.user.as_deref().map(Rc::from);
        let owns_key = profile.keys_are_owned;
        let member = Rc::new(Member { client_id: known.client_id.clone(), user, key, metadata });
        out.to_stream.push_back(ToStream::Track(Tracking { session, topic, member, owns_key, roster, id }));
        Ok(())
    }

    /// Removes a session from its own roster, in dialects that leave out the member itself.
    pub(super) fn omit_own_presence(&self, id: SessionId, members: &mut Vec<Rc<Member>>) {
        let (Some(session), Some(profile)) = (self.registry.session(id), self.registry.profile(id.socket)) else {
            return;
        };
        members.retain(|member| profile.sees_own_presence || member.client_id != session.client_id);
    }

    /// Whether an update must be passed to the stream, which reports errors.
    fn may_update(&self, session: SessionId, topic: &Option<Topic>) -> bool {
        let is_error = self.registry.profile(session.socket).is_none_or(|profile| profile.untracked_is_error);
        is_error || self.registry.session(session).is_some_and(|known| known.present.contains(topic))
    }

    pub(super) fn tell_stream(&self, session: SessionId, message: impl FnOnce(Rc<str>) -> ToStream, out: &mut Out) {
        if let Some(known) = self.registry.session(session) {
            out.to_stream.push_back(message(known.client_id.clone()));
        }
    }
}

/// The correlation id of a command.
fn id_of(command: &Command) -> Option<String> {
    match command {
        Command::Subscribe(subscribe) => Some(subscribe.id.clone()),
        Command::Publish { id, .. } => id.clone(),
        _ => None,
    }
}
/// The topic that a command is about.
fn topic_of(command: &Command) -> Option<&Topic> {
    match command {
        Command::Publish { topic, .. } => Some(topic),
        Command::Track { topic, .. } | Command::Update { topic, .. } | Command::Untrack { topic, .. } => topic.as_ref(),
        _ => None,
    }
}
