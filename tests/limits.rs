//! Limits of a connection: sizes, rates, errors, and attachments that overflow into rows.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::runtime::v8_bytes;
use rig::{Client, Rig, every_way};
use serde_json::{Value, json};

fn ping() -> Value {
    json!({ "type": "ping" })
}

#[test]
fn a_frame_has_a_greatest_size() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &[]);
        let padded = |size: usize| format!("{{\"type\":\"ping\"}}{}", " ".repeat(size - 15));
        rig.text(&ada, &padded(65_536));
        ada.gets(json!({ "type": "pong" }));
        rig.text(&ada, &padded(65_537));
        ada.is_refused("frame_too_large");
        rig.binary(&ada, &vec![0; 65_537]);
        ada.is_refused("frame_too_large");
        rig.binary(&ada, b"{\"type\":\"ping\"}");
        ada.is_refused("invalid_frame");
    });
    every_way(json!({ "limits": { "frameBytes": 100 } }), |rig| {
        let ada = rig.open();
        rig.text(&ada, &"x".repeat(101));
        let message = ada.is_refused("frame_too_large")["message"].clone();
        assert!(message.as_str().unwrap().contains("100"), "{message}");
    });
}

#[test]
fn so_many_frames_a_second_and_twice_as_many_at_once() {
    every_way(json!({ "limits": { "framesPerSecond": 5 } }), |rig| {
        let ada = rig.connect("ada", &[]);
        rig.advance(1_000);
        rig.burst(&ada, &vec![ping(); 12]);
        (0..10).for_each(|_| ada.gets(json!({ "type": "pong" })));
        (0..2).for_each(|_| drop(ada.is_refused("rate_limited")));
    });
}

#[test]
fn tokens_come_back_with_time() {
    let mut rig = Rig::new(&json!({ "limits": { "framesPerSecond": 5 } }));
    let ada = rig.connect("ada", &[]);
    rig.advance(1_000);
    rig.burst(&ada, &vec![ping(); 11]);
    assert_eq!(ada.frames().iter().filter(|frame| frame["type"] == "pong").count(), 10);
    rig.advance(200);
    rig.burst(&ada, &vec![ping(); 2]);
    let types: Vec<Value> = ada.frames().iter().map(|frame| frame["type"].clone()).collect();
    assert_eq!(types, ["pong", "error"]);
}

#[test]
fn ten_errors_within_a_minute_end_it() {
    every_way(json!({}), |rig| {
        let [ada, bob] = ["ada", "bob"].map(|user| rig.connect(user, &[]));
        for _ in 0..9 {
            rig.text(&ada, "nonsense");
            rig.advance(6_000);
        }
        assert_eq!((ada.frames().len(), ada.closed()), (9, None));
        rig.text(&ada, "nonsense");
        ada.is_refused("invalid_frame");
        ada.is_closed(1008, "too_many_errors");
        rig.text(&ada, "nonsense");
        for _ in 0..9 {
            rig.text(&bob, "nonsense");
        }
        rig.advance(60_000);
        rig.text(&bob, "nonsense");
        assert_eq!((bob.frames().len(), bob.closed()), (10, None), "a minute later they are forgotten");
    });
}

#[test]
fn every_kind_of_refusal_counts() {
    every_way(json!({ "limits": { "errorsPerMinute": 5 } }), |rig| {
        let ada = rig.connect("ada", &[]);
        rig.text(&ada, "nonsense");
        rig.frame(&ada, json!({ "type": "nothing" }));
        rig.frame(&ada, json!({ "type": "subscribe", "id": "s", "topic": "secret" }));
        rig.frame(&ada, json!({ "type": "presence_untrack" }));
        rig.authenticate(&ada, "nonsense");
        assert_eq!(ada.frames().len(), 5);
        ada.is_closed(1008, "too_many_errors");
    });
}

/// Subscribes to changes with a filter of a thousand characters of `filler`.
fn subscribe(rig: &mut Rig, client: &Client, id: usize, filler: &str) {
    let filter = format!("name=eq.{}", filler.repeat(1_000));
    rig.frame(client, json!({ "type": "subscribe", "id": id.to_string(), "table": "t", "filter": filter }));
    client.gets(json!({ "type": "subscribed", "id": id.to_string() }));
}

fn insert(name: &str) -> Value {
    json!({ "type": "postgres_changes", "table": "t", "eventType": "INSERT", "new": { "name": name.repeat(1_000) } })
}

#[test]
fn what_an_attachment_cannot_hold_is_in_a_row() {
    // One byte per character, one byte above ASCII, two bytes, and a surrogate pair.
    for filler in ["x", "é", "ж", "😀"] {
        every_way(json!({ "limits": { "filterBytes": 1_000_000 } }), |rig| {
            let ada = rig.connect("ada", &[]);
            for id in 0..20 {
                subscribe(rig, &ada, id, filler);
            }
            assert_eq!(rig.storage.with_state().len(), 1, "{filler}");
            assert!(v8_bytes(rig.attachment(&ada).unwrap()) < 100, "what is attached is a pointer");
            assert_eq!([rig.accepted(insert(filler)), rig.accepted(insert("z"))], [1, 0]);
            ada.frames();
            for id in 1..20 {
                rig.frame(&ada, json!({ "type": "unsubscribe", "id": id.to_string() }));
                ada.gets(json!({ "type": "unsubscribed", "id": id.to_string() }));
            }
            assert!(rig.storage.state.is_empty(), "it fits again");
            assert_eq!([rig.accepted(insert(filler)), rig.accepted(insert("z"))], [1, 0]);
        });
    }
}

#[test]
fn the_filters_of_a_connection_have_a_length_together() {
    every_way(json!({ "limits": { "filterBytes": 2_020 } }), |rig| {
        let ada = rig.connect("ada", &[]);
        subscribe(rig, &ada, 0, "x");
        subscribe(rig, &ada, 1, "x");
        rig.frame(&ada, json!({ "type": "subscribe", "id": "2", "table": "t", "filter": "a=eq.1" }));
        ada.is_refused("subscription_limit");
        rig.frame(&ada, json!({ "type": "unsubscribe", "id": "0" }));
        ada.gets(json!({ "type": "unsubscribed", "id": "0" }));
        rig.frame(&ada, json!({ "type": "subscribe", "id": "2", "table": "t", "filter": "a=eq.1" }));
        ada.gets(json!({ "type": "subscribed", "id": "2" }));
    });
}

#[test]
fn the_row_goes_with_its_connection() {
    every_way(json!({ "limits": { "filterBytes": 1_000_000 } }), |rig| {
        let [ada, bob] = ["ada", "bob"].map(|user| rig.connect(user, &[]));
        for id in 0..20 {
            subscribe(rig, &ada, id, "😀");
            subscribe(rig, &bob, id, "😀");
        }
        assert_eq!(rig.storage.with_state().len(), 2);
        rig.disconnect(&ada);
        assert_eq!(rig.storage.with_state().len(), 1);
        rig.deploy();
        assert_eq!(rig.storage.with_state().len(), 0);
    });
}

#[test]
fn of_a_large_state_only_what_differs_is_written() {
    let limits = json!({ "filterBytes": 10_000_000, "subscriptions": 10_000, "framesPerSecond": 100_000 });
    let mut rig = Rig::new(&json!({ "limits": limits }));
    let ada = rig.connect("ada", &[]);
    for id in 0..300 {
        subscribe(&mut rig, &ada, id, "x");
    }
    rig.hibernate();
    let mut cost = |act: &dyn Fn(&mut Rig)| {
        let before = (rig.storage.writes, rig.storage.state_bytes_written);
        act(&mut rig);
        (rig.storage.writes - before.0, rig.storage.state_bytes_written - before.1)
    };
    let (rows, bytes) = cost(&|rig| subscribe(rig, &ada, 300, "x"));
    assert!(rows == 1 && (1_000..1_200).contains(&bytes), "{rows} rows, {bytes} bytes for one more of 300");
    let unsubscribe = |rig: &mut Rig| rig.frame(&ada, json!({ "type": "unsubscribe", "id": "7" }));
    assert_eq!(cost(&unsubscribe), (1, 0));
    let (rows, bytes) = cost(&|rig| rig.text(&ada, "no JSON"));
    assert!(rows == 1 && bytes < 1_000, "{rows} rows, {bytes} bytes for an error that is counted");
    ada.frames();
    rig.hibernate();
    assert_eq!([rig.accepted(insert("x")), rig.accepted(insert("z"))], [1, 0]);
}

#[test]
fn the_largest_state_that_stays_attached() {
    // An issuer decides the roles: a token of 16 KiB contains that many.
    let mut rig = Rig::new(&json!({}));
    let mut overflowed = [false, false];
    for size in (1_000..11_000).step_by(500) {
        for (place, filler) in ["a", "ж"].into_iter().enumerate() {
            let role = filler.repeat(size / filler.len());
            let client = rig.connect("ada", &[&role]);
            overflowed[place] |= rig.storage.with_state().contains(client.id.as_str());
            rig.disconnect(&client);
        }
    }
    assert_eq!(overflowed, [false, false], "two bytes a character still fit");
    let client = rig.connect("ada", &[&"ж".repeat(5_900)]);
    assert!(rig.storage.state.is_empty() && v8_bytes(rig.attachment(&client).unwrap()) > 11_000);
}

#[test]
fn names_have_a_greatest_length() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &[]);
        let long = "é".repeat(128);
        let frames = [
            json!({ "type": "subscribe", "id": long, "table": "t" }),
            json!({ "type": "subscribe", "id": "s", "table": long }),
            json!({ "type": "subscribe", "id": "s", "topic": long }),
            json!({ "type": "broadcast", "topic": "t", "event": long, "private": false }),
            json!({ "type": "broadcast", "topic": "t", "event": "e", "private": false, "id": long }),
            json!({ "type": "unsubscribe", "id": long }),
        ];
        for frame in frames {
            rig.frame(&ada, frame);
            ada.is_refused("name_too_long");
        }
    });
}

/// The module that workerd loads checks a message's length before the Wasm does.
#[test]
fn the_entry_closes_what_is_longer_than_a_message_may_be() {
    let entry = include_str!("../xtask/src/entry.js");
    let (_, after) = entry.split_once("const MAX_MESSAGE_LENGTH = ").unwrap();
    let length: u32 = after.split(';').next().unwrap().replace('_', "").parse().unwrap();
    assert_eq!(length, realtime_worker::policy::limits::MESSAGE_LENGTH);
}
