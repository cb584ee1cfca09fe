//! Messages in channels.

use realtime_worker::engine::command::Recover;
use serde_json::{Value, json};

use super::words::*;
use crate::rig::relays::everywhere;
use crate::rig::{Rig, every_way};

#[test]
fn who_publishes_is_subscribed_and_knows_its_own_messages() {
    everywhere(realtime(), |rig| {
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
        // A client that may write but not read is not subscribed.
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

#[test]
fn administrators_are_told_of_connections_in_every_dialect() {
    everywhere(realtime(), |rig| {
        let admin = open_as(rig, crate::rig::token::principal("eve", &["instance_admin"], None), Recover::Off);
        assert_eq!(subscribe(rig, &admin, "realtime:admin:connections")["type"], "ack");
        let time = |milliseconds: u64| format!("2023-11-14T22:13:{:06.3}Z", 20.0 + milliseconds as f64 / 1_000.0);
        let told = |event: &str, id: &str, user: Value, times: [u64; 2]| {
            let [opened, now] = times.map(time);
            let payload = json!({ "type": event, "id": id, "user_id": user, "email": null, "remote_addr": null,
                "connected_at": opened, "timestamp": now });
            json!({ "type": "broadcast", "channel": "realtime:admin:connections",
                "payload": { "broadcast": { "event": event, "payload": payload } } })
        };
        let nobody = anonymous(rig);
        admin.gets(told("connected", &nobody.id, Value::Null, [0, 0]));
        let native = rig.open();
        admin.gets_nothing();
        rig.advance(1_000);
        let token = rig.token("ann", &["member"]);
        rig.authenticate(&native, &token);
        admin.gets(told("connected", &native.id, json!("ann"), [0, 1_000]));
        rig.advance(500);
        rig.disconnect(&native);
        admin.gets(told("disconnected", &native.id, json!("ann"), [0, 1_500]));
        // A client that never authenticated was never announced.
        let silent = rig.open();
        rig.disconnect(&silent);
        rig.disconnect(&nobody);
        admin.gets(told("disconnected", &nobody.id, Value::Null, [0, 1_500]));
        admin.gets_nothing();
        [&nobody, &native]
            .iter()
            .for_each(|client| assert!(client.frames().iter().all(|frame| frame["type"] != "broadcast")));
    });
}
