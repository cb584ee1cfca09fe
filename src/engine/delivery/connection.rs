//! One connection as the delivery knows it.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::class::{ClassKey, Narrowing, Scope};
use crate::engine::bucket::Bucket;
use crate::engine::command::{Command, Malformed, TableTarget};
use crate::engine::input::{SocketId, Wire};
use crate::policy::channel::{Action, Topic};
use crate::policy::configuration::Configuration;
use crate::policy::limits::{AUTH_DEADLINE, EXPIRY_GRACE};
use crate::policy::principal::Principal;

/// A connection, authenticated or not yet.
pub(super) struct Connection {
    pub(super) socket: SocketId,
    /// The public id, random.
    pub(super) client_id: Rc<str>,
    pub(super) wire: Wire,
    /// When it was opened, in Unix milliseconds.
    pub(super) opened: u64,
    /// Who it is, once authenticated.
    pub(super) principal: Option<Rc<Principal>>,
    /// Whether its frames carry offsets.
    pub(super) offsets: bool,
    /// Whether it has been told that its token has expired.
    pub(super) told_expired: bool,
    pub(super) subscriptions: Vec<Subscription>,
    /// Topics in which it is present, `None` for the lobby. The stream's rows hold this, not the attachment.
    pub(super) present: BTreeSet<Option<Topic>>,
    pub(super) errors: ErrorWindow,
    pub(super) bucket: Bucket,
    /// Frames that wait for the key set, while it is being fetched.
    pub(super) waiting: Option<VecDeque<Result<Command, Malformed>>>,
    /// The classes it is a member of.
    pub(super) classes: Vec<Rc<ClassKey>>,
    /// Whether its state is in a row because it is too large for an attachment.
    pub(super) overflowed: bool,
}

/// A subscription that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) target: Subscribed,
}

/// What a subscription is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subscribed {
    Table(TableTarget),
    Topic(Topic),
}

impl Subscription {
    /// The changes that it is to, where it is to a table's.
    pub(super) fn table(&self) -> Option<&TableTarget> {
        match &self.target {
            Subscribed::Table(target) => Some(target),
            Subscribed::Topic(_) => None,
        }
    }
}

/// Refused frames of the current minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorWindow {
    /// When it began, in Unix milliseconds.
    pub(super) start: u64,
    pub(super) count: u64,
}

impl Connection {
    /// When something must happen to it though nothing is said, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        match &self.principal {
            None => Some(self.opened.saturating_add(AUTH_DEADLINE)),
            Some(principal) => {
                let grace = if self.told_expired { EXPIRY_GRACE } else { 0 };
                principal.expires.map(|expires| expires.saturating_add(grace))
            }
        }
    }

    /// The topics it is subscribed to.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.subscriptions.iter().filter_map(|subscription| match &subscription.target {
            Subscribed::Topic(topic) => Some(topic),
            Subscribed::Table(_) => None,
        })
    }

    /// The table subscriptions it has.
    pub(super) fn tables(&self) -> impl Iterator<Item = &TableTarget> {
        self.subscriptions.iter().filter_map(Subscription::table)
    }

    /// The classes that it belongs to, from who it is and what it is subscribed to.
    pub(super) fn class_keys(&self, configuration: &Configuration) -> Vec<Rc<ClassKey>> {
        let Some(principal) = &self.principal else { return Vec::new() };
        let roles = Rc::new(principal.roles.sorted());
        let narrowing = Rc::new(Narrowing::new(self.tables().cloned()));
        let key = |scope| ClassKey {
            scope,
            wire: self.wire,
            offsets: self.offsets,
            roles: roles.clone(),
            narrowing: narrowing.clone(),
        };
        // Presence looks the same to everyone, so nothing but the dialect divides its listeners.
        let presence_key = |topic| ClassKey {
            offsets: false,
            roles: Rc::default(),
            narrowing: Rc::default(),
            ..key(Scope::Presence(topic))
        };
        let mut topics = BTreeSet::new();
        topics.extend(self.topics().cloned());
        let may_see = |topic: &&Topic| configuration.authorize(Action::PresenceRead, topic, principal).is_ok();
        let mut places = self.present.clone();
        places.extend(topics.iter().filter(may_see).cloned().map(Some));
        let mut keys = vec![Rc::new(key(Scope::Organization))];
        keys.extend(topics.into_iter().map(|topic| Rc::new(key(Scope::Topic(topic)))));
        keys.extend(places.into_iter().map(|place| Rc::new(presence_key(place))));
        keys
    }
}
