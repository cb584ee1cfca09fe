//! One session: a principal with its subscriptions and presences. It is either the only session of its socket, or one
//! of the channels that the socket carries.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::class::Scope;
use super::class::{ClassKey, Judge};
use super::class_key_cache::{ClassKeyCache, ClassKeyParts};
use super::memberships::Memberships;
use super::subscriptions::Subscriptions;
use crate::engine::command::{Position, TableTarget};
use crate::engine::database::interest::TableName;
use crate::engine::event::Address;
use crate::engine::input::DialectId;
use crate::engine::message::SessionId;
use crate::engine::profile::{PresenceAudience, Profile};
use crate::policy::channel::{Action, Topic};
use crate::policy::configuration::Configuration;
use crate::policy::database::Standing;
use crate::policy::limits::EXPIRY_GRACE;
use crate::policy::principal::Principal;

/// A session.
pub(super) struct Session {
    pub(super) id: SessionId,
    /// The public id of its presence.
    pub(super) client_id: Rc<str>,
    pub(super) principal: Rc<Principal>,
    /// Whether its frames carry offsets.
    pub(super) offsets: bool,
    /// Whether its frames may carry several events.
    pub(super) batches: bool,
    /// Whether the client knows that its token has expired.
    pub(super) told_expired: bool,
    pub(super) subscriptions: Subscriptions,
    /// Whether it receives only what it subscribed to, even if that is nothing.
    pub(super) explicit: bool,
    /// The joined channel, in dialects that have channels.
    pub(super) channel: Option<Box<JoinedChannel>>,
    /// Topics in which it is present, `None` for the lobby. The stream's rows hold this, not the attachment.
    pub(super) present: Vec<Option<Topic>>,
    /// Further topics in which it has asked to be present. At a relay the answer may find that the session has ended.
    pub(super) asked_presence: RefCell<BTreeSet<Option<Topic>>>,
    /// Whether these are stored with it, because another object has the presence rows.
    pub(super) keeps_places: bool,
    /// The classes that it belongs to.
    pub(super) classes: Memberships,
    /// The parts of its class keys that do not depend on the scope; `None` until it is indexed.
    pub(super) common: Option<Rc<ClassKey>>,
    /// How the database judges for it; `None` without a database.
    pub(super) standing: Option<Standing>,
    /// The tables for which this session is reported to the database's object.
    pub(super) listens: Option<BTreeSet<TableName>>,
    /// The database answers that it waits for.
    pub(super) awaiting: Option<Box<Awaiting>>,
    /// The number of its row, if it is a channel; 0: none.
    pub(super) row: u32,
    /// Whether that row is up to date.
    pub(super) is_saved: bool,
    /// Whether the client has been warned, in this life of the object, that one of its filters takes too many steps.
    pub(super) told_costs: Cell<bool>,
}

/// The database answers that a session waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Awaiting {
    /// When the session is told that the database has not answered yet, in Unix milliseconds; `None` afterwards.
    pub(super) until: Option<u64>,
    /// The table subscriptions that are not active yet.
    pub(super) ids: Vec<String>,
    /// Whether the session is informed once messages flow.
    pub(super) announce: bool,
    /// What the answers to these subscriptions echo.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) answers: BTreeMap<String, String>,
    /// The positions from which these subscriptions want to recover: epoch and offset.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) since: BTreeMap<String, (String, u64)>,
}

impl Awaiting {
    fn drop_id(&mut self, id: &str) {
        self.ids.retain(|known| known != id);
        self.answers.remove(id);
        self.since.remove(id);
    }
}

/// A channel, as the client joined it.
pub(super) struct JoinedChannel {
    pub(super) address: Address,
    pub(super) topic: Topic,
    /// Whether it receives the topic's messages.
    pub(super) messages: bool,
    /// Whether it receives joins and leaves.
    pub(super) presence: bool,
    pub(super) presence_key: Option<Rc<str>>,
    /// Whether it receives its own messages.
    pub(super) echo: bool,
    /// Whether publishing is acknowledged.
    pub(super) acknowledge: bool,
}

/// An active subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) target: Subscribed,
    /// The number of its row; 0: none. A subscription never changes, so its row is never out of date.
    pub(super) row: u32,
}

/// The target of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subscribed {
    Table(TableTarget),
    Topic(Topic),
}

impl Subscription {
    pub(super) fn new(id: String, target: Subscribed) -> Subscription {
        Subscription { id, target, row: 0 }
    }

    /// Whether its number is its identifier.
    pub(super) fn is_numbered(&self) -> bool {
        self.table().is_some_and(|target| target.number > 0 && self.id == target.number.to_string())
    }

    /// The table target, if it is one.
    pub(super) fn table(&self) -> Option<&TableTarget> {
        match &self.target {
            Subscribed::Table(target) => Some(target),
            Subscribed::Topic(_) => None,
        }
    }

    /// The topic, if it targets one.
    pub(super) fn topic(&self) -> Option<&Topic> {
        match &self.target {
            Subscribed::Topic(topic) => Some(topic),
            Subscribed::Table(_) => None,
        }
    }
}

impl Session {
    /// A session without subscriptions.
    pub(super) fn new(id: SessionId, client_id: Rc<str>, principal: Rc<Principal>) -> Session {
        Session {
            id,
            client_id,
            principal,
            offsets: false,
            batches: false,
            told_expired: false,
            told_costs: Cell::new(false),
            subscriptions: Subscriptions::default(),
            explicit: false,
            channel: None,
            present: Vec::new(),
            asked_presence: RefCell::default(),
            keeps_places: false,
            classes: Memberships::default(),
            common: None,
            standing: None,
            listens: None,
            awaiting: None,
            row: 0,
            is_saved: false,
        }
    }

    /// Records the position from which a pending subscription wants to recover.
    pub(super) fn note_position(&mut self, id: String, from: Position) {
        if let Some(awaiting) = &mut self.awaiting {
            awaiting.since.insert(id, (from.epoch, from.offset));
        }
    }

    /// Removes a pending subscription.
    pub(super) fn stop_waiting_for(&mut self, id: &str) {
        self.awaiting.iter_mut().for_each(|awaiting| awaiting.drop_id(id));
        self.awaiting.take_if(|awaiting| awaiting.ids.is_empty() && !awaiting.announce);
    }

    /// The session's next deadline, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        let grace = if self.told_expired { EXPIRY_GRACE } else { 0 };
        self.principal.expires.map(|expires| expires.saturating_add(grace))
    }

    /// The channel's address in frames, if there is a channel.
    pub(super) fn address(&self) -> Option<&Address> {
        self.channel.as_ref().map(|channel| &channel.address)
    }

    /// Removes and returns its presences.
    pub(super) fn be_present(&mut self, places: &BTreeSet<(Rc<str>, Option<Topic>)>) {
        let mine = |(client_id, _): &&(Rc<str>, Option<Topic>)| *client_id == self.client_id;
        let all = places.range((self.client_id.clone(), None)..).take_while(mine);
        self.present = all.map(|(_, topic)| topic.clone()).collect();
    }

    /// Decides again, under the current configuration, whether it receives the messages of a restored channel.
    pub(super) fn admit_again(&mut self, configuration: &Configuration) {
        if let Some(channel) = &mut self.channel {
            channel.messages = configuration.authorize(Action::Read, &channel.topic, &self.principal).is_ok();
        }
    }

    /// The topics whose messages it receives.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> {
        let joined = self.joined_topic().filter(|topic| !self.subscriptions.has_topic(topic));
        self.subscriptions.topics().chain(joined)
    }

    /// Whether it receives a topic's messages.
    pub(super) fn hears(&self, topic: &Topic) -> bool {
        self.subscriptions.has_topic(topic) || self.joined_topic() == Some(topic)
    }

    /// The topic of its channel, if it receives the messages.
    fn joined_topic(&self) -> Option<&Topic> {
        self.channel.as_ref().filter(|channel| channel.messages).map(|channel| &channel.topic)
    }

    /// Its table subscriptions.
    pub(super) fn tables(&self) -> impl Iterator<Item = &TableTarget> {
        self.subscriptions.iter().filter_map(Subscription::table)
    }

    /// The classes of its scopes, from its principal and subscriptions, and their common parts.
    pub(super) fn class_keys(
        &self,
        (dialect, profile): (DialectId, &Profile),
        configuration: &Configuration,
        cache: &mut ClassKeyCache,
    ) -> (Rc<ClassKey>, Vec<Rc<ClassKey>>) {
        let is_open = profile.receives_by_default && !self.explicit && self.tables().next().is_none();
        // If frames do not name subscriptions, numbers must not separate recipients of the same events.
        let number = |target: &TableTarget| if profile.names_subscriptions { target.number } else { 0 };
        let targets = self.tables().map(|target| TableTarget { number: number(target), ..target.clone() });
        let common = cache.of(ClassKeyParts {
            // Only changes are judged, and a database's changes go to the whole organization.
            judge: self.judge(),
            dialect,
            channel: self.address().map(|address| &address.name),
            offsets: self.offsets,
            batches: self.batches,
            roles: &self.principal.roles,
            is_open,
            targets,
        });
        let mut keys = Vec::new();
        if !common.selector.matches_nothing() {
            keys.push(common.clone());
        }
        keys.extend(self.topics().map(|topic| Rc::new(common.of_topic(topic.clone()))));
        let places = self.places(profile.presence, configuration);
        keys.extend(places.into_iter().map(|place| Rc::new(common.of_presence(place))));
        (common, keys)
    }

    /// The scopes of one topic, or of the lobby, each with its current class.
    pub(super) fn class_keys_of(
        &self,
        place: &Option<Topic>,
        profile: &Profile,
        configuration: &Configuration,
    ) -> Vec<(Scope, Option<ClassKey>)> {
        let is_told = self.is_told_of(place, profile.presence, configuration);
        let common = self.common.as_ref();
        let presence = common.filter(|_| is_told).map(|common| common.of_presence(place.clone()));
        let mut keys = vec![(Scope::Presence(place.clone()), presence)];
        if let Some(topic) = place {
            let messages = common.filter(|_| self.hears(topic)).map(|common| common.of_topic(topic.clone()));
            keys.push((Scope::Topic(topic.clone()), messages));
        }
        keys
    }

    /// What decides which rows of the database it sees.
    fn judge(&self) -> Judge {
        match &self.standing {
            None | Some(Standing::Nobody) => Judge::Nobody,
            Some(Standing::Bypass) => Judge::Bypass,
            Some(Standing::Group(group)) => Judge::Group(group.id.clone()),
        }
    }

    /// The tables that it subscribes to; `None` if it needs neither changes nor messages.
    pub(super) fn listened(&self, profile: &Profile) -> Option<BTreeSet<TableName>> {
        let mut tables: BTreeSet<TableName> =
            self.tables().map(|target| (target.schema.clone(), target.table.clone())).collect();
        if profile.receives_by_default && !self.explicit && tables.is_empty() {
            tables.insert(("*".to_owned(), "*".to_owned()));
        }
        (!tables.is_empty() || self.topics().next().is_some()).then_some(tables)
    }

    /// The topics in which it has rights or is present.
    pub(super) fn places_of_rights(&self) -> Vec<Topic> {
        let joined = self.channel.iter().map(|channel| &channel.topic);
        let subscribed = self.subscriptions.topics();
        joined.chain(subscribed).chain(self.present.iter().flatten()).cloned().collect()
    }

    /// The topics whose presence it receives.
    fn places(&self, audience: PresenceAudience, configuration: &Configuration) -> BTreeSet<Option<Topic>> {
        match audience {
            PresenceAudience::Requested => self.watched(configuration).cloned().map(Some).into_iter().collect(),
            PresenceAudience::SubscribersAndPresent => {
                let may_see = |topic: &&Topic| may_see_members(configuration, topic, &self.principal);
                let subscribed = self.topics().filter(may_see).cloned().map(Some);
                self.present.iter().cloned().chain(subscribed).collect()
            }
        }
    }

    /// Whether it receives presence of one topic, or of the lobby.
    fn is_told_of(&self, place: &Option<Topic>, audience: PresenceAudience, configuration: &Configuration) -> bool {
        match audience {
            PresenceAudience::Requested => place.is_some() && self.watched(configuration) == place.as_ref(),
            PresenceAudience::SubscribersAndPresent => {
                let may_see = |topic: &Topic| may_see_members(configuration, topic, &self.principal);
                self.present.contains(place) || place.as_ref().is_some_and(|topic| self.hears(topic) && may_see(topic))
            }
        }
    }

    /// The topic whose roster it requested, if it may see it.
    pub(super) fn watched(&self, configuration: &Configuration) -> Option<&Topic> {
        let asked = self.channel.as_ref().filter(|channel| channel.presence).map(|channel| &channel.topic);
        asked.filter(|topic| may_see_members(configuration, topic, &self.principal))
    }
}

/// Whether a principal may see who is present in a topic.
pub(super) fn may_see_members(configuration: &Configuration, topic: &Topic, principal: &Principal) -> bool {
    configuration.authorize(Action::PresenceRead, topic, principal).is_ok()
}

/// The first number from `first` on that no subscription has.
pub(super) fn free_number(present: &Subscriptions, first: u32) -> u32 {
    (first.max(1)..).find(|number| !present.has_number(*number)).unwrap_or(first)
}
