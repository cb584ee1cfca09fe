//! The effects of a tenant. Effects are values; the caller executes them in order.

use std::rc::Rc;

use super::census::Census;
use super::command::Call;
use super::database::interest::InterestReport;
use super::distinct::Distinct;
use super::event::{Address, Event};
use super::figures::Figures;
use super::input::{DialectId, PresenceRow, Remembered, SocketId};
use super::relay::Peer;
use super::table_settings::TableState;
use crate::code::{Code, Refusal};
use crate::policy::function::Service;

/// The effects of an input, in the order of execution.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send the same event to these sockets, which share one dialect variant.
    Deliver {
        /// The sockets.
        to: Vec<SocketId>,
        /// The dialect that encodes the frames.
        dialect: DialectId,
        /// The channel; `None` for connections without channels.
        address: Option<Address>,
        /// The event.
        event: Event,
        /// Whether it may wait briefly, to share a frame with later events.
        may_wait: bool,
    },
    /// A task that involves no dialect.
    Do(Task),
}

/// One task for the runtime that hosts the tenant.
#[derive(Clone, Debug)]
pub enum Task {
    /// Accept the connection that is being opened.
    Accept {
        /// Its number.
        socket: SocketId,
        /// Its public id.
        client_id: Rc<str>,
    },
    /// Reject the connection at its handshake.
    Reject(Refusal),
    /// Close a connection.
    Close {
        /// Its number.
        socket: SocketId,
        /// The dialect that words the reason; `None` if it is unknown.
        dialect: Option<DialectId>,
        /// The reason.
        code: Code,
    },
    /// Store this text with the connection across hibernation: at most 16 KiB as V8 serializes it.
    Attach {
        /// Its number.
        socket: SocketId,
        /// Its state.
        state: String,
    },
    /// Change the storage.
    Write(Write),
    /// Delete all storage, including the alarm: the object has nothing worth keeping.
    DeleteStorage,
    /// Set the alarm to this time, in Unix milliseconds; it replaces any other.
    SetAlarm(u64),
    /// Answer with [`super::input::Input::Tick`] at this time, in Unix milliseconds and less than 100 ms away. It is
    /// held in memory only: the next input after that time does the same work.
    SetTimer(u64),
    /// Fetch `JWKS_URL` and answer with [`super::input::Input::KeysFetched`].
    FetchKeys,
    /// Read the history and answer with [`super::input::Input::HistoryRead`] before anything else happens.
    ReadHistory(HistoryQuery),
    /// Look up an idempotency key and answer with [`super::input::Input::Recalled`] before any other input.
    Recall(String),
    /// Read the newest messages of a private topic and answer with [`super::input::Input::HistoryRead`], in order,
    /// before any other input.
    ReadTopic {
        /// The place of the topic in the history.
        place: String,
        /// Only messages stored at or after this time, in Unix milliseconds.
        since: u64,
        /// Maximum number of rows.
        rows: u64,
    },
    /// Read the presence of closed sockets and answer with [`super::input::Input::GoneRead`] before any other input.
    ReadGone {
        /// The public ids of the sockets; those of their channels begin with them.
        client_ids: Vec<String>,
    },
    /// Ask a database's object; the answer is the question's own input.
    AskDatabase {
        /// The database's name.
        database: Rc<str>,
        /// The question.
        question: Question,
    },
    /// Acknowledge this batch to the database's object.
    Taken(Result<u64, Refusal>),
    /// Call a function and answer with [`super::input::Input::Called`].
    Call(Box<Calling>),
    /// Answer the publisher.
    Published(Result<Receipt, Refusal>),
    /// Answer with the figures.
    Figures(Box<Figures>),
    /// Answer an administrator.
    Administered(Result<Administered, Refusal>),
    /// Ask another object of the tenant, and answer with [`super::input::Input::PeerAnswered`].
    AskPeer {
        /// Which one.
        peer: Peer,
        /// The request.
        body: String,
    },
    /// Answer another object of the tenant; `None` if this build does not understand the request.
    PeerAnswer(Option<String>),
    /// Answer a relay that wants to open a socket.
    Admitted(Admitted),
    /// Name the object for the next socket: 0 for this one, otherwise the number of a relay.
    Placed(u32),
    /// Write one line of log.
    Log(Log),
}

/// The part of the history to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only rows after this offset, in order. If the next row has been trimmed, nothing is read.
    pub after: u64,
    /// Only rows of these places. Rows of earlier builds, which name no place, are read as well.
    pub selection: Selection,
    /// Maximum number of rows.
    pub rows: u64,
    /// Maximum bytes of text; the row that exceeds them is read, later ones are not.
    pub bytes: u64,
}

/// Places of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Whether all places of the whole organization are included: they begin with [`super::ORGANIZATION_PLACES`].
    pub is_whole: bool,
    /// The other places.
    pub places: Vec<String>,
    /// Whether it is every place there is.
    pub is_all: bool,
}

/// A question to the object of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Who listens to which tables; answered with [`super::input::Input::InterestAnswered`].
    Interest(InterestReport),
    /// What a principal may do in a topic; answered with [`super::input::Input::Authorized`].
    Authorize {
        /// The question's number.
        number: u64,
        /// Role, claims and topic.
        body: String,
    },
    /// Which groups see these rows now; answered with [`super::input::Input::Judged`].
    Judge {
        /// The question's number.
        number: u64,
        /// Rows and groups.
        body: String,
    },
}

/// A function call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calling {
    /// The caller.
    pub socket: SocketId,
    /// Its public id.
    pub client_id: Rc<str>,
    /// The service that hosts the function.
    pub service: Service,
    /// The function's path.
    pub path: String,
    /// The JSON text that is sent.
    pub body: String,
    /// The caller's user, if there is one.
    pub user: Option<String>,
    /// The caller's first role.
    pub role: Option<String>,
    /// The event.
    pub call: Call,
    /// When the call has failed, unless the function has answered; in Unix milliseconds.
    pub deadline: u64,
}

/// A change to storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A new stream starts.
    Epoch(String),
    /// Replace a fact about the database.
    Fact {
        /// Its name.
        name: &'static str,
        /// Its text.
        value: String,
    },
    /// A publication is retained.
    Append {
        /// Its offset.
        offset: u64,
        /// Its time, in Unix milliseconds.
        time: u64,
        /// The version of its text.
        version: u64,
        /// Its text.
        text: Rc<str>,
        /// The private topic of a message.
        topic: Option<Rc<str>>,
        /// Its place.
        place: String,
        /// Total bytes of all rows up to it.
        total_bytes: u64,
    },
    /// Trim old publications. The newest row always remains, because it holds the offset; past its retention it remains
    /// without its text, in version 0.
    Trim {
        /// Up to this offset.
        offset: u64,
        /// Up to this time.
        time: u64,
        /// Up to this total of bytes.
        total_bytes: u64,
        /// Rows to examine, the oldest first.
        rows: u64,
    },
    /// Remember an idempotency key, and forget some expired ones.
    Remember {
        /// The key.
        id: String,
        /// The answer to its repetition.
        answer: Remembered,
        /// Keys remembered at or before this time may be deleted.
        forget: u64,
    },
    /// Mark a ticket as redeemed, and forget some expired ones.
    Spend {
        /// Its id.
        id: String,
        /// When it expires.
        expires: u64,
        /// Tickets that expired at or before this time may be deleted.
        forget: u64,
    },
    /// A presence, new or with other metadata.
    Track(PresenceRow),
    /// A presence has ended.
    Untrack {
        /// The connection's public id.
        client_id: Rc<str>,
        /// The topic; `None`: the lobby.
        topic: Option<(bool, Rc<str>)>,
    },
    /// Replace what is stored about a relay.
    Relay {
        /// Its number.
        number: u32,
        /// Its text; `None`: delete it.
        state: Option<String>,
    },
    /// Replace the stored database listeners at a relay.
    Listeners {
        /// The relay's number.
        relay: u32,
        /// Their texts; empty if there are no listeners, and what they were answered is deleted too.
        parts: Vec<String>,
    },
    /// Replace what is stored about the answer to these listeners.
    ListenersState {
        /// The relay's number.
        relay: u32,
        /// Its text.
        state: String,
    },
    /// Delete everything stored for closed sockets.
    Forget {
        /// The public ids of the sockets; those of their channels begin with them.
        client_ids: Vec<String>,
    },
    /// A part of the state of a connection that is too large for its attachment; replaces what was stored.
    State {
        /// The connection's public id.
        client_id: Rc<str>,
        /// Which part.
        part: u32,
        /// Its text.
        text: String,
    },
    /// A part of a connection's state no longer exists.
    DropStatePart {
        /// The connection's public id.
        client_id: Rc<str>,
        /// Which part.
        part: u32,
    },
    /// A connection's state no longer needs rows.
    DropState {
        /// The connection's public id.
        client_id: Rc<str>,
    },
}

/// What a relay needs to know before it opens a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Whether its ticket was used before.
    pub is_spent: bool,
    /// Sockets at other objects, with those of its user.
    pub census: Census,
}

/// The answer to a publisher (docs/protocol-native.md, Publishing).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Events of the request.
    pub accepted: u64,
    /// Whether all of them were repetitions.
    pub duplicate: bool,
    /// The stream's epoch.
    pub epoch: Rc<str>,
    /// The stream's offset after the last event.
    pub offset: u64,
    /// Frames handed to sockets.
    pub delivered: u64,
    /// Whether relays may deliver more frames, which the answer does not wait for.
    pub is_at_least: bool,
}

/// An answer to an administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Administered {
    /// The connections found.
    Connections(Connections),
    /// The table settings.
    Tables(Vec<TableState>),
    /// The channels that have a subscriber.
    Channels(Distinct),
}

/// A page of a tenant's connections, in the order of opening.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// The number of connections that match the search.
    pub total: u64,
    /// The requested page.
    pub list: Vec<Connection>,
    /// The relays, which have further connections.
    pub relays: Vec<u32>,
}

/// A connection as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its public id.
    pub id: Rc<str>,
    /// Its user.
    pub user: Option<String>,
    /// When it was opened, in Unix milliseconds.
    pub opened: u64,
}

/// One line of log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// What happened.
    pub event: &'static str,
    /// The connection's public id.
    pub connection: Option<Rc<str>>,
    /// The code of a refusal.
    pub code: Option<Code>,
    /// Details by name; fixed strings and numbers only.
    pub details: Vec<(&'static str, String)>,
}
