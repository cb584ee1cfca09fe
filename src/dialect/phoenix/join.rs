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

/// Messages that a replay gives at most, and where it does not say how many.
const MAX_REPLAYED: u64 = 25;
/// Table bindings of one join that are looked at.
const MAX_BINDINGS: usize = 100;

/// Reads how `topic` is to be entered. Unknown keys are passed over, wrong types count as absent.
///
/// # Errors
/// When the presence key is too long: another in its place would list the member under a name that it does not know.
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
        // Clients before 2.12 never say it, and show nobody without.
        presence: presence.boolean("enabled").unwrap_or(true),
        presence_key: presence.get("key").and_then(key).map(short).transpose()?,
        echo: broadcast.boolean("self").unwrap_or(false),
        acknowledge: broadcast.boolean("ack").unwrap_or(false),
        replay: broadcast.get("replay").map(Lenient::read).map(|replay| self::replay(&replay)),
        answer: Rc::from(answer(&bindings)),
        announce: broadcast.boolean("replication_ready").unwrap_or(false),
    })
}

/// The bindings as they came, each with its number: clients compare them with their own, key by key.
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

/// A text, or a number's digits.
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
    // A float becomes the nearest integer that fits: `as` saturates. Without a start nothing is replayed.
    let since = number("since").map_or(u64::MAX, |since| since as u64);
    Replay { since, limit: number("limit").map_or(MAX_REPLAYED, |limit| (limit as u64).clamp(1, MAX_REPLAYED)) }
}

/// Reads the bindings. Once they have more regular expressions than a connection may have no further filter is looked at:
/// each is compiled as it is read.
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
    // Without a column all are meant: who asks for changes wants to see something.
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
