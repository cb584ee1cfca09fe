//! Broadcasts of Supabase's clients: what is passed on unchanged, and what is retained on request.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::dialect::phoenix::{V1, V2};
use rig::supabase::{joined, quiet, socket};
use rig::{Client, Rig, every_way};
use serde_json::{Value, json};

fn realtime() -> Value {
    json!({ "channels": [
        { "topic": "kept:*", "read": {}, "write": {}, "history": true },
        { "topic": "room:*", "read": {}, "write": {} }
    ] })
}

/// A client of version 1.0.0 in a private channel.
fn old_client(rig: &mut Rig, user: &str, topic: &str) -> Client {
    let client = socket(rig, V1, user, &["member"]);
    let payload = json!({ "config": { "private": true, "presence": { "enabled": false } } });
    let topic = format!("realtime:{topic}");
    rig.frame(&client, json!({ "topic": topic, "event": "phx_join", "payload": payload, "ref": "1", "join_ref": "1" }));
    assert_eq!(client.next()["payload"]["status"], "ok");
    client
}

fn private(more: Value) -> Value {
    let mut config = quiet();
    config["private"] = json!(true);
    config["broadcast"] = more;
    config
}

/// Payloads as other clients may write them, byte for byte.
const WHOLE: [&str; 5] = [
    r#"{"type":"broadcast","event":"e","payload":{"x":1},"sent_at":1.10e2,"trace":{"b":1,"a":[]}}"#,
    r#"{"event":"e","payload":[ 1 , 2 ]}"#,
    r#"{ "event" : "e" }"#,
    r#"{"payload":{"x":1},"event":"e","type":"other"}"#,
    r#"{"type":"broadcast","event":"e","payload":{},"\u00e9":"\ud83d\ude00","meta":null}"#,
];

#[test]
fn a_broadcast_as_text_goes_on_as_it_came() {
    every_way(realtime(), |rig| {
        let one = old_client(rig, "ada", "room:1");
        let two = socket(rig, V2, "bob", &["member"]);
        joined(rig, &two, "1", "room:1", private(json!({})));
        let native = rig.connect("eve", &["member"]);
        rig.frame(&native, json!({ "type": "subscribe", "id": "s", "topic": "room:1" }));
        native.next();
        let plain = r#"{"type":"broadcast","event":"e","payload":{"x":1}}"#;
        for whole in WHOLE.into_iter().chain([plain]) {
            rig.text(&two, &format!(r#"["1","2","realtime:room:1","broadcast",{whole}]"#));
            assert_eq!(
                one.next_text(),
                format!(r#"{{"topic":"realtime:room:1","event":"broadcast","payload":{whole},"ref":null}}"#)
            );
            let text = format!(
                r#"{{"topic":"realtime:room:1","event":"broadcast","payload":{whole},"ref":"2","join_ref":"1"}}"#
            );
            rig.text(&one, &text);
            assert_eq!(two.next_text(), format!(r#"[null,null,"realtime:room:1","broadcast",{whole}]"#));
            // Others have frames for no more than these.
            let said: Value = serde_json::from_str(whole).unwrap();
            let payload = said.get("payload").cloned().unwrap_or(json!({}));
            for _ in 0..2 {
                native.gets(json!({ "type": "broadcast", "event": "e", "payload": payload, "topic": "room:1" }));
            }
        }
    });
}

#[test]
fn what_is_replayed_is_as_it_came_too() {
    every_way(realtime(), |rig| {
        let ada = socket(rig, V2, "ada", &["member"]);
        joined(rig, &ada, "1", "kept:1", private(json!({})));
        for whole in WHOLE {
            rig.text(&ada, &format!(r#"["1","2","realtime:kept:1","broadcast",{whole}]"#));
        }
        let bob = socket(rig, V2, "bob", &["member"]);
        joined(rig, &bob, "1", "kept:1", private(json!({ "replay": { "since": rig.now } })));
        for (id, whole) in (1..).zip(WHOLE) {
            let members = whole.strip_suffix('}').unwrap();
            let text = format!(
                r#"["1",null,"realtime:kept:1","broadcast",{members},"meta":{{"id":"{id}","replayed":true}}}}]"#
            );
            assert_eq!(bob.next_text(), text);
        }
        // Nobody can publish on behalf of others.
        let event =
            json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "kept:1", "whole": { "event": "f" } });
        assert_eq!(rig.publish(event).status, 400);
    });
}

/// A binary frame of a message with metadata.
fn broadcast(reference: &str, topic: &str, metadata: &str, payload: &str) -> Vec<u8> {
    let topic = format!("realtime:{topic}");
    let lengths = [1, reference.len(), topic.len(), 1, metadata.len(), 1];
    let lengths = lengths.map(|length| u8::try_from(length).unwrap());
    [&[3], &lengths[..], format!("1{reference}{topic}e{metadata}{payload}").as_bytes()].concat()
}

#[test]
fn a_message_that_asks_for_it_is_kept_or_refused() {
    every_way(realtime(), |rig| {
        let ada = socket(rig, V2, "ada", &["member"]);
        let acknowledged = json!({ "ack": true });
        for topic in ["kept:1", "room:1"] {
            joined(rig, &ada, "1", topic, private(acknowledged.clone()));
        }
        joined(rig, &ada, "1", "kept:2", json!({ "broadcast": acknowledged, "presence": { "enabled": false } }));
        let bob = socket(rig, V2, "bob", &["member"]);
        for topic in ["kept:1", "room:1"] {
            joined(rig, &bob, "1", topic, private(json!({})));
        }
        let mut send = |topic: &str, metadata: &str| {
            rig.binary(&ada, &broadcast("9", topic, metadata, "{}"));
            let answer = ada.next();
            assert_eq!((&answer[1], &answer[2]), (&json!("9"), &json!(format!("realtime:{topic}"))));
            (answer[4]["status"].as_str().unwrap().to_owned(), answer[4]["response"].clone(), bob.frames().len())
        };
        let ok = |response: Value| ("ok".to_owned(), response, 1);
        let error = |error: &str| ("error".to_owned(), json!({ "error": error }), 0);
        assert_eq!(send("kept:1", ""), ok(json!({})));
        for (id, metadata) in
            [("2", r#"{"persist":true}"#), ("3", r#"{"persist":{"ttl":1}}"#), ("4", r#"{"persist":{"ttl":259200}}"#)]
        {
            assert_eq!(send("kept:1", metadata), ok(json!({ "id": id })));
        }
        for ttl in ["0", "259201", "1.5", "-1", "\"60\"", "null", "{}"] {
            let metadata = format!("{{\"persist\":{{\"ttl\":{ttl}}}}}");
            assert_eq!(send("kept:1", &metadata), error("invalid_persist_ttl"));
        }
        assert_eq!(send("room:1", r#"{"persist":true}"#), error("unauthorized"));
        assert_eq!(send("room:1", r#"{"persist":false}"#), ok(json!({})));
        let (status, response, _) = send("kept:2", r#"{"persist":true}"#);
        assert_eq!((status.as_str(), response), ("error", json!({ "error": "unauthorized" })));
        // The id is the one that a replay repeats.
        let eve = socket(rig, V2, "eve", &["member"]);
        joined(rig, &eve, "1", "kept:1", private(json!({ "replay": { "since": rig.now } })));
        let ids: Vec<Value> = eve.frames().iter().map(|frame| frame[4]["meta"]["id"].clone()).collect();
        assert_eq!(ids, ["1", "2", "3", "4"]);
    });
}

#[test]
fn without_an_acknowledgement_nothing_is_said_of_what_is_kept() {
    let mut rig = Rig::new(&realtime());
    let ada = socket(&mut rig, V2, "ada", &["member"]);
    joined(&mut rig, &ada, "1", "kept:1", private(json!({})));
    joined(&mut rig, &ada, "1", "room:1", private(json!({})));
    for topic in ["kept:1", "room:1"] {
        rig.binary(&ada, &broadcast("9", topic, r#"{"persist":true}"#, "{}"));
    }
    ada.gets_nothing();
    assert_eq!(rig.storage.history.len(), 1);
}

#[test]
fn a_message_whose_event_has_no_name_is_refused_and_spoils_nobodys_recovery() {
    every_way(realtime(), |rig| {
        let ada = socket(rig, V2, "ada", &["member"]);
        joined(rig, &ada, "1", "kept:1", private(json!({ "ack": true })));
        rig.text(&ada, r#"["1","2","realtime:kept:1","broadcast",{"type":"broadcast","event":"","payload":{}}]"#);
        let topic = "realtime:kept:1";
        let header = [3, 1, 1, u8::try_from(topic.len()).unwrap(), 0, 0, 1];
        rig.binary(&ada, &[&header[..], format!("13{topic}{{}}").as_bytes()].concat());
        for reference in ["2", "3"] {
            let answer = ada.next();
            assert_eq!((&answer[1], &answer[4]["status"]), (&json!(reference), &json!("error")), "{answer}");
        }
        rig.say("after");
        let native = rig.open();
        let token = rig.token("bob", &[]);
        let recover = json!({ "recover": { "epoch": rig.epoch(), "offset": 0 } });
        rig.authenticate_saying(&native, &token, recover);
        assert_eq!(native.next()["recovered"], true);
        assert_eq!(native.next()["event"], "after");
    });
}

/// With larger frames than by default, a message that the storage would refuse closes nobody's connection.
#[test]
fn what_is_too_large_to_be_kept_is_refused() {
    let mut realtime = realtime();
    realtime["limits"] = json!({ "frameBytes": 4_000_000 });
    every_way(realtime, |rig| {
        let ada = socket(rig, V2, "ada", &["member"]);
        let mut send = |topic: &str, size: usize, more: &str| {
            joined(rig, &ada, "1", topic, private(json!({ "ack": true })));
            let payload = "x".repeat(size);
            let message = format!(r#"{{"type":"broadcast","event":"e","payload":"{payload}"{more}}}"#);
            rig.text(&ada, &format!(r#"["1","2","realtime:{topic}","broadcast",{message}]"#));
            ada.next()[4]["response"].clone()
        };
        let refused = json!({ "error": "payload_size_exceeded" });
        assert_eq!(send("kept:1", 1_900_000, ""), json!({}));
        assert_eq!(send("kept:2", 2_000_000, ""), refused);
        // It is retained twice: as others see it, and as a whole.
        assert_eq!(send("kept:3", 1_100_000, r#","more":1"#), refused);
        assert_eq!(send("room:1", 2_000_000, r#","more":1"#), json!({}));
        assert_eq!(rig.storage.history.len(), 1);
    });
}
