//! The inputs of a tenant.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::census::Census;
use super::command::{Call, DecodedFrame, Recover};
use super::database::batch::Batch;
use super::publication::Publication;
use super::relay::Peer;
use super::table_settings::TableChange;
use crate::policy::principal::Principal;

/// A connection within this life of the object. The caller assigns numbers and may reuse one after the connection has
/// closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketId(pub u32);

/// A dialect variant, for which frames are encoded once. The engine only compares it and looks up its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DialectId(pub u8);

/// One input.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client opens a connection.
    Open(Open),
    /// A connection sent a frame.
    Frame {
        /// The connection's number.
        socket: SocketId,
        /// The decoded frame, or why it is malformed.
        frame: DecodedFrame,
        /// Its length in bytes.
        bytes: usize,
    },
    /// A connection has closed.
    Closed {
        /// The connection's number.
        socket: SocketId,
    },
    /// The API worker publishes.
    Publish {
        /// All are accepted, or none.
        publications: Vec<Publication>,
        /// The stored results of their idempotency keys.
        remembered: BTreeMap<String, Remembered>,
    },
    /// A client publishes over HTTP, after authorization.
    PublishForClient {
        /// The client that is charged.
        publisher: Publisher,
        /// All are accepted, or none.
        publications: Vec<Publication>,
    },
    /// The answer to [`super::effect::Task::ReadHistory`] and [`super::effect::Task::ReadTopic`].
    HistoryRead(HistoryRead),
    /// The answer to [`super::effect::Task::Recall`].
    Recalled(Option<Remembered>),
    /// The answer to [`super::effect::Task::ReadGone`]; `None` when it could not be read.
    GoneRead(Option<Vec<PresenceRow>>),
    /// The answer to [`super::effect::Task::FetchKeys`]; `None` when the fetch failed. Includes the time of the fetch
    /// in Unix milliseconds, because another object may have fetched the keys.
    KeysFetched(Option<(u64, String)>),
    /// The database's object delivers changes.
    Changes(Box<Batch>),
    /// The database's object reports that the change feed has stopped or resumed.
    Feed {
        /// Whether it has stopped.
        is_lost: bool,
        /// The affected tables, if they are named.
        catalog: Option<String>,
    },
    /// The answer to [`super::effect::Question::Interest`].
    InterestAnswered {
        /// The revision of the interest.
        revision: u64,
        /// The answer's text; `None` when there was none.
        catalog: Option<String>,
    },
    /// The answer to [`super::effect::Question::Judge`].
    Judged {
        /// The question's number.
        number: u64,
        /// The answer's text; `None` when there was none.
        verdicts: Option<String>,
    },
    /// This many bytes were sent to a socket since its client was last heard from.
    Unread {
        /// The socket.
        socket: SocketId,
        /// The number of bytes.
        bytes: u64,
    },
    /// The time of a [`super::effect::Task::SetTimer`] has been reached.
    Tick,
    /// The answer to [`super::effect::Question::Authorize`].
    Authorized {
        /// The question's number.
        number: u64,
        /// The answer's text; `None` when there was none.
        grant: Option<String>,
    },
    /// A function has answered, or failed to.
    Called(CallAnswer),
    /// The alarm has fired.
    Alarm,
    /// Another object of the tenant sends a request; answered with [`super::effect::Task::PeerAnswer`].
    PeerAsked {
        /// The request.
        body: String,
    },
    /// The answer to [`super::effect::Task::AskPeer`].
    PeerAnswered {
        /// The object that was asked.
        peer: Peer,
        /// The text of the answer; `None` when there was none.
        answer: Option<String>,
    },
    /// A relay asks to open a socket; answered with [`super::effect::Task::Admitted`].
    Admit {
        /// The ticket of the connection.
        ticket: Option<UsedTicket>,
        /// The verified user, if there is one.
        user: Option<String>,
        /// The relay.
        relay: u32,
    },
    /// Asks which object the next socket goes to; answered with [`super::effect::Task::Placed`].
    Place,
    /// A client opens a connection at a relay.
    OpenAtRelay {
        /// The connection.
        open: Open,
        /// Sockets at other objects.
        census: Census,
    },
    /// A request for the figures.
    Stats,
    /// A request for the channels that have a subscriber.
    Channels,
    /// A request for the list of connections.
    Connections(ConnectionQuery),
    /// A request to read or change table settings; all changes apply, or none.
    Tables(Vec<TableChange>),
}

/// A publisher over HTTP, for budgets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publisher {
    /// The user, if there is one.
    pub user: Option<String>,
    /// A digest of the presented key, if there is no user: many clients may share one key.
    pub key: Option<String>,
    /// The remote address, if known.
    pub address: Option<String>,
}

/// A query for connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionQuery {
    /// The maximum number returned.
    pub limit: u64,
    /// The number to skip.
    pub offset: u64,
    /// Only those whose public id or user contains this.
    pub search: String,
}

/// The answer to [`super::effect::Task::Call`].
#[derive(Clone, Debug)]
pub struct CallAnswer {
    /// The caller.
    pub socket: SocketId,
    /// Its public id.
    pub client_id: Rc<str>,
    /// The event that was called.
    pub call: Call,
    /// Status and body; `None` when the function did not answer in time.
    pub answer: Option<(u16, String)>,
}

/// A connection that is being opened.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its number.
    pub socket: SocketId,
    /// Its public id, random.
    pub client_id: String,
    /// The dialect of its frames.
    pub dialect: DialectId,
    /// The principal, if a ticket or a header has proven it.
    pub principal: Option<Principal>,
    /// The ticket that it presented.
    pub ticket: Option<UsedTicket>,
    /// Whether it wants offsets, if it is already authenticated.
    pub recover: Recover,
    /// Whether one frame may carry several events, if it is already authenticated.
    pub batches: bool,
    /// The remote address, if known.
    pub address: Option<String>,
}

/// A ticket being redeemed.
#[derive(Clone, Debug)]
pub struct UsedTicket {
    /// Its id.
    pub id: String,
    /// When it may be forgotten, in Unix milliseconds.
    pub expires: u64,
    /// Whether it was redeemed before.
    pub spent: bool,
}

/// The stored result of a publication with an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// When it was published, in Unix milliseconds.
    pub time: u64,
    /// The stream's offset after it.
    pub offset: u64,
    /// Frames handed to sockets.
    pub delivered: u64,
}

/// The result of reading the history, and its cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryRead {
    /// `None` when reading failed, or the history no longer reaches back that far.
    pub rows: Option<Vec<StoredPublication>>,
    /// How many rows the storage read to find them.
    pub scanned: u64,
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

/// The contents of a tenant's storage at wake.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The stream's epoch, once it has one.
    pub epoch: Option<String>,
    /// Facts about the database, by name.
    pub facts: BTreeMap<String, String>,
    /// The newest row of the history.
    pub newest: Option<Newest>,
    /// Time of the oldest history row that still has its text, in Unix milliseconds.
    pub oldest: Option<u64>,
    /// The open sockets with their attachments: the number of one, and its attachment followed by those of the next
    /// sockets, one a line.
    pub sockets: Vec<(SocketId, String)>,
    /// States of open sockets that are too large for an attachment, by public id.
    pub states: BTreeMap<String, Vec<StatePart>>,
    /// Presences of sockets that are open.
    pub presence: Vec<PresenceRow>,
    /// Public ids of closed sockets that still have stored state.
    pub gone: Vec<String>,
    /// The key set last fetched by this isolate, and when, in Unix milliseconds.
    pub keys: Option<(u64, String)>,
}

/// A part of the state of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatePart {
    /// Its number; parts are restored in this order.
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
    /// Total bytes of all rows up to it, including those already trimmed.
    pub total_bytes: u64,
}

/// A row of the presence table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceRow {
    /// The connection's public id.
    pub client_id: String,
    /// The topic; `None`: the lobby.
    pub topic: Option<(bool, String)>,
    /// The user, if there is one.
    pub user: Option<String>,
    /// The requested presence key; `None`: its public id.
    pub key: Option<String>,
    /// A JSON object.
    pub metadata: String,
}
