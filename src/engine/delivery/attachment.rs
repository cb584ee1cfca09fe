//! What outlives memory of a connection: a text beside its socket, or a row where that is too small.
//!
//! Version 1. A deploy may wake sockets that an earlier build wrote; one that cannot be read is closed to connect again.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::connection::{Connection, ErrorWindow, Subscribed, Subscription};
use crate::engine::bucket::Bucket;
use crate::engine::command::TableTarget;
use crate::engine::effect::{Task, Write};
use crate::engine::input::{SocketId, Wire};
use crate::engine::message::Out;
use crate::policy::channel::Topic;
use crate::policy::filter::Filter;
use crate::policy::limits::Limits;
use crate::policy::principal::Principal;
use crate::policy::table::Operation;

const VERSION: u32 = 1;
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
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredSubscription {
    Table { id: String, schema: String, table: String, event: Option<String>, filter: String },
    Topic { id: String, private: bool, name: String },
}

/// Writes a connection's state where it fits.
pub(super) fn write(connection: &mut Connection, out: &mut Out) {
    let client_id = connection.client_id.clone();
    let text = |overflow, state| {
        let stored = Stored { version: VERSION, client_id: client_id.to_string(), overflow, state };
        // Structs of texts and numbers always have a JSON form.
        serde_json::to_string(&stored).unwrap_or_default()
    };
    let whole = text(false, Some(State::of(connection)));
    let fits = serialized_bytes(&whole) <= MOST_BYTES;
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
    connection.overflowed = !fits;
}

/// Reads a connection's state; `None` when it cannot be read.
pub(super) fn read(
    socket: SocketId,
    text: &str,
    overflow: &BTreeMap<String, String>,
    limits: &Limits,
    now: u64,
) -> Option<Connection> {
    let attached: Stored = serde_json::from_str(text).ok()?;
    let overflowed = attached.overflow;
    let stored = if overflowed { serde_json::from_str(overflow.get(&attached.client_id)?).ok()? } else { attached };
    let state = stored.state.filter(|_| stored.version == VERSION)?;
    let subscriptions = state.subscriptions.into_iter().map(StoredSubscription::read).collect::<Option<_>>()?;
    Some(Connection {
        socket,
        client_id: Rc::from(stored.client_id),
        wire: Wire(state.wire),
        opened: state.opened,
        principal: state.principal.map(Rc::new),
        offsets: state.offsets,
        told_expired: state.told_expired,
        subscriptions,
        present: Default::default(),
        errors: ErrorWindow { start: state.errors.0, count: state.errors.1 },
        bucket: Bucket::full(limits.frames_per_second, now),
        waiting: None,
        classes: Vec::new(),
        overflowed,
    })
}

impl State {
    fn of(connection: &Connection) -> State {
        State {
            wire: connection.wire.0,
            opened: connection.opened,
            principal: connection.principal.as_deref().cloned(),
            offsets: connection.offsets,
            told_expired: connection.told_expired,
            errors: (connection.errors.start, connection.errors.count),
            subscriptions: connection.subscriptions.iter().map(StoredSubscription::of).collect(),
        }
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
            },
        }
    }

    /// `None` when an earlier build accepted what this one does not: the client is to ask again.
    fn read(self) -> Option<Subscription> {
        Some(match self {
            StoredSubscription::Topic { id, private, name } => {
                Subscription { id, target: Subscribed::Topic(Topic { private, name: Rc::from(name) }) }
            }
            StoredSubscription::Table { id, schema, table, event, filter } => {
                let event = match event {
                    None => None,
                    Some(word) => Some(Operation::named(&word)?),
                };
                let filter = Filter::parse(&filter).ok()?;
                Subscription { id, target: Subscribed::Table(TableTarget { schema, table, event, filter }) }
            }
        })
    }
}

/// The size of a string in V8's serialization: one byte a character while all are Latin-1, else two a UTF-16 unit.
fn serialized_bytes(text: &str) -> usize {
    let is_latin = text.chars().all(|c| u32::from(c) < 0x100);
    if is_latin { text.chars().count() } else { text.encode_utf16().count() * 2 }
}
