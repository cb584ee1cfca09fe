//! What an authenticated connection may ask for: subscriptions, publishing, presence.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Delivery;
use super::grants::{NoGrant, topics_of};
use super::session::{Session, Subscribed, Subscription};
use crate::code::{Code, Refusal};
use crate::engine::command::{Command, Position, Subscribe, TableTarget, Target};
use crate::engine::database::interest::Readiness;
use crate::engine::event::{Event, Member};
use crate::engine::message::{Announcement, From, Origin, Out, SessionId, ToStream, Tracking};
use crate::engine::profile::Duplicate;
use crate::engine::publication::{Payload, Publication};
use crate::policy::channel::{Action, Topic};
use crate::policy::limits::{KEPT_BYTES, REGULAR_EXPRESSIONS, STATE_BYTES};
use crate::policy::principal::Principal;

impl Delivery {
    /// Does what a session asks for, or says why not.
    pub(super) fn execute(&mut self, now: u64, session: SessionId, command: Command, out: &mut Out) {
        let Some(before) = self.sockets.session(session).map(|session| session.principal.clone()) else { return };
        let principal = match self.granted(now, &before, &topics_of(&command)) {
            Ok(principal) => principal,
            Err(NoGrant::Unknown(group, topic)) => {
                return self.wait_for_grant(session.socket, (group, topic), command, out);
            }
            Err(NoGrant::Unavailable) => {
                return self.refuse(now, session, Refusal::of(Code::SourceUnavailable), id_of(&command), out);
            }
        };
        if !Rc::ptr_eq(&before, &principal) {
            self.change(session, |session| session.principal = principal.clone());
        }
        let principal = &*principal;
        let (done, id) = match command {
            Command::Subscribe(subscribe) => {
                let id = subscribe.id.clone();
                (self.subscribe(now, session, principal, subscribe, out), Some(id))
            }
            Command::Unsubscribe { id } => (self.unsubscribe(session, &id, out), Some(id)),
            Command::Publish { topic, event, payload, id, echo } => {
                let origin = Origin { session, acknowledge: id.clone(), echo, persist: false };
                (self.publish_from(principal, topic, (&event, payload, None), origin, out), id)
            }
            Command::Track { topic, metadata } => {
                (self.track(session, principal, topic, metadata, (false, None), out), None)
            }
            Command::Update { topic, metadata } => {
                let done = self.check_metadata(&metadata);
                let tell = |client_id| ToStream::Update { session, topic, client_id, metadata };
                (done.map(|()| self.tell_stream(session, tell, out)), None)
            }
            Command::Untrack { topic } => {
                self.tell_stream(session, |client_id| ToStream::Untrack { session, topic, client_id }, out);
                (Ok(()), None)
            }
            // Handled before anyone's identity matters.
            Command::Authenticate(_) | Command::Channel(_) | Command::Ping { .. } => (Ok(()), None),
        };
        if let Err(refusal) = done {
            self.refuse(now, session, refusal, id, out);
        }
    }

    /// Decides whether a subscription may stand beside `present` ones.
    pub(super) fn admit(
        &self,
        principal: &Principal,
        present: &[Subscription],
        subscribe: Subscribe,
    ) -> Result<Subscription, (Refusal, String)> {
        let Subscribe { id, target } = subscribe;
        let refusal = match &target {
            _ if present.iter().any(|subscription| subscription.id == id) => {
                Some(Refusal::of(Code::SubscriptionExists))
            }
            Target::Table(target) => self.refuse_table(principal, present, target),
            Target::Topic { topic, presence, .. } => self.refuse_topic(principal, present, topic, *presence),
        };
        match (refusal, target) {
            (Some(refusal), _) => Err((refusal, id)),
            (None, Target::Table(target)) => Ok(Subscription { id, target: Subscribed::Table(target) }),
            (None, Target::Topic { topic, .. }) => Ok(Subscription { id, target: Subscribed::Topic(topic) }),
        }
    }

    pub(super) fn refuse_table(
        &self,
        principal: &Principal,
        present: &[Subscription],
        target: &TableTarget,
    ) -> Option<Refusal> {
        let limits = &self.configuration.limits;
        let (mut count, mut bytes, mut expressions) = (1, target.bytes(), target.filter.regular_expressions());
        for known in present.iter().filter_map(Subscription::table) {
            count += 1;
            bytes += known.bytes();
            expressions += known.filter.regular_expressions();
        }
        if count > limits.subscriptions {
            Some(Refusal::of(Code::SubscriptionLimit))
        } else if bytes as u64 > limits.filter_bytes {
            Some(Refusal::because(Code::SubscriptionLimit, "The connection's filters are too long together."))
        } else if expressions > REGULAR_EXPRESSIONS {
            Some(Refusal::because(Code::SubscriptionLimit, "The connection has too many regular expressions."))
        } else {
            (!self.admits(target, principal))
                .then(|| Refusal::because(Code::Forbidden, "Your roles do not receive this table's changes."))
        }
    }

    /// Whether a principal has one of the roles that a table's changes are for.
    pub(super) fn admits(&self, target: &TableTarget, principal: &Principal) -> bool {
        let table = self.configuration.tables.get(&target.schema, &target.table);
        table.required_roles.as_ref().is_none_or(|roles| principal.roles.any(roles))
    }

    fn refuse_topic(
        &self,
        principal: &Principal,
        present: &[Subscription],
        topic: &Topic,
        presence: bool,
    ) -> Option<Refusal> {
        // A topic counts once, however many subscriptions to it there are.
        let mut topics: BTreeSet<&Topic> = present.iter().filter_map(Subscription::topic).collect();
        topics.insert(topic);
        if topics.len() as u64 > self.configuration.limits.topics {
            return Some(Refusal::of(Code::TopicLimit));
        }
        let actions: &[Action] = if presence { &[Action::Read, Action::PresenceRead] } else { &[Action::Read] };
        let refused = actions.iter().find_map(|action| self.configuration.authorize(*action, topic, principal).err());
        refused.map(Refusal::of)
    }

    fn subscribe(
        &mut self,
        now: u64,
        session: SessionId,
        principal: &Principal,
        subscribe: Subscribe,
        out: &mut Out,
    ) -> Result<(), Refusal> {
        let known = self.sockets.get(session.socket).ok_or(Code::Internal)?;
        if known.state_bytes > STATE_BYTES {
            return Err(Refusal::of(Code::SubscriptionLimit));
        }
        let asked = match &subscribe.target {
            Target::Topic { topic, presence, recover } => Some((topic.clone(), *presence, recover.clone())),
            Target::Table(_) => None,
        };
        let mut present = known.session(session.number).ok_or(Code::Internal)?.subscriptions.clone();
        if known.profile.duplicate == Duplicate::Replaces {
            present.retain(|before| before.id != subscribe.id);
        }
        let subscription = self.admit(principal, &present, subscribe).map_err(|(refusal, _)| refusal)?;
        let id = subscription.id.clone();
        let is_live = self.is_live(principal, &subscription)?;
        present.push(subscription);
        self.change(session, |session| {
            session.subscriptions = present;
            session.wait_no_more(&id);
        });
        match asked {
            Some((topic, presence, recover)) => self.subscribed_to_topic(session, id, topic, presence, recover, out),
            None if is_live => self.tell(session, Event::Subscribed { id, recovered: None }, out),
            None => self.wait_for_database(now, session, vec![id]),
        }
        Ok(())
    }

    /// Whether a subscription is live at once; where not, the database has to answer first.
    pub(super) fn is_live(&self, principal: &Principal, subscription: &Subscription) -> Result<bool, Refusal> {
        let Some(target) = subscription.table() else { return Ok(true) };
        match self.readiness(self.standing(principal).as_ref(), target) {
            Readiness::Live => Ok(true),
            Readiness::Pending => Ok(false),
            Readiness::Refused(refusal) => Err(refusal),
        }
    }

    fn subscribed_to_topic(
        &self,
        session: SessionId,
        id: String,
        topic: Topic,
        presence: bool,
        from: Option<Position>,
        out: &mut Out,
    ) {
        // Through the stream, which may have to read first: who is present is told after what was missed.
        let then = Announcement::Subscribed { id, topic, watch: presence };
        let from = from.map_or(From::Now, From::Position);
        out.to_stream.push_back(ToStream::Resume { session, from, then });
    }

    fn unsubscribe(&mut self, session: SessionId, id: &str, out: &mut Out) -> Result<(), Refusal> {
        let has = |session: &Session| session.subscriptions.iter().any(|subscription| subscription.id == id);
        if !self.sockets.session(session).is_some_and(has) {
            return Err(Refusal::of(Code::UnknownSubscription));
        }
        self.change(session, |session| {
            session.subscriptions.retain(|subscription| subscription.id != id);
            session.wait_no_more(id);
        });
        self.tell(session, Event::Unsubscribed { id: id.to_owned() }, out);
        Ok(())
    }

    pub(super) fn publish_from(
        &self,
        principal: &Principal,
        topic: Topic,
        (event, payload, whole): (&str, Payload, Option<Rc<str>>),
        origin: Origin,
        out: &mut Out,
    ) -> Result<(), Refusal> {
        self.configuration.authorize(Action::Write, &topic, principal)?;
        let keep = self.configuration.channel(&topic, principal).is_some_and(|channel| channel.history);
        if origin.persist && !keep {
            return Err(Refusal::of(Code::Forbidden));
        }
        let mut publication = Publication::from_client(topic, event, payload)?;
        if let Some(whole) = whole {
            publication = publication.said_in(whole);
        }
        // A write that fails would end this life of the object.
        if keep && publication.source.len() > KEPT_BYTES {
            return Err(Refusal::of(Code::FrameTooLarge));
        }
        let publication = Box::new(publication);
        out.to_stream.push_back(ToStream::Publish { publication, keep, origin });
        Ok(())
    }

    /// Lets a connection appear. It is told first who is there, and gets an answer with the id, where it wants that.
    pub(super) fn track(
        &self,
        session: SessionId,
        principal: &Principal,
        topic: Option<Topic>,
        metadata: Rc<str>,
        (roster, id): (bool, Option<String>),
        out: &mut Out,
    ) -> Result<(), Refusal> {
        let Some(known) = self.sockets.session(session) else { return Ok(()) };
        let roster = roster || self.profile(session.socket).is_some_and(|profile| profile.roster_on_appearing);
        if let Some(topic) = &topic {
            self.configuration.authorize(Action::Presence, topic, principal)?;
        }
        self.check_metadata(&metadata)?;
        let is_new = !known.present.contains(&topic);
        if is_new && known.present.len() as u64 >= self.configuration.limits.presences {
            return Err(Refusal::of(Code::PresenceLimit));
        }
        let user = principal.user.as_deref().map(Rc::from);
        let key = known.channel.as_ref().and_then(|channel| channel.presence_key.clone());
        let member = Rc::new(Member { client_id: known.client_id.clone(), user, key, metadata });
        out.to_stream.push_back(ToStream::Track(Tracking { session, topic, member, roster, id }));
        Ok(())
    }

    fn check_metadata(&self, metadata: &str) -> Result<(), Refusal> {
        let fits = metadata.len() as u64 <= self.configuration.limits.presence_bytes;
        if fits { Ok(()) } else { Err(Refusal::of(Code::MetadataTooLarge)) }
    }

    pub(super) fn tell_stream(&self, session: SessionId, message: impl FnOnce(Rc<str>) -> ToStream, out: &mut Out) {
        if let Some(known) = self.sockets.session(session) {
            out.to_stream.push_back(message(known.client_id.clone()));
        }
    }
}

/// What a client calls a command by.
fn id_of(command: &Command) -> Option<String> {
    match command {
        Command::Subscribe(subscribe) => Some(subscribe.id.clone()),
        Command::Publish { id, .. } => id.clone(),
        _ => None,
    }
}
