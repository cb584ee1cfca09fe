//! Figures and lists over all objects of the organization, which are queried one after another, its own first.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::rest::accepted;
use crate::engine::distinct::Distinct;
use crate::engine::relay::Peer;
use crate::server::administration::{CHANNELS, CONNECTIONS};
use crate::server::answer::Answer;
use crate::server::api::{ApiStep, ObjectRequest, Rejected};

/// The number of connections and of channels (tables and topics) with a subscriber. Without `asks_relays`, only
/// channels of the organization's own object count, because a stranger's request must not wake all the others.
pub fn counts(organization: String, asks_relays: bool) -> ApiStep {
    let request = ObjectRequest { organization: organization.clone(), peer: Peer::Root, path: "/stats", body: None };
    ApiStep::ask(request, move |_, status, body| {
        let figures = accepted(status, body)?;
        let count = |name: &str| figures.get(name).and_then(Value::as_u64).unwrap_or_default();
        let connections = count("connections");
        let relays = figures.get("relays").and_then(Value::as_array).into_iter().flatten();
        let objects = relays.filter_map(|relay| peer(relay.get("relay")?)).collect::<VecDeque<_>>();
        if objects.is_empty() || !asks_relays {
            return Ok(counted(connections, count("topics") + count("tables")));
        }
        Ok(Channels { organization, connections, objects, channels: Distinct::default() }.ask(Peer::Root))
    })
}

fn counted(connections: u64, channels: u64) -> ApiStep {
    ApiStep::Answer(Answer::json(200, &json!({ "connections": connections, "channels": channels })))
}

/// The channels of the objects queried so far.
struct Channels {
    organization: String,
    connections: u64,
    /// The objects that are still to be queried.
    objects: VecDeque<Peer>,
    channels: Distinct,
}

impl Channels {
    fn ask(self, peer: Peer) -> ApiStep {
        let request = ObjectRequest { organization: self.organization.clone(), peer, path: CHANNELS, body: None };
        ApiStep::ask(request, move |_, status, body| self.answered(&accepted(status, body)?))
    }

    fn answered(mut self, answer: &Value) -> Result<ApiStep, Rejected> {
        let hashes = answer.get("hashes").and_then(Value::as_array).into_iter().flatten();
        hashes.filter_map(Value::as_u64).for_each(|hash| self.channels.insert(hash));
        match self.objects.pop_front() {
            Some(next) => Ok(self.ask(next)),
            None => Ok(counted(self.connections, self.channels.count())),
        }
    }
}

/// A page of the matching connections, in order of opening at each object.
pub fn connections(organization: String, search: String, (limit, offset): (u64, u64)) -> ApiStep {
    let (objects, list) = (VecDeque::new(), Vec::new());
    Page { organization, search, limit, offset, objects, total: 0, list }.ask(Peer::Root)
}

struct Page {
    organization: String,
    search: String,
    limit: u64,
    offset: u64,
    /// The objects that are still to be queried.
    objects: VecDeque<Peer>,
    /// Matching connections at the objects queried so far.
    total: u64,
    list: Vec<Value>,
}

impl Page {
    fn ask(self, peer: Peer) -> ApiStep {
        let limit = self.limit.saturating_sub(self.list.len() as u64);
        let offset = self.offset.saturating_sub(self.total);
        let body = Some(json!({ "limit": limit, "offset": offset, "search": self.search }).to_string());
        let request = ObjectRequest { organization: self.organization.clone(), peer, path: CONNECTIONS, body };
        ApiStep::ask(request, move |_, status, body| self.answered(accepted(status, body)?))
    }

    fn answered(mut self, mut answer: Value) -> Result<ApiStep, Rejected> {
        self.total += answer.get("total_connections").and_then(Value::as_u64).unwrap_or_default();
        if let Some(list) = answer.get_mut("connections").and_then(Value::as_array_mut) {
            self.list.append(list);
        }
        // The organization's own object comes first and names its relays.
        let relays = answer.get("relays").and_then(Value::as_array).into_iter().flatten();
        self.objects.extend(relays.filter_map(peer));
        if let Some(next) = self.objects.pop_front() {
            return Ok(self.ask(next));
        }
        let body = json!({ "total_connections": self.total, "connections": self.list, "limit": self.limit,
            "offset": self.offset });
        Ok(ApiStep::Answer(Answer::json(200, &body)))
    }
}

fn peer(relay: &Value) -> Option<Peer> {
    relay.as_u64().and_then(|relay| u32::try_from(relay).ok()).map(Peer::Relay)
}
