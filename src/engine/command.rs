//! What a client asks for, whatever its dialect.

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
    /// Prove who this is, at first or again.
    Authenticate(Authenticate),
    /// Receive some of a table's changes, or a topic.
    Subscribe(Subscribe),
    /// End the subscription with this id.
    Unsubscribe {
        /// As given when subscribing, or its number.
        id: String,
    },
    /// End the table subscription with this id where it has no number, else whatever has this id and all that have a
    /// number; without an id, all subscriptions.
    UnsubscribeAll {
        /// As given when subscribing.
        id: Option<String>,
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
        /// The same one from the same user within a time publishes nothing, and is answered like the first.
        key: Option<String>,
    },
    /// Appear in a topic, or in the lobby.
    Track {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// The key under which one wants to be listed; `None`: one's public id.
        key: Option<Rc<str>>,
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
        /// The key under which one is listed there; `None`: whatever it is.
        key: Option<Rc<str>>,
    },
    /// Let a function answer an event.
    Call(Call),
    /// Do something in one of the channels that a connection carries.
    Channel(Box<ChannelFrame>),
    /// Ask whether anyone is there.
    Ping {
        /// Asks for an answer with this id.
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
    /// The client's name for the call, as JSON text.
    pub id: Option<String>,
}

/// A frame about a channel: a topic that a connection joins with a principal and subscriptions of its own (Phoenix).
#[derive(Clone, Debug)]
pub struct ChannelFrame {
    /// The channel's name as the client writes it.
    pub name: String,
    /// The `join_ref`: the join that the frame belongs to.
    pub reference: Option<String>,
    /// Whether the channel is told by the reference, because the name may have been mangled.
    pub by_reference: bool,
    /// Asks for an answer with this id.
    pub id: Option<String>,
    /// What is asked for.
    pub act: ChannelAct,
}

/// What is asked for in a channel.
#[derive(Clone, Debug)]
pub enum ChannelAct {
    /// Enter it.
    Join(Box<Join>),
    /// Leave it.
    Leave,
    /// Publish a message.
    Publish {
        /// The message's name.
        event: String,
        /// What the message carries.
        payload: Payload,
        /// The JSON object that it is said in, where that cannot be made up again from name and payload.
        whole: Option<Rc<str>>,
        /// Whether it is only to be published if it is kept.
        persist: bool,
    },
    /// Appear, or change one's metadata.
    Track {
        /// A JSON object.
        metadata: Rc<str>,
    },
    /// Disappear.
    Untrack,
    /// Go on as whom this token names.
    Refresh(Secret),
    /// Nothing that could be done, and this is why.
    Refused(Refusal),
    /// Nothing at all: an event of a later client.
    Nothing,
}

/// How a channel is entered.
#[derive(Clone, Debug)]
pub struct Join {
    /// The topic.
    pub topic: Topic,
    /// Who enters; `None`: the connection's own principal.
    pub token: Option<Secret>,
    /// The changes it is to receive, each with its number; those that cannot be understood say why.
    pub tables: Vec<Result<TableTarget, Refusal>>,
    /// Whether the members present are asked for at once, and told from then on.
    pub presence: bool,
    /// The key under which it appears; `None`: one of its own.
    pub presence_key: Option<String>,
    /// Whether it receives what it publishes.
    pub echo: bool,
    /// Whether publishing is acknowledged.
    pub acknowledge: bool,
    /// Messages of the topic that it wants to see again.
    pub replay: Option<Replay>,
    /// What the answer to a join repeats; the engine only hands it back.
    pub answer: Rc<str>,
    /// Whether it wants to be told once that messages are flowing.
    pub announce: bool,
}

/// The newest messages of a topic, again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// None published before this time, in Unix milliseconds.
    pub since: u64,
    /// At most so many.
    pub limit: u64,
}

/// What an authentication frame says.
#[derive(Clone, Debug)]
pub struct Authenticate {
    /// Who it is, where the Worker has proven it; no frame can say so.
    pub proven: Option<Box<Principal>>,
    /// A session token or an API key.
    pub token: Secret,
    /// The organization; `None` where the connection's address says it.
    pub organization: Option<String>,
    /// Whether and from where to recover.
    pub recover: Recover,
    /// Subscriptions to hold before anything is replayed, and from then on nothing but what is subscribed to; `None`: what
    /// the dialect gives without.
    pub subscriptions: Option<Vec<Subscribe>>,
    /// Whether several events may come in one frame.
    pub batches: bool,
}

/// Whether a client wants offsets, and from where it missed events (docs/protocol-native.md, Recovery).
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
    /// Whether its number becomes its name, so that several of the same target may stand.
    pub is_numbered: bool,
    /// What it is to.
    pub target: Target,
    /// From where what it is to was missed.
    pub recover: Option<Position>,
    /// What the answer to it repeats; the engine only hands it back.
    pub answer: Option<Rc<str>>,
}

impl Subscribe {
    /// The topic whose members present are asked for at once.
    pub fn watched(&self) -> Option<Topic> {
        match &self.target {
            Target::Topic { topic, presence: true } => Some(topic.clone()),
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
    /// Only these columns and the primary key; `None`: all that the recipient may see.
    pub select: Option<Rc<BTreeSet<String>>>,
    /// The number that frames name it by, where they do; 0 where not.
    pub number: u32,
}

impl TableTarget {
    /// Bytes of what the client says of it at will.
    pub fn bytes(&self) -> usize {
        let select = self.select.iter().flat_map(|select| select.iter()).map(String::len).sum::<usize>();
        self.filter.text().len() + select
    }
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
