//! The JSON bodies of HTTP answers.

use serde_json::{Map, Value, json};

use crate::code::{Code, Refusal};
use crate::dialect;
use crate::engine::effect::Receipt;
use crate::engine::figures::{DatabaseFigures, Figures, RelayFigures};

/// An HTTP answer with a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// Seconds for the header `Retry-After`.
    pub retry_after: Option<u32>,
}

impl Answer {
    /// An answer with this body.
    pub fn json(status: u16, body: &Value) -> Answer {
        Answer { status, body: body.to_string(), retry_after: None }
    }
}

impl From<&Refusal> for Answer {
    /// `{"error":{"code","message","field"}}`
    fn from(refusal: &Refusal) -> Answer {
        let mut error = json!({ "code": refusal.code.as_str(), "message": refusal.message });
        if let (Some(field), Some(error)) = (&refusal.field, error.as_object_mut()) {
            error.insert("field".to_owned(), Value::from(field.as_str()));
        }
        let known =
            refusal.retry_after.map(|milliseconds| u32::try_from(milliseconds.div_ceil(1_000)).unwrap_or(u32::MAX));
        let retry_after = known.or(matches!(refusal.code, Code::RateLimited | Code::Overloaded).then_some(1));
        Answer { retry_after, ..Answer::json(refusal.code.status(), &json!({ "error": error })) }
    }
}

impl From<Code> for Answer {
    fn from(code: Code) -> Answer {
        Answer::from(&Refusal::of(code))
    }
}

impl From<&Receipt> for Answer {
    fn from(receipt: &Receipt) -> Answer {
        let mut body = json!({
            "accepted": receipt.accepted,
            "duplicate": receipt.duplicate,
            "epoch": &*receipt.epoch,
            "offset": receipt.offset,
            "delivered": receipt.delivered,
        });
        // The answer does not wait for frames that relays send, and says so.
        if let (true, Some(body)) = (receipt.is_at_least, body.as_object_mut()) {
            body.insert("deliveredAtLeast".to_owned(), receipt.delivered.into());
        }
        Answer::json(202, &body)
    }
}

impl Answer {
    /// The figures of a tenant, with the number of publications in its history and the size of the Wasm memory.
    pub fn figures(organization: &str, figures: &Figures, history: u64, wasm_memory: u64) -> Answer {
        let by_dialect = figures
            .by_dialect
            .iter()
            .filter_map(|(dialect, count)| Some((dialect::profile(*dialect)?.name.to_owned(), *count)));
        let by_role = figures.by_role.iter().cloned();
        let of_relays = |count: fn(&RelayFigures) -> u64| figures.relays.iter().map(count).sum::<u64>();
        let mut body = json!({
            "organizationId": organization,
            "connections": figures.connections + of_relays(|relay| relay.connections),
            "pending": figures.pending + of_relays(|relay| relay.pending),
            "byDialect": sums(by_dialect),
            "byRole": sums(by_role),
            "topics": figures.topics,
            "tables": figures.tables,
            "presence": figures.presence,
            "epoch": figures.epoch,
            "offset": figures.offset,
            "history": history,
            "publications": figures.publications,
            "deliveries": figures.deliveries + of_relays(|relay| relay.deliveries),
            "tooSlow": figures.too_slow,
            "refusedAttempts": figures.refused_attempts,
            "since": figures.since,
            "wasmMemory": wasm_memory,
        });
        if let (Some(database), Some(body)) = (&figures.database, body.as_object_mut()) {
            body.insert("database".to_owned(), database_figures(database));
        }
        if let (Some(missed), Some(body)) = (figures.missed_by_relays, body.as_object_mut()) {
            let missed = json!({ "lost": missed.lost, "recovered": missed.recovered });
            body.insert("missedByRelays".to_owned(), missed);
        }
        if let (false, Some(body)) = (figures.relays.is_empty(), body.as_object_mut()) {
            body.insert("relays".to_owned(), figures.relays.iter().map(relay_figures).collect());
        }
        Answer::json(200, &body)
    }
}

fn relay_figures(figures: &RelayFigures) -> Value {
    json!({
        "relay": figures.number,
        "connections": figures.connections,
        "pending": figures.pending,
        "deliveries": figures.deliveries,
        "lost": figures.lost,
        "recovered": figures.recovered,
    })
}

fn database_figures(figures: &DatabaseFigures) -> Value {
    json!({
        "name": figures.name,
        "live": figures.is_live,
        "groups": figures.groups,
        "unjudged": figures.unjudged,
        "failed": figures.failed,
        "lost": figures.lost,
        "withoutRowSecurity": figures.without_row_security,
    })
}

/// An object of counts; counts of the same name are added.
fn sums(counts: impl Iterator<Item = (String, u64)>) -> Value {
    let mut sums = Map::new();
    for (name, count) in counts {
        let before = sums.get(&name).and_then(Value::as_u64).unwrap_or(0);
        sums.insert(name, Value::from(before + count));
    }
    Value::Object(sums)
}
