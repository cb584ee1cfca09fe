//! Clients that stop reading.

use realtime_worker::dialect::phoenix;
use serde_json::{Value, json};

use crate::rig::supabase::{joined, socket};
use crate::rig::{Client, Rig};

/// The least that a deployment may allow.
const UNREAD: usize = 65_536;
/// Bytes of a message, with which a socket is looked at by the fourth and closed by the eighth.
const MESSAGE: usize = UNREAD / 8;

fn rig() -> Rig {
    Rig::new(&json!({ "limits": { "unreadBytes": UNREAD } }))
}

fn say(rig: &mut Rig) {
    rig.now += 1;
    rig.accepted(json!({ "type": "broadcast", "event": "e", "payload": "x".repeat(MESSAGE) }));
}

fn pings(client: &Client) -> usize {
    client.frames().iter().filter(|frame| frame["type"] == "ping").count()
}

fn is_too_slow(client: &Client) -> bool {
    client.closed() == Some((1013, "too_slow".to_owned()))
}

#[test]
fn whoever_does_not_answer_a_ping_is_closed_and_counted() {
    let mut rig = rig();
    let (eve, ada) = (rig.connect("eve", &[]), rig.connect("ada", &[]));
    for _ in 0..4 {
        say(&mut rig);
    }
    assert_eq!((pings(&eve), pings(&ada)), (1, 1), "asked once");
    rig.auto_respond(&ada);
    for _ in 0..4 {
        say(&mut rig);
        assert_eq!(pings(&ada) + pings(&eve), 0);
    }
    assert!(is_too_slow(&eve) && ada.closed().is_none());
    assert_eq!((&rig.stats()["tooSlow"], &rig.stats()["connections"]), (&json!(1), &json!(1)));
    let line: Vec<Value> = rig.logs.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(line.iter().any(|line| line["event"] == "closed" && line["code"] == "too_slow"));
}

#[test]
fn whoever_answers_may_be_sent_any_amount() {
    let mut rig = rig();
    let (ada, bob) = (rig.connect("ada", &[]), rig.connect("bob", &[]));
    for _ in 0..100 {
        say(&mut rig);
        if pings(&ada) > 0 {
            rig.auto_respond(&ada);
        }
        if pings(&bob) > 0 {
            rig.text(&bob, "{ \"type\": \"ping\" }");
        }
    }
    assert!(ada.closed().is_none() && bob.closed().is_none());
    assert_eq!(rig.stats()["tooSlow"], 0);
}

#[test]
fn a_sign_of_life_from_before_it_was_asked_for_counts_once() {
    let mut rig = rig();
    let eve = rig.connect("eve", &[]);
    rig.now += 1;
    rig.auto_respond(&eve);
    for _ in 0..20 {
        say(&mut rig);
    }
    assert!(is_too_slow(&eve));
}

#[test]
fn clients_that_no_frame_makes_speak_are_closed_when_they_are_silent() {
    let mut rig = rig();
    let [eve, ada] = ["eve", "ada"].map(|user| socket(&mut rig, phoenix::V2, user, &[]));
    for client in [&eve, &ada] {
        joined(&mut rig, client, "1", "room", json!({}));
        client.frames();
    }
    for n in 0..40 {
        rig.accepted(json!({ "type": "broadcast", "event": "e", "payload": "x".repeat(MESSAGE), "topic": "room", "private": false }));
        if n % 6 == 0 {
            rig.frame(&ada, json!([null, "9", "phoenix", "heartbeat", {}]));
        }
    }
    assert!(eve.closed().is_some() && ada.closed().is_none());
}

#[test]
fn a_number_that_is_used_again_begins_anew() {
    let mut rig = rig();
    let eve = rig.connect("eve", &[]);
    for _ in 0..7 {
        say(&mut rig);
    }
    rig.disconnect(&eve);
    let ada = rig.connect("ada", &[]);
    for _ in 0..3 {
        say(&mut rig);
    }
    assert!(ada.closed().is_none() && pings(&ada) == 0);
}

#[test]
fn nothing_that_is_counted_keeps_an_object_awake() {
    let mut rig = rig();
    let eve = rig.connect("eve", &[]);
    let (alarm, timers) = (rig.alarm, rig.timers.clone());
    for _ in 0..5 {
        say(&mut rig);
    }
    assert_eq!(pings(&eve), 1);
    assert_eq!(rig.timers, timers);
    assert!(rig.alarm >= alarm, "no alarm comes earlier for it");
}
