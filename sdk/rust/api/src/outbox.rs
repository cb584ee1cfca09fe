//! Publications through the outbox: written in the transaction of the rows, and flushed on request.

use realtime_worker_client::{FlushOptions, OUTBOX_TABLE, Options, Outbox, Realtime, RealtimeError};
use serde::Deserialize;
use serde_json::{Value, json};
use worker::{D1Database, D1PreparedStatement, Env, Method, Request};

/// What one request changes, in one transaction.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Changes {
    opened: Vec<String>,
    closed: Vec<String>,
    removed: Vec<String>,
    events: Vec<String>,
}

/// `POST /outbox/{organization}` commits changes, `PUT` creates the tables, `GET` flushes; `GET /outbox` flushes all
/// organizations.
pub async fn answer(request: &mut Request, env: &Env) -> Result<Value, RealtimeError> {
    let path = request.path();
    let organization = path.strip_prefix("/outbox/").unwrap_or_default();
    let database = env.d1("DB").map_err(failed)?;
    let realtime = Realtime::new(env)?;
    let outbox = realtime.outbox(&database);
    match request.method() {
        Method::Put => migrate(&database).await,
        Method::Post => {
            let changes = request.json().await.map_err(failed)?;
            database.batch(statements(&database, &outbox, organization, &changes)?).await.map_err(failed)?;
            Ok(json!({}))
        }
        _ => flush(&outbox, organization).await,
    }
}

async fn migrate(database: &D1Database) -> Result<Value, RealtimeError> {
    let tables = format!("{OUTBOX_TABLE}CREATE TABLE claims (id TEXT PRIMARY KEY, open INTEGER);");
    for statement in tables.split_inclusive(";\n") {
        database.prepare(statement).run().await.map_err(failed)?;
    }
    Ok(json!({}))
}

fn statements(
    database: &D1Database,
    outbox: &Outbox,
    organization: &str,
    changes: &Changes,
) -> Result<Vec<D1PreparedStatement>, RealtimeError> {
    let everyone = Options::default();
    let write = |sql: &str, id: &str| database.prepare(sql).bind(&[id.into()]).map_err(failed);
    let (open, closed) = (|id: &str| json!({ "id": id, "open": true }), |id: &str| json!({ "id": id, "open": false }));
    let mut all = Vec::new();
    for id in &changes.opened {
        all.push(write("INSERT INTO claims (id, open) VALUES (?, 1)", id)?);
        all.push(outbox.insert("claims", &open(id), organization, &everyone)?);
    }
    for id in &changes.closed {
        all.push(write("UPDATE claims SET open = 0 WHERE id = ?", id)?);
        all.push(outbox.update("claims", &closed(id), Some(&open(id)), organization, &everyone)?);
    }
    for id in &changes.removed {
        all.push(write("DELETE FROM claims WHERE id = ?", id)?);
        all.push(outbox.delete("claims", &closed(id), organization, &everyone)?);
    }
    for event in &changes.events {
        all.push(outbox.broadcast(event, &1, organization, &everyone)?);
    }
    Ok(all)
}

async fn flush(outbox: &Outbox<'_>, organization: &str) -> Result<Value, RealtimeError> {
    let all = FlushOptions::default();
    let options = if organization.is_empty() { all } else { FlushOptions::of(organization) };
    let report = outbox.flush(&options).await?;
    let errors: Vec<&str> = report.errors.iter().map(|error| error.code.as_str()).collect();
    Ok(json!({ "published": report.published, "parked": report.parked, "errors": errors, "more": report.more }))
}

fn failed(error: worker::Error) -> RealtimeError {
    RealtimeError::here("database", error.to_string())
}
