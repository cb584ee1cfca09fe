//! What is counted and set once for all objects of an app.

use realtime_worker::dialect::butterbase::ID;
use realtime_worker::engine::command::Recover;
use realtime_worker::engine::input::Input;
use realtime_worker::engine::relay::Peer;
use serde_json::{Value, json};

use super::words::*;
use crate::rig::Rig;
use crate::rig::relays::every_way_with_relays;
use crate::rig::runtime::Outcome;

#[test]
fn the_last_place_of_a_plan_goes_to_one_of_two_objects() {
    let mut rig = Rig::with_relays(&json!({ "butterbase": { "listeners": 1 } }), 2);
    rig.connect("native", &[]);
    // Both relays are told that there is room, and neither that the other has opened a socket.
    rig.mail.is_held = true;
    let both = ["a", "b"].map(|name| rig.open_at(ID, Some(user(name)), None, Recover::Off).unwrap());
    assert!(both.iter().all(|client| client.next_frame().is_none()), "who has a place is not known yet");
    rig.mail.is_held = false;
    rig.post();
    let welcomed = both.iter().filter(|client| client.closed().is_none());
    assert_eq!(welcomed.map(|client| client.next()["type"].clone()).collect::<Vec<_>>(), ["connected"]);
    let refused = both.iter().find(|client| client.closed().is_some()).unwrap();
    assert_eq!(refused.next()["code"], "listener_limit");
    // It has the place for as long as it stays.
    let entered = both.iter().find(|client| client.closed().is_none()).unwrap();
    rig.hibernate();
    assert!(rig.open_at(ID, Some(user("c")), None, Recover::Off).is_err());
    rig.disconnect(entered);
    connected(&mut rig, user("c"));
}

#[test]
fn a_table_is_switched_off_at_every_object_whenever_that_awoke() {
    let realtime = json!({ "tables": { "messages": {} }, "butterbase": {
        "access": "public", "listeners": -1, "tables": ["*"], "public": ["*"] } });
    let set = |rig: &mut Rig, action: &str| {
        let body = json!({ "action": action, "schema": "public", "table": "messages", "events": ["INSERT"] });
        assert_eq!(rig.ask("/tables", &body.to_string()).0, 200);
    };
    every_way_with_relays(realtime, 3, |rig| {
        let people = ["a", "b", "c", "d"].map(|name| connected(rig, user(name)));
        people.iter().for_each(|client| drop(subscribed(rig, client, json!({}))));
        set(rig, "disable");
        insert(rig, json!({ "id": 1 }));
        set(rig, "enable");
        insert(rig, json!({ "id": 2 }));
        for client in &people {
            assert_eq!(client.next()["record"]["id"], 2);
            client.gets_nothing();
        }
        // A relay without sockets has forgotten everything, and is told again.
        people.iter().for_each(|client| rig.disconnect(client));
        set(rig, "disable");
        let people = ["a", "b", "c", "d"].map(|name| connected(rig, user(name)));
        for client in &people {
            subscribed(rig, client, json!({}));
            assert_eq!(client.next()["code"], "TABLE_NOT_REALTIME_ENABLED");
        }
        insert(rig, json!({ "id": 3 }));
        people.iter().for_each(|client| client.gets_nothing());
    });
}

#[test]
fn a_relay_that_fell_behind_knows_how_tables_are_set() {
    let realtime = json!({ "tables": { "messages": {} }, "butterbase": {
        "access": "public", "listeners": -1, "tables": ["*"], "public": ["*"] } });
    let mut rig = Rig::with_relays(&realtime, 1);
    connected(&mut rig, user("a"));
    let behind = connected(&mut rig, user("b"));
    subscribed(&mut rig, &behind, json!({}));
    rig.mail.is_held = true;
    insert(&mut rig, json!({ "id": 0 }));
    let disable = json!({ "action": "disable", "schema": "public", "table": "messages" });
    assert_eq!(rig.ask("/tables", &disable.to_string()).0, 200);
    let large = "x".repeat(60_000);
    (1..200).for_each(|id| _ = insert(&mut rig, json!({ "id": id, "body": large })));
    rig.mail.is_held = false;
    rig.post();
    // It reads from the history what was dropped, and tells that as the table is set now.
    assert_eq!(rig.stats()["relays"][0]["lost"], 0);
    let was_told_before_the_table_was_switched_off = |frame: Value| frame["record"]["id"] == 0;
    assert!(behind.frames().into_iter().all(was_told_before_the_table_was_switched_off));
    insert(&mut rig, json!({ "id": 200 }));
    behind.gets_nothing();
    let enable = json!({ "action": "enable", "schema": "public", "table": "messages", "events": ["INSERT"] });
    assert_eq!(rig.ask("/tables", &enable.to_string()).0, 200);
    insert(&mut rig, json!({ "id": 201 }));
    assert_eq!(behind.next()["record"]["id"], 201);
}

#[test]
fn a_socket_whose_relay_forgot_whose_it_is_ends_so_that_its_client_comes_back() {
    let mut rig = Rig::with_relays(&json!({ "butterbase": { "listeners": -1 } }), 1);
    connected(&mut rig, user("a"));
    rig.mail.is_held = true;
    let waiting = rig.open_at(ID, Some(user("b")), None, Recover::Off).unwrap();
    rig.wake_relay(0);
    rig.run_relay(0, Input::Alarm, &mut Outcome::default());
    assert_eq!(waiting.closed().map(|(code, _)| code), Some(1001), "it comes back by itself");
    rig.mail.is_held = false;
    rig.post();
    let (_, answer) = rig.ask_at(Peer::Root, "/stats", "");
    assert!(answer.contains("\"connections\":1"), "{answer}");
}
