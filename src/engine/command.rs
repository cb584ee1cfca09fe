//! Client commands, independent of dialect.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::publication::Payload;
use crate::code::Refusal;
use crate::policy::channel::Topic;
use crate::policy::filter::Filter;
use crate::policy::principal::Principal;
use crate::policy::secret::Secret;
use crate::policy::table::Operation;

/// A decoded frame.
#[derive(Clone, Debug)]
pub enum Command {
    /// Authenticate, or renew the authentication.
    Authenticate(Authenticate),
    /// Receive some of a table's changes, or a topic.
    Subscribe(Subscribe),
    /// End the subscription with this id.
    Unsubscribe {
        /// As given when subscribing, or its number.
        id: String,
    },
    /// End the table subscription with this id if it has no number; otherwise end the subscription with this id and all
    /// numbered ones. Without an id, end all subscriptions.
    UnsubscribeAll {
        /// As given when subscribing.
        id: Option<String>,
    },
    /// Publish a message to a topic.
    Publish {
        /// The topic.
        topic: Topic,
        /// The message's name.
        event: String,
        /// The payload.
        payload: Payload,
        /// The correlation id, if the client wants an acknowledgement.
        id: Option<String>,
        /// Whether the sender receives its own message, if subscribed.
        echo: bool,
        /// The idempotency key: a repetition by the same user within its window publishes nothing and receives the
        /// first answer.
        key: Option<String>,
    },
    /// Become present in a topic, or in the lobby.
    Track {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// The presence key; `None`: the connection's public id.
        key: Option<Rc<str>>,
        /// A JSON object.
        metadata: Rc<str>,
    },
    /// Change the metadata of a presence.
    Update {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// A JSON object.
        metadata: Rc<str>,
    },
    /// End a presence.
    Untrack {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// The presence key; `None`: any.
        key: Option<Rc<str>>,
    },
    /// Call a function with an event.
    Call(Call),
    /// Execute a command in one of the connection's channels.
    Channel(Box<ChannelFrame>),
    /// Check that the server is alive.
    Ping {
        /// The correlation id, if the client wants an answer.
        id: Option<String>,
    },
}

/// An event for a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The event's name, by which the function is found.
    pub event: Rc<str>,
    /// JSON text.
    pub payload: Rc<str>,
    /// The correlation id of the call, as JSON text.
    pub id: Option<String>,
}

/// A frame about a channel: a topic that a connection joins with its own principal and subscriptions (Phoenix).
#[derive(Clone, Debug)]
pub struct ChannelFrame {
    /// The channel's name as the client writes it.
    pub name: String,
    /// The `join_ref` of the join that the frame belongs to.
    pub reference: Option<String>,
    /// Whether the reference identifies the channel, because the name may have been mangled.
    pub by_reference: bool,
    /// The correlation id, if the client wants an answer.
    pub id: Option<String>,
    /// The command.
    pub act: ChannelAct,
}

/// A command in a channel.
#[derive(Clone, Debug)]
pub enum ChannelAct {
    /// Join it.
    Join(Box<Join>),
    /// Leave it.
    Leave,
    /// Publish a message.
    Publish {
        /// The message's name.
        event: String,
        /// The payload.
        payload: Payload,
        /// The JSON object as the client sent it, if name and payload cannot reproduce it.
        whole: Option<Rc<str>>,
        /// Whether the message is to be published only if it is retained.
        persist: bool,
    },
    /// Become present, or change the metadata.
    Track {
        /// A JSON object.
        metadata: Rc<str>,
    },
    /// End the presence.
    Untrack,
    /// Continue with the principal of this token.
    Refresh(Secret),
    /// An invalid command, with the reason.
    Refused(Refusal),
    /// An unknown event of a newer client; ignored.
    Nothing,
}

/// A request to join a channel.
#[derive(Clone, Debug)]
pub struct Join {
    /// The topic.
    pub topic: Topic,
    /// The credential of the join; `None`: the connection's own principal.
    pub token: Option<Secret>,
    /// The requested table subscriptions with their numbers; an invalid one carries its error.
    pub tables: Vec<Result<TableTarget, Refusal>>,
    /// Whether the client wants the roster, and presence events from then on.
    pub presence: bool,
    /// Its presence key; `None`: one that the server creates.
    pub presence_key: Option<String>,
    /// Whether it receives its own messages.
    pub echo: bool,
    /// Whether publishing is acknowledged.
    pub acknowledge: bool,
    /// The messages of the topic to replay.
    pub replay: Option<Replay>,
    /// Echoed in the reply to the join; the engine does not interpret it.
    pub answer: Rc<str>,
    /// Whether it receives a frame once messages flow.
    pub announce: bool,
}

/// A replay of the newest messages of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Only messages published at or after this time, in Unix milliseconds.
    pub since: u64,
    /// The maximum number of messages.
    pub limit: u64,
}

/// The contents of an authentication frame.
#[derive(Clone, Debug)]
pub struct Authenticate {
    /// The principal that the Worker has verified; no frame can set it.
    pub proven: Option<Box<Principal>>,
    /// A session token or an API key.
    pub token: Secret,
    /// The organization; `None` if the connection's address names it.
    pub organization: Option<String>,
    /// Whether and from where to recover.
    pub recover: Recover,
    /// Subscriptions to activate before the replay; the session then receives only what it subscribes to. `None`: the
    /// dialect's default.
    pub subscriptions: Option<Vec<Subscribe>>,
    /// Whether one frame may carry several events.
    pub batches: bool,
}

/// Whether a client wants offsets, and from which position it recovers (docs/protocol-native.md, Recovery).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Recover {
    /// No offsets: the original frames.
    #[default]
    Off,
    /// Offsets from now on.
    On,
    /// Offsets, after a replay of everything since this position.
    From(Position),
}

/// A position in a tenant's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The stream's epoch: an offset has no meaning in another epoch.
    pub epoch: String,
    /// The offset of the last event received.
    pub offset: u64,
}

/// A subscription request.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// The client's id for it.
    pub id: String,
    /// Whether its number becomes its id, so that several may have the same target.
    pub is_numbered: bool,
    /// Its target.
    pub target: Target,
    /// The position from which its target's events were missed.
    pub recover: Option<Position>,
    /// Echoed in the answer; the engine does not interpret it.
    pub answer: Option<Rc<str>>,
}

impl Subscribe {
    /// The topic, if its target is one.
    pub fn topic(&self) -> Option<&Topic> {
        match &self.target {
            Target::Topic { topic, .. } => Some(topic),
            Target::Table(_) => None,
        }
    }

    /// The topic whose roster is requested.
    pub fn watched(&self) -> Option<Topic> {
        match &self.target {
            Target::Topic { topic, presence: true } => Some(topic.clone()),
            _ => None,
        }
    }
}

/// The target of a subscription.
#[derive(Clone, Debug)]
pub enum Target {
    /// Changes of a table.
    Table(TableTarget),
    /// A topic.
    Topic {
        /// The topic.
        topic: Topic,
        /// Whether the roster is requested.
        presence: bool,
    },
}

/// Changes of one table, or of all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableTarget {
    /// A schema, or `*`.
    pub schema: String,
    /// A table, or `*`.
    pub table: String,
    /// Only this operation.
    pub event: Option<Operation>,
    /// Only rows that match.
    pub filter: Filter,
    /// Only these columns and the primary key; `None`: all that the recipient may see.
    pub select: Option<Rc<BTreeSet<String>>>,
    /// The number by which frames name it; 0 if they do not.
    pub number: u32,
}

impl TableTarget {
    /// Bytes that the client chooses freely.
    pub fn bytes(&self) -> usize {
        let select = self.select.iter().flat_map(|select| select.iter()).map(String::len).sum::<usize>();
        self.filter.text().len() + select
    }
}

/// A frame that was refused before it became a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The reason.
    pub refusal: Refusal,
    /// The frame's correlation id, if it could be read.
    pub id: Option<String>,
}

impl From<Refusal> for Malformed {
    fn from(refusal: Refusal) -> Self {
        Malformed { refusal, id: None }
    }
}

/// A frame as its dialect decoded it.
pub type DecodedFrame = Result<Command, Malformed>;
