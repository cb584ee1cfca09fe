//! Clients that publish to topics: who may, who receives it, acknowledgement, echo, and retention.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::{Client, Rig, every_way};
use serde_json::{Value, json};

fn channels() -> Value {
    json!({ "channels": [
        { "topic": "room:*", "read": {}, "write": { "roles": ["member"] } },
        { "topic": "log:*", "read": {}, "write": {}, "history": true },
        { "topic": "drop:*", "write": {} },
    ] })
}

#[track_caller]
fn subscribe(rig: &mut Rig, client: &Client, topic: &str, private: bool) {
    rig.frame(client, json!({ "type": "subscribe", "id": topic, "topic": topic, "private": private }));
    client.gets(json!({ "type": "subscribed", "id": topic }));
}

fn message(topic: &str, more: Value) -> Value {
    let mut message = json!({ "type": "broadcast", "topic": topic, "event": "cursor", "payload": { "x": 1 } });
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    message
}

#[test]
fn subscribers_get_it_and_the_sender_an_acknowledgement() {
    every_way(channels(), |rig| {
        let [ada, bob, eve] = ["ada", "bob", "eve"].map(|user| rig.connect(user, &["member"]));
        [&ada, &bob].iter().for_each(|client| subscribe(rig, client, "room:1", true));
        rig.frame(&ada, message("room:1", json!({ "id": "c9" })));
        let seen = message("room:1", json!({}));
        [&ada, &bob].iter().for_each(|client| client.gets(seen.clone()));
        ada.gets(json!({ "type": "ack", "id": "c9" }));
        rig.frame(&eve, message("room:1", json!({})));
        [&ada, &bob].iter().for_each(|client| client.gets(seen.clone()));
        [&ada, &bob, &eve].iter().for_each(|client| client.gets_nothing());
    });
}

#[test]
fn the_sender_may_do_without_the_echo() {
    every_way(channels(), |rig| {
        let [ada, bob] = ["ada", "bob"].map(|user| rig.connect(user, &["member"]));
        [&ada, &bob].iter().for_each(|client| subscribe(rig, client, "room:1", true));
        rig.frame(&ada, message("room:1", json!({ "echo": false, "id": "c9" })));
        ada.gets(json!({ "type": "ack", "id": "c9" }));
        bob.gets(message("room:1", json!({})));
        rig.frame(&ada, message("room:1", json!({ "echo": true })));
        ada.gets(message("room:1", json!({})));
    });
}

#[test]
fn writing_takes_a_right_of_its_own() {
    every_way(channels(), |rig| {
        let [member, guest] = ["member", "guest"].map(|role| rig.connect(role, &[role]));
        [&member, &guest].iter().for_each(|client| subscribe(rig, client, "room:1", true));
        rig.frame(&guest, message("room:1", json!({ "id": "c9" })));
        assert_eq!(guest.is_refused("forbidden")["id"], "c9");
        rig.frame(&guest, message("nowhere", json!({})));
        assert_eq!(guest.is_refused("forbidden")["id"], json!(null));
        rig.frame(&guest, json!({ "type": "subscribe", "id": "d", "topic": "drop:1" }));
        guest.is_refused("forbidden");
        rig.frame(&guest, message("drop:1", json!({ "id": "d" })));
        guest.gets(json!({ "type": "ack", "id": "d" }));
        [&member, &guest].iter().for_each(|client| client.gets_nothing());
    });
}

#[test]
fn public_topics_are_open_to_everyone() {
    every_way(channels(), |rig| {
        let [ada, bob] = ["ada", "bob"].map(|user| rig.connect(user, &[]));
        subscribe(rig, &ada, "anything", false);
        rig.frame(&bob, message("anything", json!({ "private": false, "id": "1" })));
        ada.gets(message("anything", json!({})));
        bob.gets(json!({ "type": "ack", "id": "1" }));
    });
    every_way(json!({ "publicTopics": false }), |rig| {
        let ada = rig.connect("ada", &[]);
        rig.frame(&ada, message("anything", json!({ "private": false })));
        ada.is_refused("public_topics_disabled");
    });
}

#[test]
fn payloads_are_any_json_or_none() {
    every_way(channels(), |rig| {
        let ada = rig.connect("ada", &["member"]);
        subscribe(rig, &ada, "room:1", true);
        for payload in ["null", "-1.50e+7", "\"\\ud800 é\"", "[ 1 ]", "{\"a\": {}}"] {
            let text = format!("{{\"type\":\"broadcast\",\"topic\":\"room:1\",\"event\":\"e\",\"payload\":{payload}}}");
            rig.text(&ada, &text);
            let seen = format!("{{\"type\":\"broadcast\",\"event\":\"e\",\"payload\":{payload},\"topic\":\"room:1\"}}");
            assert_eq!(ada.next_text(), seen);
        }
        rig.text(&ada, r#"{"type":"broadcast","topic":"room:1","event":"e"}"#);
        ada.gets(json!({ "type": "broadcast", "event": "e", "payload": null, "topic": "room:1" }));
    });
}

#[test]
fn bytes_travel_as_base64() {
    every_way(channels(), |rig| {
        let ada = rig.connect("ada", &["member"]);
        subscribe(rig, &ada, "room:1", true);
        for payload in ["AQL/", "", "AA=="] {
            let bytes = json!({ "payload": payload, "encoding": "base64" });
            rig.frame(&ada, message("room:1", bytes.clone()));
            ada.gets(message("room:1", bytes));
        }
        let wrong = [
            (json!({ "payload": "AQL_", "encoding": "base64" }), "payload"),
            (json!({ "payload": "AA", "encoding": "base64" }), "payload"),
            (json!({ "payload": {}, "encoding": "base64" }), "payload"),
            (json!({ "payload": "AA==", "encoding": "hex" }), "encoding"),
            (json!({ "payload": "AA==", "encoding": null }), "encoding"),
        ];
        for (bytes, field) in wrong {
            rig.frame(&ada, message("room:1", bytes.clone()));
            assert_eq!(ada.is_refused("invalid_frame")["field"], field, "{bytes}");
        }
        rig.frame(&ada, json!({ "type": "broadcast", "topic": "room:1", "event": "e", "encoding": "base64" }));
        assert_eq!(ada.is_refused("invalid_frame")["field"], "encoding");
        ada.gets_nothing();
    });
}

#[test]
fn bytes_that_are_kept_come_back() {
    every_way(channels(), |rig| {
        let ada = rig.connect("ada", &["member"]);
        let bytes = json!({ "payload": "AQL/", "encoding": "base64" });
        rig.frame(&ada, message("log:1", bytes.clone()));
        let from = json!({ "epoch": rig.epoch(), "offset": 0 });
        rig.frame(&ada, json!({ "type": "subscribe", "id": "s", "topic": "log:1", "recover": from }));
        ada.gets(json!({ "type": "subscribed", "id": "s", "recovered": true }));
        ada.gets(message("log:1", bytes));
    });
}

#[test]
fn it_is_kept_only_where_the_policy_says_so() {
    every_way(channels(), |rig| {
        let ada = rig.connect("ada", &["member"]);
        let kept = |rig: &Rig| rig.storage.history.len();
        rig.frame(&ada, message("room:1", json!({})));
        rig.frame(&ada, message("public", json!({ "private": false })));
        assert_eq!(kept(rig), 0);
        rig.frame(&ada, message("log:1", json!({})));
        assert_eq!(kept(rig), 1);
        rig.frame(&ada, message("log:1", json!({ "private": false })));
        assert_eq!(kept(rig), 1, "the public topic of that name has no policy");
        let from = json!({ "epoch": rig.epoch(), "offset": 0 });
        rig.frame(&ada, json!({ "type": "subscribe", "id": "s", "topic": "log:1", "recover": from }));
        ada.gets(json!({ "type": "subscribed", "id": "s", "recovered": true }));
        ada.gets(message("log:1", json!({})));
        ada.gets_nothing();
    });
}

#[test]
fn nothing_that_a_client_publishes_spoils_the_recovery_of_others() {
    every_way(channels(), |rig| {
        let mallory = rig.connect("mallory", &["member"]);
        // The history is read more strictly than it was once written: one such message prevented every recovery across
        // it.
        let odd = ["{\"a\":1,\"a\":2}", "{\"\\ud800\":1}", "\"\\ud800\"", "[{\"a\":1,\"a\":2}]", "1e999", " [ ] "];
        for payload in odd {
            rig.text(
                &mallory,
                &format!("{{\"type\":\"broadcast\",\"topic\":\"log:1\",\"event\":\"\\u0000\",\"payload\":{payload},\"id\":\"m\"}}"),
            );
            assert!(["ack", "error"].map(Value::from).contains(&mallory.next()["type"]));
        }
        rig.say("after");
        let from = json!({ "recover": { "epoch": rig.epoch(), "offset": 0 } });
        let ada = rig.connect_saying(&rig.claims("ada", &[]), from);
        assert_eq!(ada.next()["event"], "after");
    });
}

#[test]
fn a_key_counts_once_for_its_user_and_topic() {
    every_way(channels(), |rig| {
        let [ada, bob] = ["ada", "bob"].map(|user| rig.connect(user, &["member"]));
        ["room:1", "room:2"].iter().for_each(|topic| subscribe(rig, &bob, topic, true));
        let keyed = |topic: &str, more: Value| {
            let mut keyed = message(topic, json!({ "id": "c1", "key": "k1" }));
            keyed.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            keyed
        };
        rig.frame(&ada, keyed("room:1", json!({})));
        bob.gets(message("room:1", json!({})));
        ada.gets(json!({ "type": "ack", "id": "c1" }));
        // Again, as after a lost answer: on this connection and on another one, with another payload or none.
        rig.frame(&ada, keyed("room:1", json!({ "id": "c2", "payload": 2 })));
        ada.gets(json!({ "type": "ack", "id": "c2" }));
        let second = rig.connect("ada", &["member"]);
        rig.burst(&second, &[keyed("room:1", json!({})), keyed("room:1", json!({ "id": "c3" }))]);
        second.gets(json!({ "type": "ack", "id": "c1" }));
        second.gets(json!({ "type": "ack", "id": "c3" }));
        bob.gets_nothing();
        // Two in one step: the second is looked up after the first has been stored.
        rig.burst(
            &second,
            &[keyed("room:1", json!({ "key": "k2" })), keyed("room:1", json!({ "key": "k2", "id": "c4" }))],
        );
        bob.gets(message("room:1", json!({})));
        second.gets(json!({ "type": "ack", "id": "c1" }));
        second.gets(json!({ "type": "ack", "id": "c4" }));
        // It is not the key of another user or topic, nor of the API worker.
        rig.frame(&bob, keyed("room:1", json!({})));
        bob.gets(message("room:1", json!({})));
        bob.gets(json!({ "type": "ack", "id": "c1" }));
        rig.frame(&ada, keyed("room:2", json!({})));
        bob.gets(message("room:2", json!({})));
        ada.gets(json!({ "type": "ack", "id": "c1" }));
        rig.publish(json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "room:1", "id": "k1" }));
        bob.gets(json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "room:1" }));
        // It expires in time.
        rig.advance(10 * 60_000);
        rig.frame(&ada, keyed("room:1", json!({})));
        bob.gets(message("room:1", json!({})));
        ada.gets(json!({ "type": "ack", "id": "c1" }));
        bob.gets_nothing();
    });
}

#[test]
fn what_is_refused_is_not_remembered() {
    every_way(channels(), |rig| {
        let [guest, bob] = [rig.connect("ada", &["guest"]), rig.connect("bob", &["member"])];
        subscribe(rig, &bob, "room:1", true);
        rig.frame(&guest, message("room:1", json!({ "id": "c1", "key": "k1" })));
        assert_eq!(guest.next()["code"], "forbidden");
        let ada = rig.connect("ada", &["member"]);
        rig.frame(&ada, message("room:1", json!({ "id": "c1", "key": "k1" })));
        bob.gets(message("room:1", json!({})));
        ada.gets(json!({ "type": "ack", "id": "c1" }));
        for key in ["", &"k".repeat(256)] {
            rig.frame(&ada, message("room:1", json!({ "key": key })));
            assert_eq!(ada.next()["type"], "error", "{key}");
        }
    });
}
