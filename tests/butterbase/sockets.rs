//! The life of a socket: heartbeats, plans, tokens, errors.

use realtime_worker::dialect::butterbase::{HEARTBEAT, ID};
use realtime_worker::engine::command::Recover;
use realtime_worker::policy::principal::Principal;
use serde_json::json;

use super::words::*;
use crate::rig::relays::everywhere;
use crate::rig::{Client, Rig};

#[test]
fn heartbeats_come_to_all_in_one_wake_and_never_twice() {
    everywhere(open_tables(), |rig| {
        let first = connected(rig, user("a"));
        rig.advance(7_000);
        let others: Vec<Client> = (0..20).map(|n| connected(rig, user(&format!("u{n}")))).collect();
        rig.advance(HEARTBEAT);
        for client in others.iter().chain([&first]) {
            client.gets(json!({ "type": "heartbeat", "timestamp": "2023-11-14T22:13:30.000Z" }));
            client.gets_nothing();
        }
        rig.advance(3 * HEARTBEAT);
        assert_eq!(first.frames().len(), 3, "one each half a minute");
        first.gets_nothing();
    });
}

#[test]
fn heartbeats_can_be_switched_off_and_are_for_this_dialect_only() {
    let mut realtime = open_tables();
    realtime["heartbeats"] = json!(false);
    everywhere(realtime, |rig| {
        let client = connected(rig, user("a"));
        rig.advance(10 * HEARTBEAT);
        client.gets_nothing();
    });
    everywhere(open_tables(), |rig| {
        let native = rig.connect("ann", &["member"]);
        let client = connected(rig, user("a"));
        rig.advance(2 * HEARTBEAT);
        native.gets_nothing();
        assert_eq!(client.frames().len(), 2);
        rig.disconnect(&client);
        rig.advance(10 * HEARTBEAT);
        native.gets_nothing();
    });
}

#[test]
fn a_plan_counts_listeners_in_one_place() {
    everywhere(json!({ "butterbase": { "listeners": 2 } }), |rig| {
        let first = connected(rig, user("a"));
        connected(rig, user("b"));
        let native = rig.connect("ann", &["member"]);
        let refusal = rig.open_at(ID, Some(user("c")), None, Recover::Off).unwrap_err();
        assert_eq!((refusal.code.as_str(), refusal.message.contains('2')), ("listener_limit", true));
        rig.disconnect(&native);
        assert!(rig.open_at(ID, Some(user("c")), None, Recover::Off).is_err(), "others are no listeners");
        rig.disconnect(&first);
        connected(rig, user("c"));
    });
    // The default plan is the smallest.
    let mut rig = Rig::new(&json!({ "butterbase": {} }));
    (0..20).for_each(|n| drop(connected(&mut rig, user(&n.to_string()))));
    assert!(rig.open_at(ID, Some(user("21")), None, Recover::Off).is_err());
    let mut rig = Rig::new(&json!({ "butterbase": { "listeners": -1 } }));
    (0..300).for_each(|n| drop(connected(&mut rig, user(&n.to_string()))));
}

#[test]
fn a_token_ends_on_time_or_is_refreshed_in_place() {
    everywhere(open_tables(), |rig| {
        let ends = |rig: &Rig, seconds: u64| Some(rig.now + seconds * 1_000);
        let soon = Principal { expires: ends(rig, 20), ..user("ann") };
        let (quiet, fresh) = (connected(rig, soon.clone()), connected(rig, soon));
        subscribed(rig, &fresh, json!({}));
        let token = rig.token("ann", &["member"]);
        rig.frame(&fresh, json!({ "type": "auth", "token": token }));
        assert_eq!(fresh.next()["type"], "connected");
        let other = rig.token("bob", &["member"]);
        rig.frame(&fresh, json!({ "type": "auth", "token": other }));
        assert_eq!(fresh.next()["code"], "wrong_user");
        rig.advance(19_999);
        assert_eq!(quiet.frames().len(), 1, "a heartbeat");
        rig.advance(1);
        let frame = quiet.next();
        assert_eq!((&frame["message"], &frame["code"]), (&json!("Authentication failed"), &json!("token_expired")));
        quiet.is_closed(1008, "Auth failed");
        assert_eq!(fresh.frames().len(), 1);
        insert(rig, json!({ "id": 1 }));
        assert_eq!(change(&fresh).0, "INSERT");
    });
}

#[test]
fn a_socket_whose_state_a_deploy_cannot_read_is_told_to_come_back() {
    let mut rig = Rig::new(&open_tables());
    let client = connected(&mut rig, user("a"));
    rig.set_attachment(&client, r#"{"version":99,"client_id":"c1","state":{"wire":3}}"#);
    rig.hibernate();
    client.gets(json!({ "type": "error", "message": "Server shutting down", "code": "service_restart",
        "retry": "later" }));
    client.is_closed(1001, "Server shutting down");
}

#[test]
fn errors_are_answered_until_there_are_too_many() {
    everywhere(open_tables(), |rig| {
        let client = connected(rig, user("a"));
        for _ in 0..9 {
            rig.text(&client, "{");
            let expected =
                json!({ "type": "error", "message": "Invalid JSON", "code": "invalid_frame", "retry": "no" });
            client.gets(expected);
        }
        rig.binary(&client, br#"{"type":"subscribe","table":"messages"}"#);
        assert_eq!(client.next()["type"], "subscribed", "the socket stays open");
        rig.text(&client, "[");
        assert_eq!(client.next()["message"], "Invalid JSON");
        assert_eq!(client.closed().map(|(code, _)| code), Some(1008));
    });
}
