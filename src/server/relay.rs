//! Requests between an organization's object and its relays other than the engine's messages: names, places,
//! admissions.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::Answer;
use crate::code::Code;
use crate::engine::census::Census;
use crate::engine::effect::Admitted;
use crate::engine::input::{Input, UsedTicket};
use crate::engine::relay::Peer;

/// The header with which an object asks for further sockets to go elsewhere.
pub const FULL: &str = "x-realtime-full";

/// The name of a relay's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayName {
    /// Its number.
    pub number: u32,
    /// The organization.
    pub organization: String,
}

impl RelayName {
    /// The name of the Durable Object.
    pub fn text(&self) -> String {
        format!("{}/{}", self.number, self.organization)
    }

    /// Reads the name; `None` for an organization's own object, whose name has no slash.
    pub fn read(text: &str) -> Option<RelayName> {
        let (number, organization) = text.split_once('/')?;
        let number = number.parse().ok().filter(|number| *number > 0)?;
        Some(RelayName { number, organization: organization.to_owned() })
    }
}

/// A relay's request about a socket that it is about to open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionQuestion {
    /// The relay.
    pub relay: u32,
    /// The verified user, if there is one.
    pub user: Option<String>,
    /// Id and expiry (Unix milliseconds) of the ticket.
    pub ticket: Option<(String, u64)>,
}

/// The answer to an [`AdmissionQuestion`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionAnswer {
    spent: bool,
    connections: u64,
    users: Vec<(String, u64)>,
    #[serde(default, skip_serializing_if = "is_zero")]
    listeners: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl AdmissionQuestion {
    /// Reads a question.
    pub fn read(body: &str) -> Option<AdmissionQuestion> {
        serde_json::from_str(body).ok()
    }

    /// Its text. A struct of strings and numbers always serializes to JSON.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The question as an input; `is_used` says whether the ticket was redeemed before.
    pub fn input(self, is_used: bool) -> Input {
        let ticket = self.ticket.map(|(id, expires)| UsedTicket { id, expires, spent: is_used });
        Input::Admit { ticket, user: self.user, relay: self.relay }
    }
}

impl AdmissionAnswer {
    /// The engine's answer.
    pub fn of(admitted: Admitted) -> AdmissionAnswer {
        let Admitted { is_spent, census: Census { connections, users, listeners } } = admitted;
        AdmissionAnswer { spent: is_spent, connections, users: users.into_iter().collect(), listeners }
    }

    /// The HTTP answer.
    pub fn answer(&self) -> Answer {
        // A struct of strings and numbers always serializes to JSON.
        Answer::json(200, &serde_json::to_value(self).unwrap_or_default())
    }

    /// Reads the text of the answer.
    pub fn read(text: &str) -> Option<Admitted> {
        let AdmissionAnswer { spent, connections, users, listeners } = serde_json::from_str(text).ok()?;
        let census = Census { connections, users: users.into_iter().collect(), listeners };
        Some(Admitted { is_spent: spent, census })
    }
}

/// The answer to a request of another object.
pub fn peer_answer(answer: Option<String>) -> Answer {
    // A refusal makes the sender repeat a text that this build does not understand, because during a deploy it may be
    // of another version.
    answer.map_or_else(|| Answer::from(Code::InvalidRequest), |body| Answer { status: 200, body, retry_after: None })
}

/// The answer with the object for the next socket.
pub fn place_answer(relay: u32) -> Answer {
    Answer::json(200, &json!({ "relay": relay }))
}

/// Reads that answer.
pub fn placed(text: &str) -> Option<Peer> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Place {
        relay: u32,
    }
    let Place { relay } = serde_json::from_str(text).ok()?;
    Some(if relay == 0 { Peer::Root } else { Peer::Relay(relay) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_relays_are_no_organizations() {
        let name = RelayName { number: 3, organization: "org_1".to_owned() };
        assert_eq!(RelayName::read(&name.text()), Some(name));
        for other in ["org_1", "0/org_1", "x/org_1", "/org_1", "-1/org_1", ""] {
            assert_eq!(RelayName::read(other), None, "{other}");
        }
    }

    #[test]
    fn questions_and_answers_come_back_as_they_were() {
        let question = AdmissionQuestion { relay: 2, user: Some("ada".into()), ticket: Some(("t".into(), 7)) };
        assert_eq!(AdmissionQuestion::read(&question.text()), Some(question));
        assert_eq!(AdmissionQuestion::read(r#"{"relay":1,"user":null,"ticket":null,"more":1}"#), None);
        let census = Census { connections: 9, users: [("ada".to_owned(), 2)].into(), listeners: 3 };
        let admitted = Admitted { is_spent: true, census };
        assert_eq!(AdmissionAnswer::read(&AdmissionAnswer::of(admitted.clone()).answer().body), Some(admitted));
        assert_eq!(AdmissionAnswer::read("{}"), None, "who knows nothing admits nobody");
    }

    #[test]
    fn a_place_is_read_as_it_was_said() {
        assert_eq!(placed(&place_answer(0).body), Some(Peer::Root));
        assert_eq!(placed(&place_answer(5).body), Some(Peer::Relay(5)));
        assert_eq!((placed(""), placed(r#"{"relay":-1}"#), placed(r#"{"error":{}}"#)), (None, None, None));
        assert_eq!(peer_answer(None).status, 400);
    }
}
