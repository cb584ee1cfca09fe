//! What a client is told, before any dialect gives it bytes.

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

/// Bytes of the digest by which a message is called.
const ID_DIGEST: usize = 16;

/// One thing to tell.
#[derive(Clone, Debug)]
pub enum Event {
    /// A row change, as its recipients see it.
    Change {
        /// The table's schema.
        schema: Rc<str>,
        /// The table.
        table: Rc<str>,
        /// What they see of it.
        view: Rc<View>,
        /// The topic it was published to.
        topic: Option<Topic>,
        /// The stream's offset after it, for those who recover.
        offset: Option<u64>,
        /// The subscriptions that let it through, for those whose frames name them.
        bindings: Option<Rc<Bindings>>,
        /// What is written of it alike in channels of every name.
        shared: SharedText,
    },
    /// A message, as its recipients see it.
    Message {
        /// Its name.
        event: Rc<str>,
        /// What it carries, masked.
        payload: Payload,
        /// The object that a client said it in, for those who speak its dialect; `None` where it can be made up again.
        whole: Option<Rc<str>>,
        /// The topic it was published to.
        topic: Option<Topic>,
        /// The stream's offset after it, for those who recover.
        offset: Option<u64>,
        /// The name under which it is kept, for those whose frames say so.
        kept: Option<Rc<Kept>>,
        /// Whether it goes to the one who said it, in dialects whose frames tell.
        is_own: bool,
        /// What is written of it alike in channels of every name.
        shared: SharedText,
    },
    /// The connection is authenticated.
    Authenticated(Authenticated),
    /// It is not, and ends.
    AuthFailed(Code),
    /// The token has expired; a fresh one keeps the connection.
    AuthExpired,
    /// A subscription stands.
    Subscribed {
        /// The client's name for it.
        id: String,
        /// As the subscription gave it.
        answer: Option<Rc<str>>,
        /// Whether everything missed was replayed, where that was asked for.
        recovered: Option<bool>,
    },
    /// A subscription has ended.
    Unsubscribed {
        /// The client's name for it; empty where it named several by none.
        id: String,
    },
    /// A subscription stands, to which nothing will come for now.
    Warned {
        /// The client's name for it.
        id: String,
        /// Why.
        warning: TableWarning,
        /// The tenant.
        organization: Rc<str>,
    },
    /// A message was published.
    Acknowledged {
        /// The client's name for it.
        id: String,
        /// The name under which it is kept, for a client that asked for that.
        kept: Option<Rc<Kept>>,
    },
    /// Something was refused; the connection goes on.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The client's name for what was refused.
        id: Option<String>,
        /// The topic that it was about.
        topic: Option<Topic>,
    },
    /// Who was present before.
    PresenceState {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// All members.
        members: Vec<Rc<Member>>,
    },
    /// A member appeared.
    PresenceJoined {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// Who.
        member: Rc<Member>,
    },
    /// A member changed its metadata.
    PresenceUpdated {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// Who.
        member: Rc<Member>,
        /// What the member said before.
        before: Rc<Member>,
    },
    /// A member is gone.
    PresenceLeft {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// Who.
        member: Rc<Member>,
    },
    /// A function has answered.
    Called(Called),
    /// The server is there.
    Heartbeat {
        /// When, in Unix milliseconds.
        time: u64,
    },
    /// Who is present after a member appeared, changed or disappeared, for dialects whose frames say that each time.
    Roster {
        /// What happened.
        change: Box<Event>,
        /// All members.
        members: Vec<Rc<Member>>,
    },
    /// Members appeared, changed or are gone within a short time.
    PresenceChanged {
        /// `None`: the lobby.
        topic: Option<Topic>,
        /// What happened to each.
        changes: Rc<[Event]>,
    },
    /// Several events, in their order.
    Batch(Rc<[Event]>),
    /// The answer to a ping.
    Pong {
        /// The client's name for it.
        id: Option<String>,
    },
    /// Whoever reads this is to say something.
    Ping,
    /// The channel is entered.
    Joined {
        /// The client's name for the join.
        id: String,
        /// As the join gave it.
        answer: Rc<str>,
    },
    /// The channel is not entered.
    NotJoined {
        /// The client's name for the join.
        id: String,
        /// Why.
        refusal: Refusal,
    },
    /// The channel's subscriptions are live, or cannot be.
    Live {
        /// Those to tables, where there are any.
        tables: Option<Result<(), Refusal>>,
        /// Whether the client asked to be told of messages too.
        announce: bool,
    },
    /// The changes of the database, of which some are subscribed to, have stopped for a while, or go on with none missing.
    Feed {
        /// Whether they go on.
        is_live: bool,
    },
    /// The channel is left as its client asked, or entered anew.
    Left {
        /// The client's name for its leaving.
        id: Option<String>,
    },
    /// The channel has ended though its client did not ask for it.
    Ended(Refusal),
}

/// Why nothing will come to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableWarning {
    /// The table is not enabled.
    NotEnabled,
    /// No rule says who may see its rows.
    NoPolicy,
}

/// What a function answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// The event's name.
    pub event: Rc<str>,
    /// The client's name for the call, as JSON text.
    pub id: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// Its body.
    pub body: Rc<str>,
}

/// The channel that an event is told in, for connections that carry several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Its name as the client writes it.
    pub name: Rc<str>,
    /// The join it belongs to; `None` where several are told the same.
    pub reference: Option<Rc<str>>,
}

/// What a frame says of a change beyond the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bindings {
    /// The numbers of the subscriptions that let it through.
    pub numbers: Vec<u32>,
    /// Database types of columns, where publisher or configuration know them.
    pub types: BTreeMap<String, String>,
    /// When it was committed where that is known, else accepted, in Unix milliseconds.
    pub time: u64,
    /// What a database says of it.
    pub database: Option<Rc<FromDatabase>>,
}

/// What a frame says of a message that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The same for each time that the message is told.
    pub id: String,
    /// Whether it is told once more.
    pub replayed: bool,
}

impl Event {
    /// Whose presence it is about, where it is about one.
    pub fn member(&self) -> Option<&Rc<Member>> {
        match self {
            Event::PresenceJoined { member, .. }
            | Event::PresenceUpdated { member, .. }
            | Event::PresenceLeft { member, .. } => Some(member),
            _ => None,
        }
    }
}

impl Kept {
    /// What the message is called towards clients: a digest of the publisher's idempotency key, which may say what is
    /// none of their business, or the offset where there is no key.
    pub fn id_of(key: Option<&str>, offset: u64) -> String {
        let Some(key) = key else { return offset.to_string() };
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        digest.iter().take(ID_DIGEST).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Who a connection is, and where the stream stands.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The tenant.
    pub organization: Rc<str>,
    /// Who it is.
    pub principal: Rc<Principal>,
    /// Where the stream stands, for those who recover.
    pub position: Option<Position>,
    /// Whether everything missed follows, for those who asked for it.
    pub recovered: Option<bool>,
    /// Whether it was authenticated before, and goes on with a fresh token.
    pub is_renewal: bool,
}

/// What one class of recipients sees of a change: projected and masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// What it is for them: an update may make a row appear or disappear.
    pub operation: Operation,
    /// The row after it.
    pub new: Option<Row>,
    /// The row before it.
    pub old: Option<Row>,
}

/// Someone present in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The connection's public id.
    pub client_id: Rc<str>,
    /// The user, where there is one.
    pub user: Option<Rc<str>>,
    /// The key under which it wants to be listed; `None`: its public id.
    pub key: Option<Rc<str>>,
    /// A JSON object.
    pub metadata: Rc<str>,
}

impl Member {
    /// The key under which it is listed.
    pub fn listed_as(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.client_id)
    }
}
