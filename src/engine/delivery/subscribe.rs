//! What an authenticated connection may ask for: subscriptions, publishing, presence.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Delivery;
use super::grants::{NoGrant, topics_of};
use super::session::{Session, Subscribed, Subscription, free_number};
use crate::code::{Code, Reason, Refusal};
use crate::engine::command::{Command, Subscribe, TableTarget, Target};
use crate::engine::database::interest::Readiness;
use crate::engine::event::{Event, Member};
use crate::engine::message::{Announcement, From, Missable, Origin, Out, SessionId, ToStream, Tracking};
use crate::engine::profile::{Duplicate, SubscribableTables, UnknownSubscription};
use crate::engine::publication::{Payload, Publication};
use crate::policy::channel::{Action, Topic};
use crate::policy::limits::{KEPT_BYTES, REGULAR_EXPRESSIONS, STATE_BYTES};
use crate::policy::principal::{Method, Principal};
use crate::policy::table::is_system_schema;

/// What the names of subscriptions begin with that nobody asked for; no client's word begins so.
const SPOKEN: &str = "\u{0}";

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
                let named = (id_of(&command), topic_of(&command).cloned());
                return self.refuse(now, session, Refusal::of(Code::SourceUnavailable), named, out);
            }
        };
        if !Rc::ptr_eq(&before, &principal) {
            self.change(session, |session| session.principal = principal.clone());
        }
        let principal = &*principal;
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
            Command::Publish { topic, event, payload, id, echo } => {
                self.subscribe_speaker(session, principal, &topic);
                let origin = Origin { session, acknowledge: id.clone(), echo, persist: false };
                (self.publish_from(principal, topic, (&event, payload, None), origin, out), id)
            }
            Command::Track { topic, key, metadata } => {
                (self.track(session, principal, topic, (key, metadata), (false, None), out), None)
            }
            Command::Update { topic, .. } if !self.may_update(session, &topic) => (Ok(()), None),
            Command::Update { topic, metadata } => {
                let done = self.check_metadata(&metadata);
                let tell = |client_id| ToStream::Update { session, topic, client_id, metadata };
                (done.map(|()| self.tell_stream(session, tell, out)), None)
            }
            Command::Untrack { topic, key } => {
                self.tell_stream(session, |client_id| ToStream::Untrack { session, topic, client_id, key }, out);
                (Ok(()), None)
            }
            Command::Call(call) => return self.call(now, session, call, out),
            // Handled before anyone's identity matters.
            Command::Authenticate(_) | Command::Channel(_) | Command::Ping { .. } => (Ok(()), None),
        };
        if let Err(refusal) = done {
            self.refuse(now, session, refusal, (id, topic), out);
        }
    }

    /// Decides whether a subscription may stand beside `present` ones.
    pub(super) fn admit(
        &self,
        principal: &Principal,
        present: &[Subscription],
        subscribe: Subscribe,
    ) -> Result<Subscription, (Refusal, String)> {
        let Subscribe { mut id, is_numbered, mut target, .. } = subscribe;
        if let Target::Table(target) = &mut target
            && is_numbered
        {
            target.number = free_number(present, target.number);
        }
        let refusal = match &target {
            Target::Table(target) if is_numbered => {
                let refusal = self.refuse_table(principal, present, target);
                id = if refusal.is_none() { target.number.to_string() } else { id };
                refusal
            }
            _ if present.iter().any(|subscription| subscription.id == id) => {
                Some(Refusal::of(Code::SubscriptionExists))
            }
            Target::Table(target) => self.refuse_table(principal, present, target),
            Target::Topic { topic, presence } => self.refuse_topic(principal, present, topic, *presence),
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
        if known.profile.tables == SubscribableTables::Enabled {
            self.check_enabled(principal, &subscribe.target)?;
        }
        let mut present = known.session(session.number).ok_or(Code::Internal)?.subscriptions.clone();
        if known.profile.duplicate == Duplicate::Replaces && !subscribe.is_numbered {
            present.retain(|before| before.id != subscribe.id);
        }
        let (watch, from, answer) = (subscribe.watched(), subscribe.recover.clone(), subscribe.answer.clone());
        let subscription = self.admit(principal, &present, subscribe).map_err(|(refusal, _)| refusal)?;
        let is_live = self.is_live(principal, &subscription)?;
        let Subscription { id, target } = subscription.clone();
        present.push(subscription);
        self.change(session, |session| {
            session.subscriptions = present;
            session.wait_no_more(&id);
        });
        let to = match target {
            Subscribed::Table(_) if !is_live => {
                self.wait_for_database(now, session, vec![(id.clone(), answer)]);
                if let Some(from) = from {
                    self.change(session, |session| session.wants_missed(id, from));
                }
                return Ok(());
            }
            Subscribed::Table(_) if from.is_none() => {
                let name = id.clone();
                self.tell(session, Event::Subscribed { id, answer, recovered: None }, out);
                self.warn_of_table(session, &name, out);
                return Ok(());
            }
            Subscribed::Table(target) => Missable::Table(target),
            Subscribed::Topic(topic) => Missable::Topic(topic),
        };
        // Through the stream, which may have to read first: who is present is told after what was missed.
        let then = Announcement::Subscribed { id, answer, to, watch };
        let from = from.map_or(From::Now, From::Position);
        out.to_stream.push_back(ToStream::Resume { session, from, then });
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

    /// Whether a table exists for subscribers, and for those without a credential. What a database has it says itself.
    fn check_enabled(&self, principal: &Principal, target: &Target) -> Result<(), Refusal> {
        let Target::Table(target) = target else { return Ok(()) };
        let is_anonymous = principal.method == Method::Anonymous;
        if is_anonymous && !self.configuration.is_open_to_anonymous(&target.schema, &target.table) {
            return Err(Refusal::with(Code::Forbidden, Reason::CredentialRequired));
        }
        let (schema, table) = (&target.schema, &target.table);
        let is_enabled = || self.tables.of(schema, table).is_none_or(|setting| setting.is_enabled);
        let is_there =
            self.database.is_some() || (self.configuration.tables.is_declared(schema, table) && is_enabled());
        if is_there && !is_system_schema(schema) { Ok(()) } else { Err(Refusal::of(Code::TableNotEnabled)) }
    }

    fn unsubscribe(&mut self, session: SessionId, id: &str, out: &mut Out) -> Result<(), Refusal> {
        let has = |session: &Session| session.subscriptions.iter().any(|subscription| subscription.id == id);
        let profile = self.profile(session.socket).ok_or(Code::Internal)?;
        if self.sockets.session(session).is_some_and(has) {
            self.change(session, |session| {
                session.subscriptions.retain(|subscription| subscription.id != id);
                session.wait_no_more(id);
            });
        } else if profile.unknown_subscription == UnknownSubscription::Refused {
            return Err(Refusal::of(Code::UnknownSubscription));
        }
        self.tell(session, Event::Unsubscribed { id: id.to_owned() }, out);
        Ok(())
    }

    /// Ends what [`Command::UnsubscribeAll`] says.
    fn unsubscribe_all(&mut self, session: SessionId, id: Option<&str>, out: &mut Out) {
        let Some(known) = self.sockets.session(session) else { return };
        let is_named = |one: &Subscription| id == Some(one.id.as_str());
        let is_alone = known.subscriptions.iter().any(|one| is_named(one) && one.table().is_some());
        let ends = |one: &Subscription| is_named(one) || id.is_none() || (!is_alone && one.is_numbered());
        let ended: Vec<String> = known.subscriptions.iter().filter(|one| ends(one)).map(|one| one.id.clone()).collect();
        if !ended.is_empty() {
            self.change(session, |session| {
                session.subscriptions.retain(|one| !ended.contains(&one.id));
                ended.iter().for_each(|id| session.wait_no_more(id));
            });
        }
        let id = id.filter(|_| is_alone).unwrap_or_default().to_owned();
        self.tell(session, Event::Unsubscribed { id }, out);
    }

    /// Subscribes who publishes to a topic to it, in dialects where that is so. Who may not read stays outside.
    fn subscribe_speaker(&mut self, session: SessionId, principal: &Principal, topic: &Topic) {
        let Some(known) = self.sockets.session(session) else { return };
        let is_so = self.profile(session.socket).is_some_and(|profile| profile.publishing_subscribes);
        if !is_so || known.topics().any(|known| known == topic) {
            return;
        }
        let may_write = self.configuration.authorize(Action::Write, topic, principal).is_ok();
        if may_write && self.refuse_topic(principal, &known.subscriptions, topic, false).is_none() {
            let id = [SPOKEN, &*topic.name].concat();
            let subscription = Subscription { id, target: Subscribed::Topic(topic.clone()) };
            self.change(session, |session| session.subscriptions.push(subscription));
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
        (key, metadata): (Option<Rc<str>>, Rc<str>),
        (roster, id): (bool, Option<String>),
        out: &mut Out,
    ) -> Result<(), Refusal> {
        let (Some(known), Some(profile)) = (self.sockets.session(session), self.profile(session.socket)) else {
            return Ok(());
        };
        let roster = roster || profile.roster_on_appearing;
        self.configuration.authorize_presence(topic.as_ref(), principal)?;
        self.check_metadata(&metadata)?;
        let is_new = !known.present.contains(&topic);
        if is_new && known.present.len() as u64 >= self.configuration.limits.presences {
            return Err(Refusal::of(Code::PresenceLimit));
        }
        let user = principal.user.as_deref().map(Rc::from);
        let owns_key = profile.keys_are_owned;
        let member = Rc::new(Member { client_id: known.client_id.clone(), user, key, metadata });
        out.to_stream.push_back(ToStream::Track(Tracking { session, topic, member, owns_key, roster, id }));
        Ok(())
    }

    /// Takes a session from a roster that it is told, in dialects that do not list oneself.
    pub(super) fn leave_out_oneself(&self, id: SessionId, members: &mut Vec<Rc<Member>>) {
        let (Some(session), Some(profile)) = (self.sockets.session(id), self.profile(id.socket)) else { return };
        members.retain(|member| profile.hears_oneself_appear || member.client_id != session.client_id);
    }

    /// Whether it makes sense to tell the stream that somebody has changed; where it is an error, the stream says so.
    fn may_update(&self, session: SessionId, topic: &Option<Topic>) -> bool {
        let is_error = self.profile(session.socket).is_none_or(|profile| profile.untracked_is_error);
        is_error || self.sockets.session(session).is_some_and(|known| known.present.contains(topic))
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
/// The topic that a command is about.
fn topic_of(command: &Command) -> Option<&Topic> {
    match command {
        Command::Publish { topic, .. } => Some(topic),
        Command::Track { topic, .. } | Command::Update { topic, .. } | Command::Untrack { topic, .. } => topic.as_ref(),
        _ => None,
    }
}
