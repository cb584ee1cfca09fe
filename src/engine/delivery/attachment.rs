//! State of a socket that outlives memory: an attachment, or a row when the attachment is too small.
//!
//! Version 1 holds a socket and its single session; version 2 holds a socket and its channels. A deploy may wake
//! sockets that an earlier build wrote; a socket whose state cannot be read is closed so that its client reconnects.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::session::{Awaiting, JoinedChannel, Session, Subscribed, Subscription};
use super::socket::{ErrorWindow, Socket};
use crate::engine::command::TableTarget;
use crate::engine::effect::{Task, Write};
use crate::engine::event::Address;
use crate::engine::input::{DialectId, SocketId};
use crate::engine::message::{Out, SessionId};
use crate::engine::profile::{Profiles, Sessions};
use crate::policy::channel::Topic;
use crate::policy::filter::Filter;
use crate::policy::limits::Limits;
use crate::policy::principal::Principal;
use crate::policy::table::{Operation, distinct};

const ONE_SESSION: u32 = 1;
const CHANNELS: u32 = 2;
/// workerd refuses attachments over 16,384 bytes of V8 serialization (`web-socket.h`), which adds a header to a string
/// of one or two bytes per character.
const MAX_BYTES: usize = 16_000;

#[derive(Serialize, Deserialize)]
struct Attachment {
    version: u32,
    client_id: String,
    /// The rest of the state is in the row of this client.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    overflow: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<State>,
}

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(rename = "wire")]
    dialect: u8,
    opened: u64,
    principal: Option<Principal>,
    #[serde(default)]
    offsets: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    batches: bool,
    #[serde(default)]
    told_expired: bool,
    #[serde(default)]
    errors: (u64, u64),
    #[serde(default)]
    subscriptions: Vec<StoredSubscription>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    explicit: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    awaiting: Option<Awaiting>,
    /// The client has not been told what it missed. The pending question is lost with the memory, so the client has to
    /// reconnect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    held: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    carries: Option<StoredChannels>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredSubscription {
    Table {
        id: String,
        schema: String,
        table: String,
        event: Option<String>,
        filter: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        select: Option<Vec<String>>,
        #[serde(default, skip_serializing_if = "is_zero")]
        number: u32,
    },
    Topic {
        id: String,
        private: bool,
        name: String,
    },
}

#[derive(Serialize, Deserialize)]
struct StoredChannels {
    next: u64,
    /// Most channels of a socket share one principal.
    principals: Vec<Principal>,
    channels: Vec<StoredChannel>,
}

#[derive(Serialize, Deserialize)]
struct StoredChannel {
    client_id: String,
    name: String,
    reference: Option<String>,
    private: bool,
    topic: String,
    principal: usize,
    told_expired: bool,
    messages: bool,
    presence: bool,
    presence_key: Option<String>,
    echo: bool,
    acknowledge: bool,
    tables: Vec<StoredSubscription>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    awaiting: Option<Awaiting>,
}

/// Serializes a socket with its sessions. Reports whether the state was too large for an attachment, and its size in
/// bytes.
pub(super) fn write(socket: &Socket, out: &mut Out) -> (bool, usize) {
    let client_id = socket.client_id.clone();
    let version = match socket.profile.sessions {
        Sessions::One => ONE_SESSION,
        Sessions::Many => CHANNELS,
    };
    let text = |overflow, state| {
        let stored = Attachment { version, client_id: client_id.to_string(), overflow, state };
        // Structs of strings and numbers always serialize to JSON.
        serde_json::to_string(&stored).unwrap_or_default()
    };
    let whole = text(false, Some(State::of(socket)));
    let (fits, bytes) = (serialized_bytes(&whole) <= MAX_BYTES, whole.len());
    match (fits, socket.overflowed) {
        (true, false) => {}
        (true, true) => out.run(Task::Write(Write::DropOverflow { client_id: client_id.clone() })),
        (false, _) => out.run(Task::Write(Write::Overflow { client_id: client_id.clone(), state: whole.clone() })),
    }
    // An attachment that had overflowed already says so.
    if fits || !socket.overflowed {
        let state = if fits { whole } else { text(true, None) };
        out.run(Task::Attach { socket: socket.id, state });
    }
    (!fits, bytes)
}

/// Reads a socket's state; `None` when it is unreadable or names a dialect that this build does not speak.
pub(super) fn read(
    id: SocketId,
    text: &str,
    overflow: &BTreeMap<String, String>,
    (profiles, limits): (Profiles, &Limits),
    now: u64,
) -> Option<Socket> {
    let attached: Attachment = serde_json::from_str(text).ok()?;
    let overflowed = attached.overflow;
    let text = if overflowed { overflow.get(&attached.client_id)? } else { text };
    let stored: Attachment = if overflowed { serde_json::from_str(text).ok()? } else { attached };
    let state = stored.state.filter(|state| !state.held)?;
    let dialect = (DialectId(state.dialect), profiles(DialectId(state.dialect))?);
    let mut socket = Socket::new(id, Rc::from(stored.client_id.as_str()), dialect, now, limits);
    socket.opened = state.opened;
    socket.errors = ErrorWindow { start: state.errors.0, count: state.errors.1 };
    socket.overflowed = overflowed;
    socket.state_bytes = text.len();
    match (stored.version, dialect.1.sessions) {
        (ONE_SESSION, Sessions::One) => socket.sessions = state.session(&socket)?.into_iter().collect(),
        (CHANNELS, Sessions::Many) => {
            let carries = state.carries?;
            socket.opened_as = state.principal.map(Rc::new);
            socket.entered = carries.next;
            socket.sessions = carries.read(id)?;
        }
        _ => return None,
    }
    Some(socket)
}

impl State {
    fn of(socket: &Socket) -> State {
        let whole = socket.sessions.first().filter(|_| socket.profile.sessions == Sessions::One);
        State {
            dialect: socket.dialect.0,
            opened: socket.opened,
            principal: socket
                .opened_as
                .as_ref()
                .or(whole.map(|session| &session.principal))
                .map(|principal| Principal::clone(principal)),
            offsets: whole.is_some_and(|session| session.offsets),
            batches: whole.is_some_and(|session| session.batches),
            told_expired: whole.is_some_and(|session| session.told_expired),
            errors: (socket.errors.start, socket.errors.count),
            subscriptions: whole.map(|session| stored(&session.subscriptions)).unwrap_or_default(),
            explicit: whole.is_some_and(|session| session.explicit),
            awaiting: whole.and_then(|session| session.awaiting.clone()),
            held: socket.is_held,
            carries: (socket.profile.sessions == Sessions::Many).then(|| StoredChannels::of(socket)),
        }
    }

    /// The single session of an authenticated socket.
    fn session(self, socket: &Socket) -> Option<Option<Session>> {
        let Some(principal) = self.principal else { return Some(None) };
        let id = SessionId { socket: socket.id, number: 0 };
        let mut session = Session::new(id, socket.client_id.clone(), Rc::new(principal));
        session.offsets = self.offsets;
        session.batches = self.batches;
        session.told_expired = self.told_expired;
        session.subscriptions = restored(self.subscriptions)?;
        session.explicit = self.explicit;
        session.awaiting = self.awaiting;
        Some(Some(session))
    }
}

impl StoredChannels {
    fn of(socket: &Socket) -> StoredChannels {
        let mut principals: Vec<Rc<Principal>> = Vec::new();
        let mut channels = Vec::new();
        for session in &socket.sessions {
            let Some(channel) = &session.channel else { continue };
            let index = principals.iter().position(|known| *known == session.principal).unwrap_or_else(|| {
                principals.push(session.principal.clone());
                principals.len() - 1
            });
            channels.push(StoredChannel::of(session, channel, index));
        }
        let principals = principals.iter().map(|principal| Principal::clone(principal)).collect();
        StoredChannels { next: socket.entered, principals, channels }
    }

    fn read(self, socket: SocketId) -> Option<Vec<Session>> {
        let principals: Vec<Rc<Principal>> = self.principals.into_iter().map(Rc::new).collect();
        let numbers = (0..).map(|number| SessionId { socket, number });
        numbers.zip(self.channels).map(|(id, channel)| channel.read(id, &principals)).collect()
    }
}

impl StoredChannel {
    fn of(session: &Session, channel: &JoinedChannel, principal: usize) -> StoredChannel {
        StoredChannel {
            client_id: session.client_id.to_string(),
            name: channel.address.name.to_string(),
            reference: channel.address.reference.as_deref().map(str::to_owned),
            private: channel.topic.private,
            topic: channel.topic.name.to_string(),
            principal,
            told_expired: session.told_expired,
            messages: channel.messages,
            presence: channel.presence,
            presence_key: channel.presence_key.as_deref().map(str::to_owned),
            echo: channel.echo,
            acknowledge: channel.acknowledge,
            tables: stored(&session.subscriptions),
            awaiting: session.awaiting.clone(),
        }
    }

    fn read(self, id: SessionId, principals: &[Rc<Principal>]) -> Option<Session> {
        let mut session = Session::new(id, Rc::from(self.client_id), principals.get(self.principal)?.clone());
        session.told_expired = self.told_expired;
        session.subscriptions = restored(self.tables)?;
        session.awaiting = self.awaiting;
        session.channel = Some(Box::new(JoinedChannel {
            address: Address { name: Rc::from(self.name), reference: self.reference.map(Rc::from) },
            topic: Topic { private: self.private, name: Rc::from(self.topic) },
            messages: self.messages,
            presence: self.presence,
            presence_key: self.presence_key.map(Rc::from),
            echo: self.echo,
            acknowledge: self.acknowledge,
        }));
        Some(session)
    }
}

fn stored(subscriptions: &[Subscription]) -> Vec<StoredSubscription> {
    subscriptions.iter().map(StoredSubscription::of).collect()
}

fn restored(subscriptions: Vec<StoredSubscription>) -> Option<Vec<Subscription>> {
    subscriptions.into_iter().map(StoredSubscription::read).collect()
}

impl StoredSubscription {
    fn of(subscription: &Subscription) -> StoredSubscription {
        let id = subscription.id.clone();
        match &subscription.target {
            Subscribed::Topic(topic) => {
                StoredSubscription::Topic { id, private: topic.private, name: topic.name.to_string() }
            }
            Subscribed::Table(target) => StoredSubscription::Table {
                id,
                schema: target.schema.clone(),
                table: target.table.clone(),
                event: target.event.map(|event| event.as_str().to_owned()),
                filter: target.filter.text().to_owned(),
                select: target.select.as_ref().map(|select| select.iter().cloned().collect()),
                number: target.number,
            },
        }
    }

    /// `None` when an earlier build accepted a subscription that this build rejects: the client has to subscribe again.
    fn read(self) -> Option<Subscription> {
        Some(match self {
            StoredSubscription::Topic { id, private, name } => {
                Subscription { id, target: Subscribed::Topic(Topic { private, name: Rc::from(name) }) }
            }
            StoredSubscription::Table { id, schema, table, event, filter, select, number } => {
                let event = match event {
                    None => None,
                    Some(word) => Some(Operation::named(&word)?),
                };
                let filter = Filter::restore(&filter).ok()?;
                let select = select.map(|columns| Rc::new(distinct(columns)));
                Subscription {
                    id,
                    target: Subscribed::Table(TableTarget { schema, table, event, filter, select, number }),
                }
            }
        })
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The size of a string in V8 serialization: one byte per character if all are Latin-1, otherwise two per UTF-16 unit.
fn serialized_bytes(text: &str) -> usize {
    let is_latin = text.chars().all(|c| u32::from(c) < 0x100);
    if is_latin { text.chars().count() } else { text.encode_utf16().count() * 2 }
}
