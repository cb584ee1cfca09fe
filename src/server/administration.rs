//! Administrative requests to an organization's object: the bodies, written by the Worker, and the answers of its paths
//! `/connections`, `/tables` and `/channels`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::answer::Answer;
use crate::code::{Code, Refusal};
use crate::engine::effect::{Administered, Connection};
use crate::engine::input::{ConnectionQuery, Input};
use crate::engine::table_settings::{TableAct, TableChange, TableState};
use crate::policy::limits::NAME_BYTES;
use crate::policy::table::{MAX_COLUMNS, Operation, distinct};
use crate::value::form::{Field, Form};
use crate::value::time::iso;

/// The object's path of connections.
pub const CONNECTIONS: &str = "/connections";
/// The object's path of channels that have a subscriber.
pub const CHANNELS: &str = "/channels";
/// The object's path of tables.
pub const TABLES: &str = "/tables";

/// Reads the body of one of the paths.
///
/// # Errors
/// [`Code::InvalidRequest`] when the body is malformed.
pub fn input(path: &str, body: &str) -> Result<Input, Refusal> {
    if path == CHANNELS {
        return Ok(Input::Channels);
    }
    let mut form = Form::read(body, Code::InvalidRequest)?;
    let input = match path {
        CONNECTIONS => Input::Connections(ConnectionQuery {
            limit: form.require("limit")?.count()?,
            offset: form.require("offset")?.count()?,
            search: form.require("search")?.text()?,
        }),
        _ => Input::Tables(changes(&mut form)?),
    };
    form.finish()?;
    Ok(input)
}

fn changes(form: &mut Form<'_>) -> Result<Vec<TableChange>, Refusal> {
    let action = form.require("action")?;
    let word = action.text()?;
    if word == "list" {
        return Ok(Vec::new());
    }
    let schema = form.require("schema")?.name(NAME_BYTES)?;
    let tables = match form.take("tables") {
        Some(tables) => tables.texts(MAX_COLUMNS)?,
        None => vec![form.require("table")?.name(NAME_BYTES)?],
    };
    let events =
        form.take("events").filter(|events| !events.is_null()).map(|events| operations(&events)).transpose()?;
    let excluded = form.take("exclude").filter(|columns| !columns.is_null());
    let excluded = excluded.map(|columns| columns.texts(MAX_COLUMNS)).transpose()?.map(distinct);
    let act = match (word.as_str(), events) {
        ("enable", Some(operations)) => TableAct::Enable { operations, excluded },
        ("update", operations) => TableAct::Update { operations, excluded },
        ("disable", _) => TableAct::Disable,
        _ => return Err(action.refuse("must be \"list\", \"enable\" with events, \"update\" or \"disable\"")),
    };
    Ok(tables.into_iter().map(|table| TableChange { schema: schema.clone(), table, act: act.clone() }).collect())
}

/// Reads a non-empty list of row operations.
fn operations(field: &Field<'_>) -> Result<BTreeSet<Operation>, Refusal> {
    let mut operations = BTreeSet::new();
    for word in field.texts(MAX_COLUMNS)? {
        let operation = Operation::named(&word);
        operations.insert(operation.ok_or_else(|| field.refuse("must name INSERT, UPDATE or DELETE"))?);
    }
    if operations.is_empty() { Err(field.refuse("must not be empty")) } else { Ok(operations) }
}

/// The answer of the object.
pub fn answer(administered: &Administered) -> Answer {
    let body = match administered {
        Administered::Connections(connections) => {
            let list: Vec<Value> = connections.list.iter().map(connection).collect();
            let mut body = json!({ "total_connections": connections.total, "connections": list });
            if let (false, Some(body)) = (connections.relays.is_empty(), body.as_object_mut()) {
                body.insert("relays".to_owned(), json!(connections.relays));
            }
            body
        }
        Administered::Channels(channels) => json!({ "hashes": channels.hashes().collect::<Vec<_>>() }),
        Administered::Tables(states) => {
            let tables: Vec<Value> = states.iter().zip(1_u64..).map(|(state, id)| table(id, state)).collect();
            json!({ "tables": tables })
        }
    };
    Answer::json(200, &body)
}

fn connection(connection: &Connection) -> Value {
    json!({
        "id": &*connection.id,
        "user_id": connection.user,
        "email": null,
        "remote_addr": null,
        "connected_at": iso(connection.opened),
    })
}

fn table(id: u64, state: &TableState) -> Value {
    let TableState { schema, table, setting } = state;
    let events: Vec<&str> = setting.operations.iter().map(|operation| operation.as_str()).collect();
    json!({
        "id": id,
        "schema": schema,
        "table": table,
        "enabled": setting.is_enabled,
        "events": events,
        "excluded": setting.excluded,
        "created_at": iso(setting.created),
        "updated_at": iso(setting.updated),
    })
}
