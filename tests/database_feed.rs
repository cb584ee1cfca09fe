//! The feed of the database's changes is lost and resumes, tables are removed, and sessions are informed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod rig;

use rig::listeners::{ROLES, connect, messages, subscribe, with_database};
use rig::source::{change, table};
use rig::{Client, Rig, every_way, token};
use serde_json::{Value, json};

#[test]
fn while_the_feed_is_lost_sockets_stay_and_nothing_is_called_live() {
    every_way(with_database(json!({})), |rig| {
        rig.source.tables = Some(json!([messages()]));
        rig.source.policy = |_, _, _, _| true;
        let ada = connect(rig, "ada", json!({}));
        subscribe(rig, &ada, "m", "messages");
        ada.gets(json!({ "type": "subscribed", "id": "m" }));
        let bob = connect(rig, "bob", json!({}));
        rig.feed(&json!({ "database": "main", "state": "lost" }));
        assert_eq!(rig.stats()["database"]["live"], false);
        ada.gets(json!({ "type": "feed", "status": "lost" }));
        rig.feed(&json!({ "database": "main", "state": "lost" }));
        subscribe(rig, &ada, "n", "messages");
        ada.gets_nothing();
        rig.feed(&json!({ "database": "main", "state": "live", "tables": { "revision": 1, "tables": [messages()] } }));
        ada.gets(json!({ "type": "feed", "status": "live" }));
        ada.gets(json!({ "type": "subscribed", "id": "n" }));
        assert_eq!(rig.stats()["database"]["live"], true);
        bob.gets_nothing();
        let batch = rig.source.batch(&[change("INSERT", "messages", json!({ "id": 1 }), Value::Null)]);
        rig.hand_over(&batch);
        assert_eq!(ada.frames().len(), 1);
    });
}

/// The answer to an interest also implies that the feed is live, and is the only message that does.
#[test]
fn the_feed_is_live_when_the_database_answers() {
    every_way(with_database(json!({})), |rig| {
        rig.source.tables = Some(json!([messages()]));
        let ada = connect(rig, "ada", json!({}));
        subscribe(rig, &ada, "m", "messages");
        ada.gets(json!({ "type": "subscribed", "id": "m" }));
        rig.feed(&json!({ "database": "main", "state": "lost" }));
        ada.gets(json!({ "type": "feed", "status": "lost" }));
        let bob = connect(rig, "bob", json!({}));
        subscribe(rig, &bob, "m", "messages");
        bob.gets(json!({ "type": "feed", "status": "live" }));
        bob.gets(json!({ "type": "subscribed", "id": "m" }));
        ada.gets(json!({ "type": "feed", "status": "live" }));
        rig.feed(&json!({ "database": "main", "state": "live", "tables": [messages()] }));
        ada.gets_nothing();
    });
}

/// The claims of a principal from before there was a database are unknown, so its client must reconnect with a token.
#[test]
fn a_session_from_before_the_database_connects_again() {
    let mut rig = Rig::new(&with_database(json!({})));
    let ada = connect(&mut rig, "ada", json!({}));
    let attached = rig.attachment(&ada).unwrap().clone();
    let mut older: Value = serde_json::from_str(&attached).unwrap();
    older["state"]["principal"].as_object_mut().unwrap().remove("all_claims").expect("they are kept");
    rig.set_attachment(&ada, &older.to_string());
    rig.hibernate();
    ada.is_closed(1012, "service_restart");
}

#[test]
fn a_renewed_session_is_judged_by_its_new_claims() {
    every_way(with_database(json!({})), |rig| {
        rig.source.tables = Some(json!([messages()]));
        rig.source.policy = |_, claims, _, _| claims["plan"] == "pro";
        let ada = connect(rig, "ada", json!({ "plan": "pro" }));
        subscribe(rig, &ada, "m", "messages");
        ada.gets(json!({ "type": "subscribed", "id": "m" }));
        let insert = |rig: &mut Rig| {
            let batch = rig.source.batch(&[change("INSERT", "messages", json!({ "id": 1 }), Value::Null)]);
            rig.hand_over(&batch);
        };
        insert(rig);
        assert_eq!(ada.frames().len(), 1);
        let mut claims = rig.claims("ada", &[]);
        claims["plan"] = json!("free");
        rig.authenticate(&ada, &token::hs256(&claims));
        assert_eq!(ada.next()["type"], "auth_success");
        insert(rig);
        ada.gets_nothing();
    });
}

/// An active subscription promises changes, so it ends when that is no longer true.
#[test]
fn a_table_that_is_taken_away_ends_its_subscriptions() {
    every_way(with_database(json!({})), |rig| {
        let notes = table("notes", &[("id", "int8")], &ROLES);
        rig.source.tables = Some(json!([messages(), notes]));
        let ada = connect(rig, "ada", json!({}));
        for name in ["messages", "notes"] {
            subscribe(rig, &ada, name, name);
            ada.gets(json!({ "type": "subscribed", "id": name }));
        }
        let mut disabled = messages();
        disabled["enabled"] = json!(false);
        rig.feed(&json!({ "database": "main", "state": "live", "tables": { "tables": [disabled, notes] } }));
        assert_eq!(ada.is_refused("table_not_enabled")["id"], "messages");
        let mut denied = notes.clone();
        denied["roles"]["authenticated"]["state"] = json!("denied");
        rig.feed(&json!({ "database": "main", "state": "live", "tables": [disabled, denied] }));
        assert_eq!(ada.is_refused("table_denied")["id"], "notes");
        ada.gets_nothing();
    });
}

/// Reports are complete, so subscribers that arrive during a slow answer are reported together.
#[test]
fn a_slow_database_is_told_less_often() {
    let mut rig = Rig::new(&with_database(json!({})));
    rig.source.tables = Some(json!([messages()]));
    rig.source.is_slow = true;
    let first = connect(&mut rig, "first", json!({}));
    subscribe(&mut rig, &first, "m", "messages");
    rig.advance(300);
    rig.answer_source();
    first.gets(json!({ "type": "subscribed", "id": "m" }));
    let clients: Vec<Client> = (0..50).map(|n| connect(&mut rig, &format!("u{n}"), json!({}))).collect();
    for client in &clients {
        subscribe(&mut rig, client, "m", "messages");
        rig.advance(10);
    }
    clients.iter().for_each(Client::gets_nothing);
    rig.advance(100);
    clients.iter().for_each(|client| client.gets(json!({ "type": "subscribed", "id": "m" })));
    assert_eq!(rig.source.interests.len(), 2);
}
