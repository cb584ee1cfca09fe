//! What a client asks for, whatever its dialect.

use std::rc::Rc;

use super::publication::Payload;
use crate::code::Refusal;
use crate::policy::channel::Topic;
use crate::policy::filter::Filter;
use crate::policy::secret::Secret;
use crate::policy::table::Operation;

/// A decoded frame.
#[derive(Clone, Debug)]
pub enum Command {
    /// Prove who this is, at first or again.
    Authenticate(Authenticate),
    /// Receive some of a table's changes, or a topic.
    Subscribe(Subscribe),
    /// End the subscription with this id.
    Unsubscribe {
        /// As given when subscribing.
        id: String,
    },
    /// Publish a message to a topic.
    Publish {
        /// Where to.
        topic: Topic,
        /// The message's name.
        event: String,
        /// What the message carries.
        payload: Payload,
        /// Asks for an acknowledgement with this id.
        id: Option<String>,
        /// Whether the sender receives it too, if subscribed.
        echo: bool,
    },
    /// Appear in a topic, or in the lobby.
    Track {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// A JSON object.
        metadata: Rc<str>,
    },
    /// Change one's metadata.
    Update {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// A JSON object.
        metadata: Rc<str>,
    },
    /// Disappear.
    Untrack {
        /// `None`: the lobby.
        topic: Option<Topic>,
    },
    /// Ask whether anyone is there.
    Ping,
}

/// What an authentication frame says.
#[derive(Clone, Debug)]
pub struct Authenticate {
    /// A session token or an API key.
    pub token: Secret,
    /// The organization; `None` where the connection's address says it.
    pub organization: Option<String>,
    /// Whether and from where to recover.
    pub recover: Recover,
    /// Subscriptions to hold before anything is replayed.
    pub subscriptions: Vec<Subscribe>,
}

/// Whether a client wants offsets, and from where it missed events (native.md, section 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Recover {
    /// No offsets at all: the seed's frames.
    #[default]
    Off,
    /// Offsets from now on.
    On,
    /// Offsets, and everything after this position first.
    From(Position),
}

/// A place in a tenant's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The stream's life: an offset means nothing in another.
    pub epoch: String,
    /// The offset of the last event that was seen.
    pub offset: u64,
}

/// A subscription as a client asks for it.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// The client's name for it.
    pub id: String,
    /// What it is to.
    pub target: Target,
}

impl Subscribe {
    /// The topic whose members present are asked for at once.
    pub fn watched(&self) -> Option<Topic> {
        match &self.target {
            Target::Topic { topic, presence: true, .. } => Some(topic.clone()),
            _ => None,
        }
    }
}

/// What a subscription is to.
#[derive(Clone, Debug)]
pub enum Target {
    /// Changes of a table.
    Table(TableTarget),
    /// A topic.
    Topic {
        /// Which.
        topic: Topic,
        /// Whether the members present are asked for at once.
        presence: bool,
        /// From where messages of the topic were missed.
        recover: Option<Position>,
    },
}

/// Some changes of one table, or of all.
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
}

/// A frame that is refused before it is a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Why.
    pub refusal: Refusal,
    /// The frame's own id, where it could be read, so that the client knows which one it was.
    pub id: Option<String>,
}

impl From<Refusal> for Malformed {
    fn from(refusal: Refusal) -> Self {
        Malformed { refusal, id: None }
    }
}
