//! Messages in channels.

use realtime_worker::engine::command::Recover;
use serde_json::json;

use super::words::*;
use crate::rig::{Rig, every_way};

#[test]
fn who_publishes_is_subscribed_and_knows_its_own_messages() {
    every_way(realtime(), |rig| {
        let [ada, bob] = ["ada", "bob"].map(|user| open(rig, user));
        subscribe(rig, &bob, "room:1");
        let message = |id: &str| {
            json!({ "type": "broadcast", "channel": "room:1", "event": "e", "payload": 1,
            "messageId": id })
        };
        rig.frame(&ada, message("m1"));
        let said = |own: bool| {
            let mut broadcast = json!({ "event": "e", "payload": 1 });
            if own {
                broadcast["self"] = json!(true);
            }
            json!({ "type": "broadcast", "channel": "room:1", "payload": { "broadcast": broadcast } })
        };
        ada.gets(said(true));
        ada.gets(json!({ "type": "ack", "payload": { "messageId": "m1", "status": "ok" }, "messageId": "m1",
            "status": "ok" }));
        bob.gets(said(false));
        rig.frame(&bob, message("m2"));
        ada.gets(said(false));
        // Who may write and not read stays outside.
        let refused = subscribe(rig, &ada, "inbox:1");
        assert_eq!((&refused["channel"], &refused["code"]), (&json!("inbox:1"), &json!("forbidden")));
        rig.frame(&ada, json!({ "type": "broadcast", "channel": "inbox:1", "event": "e", "messageId": "m3" }));
        assert_eq!(ada.next()["messageId"], "m3");
        ada.gets_nothing();
    });
}

#[test]
fn what_is_for_the_whole_organization_is_not_counted_as_delivered() {
    every_way(realtime(), |rig| {
        let ada = open(rig, "ada");
        subscribe(rig, &ada, "room:1");
        assert_eq!(rig.say("e"), 0, "its frames have no message without a channel");
        let native = rig.connect("nat", &[]);
        assert_eq!(rig.say("e"), 1);
        assert_eq!(native.next()["event"], "e");
        ada.gets_nothing();
    });
}

#[test]
fn a_refusal_names_what_it_answers() {
    let mut rig = Rig::new(&realtime());
    let one = open(&mut rig, "ada");
    let message = json!({ "type": "broadcast", "channel": "other", "event": "e", "messageId": "m1" });
    let refused = say(&mut rig, &one, message);
    assert_eq!((&refused["messageId"], &refused["channel"]), (&json!("m1"), &json!("other")));
    let untrack = json!({ "type": "presence", "channel": "room:1", "payload": { "event": "untrack", "key": "k" } });
    let refused = say(&mut rig, &one, untrack);
    assert_eq!((&refused["code"], &refused["channel"]), (&json!("not_tracked"), &json!("room:1")));
}

#[test]
fn admin_channels_are_for_administrators_whatever_the_policies_say() {
    let mut rig = Rig::new(&json!({
        "channels": [{ "topic": "*", "read": {}, "write": {}, "presence": {} }],
        "fluxbase": { "organization": crate::rig::ORGANIZATION },
    }));
    let channel = "realtime:admin:connections";
    let one = open(&mut rig, "ada");
    let refused = subscribe(&mut rig, &one, channel);
    assert_eq!(refused["error"], "admin access required to subscribe to admin channels");
    let admin = open_as(&mut rig, crate::rig::token::principal("eve", &["service_role"], None), Recover::Off);
    let ack = json!({ "type": "ack", "payload": { "subscribed": true, "channel": channel } });
    assert_eq!(subscribe(&mut rig, &admin, channel), ack);
    let publish = json!({ "type": "broadcast", "channel": channel, "event": "e" });
    assert_eq!(say(&mut rig, &admin, publish)["code"], "forbidden");
}
