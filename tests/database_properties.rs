//! Properties on random rules, verdicts, column rights and people: no session receives a row or a column that its
//! verdict denies, everyone receives what verdict and rules allow, and a returning client receives the same.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod oracle;
mod random;
mod rig;

use oracle::{Person, Seen, Verdict, keep_admitted, sees_judged};
use proptest::collection::vec;
use proptest::prelude::*;
use random::{change, interruption, person, table};
use rig::{Client, ORGANIZATION, Rig};
use serde_json::{Value, json};

/// The first role is that of principals with neither; `admin` sees every row.
const DATABASE_ROLES: [&str; 2] = ["member", "hr"];
const BYPASS: &str = "admin";
/// The columns that each database role may read.
const MEMBER_COLUMNS: [&str; 5] = ["id", "userId", "team", "pin", "mail"];
const HR_COLUMNS: [&str; 3] = ["id", "userId", "team"];

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn rig(table: &Value) -> Rig {
    let database = json!({ "connection": "DATABASE_URL", "organization": ORGANIZATION, "roles": DATABASE_ROLES,
        "bypass": [BYPASS] });
    let realtime = json!({ "databases": { "main": database }, "history": { "replay": 10_000 },
        "tables": { "t": table, "keeper": { "rows": [{ "column": "x", "claim": "teams" }] } } });
    let mut rig = Rig::new(&realtime);
    let columns = MEMBER_COLUMNS.map(|column| (column, "text"));
    let tables = ["t", "other"].map(|name| {
        let mut table = rig::source::table(name, &columns, &DATABASE_ROLES);
        table["roles"]["hr"]["columns"] = json!(HR_COLUMNS);
        table
    });
    rig.source.tables = Some(json!(tables));
    rig.source.policy = policy;
    rig
}

/// Pseudorandom, and the same for the same input (FNV-1a).
fn policy(role: &str, claims: &Value, table: &str, row: &Value) -> bool {
    let text = [role, &claims["sub"].to_string(), &claims["teams"].to_string(), table, &row.to_string()].concat();
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash >> 32) % 5 > 1
}

fn verdict(change: &Value, person: &Person) -> Verdict {
    if person.roles.iter().any(|role| role == BYPASS) {
        return Verdict { new: true, old: true, columns: None };
    }
    let held = person.roles.iter().find(|role| DATABASE_ROLES.contains(&role.as_str()));
    let role = held.map_or(DATABASE_ROLES[0], String::as_str);
    let columns = if role == "hr" { HR_COLUMNS.as_slice() } else { MEMBER_COLUMNS.as_slice() };
    let claims = json!({ "sub": person.user, "teams": person.teams });
    let sees = |row: &Value| !row.is_null() && policy(role, &claims, change["table"].as_str().unwrap(), row);
    let columns = Some(columns.iter().map(|column| (*column).to_owned()).collect());
    Verdict { new: sees(&change["new"]), old: sees(&change["old"]), columns }
}

/// What someone sees of a change, under the rules of its table and of the database.
fn expected(table: &Value, change: &Value, person: &Person) -> Option<Seen> {
    let rules = if change["table"] == "t" { table } else { &Value::Null };
    sees_judged(rules, change, person, &verdict(change, person))
}

/// A random change as the database sends it, without audience and masks.
fn told(change: &Value) -> (Value, Value) {
    let mut plain = change.clone();
    let words = ["userId", "targetRoles", "fields", "maskingConfig", "ownerField"];
    words.iter().for_each(|word| drop(plain.as_object_mut().unwrap().remove(*word)));
    let operation = plain["eventType"].as_str().unwrap();
    let table = plain["table"].as_str().unwrap();
    (rig::source::change(operation, table, plain["new"].clone(), plain["old"].clone()), plain)
}

fn connect(rig: &mut Rig, person: &Person, recover: Value) -> Client {
    let client = rig.open();
    let mut claims = rig.claims(&person.user, &person.roles.iter().map(String::as_str).collect::<Vec<_>>());
    claims["teams"] = json!(person.teams);
    let mut subscriptions = person.subscriptions.clone();
    for (id, subscription) in subscriptions.iter_mut().enumerate() {
        subscription["id"] = json!(id.to_string());
    }
    let mut more = json!({ "recover": recover });
    if !subscriptions.is_empty() {
        more["subscriptions"] = json!(subscriptions);
    }
    rig.authenticate_saying(&client, &rig::token::hs256(&claims), more);
    client
}

/// The change frames among those that the script has not read.
fn changes(client: &Client) -> Vec<Value> {
    client.frames().into_iter().filter(|frame| frame["type"] == "postgres_changes").collect()
}

fn check_frame(frame: &Value, seen: &Seen) -> Result<(), TestCaseError> {
    prop_assert_eq!(&frame["eventType"], seen.operation);
    for (side, expected) in [("new", &seen.new), ("old", &seen.old)] {
        let Some(expected) = expected else {
            prop_assert!(frame[side].is_null(), "{frame}");
            continue;
        };
        let shown = frame[side].as_object().unwrap();
        prop_assert!(shown.keys().eq(expected.keys()), "{frame} {expected:?}");
        for (column, (value, hidden)) in expected {
            prop_assert!((shown[column] == *value) != *hidden || value.is_null(), "{} of {}", column, frame);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn no_session_receives_what_its_verdict_denies(
        table in table(),
        mut people in vec(person(), 1..5),
        steps in vec((vec(change(), 1..4), interruption()), 1..8),
    ) {
        people.iter_mut().for_each(|person| keep_admitted(&table, person));
        let mut rig = rig(&table);
        let clients: Vec<Client> = people.iter().map(|person| connect(&mut rig, person, json!(false))).collect();
        clients.iter().for_each(|client| drop(client.frames()));
        for (step, interruption) in steps {
            rig.interruption = interruption;
            let (batch, plain): (Vec<Value>, Vec<Value>) = step.iter().map(told).unzip();
            let batch = rig.source.batch(&batch);
            prop_assert_eq!(rig.hand_over(&batch).status, 200);
            for (client, person) in clients.iter().zip(&people) {
                let seen: Vec<Seen> = plain.iter().filter_map(|change| expected(&table, change, person)).collect();
                let frames = changes(client);
                prop_assert_eq!(frames.len(), seen.len(), "{:?} of {:?} for {:?}", seen, plain, person);
                for (frame, seen) in frames.iter().zip(&seen) {
                    check_frame(frame, seen)?;
                }
            }
        }
    }

    /// Missing, truncated or foreign verdicts only take away.
    #[test]
    fn what_is_missing_of_a_verdict_shows_nothing_more(
        table in table(),
        mut people in vec(person(), 1..5),
        step in vec(change(), 1..4),
        damage in 0..5_u8,
    ) {
        people.iter_mut().for_each(|person| keep_admitted(&table, person));
        let mut rig = rig(&table);
        let clients: Vec<Client> = people.iter().map(|person| connect(&mut rig, person, json!(false))).collect();
        clients.iter().for_each(|client| drop(client.frames()));
        let (batch, plain): (Vec<Value>, Vec<Value>) = step.iter().map(told).unzip();
        let mut batch = rig.source.batch(&batch);
        for verdict in batch["verdicts"].as_array_mut().unwrap() {
            match damage {
                0 => verdict["groups"] = json!([]),
                1 => verdict["new"] = json!([]),
                2 => verdict["columns"] = json!([]),
                3 => verdict["changes"] = json!([999]),
                _ => verdict["table"] = json!("elsewhere"),
            }
        }
        prop_assert_eq!(rig.hand_over(&batch).status, 200);
        for (client, person) in clients.iter().zip(&people) {
            let is_bypass = person.roles.iter().any(|role| role == BYPASS);
            let seen = plain.iter().filter(|change| is_bypass && expected(&table, change, person).is_some()).count();
            prop_assert_eq!(changes(client).len(), seen);
        }
    }

    #[test]
    fn who_comes_back_is_told_what_they_may_see_and_nothing_else(
        table in table(),
        mut person in person(),
        steps in vec((vec(change(), 1..4), any::<bool>(), interruption()), 1..10),
    ) {
        keep_admitted(&table, &mut person);
        let mut rig = rig(&table);
        let twin = connect(&mut rig, &person, json!(true));
        let mut client = connect(&mut rig, &person, json!(true));
        let (mut received, mut offset) = (Vec::new(), 0);
        for (step, leaves, interruption) in steps {
            rig.interruption = interruption;
            received.extend(changes(&client));
            offset = rig.storage.history.keys().next_back().copied().unwrap_or(offset);
            if leaves {
                rig.disconnect(&client);
            }
            let batch: Vec<Value> = step.iter().map(|change| told(change).0).collect();
            let batch = rig.source.batch(&batch);
            prop_assert_eq!(rig.hand_over(&batch).status, 200);
            if leaves {
                let from = json!({ "epoch": rig.epoch(), "offset": offset });
                client = connect(&mut rig, &person, from);
                prop_assert_eq!(&client.next()["recovered"], &json!(true));
            }
        }
        received.extend(changes(&client));
        prop_assert_eq!(received, changes(&twin));
    }
}
