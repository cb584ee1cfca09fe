//! The cost of a database's changes: as many groups as there are users, one of which sees each row.

use std::hint::black_box;
use std::io::{Error, Result};
use std::rc::Rc;
use std::time::Instant;

use realtime_worker::dialect::{Received, read_configuration};
use realtime_worker::engine::effect::{Effect, Question, Task};
use realtime_worker::engine::input::{Input, SocketId, Stored};
use realtime_worker::engine::tenant::Environment;
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::server::changes;
use realtime_worker::server::outgoing::Outgoing;
use realtime_worker::server::tenant_server::TenantServer;
use serde_json::{Value, json};

use super::{ID, Open, line, open, refused, sent};

const ORGANIZATION: &str = "org_bench";
/// Numbers of groups, each with one session.
const SIZES: [u32; 2] = [500, 10_000];
/// Changes of one batch.
const CHANGES: u32 = 64;
const ROUNDS: u64 = 20;

/// Prints the section: microseconds per change.
pub fn print() -> Result<()> {
    for size in SIZES {
        let (mut server, configuration, groups) = gather(size)?;
        let mut shortest = f64::INFINITY;
        for round in 1..=ROUNDS {
            let batch = batch(round, &groups).to_string();
            let start = Instant::now();
            let input = changes::changes(&batch, ORGANIZATION, &configuration).map_err(refused)?;
            let frames = frames(server.handle(1_000_000 + round, input));
            shortest = shortest.min(start.elapsed().as_secs_f64());
            if sent(&frames) != CHANGES as usize {
                return Err(Error::other(format!("{} frames were sent", sent(&frames))));
            }
        }
        line(&format!("judged for {size} groups, 1 recipient, a change"), shortest * 1e6 / f64::from(CHANGES));
    }
    Ok(())
}

fn frames(effects: Vec<Effect>) -> Vec<Outgoing> {
    let mut frames = Vec::new();
    for effect in effects {
        match effect {
            Effect::Deliver { to, dialect, address, event, .. } => {
                frames.extend(Outgoing::of(to, dialect, address.as_ref(), &event));
            }
            Effect::Do(task) => drop(black_box(task)),
        }
    }
    frames
}

/// A tenant with this many users who each subscribe to the table, and the ids of their groups.
fn gather(size: u32) -> Result<(TenantServer, Rc<Configuration>, Vec<String>)> {
    let database = json!({ "connection": "DATABASE_URL", "organization": ORGANIZATION, "roles": ["authenticated"] });
    let realtime = json!({ "databases": { "main": database } }).to_string();
    let variable = |name: &str| match name {
        "ACCESS_TOKEN" | "JWT_SECRET" => Some("a secret of the benchmark, of 32 bytes at least".to_owned()),
        "REALTIME" => Some(realtime.clone()),
        _ => None,
    };
    let configuration = Rc::new(read_configuration(&variable).map_err(refused)?);
    let environment = Environment {
        now: 0,
        organization: ORGANIZATION.to_owned(),
        configuration: configuration.clone(),
        epoch: "0123456789abcdef".to_owned(),
    };
    let mut server = TenantServer::wake(environment, Stored::default()).0;
    let mut told = Vec::new();
    for number in 0..size {
        let mut opening = Open { dialect: ID, ..open(number, "authenticated") };
        if let Some(principal) = &mut opening.principal {
            principal.all_claims = Some(format!("{{\"sub\":\"usr_{number}\"}}"));
        }
        told.extend(server.handle(0, Input::Open(opening)));
        let frame = server.frame(SocketId(number), Received::Text(r#"{"type":"subscribe","id":"s","table":"tasks"}"#));
        told.extend(server.handle(0, frame));
    }
    let groups = settle(&mut server, told)?;
    Ok((server, configuration, groups))
}

/// Answers every question until there is none, and returns the groups of the last report.
fn settle(server: &mut TenantServer, mut effects: Vec<Effect>) -> Result<Vec<String>> {
    let roles = json!({ "authenticated": { "state": "live", "columns": ["id", "title"] } });
    let table = json!({ "schema": "public", "table": "tasks", "enabled": true, "row_security": true,
        "columns": [], "primary_key": ["id"], "replica_identity": "default", "roles": roles });
    let catalog = json!({ "tables": [table] }).to_string();
    let mut groups = Vec::new();
    while let Some(report) = std::mem::take(&mut effects).into_iter().find_map(question) {
        let body: Value = serde_json::from_str(&report.body)?;
        let all = body.get("groups").and_then(Value::as_array).cloned().unwrap_or_default();
        groups = all.iter().filter_map(|group| group.get("id")?.as_str().map(str::to_owned)).collect();
        let catalog = Some(catalog.clone());
        effects = server.handle(report.revision, Input::InterestAnswered { revision: report.revision, catalog });
    }
    Ok(groups)
}

fn question(effect: Effect) -> Option<realtime_worker::engine::database::interest::InterestReport> {
    match effect {
        Effect::Do(Task::AskDatabase { question: Question::Interest(report), .. }) => Some(report),
        _ => None,
    }
}

/// A batch in which each change is seen by another group.
fn batch(number: u64, groups: &[String]) -> Value {
    let change = |id: u32| json!({ "schema": "public", "table": "tasks", "op": "INSERT", "at": "2026-11-26T01:02:03.123Z", "new": { "id": id, "title": "Write the figures down" } });
    let numbers: Vec<u32> = (0..CHANGES).collect();
    let digits = |group: usize| -> String {
        numbers.iter().map(|change| if *change as usize == group { '1' } else { '0' }).collect()
    };
    let (new, old): (Vec<String>, Vec<String>) =
        (0..groups.len()).map(|group| (digits(group), "0".repeat(numbers.len()))).unzip();
    let verdict = json!({ "schema": "public", "table": "tasks", "role": "authenticated", "columns": ["id", "title"],
        "changes": numbers, "groups": groups, "new": new, "old": old, "failed": {} });
    let changes: Vec<Value> = numbers.iter().copied().map(change).collect();
    json!({ "database": "main", "epoch": "e", "batch": number, "changes": changes, "verdicts": [verdict] })
}
