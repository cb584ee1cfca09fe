//! The messages between the two halves of a tenant. Nothing else passes between them, so that the delivery could run in
//! several objects, each with a share of the connections.

use std::collections::VecDeque;
use std::rc::Rc;

use super::command::{Position, Replay, TableTarget};
use super::database::verdict::Verdict;
use super::effect::{Effect, Task};
use super::event::{Event, Member};
use super::input::SocketId;
use super::profile::RosterOnTracking;
use super::publication::Publication;
use super::relay::{Ask, PayerForm};
use crate::code::Refusal;
use crate::policy::channel::Topic;

/// A session in this life of the object: its socket, and its number there, which is used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionId {
    pub(super) socket: SocketId,
    pub(super) number: u32,
}

/// From the delivery to the stream.
pub(super) enum ToStream {
    /// A connection has authenticated; from now on data may be stored.
    Begin,
    /// A client publishes; the delivery has authorized it.
    Publish { publication: Box<Publication>, keep: bool, origin: Origin },
    /// A publication was sent in this many frames.
    Delivered { frames: u64 },
    /// A connection asks for the position, or for what followed one.
    Resume { session: SessionId, from: From, then: Announcement },
    /// A connection becomes present in a topic; the delivery has authorized it.
    Track(Tracking),
    /// A connection changes the metadata of its presence.
    Update { session: SessionId, topic: Option<Topic>, client_id: Rc<str>, metadata: Rc<str> },
    /// A connection ends a presence.
    Untrack { session: SessionId, topic: Option<Topic>, client_id: Rc<str>, key: Option<Rc<str>> },
    /// A connection asks for a roster.
    Roster { session: SessionId, topic: Topic },
    /// Listeners expect the whole roster with a presence event, or a session has stopped listening to the topic.
    Gather { topic: Option<Topic>, change: Box<Event>, only: Option<SessionId> },
    /// A connection has closed.
    Gone { client_id: Rc<str> },
}

/// From the stream to the delivery.
pub(super) enum ToDelivery {
    /// A publication is accepted.
    Publish { accepted: Accepted, origin: Option<Origin> },
    /// The stream's position, and what a connection missed.
    Resumed { session: SessionId, position: Position, missed: Option<Missed>, read: Read, then: Announcement },
    /// The roster, for one connection.
    Roster { session: SessionId, topic: Option<Topic>, members: Vec<Rc<Member>> },
    /// A connection is now present in a topic, or no longer.
    Present { session: SessionId, topic: Option<Topic>, present: bool },
    /// A member joined, changed or left.
    Presence { topic: Option<Topic>, event: Event },
    /// The same with the roster, for listeners that expect all of it each time.
    Gathered { topic: Option<Topic>, event: Event, only: Option<SessionId> },
    /// A connection's command was refused.
    Refused { session: SessionId, refusal: Refusal, id: Option<String>, topic: Option<Topic> },
    /// A connection's command was executed.
    Done { session: SessionId, id: String },
}

/// How a connection becomes present.
pub(super) struct Tracking {
    pub(super) session: SessionId,
    pub(super) topic: Option<Topic>,
    pub(super) member: Rc<Member>,
    /// Whether its presence key belongs to one user only.
    pub(super) owns_key: bool,
    /// Whether it is answered with the roster.
    pub(super) roster: RosterOnTracking,
    /// The correlation id, if the client wants an answer.
    pub(super) id: Option<String>,
}

/// A publication that the stream has accepted.
pub(super) struct Accepted {
    pub(super) publication: Rc<Publication>,
    /// The stream's offset after it.
    pub(super) offset: u64,
    /// When, in Unix milliseconds.
    pub(super) time: u64,
    /// Whether it is in the history.
    pub(super) is_retained: bool,
    /// The database's verdict on who may see it.
    pub(super) verdict: Option<Rc<Verdict>>,
}

/// What a connection wants replayed.
pub(super) enum From {
    /// Nothing.
    Now,
    /// Everything after a position, including the topics that it listens to.
    Position(Position, Vec<Topic>),
    /// The newest messages of a private topic.
    Topic(Rc<str>, Replay),
    /// Everything after a position, as much of it as is read at a time.
    All(Position),
}

/// The client that published.
pub(super) struct Origin {
    pub(super) session: SessionId,
    pub(super) acknowledge: Option<String>,
    pub(super) echo: bool,
    /// Whether it asked for the message to be retained.
    pub(super) persist: bool,
    /// The idempotency key under which the publication is remembered.
    pub(super) key: Option<String>,
    /// The relay that it is connected to.
    pub(super) relayed: Option<Box<Relayed>>,
}

/// A client of a relay, and who is charged for its publications.
pub(super) struct Relayed {
    pub(super) relay: u32,
    pub(super) payer: PayerForm,
}

/// What a connection missed: everything in order, or more than can be replayed.
pub(super) enum Missed {
    Everything(Vec<Accepted>),
    TooMuch,
}

impl Missed {
    /// The publications to replay: all of them, or none.
    pub(super) fn into_publications(self) -> Vec<Accepted> {
        match self {
            Missed::Everything(publications) => publications,
            Missed::TooMuch => Vec::new(),
        }
    }
}

/// Rows read from the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) rows: u64,
    /// Bytes of their texts.
    pub(super) bytes: u64,
    /// How many rows were read to find them, matching or not.
    pub(super) scanned: u64,
}

/// What a connection is told first, once the stream has reported its position.
pub(super) enum Announcement {
    /// It is authenticated, and these subscriptions were made active or refused with it.
    /// The rosters of the topics of `watch` come last.
    Authenticated { with_position: bool, then: Vec<Event>, watch: Vec<Topic> },
    /// This subscription is active.
    Subscribed { id: String, answer: Option<Rc<str>>, to: RecoveryTarget, watch: Option<Topic> },
    /// This channel is joined.
    Joined { id: String, answer: Rc<str>, live: Event, watch: Option<Topic> },
    /// A relay asked on behalf of one of its sockets.
    Asked { relay: u32, ask: Box<Ask>, refusal: Option<Refusal>, only: Option<RecoveryTarget> },
}

/// The target of a subscription that recovers.
pub(super) enum RecoveryTarget {
    /// Everything that is published to a topic.
    Topic(Topic),
    /// Changes.
    Table(TableTarget),
}

/// The results of handling one input.
#[derive(Default)]
pub(super) struct Out {
    pub(super) effects: Vec<Effect>,
    pub(super) to_stream: VecDeque<ToStream>,
    pub(super) to_delivery: VecDeque<ToDelivery>,
}

impl Out {
    /// Adds a task.
    pub(super) fn run(&mut self, task: Task) {
        self.effects.push(Effect::Do(task));
    }
}
