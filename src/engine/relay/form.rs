//! The bodies of requests between the objects of one tenant. Both sides may be of two versions while one is deployed: a
//! body of another version, or with an unknown key, is refused, and sent again later.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::database_form::{DatabaseDown, DatabaseUp, VerdictForm};
use super::refusal::RefusalForm;

/// The version of all of this.
pub(super) const VERSION: u32 = 1;

/// Socket and number of a session in the life of the relay that it is of.
pub(super) type SessionForm = (u32, u32);
/// Whether it is private, and its name.
pub(super) type TopicForm = (bool, String);

/// A relay's request to the root.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpBatch {
    pub(super) version: u32,
    pub(super) relay: u32,
    /// The relay's life: session numbers mean nothing in another.
    pub(super) life: String,
    /// From 1 on; the first of a life begins the link anew.
    pub(super) sequence: u64,
    pub(super) report: Report,
    pub(super) messages: Vec<Up>,
}

/// The root's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpAnswer {
    /// Whether it was taken; where not, the root has forgotten the link, and the relay begins it anew.
    pub(super) is_taken: bool,
}

/// What a relay says of its sockets: absolute numbers, so that a report may come twice.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    /// Authenticated sockets.
    pub(super) sockets: u64,
    /// Those that are not authenticated yet.
    pub(super) pending: u64,
    /// Authenticated sockets that are listeners of the app.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) listeners: u64,
    /// Authenticated sockets of each user whose number has changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) users: Vec<(String, u64)>,
    /// Whether users that are not named have none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_whole: bool,
    /// The filter of what is wanted, where it has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) interest: Option<String>,
    /// Frames of publications that were handed to sockets since the last report.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) frames: u64,
    /// What clients have caused here since then: socket, user, units.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) spent: Vec<(PayerForm, u64)>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Who pays: the public id of the socket, and the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::engine) struct PayerForm {
    pub(in crate::engine) socket: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::engine) user: Option<String>,
}

/// From a relay to the stream.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::engine) enum Up {
    /// A frame waits for an answer that says where the stream stands.
    Ask(Ask),
    /// A client publishes.
    Publish {
        session: SessionForm,
        payer: PayerForm,
        units: u64,
        keep: bool,
        source: Box<RawValue>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acknowledge: Option<String>,
        echo: bool,
        persist: bool,
        /// Under which it is remembered, so that it goes out no second time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A connection appears.
    Track {
        session: SessionForm,
        payer: PayerForm,
        units: u64,
        topic: Option<TopicForm>,
        member: MemberForm,
        owns_key: bool,
        roster: bool,
        /// Whether it is answered with the roster although it is there already.
        #[serde(default, skip_serializing_if = "is_false")]
        again: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// A connection changes its metadata.
    Update {
        session: SessionForm,
        payer: PayerForm,
        units: u64,
        topic: Option<TopicForm>,
        client: String,
        metadata: Box<RawValue>,
    },
    /// A connection disappears from a topic.
    Untrack { session: SessionForm, topic: Option<TopicForm>, client: String, key: Option<String> },
    /// A connection wants to know who is present.
    Roster { session: SessionForm, topic: TopicForm },
    /// Some are told of a presence together with everyone present.
    Gather { topic: Option<TopicForm>, change: EventForm, only: Option<SessionForm> },
    /// A connection is gone.
    Gone { client: String },
    /// A connection has opened or closed, for the topic of those.
    Arrived(ArrivalForm),
    /// Something about the database.
    Database(DatabaseUp),
}

/// What a frame needs before it can be handled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::engine) struct Ask {
    pub(in crate::engine) number: u64,
    pub(in crate::engine) payer: PayerForm,
    /// What it costs.
    pub(in crate::engine) units: u64,
    /// Whether somebody authenticates, and is to be counted.
    pub(in crate::engine) enters: bool,
    /// Whether whoever enters is a listener of the app.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::engine) listens: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::engine) from: Option<FromForm>,
    /// The topic, where it is about nothing else that was missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::engine) only: Option<TopicForm>,
    /// Topics whose members are told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::engine) watch: Vec<TopicForm>,
}

/// What is to be seen that was published before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::engine) enum FromForm {
    Position {
        epoch: String,
        offset: u64,
        topics: Vec<TopicForm>,
    },
    Topic {
        topic: String,
        since: u64,
        limit: u64,
    },
    /// Whatever concerns the relay that asks; `everything`: it may want more than it has reported.
    All {
        epoch: String,
        offset: u64,
        everything: bool,
    },
}

/// The root's request to a relay, but for its messages, which are texts already.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DownBatch {
    pub(super) version: u32,
    /// The root's life.
    pub(super) root: String,
    /// The relay's life that answers are for; empty where none is known.
    pub(super) life: String,
    /// From 1 on in each life of the root.
    pub(super) sequence: u64,
    /// Whether it may have been delivered before.
    pub(super) again: bool,
    pub(super) messages: Vec<Down>,
}

/// The relay's answer: the batch is taken.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DownAnswer {
    pub(super) sequence: u64,
    pub(super) report: Report,
}

/// From the stream to a relay.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Down {
    /// A publication is accepted.
    Publish {
        offset: u64,
        time: u64,
        kept: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payer: Option<PayerForm>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<OriginForm>,
        source: Box<RawValue>,
        /// What the database shows the groups at this relay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<Vec<VerdictForm>>,
    },
    /// Someone appeared, changed or disappeared.
    Presence { topic: Option<TopicForm>, event: EventForm },
    /// A frame may go on.
    Answer(Box<AnswerForm>),
    /// Everyone present, for one connection.
    Roster { session: SessionForm, topic: Option<TopicForm>, members: Vec<MemberForm> },
    /// A connection is now present, or no longer.
    Present { session: SessionForm, topic: Option<TopicForm>, present: bool },
    /// A presence with everyone present.
    Gathered { topic: Option<TopicForm>, event: EventForm, only: Option<SessionForm> },
    /// What a connection asked for is refused.
    Refused { session: SessionForm, refusal: RefusalForm, id: Option<String>, topic: Option<TopicForm> },
    /// What a connection asked for is done.
    Done { session: SessionForm, id: String },
    /// Where the relay's sockets are present.
    Places { places: Vec<(String, Option<TopicForm>)> },
    /// A connection has opened or closed at another object.
    Arrived(ArrivalForm),
    /// How tables are set from here on.
    Tables { settings: String },
    /// Something about the database.
    Database(DatabaseDown),
    /// Something is lost that was for the relay's clients: they come back and recover.
    Restart,
    /// Something retained is lost that was for the relay: it asks for it by offset.
    Behind,
}

/// The client that published.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::engine) struct OriginForm {
    pub(super) session: SessionForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) acknowledge: Option<String>,
    pub(super) echo: bool,
    pub(super) persist: bool,
}

/// The answer to an [`Ask`]: what was true of the stream when it was taken, in its place among the messages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerForm {
    pub(super) number: u64,
    pub(super) epoch: String,
    pub(super) offset: u64,
    /// Authenticated sockets at other objects.
    pub(super) connections: u64,
    /// Those of the user who asks.
    pub(super) of_user: u64,
    /// Those that are listeners of the app.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) listeners: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<RefusalForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) missed: Option<MissedForm>,
    /// The offset up to which was read, where that is not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) read_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) rosters: Vec<(TopicForm, Vec<MemberForm>)>,
}

/// What a connection has missed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum MissedForm {
    Everything(Vec<RowForm>),
    TooMuch,
}

/// A publication that was retained.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowForm {
    pub(super) offset: u64,
    pub(super) time: u64,
    pub(super) source: Box<RawValue>,
}

/// Someone present.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::engine) struct MemberForm {
    pub(super) client: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    pub(super) metadata: Box<RawValue>,
}

/// A connection that has opened or closed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::engine) struct ArrivalForm {
    pub(super) is_connected: bool,
    /// What its listeners are told.
    pub(super) payload: Box<RawValue>,
}

/// What happened to someone present.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::engine) enum EventForm {
    Joined { topic: Option<TopicForm>, member: MemberForm },
    Updated { topic: Option<TopicForm>, member: MemberForm, before: MemberForm },
    Left { topic: Option<TopicForm>, member: MemberForm },
    Roster { change: Box<EventForm>, members: Vec<MemberForm> },
}

/// The text of a form. Structs of texts, numbers and JSON always have one.
pub(super) fn text(form: &impl Serialize) -> String {
    serde_json::to_string(form).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_at_every_level() {
        let batch = |more: &str, of_report: &str, of_ask: &str| {
            format!(
                r#"{{"version":1,"relay":1,"life":"l","sequence":1,"report":{{"sockets":1,"pending":0{of_report}}},"messages":[{{"ask":{{"number":1,"payer":{{"socket":"s"}},"units":0,"enters":true{of_ask}}}}}]{more}}}"#
            )
        };
        let reads = |text: &str| serde_json::from_str::<UpBatch>(text).is_ok();
        assert!(reads(&batch("", "", "")));
        for (more, of_report, of_ask) in
            [(r#","x":1"#, "", ""), ("", r#","x":1"#, ""), ("", "", r#","x":1"#), ("", "", r#","from":{"x":1}"#)]
        {
            assert!(!reads(&batch(more, of_report, of_ask)));
        }
        assert!(!reads(&batch("", "", "").replace("\"ask\"", "\"task\"")));
    }

    #[test]
    fn a_source_travels_as_the_bytes_it_is() {
        let source = r#"{"type":"broadcast","event":"e","payload":{"n":1.50,"big":12345678901234567890}}"#;
        let message = Down::Publish {
            offset: 1,
            time: 2,
            kept: true,
            payer: None,
            origin: None,
            source: RawValue::from_string(source.to_owned()).unwrap(),
            verdict: None,
        };
        let read: Down = serde_json::from_str(&text(&message)).unwrap();
        let Down::Publish { source: read, .. } = read else { panic!("another message") };
        assert_eq!(read.get(), source);
    }
}
