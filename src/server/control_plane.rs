//! Control planes: the dialects' interfaces for administrators that enable tables share this module. An organization's
//! own database holds its table settings; without one, the organization's object stores them.

use serde_json::{Value, json};

use super::administration::TABLES;
use super::api::{ApiStep, DatabaseRequest, ObjectRequest, Rejected, code_of};
use crate::code::Code;
use crate::engine::relay::Peer;
use crate::policy::configuration::Configuration;
use crate::policy::database::Serves;

/// A request: `{ action: "list" }`, `"find"` with `schema` and `table`, or `"enable"`, `"update"`, `"disable"` with `schema`,
/// `table` or `tables`, `events` and `exclude`. Written by the Worker.
pub type TableRequest = Value;
/// An answer: `{ tables: [{ id, schema, table, enabled, events, excluded, created_at, updated_at }] }`. A database also
/// reports its connection (`connected`), and for each table `trigger_installed` and `drift`.
pub type TableList = Value;

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableRefusal {
    /// These tables do not exist.
    Missing(Vec<String>),
    /// The table is not enabled.
    NotEnabled,
    /// The request is malformed.
    Invalid,
    /// The database has other organizations' rows too, so no single organization may set its tables.
    Shared,
    /// The database role may not enable tables.
    NotAllowed,
    /// The database or object failed.
    Failed(Code),
}

type Then = Box<dyn FnOnce(&Configuration, Result<TableList, TableRefusal>) -> Result<ApiStep, Rejected>>;

/// Sends a request to the object or database that has an organization's table settings.
///
/// # Errors
/// What `then` returns for a refusal.
pub fn ask(
    configuration: &Configuration,
    organization: &str,
    request: TableRequest,
    then: impl FnOnce(&Configuration, Result<TableList, TableRefusal>) -> Result<ApiStep, Rejected> + 'static,
) -> Result<ApiStep, Rejected> {
    let then: Then = Box::new(then);
    match configuration.databases().of(organization) {
        None => Ok(ask_object(organization, &request, then)),
        Some(database) => match (&database.serves, is(&request, "list") || is(&request, "find")) {
            (Serves::Organization(_), _) | (_, true) => Ok(ask_database(database.name.to_string(), request, then)),
            (Serves::Column(_) | Serves::Each(_), false) => then(configuration, Err(TableRefusal::Shared)),
        },
    }
}

fn is(request: &TableRequest, action: &str) -> bool {
    request.get("action").and_then(Value::as_str) == Some(action)
}

fn ask_object(organization: &str, request: &TableRequest, then: Then) -> ApiStep {
    // The object's list has every table.
    let request = if is(request, "find") { json!({ "action": "list" }) } else { request.clone() };
    let (organization, body) = (organization.to_owned(), Some(request.to_string()));
    let question = ObjectRequest { organization, peer: Peer::Root, path: TABLES, body };
    ApiStep::ask(question, move |configuration, status, body| {
        let answer = match status {
            200 => parsed(body),
            400 => Err(TableRefusal::Invalid),
            404 => Err(TableRefusal::Missing(missing(body))),
            409 => Err(TableRefusal::NotEnabled),
            status => Err(failed(status)),
        };
        then(configuration, answer)
    })
}

fn ask_database(database: String, request: TableRequest, then: Then) -> ApiStep {
    if is(&request, "list") {
        return list(database, then);
    }
    if is(&request, "find") {
        return find_in_database(database, request, then);
    }
    if is(&request, "update") {
        return update(database, request, then);
    }
    let question = DatabaseRequest { database: database.clone(), path: TABLES, body: request.to_string() };
    ApiStep::ask_database(question, move |configuration, status, body| match changed(status, body) {
        Ok(()) => Ok(list(database, then)),
        Err(refusal) => then(configuration, Err(refusal)),
    })
}

/// The outcome of enabling or disabling.
fn changed(status: u16, body: &str) -> Result<(), TableRefusal> {
    let answer = match status {
        200 => parsed(body)?,
        400 => return Err(TableRefusal::Invalid),
        403 => return Err(TableRefusal::NotAllowed),
        status => return Err(failed(status)),
    };
    let missing: Vec<String> = texts(answer.get("missing"));
    if !missing.is_empty() {
        return Err(TableRefusal::Missing(missing));
    }
    if answer.get("changed") == Some(&Value::Bool(false)) { Err(TableRefusal::NotEnabled) } else { Ok(()) }
}

/// A database replaces all settings of a table, so those that are not given are taken from its current ones.
fn update(database: String, request: TableRequest, then: Then) -> ApiStep {
    let same = database.clone();
    let then_enable = move |configuration: &Configuration, listed: Result<TableList, TableRefusal>| {
        let is_enabled = |table: &Value| table.get("enabled") == Some(&Value::Bool(true));
        let enabled = |listed: TableList| find(&listed, &request).filter(is_enabled).ok_or(TableRefusal::NotEnabled);
        let known = listed.and_then(enabled);
        let known = match known {
            Ok(known) => known,
            Err(refusal) => return then(configuration, Err(refusal)),
        };
        let or = |name: &str, otherwise: &str| {
            let asked = request.get(name).filter(|asked| !asked.is_null());
            asked.or_else(|| known.get(otherwise)).cloned().unwrap_or_default()
        };
        let request = json!({ "action": "enable", "schema": request.get("schema"), "table": request.get("table"),
            "events": or("events", "events"), "exclude": or("exclude", "excluded") });
        Ok(ask_database(same, request, then))
    };
    list(database, Box::new(then_enable))
}

/// One table of a database, even one that was never enabled and is not in its list.
fn find_in_database(database: String, request: TableRequest, then: Then) -> ApiStep {
    let same = database.clone();
    let then_look = move |configuration: &Configuration, listed: Result<TableList, TableRefusal>| match listed {
        Ok(listed) if find(&listed, &request).is_none() => Ok(look_up(same, &request, then)),
        listed => then(configuration, listed),
    };
    list(database, Box::new(then_look))
}

/// Asks the database whether a table exists, which is then reported as disabled.
fn look_up(database: String, request: &TableRequest, then: Then) -> ApiStep {
    let table = json!({ "schema": request.get("schema"), "table": request.get("table"), "enabled": false, "events": [],
        "excluded": [] });
    let question = DatabaseRequest { database, path: TABLES, body: request.to_string() };
    ApiStep::ask_database(question, move |configuration, status, body| {
        let answer = if status == 200 { parsed(body) } else { Err(failed(status)) };
        let is_there = |answer: Value| answer.get("found") == Some(&Value::Bool(true));
        let listed = answer.map(
            |answer| json!({ "tables": Vec::from_iter(Some(table).filter(|_| is_there(answer))), "connected": true }),
        );
        then(configuration, listed)
    })
}

fn find(listed: &TableList, request: &TableRequest) -> Option<Value> {
    let tables = listed.get("tables").and_then(Value::as_array)?;
    let is_it = |table: &&Value| ["schema", "table"].iter().all(|name| table.get(name) == request.get(name));
    tables.iter().find(is_it).cloned()
}

/// The tables of a database, as its object reports them.
fn list(database: String, then: Then) -> ApiStep {
    let question = DatabaseRequest { database, path: "/status", body: String::new() };
    ApiStep::ask_database(question, move |configuration, status, body| {
        let answer = if status == 200 { parsed(body) } else { Err(failed(status)) };
        then(configuration, answer.and_then(|answer| listed(&answer)))
    })
}

fn listed(status: &Value) -> Result<TableList, TableRefusal> {
    let tables = status.pointer("/database/tables").and_then(Value::as_array);
    let tables = tables.ok_or(TableRefusal::Failed(Code::SourceUnavailable))?;
    // Older SQL does not report disabled tables.
    let disabled = status.pointer("/database/disabled").and_then(Value::as_array).into_iter().flatten();
    let mut tables: Vec<&Value> = tables.iter().chain(disabled).collect();
    tables.sort_by_key(|table| ["schema", "table"].map(|name| table.get(name).and_then(Value::as_str)));
    let numbered = tables.into_iter().zip(1_u64..).filter_map(|(table, id)| {
        let mut table = table.as_object()?.clone();
        table.insert("id".to_owned(), Value::from(id));
        Some(Value::Object(table))
    });
    Ok(json!({ "tables": numbered.collect::<Vec<_>>(), "connected": true }))
}

fn parsed(body: &str) -> Result<Value, TableRefusal> {
    serde_json::from_str(body).map_err(|_| TableRefusal::Failed(Code::Internal))
}

/// The names of missing tables, which the refusal carries in its field.
fn missing(body: &str) -> Vec<String> {
    let refusal: Value = serde_json::from_str(body).unwrap_or_default();
    let field = refusal.pointer("/error/field").and_then(Value::as_str).unwrap_or_default();
    field.split(',').map(str::to_owned).collect()
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn failed(status: u16) -> TableRefusal {
    TableRefusal::Failed(code_of(status))
}
