//! Presence: keys and their owners, the roster.

use serde_json::{Value, json};

use super::words::*;
use crate::rig::Rig;
use crate::rig::relays::everywhere;

fn presence(event: &str, key: &str, state: Value) -> Value {
    let payload = json!({ "event": event, "key": key, "state": state });
    json!({ "type": "presence", "channel": "room:1", "payload": payload })
}

#[test]
fn a_presence_key_is_its_users() {
    everywhere(realtime(), |rig| {
        let [ada, eve] = ["ada", "eve"].map(|user| open(rig, user));
        let said = |frame: Value| frame["payload"]["presence"].clone();
        let joined = said(say(rig, &ada, presence("track", "u-1", json!({ "n": 1 }))));
        assert_eq!(
            joined,
            json!({ "event": "join", "key": "u-1", "newPresences": [{ "n": 1 }],
            "currentPresences": { "u-1": [{ "n": 1 }] } })
        );
        for frame in [presence("track", "u-1", json!({ "n": 2 })), presence("untrack", "u-1", json!({}))] {
            let refused = say(rig, &eve, frame);
            assert_eq!((&refused["type"], &refused["channel"]), (&json!("error"), &json!("room:1")));
        }
        // The same key again is announced with the whole roster, and to the tracker too.
        rig.advance(1_000);
        let synced = said(say(rig, &ada, presence("track", "u-1", json!({ "n": 0 }))));
        assert_eq!(synced, json!({ "event": "sync", "currentPresences": { "u-1": [{ "n": 0 }] } }));
        rig.advance(1_000);
        say(rig, &ada, presence("track", "u-1", json!({ "n": 1 })));
        // The same user's other tab is listed beside the first.
        let tab = open(rig, "ada");
        // Changes within a short time are announced together.
        rig.advance(1_000);
        let joined = said(say(rig, &tab, presence("track", "u-1", json!({ "n": 3 }))));
        assert_eq!(joined["currentPresences"]["u-1"].as_array().unwrap().len(), 2);
        assert_eq!(said(ada.next()), joined);
        // Another key makes another member, and the first one leaves.
        rig.advance(1_000);
        rig.frame(&ada, presence("track", "u-2", json!({ "n": 1 })));
        rig.advance(1_000);
        let (left, came) = (said(ada.next()), said(ada.next()));
        assert_eq!((&left["event"], &left["key"]), (&json!("leave"), &json!("u-1")));
        assert_eq!((&came["event"], &came["key"]), (&json!("join"), &json!("u-2")));
        assert_eq!(came["currentPresences"], json!({ "u-1": [{ "n": 3 }], "u-2": [{ "n": 1 }] }));
        ada.gets_nothing();
        assert_eq!([said(tab.next()), said(tab.next())], [left, came]);
        rig.advance(1_000);
        rig.disconnect(&tab);
        assert_eq!(said(ada.next())["event"], "leave");
    });
}

#[test]
fn presence_channels_show_who_is_there_at_once() {
    let mut rig = Rig::new(&json!({
        "channels": [{ "topic": "presence:*", "read": {}, "presence": {} }],
        "fluxbase": { "organization": crate::rig::ORGANIZATION },
    }));
    let one = open(&mut rig, "ada");
    subscribe(&mut rig, &one, "presence:a");
    let roster = |current: Value| {
        json!({ "type": "presence", "channel": "presence:a",
        "payload": { "presence": { "event": "sync", "currentPresences": current } } })
    };
    one.gets(roster(json!({})));
    let track = json!({ "type": "presence", "channel": "presence:a", "event": "track",
        "payload": { "key": "k", "state": { "n": 1 } } });
    say(&mut rig, &one, track);
    let two = open(&mut rig, "bob");
    subscribe(&mut rig, &two, "presence:a");
    two.gets(roster(json!({ "k": [{ "n": 1 }] })));
}

/// A room without members.
fn room(limits: Value) -> Rig {
    Rig::new(&json!({
        "heartbeats": false,
        "channels": [{ "topic": "room:*", "read": {}, "presence": {} }],
        "limits": limits,
        "fluxbase": { "organization": crate::rig::ORGANIZATION },
    }))
}

fn watch() -> Value {
    json!({ "type": "subscribe", "channel": "room:1", "presence": true })
}

/// The members have no metadata: their keys are the cost of such a roster.
#[test]
fn a_roster_is_paid_for_by_who_asks_for_it_again_and_again() {
    let mut rig = room(json!({ "workPerConnection": 100, "errorsPerMinute": 1_000 }));
    for number in 0..40 {
        let client = open(&mut rig, &format!("u{number}"));
        rig.frame(&client, presence("track", &format!("{number:0250}"), json!({})));
        rig.advance(20_000);
    }
    let eve = open(&mut rig, "eve");
    for _ in 0..45 {
        rig.frame(&eve, watch());
        rig.frame(&eve, json!({ "type": "unsubscribe", "channel": "room:1" }));
        rig.now += 22;
    }
    let frames = eve.frames();
    let of = |key: &str, value: &str| frames.iter().filter(|frame| frame[key] == value).count();
    let (rosters, refused) = (of("type", "presence"), of("code", "rate_limited"));
    assert!((20..=30).contains(&rosters), "{rosters} rosters of 11 units within a second, with a burst of 200");
    assert_eq!(rosters + refused, 45);
    rig.now += 20_000;
    rig.frame(&eve, watch());
    assert_eq!(eve.frames().iter().filter(|frame| frame["type"] == "presence").count(), 1, "it has paid");
}

#[test]
fn a_roster_that_one_frame_cannot_hold_is_refused_to_who_asks_and_to_who_watches() {
    let many = 1_000_000_000_u64;
    let mut rig = room(json!({ "frameBytes": 4_000_000, "presenceBytes": 2_000_000, "workPerConnection": many,
        "workPerUser": many, "workOfClients": many, "unreadBytes": many }));
    let come = |rig: &mut Rig, user: &str| {
        let member = rig.connect(user, &[]);
        let metadata = json!({ "m": "x".repeat(1_900_000) });
        rig.frame(&member, json!({ "type": "presence_track", "topic": "room:1", "metadata": metadata }));
        rig.advance(1_000);
    };
    ["u1", "u2", "u3"].into_iter().for_each(|user| come(&mut rig, user));
    let watcher = open(&mut rig, "ada");
    assert_eq!(say(&mut rig, &watcher, watch())["type"], "ack");
    assert_eq!(watcher.next()["payload"]["presence"]["currentPresences"].as_object().unwrap().len(), 3);
    come(&mut rig, "u4");
    let late = open(&mut rig, "eve");
    assert_eq!(say(&mut rig, &late, watch())["type"], "ack");
    for client in [&watcher, &late] {
        let told = client.next();
        assert_eq!((&told["channel"], &told["code"]), (&json!("room:1"), &json!("presence_limit")), "{told}");
        client.gets_nothing();
    }
}
