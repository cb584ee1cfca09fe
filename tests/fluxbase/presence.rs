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
        // The same user's other tab is listed beside the first.
        let tab = open(rig, "ada");
        // What follows within a short time is told together.
        rig.advance(1_000);
        let joined = said(say(rig, &tab, presence("track", "u-1", json!({ "n": 3 }))));
        assert_eq!(joined["currentPresences"]["u-1"].as_array().unwrap().len(), 2);
        assert_eq!(said(ada.next()), joined);
        // Under another key one is somebody else, and no longer there under the first.
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
