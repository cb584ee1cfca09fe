//! Presence: who is in a topic or in the lobby, who joins, changes and leaves, whatever happens to the object.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::{Client, Rig, every_way};
use serde_json::{Value, json};

fn rooms() -> Value {
    json!({ "channels": [{ "topic": "room:*", "read": {}, "presence": { "roles": ["member"] } }] })
}

fn track(rig: &mut Rig, client: &Client, topic: Option<&str>, metadata: Value) {
    send(rig, client, "presence_track", topic, Some(metadata));
}

fn send(rig: &mut Rig, client: &Client, kind: &str, topic: Option<&str>, metadata: Option<Value>) {
    let mut frame = json!({ "type": kind });
    let members = [("topic", topic.map(Value::from)), ("metadata", metadata)];
    members.into_iter().filter_map(|(name, value)| Some((name, value?))).for_each(|(name, value)| frame[name] = value);
    rig.frame(client, frame);
}

/// A presence frame, with its topic if there is one.
fn frame(kind: &str, topic: Option<&str>, more: Value) -> Value {
    let mut frame = json!({ "type": kind });
    topic.iter().for_each(|topic| frame["topic"] = json!(topic));
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    frame
}

fn member(client: &Client, user: &str, metadata: &Value) -> Value {
    json!({ "client_id": client.id, "user_id": user, "metadata": metadata })
}

#[test]
fn coming_changing_and_leaving_is_told_to_everyone_there() {
    for topic in [None, Some("room:1")] {
        every_way(rooms(), |rig| {
            let [ada, bob, eve] = ["ada", "bob", "eve"].map(|user| rig.connect(user, &["member"]));
            let busy = json!({ "state": "busy" });
            track(rig, &ada, topic, busy.clone());
            ada.gets(frame("presence_state", topic, json!({ "clients": [] })));
            ada.gets(frame("presence_join", topic, member(&ada, "ada", &busy)));
            track(rig, &bob, topic, json!({}));
            bob.gets(frame("presence_state", topic, json!({ "clients": [member(&ada, "ada", &busy)] })));
            let joined = frame("presence_join", topic, member(&bob, "bob", &json!({})));
            [&ada, &bob].iter().for_each(|client| client.gets(joined.clone()));
            send(rig, &ada, "presence_update", topic, Some(json!({ "state": "free" })));
            let updated = json!({ "client_id": ada.id, "metadata": { "state": "free" } });
            [&ada, &bob].iter().for_each(|client| client.gets(frame("presence_update", topic, updated.clone())));
            send(rig, &ada, "presence_untrack", topic, None);
            let left = frame("presence_leave", topic, json!({ "client_id": ada.id, "user_id": "ada" }));
            bob.gets(left);
            send(rig, &bob, "presence_update", topic, Some(json!({ "n": 1 })));
            bob.frames();
            ada.frames();
            eve.gets_nothing();
            assert_eq!(rig.storage.presence.len(), 1);
        });
    }
}

#[test]
fn the_same_metadata_again_is_no_news() {
    every_way(json!({}), |rig| {
        let [ada, bob] = ["ada", "bob"].map(|user| rig.connect(user, &[]));
        [&ada, &bob].iter().for_each(|client| track(rig, client, None, json!({ "n": 1 })));
        [&ada, &bob].iter().for_each(|client| drop(client.frames()));
        send(rig, &ada, "presence_update", None, Some(json!({ "n": 1 })));
        [&ada, &bob].iter().for_each(|client| client.gets_nothing());
        track(rig, &ada, None, json!({ "n": 1 }));
        [&ada, &bob].iter().for_each(|client| client.gets_nothing());
        track(rig, &ada, None, json!({ "n": 2 }));
        bob.gets(json!({ "type": "presence_update", "client_id": ada.id, "metadata": { "n": 2 } }));
    });
}

#[test]
fn a_disconnect_leaves_every_topic() {
    every_way(rooms(), |rig| {
        let [ada, bob] = ["ada", "bob"].map(|user| rig.connect(user, &["member"]));
        for topic in [None, Some("room:1"), Some("room:2")] {
            track(rig, &ada, topic, json!({}));
        }
        [None, Some("room:2")].iter().for_each(|topic| track(rig, &bob, *topic, json!({})));
        bob.frames();
        // Topics whose window is open are announced in the order in which their windows end.
        rig.advance(1_000);
        rig.disconnect(&ada);
        let left = |topic| frame("presence_leave", topic, json!({ "client_id": ada.id, "user_id": "ada" }));
        let mut frames = bob.frames();
        frames.sort_by_key(Value::to_string);
        let mut expected = vec![left(None), left(Some("room:2"))];
        expected.sort_by_key(Value::to_string);
        assert_eq!(frames, expected);
        assert_eq!(rig.storage.presence.len(), 2);
    });
}

#[test]
fn whoever_is_closed_leaves_too() {
    every_way(rooms(), |rig| {
        let bob = rig.connect("bob", &["member"]);
        rig.advance(60_000);
        let ada = rig.connect("ada", &["member"]);
        [&ada, &bob].iter().for_each(|client| track(rig, client, None, json!({})));
        ada.frames();
        rig.advance(3_600_000 - 60_000 + 30_000);
        assert_eq!(ada.frames(), [json!({ "type": "presence_leave", "client_id": bob.id, "user_id": "bob" })]);
    });
}

#[test]
fn ghosts_of_an_earlier_life_are_gone_at_the_next() {
    let mut rig = Rig::new(&rooms());
    let [ada, bob] = ["ada", "bob"].map(|user| rig.connect(user, &["member"]));
    track(&mut rig, &ada, None, json!({}));
    track(&mut rig, &bob, Some("room:1"), json!({}));
    assert_eq!(rig.storage.presence.len(), 2);
    rig.deploy();
    assert_eq!(rig.storage.presence.len(), 0, "nobody has survived the deploy");
    let eve = rig.connect("eve", &["member"]);
    track(&mut rig, &eve, Some("room:1"), json!({}));
    eve.gets(json!({ "type": "presence_state", "topic": "room:1", "clients": [] }));
    assert_eq!(rig.stats()["presence"], 1);
}

#[test]
fn those_who_stay_are_told_about_ghosts() {
    for interruption in [rig::Interruption::Hibernate, rig::Interruption::Crash] {
        let mut rig = Rig::new(&json!({}));
        let [ada, bob] = ["ada", "bob"].map(|user| rig.connect(user, &[]));
        [&ada, &bob].iter().for_each(|client| track(&mut rig, client, None, json!({})));
        ada.frames();
        rig.lose(&bob);
        rig.interruption = interruption;
        rig.say("wake");
        ada.gets(json!({ "type": "presence_leave", "client_id": bob.id, "user_id": "bob" }));
        assert_eq!(ada.frames().len(), 1, "{interruption:?}: told once");
        assert_eq!(rig.storage.presence.len(), 1);
    }
}

#[test]
fn who_is_present_stays_present_over_interruptions() {
    every_way(rooms(), |rig| {
        let [ada, bob] = ["ada", "bob"].map(|user| rig.connect(user, &["member"]));
        track(rig, &ada, Some("room:1"), json!({ "n": 1 }));
        rig.hibernate();
        rig.crash();
        track(rig, &bob, Some("room:1"), json!({}));
        bob.gets(frame(
            "presence_state",
            Some("room:1"),
            json!({ "clients": [member(&ada, "ada", &json!({ "n": 1 }))] }),
        ));
        assert_eq!(ada.frames().len(), 3, "state, own join, the other's join");
    });
}

#[test]
fn subscribers_with_the_right_watch_without_being_there() {
    every_way(rooms(), |rig| {
        let [watcher, member] = ["w", "m"].map(|user| rig.connect(user, &["member"]));
        let outsider = rig.connect("guest", &["guest"]);
        for client in [&watcher, &outsider] {
            rig.frame(client, json!({ "type": "subscribe", "id": "s", "topic": "room:1" }));
            client.gets(json!({ "type": "subscribed", "id": "s" }));
        }
        track(rig, &member, Some("room:1"), json!({}));
        assert_eq!(watcher.next()["type"], "presence_join");
        rig.disconnect(&member);
        assert_eq!(watcher.next()["type"], "presence_leave");
        outsider.gets_nothing();
        rig.frame(&watcher, json!({ "type": "unsubscribe", "id": "s" }));
        watcher.frames();
        track(rig, &watcher, Some("room:1"), json!({}));
        assert_eq!(watcher.frames().len(), 2);
    });
}

#[test]
fn presence_takes_a_right_of_its_own() {
    every_way(rooms(), |rig| {
        let guest = rig.connect("guest", &["guest"]);
        track(rig, &guest, Some("room:1"), json!({}));
        guest.is_refused("forbidden");
        track(rig, &guest, Some("elsewhere"), json!({}));
        guest.is_refused("forbidden");
        rig.frame(&guest, json!({ "type": "presence_track", "topic": "room:1", "private": false, "metadata": {} }));
        assert_eq!(guest.next()["type"], "presence_state");
        guest.frames();
        send(rig, &guest, "presence_update", Some("room:1"), Some(json!({})));
        guest.is_refused("not_tracked");
        send(rig, &guest, "presence_untrack", Some("room:1"), None);
        guest.is_refused("not_tracked");
        send(rig, &guest, "presence_untrack", None, None);
        guest.is_refused("not_tracked");
    });
}

#[test]
fn the_lobby_is_for_those_who_are_someone_unless_a_policy_says_otherwise() {
    let connect = |rig: &mut Rig| {
        let mut claims = rig.claims("nobody", &["anon"]);
        claims.as_object_mut().unwrap().remove("sub");
        rig.connect_with(&claims)
    };
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &["guest"]);
        track(rig, &ada, None, json!({ "mail": "ada@example.com" }));
        assert_eq!(ada.next()["type"], "presence_state");
        let nobody = connect(rig);
        track(rig, &nobody, None, json!({}));
        nobody.is_refused("forbidden");
    });
    every_way(json!({ "lobby": {} }), |rig| {
        let nobody = connect(rig);
        track(rig, &nobody, None, json!({}));
        assert_eq!(nobody.next()["type"], "presence_state");
    });
    every_way(json!({ "lobby": { "roles": ["member"] } }), |rig| {
        let [ada, bob] = [rig.connect("ada", &["guest"]), rig.connect("bob", &["member"])];
        track(rig, &ada, None, json!({}));
        ada.is_refused("forbidden");
        track(rig, &bob, None, json!({}));
        assert_eq!(bob.next()["type"], "presence_state");
        bob.frames();
        // Losing the role with a renewal ends the presence.
        let weaker = rig.token("bob", &["guest"]);
        rig.authenticate(&bob, &weaker);
        assert!(rig.storage.presence.is_empty());
    });
}

#[test]
fn a_refresh_without_the_right_ends_the_presence() {
    every_way(rooms(), |rig| {
        let [ada, bob] = ["ada", "bob"].map(|user| rig.connect(user, &["member"]));
        for client in [&ada, &bob] {
            track(rig, client, Some("room:1"), json!({}));
            track(rig, client, None, json!({}));
        }
        [&ada, &bob].iter().for_each(|client| drop(client.frames()));
        let weaker = rig.token("ada", &["guest"]);
        rig.authenticate(&ada, &weaker);
        let left = json!({ "client_id": ada.id, "user_id": "ada" });
        assert_eq!(bob.frames(), [frame("presence_leave", Some("room:1"), left)], "the lobby stays");
        assert_eq!(rig.storage.presence.len(), 3);
    });
}

#[test]
fn limits_of_a_connection_a_topic_and_the_metadata() {
    let mut configuration = rooms();
    configuration["limits"] = json!({ "presences": 2, "presenceMembers": 2, "presenceBytes": 20 });
    every_way(configuration, |rig| {
        let clients = ["a", "b", "c"].map(|user| rig.connect(user, &["member"]));
        track(rig, &clients[0], Some("room:1"), json!({}));
        track(rig, &clients[0], Some("room:2"), json!({}));
        clients[0].frames();
        track(rig, &clients[0], None, json!({}));
        clients[0].is_refused("presence_limit");
        track(rig, &clients[0], Some("room:2"), json!({ "n": 1 }));
        assert_eq!(clients[0].frames().len(), 1, "who is there already may change");
        track(rig, &clients[1], Some("room:1"), json!({}));
        track(rig, &clients[2], Some("room:1"), json!({}));
        clients[2].is_refused("presence_limit");
        track(rig, &clients[2], Some("room:2"), json!({ "text": "too long a text" }));
        clients[2].is_refused("metadata_too_large");
        send(rig, &clients[1], "presence_update", Some("room:1"), Some(json!({ "text": "too long a text" })));
        clients[1].frames();
        send(rig, &clients[0], "presence_untrack", Some("room:1"), None);
        track(rig, &clients[2], Some("room:1"), json!({}));
        assert_eq!(clients[2].next()["type"], "presence_state");
    });
}

#[test]
fn who_is_present_is_told_after_what_was_missed() {
    let mut configuration = rooms();
    configuration["channels"][0]["write"] = json!({});
    configuration["channels"][0]["history"] = json!(true);
    every_way(configuration, |rig| {
        let ada = rig.connect("ada", &["member"]);
        rig.frame(&ada, json!({ "type": "broadcast", "topic": "room:1", "event": "missed" }));
        let from = json!({ "epoch": rig.epoch(), "offset": 0 });
        let types = |client: &Client| client.frames().iter().map(|frame| frame["type"].clone()).collect::<Vec<_>>();
        // The roster once overtook the answer to the subscription, if the history had to be read first.
        let subscription = json!({ "id": "s", "topic": "room:1", "presence": true });
        let mut subscribe = subscription.clone();
        (subscribe["type"], subscribe["recover"]) = (json!("subscribe"), from.clone());
        rig.frame(&ada, subscribe);
        assert_eq!(types(&ada), ["subscribed", "broadcast", "presence_state"]);
        // And with an auth frame it was never sent.
        let bob = rig.open();
        let token = rig.token("bob", &["member"]);
        rig.authenticate_saying(&bob, &token, json!({ "recover": from, "subscriptions": [subscription] }));
        assert_eq!(types(&bob), ["auth_success", "subscribed", "broadcast", "presence_state"]);
    });
}

#[test]
fn presence_is_in_rows_and_leaves_the_attachment_alone() {
    let mut rig = Rig::new(&json!({}));
    let ada = rig.connect("ada", &[]);
    for id in 0..20 {
        let filter = format!("a=eq.{}", "x".repeat(1_000));
        rig.frame(&ada, json!({ "type": "subscribe", "id": id.to_string(), "table": "t", "filter": filter }));
    }
    let writes = rig.storage.writes;
    // A state too large for its attachment used to be one row, rewritten for every join and leave.
    track(&mut rig, &ada, None, json!({}));
    send(&mut rig, &ada, "presence_untrack", None, None);
    assert_eq!(rig.storage.writes, writes + 2);
}

#[test]
fn tracking_nothing_writes_nothing() {
    let mut rig = Rig::new(&json!({}));
    let ada = rig.connect("ada", &[]);
    track(&mut rig, &ada, None, json!({}));
    let writes = rig.storage.writes;
    send(&mut rig, &ada, "presence_update", None, Some(json!({})));
    send(&mut rig, &ada, "presence_untrack", Some("elsewhere"), None);
    assert_eq!(rig.storage.writes, writes);
}
