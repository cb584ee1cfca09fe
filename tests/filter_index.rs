//! The index over filters, for random filters, masks and rows: a subscriber receives what its filter matches when
//! judged on what the subscriber may see, and nothing else.
//!
//! The test does not compute what someone may see: a twin with the same user and roles, but without a filter, receives
//! it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use realtime_worker::policy::filter::{ColumnType, Filter};
use realtime_worker::value::row::Row;
use rig::{Client, Rig};
use serde_json::{Value, json};

const COLUMNS: [&str; 8] = ["number", "text", "truth", "instant", "unique", "free", "masked", "owner"];
const ROLES: [&str; 2] = ["hr", "member"];
const LITERALS: [&str; 20] = [
    "2026-08-22 11:30:00+02",
    "2026-08-22T09:30:00Z",
    "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
    "a0eebc999c0b4ef8bb6d6bb9bd380a11",
    "1",
    "1.0",
    "01",
    "10e-1",
    "-0",
    "0",
    "x",
    "",
    "true",
    "t",
    "f",
    "null",
    "123-45-6789",
    "*****6789",
    "[REDACTED]",
    "\"1\"",
];

fn cell() -> impl Strategy<Value = Value> {
    let cells = vec![
        json!(1),
        json!(1.0),
        json!("1"),
        json!("1.00"),
        json!(0),
        json!("-0"),
        json!("x"),
        json!(""),
        json!("true"),
        json!("t"),
        json!(true),
        json!(false),
        json!(null),
        json!("123-45-6789"),
        json!("2026-08-22T09:30:00+00:00"),
        json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        json!([1]),
        json!({ "a": "x" }),
    ];
    select(cells)
}

fn row() -> impl Strategy<Value = Value> {
    let columns = subsequence(COLUMNS.to_vec(), 0..=COLUMNS.len());
    (columns, vec(cell(), COLUMNS.len())).prop_map(|(columns, cells)| columns.into_iter().zip(cells).collect())
}

fn condition() -> impl Strategy<Value = String> {
    let operator = select(vec!["eq", "eq", "in", "neq", "gt", "isdistinct", "is"]);
    let literals = vec(select(LITERALS.to_vec()), 1..4);
    (select(COLUMNS.to_vec()), prop::bool::weighted(0.1), operator, literals).prop_map(
        |(column, not, operator, literals)| {
            let value = match operator {
                "in" => format!("({})", literals.join(",")),
                "is" => "null".to_owned(),
                _ => literals[0].to_owned(),
            };
            format!("{column}={}{operator}.{value}", if not { "not." } else { "" })
        },
    )
}

/// Subscriptions of one client: each to a table, or to all, with a filter.
fn subscriptions() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let filter = vec(condition(), 0..3).prop_map(|conditions| conditions.join(","));
    vec((select(vec!["t", "t", "t", "*", "other"]), filter), 1..3)
}

fn mask() -> impl Strategy<Value = Value> {
    let show = subsequence(ROLES.to_vec(), 0..=1).prop_map(|roles| json!({ "roles": roles, "or": "owner" }));
    (select(vec!["ssn", "redact", "name"]), show).prop_map(|(kind, show)| json!({ "type": kind, "show": show }))
}

/// One publication: its operation, the rows, and the masks of the request.
fn publication() -> impl Strategy<Value = Value> {
    let request_masks = prop::option::of((select(COLUMNS.to_vec()), mask()));
    (select(vec!["INSERT", "UPDATE", "DELETE"]), row(), row(), request_masks).prop_map(
        |(operation, new, old, masks)| {
            let masking: Value = masks.into_iter().map(|(column, mask)| (column.to_owned(), mask)).collect();
            let new = if operation == "DELETE" { json!(null) } else { new };
            let old = if operation == "INSERT" { json!(null) } else { old };
            json!({ "type": "postgres_changes", "table": "t", "eventType": operation, "new": new, "old": old,
            "maskingConfig": masking })
        },
    )
}

fn declared(column: &str) -> Option<ColumnType> {
    match column {
        "number" => Some(ColumnType::Number),
        "text" | "masked" | "owner" => Some(ColumnType::Text),
        "truth" => Some(ColumnType::Boolean),
        "instant" => Some(ColumnType::Timestamp),
        "unique" => Some(ColumnType::Uuid),
        _ => None,
    }
}

/// Whether one of the subscriptions matches what the twin received.
fn matches(subscriptions: &[(&str, String)], seen: &Value) -> bool {
    let row = if seen["eventType"] == "DELETE" { &seen["old"] } else { &seen["new"] };
    let row = Row::read(&row.to_string()).unwrap();
    subscriptions
        .iter()
        .any(|(table, filter)| matches!(*table, "t" | "*") && Filter::parse(filter).unwrap().matches(&row, &declared))
}

fn connect(rig: &mut Rig, number: usize, role: &str, subscriptions: Value) -> Client {
    // The first one owns rows whose `owner` column is "x".
    let user = if number == 0 { "x".to_owned() } else { format!("u{number}") };
    let claims = rig.claims(&user, &[role]);
    let client = rig.connect_saying(&claims, subscriptions);
    client.frames();
    client
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_whom_judging_all_finds(
        people in vec((select(ROLES.to_vec()), subscriptions()), 1..6),
        mask in mask(),
        publications in vec(publication(), 1..6),
        leaver in any::<prop::sample::Index>(),
    ) {
        let mut rig = Rig::new(&json!({ "tables": { "t": {
            "columns": { "number": "int8", "text": "text", "truth": "bool", "instant": "timestamptz", "unique": "uuid",
                "masked": "text", "owner": "text" },
            "masking": { "masked": mask }, "ownerField": "owner" } } }));
        let pairs: Vec<_> = people.iter().enumerate().map(|(number, (role, subscriptions))| {
            let ask = |(id, (table, filter)): (usize, &(&str, String))|
                json!({ "id": id.to_string(), "table": table, "filter": filter });
            let asked: Vec<_> = subscriptions.iter().enumerate().map(ask).collect();
            let twin = connect(&mut rig, number, role, json!({}));
            (connect(&mut rig, number, role, json!({ "subscriptions": asked })), twin)
        }).collect();
        for (round, publication) in publications.iter().enumerate() {
            rig.accepted(publication.clone());
            for ((client, twin), (_, subscriptions)) in pairs.iter().zip(&people) {
                let (got, seen) = (client.frames(), twin.frames());
                let expected: Vec<_> = seen.into_iter().filter(|seen| matches(subscriptions, seen)).collect();
                prop_assert_eq!(got, expected, "{:?} on {}", subscriptions, publication);
            }
            if round == 0 {
                // One changes its subscription, and one that has left must not be found.
                let number = leaver.index(pairs.len());
                for id in 0..people[number].1.len() {
                    rig.frame(&pairs[number].0, json!({ "type": "unsubscribe", "id": id.to_string() }));
                }
                for (id, (table, filter)) in people[number].1.iter().enumerate() {
                    let frame = json!({ "type": "subscribe", "id": id.to_string(), "table": table, "filter": filter });
                    rig.frame(&pairs[number].0, frame);
                }
                pairs[number].0.frames();
                rig.hibernate();
            }
        }
    }
}
