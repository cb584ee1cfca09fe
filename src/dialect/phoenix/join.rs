//! The payload of `phx_join` (docs/protocol-supabase.md, Channels).

use std::rc::Rc;

use super::lenient::Lenient;
use crate::code::{Code, Refusal};
use crate::engine::command::{Join, Replay, TableTarget};
use crate::policy::channel::Topic;
use crate::policy::filter::Filter;
use crate::policy::limits::{NAME_BYTES, REGULAR_EXPRESSIONS};
use crate::policy::table::{DEFAULT_SCHEMA, MAX_COLUMNS, Operation, distinct};
use crate::value::json::{self, Kind};

/// Maximum messages of a replay, which is also the default.
const MAX_REPLAYED: u64 = 25;
/// Maximum table bindings of one join; the rest are ignored.
const MAX_BINDINGS: usize = 100;

/// Reads a request to join `topic`. Unknown keys are ignored, and wrong types count as absent.
///
/// # Errors
/// When the presence key is too long: a truncated one would list the member under a name that it does not know.
pub(super) fn read(topic: &str, payload: &Lenient<'_>) -> Result<Join, Refusal> {
    let config = payload.within("config");
    let (broadcast, presence) = (config.within("broadcast"), config.within("presence"));
    let bindings = config.get("postgres_changes").and_then(|list| json::array(list).ok()).unwrap_or_default();
    let bindings: Vec<&str> =
        bindings.iter().map(|one| one.get()).filter(|one| json::kind(one) == Kind::Object).take(MAX_BINDINGS).collect();
    Ok(Join {
        topic: Topic { private: config.boolean("private").unwrap_or(false), name: Rc::from(topic) },
        token: payload.token("access_token").or_else(|| payload.token("user_token")),
        tables: tables(&bindings),
        // Clients before 2.12 never send it, but need it to show presence.
        presence: presence.boolean("enabled").unwrap_or(true),
        presence_key: presence.get("key").and_then(key).map(short).transpose()?,
        echo: broadcast.boolean("self").unwrap_or(false),
        acknowledge: broadcast.boolean("ack").unwrap_or(false),
        replay: broadcast.get("replay").map(Lenient::read).map(|replay| self::replay(&replay)),
        answer: Rc::from(answer(&bindings)),
        announce: broadcast.boolean("replication_ready").unwrap_or(false),
    })
}

/// The bindings as received, each with its number: clients compare them with their own, key by key.
fn answer(bindings: &[&str]) -> String {
    let mut out = String::from("[");
    for (number, binding) in (1_u32..).zip(bindings) {
        if number > 1 {
            out.push(',');
        }
        let members = binding.strip_suffix('}').unwrap_or_default();
        out.push_str(members);
        out.push_str(if members.trim_end() == "{" { "\"id\":" } else { ",\"id\":" });
        out.push_str(&number.to_string());
        out.push('}');
    }
    out.push(']');
    out
}

/// A string, or the digits of a number.
fn key(json: &str) -> Option<String> {
    let text = match json::kind(json) {
        Kind::String => json::string(json)?,
        Kind::Number => json.to_owned(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn short(key: String) -> Result<String, Refusal> {
    let refused = || Refusal::because(Code::NameTooLong, format!("The presence key is longer than {NAME_BYTES} bytes"));
    if key.len() <= NAME_BYTES { Ok(key) } else { Err(refused()) }
}

fn replay(replay: &Lenient<'_>) -> Replay {
    let number =
        |name| replay.get(name).and_then(|json| serde_json::from_str::<f64>(json).ok()).filter(|number| *number >= 0.0);
    // `as` saturates: a float becomes the nearest integer in range. Without a start nothing is replayed.
    let since = number("since").map_or(u64::MAX, |since| since as u64);
    Replay { since, limit: number("limit").map_or(MAX_REPLAYED, |limit| (limit as u64).clamp(1, MAX_REPLAYED)) }
}

/// Reads the bindings. Regular expressions are compiled while parsing, so once they exceed a connection's limit no
/// further filter is parsed.
fn tables(bindings: &[&str]) -> Vec<Result<TableTarget, Refusal>> {
    let mut expressions = 0;
    let mut tables = Vec::new();
    for (number, binding) in (1..).zip(bindings) {
        let binding = Lenient::read(binding);
        if expressions > REGULAR_EXPRESSIONS && binding.get("filter").is_some() {
            let message = "The channel's filters have too many regular expressions";
            tables.push(Err(Refusal::because(Code::SubscriptionLimit, message)));
            continue;
        }
        let table = table(number, &binding);
        expressions += table.as_ref().map_or(0, |table| table.filter.regular_expressions());
        tables.push(table);
    }
    tables
}

fn table(number: u32, binding: &Lenient<'_>) -> Result<TableTarget, Refusal> {
    let name = |key| binding.text(key).filter(|name| name.len() <= NAME_BYTES);
    let (schema, table) = match (name("schema"), name("table")) {
        (None, None) => {
            let message =
                "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to";
            return Err(Refusal::because(Code::InvalidRequest, message));
        }
        (schema, None) => (schema, String::from("*")),
        (schema, Some(table)) => (schema, table),
    };
    let schema = schema.unwrap_or_else(|| DEFAULT_SCHEMA.to_owned());
    let event = binding.text("event").and_then(|event| Operation::named(&event.to_ascii_uppercase()));
    let filter = binding.text("filter").unwrap_or_default();
    let parsed = Filter::parse(&filter).map_err(|refusal| Refusal {
        message: format!("Error parsing `filter` params: {}", refusal.message).into(),
        ..refusal
    });
    // Without a column every column counts: a client that asks for changes expects to receive some.
    let select = match binding.get("select").filter(|select| *select != "null") {
        None => None,
        Some(list) if json::array(list).is_ok_and(|list| list.is_empty()) => None,
        Some(list) => Some(Rc::new(distinct(columns(list, &table)?))),
    };
    Ok(TableTarget { schema, table, event, filter: parsed?, select, number })
}

fn columns(list: &str, table: &str) -> Result<Vec<String>, Refusal> {
    let refused = || Refusal::because(Code::InvalidRequest, "`select` must be a list of columns of one table");
    let list = json::array(list).map_err(|_| refused())?;
    let columns = list.iter().map(|column| json::string(column.get())).collect::<Option<Vec<String>>>();
    let is_short = |columns: &Vec<String>| columns.iter().all(|column| column.len() <= NAME_BYTES);
    let columns = columns.filter(is_short).filter(|columns| columns.len() <= MAX_COLUMNS && table != "*");
    columns.ok_or_else(refused)
}
