//! What an adapter is, and the words that the script and every adapter share: what a member asks for, what it observes,
//! and where dialects differ.

use realtime_worker::code::Code;
use realtime_worker::dialect::{self, Frame};
use realtime_worker::engine::event::Event;
use realtime_worker::engine::input::DialectId;
use realtime_worker::engine::profile::{
    Duplicate, Expiry, LostTable, PresenceFrames, Refusals, Renewal, RosterOnTracking, Sessions,
};
use serde_json::Value;

/// A dialect as the script meets it.
#[derive(Clone, Copy)]
pub struct Dialect {
    pub name: &'static str,
    pub dialect: DialectId,
    /// Where its golden frames are, below `tests/dialects/`.
    pub golden: &'static str,
    /// The role of the key with which a connection is opened; `None`: it is opened by nobody in particular, and its first
    /// frame says who it is.
    pub key: Option<&'static str>,
    /// Which of its frames carry bytes.
    pub bytes: Bytes,
    /// With what it asks for everything that it missed.
    pub recovery: Recovery,
    /// Whether a filter may be more than equal values, and a subscription be for one operation, another schema or all tables.
    pub narrows: bool,
    /// The behaviours that cannot be said in it. The script computes them; this is what is expected of it.
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

/// With what a client asks for what it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    WithConnection,
    WithEachSubscription,
}

impl Dialect {
    /// Whether the dialect's clients can do something, as its profile says, by which the engine goes.
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
            // What is said outside of any channel, and what stands with the socket.
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

/// One member's client: it keeps what a client of its dialect keeps.
pub trait Adapter {
    /// The frames that ask for something.
    fn write(&mut self, ask: &Ask<'_>) -> Vec<Frame>;

    /// What a frame of the server tells. A frame that is not of the dialect fails the test.
    fn read(&mut self, frame: &Frame) -> Vec<Observation>;

    /// Why the server has closed the connection. The reason is the code's word, unless the dialect has words of its own.
    fn closed(&self, _number: u16, reason: &str) -> Code {
        code(reason)
    }
}

/// How dialects differ, where they do; the script says what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Can {
    /// It has frames for messages, and topics that are public.
    HearMessages,
    /// It is told of its own presence.
    HearOneself,
    /// An update that takes a row out of a filter is told as its deletion.
    HearRemoval,
    /// Filters with any operator, subscriptions to one operation, to other schemas and to all tables.
    Narrow,
    /// Without a table subscription it hears every change and every message to the whole organization.
    HearUnasked,
    /// A change that several subscriptions let through comes once for each of them; where not, once.
    HearForEach,
    /// It speaks in topics that it is not subscribed to.
    SpeakFromOutside,
    /// It has frames that carry bytes from a client.
    SpeakBytes,
    /// It has frames that carry bytes to a client.
    HearBytes,
    /// A subscription under a name that stands takes its place.
    Replace,
    /// A refusal is told also where no acknowledgement was asked for.
    HearEveryRefusal,
    /// Appearing in the lobby of the organization.
    EnterLobby,
    /// Whether anyone is there is answered.
    HearPong,
    /// Its connection stands before its first token, as nobody's; a first token that is no good changes nothing.
    BeginAnonymously,
    /// What was missed is asked for with each subscription; where not, with the connection.
    RecoverOneByOne,
    /// Whoever appears is told who was there before; where not, it is told that it is done.
    HearRosterOnAppearing,
    /// A subscription that asks who is present stands also where only the messages or only the members may be had; where
    /// not, it is refused.
    EnterPartly,
    /// Presence outlives the subscription to its topic.
    StayWithoutSubscription,
    /// A fresh token is answered.
    HearRenewal,
    /// A fresh token may name another user.
    BecomeAnother,
    /// A fresh token that is none is refused, and everything stands; where not, it ends what it was for.
    SurviveBadToken,
    /// There is some time after its token's end in which a connection stands and may renew; where not, its subscriptions
    /// end at once.
    OutliveToken,
    /// The token of a connection is needed for it to stand at all; where not, for each subscription.
    LoseConnection,
    /// A table subscription whose right is lost rests until the right is back; where not, it ends.
    Rest,
    /// After an absence everything missed comes; where not, only what was kept of private topics.
    RecoverEverything,
}

/// What a member does.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// Its connection is open. `since`: it stood before and everything missed after this time is asked for.
    Enter {
        token: &'a str,
        since: Option<u64>,
    },
    /// Goes on with a fresh token.
    Renew {
        token: &'a str,
    },
    Subscribe(&'a Subscription),
    Unsubscribe(&'a str),
    /// Says something in a topic.
    Say {
        topic: Topic,
        event: &'a str,
        payload: &'a Payload,
    },
    /// Appears in a topic, or in the lobby.
    Appear {
        topic: Option<Topic>,
        metadata: &'a Value,
    },
    /// Says something else of itself.
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
    /// From when on what was said in the topic is asked for.
    pub since: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Tables(Vec<Table>),
    Topic {
        topic: Topic,
        /// Whether it is told who is present.
        watch: bool,
        /// Whether it hears itself.
        echo: bool,
        /// Whether it asks for acknowledgements.
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

/// What a message carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    Json(Value),
    Bytes(Vec<u8>),
}

/// What a member observes. Members are named by their user.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    Subscribed(String),
    Unsubscribed(String),
    /// A subscription was ended by the server.
    Ended(String, Code),
    /// A subscription receives nothing for now.
    Rests(String, Code),
    /// And receives again.
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
    /// What was asked for is done: the event of a message, or [`PRESENCE`].
    Accepted(String),
    /// What was asked for is refused: the name of a subscription, the event of a message, or [`PRESENCE`], [`TOKEN`].
    Refused(String, Code),
    /// Who is present in a topic, with what each says.
    Present(String, Vec<(String, Value)>),
    Joined(String, String, Value),
    Updated(String, String, Value),
    Left(String, String),
    /// The fresh token is taken.
    Renewed,
    /// The token has ended, and the connection stands.
    Expired,
    /// Too much was missed to tell.
    Gap,
    Alive,
    /// The connection was closed by the server.
    Closed(Code),
}

/// What is refused where it is about one's own presence.
pub const PRESENCE: &str = "presence";
/// What is refused where it is about one's token.
pub const TOKEN: &str = "token";
/// Where those are who are in no topic.
pub const LOBBY: &str = "";

/// The code of a word of the table of codes.
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
