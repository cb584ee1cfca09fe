//! Changes from a database: who receives them, with which columns, in which order, and each batch once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::listeners::with_database;
use rig::source::{change, table};
use rig::{Client, ORGANIZATION, Rig, every_way, token};
use serde_json::{Value, json};

const COLUMNS: [(&str, &str); 4] = [("id", "int8"), ("owner", "text"), ("body", "text"), ("secret", "text")];

/// A database with the table `messages`, whose column `secret` `auditor` may not read; rows belong to their owner.
fn prepare(rig: &mut Rig) {
    let mut messages = table("messages", &COLUMNS, &["authenticated", "auditor"]);
    messages["roles"]["auditor"]["columns"] = json!(["id", "owner", "body"]);
    rig.source.tables = Some(json!([messages]));
    rig.source.policy = |_, claims, _, row| claims["sub"] == row["owner"];
}

fn connect(rig: &mut Rig, user: &str, more: Value) -> Client {
    let mut claims = rig.claims(user, &[]);
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rig.connect_with(&claims)
}

/// Connects a user who subscribes to `messages`.
#[track_caller]
fn listener(rig: &mut Rig, user: &str, more: Value) -> Client {
    let client = connect(rig, user, more);
    rig.frame(&client, json!({ "type": "subscribe", "id": "m", "table": "messages" }));
    client.gets(json!({ "type": "subscribed", "id": "m" }));
    client
}

fn row(id: u64, owner: &str) -> Value {
    json!({ "id": id, "owner": owner, "body": "b", "secret": "s" })
}

#[track_caller]
fn hand_over(rig: &mut Rig, changes: &[Value]) {
    let batch = rig.source.batch(changes);
    assert_eq!(rig.hand_over(&batch).status, 200);
}

#[test]
fn a_change_reaches_whoever_its_policies_let_see_it() {
    every_way(with_database(json!({})), |rig| {
        prepare(rig);
        let [ada, bob] = ["ada", "bob"].map(|user| listener(rig, user, json!({})));
        let chief = listener(rig, "chief", json!({ "role": "service_role" }));
        hand_over(rig, &[change("INSERT", "messages", row(1, "ada"), Value::Null)]);
        for client in [&ada, &chief] {
            let frame = client.next();
            assert_eq!((&frame["eventType"], &frame["new"]), (&json!("INSERT"), &row(1, "ada")), "{frame}");
        }
        bob.gets_nothing();
    });
}

#[test]
fn an_update_appears_and_disappears_with_what_is_seen() {
    every_way(with_database(json!({})), |rig| {
        prepare(rig);
        let [ada, bob] = ["ada", "bob"].map(|user| listener(rig, user, json!({})));
        hand_over(rig, &[change("UPDATE", "messages", row(1, "bob"), row(1, "ada"))]);
        let (gone, come) = (ada.next(), bob.next());
        assert_eq!((&gone["eventType"], &gone["old"]), (&json!("DELETE"), &row(1, "ada")));
        assert_eq!((&come["eventType"], &come["new"]), (&json!("INSERT"), &row(1, "bob")));
        assert!(gone.get("new").is_none_or(Value::is_null) && come.get("old").is_none_or(Value::is_null));
        hand_over(rig, &[change("DELETE", "messages", Value::Null, row(1, "bob"))]);
        assert_eq!(bob.next()["eventType"], "DELETE");
        ada.gets_nothing();
    });
}

#[test]
fn columns_that_a_role_may_not_read_do_not_leave() {
    every_way(with_database(json!({})), |rig| {
        prepare(rig);
        let clerk = listener(rig, "ada", json!({ "role": "auditor" }));
        let owner = listener(rig, "ada", json!({}));
        // A filter on an unreadable column reveals nothing about it.
        rig.frame(&clerk, json!({ "type": "subscribe", "id": "f", "table": "messages", "filter": "secret=eq.s" }));
        clerk.gets(json!({ "type": "subscribed", "id": "f" }));
        rig.frame(&clerk, json!({ "type": "unsubscribe", "id": "m" }));
        clerk.gets(json!({ "type": "unsubscribed", "id": "m" }));
        hand_over(rig, &[change("INSERT", "messages", row(1, "ada"), Value::Null)]);
        clerk.gets_nothing();
        assert_eq!(owner.next()["new"]["secret"], "s");
        rig.frame(&clerk, json!({ "type": "subscribe", "id": "m", "table": "messages" }));
        clerk.gets(json!({ "type": "subscribed", "id": "m" }));
        hand_over(rig, &[change("UPDATE", "messages", row(1, "ada"), row(1, "ada"))]);
        let frame = clerk.next();
        assert!(frame["new"].get("secret").is_none() && frame["old"].get("secret").is_none(), "{frame}");
    });
}

#[test]
fn rules_of_the_configuration_hold_beside_the_policies() {
    let tables = json!({ "tables": { "messages": {
        "requiredRoles": ["member"], "masking": { "body": { "type": "redact" } },
        "rows": [{ "column": "secret", "claim": "team" }] } } });
    every_way(with_database(tables), |rig| {
        prepare(rig);
        let ada = listener(rig, "ada", json!({ "roles": ["member"], "team": "s" }));
        let other = listener(rig, "ada", json!({ "roles": ["member"], "team": "t" }));
        hand_over(rig, &[change("INSERT", "messages", row(1, "ada"), Value::Null)]);
        let new = ada.next()["new"].clone();
        assert_eq!((&new["id"], &new["body"]), (&json!(1), &json!("[REDACTED]")));
        other.gets_nothing();
        hand_over(rig, &[change("INSERT", "messages", row(2, "bob"), Value::Null)]);
        ada.gets_nothing();
    });
}

#[test]
fn a_deleted_row_is_told_by_its_key_where_that_is_configured() {
    every_way(with_database(json!({ "tables": { "messages": { "deletes": "key" } } })), |rig| {
        prepare(rig);
        let [ada, bob] = ["ada", "bob"].map(|user| listener(rig, user, json!({})));
        let chief = listener(rig, "chief", json!({ "role": "service_role" }));
        hand_over(rig, &[change("DELETE", "messages", Value::Null, row(1, "ada"))]);
        for client in [&ada, &bob, &chief] {
            assert_eq!(client.next()["old"], json!({ "id": 1 }));
        }
        hand_over(rig, &[change("UPDATE", "messages", row(2, "nobody"), row(2, "ada"))]);
        assert_eq!(ada.next()["old"], row(2, "ada"), "what becomes invisible is told to those who saw it");
        bob.gets_nothing();
    });
}

#[test]
fn a_batch_is_taken_once_and_in_its_order() {
    every_way(with_database(json!({})), |rig| {
        prepare(rig);
        let ada = listener(rig, "ada", json!({}));
        let changes = [1, 2, 3].map(|id| change("INSERT", "messages", row(id, "ada"), Value::Null));
        let batch = rig.source.batch(&changes);
        for _ in 0..3 {
            assert_eq!(rig.hand_over(&batch).body, json!({ "batch": 1 }));
        }
        assert_eq!(ada.frames().iter().map(|frame| frame["new"]["id"].clone()).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(rig.storage.history.len(), 3);
        let next = rig.source.batch(&[change("INSERT", "messages", row(4, "ada"), Value::Null)]);
        rig.hand_over(&next);
        assert_eq!(ada.next()["new"]["id"], 4);
        assert_eq!(rig.hand_over(&batch).body, json!({ "batch": 1 }), "an old one is no news either");
        ada.gets_nothing();
    });
}

/// A restored database numbers its batches anew, and what was sent may never have happened.
#[test]
fn another_life_of_the_database_begins_the_stream_anew() {
    let mut rig = Rig::new(&with_database(json!({})));
    prepare(&mut rig);
    let ada = listener(&mut rig, "ada", json!({}));
    hand_over(&mut rig, &[change("INSERT", "messages", row(1, "ada"), Value::Null)]);
    ada.frames();
    let before = rig.epoch();
    let mut restored = rig.source.batch(&[change("INSERT", "messages", row(1, "ada"), Value::Null)]);
    (restored["epoch"], restored["batch"]) = (json!("e2"), json!(1));
    assert_eq!(rig.hand_over(&restored).body, json!({ "batch": 1 }));
    assert_eq!(ada.next()["new"]["id"], 1);
    assert_ne!(rig.epoch(), before);
    let again = rig.open();
    let token = token::hs256(&rig.claims("ada", &[]));
    rig.authenticate_saying(&again, &token, json!({ "recover": { "epoch": before, "offset": 1 } }));
    assert_eq!(again.next()["recovered"], false);
    rig.hibernate();
    assert_eq!(rig.hand_over(&restored).body, json!({ "batch": 1 }));
    ada.gets_nothing();
}

#[test]
fn what_nobody_has_judged_is_denied_and_counted() {
    let mut rig = Rig::new(&with_database(json!({})));
    prepare(&mut rig);
    let ada = listener(&mut rig, "ada", json!({}));
    let mut batch = rig.source.batch(&[change("INSERT", "messages", row(1, "ada"), Value::Null)]);
    batch["verdicts"] = json!([]);
    rig.hand_over(&batch);
    ada.gets_nothing();
    assert_eq!(rig.stats()["database"]["unjudged"], 1);
    let mut batch = rig.source.batch(&[change("INSERT", "messages", row(2, "ada"), Value::Null)]);
    batch["verdicts"][0]["new"] = json!(["0"]);
    batch["verdicts"][0]["failed"] = json!({ "g": "42P01" });
    rig.hand_over(&batch);
    ada.gets_nothing();
    assert_eq!((&rig.stats()["database"]["unjudged"], &rig.stats()["database"]["failed"]), (&json!(1), &json!(1)));
    assert!(rig.logs.iter().any(|line| line.contains("\"not_judged\"") && line.contains("42P01")), "{:?}", rig.logs);
    // Verdicts on another table's change would widen its audience.
    let mut batch = rig.source.batch(&[change("INSERT", "messages", row(3, "ada"), Value::Null)]);
    batch["verdicts"][0]["table"] = json!("others");
    rig.hand_over(&batch);
    ada.gets_nothing();
}

#[test]
fn a_message_of_the_database_goes_to_its_topic() {
    let channels = json!({ "channels": [{ "topic": "room:*", "read": {} }] });
    every_way(with_database(channels), |rig| {
        prepare(rig);
        let ada = connect(rig, "ada", json!({}));
        rig.frame(&ada, json!({ "type": "subscribe", "id": "t", "topic": "room:1" }));
        ada.gets(json!({ "type": "subscribed", "id": "t" }));
        let message = |text: Value| json!({ "op": "MESSAGE", "at": "2026-11-26T01:02:03.123Z", "message": text });
        let said = json!({ "topic": "room:1", "event": "hi", "payload": { "a": 1 }, "private": true, "id": "m1" });
        let elsewhere = json!({ "topic": "room:1", "event": "hi", "payload": {}, "private": false });
        let bytes = json!({ "topic": "room:1", "event": "raw", "binary": "AAEC" });
        hand_over(rig, &[message(said), message(elsewhere), message(bytes)]);
        let frame = ada.next();
        assert_eq!((&frame["event"], &frame["payload"]), (&json!("hi"), &json!({ "a": 1 })));
        let frame = ada.next();
        assert_eq!((&frame["payload"], &frame["encoding"]), (&json!("AAEC"), &json!("base64")));
        ada.gets_nothing();
    });
}

/// A client that recovers across an unrepresentable change must not mistake the stream for complete.
#[test]
fn what_cannot_be_told_is_a_gap() {
    let truncate = change("TRUNCATE", "messages", Value::Null, Value::Null);
    let unknown = change("MERGE", "messages", Value::Null, Value::Null);
    let no_row = change("INSERT", "messages", json!([1]), Value::Null);
    let no_event = json!({ "op": "MESSAGE", "message": { "topic": "t", "event": "" } });
    let no_topic = json!({ "op": "MESSAGE", "message": { "topic": null, "event": "e", "payload": {} } });
    for lost in [truncate, unknown, no_row, no_event, no_topic, json!(7), json!({})] {
        let mut rig = Rig::new(&with_database(json!({})));
        prepare(&mut rig);
        let ada = listener(&mut rig, "ada", json!({}));
        hand_over(&mut rig, &[change("INSERT", "messages", row(1, "ada"), Value::Null), lost.clone()]);
        assert_eq!(ada.frames().len(), 1, "{lost}");
        assert_eq!(rig.stats()["database"]["lost"], 1);
        let again = rig.open();
        let token = token::hs256(&rig.claims("ada", &[]));
        let recover = json!({ "recover": { "epoch": rig.epoch(), "offset": 1 } });
        rig.authenticate_saying(&again, &token, recover);
        assert_eq!(again.next()["recovered"], false, "{lost}");
    }
}

#[test]
fn rows_of_several_organizations_are_told_apart_by_their_column() {
    let mut realtime = with_database(json!({}));
    realtime["databases"]["main"]["organization"] = json!({ "column": "org" });
    every_way(realtime, |rig| {
        prepare(rig);
        let ada = listener(rig, "ada", json!({}));
        let moved = |from: &str, to: &str| {
            let mut change = change("UPDATE", "messages", row(1, "ada"), row(1, "ada"));
            (change["old_organization"], change["organization"]) = (json!(from), json!(to));
            change
        };
        hand_over(
            rig,
            &[moved("org_2", ORGANIZATION), moved(ORGANIZATION, ORGANIZATION), moved(ORGANIZATION, "org_2")],
        );
        hand_over(rig, &[moved("org_2", "org_3")]);
        let told: Vec<Value> = ada.frames().iter().map(|frame| frame["eventType"].clone()).collect();
        assert_eq!(told, ["INSERT", "UPDATE", "DELETE"]);
    });
}

#[test]
fn the_databases_table_is_published_by_nobody_else() {
    let mut rig = Rig::new(&with_database(json!({})));
    prepare(&mut rig);
    let ada = listener(&mut rig, "ada", json!({}));
    let insert = |table: &str| json!({ "type": "postgres_changes", "table": table, "eventType": "INSERT", "new": row(1, "bob") });
    assert_eq!(rig.publish(insert("messages")).status, 400);
    assert_eq!(rig.publish(insert("others")).status, 202);
    ada.gets_nothing();
}

#[test]
fn a_foreign_database_is_refused() {
    let mut rig = Rig::new(&with_database(json!({})));
    let batch = json!({ "database": "other", "epoch": "e", "batch": 1, "changes": [], "verdicts": [] });
    assert_eq!(rig.hand_over(&batch).status, 400);
    assert_eq!(rig.hand_over(&json!({ "batch": 1 })).status, 400);
    let mut rig = Rig::new(&json!({}));
    assert_eq!(rig.hand_over(&batch).status, 400);
    assert_eq!(rig.storage.writes, 0);
}

/// During a deploy the other side may be of another version: keys may be added, and none of them may cause a panic.
#[test]
fn a_body_that_is_cut_or_damaged_gives_nobody_anything() {
    let mut rig = Rig::new(&with_database(json!({})));
    prepare(&mut rig);
    let bob = listener(&mut rig, "bob", json!({}));
    let mut batch = rig.source.batch(&[change("UPDATE", "messages", row(1, "ada"), row(1, "ada"))]);
    batch["later"] = json!({});
    let text = batch.to_string();
    for length in (0..text.len()).filter(|length| text.is_char_boundary(*length)) {
        assert_eq!(rig.hand_over_text(text.get(..length).unwrap()).status, 400, "{length}");
    }
    for (from, to) in [
        ("\"0\"", "\"2\""),
        ("[0]", "[18446744073709551615]"),
        ("\"new\":[", "\"new\":[null,"),
        ("\"at\":\"2026", "\"at\":\"x"),
    ] {
        assert!(text.contains(from), "{from}");
        rig.hand_over_text(&text.replace(from, to).replace("\"batch\":1", "\"batch\":9"));
        bob.gets_nothing();
    }
}

/// SQL sends `null` for a missing value.
#[test]
fn nulls_are_what_is_missing() {
    let mut rig = Rig::new(&with_database(json!({})));
    prepare(&mut rig);
    let tables = rig.source.tables.as_mut().unwrap();
    for key in ["primary_key", "columns", "replica_identity", "unknown"] {
        tables[0][key] = Value::Null;
    }
    let ada = listener(&mut rig, "ada", json!({}));
    let mut without = change("INSERT", "messages", row(1, "ada"), Value::Null);
    for key in ["truncated", "at"] {
        without[key] = Value::Null;
    }
    let mut batch = rig.source.batch(&[without]);
    batch["verdicts"][0]["failed"] = Value::Null;
    assert_eq!(rig.hand_over(&batch).status, 200);
    assert_eq!(ada.next()["new"], row(1, "ada"));
}
