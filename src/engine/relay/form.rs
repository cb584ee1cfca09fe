//! The bodies of requests between the objects of one tenant. During a deploy both sides may be of different versions: a
//! body of another version, or with an unknown key, is refused, and sent again later.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::database_form::{DatabaseDown, DatabaseUp, VerdictForm};
use super::refusal::RefusalForm;

/// The version of these bodies.
pub(super) const VERSION: u32 = 1;

/// Socket and number of a session, valid in one life of its relay.
pub(super) type SessionForm = (u32, u32);
/// Whether it is private, and its name.
pub(super) type TopicForm = (bool, String);

/// A relay's request to the root.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpBatch {
    pub(super) version: u32,
    pub(super) relay: u32,
    /// The relay's life: session numbers mean nothing in another one.
    pub(super) life: String,
    /// Counts from 1 in each life; 1 resets the link.
    pub(super) sequence: u64,
    pub(super) report: Report,
    pub(super) messages: Vec<Up>,
}

/// The root's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpAnswer {
    /// Whether it was accepted; otherwise the root has forgotten the link, and the relay resets it.
    pub(super) is_taken: bool,
}

/// A relay's report on its sockets: absolute numbers, so that it may be received twice.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    /// Authenticated sockets.
    pub(super) sockets: u64,
    /// Unauthenticated sockets.
    pub(super) pending: u64,
    /// Authenticated sockets that are listeners of the app.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) listeners: u64,
    /// Authenticated sockets of each user whose count has changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) users: Vec<(String, u64)>,
    /// Whether users that are not named have no sockets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_whole: bool,
    /// The interest filter, if it has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) interest: Option<String>,
    /// Frames of publications sent to sockets since the last report.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) frames: u64,
    /// Units that clients here have spent since then: payer and units.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) spent: Vec<(PayerForm, u64)>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Who is charged: the public id of the socket, and the user.
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
    /// A frame must know the stream's state.
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
        /// The idempotency key under which it is remembered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A connection becomes present.
    Track {
        session: SessionForm,
        payer: PayerForm,
        units: u64,
        topic: Option<TopicForm>,
        member: MemberForm,
        owns_key: bool,
        roster: bool,
        /// Whether a known member gets the roster, too.
        #[serde(default, skip_serializing_if = "is_false")]
        again: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// A connection changes the metadata of its presence.
    Update {
        session: SessionForm,
        payer: PayerForm,
        units: u64,
        topic: Option<TopicForm>,
        client: String,
        metadata: Box<RawValue>,
    },
    /// A connection ends a presence in a topic.
    Untrack { session: SessionForm, topic: Option<TopicForm>, client: String, key: Option<String> },
    /// A connection asks for a roster.
    Roster { session: SessionForm, topic: TopicForm },
    /// Listeners expect the whole roster with a presence event.
    Gather { topic: Option<TopicForm>, change: EventForm, only: Option<SessionForm> },
    /// A connection has closed.
    Gone { client: String },
    /// A connection has opened or closed, if these are announced.
    Arrived(ArrivalForm),
    /// A message about the database.
    Database(DatabaseUp),
}

/// What a frame must know before it can be handled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::engine) struct Ask {
    pub(in crate::engine) number: u64,
    pub(in crate::engine) payer: PayerForm,
    /// Its cost.
    pub(in crate::engine) units: u64,
    /// Whether a session authenticates, and must be counted.
    pub(in crate::engine) enters: bool,
    /// Whether that session counts as a listener of the app.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::engine) listens: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::engine) from: Option<FromForm>,
    /// The topic, if only its publications are recovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::engine) only: Option<TopicForm>,
    /// Topics whose rosters are requested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::engine) watch: Vec<TopicForm>,
}

/// What is to be replayed.
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
    /// Everything that concerns the asking relay; `everything`: it may want more than it has reported.
    All {
        epoch: String,
        offset: u64,
        everything: bool,
    },
}

/// The root's request to a relay, without its messages, which are encoded already.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DownBatch {
    pub(super) version: u32,
    /// The root's life.
    pub(super) root: String,
    /// The relay's life that answers are for; empty if unknown.
    pub(super) life: String,
    /// Counts from 1 in each life of the root.
    pub(super) sequence: u64,
    /// Whether it may have been delivered before.
    pub(super) again: bool,
    pub(super) messages: Vec<Down>,
}

/// The relay's answer: the batch was accepted.
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
        /// What the database shows groups at this relay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<Vec<VerdictForm>>,
    },
    /// A member joined, changed or left.
    Presence { topic: Option<TopicForm>, event: EventForm },
    /// A frame may continue.
    Answer(Box<AnswerForm>),
    /// The roster, for one connection.
    Roster { session: SessionForm, topic: Option<TopicForm>, members: Vec<MemberForm> },
    /// A connection is now present in a topic, or no longer.
    Present { session: SessionForm, topic: Option<TopicForm>, present: bool },
    /// A presence event with the whole roster.
    Gathered { topic: Option<TopicForm>, event: EventForm, only: Option<SessionForm> },
    /// A connection's command was refused.
    Refused { session: SessionForm, refusal: RefusalForm, id: Option<String>, topic: Option<TopicForm> },
    /// A connection's command was executed.
    Done { session: SessionForm, id: String },
    /// Where the relay's sockets are present.
    Places { places: Vec<(String, Option<TopicForm>)> },
    /// A connection has opened or closed at another object.
    Arrived(ArrivalForm),
    /// The new table settings.
    Tables { settings: String },
    /// A message about the database.
    Database(DatabaseDown),
    /// Messages for the relay's clients were lost: they must reconnect and recover.
    Restart,
    /// A retained message for the relay was lost: it asks for it by offset.
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

/// The answer to an [`Ask`]: the state of the stream at the answer's position among the messages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerForm {
    pub(super) number: u64,
    pub(super) epoch: String,
    pub(super) offset: u64,
    /// Authenticated sockets at other objects.
    pub(super) connections: u64,
    /// Those of the user that asked.
    pub(super) of_user: u64,
    /// Those that are listeners of the app.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) listeners: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<RefusalForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) missed: Option<MissedForm>,
    /// The offset up to which the history was read, if that is not all.
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

impl MissedForm {
    /// The same, or that it is too much if its texts are longer.
    pub(super) fn within(self, max: usize) -> MissedForm {
        match &self {
            MissedForm::Everything(rows) if rows.iter().map(|row| row.source.get().len()).sum::<usize>() > max => {
                MissedForm::TooMuch
            }
            _ => self,
        }
    }
}

/// A publication that was retained.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowForm {
    pub(super) offset: u64,
    pub(super) time: u64,
    pub(super) source: Box<RawValue>,
}

/// A member.
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
    /// The payload of its announcement.
    pub(super) payload: Box<RawValue>,
}

/// A presence event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::engine) enum EventForm {
    Joined { topic: Option<TopicForm>, member: MemberForm },
    Updated { topic: Option<TopicForm>, member: MemberForm, before: MemberForm },
    Left { topic: Option<TopicForm>, member: MemberForm },
    Roster { change: Box<EventForm>, members: Vec<MemberForm> },
}

/// The text of a form. Structs of strings, numbers and JSON always serialize.
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
