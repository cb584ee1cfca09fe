//! What the two halves of a tenant tell each other. Nothing else passes between them, so the delivery may one day run
//! in objects of its own, each with a share of the connections.

use std::collections::VecDeque;
use std::rc::Rc;

use super::command::{Position, Replay, TableTarget};
use super::database::verdict::Verdict;
use super::effect::{Effect, Task};
use super::event::{Event, Member};
use super::input::SocketId;
use super::publication::Publication;
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
    /// Someone has proven who they are; from now on things are stored.
    Begin,
    /// A client publishes; the delivery has authorized it.
    Publish { publication: Box<Publication>, keep: bool, origin: Origin },
    /// A publication went out in this many frames.
    Delivered { frames: u64 },
    /// A connection wants to know the position, or what came after one.
    Resume { session: SessionId, from: From, then: Announcement },
    /// A connection appears in a topic; the delivery has authorized it.
    Track(Tracking),
    /// A connection changes its metadata.
    Update { session: SessionId, topic: Option<Topic>, client_id: Rc<str>, metadata: Rc<str> },
    /// A connection disappears from a topic.
    Untrack { session: SessionId, topic: Option<Topic>, client_id: Rc<str>, key: Option<Rc<str>> },
    /// A connection wants to know who is present.
    Roster { session: SessionId, topic: Topic },
    /// Some are told of a presence together with everyone present, or one who hears no more of the topic.
    Gather { topic: Option<Topic>, change: Box<Event>, only: Option<SessionId> },
    /// A connection is gone.
    Gone { client_id: Rc<str> },
}

/// From the stream to the delivery.
pub(super) enum ToDelivery {
    /// A publication is accepted.
    Publish { accepted: Accepted, origin: Option<Origin> },
    /// Where the stream stands, and what a connection has missed.
    Resumed { session: SessionId, position: Position, missed: Option<Missed>, read: Read, then: Announcement },
    /// Everyone present, for one connection.
    Roster { session: SessionId, topic: Option<Topic>, members: Vec<Rc<Member>> },
    /// A connection is now present in a topic, or no longer.
    Present { session: SessionId, topic: Option<Topic>, present: bool },
    /// Someone appeared, changed or disappeared.
    Presence { topic: Option<Topic>, event: Event },
    /// The same with everyone present, for those who are told them each time.
    Gathered { topic: Option<Topic>, event: Event, only: Option<SessionId> },
    /// What a connection asked for is refused.
    Refused { session: SessionId, refusal: Refusal, id: Option<String>, topic: Option<Topic> },
    /// What a connection asked for is done.
    Done { session: SessionId, id: String },
}

/// How a connection appears.
pub(super) struct Tracking {
    pub(super) session: SessionId,
    pub(super) topic: Option<Topic>,
    pub(super) member: Rc<Member>,
    /// Whether its key can be no other user's.
    pub(super) owns_key: bool,
    /// Whether it is told first who is there.
    pub(super) roster: bool,
    /// Asks for an answer with this id.
    pub(super) id: Option<String>,
}

/// A publication that the stream has given its place.
pub(super) struct Accepted {
    pub(super) publication: Rc<Publication>,
    /// The stream's offset after it.
    pub(super) offset: u64,
    /// When, in Unix milliseconds.
    pub(super) time: u64,
    /// Whether the history has it.
    pub(super) is_kept: bool,
    /// Who may see it, where a database has judged that.
    pub(super) verdict: Option<Rc<Verdict>>,
}

/// What a connection wants to see that was published before.
pub(super) enum From {
    /// Nothing.
    Now,
    /// Everything after a position, of the topics too that it listens to.
    Position(Position, Vec<Topic>),
    /// The newest messages of a private topic.
    Topic(Rc<str>, Replay),
}

/// The client that published.
pub(super) struct Origin {
    pub(super) session: SessionId,
    pub(super) acknowledge: Option<String>,
    pub(super) echo: bool,
    /// Whether it asked that the message be kept.
    pub(super) persist: bool,
    /// Under which the publication is remembered, so that it goes out no second time.
    pub(super) key: Option<String>,
}

/// What a connection has missed: everything in order, or too much to tell.
pub(super) enum Missed {
    Everything(Vec<Accepted>),
    TooMuch,
}

/// What was read of the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) rows: u64,
    /// Bytes of their texts.
    pub(super) bytes: u64,
}

/// What a connection is told first, once the stream has said where it stands.
pub(super) enum Announcement {
    /// It is authenticated, and these subscriptions were opened or refused with it.
    /// Who is present in the topics of `watch` comes last.
    Authenticated { with_position: bool, then: Vec<Event>, watch: Vec<Topic> },
    /// This subscription stands.
    Subscribed { id: String, answer: Option<Rc<str>>, to: Missable, watch: Option<Topic> },
    /// This channel is entered.
    Joined { id: String, answer: Rc<str>, live: Event, watch: Option<Topic> },
}

/// What a subscription is to that wants to see what it missed.
pub(super) enum Missable {
    /// Everything that is published to a topic.
    Topic(Topic),
    /// Changes.
    Table(TableTarget),
}

/// What comes out of handling one input.
#[derive(Default)]
pub(super) struct Out {
    pub(super) effects: Vec<Effect>,
    pub(super) to_stream: VecDeque<ToStream>,
    pub(super) to_delivery: VecDeque<ToDelivery>,
    /// Bytes of the publications among the effects that may wait.
    pub(super) batched_bytes: usize,
}

impl Out {
    /// Adds something to do.
    pub(super) fn run(&mut self, task: Task) {
        self.effects.push(Effect::Do(task));
    }
}
