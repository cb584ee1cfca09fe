//! Events for clients, before a dialect encodes them.

use std::collections::BTreeMap;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::command::Position;
use super::publication::{FromDatabase, Payload};
use super::shared_text::SharedText;
use crate::code::{Code, Refusal};
use crate::policy::channel::Topic;
use crate::policy::principal::Principal;
use crate::policy::table::Operation;
use crate::value::row::Row;

/// Bytes of the digest that identifies a message.
const ID_DIGEST: usize = 16;

/// One event.
#[derive(Clone, Debug)]
pub enum Event {
    /// A row change, as its recipients see it.
    Change {
        /// The table's schema.
        schema: Rc<str>,
        /// The table.
        table: Rc<str>,
        /// The change as its recipients see it.
        view: Rc<View>,
        /// The topic of the publication.
        topic: Option<Topic>,
        /// The stream's offset after it, for clients that recover.
        offset: Option<u64>,
        /// The subscriptions that it matches, for dialects whose frames name them.
        bindings: Option<Rc<Bindings>>,
        /// The encoded part that is the same for every channel name.
        shared: SharedText,
    },
    /// A message, as its recipients see it.
    Message {
        /// Its name.
        event: Rc<str>,
        /// The payload, masked.
        payload: Payload,
        /// The object as the client sent it, for recipients of the same dialect; `None` if name and payload reproduce
        /// it.
        whole: Option<Rc<str>>,
        /// The topic of the publication.
        topic: Option<Topic>,
        /// The stream's offset after it, for clients that recover.
        offset: Option<u64>,
        /// Its id in the history, for dialects whose frames carry it.
        retained: Option<Rc<Retained>>,
        /// Whether the recipient is the sender, for dialects whose frames say so.
        is_own: bool,
        /// The encoded part that is the same for every channel name.
        shared: SharedText,
    },
    /// The connection is authenticated.
    Authenticated(Authenticated),
    /// Authentication failed; the connection is closed.
    AuthFailed(Code),
    /// The token has expired; a fresh token keeps the connection open.
    AuthExpired,
    /// A subscription is active.
    Subscribed {
        /// The client's id for it.
        id: String,
        /// Echoed from the subscription.
        answer: Option<Rc<str>>,
        /// Whether every missed event was replayed, if recovery was requested.
        recovered: Option<bool>,
    },
    /// A subscription has ended.
    Unsubscribed {
        /// The client's id for it; empty if the command ended several without an id.
        id: String,
    },
    /// A subscription is active but receives nothing for now.
    Warned {
        /// The client's id for it.
        id: String,
        /// The reason.
        warning: TableWarning,
        /// The tenant.
        organization: Rc<str>,
    },
    /// A message was published.
    Acknowledged {
        /// The correlation id.
        id: String,
        /// Its id in the history, if the client asked for it.
        retained: Option<Rc<Retained>>,
    },
    /// Something was refused; the connection stays open.
    Refused {
        /// The reason.
        refusal: Refusal,
        /// The correlation id of the refused command.
        id: Option<String>,
        /// The topic of the refused command.
        topic: Option<Topic>,
    },
    /// The roster before the client's own presence.
    PresenceState {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// All members.
        members: Vec<Rc<Member>>,
    },
    /// A member joined.
    PresenceJoined {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// The member.
        member: Rc<Member>,
    },
    /// A member changed its metadata.
    PresenceUpdated {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// The member.
        member: Rc<Member>,
        /// The previous metadata.
        before: Rc<Member>,
    },
    /// A member left.
    PresenceLeft {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// The member.
        member: Rc<Member>,
    },
    /// A function has answered.
    Called(Called),
    /// A heartbeat.
    Heartbeat {
        /// When, in Unix milliseconds.
        time: u64,
    },
    /// The roster after a change, for dialects that send all of it each time.
    Roster {
        /// The change.
        change: Box<Event>,
        /// All members.
        members: Vec<Rc<Member>>,
    },
    /// Members that joined, changed or left within a presence window.
    PresenceChanged {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// One event per member.
        changes: Rc<[Event]>,
    },
    /// Several events, in order.
    Batch(Rc<[Event]>),
    /// The answer to a ping.
    Pong {
        /// The correlation id.
        id: Option<String>,
    },
    /// The server asks the client to show that it is alive.
    Ping,
    /// The channel is joined.
    Joined {
        /// The correlation id of the join.
        id: String,
        /// Echoed from the join.
        answer: Rc<str>,
    },
    /// The join was refused.
    NotJoined {
        /// The correlation id of the join.
        id: String,
        /// The reason.
        refusal: Refusal,
    },
    /// The channel's subscriptions are active, or were refused.
    Live {
        /// The outcome of its table subscriptions, if it has any.
        tables: Option<Result<(), Refusal>>,
        /// Whether the client also requested a notice that messages flow.
        announce: bool,
    },
    /// The database changes that the session subscribes to have stopped, or have resumed without a gap.
    Feed {
        /// Whether they have resumed.
        is_live: bool,
    },
    /// The client left the channel, or joined it again.
    Left {
        /// The correlation id of the leave.
        id: Option<String>,
    },
    /// The server ended the channel.
    Ended(Refusal),
}

/// Why a subscription receives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableWarning {
    /// The table is not enabled.
    NotEnabled,
    /// No rule determines who may see its rows.
    NoPolicy,
}

/// The answer of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// The event's name.
    pub event: Rc<str>,
    /// The correlation id of the call, as JSON text.
    pub id: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// Its body.
    pub body: Rc<str>,
}

/// The channel of an event, for connections that carry several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Its name as the client wrote it.
    pub name: Rc<str>,
    /// The join that it belongs to; `None` if the event is shared by several channels.
    pub reference: Option<Rc<str>>,
}

/// Metadata of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bindings {
    /// The numbers of the subscriptions that it matches.
    pub numbers: Vec<u32>,
    /// Database types of columns, if the publisher or the configuration declares them.
    pub types: BTreeMap<String, String>,
    /// The commit time if known, otherwise the time of acceptance, in Unix milliseconds.
    pub time: u64,
    /// The database's metadata.
    pub database: Option<Rc<FromDatabase>>,
}

impl Bindings {
    /// Whether large columns of the row were left out.
    pub fn is_truncated(&self) -> bool {
        self.database.as_ref().is_some_and(|database| database.truncated)
    }
}

/// Metadata of a retained message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained {
    /// The same for every delivery of the message.
    pub id: String,
    /// Whether this is a replay.
    pub replayed: bool,
}

impl Event {
    /// The member of a presence event.
    pub fn member(&self) -> Option<&Rc<Member>> {
        match self {
            Event::PresenceJoined { member, .. }
            | Event::PresenceUpdated { member, .. }
            | Event::PresenceLeft { member, .. } => Some(member),
            _ => None,
        }
    }

    /// Bytes of the rows, payloads and metadata that it carries.
    pub fn bytes(&self) -> usize {
        match self {
            Event::Change { view, .. } => view.new.iter().chain(&view.old).map(Row::bytes).sum(),
            Event::Message { payload, .. } => payload.bytes(),
            Event::PresenceState { members, .. } | Event::Roster { members, .. } => {
                members.iter().map(|member| member.metadata.len()).sum()
            }
            Event::PresenceChanged { changes, .. } => changes.iter().map(Event::bytes).sum(),
            Event::Batch(events) => events.iter().map(Event::bytes).sum(),
            event => event.member().map_or(0, |member| member.metadata.len()),
        }
    }
}

impl Retained {
    /// Identifies the message to clients: a digest of the publisher's idempotency key, which may hold confidential
    /// data, or the offset if there is no key.
    pub fn id_of(key: Option<&str>, offset: u64) -> String {
        let Some(key) = key else { return offset.to_string() };
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        digest.iter().take(ID_DIGEST).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A connection's identity and the stream's position.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The tenant.
    pub organization: Rc<str>,
    /// The principal.
    pub principal: Rc<Principal>,
    /// The stream's position, for clients that recover.
    pub position: Option<Position>,
    /// Whether every missed event follows, for clients that recover.
    pub recovered: Option<bool>,
    /// Whether a fresh token renewed an authenticated session.
    pub is_renewal: bool,
}

/// What one class of recipients sees of a change: projected and masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The operation for these recipients: an update may make a row appear or disappear.
    pub operation: Operation,
    /// The row after it.
    pub new: Option<Row>,
    /// The row before it.
    pub old: Option<Row>,
}

/// A member present in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The connection's public id.
    pub client_id: Rc<str>,
    /// The user, if there is one.
    pub user: Option<Rc<str>>,
    /// The requested presence key; `None`: its public id.
    pub key: Option<Rc<str>>,
    /// A JSON object.
    pub metadata: Rc<str>,
}

impl Member {
    /// The effective presence key.
    pub fn listed_as(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.client_id)
    }

    /// Its bytes in a roster, without punctuation.
    pub fn bytes(&self) -> usize {
        let named = [self.user.as_ref(), self.key.as_ref()].into_iter().flatten().map(|name| name.len()).sum::<usize>();
        self.client_id.len() + named + self.metadata.len()
    }

    /// Bytes of several members.
    pub fn bytes_of(members: &[Rc<Member>]) -> usize {
        members.iter().map(|member| member.bytes()).sum()
    }
}
