//! What can happen to a tenant.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::command::{Call, Command, Malformed, Recover};
use super::database::batch::Batch;
use super::publication::Publication;
use super::table_settings::TableChange;
use crate::policy::principal::Principal;

/// A connection in this life of the object. The caller gives the numbers and may use one again after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketId(pub u32);

/// A dialect and its variant, for which frames are encoded once. The engine compares it, looks up its profile, and knows
/// no more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DialectId(pub u8);

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Someone wants to connect.
    Open(Open),
    /// A connection sent a frame.
    Frame {
        /// Which.
        socket: SocketId,
        /// What it says, or why it says nothing.
        frame: Result<Command, Malformed>,
        /// How many bytes it was long.
        bytes: usize,
    },
    /// A connection is gone.
    Closed {
        /// Which.
        socket: SocketId,
    },
    /// The API worker publishes.
    Publish {
        /// All accepted or none.
        publications: Vec<Publication>,
        /// What is remembered of their idempotency keys, by key.
        remembered: BTreeMap<String, Remembered>,
    },
    /// A client publishes over HTTP what it was found to be allowed to.
    PublishForClient {
        /// Who pays for it.
        publisher: Publisher,
        /// All accepted or none.
        publications: Vec<Publication>,
    },
    /// The answer to [`super::effect::Task::ReadHistory`]; `None` when it could not be read, or the history does not reach
    /// back so far any more.
    HistoryRead(Option<Vec<StoredPublication>>),
    /// The answer to [`super::effect::Task::Recall`].
    Recalled(Option<Remembered>),
    /// The answer to [`super::effect::Task::ReadGone`]; `None` when it could not be read.
    GoneRead(Option<Vec<PresenceRow>>),
    /// The answer to [`super::effect::Task::FetchKeys`]; `None` when there was none.
    /// With the time of the fetch, in Unix milliseconds, which may have been for others.
    KeysFetched(Option<(u64, String)>),
    /// The database's object hands over changes.
    Changes(Box<Batch>),
    /// The database's object says that the feed of changes has stopped, or goes on.
    Feed {
        /// Whether it has stopped.
        is_lost: bool,
        /// The tables, where it says them.
        catalog: Option<String>,
    },
    /// The answer to [`super::effect::Question::Interest`].
    InterestAnswered {
        /// The revision that was told.
        revision: u64,
        /// The text of the answer; `None` when there was none.
        catalog: Option<String>,
    },
    /// The answer to [`super::effect::Question::Judge`].
    Judged {
        /// Which question it is.
        number: u64,
        /// The text of the answer; `None` when there was none.
        verdicts: Option<String>,
    },
    /// A socket was sent this many bytes since it was last heard.
    Unread {
        /// Which.
        socket: SocketId,
        /// How many.
        bytes: u64,
    },
    /// The time of a [`super::effect::Task::SetTimer`] has come.
    Tick,
    /// The answer to [`super::effect::Question::Authorize`].
    Authorized {
        /// Which question it is.
        number: u64,
        /// The text of the answer; `None` when there was none.
        grant: Option<String>,
    },
    /// A function has answered, or has not.
    Called(CallAnswer),
    /// The alarm that was set has come.
    Alarm,
    /// Someone wants the figures.
    Stats,
    /// Someone wants to know who is connected.
    Connections(ConnectionQuery),
    /// Someone wants to know how the tables are set, or to set some: all or none.
    Tables(Vec<TableChange>),
}

/// Who publishes over HTTP, as far as budgets are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publisher {
    /// The user, where there is one.
    pub user: Option<String>,
    /// A digest of the key that was presented, where there is no user: everyone may have the same one.
    pub key: Option<String>,
    /// The address that it comes from, where that is known.
    pub address: Option<String>,
}

/// Which connections are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionQuery {
    /// At most so many.
    pub limit: u64,
    /// Without so many before.
    pub offset: u64,
    /// Only those whose public id or user contains this.
    pub search: String,
}

/// The answer to [`super::effect::Task::Call`].
#[derive(Clone, Debug)]
pub struct CallAnswer {
    /// Who called.
    pub socket: SocketId,
    /// Its public id.
    pub client_id: Rc<str>,
    /// What was called.
    pub call: Call,
    /// Status and body; `None` when there was none in time.
    pub answer: Option<(u16, String)>,
}

/// A connection that begins.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its number.
    pub socket: SocketId,
    /// Its public id, random.
    pub client_id: String,
    /// How its frames are written.
    pub dialect: DialectId,
    /// Who it is, where ticket or header have proven it.
    pub principal: Option<Principal>,
    /// The ticket it came with.
    pub ticket: Option<UsedTicket>,
    /// Whether it wants offsets, where it is authenticated already.
    pub recover: Recover,
    /// Whether several events may come in one frame, where it is authenticated already.
    pub batches: bool,
    /// The address that it comes from, where that is known.
    pub address: Option<String>,
}

/// A ticket that is being used.
#[derive(Clone, Debug)]
pub struct UsedTicket {
    /// Its id.
    pub id: String,
    /// When it may be forgotten, in Unix milliseconds.
    pub expires: u64,
    /// Whether it was used before.
    pub spent: bool,
}

/// What is remembered of a publication with an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// When it was published, in Unix milliseconds.
    pub time: u64,
    /// The stream's offset after it.
    pub offset: u64,
    /// Frames handed to sockets.
    pub delivered: u64,
}

/// A row of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPublication {
    /// Its offset.
    pub offset: u64,
    /// When it was accepted, in Unix milliseconds.
    pub time: u64,
    /// The version of its text.
    pub version: u64,
    /// Its text.
    pub text: String,
}

/// What a tenant's storage holds when the object comes to life.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The stream's epoch, once it has one.
    pub epoch: Option<String>,
    /// What was stored of the database, by name.
    pub facts: BTreeMap<String, String>,
    /// The newest row of the history.
    pub newest: Option<Newest>,
    /// Time of the oldest row of the history that has its text, in Unix milliseconds.
    pub oldest: Option<u64>,
    /// The open sockets with their attachments.
    pub sockets: Vec<(SocketId, String)>,
    /// States of open sockets that are too large for an attachment, by public id.
    pub states: BTreeMap<String, Vec<StatePart>>,
    /// Everyone who was present on a socket that is open.
    pub presence: Vec<PresenceRow>,
    /// The public ids of sockets that are gone and of which something is stored.
    pub gone: Vec<String>,
    /// The key set as somebody last fetched it whose memory still lives, and when, in Unix milliseconds.
    pub keys: Option<(u64, String)>,
}

/// A part of the state of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatePart {
    /// Its number among the parts of the connection, in whose order they are handed over.
    pub number: u32,
    /// Its text.
    pub text: String,
}

/// The newest row of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Its offset.
    pub offset: u64,
    /// Its time, in Unix milliseconds.
    pub time: u64,
    /// Bytes of all rows up to it, those already trimmed included.
    pub total_bytes: u64,
}

/// A row of the presence table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceRow {
    /// The connection's public id.
    pub client_id: String,
    /// The topic; `None`: the lobby.
    pub topic: Option<(bool, String)>,
    /// The user, where there is one.
    pub user: Option<String>,
    /// The key under which it wants to be listed; `None`: its public id.
    pub key: Option<String>,
    /// A JSON object.
    pub metadata: String,
}
