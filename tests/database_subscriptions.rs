//! A subscription to a table of the database becomes active when its changes arrive, and not before; the listeners are
//! reported to the database in groups.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::listeners::{ROLES, connect, messages, subscribe, with_database};
use rig::source::{change, table};
use rig::{Client, Rig, every_way};
use serde_json::{Value, json};

/// How long a subscription waits for the database.
const MAX_WAIT: u64 = 15_000;

fn merged(mut one: Value, other: Value) -> Value {
    one.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    one
}

fn tables(rig: &Rig) -> Vec<Value> {
    rig.source.groups().iter().map(|group| group["tables"].clone()).collect()
}

#[test]
fn each_state_of_a_table_is_told_by_its_code() {
    let state = |state: &str| {
        let mut table = messages();
        table["roles"]["authenticated"]["state"] = json!(state);
        table
    };
    let with = |key: &str, value: Value| {
        let mut table = messages();
        table[key] = value;
        table
    };
    let no_role = with("roles", json!({}));
    let disabled = with("enabled", json!(false));
    let unknown = json!({ "schema": "public", "table": "messages", "enabled": false, "unknown": true });
    let cases = [
        (json!([state("denied")]), "table_denied"),
        (json!([state("no_policy")]), "no_policy"),
        (json!([state("later word")]), "table_denied"),
        (json!([no_role]), "table_denied"),
        (json!([disabled]), "table_not_enabled"),
        (json!([unknown]), "unknown_table"),
        (json!([]), "unknown_table"),
    ];
    for (tables, code) in cases {
        every_way(with_database(json!({})), |rig| {
            rig.source.tables = Some(tables.clone());
            let ada = connect(rig, "ada", json!({}));
            subscribe(rig, &ada, "m", "messages");
            assert_eq!(ada.is_refused(code)["id"], "m");
            ada.gets_nothing();
            assert_eq!(rig.source.groups(), Vec::<Value>::new(), "it listens no more");
            // Nothing remains of it: the same id may be used again.
            subscribe(rig, &ada, "m", "messages");
            assert_eq!(ada.is_refused(code)["id"], "m");
        });
    }
}

/// PostgreSQL has no text with a zero byte: one such name would fail the report of the whole organization.
#[test]
fn a_name_that_no_table_can_have_is_refused_and_not_reported() {
    every_way(with_database(json!({})), |rig| {
        rig.source.tables = Some(json!([messages()]));
        let (ada, eve) = (connect(rig, "ada", json!({})), connect(rig, "eve", json!({})));
        let chief = connect(rig, "chief", json!({ "role": "service_role" }));
        for (client, target) in [
            (&eve, json!({ "table": "messages\u{0}" })),
            (&eve, json!({ "table": "messages", "schema": "\u{0}" })),
            (&chief, json!({ "table": "\u{0}" })),
        ] {
            let frame = json!({ "type": "subscribe", "id": "m" });
            rig.frame(client, merged(frame, target));
            assert_eq!(client.is_refused("unknown_table")["id"], "m");
        }
        subscribe(rig, &ada, "m", "messages");
        ada.gets(json!({ "type": "subscribed", "id": "m" }));
        // A claim may be anything that its issuer lets a user choose.
        let mallory = connect(rig, "mallory", json!({ "profile": [{ "name": "a\\\u{0}" }] }));
        subscribe(rig, &mallory, "m", "messages");
        assert_eq!(mallory.is_refused("table_denied")["id"], "m");
        let is_clean = |interest: &Value| !interest.to_string().contains("\\u0000");
        assert!(rig.source.interests.iter().all(is_clean), "{:?}", rig.source.interests);
        // What only looks like one is none.
        let bob = connect(rig, "bob", json!({ "name": "a\\u0000" }));
        subscribe(rig, &bob, "m", "messages");
        bob.gets(json!({ "type": "subscribed", "id": "m" }));
    });
}

/// A client can make up names; whoever listens to a table that is enabled does not wait for them.
#[test]
fn a_report_has_a_bounded_number_of_names_that_the_database_does_not_know() {
    let mut rig = Rig::new(&with_database(
        json!({ "limits": { "subscriptions": 1_000, "errorsPerMinute": 10_000, "framesPerSecond": 10_000 } }),
    ));
    rig.source.tables = Some(json!([table("zebras", &[("id", "int8")], &ROLES)]));
    let ada = connect(&mut rig, "ada", json!({}));
    subscribe(&mut rig, &ada, "z", "zebras");
    ada.gets(json!({ "type": "subscribed", "id": "z" }));
    rig.source.is_slow = true;
    for number in 0..300 {
        subscribe(&mut rig, &ada, &number.to_string(), &format!("made-up-{number:03}"));
    }
    rig.answer_source();
    let most = rig.source.interests.iter().flat_map(|interest| interest["groups"].as_array().unwrap());
    assert_eq!(most.map(|group| group["tables"].as_array().unwrap().len()).max(), Some(201));
    let refused = ada.frames().iter().filter(|frame| frame["code"] == "unknown_table").count();
    assert_eq!(refused, 300, "the rest were reported when there was room");
    assert_eq!(tables(&rig), [json!([["public", "zebras"]])]);
}

#[test]
fn a_bypass_needs_no_policy() {
    let mut table = messages();
    table["roles"] = json!({});
    every_way(with_database(json!({})), |rig| {
        rig.source.tables = Some(json!([table]));
        let chief = connect(rig, "chief", json!({ "role": "service_role" }));
        subscribe(rig, &chief, "m", "messages");
        chief.gets(json!({ "type": "subscribed", "id": "m" }));
    });
}

#[test]
fn a_table_without_row_security_is_live_with_a_warning() {
    let mut rig = Rig::new(&with_database(json!({})));
    let mut table = messages();
    table["row_security"] = json!(false);
    rig.source.tables = Some(json!([table]));
    let ada = connect(&mut rig, "ada", json!({}));
    subscribe(&mut rig, &ada, "m", "messages");
    ada.gets(json!({ "type": "subscribed", "id": "m" }));
    let warning = |line: &&String| line.contains("\"no_row_security\"") && line.contains("public.messages");
    assert_eq!(rig.logs.iter().filter(warning).count(), 1);
    assert_eq!(rig.stats()["database"]["withoutRowSecurity"], json!(["public.messages"]));
}

#[test]
fn a_subscription_stands_when_the_database_has_answered() {
    let mut rig = Rig::new(&with_database(json!({})));
    rig.source.tables = Some(json!([messages()]));
    rig.source.is_slow = true;
    let ada = connect(&mut rig, "ada", json!({}));
    subscribe(&mut rig, &ada, "m", "messages");
    ada.gets_nothing();
    rig.hibernate();
    ada.gets_nothing();
    rig.answer_source();
    ada.gets(json!({ "type": "subscribed", "id": "m" }));
    // What is already known needs no second answer.
    rig.source.is_slow = true;
    subscribe(&mut rig, &ada, "n", "messages");
    ada.gets(json!({ "type": "subscribed", "id": "n" }));
}

#[test]
fn subscriptions_that_come_with_the_authentication_wait_too() {
    every_way(with_database(json!({})), |rig| {
        rig.source.tables = Some(json!([messages()]));
        let ada = rig.open();
        let asked = ["messages", "others"].map(|table| json!({ "id": table, "table": table }));
        let token = rig.token("ada", &[]);
        rig.authenticate_saying(&ada, &token, json!({ "subscriptions": asked }));
        assert_eq!(ada.next()["type"], "auth_success");
        ada.gets(json!({ "type": "subscribed", "id": "messages" }));
        assert_eq!(ada.is_refused("unknown_table")["id"], "others");
    });
}

#[test]
fn a_database_that_cannot_be_reached_is_asked_again_within_five_seconds() {
    every_way(with_database(json!({})), |rig| {
        rig.source.tables = None;
        let ada = connect(rig, "ada", json!({}));
        subscribe(rig, &ada, "m", "messages");
        for _ in 0..4 {
            rig.advance(2_000);
            ada.gets_nothing();
        }
        rig.source.tables = Some(json!([messages()]));
        rig.advance(5_000);
        ada.gets(json!({ "type": "subscribed", "id": "m" }));
    });
}

#[test]
fn questions_come_ever_more_slowly_and_each_is_newer() {
    let mut rig = Rig::new(&with_database(json!({})));
    rig.source.tables = None;
    let ada = connect(&mut rig, "ada", json!({}));
    subscribe(&mut rig, &ada, "m", "messages");
    rig.advance(60_000);
    let revisions: Vec<u64> = rig.source.interests.iter().map(|told| told["revision"].as_u64().unwrap()).collect();
    assert!((5..=18).contains(&revisions.len()), "{revisions:?}");
    assert!(revisions.windows(2).all(|pair| pair[0] < pair[1] && pair[1] - pair[0] <= 5_000), "{revisions:?}");
}

#[test]
fn who_has_waited_long_enough_is_told() {
    every_way(with_database(json!({})), |rig| {
        rig.source.tables = None;
        let ada = connect(rig, "ada", json!({}));
        subscribe(rig, &ada, "m", "messages");
        rig.advance(MAX_WAIT - 1);
        ada.gets_nothing();
        rig.advance(1);
        assert_eq!(ada.is_refused("source_unavailable")["id"], "m");
        rig.source.tables = Some(json!([messages()]));
        rig.advance(60_000);
        ada.gets_nothing();
        subscribe(rig, &ada, "m", "messages");
        ada.gets(json!({ "type": "subscribed", "id": "m" }));
    });
}

#[test]
fn whoever_ends_a_subscription_waits_for_it_no_more() {
    every_way(with_database(json!({})), |rig| {
        rig.source.tables = None;
        let ada = connect(rig, "ada", json!({}));
        subscribe(rig, &ada, "m", "messages");
        rig.frame(&ada, json!({ "type": "unsubscribe", "id": "m" }));
        ada.gets(json!({ "type": "unsubscribed", "id": "m" }));
        rig.advance(60_000);
        ada.gets_nothing();
    });
}

#[test]
fn sessions_of_one_role_and_claims_are_one_group() {
    let mut rig = Rig::new(&with_database(json!({})));
    rig.source.tables = Some(json!([messages(), table("notes", &[("id", "int8")], &ROLES)]));
    let clients: Vec<Client> = (0..5).map(|_| connect(&mut rig, "ada", json!({}))).collect();
    for client in &clients {
        subscribe(&mut rig, client, "m", "messages");
        client.gets(json!({ "type": "subscribed", "id": "m" }));
    }
    assert_eq!(rig.source.interests.len(), 1, "the others are no news");
    let group = &rig.source.groups()[0];
    assert_eq!((&group["role"], &group["claims"]["sub"]), (&json!("authenticated"), &json!("ada")));
    assert_eq!(group["tables"], json!([["public", "messages"]]));
    let bob = connect(&mut rig, "bob", json!({ "role": "auditor" }));
    subscribe(&mut rig, &bob, "n", "notes");
    assert_eq!((rig.source.groups().len(), rig.source.interests.len()), (2, 2));
    // The last one to leave takes the group along.
    for client in &clients {
        rig.disconnect(client);
    }
    assert_eq!(tables(&rig), [json!([["public", "notes"]])]);
    rig.disconnect(&bob);
    assert_eq!(rig.source.groups(), Vec::<Value>::new(), "nobody listens any more");
    assert_eq!(rig.stats()["database"]["groups"], 0);
}

#[test]
fn what_changes_while_an_answer_is_awaited_is_told_after_it() {
    let mut rig = Rig::new(&with_database(json!({})));
    let tables = [messages(), table("notes", &[("id", "int8")], &ROLES)];
    rig.source.tables = Some(json!(tables));
    rig.source.is_slow = true;
    let clients: Vec<Client> = (0..20).map(|n| connect(&mut rig, &format!("u{n}"), json!({}))).collect();
    for client in &clients {
        subscribe(&mut rig, client, "m", "messages");
    }
    assert_eq!(rig.source.interests.len(), 1);
    clients.iter().for_each(Client::gets_nothing);
    rig.answer_source();
    assert_eq!((rig.source.interests.len(), rig.source.groups().len()), (2, 20));
    clients.iter().for_each(|client| client.gets(json!({ "type": "subscribed", "id": "m" })));
}

/// Hibernation is the normal state, and repeating the report at every wake would cost a request each.
#[test]
fn a_wake_tells_nothing_that_is_known() {
    let mut rig = Rig::new(&with_database(json!({})));
    rig.source.tables = Some(json!([messages()]));
    let ada = connect(&mut rig, "ada", json!({}));
    subscribe(&mut rig, &ada, "m", "messages");
    ada.frames();
    for _ in 0..3 {
        rig.hibernate();
    }
    assert_eq!(rig.source.interests.len(), 1);
    subscribe(&mut rig, &ada, "n", "messages");
    ada.gets(json!({ "type": "subscribed", "id": "n" }));
    rig.lose(&ada);
    rig.hibernate();
    assert_eq!(rig.source.groups(), Vec::<Value>::new(), "who was lost listens no more");
}

#[test]
fn without_a_database_nobody_is_asked() {
    let mut rig = Rig::new(&json!({}));
    let ada = connect(&mut rig, "ada", json!({}));
    subscribe(&mut rig, &ada, "m", "messages");
    ada.gets(json!({ "type": "subscribed", "id": "m" }));
    assert_eq!(rig.source.interests.len(), 0);
    assert!(rig.stats().get("database").is_none());
}

/// The database's messages must reach clients that subscribe only to topics.
#[test]
fn a_listener_of_topics_keeps_the_feed_open() {
    let channels = json!({ "channels": [{ "topic": "room:*", "read": {} }] });
    let mut rig = Rig::new(&with_database(channels));
    let ada = connect(&mut rig, "ada", json!({}));
    assert_eq!(rig.source.interests.len(), 0, "whoever listens to nothing keeps nothing open");
    rig.frame(&ada, json!({ "type": "subscribe", "id": "t", "topic": "room:1" }));
    ada.gets(json!({ "type": "subscribed", "id": "t" }));
    let groups = rig.source.groups();
    assert_eq!((groups.len(), &groups[0]["claims"], &groups[0]["tables"]), (1, &json!({}), &json!([])));
}

#[test]
fn a_table_that_is_published_over_http_goes_on_as_it_is() {
    let tables = json!({ "tables": { "employees": {}, "messages": { "deletes": "policy" } } });
    every_way(with_database(tables), |rig| {
        rig.source.tables = Some(json!([]));
        let ada = connect(rig, "ada", json!({}));
        subscribe(rig, &ada, "e", "employees");
        ada.gets(json!({ "type": "subscribed", "id": "e" }));
        let insert =
            json!({ "type": "postgres_changes", "table": "employees", "eventType": "INSERT", "new": { "id": 1 } });
        assert_eq!((rig.accepted(insert), ada.next()["new"]["id"].clone()), (1, json!(1)));
        // A message that only claims to be the database's is not.
        subscribe(rig, &ada, "m", "messages");
        assert_eq!(ada.is_refused("unknown_table")["id"], "m");
    });
}

#[test]
fn whoever_subscribes_to_all_tables_hears_those_of_the_database() {
    every_way(with_database(json!({})), |rig| {
        rig.source.tables = Some(json!([messages()]));
        rig.source.policy = |_, claims, _, row| claims["sub"] == row["owner"];
        let (ada, bob) = (rig.connect("ada", &[]), rig.connect("bob", &[]));
        assert_eq!(tables(rig), [json!([["*", "*"]]), json!([["*", "*"]])]);
        let batch = rig.source.batch(&[change("INSERT", "messages", json!({ "id": 1, "owner": "ada" }), Value::Null)]);
        rig.hand_over(&batch);
        assert_eq!(ada.next()["new"]["id"], 1);
        bob.gets_nothing();
    });
}
