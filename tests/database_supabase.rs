//! Supabase's clients with a database: when a channel is live, types, old records, large rows.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::dialect::phoenix::V2;
use realtime_worker::engine::command::Recover;
use rig::source::{change, table};
use rig::supabase::joined;
use rig::{Client, ORGANIZATION, Rig, every_way, token};
use serde_json::{Value, json};

const COLUMNS: [(&str, &str); 4] = [("id", "int8"), ("owner", "uuid"), ("at", "timestamptz"), ("body", "varchar")];
const SUBSCRIBED: &str = "Subscribed to PostgreSQL";

fn realtime() -> Value {
    json!({ "databases": { "main": { "connection": "DATABASE_URL", "organization": ORGANIZATION,
        "roles": ["anon", "authenticated"], "bypass": ["service_role"] } } })
}

fn messages() -> Value {
    table("messages", &COLUMNS, &["anon", "authenticated"])
}

fn prepare(rig: &mut Rig) {
    rig.source.tables = Some(json!([messages()]));
    rig.source.policy = |_, claims, _, row| claims["sub"] == row["owner"];
}

/// A socket opened with a user's token.
fn socket(rig: &mut Rig, user: &str) -> Client {
    let mut claims = rig.claims(user, &[]);
    claims["role"] = json!("authenticated");
    let credentials = rig.principal_of(&token::hs256(&claims));
    rig.open_at(V2, Some(credentials), None, Recover::Off).unwrap()
}

fn changes(tables: &[&str]) -> Value {
    let wanted: Vec<Value> =
        tables.iter().map(|table| json!({ "event": "*", "schema": "public", "table": table })).collect();
    json!({ "presence": { "enabled": false }, "postgres_changes": wanted })
}

#[track_caller]
fn is_told(client: &Client, extension: &str, status: &str, message: &str) {
    let frame = client.next();
    let told = (&frame[3], &frame[4]["extension"], &frame[4]["status"], &frame[4]["message"]);
    assert_eq!(told, (&json!("system"), &json!(extension), &json!(status), &json!(message)), "{frame}");
}

fn row(id: u64, owner: &str) -> Value {
    json!({ "id": id, "owner": owner, "at": "2026-11-26T01:02:03+00:00", "body": "b" })
}

fn hand_over(rig: &mut Rig, changes: &[Value]) {
    let batch = rig.source.batch(changes);
    assert_eq!(rig.hand_over(&batch).status, 200);
}

#[test]
fn a_change_has_the_types_of_the_catalog_and_the_time_of_its_commit() {
    every_way(realtime(), |rig| {
        prepare(rig);
        let [ada, bob] = ["ada", "bob"].map(|user| socket(rig, user));
        for client in [&ada, &bob] {
            joined(rig, client, "1", "room", changes(&["messages"]));
            is_told(client, "postgres_changes", "ok", SUBSCRIBED);
        }
        hand_over(rig, &[change("INSERT", "messages", row(1, "ada"), Value::Null)]);
        let data = ada.next()[4]["data"].clone();
        // The rig's rows have their keys in order.
        let mut columns = COLUMNS;
        columns.sort_unstable();
        let types: Vec<Value> = columns.iter().map(|(name, kind)| json!({ "name": name, "type": kind })).collect();
        assert_eq!((&data["columns"], &data["record"]), (&json!(types), &row(1, "ada")));
        assert_eq!((&data["commit_timestamp"], &data["errors"]), (&json!("2026-11-26T01:02:03.123Z"), &Value::Null));
        bob.gets_nothing();
    });
}

#[test]
fn an_old_record_has_the_columns_of_the_replica_identity() {
    let whole = row(1, "ada");
    for (identity, expected) in [
        ("default", json!({ "id": 1 })),
        ("index", json!({ "id": 1 })),
        ("nothing", json!({})),
        ("full", whole.clone()),
    ] {
        every_way(realtime(), |rig| {
            prepare(rig);
            let mut table = messages();
            table["replica_identity"] = json!(identity);
            rig.source.tables = Some(json!([table]));
            let ada = socket(rig, "ada");
            joined(rig, &ada, "1", "room", changes(&["messages"]));
            is_told(&ada, "postgres_changes", "ok", SUBSCRIBED);
            hand_over(rig, &[change("UPDATE", "messages", whole.clone(), whole.clone())]);
            hand_over(rig, &[change("DELETE", "messages", Value::Null, whole.clone())]);
            let told: Vec<Value> = ada.frames().iter().map(|frame| frame[4]["data"]["old_record"].clone()).collect();
            assert_eq!(told, [expected.clone(), expected.clone()], "{identity}");
        });
    }
}

#[test]
fn a_row_that_is_too_large_says_so() {
    let mut rig = Rig::new(&realtime());
    prepare(&mut rig);
    let ada = socket(&mut rig, "ada");
    joined(&mut rig, &ada, "1", "room", changes(&["messages"]));
    ada.frames();
    let mut large = change("INSERT", "messages", json!({ "id": 1, "owner": "ada" }), Value::Null);
    large["truncated"] = json!(true);
    hand_over(&mut rig, &[large]);
    let data = ada.next()[4]["data"].clone();
    assert_eq!(data["errors"], json!(["Error 413: Payload Too Large"]));
    assert_eq!(data["record"], json!({ "id": 1, "owner": "ada" }));
}

#[test]
fn a_channel_is_live_when_the_database_has_answered_for_all_of_it() {
    let mut rig = Rig::new(&realtime());
    prepare(&mut rig);
    rig.source.tables = Some(json!([messages(), table("notes", &COLUMNS, &["authenticated"])]));
    rig.source.is_slow = true;
    let ada = socket(&mut rig, "ada");
    let mut config = changes(&["messages", "notes"]);
    config["broadcast"] = json!({ "replication_ready": true });
    joined(&mut rig, &ada, "1", "room", config);
    ada.gets_nothing();
    rig.hibernate();
    ada.gets_nothing();
    rig.answer_source();
    is_told(&ada, "postgres_changes", "ok", SUBSCRIBED);
    is_told(&ada, "system", "ok", "Replication connection established");
    ada.gets_nothing();
}

#[test]
fn messages_are_flowing_when_the_feed_is_open() {
    every_way(realtime(), |rig| {
        rig.source.tables = None;
        let ada = socket(rig, "ada");
        let config = json!({ "presence": { "enabled": false }, "broadcast": { "replication_ready": true } });
        joined(rig, &ada, "1", "room", config.clone());
        ada.gets_nothing();
        rig.source.tables = Some(json!([]));
        rig.advance(5_000);
        is_told(&ada, "system", "ok", "Replication connection established");
        joined(rig, &ada, "2", "other", config);
        is_told(&ada, "system", "ok", "Replication connection established");
    });
}

#[test]
fn a_table_that_cannot_be_listened_to_is_an_error_that_leaves_the_channel_open() {
    every_way(realtime(), |rig| {
        prepare(rig);
        let ada = socket(rig, "ada");
        joined(rig, &ada, "1", "room", changes(&["messages", "nothing"]));
        is_told(&ada, "postgres_changes", "error", "The database has no such table.");
        ada.gets_nothing();
        hand_over(rig, &[change("INSERT", "messages", row(1, "ada"), Value::Null)]);
        assert_eq!(ada.next()[4]["ids"], json!([1]), "the others of its subscriptions go on");
    });
}

#[test]
fn a_channel_that_waited_in_vain_is_told_and_then_comes_to_life() {
    every_way(realtime(), |rig| {
        rig.source.tables = None;
        let ada = socket(rig, "ada");
        joined(rig, &ada, "1", "room", changes(&["messages"]));
        rig.advance(14_999);
        ada.gets_nothing();
        rig.advance(1);
        is_told(&ada, "postgres_changes", "error", "The database has not answered yet.");
        rig.advance(60_000);
        ada.gets_nothing();
        prepare(rig);
        rig.advance(5_000);
        is_told(&ada, "postgres_changes", "ok", SUBSCRIBED);
        ada.gets_nothing();
    });
}

#[test]
fn a_channel_is_told_that_the_feed_is_lost_and_that_it_is_back() {
    every_way(realtime(), |rig| {
        prepare(rig);
        let ada = socket(rig, "ada");
        joined(rig, &ada, "1", "room", changes(&["messages"]));
        is_told(&ada, "postgres_changes", "ok", SUBSCRIBED);
        rig.feed(&json!({ "database": "main", "state": "lost" }));
        is_told(&ada, "postgres_changes", "error", "The database has not answered yet.");
        joined(rig, &ada, "2", "other", changes(&["messages"]));
        ada.gets_nothing();
        let tables = rig.source.tables.clone();
        rig.feed(&json!({ "database": "main", "state": "live", "tables": tables }));
        // Each channel once.
        is_told(&ada, "postgres_changes", "ok", SUBSCRIBED);
        is_told(&ada, "postgres_changes", "ok", SUBSCRIBED);
        ada.gets_nothing();
    });
}

#[test]
fn a_fresh_token_is_told_live_when_its_claims_are_judged() {
    every_way(realtime(), |rig| {
        prepare(rig);
        let ada = socket(rig, "ada");
        joined(rig, &ada, "1", "room", changes(&["messages"]));
        is_told(&ada, "postgres_changes", "ok", SUBSCRIBED);
        let mut claims = rig.claims("bob", &[]);
        claims["role"] = json!("authenticated");
        let payload = json!({ "access_token": token::hs256(&claims) });
        rig.frame(&ada, json!(["1", "9", "realtime:room", "access_token", payload]));
        is_told(&ada, "postgres_changes", "ok", SUBSCRIBED);
        hand_over(
            rig,
            &[
                change("INSERT", "messages", row(1, "ada"), Value::Null),
                change("INSERT", "messages", row(2, "bob"), Value::Null),
            ],
        );
        let told: Vec<Value> = ada.frames().iter().map(|frame| frame[4]["data"]["record"]["id"].clone()).collect();
        assert_eq!(told, [2]);
    });
}
