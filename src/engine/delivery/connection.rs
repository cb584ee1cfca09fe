//! One connection as the delivery knows it: a socket, or one of the channels that a socket carries.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::class::{ClassKey, Narrowing, Scope};
use crate::engine::bucket::Bucket;
use crate::engine::command::{ChannelAct, Command, Malformed, TableTarget};
use crate::engine::event::Address;
use crate::engine::input::{SocketId, Wire};
use crate::policy::channel::{Action, Topic};
use crate::policy::configuration::Configuration;
use crate::policy::limits::{AUTH_DEADLINE, ERROR_WINDOW, EXPIRY_GRACE};
use crate::policy::principal::Principal;

/// A connection, authenticated or not yet.
pub(super) struct Connection {
    pub(super) socket: SocketId,
    /// The public id, random.
    pub(super) client_id: Rc<str>,
    pub(super) wire: Wire,
    /// When it was opened, in Unix milliseconds.
    pub(super) opened: u64,
    pub(super) part: Part,
    /// Who it is, once authenticated.
    pub(super) principal: Option<Rc<Principal>>,
    /// Whether its frames carry offsets.
    pub(super) offsets: bool,
    /// Whether it has been told that its token has expired.
    pub(super) told_expired: bool,
    pub(super) subscriptions: Vec<Subscription>,
    /// Topics in which it is present, `None` for the lobby. The stream's rows hold this, not the attachment.
    pub(super) present: Vec<Option<Topic>>,
    pub(super) errors: ErrorWindow,
    pub(super) bucket: Bucket,
    /// Frames that wait for the key set, while it is being fetched.
    pub(super) waiting: Option<VecDeque<Result<Command, Malformed>>>,
    /// The classes it is a member of.
    pub(super) classes: Vec<Rc<ClassKey>>,
    /// Whether its state is in a row because it is too large for an attachment.
    pub(super) overflowed: bool,
    /// Bytes of its state when that was last written, with its channels.
    pub(super) state_bytes: usize,
}

/// What a connection is on its socket.
pub(super) enum Part {
    /// All there is.
    Whole,
    /// The socket itself, which carries channels: it receives no publication.
    Carrier(Carrier),
    /// One of the channels that a socket carries.
    Channel(Box<Channel>),
}

/// The channels of a socket.
pub(super) struct Carrier {
    /// By the name that the client writes; few enough to be looked through.
    pub(super) channels: Vec<(Rc<str>, SocketId)>,
    /// The number of the next channel, which makes its public id.
    pub(super) next: u64,
    /// What joins are taken from: clients that come back enter all their channels at once, some of them twice.
    pub(super) joins: Bucket,
    /// Frames and joins that were turned away in the current minute.
    pub(super) turned_away: ErrorWindow,
    /// In memory only, like every token.
    pub(super) verified: Option<Verified>,
}

impl Carrier {
    /// A carrier of no channels, of which `rate` may be entered a second.
    pub(super) fn new(next: u64, rate: u64, now: u64) -> Carrier {
        let turned_away = ErrorWindow::default();
        Carrier { channels: Vec::new(), next, joins: Bucket::full(rate, now), turned_away, verified: None }
    }

    /// The number of the channel with this name.
    pub(super) fn number(&self, name: &str) -> Option<SocketId> {
        self.channels.iter().find(|(known, _)| **known == *name).map(|(_, channel)| *channel)
    }

    /// The channels' numbers.
    pub(super) fn numbers(&self) -> impl Iterator<Item = SocketId> {
        self.channels.iter().map(|(_, channel)| *channel)
    }
}

/// The last token of a socket that was found good, by its digest, and whom it names: clients send one and the same for
/// each of their channels, older ones after every heartbeat.
pub(super) struct Verified {
    pub(super) digest: [u8; 32],
    pub(super) principal: Rc<Principal>,
}

/// A channel.
pub(super) struct Channel {
    pub(super) carrier: SocketId,
    pub(super) address: Address,
    pub(super) topic: Topic,
    /// Whether it receives the topic's messages.
    pub(super) messages: bool,
    /// Whether it is told who comes and goes.
    pub(super) presence: bool,
    pub(super) presence_key: Option<Rc<str>>,
    /// Whether it receives what it publishes.
    pub(super) echo: bool,
    /// Whether publishing is acknowledged.
    pub(super) acknowledge: bool,
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

impl ErrorWindow {
    /// Counts an error; `true` when it is the last that is borne.
    pub(super) fn add(&mut self, now: u64, most: u64) -> bool {
        if now.saturating_sub(self.start) >= ERROR_WINDOW {
            *self = ErrorWindow { start: now, count: 0 };
        }
        self.count += 1;
        self.count >= most
    }
}

impl Connection {
    /// A connection that is nobody yet and listens to nothing.
    pub(super) fn new(socket: SocketId, client_id: Rc<str>, wire: Wire, part: Part, now: u64, rate: u64) -> Connection {
        Connection {
            socket,
            client_id,
            wire,
            opened: now,
            part,
            principal: None,
            offsets: false,
            told_expired: false,
            subscriptions: Vec::new(),
            present: Vec::new(),
            errors: ErrorWindow::default(),
            bucket: Bucket::full(rate, now),
            waiting: None,
            classes: Vec::new(),
            overflowed: false,
            state_bytes: 0,
        }
    }

    /// What a frame is taken from.
    pub(super) fn bucket_for(&mut self, frame: &Result<Command, Malformed>) -> &mut Bucket {
        match (&mut self.part, frame) {
            (Part::Carrier(carrier), Ok(Command::Channel(frame))) if matches!(frame.act, ChannelAct::Join(_)) => {
                &mut carrier.joins
            }
            _ => &mut self.bucket,
        }
    }

    /// When something must happen to it though nothing is said, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        match &self.principal {
            None => Some(self.opened.saturating_add(AUTH_DEADLINE)),
            // Each channel ends with its own token.
            Some(_) if self.carrier().is_some() => None,
            Some(principal) => {
                let grace = if self.told_expired { EXPIRY_GRACE } else { 0 };
                principal.expires.map(|expires| expires.saturating_add(grace))
            }
        }
    }

    /// The channels, where it carries any.
    pub(super) fn carrier(&self) -> Option<&Carrier> {
        match &self.part {
            Part::Carrier(carrier) => Some(carrier),
            Part::Whole | Part::Channel(_) => None,
        }
    }

    /// The channel, where it is one.
    pub(super) fn channel(&self) -> Option<&Channel> {
        match &self.part {
            Part::Channel(channel) => Some(channel),
            Part::Whole | Part::Carrier(_) => None,
        }
    }

    /// The connection with whose attachment it is kept.
    pub(super) fn keeper(&self) -> SocketId {
        self.channel().map_or(self.socket, |channel| channel.carrier)
    }

    /// Takes from all places the ones where it is present.
    pub(super) fn be_present(&mut self, places: &BTreeSet<(Rc<str>, Option<Topic>)>) {
        let mine = |(client_id, _): &&(Rc<str>, Option<Topic>)| *client_id == self.client_id;
        let all = places.range((self.client_id.clone(), None)..).take_while(mine);
        self.present = all.map(|(_, topic)| topic.clone()).collect();
    }

    /// The topics it is subscribed to.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> {
        let joined = self.channel().filter(|channel| channel.messages).map(|channel| &channel.topic);
        let subscribed = self.subscriptions.iter().filter_map(|subscription| match &subscription.target {
            Subscribed::Topic(topic) => Some(topic),
            Subscribed::Table(_) => None,
        });
        subscribed.chain(joined)
    }

    /// The table subscriptions it has.
    pub(super) fn tables(&self) -> impl Iterator<Item = &TableTarget> {
        self.subscriptions.iter().filter_map(Subscription::table)
    }

    /// The classes that it belongs to, from who it is and what it is subscribed to.
    pub(super) fn class_keys(&self, configuration: &Configuration) -> Vec<Rc<ClassKey>> {
        let Some(principal) = self.principal.as_ref().filter(|_| self.carrier().is_none()) else { return Vec::new() };
        let roles = Rc::new(principal.roles.sorted());
        let channel = self.channel();
        // A channel receives the changes that it asks for; a whole connection without any wish receives all.
        let is_open = channel.is_none() && self.tables().next().is_none();
        let narrowing = Rc::new(Narrowing::new(is_open, self.tables().cloned()));
        let key = |scope| ClassKey {
            scope,
            wire: self.wire,
            channel: channel.map(|channel| channel.address.name.clone()),
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
        topics.extend(self.topics().cloned().map(Some));
        let places = self.places(&topics, principal, configuration);
        let mut keys = Vec::new();
        if !narrowing.passes_nothing() {
            keys.push(Rc::new(key(Scope::Organization)));
        }
        keys.extend(topics.into_iter().flatten().map(|topic| Rc::new(key(Scope::Topic(topic)))));
        keys.extend(places.into_iter().map(|place| Rc::new(presence_key(place))));
        keys
    }

    /// Where it is told who comes and goes.
    fn places(
        &self,
        topics: &BTreeSet<Option<Topic>>,
        principal: &Principal,
        configuration: &Configuration,
    ) -> BTreeSet<Option<Topic>> {
        let may_see = |topic: &&Topic| configuration.authorize(Action::PresenceRead, topic, principal).is_ok();
        let mut places = BTreeSet::new();
        match self.channel() {
            Some(channel) => {
                let watched = Some(&channel.topic).filter(|_| channel.presence).filter(may_see);
                places.extend(watched.cloned().map(Some));
            }
            None => {
                places.extend(self.present.iter().cloned());
                places.extend(topics.iter().flatten().filter(may_see).cloned().map(Some));
            }
        }
        places
    }
}
