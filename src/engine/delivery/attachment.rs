//! What outlives memory of a connection: a text beside its socket, or a row where that is too small.
//!
//! Version 1 is a whole connection's, version 2 that of one with its channels. A deploy may wake sockets that an earlier
//! build wrote; one that cannot be read is closed to connect again.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::connection::{Carrier, Channel, Connection, ErrorWindow, Part, Subscribed, Subscription};
use crate::engine::command::TableTarget;
use crate::engine::effect::{Task, Write};
use crate::engine::event::Address;
use crate::engine::input::{SocketId, Wire};
use crate::engine::message::Out;
use crate::policy::channel::Topic;
use crate::policy::filter::Filter;
use crate::policy::limits::Limits;
use crate::policy::principal::Principal;
use crate::policy::table::{Operation, distinct};

const WHOLE: u32 = 1;
const CARRIER: u32 = 2;
/// workerd refuses attachments over 16,384 bytes of V8's serialization (`web-socket.h`), which adds a header to a
/// string of one or two bytes a character.
const MOST_BYTES: usize = 16_000;

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    client_id: String,
    /// The rest is in the row of this client.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    overflow: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<State>,
}

#[derive(Serialize, Deserialize)]
struct State {
    wire: u8,
    opened: u64,
    principal: Option<Principal>,
    #[serde(default)]
    offsets: bool,
    #[serde(default)]
    told_expired: bool,
    #[serde(default)]
    errors: (u64, u64),
    #[serde(default)]
    subscriptions: Vec<StoredSubscription>,
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
    /// Most channels of a socket belong to the same principal.
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
}

/// A connection as it was kept, with its channels, which have no numbers yet.
pub(super) struct Restored {
    pub(super) connection: Connection,
    pub(super) channels: Vec<Connection>,
}

/// Writes the state of a connection and its channels where it fits, and says whether that was no attachment, and how many
/// bytes it has.
pub(super) fn write(connection: &Connection, channels: Vec<&Connection>, out: &mut Out) -> (bool, usize) {
    let client_id = connection.client_id.clone();
    let version = if connection.carrier().is_some() { CARRIER } else { WHOLE };
    let text = |overflow, state| {
        let stored = Stored { version, client_id: client_id.to_string(), overflow, state };
        // Structs of texts and numbers always have a JSON form.
        serde_json::to_string(&stored).unwrap_or_default()
    };
    let whole = text(false, Some(State::of(connection, &channels)));
    let (fits, bytes) = (serialized_bytes(&whole) <= MOST_BYTES, whole.len());
    match (fits, connection.overflowed) {
        (true, false) => {}
        (true, true) => out.run(Task::Write(Write::DropOverflow { client_id: client_id.clone() })),
        (false, _) => out.run(Task::Write(Write::Overflow { client_id: client_id.clone(), state: whole.clone() })),
    }
    // The attachment of a connection that overflowed before says so already.
    if fits || !connection.overflowed {
        let state = if fits { whole } else { text(true, None) };
        out.run(Task::Attach { socket: connection.socket, state });
    }
    (!fits, bytes)
}

/// Reads a connection's state; `None` when it cannot be read.
pub(super) fn read(
    socket: SocketId,
    text: &str,
    overflow: &BTreeMap<String, String>,
    limits: &Limits,
    now: u64,
) -> Option<Restored> {
    let attached: Stored = serde_json::from_str(text).ok()?;
    let overflowed = attached.overflow;
    let text = if overflowed { overflow.get(&attached.client_id)? } else { text };
    let stored: Stored = if overflowed { serde_json::from_str(text).ok()? } else { attached };
    let state = stored.state?;
    let rate = limits.frames_per_second;
    let mut channels = Vec::new();
    let part = match (stored.version, state.carries) {
        (WHOLE, None) => Part::Whole,
        (CARRIER, Some(carries)) => {
            let principals: Vec<Rc<Principal>> = carries.principals.into_iter().map(Rc::new).collect();
            let read = |channel: StoredChannel| channel.read(socket, Wire(state.wire), &principals, now, rate);
            channels = carries.channels.into_iter().map(read).collect::<Option<_>>()?;
            Part::Carrier(Carrier::new(carries.next, limits.joins_per_second, now))
        }
        _ => return None,
    };
    let connection = Connection {
        opened: state.opened,
        principal: state.principal.map(Rc::new),
        offsets: state.offsets,
        told_expired: state.told_expired,
        subscriptions: state.subscriptions.into_iter().map(StoredSubscription::read).collect::<Option<_>>()?,
        errors: ErrorWindow { start: state.errors.0, count: state.errors.1 },
        overflowed,
        state_bytes: text.len(),
        ..Connection::new(socket, Rc::from(stored.client_id), Wire(state.wire), part, now, rate)
    };
    Some(Restored { connection, channels })
}

impl State {
    fn of(connection: &Connection, channels: &[&Connection]) -> State {
        State {
            wire: connection.wire.0,
            opened: connection.opened,
            principal: connection.principal.as_deref().cloned(),
            offsets: connection.offsets,
            told_expired: connection.told_expired,
            errors: (connection.errors.start, connection.errors.count),
            subscriptions: connection.subscriptions.iter().map(StoredSubscription::of).collect(),
            carries: connection.carrier().map(|carrier| StoredChannels::of(carrier, channels)),
        }
    }
}

impl StoredChannels {
    fn of(carrier: &Carrier, connections: &[&Connection]) -> StoredChannels {
        let mut principals: Vec<Rc<Principal>> = Vec::new();
        let mut channels = Vec::new();
        for connection in connections {
            let (Some(channel), Some(principal)) = (connection.channel(), &connection.principal) else { continue };
            let index = principals.iter().position(|known| known == principal).unwrap_or_else(|| {
                principals.push(principal.clone());
                principals.len() - 1
            });
            channels.push(StoredChannel::of(connection, channel, index));
        }
        let principals = principals.iter().map(|principal| Principal::clone(principal)).collect();
        StoredChannels { next: carrier.next, principals, channels }
    }
}

impl StoredChannel {
    fn of(connection: &Connection, channel: &Channel, principal: usize) -> StoredChannel {
        StoredChannel {
            client_id: connection.client_id.to_string(),
            name: channel.address.name.to_string(),
            reference: channel.address.reference.as_deref().map(str::to_owned),
            private: channel.topic.private,
            topic: channel.topic.name.to_string(),
            principal,
            told_expired: connection.told_expired,
            messages: channel.messages,
            presence: channel.presence,
            presence_key: channel.presence_key.as_deref().map(str::to_owned),
            echo: channel.echo,
            acknowledge: channel.acknowledge,
            tables: connection.subscriptions.iter().map(StoredSubscription::of).collect(),
        }
    }

    fn read(
        self,
        carrier: SocketId,
        wire: Wire,
        principals: &[Rc<Principal>],
        now: u64,
        rate: u64,
    ) -> Option<Connection> {
        let address = Address { name: Rc::from(self.name), reference: self.reference.map(Rc::from) };
        let channel = Channel {
            carrier,
            address,
            topic: Topic { private: self.private, name: Rc::from(self.topic) },
            messages: self.messages,
            presence: self.presence,
            presence_key: self.presence_key.map(Rc::from),
            echo: self.echo,
            acknowledge: self.acknowledge,
        };
        let part = Part::Channel(Box::new(channel));
        Some(Connection {
            principal: Some(principals.get(self.principal)?.clone()),
            told_expired: self.told_expired,
            subscriptions: self.tables.into_iter().map(StoredSubscription::read).collect::<Option<_>>()?,
            ..Connection::new(carrier, Rc::from(self.client_id), wire, part, now, rate)
        })
    }
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
                event: target.event.map(|event| event.wire().to_owned()),
                filter: target.filter.text().to_owned(),
                select: target.select.as_ref().map(|select| select.iter().cloned().collect()),
                number: target.number,
            },
        }
    }

    /// `None` when an earlier build accepted what this one does not: the client is to ask again.
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
                let filter = Filter::parse(&filter).ok()?;
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

/// The size of a string in V8's serialization: one byte a character while all are Latin-1, else two a UTF-16 unit.
fn serialized_bytes(text: &str) -> usize {
    let is_latin = text.chars().all(|c| u32::from(c) < 0x100);
    if is_latin { text.chars().count() } else { text.encode_utf16().count() * 2 }
}
