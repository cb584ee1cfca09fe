//! Recovery: everything missed, in order and once, or nothing; always under the current rules and identity.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::{Client, Rig, every_way};
use serde_json::{Value, json};

fn from(rig: &Rig, offset: u64) -> Value {
    json!({ "recover": { "epoch": rig.epoch(), "offset": offset } })
}

/// Reconnects as a user with these roles; returns the frames that follow the welcome, or `None` if nothing was
/// replayed.
#[track_caller]
fn come_back(rig: &mut Rig, user: &str, roles: &[&str], more: Value) -> (Client, Option<Vec<Value>>) {
    let client = rig.open();
    let token = rig.token(user, roles);
    rig.authenticate_saying(&client, &token, more);
    let welcome = client.next();
    assert_eq!((&welcome["type"], &welcome["epoch"]), (&json!("auth_success"), &json!(rig.epoch())), "{welcome}");
    let frames = client.frames();
    if welcome["recovered"] == true {
        return (client, Some(frames));
    }
    assert_eq!((&welcome["recovered"], frames), (&json!(false), Vec::new()), "never a partial replay");
    (client, None)
}

/// The events' names and offsets.
fn names(frames: &[Value]) -> Vec<(String, u64)> {
    let name =
        |frame: &Value| (frame["event"].as_str().unwrap_or_default().to_owned(), frame["offset"].as_u64().unwrap());
    frames.iter().map(name).collect()
}

#[test]
fn offsets_are_for_those_who_asked() {
    every_way(json!({}), |rig| {
        let plain = rig.connect("ada", &[]);
        rig.say("one");
        let asked = rig.connect_saying(&rig.claims("bob", &[]), json!({ "recover": true }));
        let refused = rig.connect_saying(&rig.claims("eve", &[]), json!({ "recover": false }));
        rig.say("two");
        assert!(plain.frames().iter().all(|frame| frame.get("offset").is_none()));
        assert!(refused.next().get("offset").is_none());
        asked.gets(json!({ "type": "broadcast", "event": "two", "payload": null, "offset": 2 }));
    });
    let mut rig = Rig::new(&json!({}));
    rig.say("one");
    let client = rig.open();
    let token = rig.token("ada", &[]);
    rig.authenticate_saying(&client, &token, json!({ "recover": true }));
    client.gets(json!({ "type": "auth_success", "organizationId": "org_1", "userId": "ada", "role": null, "roles": [],
        "authMethod": "session", "epoch": rig.epoch(), "offset": 1 }));
}

#[test]
fn everything_missed_comes_once_and_in_order() {
    every_way(json!({}), |rig| {
        ["1", "2", "3", "4"].iter().for_each(|name| assert_eq!(rig.say(name), 0));
        for offset in 0..=4 {
            let (client, missed) = come_back(rig, "ada", &[], from(rig, offset));
            let expected: Vec<_> = (offset + 1..=4).map(|n| (n.to_string(), n)).collect();
            assert_eq!(names(&missed.unwrap()), expected);
            rig.disconnect(&client);
        }
        let (client, _) = come_back(rig, "ada", &[], from(rig, 4));
        rig.say("5");
        assert_eq!(names(&client.frames()), [("5".to_owned(), 5)]);
    });
}

#[test]
fn another_epoch_or_a_future_offset_recovers_nothing() {
    every_way(json!({}), |rig| {
        rig.say("1");
        for recover in [json!({ "epoch": "other", "offset": 0 }), json!({ "epoch": "other", "offset": 1 })] {
            assert_eq!(come_back(rig, "ada", &[], json!({ "recover": recover })).1, None);
        }
        assert_eq!(come_back(rig, "ada", &[], from(rig, 2)).1, None);
        assert_eq!(come_back(rig, "ada", &[], from(rig, (1 << 53) - 1)).1, None);
    });
}

#[test]
fn what_is_older_than_the_count_is_gone() {
    every_way(json!({ "history": { "count": 10 } }), |rig| {
        for _ in 0..2 {
            let messages: Vec<_> =
                (0..64).map(|_| json!({ "type": "broadcast", "event": "e", "payload": 1 })).collect();
            assert_eq!(rig.publish(json!({ "messages": messages })).status, 202);
        }
        assert_eq!(come_back(rig, "ada", &[], from(rig, 117)).1, None);
        assert_eq!(come_back(rig, "ada", &[], from(rig, 118)).1.unwrap().len(), 10);
        assert_eq!(rig.storage.history.len(), 10);
    });
}

#[test]
fn what_is_older_than_its_time_is_gone() {
    every_way(json!({ "history": { "seconds": 100 } }), |rig| {
        rig.say("1");
        rig.advance(60_000);
        rig.say("2");
        rig.say("3");
        rig.advance(39_999);
        assert_eq!(come_back(rig, "ada", &[], from(rig, 0)).1.unwrap().len(), 3);
        rig.advance(1);
        assert_eq!(come_back(rig, "ada", &[], from(rig, 0)).1, None);
        assert_eq!(come_back(rig, "ada", &[], from(rig, 1)).1.unwrap().len(), 2);
        rig.advance(60_000);
        assert_eq!(rig.storage.history.len(), 1, "the newest stays, for it holds the offset");
        assert_eq!(come_back(rig, "ada", &[], from(rig, 1)).1, None);
        rig.say("4");
        assert_eq!(rig.storage.history.keys().next_back(), Some(&4));
    });
}

#[test]
fn a_quiet_organization_keeps_nothing_beyond_its_time() {
    every_way(json!({ "history": { "seconds": 100 } }), |rig| {
        for _ in 0..10 {
            let messages: Vec<_> =
                (0..100).map(|_| json!({ "type": "broadcast", "event": "e", "payload": 1 })).collect();
            assert_eq!(rig.publish(json!({ "messages": messages })).status, 202);
        }
        rig.advance(200_000);
        assert_eq!(rig.storage.history.len(), 1);
    });
}

#[test]
fn what_is_more_than_the_bytes_is_gone() {
    every_way(json!({ "history": { "bytes": 2_000 } }), |rig| {
        for _ in 0..64 {
            rig.accepted(json!({ "type": "broadcast", "event": "e", "payload": "x".repeat(400) }));
        }
        let bytes: usize = rig.storage.history.values().map(|row| row.text.len()).sum();
        assert!((2_000..2_500).contains(&bytes), "{bytes}: the row that crosses the line is still kept");
        let kept = rig.storage.history.len() as u64;
        assert_eq!(come_back(rig, "ada", &[], from(rig, 63 - kept)).1, None);
        assert_eq!(come_back(rig, "ada", &[], from(rig, 64 - kept)).1.unwrap().len() as u64, kept);
    });
}

#[test]
fn too_much_is_not_replayed() {
    every_way(json!({ "history": { "replay": 3, "replayBytes": 400 } }), |rig| {
        ["1", "2", "3", "4"].iter().for_each(|name| assert_eq!(rig.say(name), 0));
        assert_eq!(come_back(rig, "ada", &[], from(rig, 0)).1, None);
        assert_eq!(come_back(rig, "ada", &[], from(rig, 1)).1.unwrap().len(), 3);
        rig.accepted(json!({ "type": "broadcast", "event": "5", "payload": "x".repeat(400) }));
        assert_eq!(come_back(rig, "ada", &[], from(rig, 4)).1, None);
        assert_eq!(come_back(rig, "ada", &[], from(rig, 5)).1.unwrap().len(), 0);
    });
}

#[test]
fn a_history_that_cannot_be_read_recovers_nothing() {
    every_way(json!({}), |rig| {
        rig.say("1");
        // What was published in this life is in memory.
        rig.hibernate();
        rig.fail_history_reads = true;
        let (client, missed) = come_back(rig, "ada", &[], from(rig, 0));
        assert_eq!(missed, None);
        rig.say("2");
        assert_eq!(names(&client.frames()), [("2".to_owned(), 2)]);
    });
    let mut rig = Rig::new(&json!({}));
    rig.say("1");
    rig.storage.history.get_mut(&1).unwrap().version = 2;
    rig.hibernate();
    let everything = from(&rig, 0);
    assert_eq!(come_back(&mut rig, "ada", &[], everything).1, None, "what a later build has written is not guessed at");
}

#[test]
fn a_replay_is_seen_with_the_identity_of_now() {
    let tables = json!({ "t": {
        "requiredRoles": ["member", "admin"],
        "rows": [{ "roles": ["admin"] }, { "column": "user_id", "claim": "sub" }],
        "masking": { "pin": { "type": "redact", "show": { "roles": ["admin"], "or": "owner" } } },
    } });
    every_way(json!({ "tables": tables }), |rig| {
        let row = |user: &str| json!({ "user_id": user, "pin": "1" });
        let insert = |rig: &mut Rig, new: Value, more: Value| {
            let mut body = json!({ "type": "postgres_changes", "table": "t", "eventType": "INSERT", "new": new });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            rig.accepted(body);
        };
        insert(rig, row("ada"), json!({ "fields": ["pin"] }));
        insert(rig, row("bob"), json!({ "maskingConfig": { "pin": { "type": "redact" } } }));
        insert(rig, row("bob"), json!({ "userId": "ada" }));
        rig.accepted(json!({ "type": "broadcast", "event": "e", "payload": 1, "targetRoles": ["admin"] }));
        let mut sees = |user: &str, role: &str| {
            let (client, missed) = come_back(rig, user, &[role], from(rig, 0));
            rig.disconnect(&client);
            let seen = |frame: &Value| json!([frame["offset"], frame["new"]]);
            missed.unwrap().iter().map(seen).collect::<Vec<_>>()
        };
        assert_eq!(sees("ada", "member"), [json!([1, { "pin": "1" }])]);
        let masked = json!({ "user_id": "bob", "pin": "[REDACTED]" });
        assert_eq!(sees("bob", "member"), [json!([2, masked])]);
        assert_eq!(sees("eve", "admin"), [json!([1, { "pin": "1" }]), json!([2, masked]), json!([4, null])]);
        assert_eq!(sees("ada", "admin").len(), 4);
        assert_eq!(sees("ada", "guest"), Vec::<Value>::new());
    });
}

#[test]
fn a_replay_passes_through_the_subscriptions_of_the_auth_frame() {
    every_way(json!({ "channels": [{ "topic": "room:*", "read": {} }] }), |rig| {
        let insert = |status: &str| json!({ "type": "postgres_changes", "table": "t", "eventType": "INSERT", "new": { "status": status } });
        rig.accepted(insert("open"));
        rig.accepted(insert("shut"));
        rig.accepted(json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "room:1" }));
        rig.accepted(json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "room:2" }));
        let mut more = from(rig, 0);
        more["subscriptions"] = json!([
            { "id": "1", "table": "t", "filter": "status=eq.open" },
            { "id": "2", "topic": "room:1" },
            { "id": "3", "topic": "elsewhere" },
        ]);
        let (_, missed) = come_back(rig, "ada", &[], more);
        let missed = missed.unwrap();
        assert_eq!(
            missed[..2],
            [json!({ "type": "subscribed", "id": "1" }), json!({ "type": "subscribed", "id": "2" })]
        );
        assert_eq!((&missed[2]["code"], &missed[2]["id"]), (&json!("forbidden"), &json!("3")));
        let offsets: Vec<_> = missed[3..].iter().map(|frame| frame["offset"].clone()).collect();
        assert_eq!(offsets, [1, 3]);
    });
}

#[test]
fn a_topic_can_be_recovered_alone() {
    every_way(json!({ "channels": [{ "topic": "room:*", "read": {} }] }), |rig| {
        let ada = rig.connect_saying(&rig.claims("ada", &[]), json!({ "recover": true }));
        let message =
            |name: &str, topic: &str| json!({ "type": "broadcast", "event": name, "payload": 1, "topic": topic });
        rig.accepted(message("1", "room:1"));
        rig.accepted(message("2", "room:2"));
        rig.say("3");
        ada.frames();
        let subscribe = |id: &str, epoch: &str, offset: u64| json!({ "type": "subscribe", "id": id, "topic": "room:1", "recover": { "epoch": epoch, "offset": offset } });
        rig.frame(&ada, subscribe("a", &rig.epoch(), 0));
        ada.gets(json!({ "type": "subscribed", "id": "a", "recovered": true }));
        assert_eq!(names(&ada.frames()), [("1".to_owned(), 1)]);
        rig.frame(&ada, subscribe("b", "other", 0));
        ada.gets(json!({ "type": "subscribed", "id": "b", "recovered": false }));
        rig.frame(&ada, subscribe("c", &rig.epoch(), 3));
        ada.gets(json!({ "type": "subscribed", "id": "c", "recovered": true }));
        ada.gets_nothing();
    });
}

#[test]
fn what_is_not_kept_leaves_the_offset() {
    every_way(json!({ "tables": { "t": { "history": false } } }), |rig| {
        let ada = rig.connect_saying(&rig.claims("ada", &[]), json!({ "recover": true }));
        let unkept = json!({ "type": "postgres_changes", "table": "t", "eventType": "INSERT", "new": {} });
        assert_eq!(rig.publish(unkept.clone()).body["offset"], 0);
        rig.say("1");
        assert_eq!(rig.publish(unkept).body["offset"], 1);
        let offsets: Vec<_> = ada.frames().iter().map(|frame| frame["offset"].clone()).collect();
        assert_eq!(offsets, [0, 1, 1]);
        assert_eq!(names(&come_back(rig, "ada", &[], from(rig, 0)).1.unwrap()), [("1".to_owned(), 1)]);
    });
}

#[test]
fn the_stream_outlives_a_deploy() {
    let mut rig = Rig::new(&json!({}));
    rig.say("1");
    rig.deploy();
    assert_eq!(rig.publish(json!({ "type": "broadcast", "event": "2", "payload": 1 })).body["offset"], 2);
    let positions = [from(&rig, 0), from(&rig, 1)];
    assert_eq!(come_back(&mut rig, "ada", &[], positions[0].clone()).1.unwrap().len(), 2);
    rig.deploy_with(&json!({ "tables": {} }));
    assert_eq!(come_back(&mut rig, "ada", &[], positions[1].clone()).1.unwrap().len(), 1);
}

/// Subscribes to `target` and returns what was missed of it since the beginning of the stream; `None` if that is gone.
fn missed_of(rig: &mut Rig, client: &Client, id: &str, target: Value) -> Option<Vec<(String, u64)>> {
    let mut frame = json!({ "type": "subscribe", "id": id, "recover": { "epoch": rig.epoch(), "offset": 0 } });
    frame.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
    rig.frame(client, frame);
    let subscribed = client.next();
    assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
    let frames = client.frames();
    (subscribed["recovered"] == true).then(|| names(&frames))
}

/// Messages of two topics and changes of two tables, far fewer of one of each.
fn publish_of_each(rig: &mut Rig) {
    let message = |topic: &str| json!({ "type": "broadcast", "event": topic, "payload": 1, "topic": topic });
    let change = |table: &str| json!({ "type": "postgres_changes", "table": table, "eventType": "INSERT", "new": {} });
    for _ in 0..8 {
        let batch: Vec<Value> = (0..100).map(|n| if n % 2 == 0 { message("loud") } else { change("busy") }).collect();
        assert_eq!(rig.publish(json!({ "messages": batch })).status, 202);
        rig.accepted(message("quiet"));
        rig.accepted(change("still"));
        rig.now += 1_000;
    }
}

fn of_each() -> Value {
    json!({ "channels": [{ "topic": "*", "read": {} }], "limits": { "publicationsPerSecond": 1_000_000 } })
}

#[test]
fn rows_of_other_topics_are_not_read() {
    let mut rig = Rig::new(&of_each());
    publish_of_each(&mut rig);
    let ada = rig.connect_saying(&rig.claims("ada", &[]), json!({ "recover": true }));
    rig.hibernate();
    let quiet: Vec<(String, u64)> = (0..8).map(|n| ("quiet".to_owned(), n * 102 + 101)).collect();
    assert_eq!(missed_of(&mut rig, &ada, "1", json!({ "topic": "quiet" })), Some(quiet));
    assert_eq!(rig.history_rows_read, 8, "of 816");
    assert_eq!(missed_of(&mut rig, &ada, "2", json!({ "topic": "empty" })), Some(Vec::new()));
    assert_eq!(rig.history_rows_read, 8);
}

/// Only what is requested counts towards the maximum.
#[test]
fn a_topic_is_recovered_however_much_was_published_elsewhere() {
    let mut realtime = of_each();
    realtime["history"] = json!({ "replay": 10 });
    every_way(realtime, |rig| {
        publish_of_each(rig);
        let ada = rig.connect_saying(&rig.claims("ada", &[]), json!({ "recover": true }));
        assert_eq!(missed_of(rig, &ada, "1", json!({ "topic": "quiet" })).unwrap().len(), 8);
        assert_eq!(missed_of(rig, &ada, "2", json!({ "topic": "loud" })), None);
        assert_eq!(come_back(rig, "bob", &[], from(rig, 0)).1, None);
    });
}

#[test]
fn what_was_published_in_this_life_is_told_without_reading() {
    let mut rig = Rig::new(&of_each());
    publish_of_each(&mut rig);
    let ada = rig.connect_saying(&rig.claims("ada", &[]), json!({ "recover": true }));
    assert_eq!(missed_of(&mut rig, &ada, "1", json!({ "topic": "quiet" })).unwrap().len(), 8);
    let [before, here, earlier] = [700, 816, 815].map(|offset| from(&rig, offset));
    assert_eq!(come_back(&mut rig, "bob", &[], before).1.unwrap().len(), 58);
    assert_eq!(rig.history_reads, 0);
    rig.hibernate();
    rig.say("after");
    assert_eq!(come_back(&mut rig, "bob", &[], here).1.unwrap().len(), 1);
    assert_eq!(rig.history_reads, 0, "nor what came after the wake");
    assert_eq!(come_back(&mut rig, "bob", &[], earlier).1.unwrap().len(), 2);
    assert_eq!(rig.history_reads, 1);
}

/// Memory forgets with the storage: an expired publication is replayed from neither.
#[test]
fn memory_retains_nothing_longer_than_the_storage() {
    every_way(json!({ "history": { "seconds": 60, "count": 100 } }), |rig| {
        rig.say("old");
        rig.advance(50_000);
        for n in 0..70 {
            rig.say(&n.to_string());
        }
        assert_eq!(come_back(rig, "ada", &[], from(rig, 0)).1.unwrap().len(), 71);
        rig.advance(20_000);
        assert_eq!(come_back(rig, "ada", &[], from(rig, 0)).1, None);
        assert_eq!(come_back(rig, "ada", &[], from(rig, 1)).1.unwrap().len(), 70);
        rig.advance(60_000);
        assert_eq!(come_back(rig, "ada", &[], from(rig, 70)).1, None);
    });
}
