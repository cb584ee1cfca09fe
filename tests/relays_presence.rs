//! Presence of clients that are connected to relays, which the root answers later than it answers its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod rig;

use rig::{Client, Rig};
use serde_json::{Value, json};

fn spread(limits: Value) -> (Rig, [Client; 2]) {
    let channels = json!([{ "topic": "room:*", "read": {}, "presence": {} }]);
    let mut rig = Rig::with_relays(&json!({ "channels": channels, "limits": limits }), 1);
    let clients = ["user0", "user1"].map(|user| rig.connect(user, &["member"]));
    (rig, clients)
}

fn track(rig: &mut Rig, client: &Client, topic: &str, metadata: Value) {
    rig.frame(client, json!({ "type": "presence_track", "topic": topic, "metadata": metadata }));
}

/// As when a page is reloaded: the answer finds nobody who could leave later.
#[test]
fn who_leaves_before_the_root_has_answered_is_not_present() {
    let (mut rig, [_, client]) = spread(json!({}));
    // The relay stays in use, so nothing else tells the root who is still there.
    let [_, _other] = ["user2", "user3"].map(|user| rig.connect(user, &["member"]));
    rig.mail.is_held = true;
    track(&mut rig, &client, "room:1", json!({}));
    rig.disconnect(&client);
    rig.release_mail();
    assert_eq!(rig.stats()["presence"], 0);
}

#[test]
fn no_more_presences_are_asked_for_at_once_than_a_connection_may_have() {
    let (mut rig, [_, client]) = spread(json!({ "presences": 3 }));
    rig.mail.is_held = true;
    (0..6).for_each(|number| track(&mut rig, &client, &format!("room:{number}"), json!({})));
    // Another description of the same presence is none.
    track(&mut rig, &client, "room:0", json!({ "n": 1 }));
    rig.release_mail();
    let refused = client.frames().iter().filter(|frame| frame["code"] == "presence_limit").count();
    assert_eq!((refused, &rig.stats()["presence"]), (3, &json!(3)));
    rig.frame(&client, json!({ "type": "presence_untrack", "topic": "room:0" }));
    track(&mut rig, &client, "room:9", json!({}));
    assert_eq!(rig.stats()["presence"], 3, "{:?}", client.frames());
}

/// A member that describes itself anew gets no answer, so it waits for none when something is lost.
#[test]
fn a_member_that_changes_what_it_says_of_itself_stays_connected() {
    let (mut rig, [_, client]) = spread(json!({}));
    (0..2).for_each(|number| track(&mut rig, &client, "room:1", json!({ "n": number })));
    rig.mail.is_held = true;
    rig.say("kept");
    rig.lose_root();
    rig.release_mail();
    assert_eq!((client.closed(), &rig.stats()["presence"]), (None, &json!(1)));
    assert!(client.frames().iter().any(|frame| frame["event"] == "kept"));
}

/// Members may say a lot of themselves, and a client may ask for many topics at once.
#[test]
fn rosters_of_many_topics_do_not_overrun_a_relay() {
    let limits = json!({ "presenceBytes": 400_000, "frameBytes": 1_000_000, "workPerConnection": 1_000_000, "workPerUser": 1_000_000,
        "workOfClients": 1_000_000, "presences": 24, "unreadBytes": 100_000_000 });
    let (mut rig, [member, other]) = spread(limits);
    let topics: Vec<String> = (0..24).map(|number| format!("room:{number}")).collect();
    for topic in &topics {
        track(&mut rig, &member, topic, json!({ "about": "x".repeat(380_000) }));
    }
    let [_, client] = [rig.open(), rig.open()];
    let subscription = |topic: &String| json!({ "id": topic, "topic": topic, "presence": true });
    let subscriptions: Vec<Value> = topics.iter().map(subscription).collect();
    rig.authenticate_saying(&client, &rig.token("ada", &["member"]), json!({ "subscriptions": subscriptions }));
    assert_eq!(rig.stats()["missedByRelays"], json!({ "lost": 0, "recovered": 0 }));
    assert_eq!((client.closed(), other.closed()), (None, None));
    let frames = client.frames();
    assert_eq!(frames.iter().filter(|frame| frame["type"] == "presence_state").count(), topics.len());
}
