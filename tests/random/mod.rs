//! Random rules, people, changes and steps, over few enough names that they often coincide.
#![allow(dead_code, reason = "every test file uses its part")]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use serde_json::{Map, Value, json};

use crate::oracle::Person;
use crate::rig::Interruption;

pub const ROLES: [&str; 3] = ["admin", "hr", "member"];
pub const USERS: [&str; 3] = ["u1", "u2", "u11"];
pub const COLUMNS: [&str; 5] = ["id", "userId", "team", "pin", "mail"];
/// Some occur within others, and one is a column's name.
pub const VALUES: [&str; 8] = ["u1", "u11", "u2", "red", "red@mail.example", "123-45-6789", "pin", "1234567"];
const MASKS: [&str; 6] = ["email", "phone", "ssn", "creditCard", "name", "redact"];

pub fn roles() -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(&ROLES[..], 0..=2)
}

pub fn object(members: Vec<(&str, Option<Value>)>) -> Value {
    Value::Object(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

pub fn row() -> impl Strategy<Value = Value> {
    let cell = prop_oneof![
        6 => select(&VALUES[..]).prop_map(|value| Some(json!(value))),
        1 => Just(Some(json!(null))),
        1 => (1_000_000..1_000_003_u32).prop_map(|value| Some(json!(value))),
        1 => Just(None),
    ];
    vec(cell, COLUMNS.len()).prop_map(|cells| object(COLUMNS.into_iter().zip(cells).collect()))
}

pub fn masking() -> impl Strategy<Value = Value> {
    let show = (option::of(roles()), any::<bool>()).prop_map(|(roles, owner)| {
        object(vec![("roles", roles.map(|roles| json!(roles))), ("or", owner.then(|| json!("owner")))])
    });
    let mask = (select(&MASKS[..]), option::of(show))
        .prop_map(|(mask, show)| object(vec![("type", Some(json!(mask))), ("show", show)]));
    (subsequence(&COLUMNS[2..], 0..=2), vec(mask, 2)).prop_map(|(columns, masks)| {
        Value::Object(columns.into_iter().map(str::to_owned).zip(masks).collect::<Map<_, _>>())
    })
}

pub fn columns() -> impl Strategy<Value = Value> {
    subsequence(&COLUMNS[..], 1..=COLUMNS.len()).prop_map(|columns| json!(columns))
}

pub fn row_rule() -> impl Strategy<Value = Value> {
    let pair =
        || select(vec![json!({ "column": "team", "claim": "teams" }), json!({ "column": "userId", "claim": "sub" })]);
    prop_oneof![
        roles().prop_map(|roles| json!({ "roles": roles })),
        pair(),
        (pair(), roles()).prop_map(|(mut pair, roles)| {
            pair["roles"] = json!(roles);
            pair
        }),
    ]
}

/// The configuration of the table `t`.
pub fn table() -> impl Strategy<Value = Value> {
    let rare = |chance: f64| prop::bool::weighted(chance).prop_map(|off| off.then_some(Value::Bool(false)));
    let parts = (
        option::weighted(0.3, roles()),
        option::weighted(0.3, columns()),
        option::weighted(0.6, masking()),
        option::weighted(0.5, vec(row_rule(), 0..3)),
        vec(rare(0.1), 3),
    );
    parts.prop_map(|(required, fields, masking, rows, operations)| {
        object(vec![
            ("requiredRoles", required.map(|roles| json!(roles))),
            ("fields", fields),
            ("masking", masking),
            ("rows", rows.map(Value::from)),
            ("onInsert", operations[0].clone()),
            ("onUpdate", operations[1].clone()),
            ("onDelete", operations[2].clone()),
        ])
    })
}

/// A change of `t`, or rarely of a table that the configuration does not name.
pub fn change() -> impl Strategy<Value = Value> {
    let parts = (
        select(vec!["t", "t", "t", "other"]),
        select(vec!["INSERT", "UPDATE", "UPDATE", "DELETE"]),
        (row(), option::weighted(0.7, row())),
        (option::weighted(0.2, select(&USERS[..])), option::weighted(0.3, roles())),
        (
            option::weighted(0.3, columns()),
            option::weighted(0.5, masking()),
            option::weighted(0.2, select(&COLUMNS[1..3])),
        ),
    );
    parts.prop_map(|(table, operation, (new, old), (user, roles), (fields, masking, owner))| {
        let old = if operation == "DELETE" { Some(new.clone()) } else { old.filter(|_| operation == "UPDATE") };
        object(vec![
            ("type", Some(json!("postgres_changes"))),
            ("table", Some(json!(table))),
            ("eventType", Some(json!(operation))),
            ("new", (operation != "DELETE").then_some(new)),
            ("old", old),
            ("userId", user.map(Value::from)),
            ("targetRoles", roles.map(|roles| json!(roles))),
            ("fields", fields),
            ("maskingConfig", masking),
            ("ownerField", owner.map(Value::from)),
        ])
    })
}

pub fn subscription() -> impl Strategy<Value = Value> {
    let parts = (
        select(vec!["t", "*", "other"]),
        option::of(select(vec!["INSERT", "UPDATE", "DELETE", "*"])),
        option::of((select(&COLUMNS[..]), select(&VALUES[..]))),
    );
    parts.prop_map(|(table, event, filter)| {
        let filter = filter.map(|(column, value)| json!(format!("{column}=eq.{value}")));
        object(vec![("table", Some(json!(table))), ("event", event.map(Value::from)), ("filter", filter)])
    })
}

pub fn person() -> impl Strategy<Value = Person> {
    let teams = subsequence(vec!["red", "u1", "1000001"], 0..=2);
    let parts = (select(&USERS[..]), roles(), teams, vec(subscription(), 0..3));
    parts.prop_map(|(user, roles, teams, subscriptions)| Person {
        user: user.to_owned(),
        roles: roles.into_iter().map(str::to_owned).collect(),
        teams: teams.into_iter().map(str::to_owned).collect(),
        subscriptions,
    })
}

pub fn interruption() -> impl Strategy<Value = Interruption> {
    prop_oneof![3 => Just(Interruption::None), 1 => Just(Interruption::Hibernate), 1 => Just(Interruption::Crash)]
}

/// One step of someone, in the terms of the rig.
#[derive(Clone, Debug)]
pub enum Deed {
    Connect(Person),
    Say(Index, Value),
    Text(Index, String),
    Publish(Value),
    Leave(Index),
    Lose(Index),
    Wait(u64),
    Deploy,
}

/// Frames of every type about a few ids and topics, valid or not.
pub fn frame() -> impl Strategy<Value = Value> {
    let kinds = [
        "auth",
        "subscribe",
        "unsubscribe",
        "broadcast",
        "presence_track",
        "presence_update",
        "presence_untrack",
        "ping",
    ];
    let topic = option::of(select(vec!["room:1", "room:2", "x"]));
    let parts = (select(kinds.to_vec()), topic, option::of(any::<bool>()), select(vec!["1", "2", "3"]), 0..4_u64);
    parts.prop_map(|(kind, topic, private, id, n)| {
        let position = json!({ "epoch": "epoch1", "offset": n });
        let own = match kind {
            "auth" => vec![("token", Some(json!("nonsense"))), ("recover", Some(position))],
            "subscribe" if topic.is_none() => vec![("id", Some(json!(id))), ("table", Some(json!("t")))],
            "subscribe" => vec![
                ("id", Some(json!(id))),
                ("presence", Some(json!(n == 0))),
                ("recover", (n > 1).then_some(position)),
            ],
            "unsubscribe" => vec![("id", Some(json!(id)))],
            "broadcast" => {
                vec![("event", Some(json!("e"))), ("payload", Some(json!({ "n": n }))), ("echo", Some(json!(n == 0)))]
            }
            "presence_track" | "presence_update" => vec![("metadata", Some(json!({ "n": n })))],
            _ => Vec::new(),
        };
        let takes_topic = !matches!(kind, "auth" | "unsubscribe" | "ping");
        let place = [("topic", topic.map(Value::from)), ("private", topic.and(private).map(Value::from))];
        let place = place.into_iter().filter(|_| takes_topic);
        object([("type", Some(json!(kind)))].into_iter().chain(place).chain(own).collect())
    })
}

pub fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => person().prop_map(Deed::Connect),
        8 => (any::<Index>(), frame()).prop_map(|(who, frame)| Deed::Say(who, frame)),
        1 => (any::<Index>(), "\\PC{0,40}").prop_map(|(who, text)| Deed::Text(who, text)),
        2 => change().prop_map(Deed::Publish),
        1 => any::<Index>().prop_map(Deed::Leave),
        1 => any::<Index>().prop_map(Deed::Lose),
        1 => (0..2_000_000_u64).prop_map(Deed::Wait),
        1 => Just(Deed::Deploy),
    ]
}
