//! Administration of tables over Fluxbase's REST (docs/protocol-fluxbase.md, Tables), for holders of an admin role.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::access::{AuthenticatedRequest, rejected};
use crate::code::{Code, Refusal};
use crate::engine::table_settings::OPERATIONS;
use crate::policy::configuration::Configuration;
use crate::policy::limits::NAME_BYTES;
use crate::policy::table::{DEFAULT_SCHEMA, MAX_COLUMNS, Operation, distinct, is_system_schema};
use crate::server::answer::Answer;
use crate::server::api::{ApiStep, Rejected};
use crate::server::control_plane::{self, TableRefusal};
use crate::value::form::{Field, Form};
use crate::value::percent;

/// The path of all tables; schema and name of one follow it.
pub const TABLES: &str = "/api/v1/admin/realtime/tables";

/// Schema and name of the table in a path; `None` for other paths.
pub fn place(path: &str) -> Option<(String, String)> {
    let (schema, table) = path.strip_prefix(TABLES)?.strip_prefix('/')?.split_once('/')?;
    let part = |text: &str| if text.contains('/') { None } else { percent::decode(text) };
    Some((part(schema)?, part(table)?))
}

/// Handles an administrator's request.
pub(super) fn call(configuration: &Configuration, request: AuthenticatedRequest) -> Result<ApiStep, Rejected> {
    if !request.caller.is_admin() {
        return Err(rejected(Code::Forbidden));
    }
    let place = place(&request.head.path);
    if let Some((schema, _)) = place.as_ref().filter(|(schema, _)| is_system_schema(schema)) {
        return Err(rejected(refused_schema(schema)));
    }
    match (request.head.method.as_str(), place) {
        ("POST", None) => Ok(ApiStep::read_body(move |configuration, body| {
            let (body, schema, table) = enabling(&text(body)?).map_err(rejected)?;
            ask(configuration, request, body, move |answer| enabled(&answer, &schema, &table))
        })),
        ("PATCH", Some((schema, table))) => Ok(ApiStep::read_body(move |configuration, body| {
            let body = updating(&text(body)?, &schema, &table).map_err(rejected)?;
            ask(configuration, request, body, move |_| Ok(done(&format!("Table {schema}.{table} was updated."))))
        })),
        ("DELETE", Some((schema, table))) => {
            let body = json!({ "action": "disable", "schema": schema, "table": table });
            ask(configuration, request, body, move |_| Ok(done(&format!("Realtime is off for {schema}.{table}."))))
        }
        (_, Some((schema, table))) => {
            let body = json!({ "action": "find", "schema": schema, "table": table });
            ask(configuration, request, body, move |answer| one(&answer, &schema, &table))
        }
        (_, None) => {
            let enabled = request.head.parameter("enabled") != Some("false");
            ask(configuration, request, json!({ "action": "list" }), move |answer| list(&answer, enabled))
        }
    }
}

fn text(body: Vec<u8>) -> Result<String, Rejected> {
    String::from_utf8(body).map_err(|_| rejected(Code::InvalidRequest))
}

/// Sends a request to the object or database that has the organization's table settings.
fn ask(
    configuration: &Configuration,
    request: AuthenticatedRequest,
    body: Value,
    then: impl FnOnce(Value) -> Result<Answer, Rejected> + 'static,
) -> Result<ApiStep, Rejected> {
    control_plane::ask(configuration, &request.organization, body, move |_, answer| {
        let answer = answer.map_err(|refusal| rejected(refused(&refusal)))?;
        then(answer).map(ApiStep::Answer)
    })
}

/// The refusal in this API's words.
fn refused(refusal: &TableRefusal) -> Refusal {
    match refusal {
        TableRefusal::Missing(_) | TableRefusal::NotEnabled => unknown(),
        TableRefusal::Invalid => Refusal::because(Code::InvalidRequest, "The schema's tables cannot be enabled."),
        TableRefusal::Shared => Refusal::because(
            Code::Forbidden,
            "The database is that of several organizations: enable its tables there, with enable_realtime.",
        ),
        TableRefusal::NotAllowed => Refusal::because(
            Code::Forbidden,
            "The database does not let its reader enable tables: use enable_realtime, or install --control-plane yes.",
        ),
        TableRefusal::Failed(code) => Refusal::of(*code),
    }
}

fn refused_schema(schema: &str) -> Refusal {
    Refusal::at(Code::InvalidRequest, "schema", format!("Schema {schema} cannot be enabled"))
}

fn unknown() -> Refusal {
    Refusal::because(Code::UnknownTable, "Table not found, or not enabled for realtime")
}

/// Reads `{ schema?, table, events?, exclude? }` into the request for the object, and the table.
fn enabling(body: &str) -> Result<(Value, String, String), Refusal> {
    let mut form = Form::read(body, Code::InvalidRequest)?;
    let schema = form.take("schema").map(|schema| identifier(&schema)).transpose()?;
    let schema = schema.unwrap_or_else(|| DEFAULT_SCHEMA.to_owned());
    if is_system_schema(&schema) {
        return Err(refused_schema(&schema));
    }
    let table = identifier(&form.require("table")?)?;
    let (events, exclude) = settings(&mut form)?;
    form.finish()?;
    let events = events.unwrap_or_else(|| OPERATIONS.map(|operation| operation.as_str().to_owned()).to_vec());
    let body = json!({ "action": "enable", "schema": schema, "table": table, "events": events, "exclude": exclude });
    Ok((body, schema, table))
}

/// Reads `{ events?, exclude? }`.
fn updating(body: &str, schema: &str, table: &str) -> Result<Value, Refusal> {
    let mut form = Form::read(body, Code::InvalidRequest)?;
    let (events, exclude) = settings(&mut form)?;
    form.finish()?;
    Ok(json!({ "action": "update", "schema": schema, "table": table, "events": events, "exclude": exclude }))
}

type CaptureChoice = (Option<Vec<String>>, Option<BTreeSet<String>>);

fn settings(form: &mut Form<'_>) -> Result<CaptureChoice, Refusal> {
    let events = form.take("events").map(|events| {
        let words = events.texts(OPERATIONS.len())?;
        let is_known = !words.is_empty() && words.iter().all(|word| Operation::named(word).is_some());
        if is_known { Ok(words) } else { Err(events.refuse("must name INSERT, UPDATE or DELETE")) }
    });
    let exclude = form.take("exclude").map(|columns| columns.texts(MAX_COLUMNS)).transpose()?.map(distinct);
    Ok((events.transpose()?, exclude))
}

/// `[A-Za-z_][A-Za-z0-9_]*`
fn identifier(field: &Field<'_>) -> Result<String, Refusal> {
    let name = field.name(NAME_BYTES)?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_identifier = name.bytes().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit());
    if is_identifier { Ok(name) } else { Err(field.refuse("is not a valid identifier")) }
}

fn done(message: &str) -> Answer {
    Answer::json(200, &json!({ "success": true, "message": message }))
}

/// The tables of the object's answer.
fn tables(answer: &Value) -> impl Iterator<Item = &Value> {
    answer.get("tables").and_then(Value::as_array).into_iter().flatten()
}

fn find<'a>(answer: &'a Value, schema: &str, table: &str) -> Result<&'a Value, Rejected> {
    let is = |one: &Value, name: &str, text: &str| one.get(name).and_then(Value::as_str) == Some(text);
    let found = tables(answer).find(|one| is(one, "schema", schema) && is(one, "table", table));
    found.ok_or_else(|| rejected(unknown()))
}

/// A table in this API's format.
fn shown(table: &Value) -> Value {
    let names = [
        ("id", "id"),
        ("schema", "schema"),
        ("table", "table"),
        ("realtime_enabled", "enabled"),
        ("events", "events"),
        ("excluded_columns", "excluded"),
        ("created_at", "created_at"),
        ("updated_at", "updated_at"),
    ];
    let member = |(shown, known): (&str, &str)| (shown.to_owned(), table.get(known).cloned().unwrap_or_default());
    Value::Object(names.into_iter().map(member).collect::<Map<String, Value>>())
}

fn enabled(answer: &Value, schema: &str, table: &str) -> Result<Answer, Rejected> {
    let set = find(answer, schema, table)?;
    let body = json!({
        "schema": schema,
        "table": table,
        "events": set.get("events"),
        "trigger_name": format!("{table}_realtime_notify"),
        "exclude": set.get("excluded"),
    });
    Ok(Answer::json(201, &body))
}

fn one(answer: &Value, schema: &str, table: &str) -> Result<Answer, Rejected> {
    find(answer, schema, table).map(|table| Answer::json(200, &shown(table)))
}

fn list(answer: &Value, enabled: bool) -> Result<Answer, Rejected> {
    let is_meant = |table: &&Value| !enabled || table.get("enabled") == Some(&Value::Bool(true));
    let tables: Vec<Value> = tables(answer).filter(is_meant).map(shown).collect();
    Ok(Answer::json(200, &json!({ "tables": tables, "count": tables.len() })))
}
