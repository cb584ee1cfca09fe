//! Stored formats: what versions 1 and 2 look like, that both are read, and that an unreadable one costs one
//! connection. A deploy wakes sockets and rows of an earlier build. A change to a text here needs a new version.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::code::{Code, Refusal};
use realtime_worker::dialect::phoenix::V2;
use realtime_worker::engine::command::Recover;
use realtime_worker::engine::input::DialectId;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use rig::{Client, Rig, token};
use serde_json::{Value, json};

const ATTACHMENT: &str = r#"{"version":1,"client_id":"c1","state":{"wire":0,"opened":1700000000000,"principal":{"user":"ada","roles":["admin","hr"],"method":"session","expires":1700003600000,"claims":{"teams":["red","1"]}},"offsets":true,"errors":[1700000000000,1],"subscriptions":[{"table":{"id":"s1","schema":"public","table":"claims","event":"INSERT","filter":"status=eq.open"}},{"topic":{"id":"s2","private":false,"name":"room:1"}}]}}"#;
/// A socket with two channels.
const CHANNELS: &str = r#"{"version":2,"client_id":"c1","state":{"wire":2,"opened":1700000000000,"principal":{"user":"ada","roles":["member"],"method":"session","expires":1700003600000,"claims":{}},"carries":{"next":2,"principals":[{"user":"ada","roles":["member"],"method":"session","expires":1700003600000,"claims":{}},{"user":"ada","roles":["admin"],"method":"session","expires":1700003600000,"claims":{}}],"channels":[{"client_id":"c1.0","name":"realtime:claims","reference":"1","private":false,"topic":"claims","principal":0,"told_expired":false,"messages":true,"presence":false,"presence_key":null,"echo":false,"acknowledge":false,"tables":[{"table":{"id":"1","schema":"public","table":"claims","event":"INSERT","filter":"status=eq.open","select":["id"],"number":1}},{"table":{"id":"2","schema":"public","table":"claims","event":null,"filter":"","number":2}}]},{"client_id":"c1.1","name":"realtime:room:1","reference":"2","private":false,"topic":"room:1","principal":1,"told_expired":false,"messages":true,"presence":true,"presence_key":"k1","echo":true,"acknowledge":true,"tables":[]}]}}}"#;
const PENDING: &str = r#"{"version":1,"client_id":"c1","state":{"wire":0,"opened":1700000000000,"principal":null}}"#;
/// Fields whose defaults an earlier build wrote out: each build reads what the other one writes.
const DEFAULTS: &str = r#""offsets":false,"told_expired":false,"errors":[0,0],"subscriptions":[]"#;
const POINTER: &str = r#"{"version":1,"client_id":"c1","overflow":true}"#;
const HISTORY: &str = r#"{"organizationId":"org_1","type":"postgres_changes","table":"claims","eventType":"INSERT","new":{"status":"open"},"targetRoles":["admin"],"maskingConfig":{"status":{"type":"name","show":{"roles":["hr"]}}}}"#;

/// A deployment whose rules use the claim `teams`.
fn realtime() -> Value {
    json!({ "tables": { "tasks": { "rows": [{ "column": "team", "claim": "teams" }] } } })
}

/// Connects the client of [`ATTACHMENT`].
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
    let row = &rig.storage.state[&("c1".to_owned(), 0)];
    assert!(row.starts_with(r#"{"version":1,"client_id":"c1","state":{"wire":0,"#));
}

/// What the client with the attachment still receives after a wake.
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
    let with_defaults = ATTACHMENT.replace("\"errors\"", "\"told_expired\":false,\"errors\"");
    for text in [ATTACHMENT, &with_defaults] {
        let mut rig = Rig::new(&realtime());
        let client = rig.open();
        rig.set_attachment(&client, text);
        assert_eq!(what_is_left(&mut rig, &client), [1, 0, 1]);
    }
    let mut rig = Rig::new(&realtime());
    let client = rig.open();
    rig.set_attachment(&client, POINTER);
    rig.storage.state.insert(("c1".to_owned(), 0), ATTACHMENT.to_owned());
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

/// A socket of an unknown dialect could be neither read nor written to.
#[test]
fn a_socket_of_an_unknown_dialect_is_closed() {
    let mut rig = Rig::new(&realtime());
    let client = rig.open();
    rig.set_attachment(&client, &ATTACHMENT.replace("\"wire\":0", "\"wire\":99"));
    rig.hibernate();
    client.is_closed(1012, "service_restart");
    let refused = rig.open_at(DialectId(99), None, None, Recover::Off).map(drop);
    assert_eq!(refused, Err(Refusal::of(Code::Internal)));
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
        rig.hibernate();
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

/// Connects the client of [`CHANNELS`].
fn with_channels(rig: &mut Rig) -> Client {
    let principal = Principal {
        user: Some("ada".to_owned()),
        roles: Roles::new(["member".to_owned()]),
        method: Method::Session,
        expires: Some(rig.now + rig::SESSION_SECONDS * 1_000),
        claims: Default::default(),
        all_claims: None,
        grants: Default::default(),
    };
    let ada = rig.open_at(V2, Some(principal), None, Recover::Off).unwrap();
    let bindings = json!([
        { "event": "INSERT", "schema": "public", "table": "claims", "filter": "status=eq.open", "select": ["id"] },
        { "event": "*", "schema": "public", "table": "claims" }
    ]);
    let table = json!({ "presence": { "key": "", "enabled": false }, "postgres_changes": bindings });
    let room = json!({ "broadcast": { "self": true, "ack": true }, "presence": { "key": "k1", "enabled": true } });
    let payload = json!({ "config": room, "access_token": rig.token("ada", &["admin"]) });
    rig.frame(&ada, json!(["1", "1", "realtime:claims", "phx_join", { "config": table }]));
    rig.frame(&ada, json!(["2", "2", "realtime:room:1", "phx_join", payload]));
    ada.frames();
    ada
}

#[test]
fn version_2_is_written_like_this() {
    let mut rig = Rig::new(&json!({}));
    let client = with_channels(&mut rig);
    assert_eq!(rig.attachment(&client).unwrap(), CHANNELS);
}

#[test]
fn version_2_is_read() {
    let with_defaults = CHANNELS.replace("\"carries\"", &format!("{DEFAULTS},\"carries\""));
    [CHANNELS, &with_defaults].into_iter().for_each(is_read_as_version_2);
}

fn is_read_as_version_2(text: &str) {
    let mut rig = Rig::new(&json!({}));
    let client = with_channels(&mut rig);
    rig.set_attachment(&client, text);
    rig.hibernate();
    let insert = |status: &str| json!({ "type": "postgres_changes", "table": "claims", "eventType": "INSERT", "new": { "id": 1, "status": status } });
    assert_eq!([rig.accepted(insert("open")), rig.accepted(insert("shut"))], [2, 1]);
    let mut seen: Vec<Value> =
        client.frames().iter().map(|frame| json!([frame[2], frame[4]["ids"], frame[4]["data"]["record"]])).collect();
    seen.sort_by_key(Value::to_string);
    assert_eq!(
        seen,
        [
            json!(["realtime:claims", [1], { "id": 1 }]),
            json!(["realtime:claims", [2], { "id": 1, "status": "open" }]),
            json!(["realtime:claims", [2], { "id": 1, "status": "shut" }]),
        ]
    );
    rig.frame(
        &client,
        json!(["2", "3", "realtime:room:1", "broadcast", { "type": "broadcast", "event": "e", "payload": 1 }]),
    );
    client
        .gets(json!([null, null, "realtime:room:1", "broadcast", { "type": "broadcast", "event": "e", "payload": 1 }]));
    client.gets(json!(["2", "3", "realtime:room:1", "phx_reply", { "status": "ok", "response": {} }]));
    rig.frame(
        &client,
        json!(["2", "4", "realtime:room:1", "presence", { "type": "presence", "event": "track", "payload": {} }]),
    );
    client.gets(json!(["2", "4", "realtime:room:1", "phx_reply", { "status": "ok", "response": {} }]));
    assert_eq!(client.next()[4]["joins"]["k1"]["metas"].as_array().unwrap().len(), 1);
    // The number of the next channel was never used before.
    rig.frame(&client, json!(["5", "5", "realtime:claims:2", "phx_join", {}]));
    assert_eq!(client.next()[4]["status"], "ok");
    assert!(rig.attachment(&client).unwrap().contains("c1.2"));
}

#[test]
fn what_cannot_be_read_of_channels_costs_one_connection() {
    let broken = [
        CHANNELS.replace("\"version\":2", "\"version\":1"),
        CHANNELS.replace("\"version\":2", "\"version\":3"),
        CHANNELS.replace("status=eq.open", "status=what.open"),
        CHANNELS.replace("INSERT", "UPSERT"),
        CHANNELS.replace("\"session\"", "\"sesame\""),
        CHANNELS.replace("\"wire\":2", "\"wire\":256"),
    ];
    let cuts = (0..CHANNELS.len()).map(|length| CHANNELS.get(..length).unwrap().to_owned());
    for text in broken.into_iter().chain(cuts) {
        assert_ne!(text, CHANNELS);
        let mut rig = Rig::new(&json!({}));
        let client = with_channels(&mut rig);
        let other = rig.connect("bob", &[]);
        rig.set_attachment(&client, &text);
        rig.crash();
        client.is_closed(1012, "service_restart");
        assert_eq!((rig.say("still"), other.frames().len()), (1, 1), "{text}");
    }
}

/// Rows of earlier builds do not name where they were published, so each is examined.
#[test]
fn rows_without_a_place_are_recovered() {
    let mut rig = Rig::new(&json!({ "channels": [{ "topic": "*", "read": {} }] }));
    let message = |topic: &str| json!({ "type": "broadcast", "event": topic, "payload": 1, "topic": topic });
    rig.publish(json!({ "messages": [message("mine"), message("other"), message("mine")] }));
    rig.storage.history.values_mut().for_each(|row| row.place = None);
    rig.hibernate();
    rig.publish(message("mine"));
    let ada = rig.connect("ada", &[]);
    let recover = json!({ "epoch": rig.epoch(), "offset": 0 });
    rig.frame(&ada, json!({ "type": "subscribe", "id": "1", "topic": "mine", "recover": recover }));
    assert_eq!(ada.next()["recovered"], true);
    let events: Vec<Value> = ada.frames().iter().map(|frame| frame["event"].clone()).collect();
    assert_eq!(events, ["mine", "mine", "mine"]);
}

/// The place of a publication is stored: another name for it would lose what was published before.
#[test]
fn places_are_written_like_this() {
    let mut rig = Rig::new(&json!({}));
    let change = json!({ "type": "postgres_changes", "schema": "s", "table": "t", "eventType": "DELETE", "old": {} });
    let message = json!({ "type": "broadcast", "event": "e", "payload": 1 });
    let with = |more: Value| {
        let mut body = message.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let bodies =
        [change, message.clone(), with(json!({ "topic": "a b" })), with(json!({ "topic": "a b", "private": false }))];
    rig.publish(json!({ "messages": bodies }));
    let places: Vec<_> = rig.storage.history.values().map(|row| row.place.clone().unwrap()).collect();
    assert_eq!(places, ["otable s.t", "omessage", "private a b", "public a b"]);
}

const SUBSCRIPTION_ROW: &str =
    r#"{"table":{"id":"0","schema":"public","table":"t","event":null,"filter":"a=eq.FILLER"}}"#;
const CHANNEL_ROW: &str = r#"{"channel":{"client_id":"c1.1","name":"realtime:FILLER","reference":"2","private":false,"topic":"FILLER","principal":0,"told_expired":false,"messages":true,"presence":false,"presence_key":null,"echo":false,"acknowledge":false,"tables":[]},"principal":{"user":"ada","roles":["member"],"method":"session","expires":1700003600000,"claims":{}}}"#;

/// Adds subscriptions until they do not fit into an attachment.
fn subscribe_much(rig: &mut Rig, client: &Client) {
    for id in 0..20 {
        let filter = format!("a=eq.{}", "x".repeat(800));
        rig.frame(client, json!({ "type": "subscribe", "id": id.to_string(), "table": "t", "filter": filter }));
    }
}

#[test]
fn parts_are_written_like_this() {
    let mut rig = Rig::new(&realtime());
    let client = rig.connect("ada", &[]);
    subscribe_much(&mut rig, &client);
    assert_eq!(rig.storage.state.len(), 1 + 20);
    assert_eq!(rig.storage.state[&("c1".to_owned(), 1)], SUBSCRIPTION_ROW.replace("FILLER", &"x".repeat(800)));

    let mut rig = Rig::new(&json!({}));
    let client = with_channels(&mut rig);
    let name = |n: u64| format!("{n}{}", "x".repeat(200));
    let config = json!({ "config": { "presence": { "enabled": false } } });
    for n in 3..40 {
        rig.frame(&client, json!([n.to_string(), n.to_string(), format!("realtime:{}", name(n)), "phx_join", config]));
    }
    assert_eq!(rig.storage.state.len(), 1 + 39);
    let row = CHANNEL_ROW.replace("FILLER", &name(3)).replace("c1.1", "c1.2").replace("\"2\"", "\"3\"");
    assert_eq!(rig.storage.state[&("c1".to_owned(), 3)], row);
    // A fresh token of one channel is written with that channel.
    let before = rig.storage.state_bytes_written;
    let token = rig.token("ada", &["admin"]);
    let refresh = json!({ "access_token": token });
    rig.frame(&client, json!(["3", "9", format!("realtime:{}", name(3)), "access_token", refresh]));
    let written = rig.storage.state_bytes_written - before;
    assert!((500..1_500).contains(&written), "{written} bytes of {} channels", 39);
    rig.hibernate();
    let message =
        |n: u64| json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": name(n), "private": false });
    assert_eq!([3, 39, 40].map(|n| rig.accepted(message(n))), [1, 1, 0]);
}

/// Builds before this one wrote a large state as one row.
#[test]
fn a_large_state_in_one_row_is_read_and_taken_apart() {
    let mut rig = Rig::new(&realtime());
    let client = rig.open();
    rig.set_attachment(&client, POINTER);
    rig.storage.state.insert(("c1".to_owned(), 0), ATTACHMENT.to_owned());
    rig.hibernate();
    subscribe_much(&mut rig, &client);
    assert_eq!(rig.storage.state.len(), 1 + 2 + 20);
    assert!(!rig.storage.state[&("c1".to_owned(), 0)].contains("status=eq.open"), "it has a row of its own");
    client.frames();
    assert_eq!(what_is_left(&mut rig, &client), [1, 0, 1]);
    // And back into the attachment, when it fits again.
    for id in 0..20 {
        rig.frame(&client, json!({ "type": "unsubscribe", "id": id.to_string() }));
    }
    assert!(rig.storage.state.is_empty());
    client.frames();
    assert_eq!(what_is_left(&mut rig, &client), [1, 0, 1]);
}

#[test]
fn a_part_that_cannot_be_read_costs_one_connection() {
    for broken in [None, Some(""), Some("{}"), Some(r#"{"table":{"id":"0"}}"#)] {
        let mut rig = Rig::new(&realtime());
        let [client, other] = ["ada", "bob"].map(|user| rig.connect(user, &[]));
        subscribe_much(&mut rig, &client);
        match broken {
            None => drop(rig.storage.state.remove(&("c1".to_owned(), 0))),
            Some(text) => drop(rig.storage.state.insert(("c1".to_owned(), 1), text.to_owned())),
        }
        client.frames();
        rig.crash();
        client.is_closed(1012, "service_restart");
        assert_eq!((rig.say("still"), other.frames().len()), (1, 1), "{broken:?}");
        assert!(rig.storage.state.is_empty(), "{broken:?}");
    }
}
