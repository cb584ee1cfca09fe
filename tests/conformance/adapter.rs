//! The adapter, and the terms that the script and every adapter share: what a member does, what it observes, and where
//! dialects differ.

use realtime_worker::code::Code;
use realtime_worker::dialect::{self, Frame};
use realtime_worker::engine::event::Event;
use realtime_worker::engine::input::DialectId;
use realtime_worker::engine::profile::{
    Duplicate, Expiry, LostTable, PresenceFrames, Refusals, Renewal, RosterOnTracking, Sessions,
};
use serde_json::Value;

/// A dialect as the script uses it.
#[derive(Clone, Copy)]
pub struct Dialect {
    pub name: &'static str,
    pub dialect: DialectId,
    /// The folder of its golden frames, below `tests/dialects/`.
    pub golden: &'static str,
    /// The role of the key with which a connection is opened; `None`: it is opened without a credential, and its first
    /// frame authenticates.
    pub key: Option<&'static str>,
    /// Which of its frames carry bytes.
    pub bytes: Bytes,
    /// Which request recovers everything that it missed.
    pub recovery: Recovery,
    /// Whether a filter may be more than equality, and a subscription be for one operation, another schema or all
    /// tables.
    pub narrows: bool,
    /// The behaviours that it cannot express. The script computes them; this is the expected result.
    pub leaves_out: &'static [&'static str],
    /// The adapter of one member, who has this name.
    pub adapter: fn(user: &str) -> Box<dyn Adapter>,
}

/// Which frames of a client carry bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    None,
    Heard,
    HeardAndSpoken,
}

/// Which request recovers what a client missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    WithConnection,
    WithEachSubscription,
}

impl Dialect {
    /// Whether the dialect's clients have a capability, according to the profile that the engine uses.
    pub fn can(&self, can: Can) -> bool {
        let profile = dialect::profile(self.dialect).expect("a dialect of the script is one of the product");
        let has_channels = profile.sessions == Sessions::Many;
        match can {
            Can::HearUnasked => profile.receives_by_default,
            Can::HearForEach => profile.names_subscriptions,
            Can::SpeakBytes => self.bytes == Bytes::HeardAndSpoken,
            Can::HearBytes => self.bytes != Bytes::None,
            Can::Replace => profile.duplicate == Duplicate::Replaces,
            Can::HearEveryRefusal => profile.refusals == Refusals::Errors,
            Can::HearRosterOnAppearing => {
                profile.roster_on_tracking != RosterOnTracking::Never
                    || profile.presence_frames == PresenceFrames::Roster
            }
            Can::HearRenewal | Can::SurviveBadToken => profile.renewal.is_answered(),
            Can::BecomeAnother => profile.renewal != Renewal::Answered,
            Can::BeginAnonymously => profile.renewal == Renewal::AnsweredForAnyone,
            Can::RecoverOneByOne => self.recovery == Recovery::WithEachSubscription,
            Can::HearMessages => profile.receives_messages,
            Can::HearOneself => profile.sees_own_presence,
            Can::HearRemoval => profile.removes_unmatched,
            Can::Narrow => self.narrows,
            Can::OutliveToken => profile.expiry == Expiry::Grace,
            Can::Rest => profile.lost_table == LostTable::Dormant,
            Can::HearPong => has_channels || self.has_words(&Event::Pong { id: None }),
            Can::EnterLobby => self.has_words(&Event::PresenceState { topic: None, members: Vec::new() }),
            // Events outside of any channel, which concern the socket.
            Can::SpeakFromOutside | Can::StayWithoutSubscription | Can::LoseConnection | Can::RecoverEverything => {
                !has_channels
            }
            Can::EnterPartly => has_channels,
        }
    }

    fn has_words(&self, event: &Event) -> bool {
        dialect::of(self.dialect).is_some_and(|dialect| !dialect.encode(None, event).is_empty())
    }
}

/// One member's client: it keeps the state that a client of its dialect keeps.
pub trait Adapter {
    /// The frames for an action.
    fn write(&mut self, ask: &Ask<'_>) -> Vec<Frame>;

    /// The observations in a frame of the server. A frame that is not of the dialect fails the test.
    fn read(&mut self, frame: &Frame) -> Vec<Observation>;

    /// Why the server has closed the connection: the code's name, unless the dialect has its own reasons.
    fn closed(&self, _number: u16, reason: &str) -> Code {
        code(reason)
    }
}

/// Where dialects differ; the script states the consequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Can {
    /// It has frames for messages, and public topics.
    HearMessages,
    /// It receives its own presence.
    HearOneself,
    /// An update that moves a row out of a filter is sent as its deletion.
    HearRemoval,
    /// Filters with any operator, subscriptions to one operation, to other schemas and to all tables.
    Narrow,
    /// Without a table subscription, it receives every change and every message to the whole organization.
    HearUnasked,
    /// A change that matches several subscriptions is sent once for each of them; otherwise once.
    HearForEach,
    /// It publishes to topics that it is not subscribed to.
    SpeakFromOutside,
    /// It has frames that carry bytes from a client.
    SpeakBytes,
    /// It has frames that carry bytes to a client.
    HearBytes,
    /// A subscription with an existing name replaces that one.
    Replace,
    /// A refusal is reported even if no acknowledgement was requested.
    HearEveryRefusal,
    /// Presence in the lobby of the organization.
    EnterLobby,
    /// A ping is answered.
    HearPong,
    /// Its connection exists before its first token, unauthenticated; an invalid first token changes nothing.
    BeginAnonymously,
    /// Missed events are requested with each subscription; otherwise with the connection.
    RecoverOneByOne,
    /// A client that becomes present receives the previous roster; otherwise an acknowledgement.
    HearRosterOnAppearing,
    /// A subscription with presence is accepted even if only the messages or only the members are allowed; otherwise it
    /// is refused.
    EnterPartly,
    /// Presence survives the end of the subscription to its topic.
    StayWithoutSubscription,
    /// A fresh token is acknowledged.
    HearRenewal,
    /// A fresh token may name another user.
    BecomeAnother,
    /// An invalid fresh token is refused, and everything remains; otherwise what it was for ends.
    SurviveBadToken,
    /// After its token has expired, a connection has a grace period to renew; otherwise its subscriptions end at once.
    OutliveToken,
    /// A connection needs its token to exist at all; otherwise each subscription does.
    LoseConnection,
    /// A table subscription whose right is lost rests until the right is back; otherwise it ends.
    Rest,
    /// After a disconnect, everything missed is replayed; otherwise only what private topics retained.
    RecoverEverything,
}

/// An action of a member.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// Its connection is open. `since`: it existed before, and everything missed after this time is requested.
    Enter {
        token: &'a str,
        since: Option<u64>,
    },
    /// Continues with a fresh token.
    Renew {
        token: &'a str,
    },
    Subscribe(&'a Subscription),
    Unsubscribe(&'a str),
    /// Publishes to a topic.
    Say {
        topic: Topic,
        event: &'a str,
        payload: &'a Payload,
    },
    /// Becomes present in a topic, or in the lobby.
    Appear {
        topic: Option<Topic>,
        metadata: &'a Value,
    },
    /// Changes its metadata.
    Change {
        topic: Option<Topic>,
        metadata: &'a Value,
    },
    Disappear {
        topic: Option<Topic>,
    },
    Ping,
}

/// A subscription, by the member's own name for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    pub name: &'static str,
    pub target: Target,
    /// The time from which the topic's messages are requested.
    pub since: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Tables(Vec<Table>),
    Topic {
        topic: Topic,
        /// Whether it receives presence.
        watch: bool,
        /// Whether it receives its own messages.
        echo: bool,
        /// Whether it requests acknowledgements.
        acknowledge: bool,
    },
}

/// Some changes of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Table {
    pub schema: &'static str,
    pub table: &'static str,
    pub event: &'static str,
    pub filter: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: &'static str,
    pub private: bool,
}

/// The payload of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    Json(Value),
    Bytes(Vec<u8>),
}

/// An observation of a member. Members are named by their user.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    Subscribed(String),
    Unsubscribed(String),
    /// The server ended a subscription.
    Ended(String, Code),
    /// A subscription receives nothing for now.
    Rests(String, Code),
    /// It receives again.
    Resumed(String),
    Change {
        /// With its schema: `public.people`.
        table: String,
        operation: String,
        new: Value,
        old: Value,
    },
    Message {
        /// Empty: to the whole organization.
        topic: String,
        event: String,
        payload: Payload,
    },
    /// A request was acknowledged: the event of a message, or [`PRESENCE`].
    Accepted(String),
    /// A request was refused: the name of a subscription, the event of a message, or [`PRESENCE`], [`TOKEN`].
    Refused(String, Code),
    /// The members of a topic, with their metadata.
    Present(String, Vec<(String, Value)>),
    Joined(String, String, Value),
    Updated(String, String, Value),
    Left(String, String),
    /// The fresh token was accepted.
    Renewed,
    /// The token has expired, and the connection remains.
    Expired,
    /// Too much was missed to replay.
    Gap,
    Alive,
    /// The server closed the connection.
    Closed(Code),
}

/// Refusals that concern the client's own presence.
pub const PRESENCE: &str = "presence";
/// Refusals that concern the client's token.
pub const TOKEN: &str = "token";
/// The place of members without a topic.
pub const LOBBY: &str = "";

/// The code with this name.
#[track_caller]
pub fn code(word: &str) -> Code {
    let found = Code::ALL.iter().find(|code| code.as_str() == word);
    *found.unwrap_or_else(|| panic!("{word:?} is no code"))
}

/// A text within a frame.
#[track_caller]
pub fn text_of(frame: &Value, name: &str) -> String {
    frame[name].as_str().unwrap_or_else(|| panic!("{name} of {frame}")).to_owned()
}
