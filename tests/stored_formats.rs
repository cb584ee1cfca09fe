//! Stored formats: what version 1 looks like, that it is read, and that what cannot be read costs one connection only.
//!
//! A deploy wakes sockets and rows that an earlier build wrote. Whoever changes a text here gives it a new version.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::{Client, Rig, token};
use serde_json::{Value, json};

const ATTACHMENT: &str = r#"{"version":1,"client_id":"c1","state":{"wire":0,"opened":1700000000000,"principal":{"user":"ada","roles":["admin","hr"],"method":"session","expires":1700003600000,"claims":{"teams":["red","1"]}},"offsets":true,"told_expired":false,"errors":[1700000000000,1],"subscriptions":[{"table":{"id":"s1","schema":"public","table":"claims","event":"INSERT","filter":"status=eq.open"}},{"topic":{"id":"s2","private":false,"name":"room:1"}}]}}"#;
const PENDING: &str = r#"{"version":1,"client_id":"c1","state":{"wire":0,"opened":1700000000000,"principal":null,"offsets":false,"told_expired":false,"errors":[0,0],"subscriptions":[]}}"#;
const POINTER: &str = r#"{"version":1,"client_id":"c1","overflow":true}"#;
const HISTORY: &str = r#"{"organizationId":"org_1","type":"postgres_changes","table":"claims","eventType":"INSERT","new":{"status":"open"},"targetRoles":["admin"],"maskingConfig":{"status":{"type":"name","show":{"roles":["hr"]}}}}"#;

/// A deployment whose rules ask for the claim `teams`.
fn realtime() -> Value {
    json!({ "tables": { "tasks": { "rows": [{ "column": "team", "claim": "teams" }] } } })
}

/// Connects the one whom [`ATTACHMENT`] describes.
fn ada(rig: &mut Rig) -> Client {
    let mut claims = rig.claims("ada", &["admin", "hr"]);
    claims["teams"] = json!(["red", 1]);
    let ada = rig.open();
    rig.authenticate_saying(&ada, &token::hs256(&claims), json!({ "recover": true }));
    for target in [
        json!({ "type": "subscribe", "id": "s1", "table": "claims", "event": "INSERT", "filter": "status=eq.open" }),
        json!({ "type": "subscribe", "id": "s2", "topic": "room:1", "private": false }),
        json!({ "type": "nonsense" }),
    ] {
        rig.frame(&ada, target);
    }
    ada.frames();
    ada
}

#[test]
fn version_1_is_written_like_this() {
    let mut rig = Rig::new(&realtime());
    let client = rig.open();
    assert_eq!(rig.attachment(&client).unwrap(), PENDING);
    let mut rig = Rig::new(&realtime());
    let client = ada(&mut rig);
    assert_eq!(rig.attachment(&client).unwrap(), ATTACHMENT);
    rig.publish_text(HISTORY);
    let row = &rig.storage.history[&1];
    assert_eq!((row.version, row.text.as_str()), (1, HISTORY));
}

#[test]
fn a_large_state_is_a_pointer_and_a_row() {
    let mut rig = Rig::new(&realtime());
    let client = rig.open();
    let token = rig.token("ada", &[&"ж".repeat(4_500), &"ж".repeat(1_000)]);
    rig.authenticate(&client, &token);
    for id in 0..20 {
        let filter = format!("a=eq.{}", "x".repeat(1_000));
        rig.frame(&client, json!({ "type": "subscribe", "id": id.to_string(), "table": "t", "filter": filter }));
    }
    assert_eq!(rig.attachment(&client).unwrap(), POINTER);
    assert!(rig.storage.overflow["c1"].starts_with(r#"{"version":1,"client_id":"c1","state":{"wire":0,"#));
}

/// What the one with the attachment still receives after a wake.
fn what_is_left(rig: &mut Rig, client: &Client) -> [u64; 3] {
    rig.hibernate();
    let insert = |table: &str, row: Value| json!({ "type": "postgres_changes", "table": table, "eventType": "INSERT", "new": row });
    let counts = [
        rig.accepted(insert("claims", json!({ "status": "open" }))),
        rig.accepted(insert("claims", json!({ "status": "shut" }))),
        rig.accepted(json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "room:1", "private": false })),
    ];
    assert_eq!(client.closed(), None);
    client.frames().iter().for_each(|frame| assert!(frame["offset"].is_number()));
    counts
}

#[test]
fn version_1_is_read() {
    let mut rig = Rig::new(&realtime());
    let client = rig.open();
    rig.set_attachment(&client, ATTACHMENT);
    assert_eq!(what_is_left(&mut rig, &client), [1, 0, 1]);
    let mut rig = Rig::new(&realtime());
    let client = rig.open();
    rig.set_attachment(&client, POINTER);
    rig.storage.overflow.insert("c1".to_owned(), ATTACHMENT.to_owned());
    assert_eq!(what_is_left(&mut rig, &client), [1, 0, 1]);
    let mut rig = Rig::new(&realtime());
    rig.publish_text(HISTORY);
    let client = rig.open();
    let token = rig.token("eve", &["admin"]);
    let recover = json!({ "recover": { "epoch": rig.epoch(), "offset": 0 } });
    rig.authenticate_saying(&client, &token, recover);
    assert_eq!(client.frames()[1]["new"], json!({ "status": "o***" }));
}

#[test]
fn keys_that_a_later_build_adds_are_passed_over() {
    let mut rig = Rig::new(&realtime());
    let client = rig.open();
    rig.set_attachment(&client, &ATTACHMENT.replace("\"wire\":0", "\"wire\":0,\"later\":[1]"));
    assert_eq!(what_is_left(&mut rig, &client), [1, 0, 1]);
}

#[test]
fn what_cannot_be_read_costs_one_connection() {
    let broken = [
        String::new(),
        String::from("null"),
        String::from("{}"),
        String::from("\u{0}"),
        ATTACHMENT.replace("\"version\":1", "\"version\":2"),
        ATTACHMENT.replace("\"version\":1,", ""),
        ATTACHMENT.replace("status=eq.open", "status=what.open"),
        ATTACHMENT.replace("INSERT", "UPSERT"),
        ATTACHMENT.replace("\"session\"", "\"sesame\""),
        ATTACHMENT.replace("\"wire\":0", "\"wire\":256"),
        ATTACHMENT.replace("\"opened\":1700000000000", "\"opened\":-1"),
        POINTER.to_owned(),
    ];
    let cuts = (0..ATTACHMENT.len()).map(|length| ATTACHMENT.get(..length).unwrap().to_owned());
    for text in broken.into_iter().chain(cuts) {
        let mut rig = Rig::new(&realtime());
        let [client, other] = ["ada", "bob"].map(|user| rig.connect(user, &[]));
        rig.frame(&client, json!({ "type": "presence_track", "metadata": {} }));
        rig.frame(&other, json!({ "type": "presence_track", "metadata": {} }));
        other.frames();
        rig.set_attachment(&client, &text);
        rig.crash();
        client.frames();
        client.is_closed(1012, "service_restart");
        other.gets(json!({ "type": "presence_leave", "client_id": client.id, "user_id": "ada" }));
        assert_eq!((rig.say("still"), other.frames().len()), (1, 1), "{text}");
        assert_eq!(rig.storage.presence.len(), 1);
    }
}

#[test]
fn a_row_of_a_later_build_is_not_guessed_at() {
    for (version, text) in [(2, HISTORY), (1, "{}"), (1, ""), (1, "{\"type\":\"broadcast\"}")] {
        let mut rig = Rig::new(&realtime());
        rig.say("1");
        rig.say("2");
        let row = rig.storage.history.get_mut(&1).unwrap();
        (row.version, row.text) = (version, text.to_owned());
        let mut recovers = |offset: u64| {
            let client = rig.open();
            let token = rig.token("ada", &[]);
            let recover = json!({ "recover": { "epoch": rig.epoch(), "offset": offset } });
            rig.authenticate_saying(&client, &token, recover);
            client.next()["recovered"] == true
        };
        assert_eq!([recovers(0), recovers(1)], [false, true], "{version} {text}");
    }
}
