//! What a tenant wants done. Effects are values; the caller runs them in their order.

use std::rc::Rc;

use super::command::Call;
use super::database::interest::Telling;
use super::event::{Address, Event};
use super::input::{DialectId, PresenceRow, Remembered, SocketId};
use super::table_settings::TableState;
use crate::code::{Code, Refusal};
use crate::policy::function::Service;

/// What comes of an input, in the order in which it is to be done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Tell these sockets, which are all of one dialect variant, the same thing.
    Deliver {
        /// Whom.
        to: Vec<SocketId>,
        /// How their frames are written.
        dialect: DialectId,
        /// In which channel; `None` for connections that carry none.
        address: Option<Address>,
        /// What.
        event: Event,
        /// Whether it may wait a little for what comes next, to go out in one frame with it.
        may_wait: bool,
    },
    /// Do something that no dialect has a part in.
    Do(Task),
}

/// One thing to do for whoever runs the tenant.
#[derive(Clone, Debug)]
pub enum Task {
    /// Accept the connection that wants to open.
    Accept {
        /// Which.
        socket: SocketId,
        /// Its public id.
        client_id: Rc<str>,
    },
    /// Turn the connection that wants to open away, before it is one.
    TurnAway(Refusal),
    /// End a connection.
    Close {
        /// Which.
        socket: SocketId,
        /// In whose words; `None` where that cannot be told.
        dialect: Option<DialectId>,
        /// Why.
        code: Code,
    },
    /// Keep this text with the connection over hibernation: at most 16 KiB as V8 serializes it.
    Attach {
        /// Which.
        socket: SocketId,
        /// Its state.
        state: String,
    },
    /// Change the storage.
    Write(Write),
    /// Delete everything that is stored, the alarm included: the object was opened in vain.
    DeleteStorage,
    /// Wake the object at this time, in Unix milliseconds, in place of any other.
    SetAlarm(u64),
    /// Answer with [`super::input::Input::Tick`] at this time, in Unix milliseconds and less than 100 ms away. Memory alone
    /// holds it: what is due then is also done by whatever comes after that time.
    SetTimer(u64),
    /// Fetch `JWKS_URL` and answer with [`super::input::Input::KeysFetched`].
    FetchKeys,
    /// Read the history and answer with [`super::input::Input::HistoryRead`] before anything else happens.
    ReadHistory(HistoryQuery),
    /// Look up an idempotency key and answer with [`super::input::Input::Recalled`] before anything else happens.
    Recall(String),
    /// Read the newest messages of a private topic and answer with [`super::input::Input::HistoryRead`], in their order,
    /// before anything else happens.
    ReadTopic {
        /// The place of the topic in the history.
        place: String,
        /// None kept before this time, in Unix milliseconds.
        since: u64,
        /// Rows at most.
        rows: u64,
    },
    /// Read the presence of sockets that are gone and answer with [`super::input::Input::GoneRead`] before anything else
    /// happens.
    ReadGone {
        /// The public ids of the sockets; those of their channels begin with them.
        client_ids: Vec<String>,
    },
    /// Ask the object of a database, and answer with the question's own input.
    AskDatabase {
        /// The database's name.
        database: Rc<str>,
        /// What.
        question: Question,
    },
    /// Answer the database's object: the batch of this number is taken.
    Taken(Result<u64, Refusal>),
    /// Call a function and answer with [`super::input::Input::Called`].
    Call(Box<Calling>),
    /// Answer the publisher.
    Published(Result<Receipt, Refusal>),
    /// Answer with the figures.
    Figures(Box<Figures>),
    /// Answer an administrator.
    Administered(Result<Administered, Refusal>),
    /// Write one line of log.
    Log(Log),
}

/// What is to be read of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only what comes after this offset, in order. Where the row that follows it is not there any more, nothing is read.
    pub after: u64,
    /// Only what was published there. Rows of earlier builds, which do not say where, are read as well.
    pub selection: Selection,
    /// Rows at most.
    pub rows: u64,
    /// Bytes of their texts at most, but for the row that exceeds them; what is beyond is not read.
    pub bytes: u64,
}

/// Places of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Whether all those of the whole organization are among them: they begin with [`super::ORGANIZATION_PLACES`].
    pub is_whole: bool,
    /// Which others.
    pub places: Vec<String>,
}

/// A question to the object of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Who listens to which tables; answered with [`super::input::Input::InterestAnswered`].
    Interest(Telling),
    /// What a principal may do in a topic; answered with [`super::input::Input::Authorized`].
    Authorize {
        /// Which question it is.
        number: u64,
        /// Role, claims and topic.
        body: String,
    },
    /// Who sees these rows now; answered with [`super::input::Input::Judged`].
    Judge {
        /// Which question it is.
        number: u64,
        /// Rows and groups.
        body: String,
    },
}

/// A function that is to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calling {
    /// Who calls it.
    pub socket: SocketId,
    /// Its public id.
    pub client_id: Rc<str>,
    /// Where it is.
    pub service: Service,
    /// Its path there.
    pub path: String,
    /// The JSON text that is sent.
    pub body: String,
    /// The caller's user, where there is one.
    pub user: Option<String>,
    /// The caller's first role.
    pub role: Option<String>,
    /// What is called.
    pub call: Call,
}

/// A change of the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The stream has begun, or begins anew.
    Epoch(String),
    /// A fact about the database, in place of what was known.
    Fact {
        /// Which.
        name: &'static str,
        /// Its text.
        value: String,
    },
    /// A publication is kept.
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
        /// Where it was published.
        place: String,
        /// Bytes of all rows up to it.
        total_bytes: u64,
    },
    /// Old publications go. The newest row stays, for it holds the offset; over its time, it stays without its text, in
    /// version 0.
    Trim {
        /// Up to this offset.
        offset: u64,
        /// Up to this time.
        time: u64,
        /// Up to this sum of bytes.
        total_bytes: u64,
        /// Rows that are looked at, the oldest first.
        rows: u64,
    },
    /// An idempotency key is remembered, and a few old ones are forgotten.
    Remember {
        /// The key.
        id: String,
        /// What is answered to it.
        answer: Remembered,
        /// Those remembered at or before this time may go.
        forget: u64,
    },
    /// A ticket is used, and a few old ones are forgotten.
    Spend {
        /// Its id.
        id: String,
        /// When it ends.
        expires: u64,
        /// Those that ended at or before this time may go.
        forget: u64,
    },
    /// Someone is present, or present with other metadata.
    Track(PresenceRow),
    /// Someone is present no more.
    Untrack {
        /// The connection's public id.
        client_id: Rc<str>,
        /// The topic; `None`: the lobby.
        topic: Option<(bool, Rc<str>)>,
    },
    /// Whatever is stored of sockets that are gone goes.
    Forget {
        /// The public ids of the sockets; those of their channels begin with them.
        client_ids: Vec<String>,
    },
    /// A part of the state of a connection that is too large for its attachment, in place of what it was.
    State {
        /// The connection's public id.
        client_id: Rc<str>,
        /// Which part.
        part: u32,
        /// Its text.
        text: String,
    },
    /// A connection's state has no such part any more.
    DropStatePart {
        /// The connection's public id.
        client_id: Rc<str>,
        /// Which part.
        part: u32,
    },
    /// Nothing of a connection's state is in rows any more.
    DropState {
        /// The connection's public id.
        client_id: Rc<str>,
    },
}

/// The answer to a publisher (docs/protocol-native.md, Publishing).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Events of the request.
    pub accepted: u64,
    /// Whether every one of them had been published before.
    pub duplicate: bool,
    /// The stream's epoch.
    pub epoch: Rc<str>,
    /// The stream's offset after the last event.
    pub offset: u64,
    /// Frames handed to sockets.
    pub delivered: u64,
}

/// What an administrator is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Administered {
    /// Who is connected.
    Connections(Connections),
    /// How the tables are set.
    Tables(Vec<TableState>),
}

/// Some of a tenant's connections, in the order in which they were opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// How many there are that were searched for.
    pub total: u64,
    /// The part that was asked for.
    pub list: Vec<Connection>,
}

/// A connection, as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its public id.
    pub id: Rc<str>,
    /// Its user.
    pub user: Option<String>,
    /// When it was opened, in Unix milliseconds.
    pub opened: u64,
}

/// Figures of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Connections, authenticated or not.
    pub connections: u64,
    /// Of these, not authenticated yet.
    pub pending: u64,
    /// Connections by dialect variant.
    pub by_dialect: Vec<(DialectId, u64)>,
    /// Connections by role; one with several roles counts for each.
    pub by_role: Vec<(String, u64)>,
    /// Topics with at least one subscriber.
    pub topics: u64,
    /// Tables with at least one subscriber.
    pub tables: u64,
    /// Members present, over all topics.
    pub presence: u64,
    /// The stream's epoch.
    pub epoch: String,
    /// The stream's offset.
    pub offset: u64,
    /// Publications accepted since the object came to life.
    pub publications: u64,
    /// Frames of publications handed to sockets since the object came to life.
    pub deliveries: u64,
    /// Connections that were closed since the object came to life because they did not read what they were sent.
    pub too_slow: u64,
    /// When the object came to life, in Unix milliseconds.
    pub since: u64,
    /// What there is to say of the database, where there is one.
    pub database: Option<DatabaseFigures>,
}

/// Figures of the database's part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseFigures {
    /// The database.
    pub name: String,
    /// Whether its changes come in.
    pub is_live: bool,
    /// Groups of principals for which it judges.
    pub groups: u64,
    /// Times a group was denied because nobody had judged for it, since the object came to life.
    pub unjudged: u64,
    /// Times the database could not judge for a group since then.
    pub failed: u64,
    /// Changes that could not be told since then.
    pub lost: u64,
    /// Enabled tables without row-level security: each of their rows goes to every subscriber.
    pub without_row_security: Vec<String>,
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
    /// More, by name; fixed words and numbers only.
    pub details: Vec<(&'static str, String)>,
}
