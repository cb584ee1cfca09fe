//! Work that one member has others do.

use std::rc::Rc;

use realtime_worker::engine::input::Publisher;
use realtime_worker::engine::publication::{Payload, Publication};
use realtime_worker::policy::channel::Topic;
use serde_json::{Value, json};

use crate::rig::{Client, Rig};

fn shout(bytes: usize) -> Value {
    let payload = "x".repeat(bytes);
    json!({ "type": "broadcast", "topic": "room", "private": false, "event": "e", "payload": payload, "id": "1" })
}

/// A public topic with so many listeners, who have heard everything.
fn room(limits: Value, listeners: usize) -> (Rig, Vec<Client>) {
    let mut rig = Rig::new(&json!({ "limits": limits }));
    let clients: Vec<Client> = (0..listeners).map(|n| rig.connect(&format!("u{n}"), &[])).collect();
    for client in &clients {
        rig.frame(client, json!({ "type": "subscribe", "id": "s", "topic": "room", "private": false }));
        client.frames();
    }
    (rig, clients)
}

#[test]
fn large_messages_to_many_are_paid_for_by_who_sends_them() {
    let (mut rig, clients) = room(json!({ "errorsPerMinute": 1_000_000 }), 200);
    let eve = rig.connect("eve", &[]);
    for _ in 0..90 {
        rig.frame(&eve, shout(60_000));
        rig.now += 11;
    }
    let accepted = eve.frames().iter().filter(|frame| frame["type"] == "ack").count();
    assert!((1..=3).contains(&accepted), "{accepted} of 90 messages, each of 12,000 units, at 5,000 a second");
    assert_eq!(clients[0].frames().len(), accepted);
    rig.frame(&eve, shout(60_000));
    let refused = eve.next();
    assert_eq!((&refused["code"], &refused["id"]), (&json!("rate_limited"), &json!("1")));
    let wait = refused["retryAfter"].as_u64().unwrap();
    rig.frame(&clients[0], shout(10));
    assert_eq!(clients[1].frames().len(), 1 + accepted, "another user pays for itself");
    assert_eq!(rig.say("e"), 201, "and the API worker has a bucket of its own");
    rig.now += wait;
    eve.frames();
    rig.frame(&eve, shout(60_000));
    assert!(eve.frames().iter().any(|frame| frame["type"] == "ack"), "after the time that was told");
}

#[test]
fn sockets_of_one_user_share_its_budget() {
    let limits = json!({ "workPerConnection": 1_000_000, "workPerUser": 100, "errorsPerMinute": 1_000_000 });
    let (mut rig, clients) = room(limits, 20);
    let eves: Vec<Client> = (0..20).map(|_| rig.connect("eve", &[])).collect();
    for eve in &eves {
        rig.frame(eve, shout(10));
    }
    assert_eq!(clients[0].frames().len(), 9, "of 21 units each, from a burst of 200");
    rig.frame(&clients[0], shout(10));
    assert_eq!(clients[1].frames().len(), 10);
}

#[test]
fn a_presence_that_changes_in_many_topics_is_paid_for() {
    let mut rig = Rig::new(&json!({ "limits": { "workPerConnection": 50, "errorsPerMinute": 1_000_000 } }));
    let members: Vec<Client> = (0..10).map(|n| rig.connect(&format!("u{n}"), &[])).collect();
    let frame = |kind: &str, topic: usize, n: usize| json!({ "type": kind, "topic": topic.to_string(), "private": false, "metadata": { "n": n } });
    for topic in 0..5 {
        for member in &members {
            rig.now += 1_000;
            rig.frame(member, frame("presence_track", topic, 0));
        }
    }
    rig.now += 10_000;
    members.iter().for_each(|member| drop(member.frames()));
    for n in 1..=100 {
        rig.frame(&members[0], frame("presence_update", n % 5, n));
        rig.now += 10;
    }
    let heard = members[1].frames().len();
    assert!((10..=20).contains(&heard), "{heard} updates of 100 within a second, each of 11 units");
}

#[test]
fn replays_are_paid_for_by_their_rows() {
    let mut rig = Rig::new(&json!({ "limits": { "errorsPerMinute": 1_000_000, "publicationsPerSecond": 1_000_000 } }));
    let eve = rig.connect("eve", &[]);
    let from = json!({ "epoch": rig.epoch(), "offset": 0 });
    for _ in 0..4_000 {
        rig.accepted(json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "room", "private": false }));
    }
    rig.hibernate();
    let reads = rig.history_reads;
    for n in 0..40 {
        let topic = json!({ "topic": "room", "private": false, "recover": from });
        let mut subscribe = json!({ "type": "subscribe", "id": n.to_string() });
        subscribe.as_object_mut().unwrap().extend(topic.as_object().unwrap().clone());
        rig.frame(&eve, subscribe);
        rig.now += 25;
    }
    let read = rig.history_reads - reads;
    assert!((3..=9).contains(&read), "the history was read {read} times within a second");
}

/// Nothing of a long history is for them, and all of it has to be looked through to know that.
#[test]
fn rows_that_are_looked_through_in_vain_are_paid_for() {
    for is_in_memory in [true, false] {
        let limits = json!({ "publicationsPerSecond": 1_000_000, "workPerUser": 1_000 });
        let mut rig = Rig::new(&json!({ "limits": limits }));
        rig.say("first");
        let from = json!({ "epoch": rig.epoch(), "offset": 0 });
        for _ in 0..4_000 {
            rig.accepted(json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "room", "private": false }));
        }
        if !is_in_memory {
            rig.hibernate();
        }
        let (mut recovered, reads) = (0, rig.history_reads);
        for _ in 0..60 {
            let eve = rig.open();
            let token = rig.token("eve", &[]);
            rig.authenticate_saying(&eve, &token, json!({ "recover": from }));
            recovered += usize::from(eve.next()["recovered"] == true);
            rig.disconnect(&eve);
            rig.now += 10;
        }
        assert!((16..=24).contains(&recovered), "{recovered} of 60, each of 126 units, from a burst of 2,000");
        assert_eq!(rig.history_reads - reads, if is_in_memory { 0 } else { recovered });
    }
}

/// A loop of connections that each recover: whoever owes for the last replay is told to read its state anew.
#[test]
fn connections_that_recover_again_and_again_are_paid_for() {
    let mut rig = Rig::new(&json!({ "limits": { "publicationsPerSecond": 1_000_000 } }));
    for _ in 0..4_000 {
        rig.accepted(json!({ "type": "broadcast", "event": "e", "payload": "x".repeat(500) }));
    }
    let from = json!({ "epoch": rig.epoch(), "offset": 0 });
    let mut recovered = 0;
    for _ in 0..60 {
        let eve = rig.open();
        let token = rig.token("eve", &[]);
        rig.authenticate_saying(&eve, &token, json!({ "recover": from }));
        let frame = eve.next();
        assert_eq!(frame["type"], "auth_success");
        recovered += u64::from(frame["recovered"] == true);
        rig.disconnect(&eve);
        rig.now += 10;
    }
    assert!((3..=15).contains(&recovered), "{recovered} of 60 replays within a second");
    let ada = rig.open();
    let token = rig.token("ada", &[]);
    rig.authenticate_saying(&ada, &token, json!({ "recover": from }));
    assert_eq!(ada.next()["recovered"], true, "that is nobody else's debt");
}

/// Ten messages of a client over HTTP, each of one unit.
fn ten() -> Vec<Publication> {
    let topic = || Topic { private: false, name: Rc::from("t") };
    (0..10).map(|_| Publication::from_client(topic(), "e", Payload::Json(Rc::from("{}"))).unwrap()).collect()
}

fn publisher(user: Option<&str>, key: Option<&str>, address: Option<&str>) -> Publisher {
    let [user, key, address] = [user, key, address].map(|text| text.map(str::to_owned));
    Publisher { user, key, address }
}

#[test]
fn over_http_a_key_that_many_share_and_an_address_have_a_budget_each() {
    let limits = json!({ "workPerConnection": 10, "workPerUser": 30 });
    let mut rig = Rig::new(&json!({ "limits": limits }));
    let mut ask = |key, address| rig.publish_for_client(&publisher(None, Some(key), address), ten()).status;
    assert_eq!([(); 3].map(|()| ask("anon", Some("192.0.2.1"))), [202, 202, 429], "one address, whatever its key");
    assert_eq!(ask("other", Some("192.0.2.1")), 429);
    assert_eq!([(); 3].map(|()| ask("anon", Some("192.0.2.2"))), [202, 202, 429]);
    assert_eq!([(); 3].map(|()| ask("anon", None)), [202, 202, 429], "where no address is known, the key alone counts");
    assert_eq!(ask("other", Some("192.0.2.3")), 202);
}

#[test]
fn clients_over_http_drain_no_bucket_but_their_own() {
    let mut rig = Rig::new(&json!({ "limits": { "publicationsPerSecond": 10, "workPerUser": 20 } }));
    let of = |user| publisher(user, None, None);
    let mut ask = |user| rig.publish_for_client(&of(user), ten()).status;
    assert_eq!([(); 6].map(|()| ask(Some("eve"))), [202, 202, 202, 202, 429, 429]);
    assert_eq!(ask(Some("ada")), 202);
    assert_eq!(ask(None), 202, "those without a user");
    let refused = rig.publish_for_client(&of(Some("eve")), ten());
    assert_eq!((refused.status, refused.retry_after), (429, Some(1)));
    assert_eq!(rig.say("e"), 0, "the API worker has a bucket of its own");
}
