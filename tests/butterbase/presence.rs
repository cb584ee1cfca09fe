//! Presence: among tracked clients, in rooms, in the lobby.

use realtime_worker::dialect::butterbase::configuration::{ANONYMOUS, USER};
use realtime_worker::policy::principal::Principal;
use serde_json::json;

use super::words::*;
use crate::rig::Rig;
use crate::rig::relays::everywhere;

#[test]
fn presence_is_among_those_tracked_and_leaves_out_oneself() {
    everywhere(open_tables(), |rig| {
        let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| connected(rig, user(name)));
        rig.frame(&ann, json!({ "type": "presence_update", "metadata": { "early": true } }));
        rig.frame(&ann, json!({ "type": "presence_track", "metadata": { "name": "Ann" } }));
        ann.gets(json!({ "type": "presence_state", "clients": [] }));
        rig.frame(&bob, json!({ "type": "presence_track" }));
        let clients = json!([{ "client_id": ann.id, "user_id": "ann", "metadata": { "name": "Ann" } }]);
        bob.gets(json!({ "type": "presence_state", "clients": clients }));
        ann.gets(json!({ "type": "presence_join", "client_id": bob.id, "user_id": "bob", "metadata": {} }));
        rig.frame(&bob, json!({ "type": "presence_update", "metadata": { "x": 1 } }));
        ann.gets(json!({ "type": "presence_update", "client_id": bob.id, "metadata": { "x": 1 } }));
        // Tracking again is an update for the others, and is answered like the first time: a client that knows only the
        // roster frame converges by it.
        rig.frame(&bob, json!({ "type": "presence_track", "metadata": { "x": 2 } }));
        let clients = json!([{ "client_id": ann.id, "user_id": "ann", "metadata": { "name": "Ann" } }]);
        bob.gets(json!({ "type": "presence_state", "clients": clients }));
        ann.gets(json!({ "type": "presence_update", "client_id": bob.id, "metadata": { "x": 2 } }));
        rig.disconnect(&bob);
        ann.gets(json!({ "type": "presence_leave", "client_id": bob.id, "user_id": "bob" }));
        rig.frame(&ann, json!({ "type": "presence_untrack" }));
        let nobody = connected(rig, Principal::anonymous(ANONYMOUS));
        rig.frame(&nobody, json!({ "type": "presence_track" }));
        nobody.gets(json!({ "type": "presence_state", "clients": [] }));
        for client in [&ann, &bob, &eve, &nobody] {
            client.gets_nothing();
        }
    });
}

#[test]
fn a_service_is_present_as_no_user() {
    everywhere(json!({ "butterbase": { "listeners": -1 } }), |rig| {
        let (ann, owner) = (connected(rig, user("ann")), connected(rig, service()));
        rig.frame(&ann, json!({ "type": "presence_track" }));
        assert_eq!(ann.next()["type"], "presence_state");
        rig.frame(&owner, json!({ "type": "presence_track", "metadata": [] }));
        assert_eq!(owner.next()["clients"][0]["user_id"], "ann");
        ann.gets(json!({ "type": "presence_join", "client_id": owner.id, "user_id": null, "metadata": {} }));
        rig.disconnect(&owner);
        ann.gets(json!({ "type": "presence_leave", "client_id": owner.id, "user_id": null }));
    });
}

#[test]
fn a_roster_of_any_size_is_told_whole() {
    let mut rig = Rig::new(&open_tables());
    let metadata = json!({ "about": "x".repeat(2_000) });
    let everyone: Vec<_> = (0..200).map(|number| connected(&mut rig, user(&format!("u{number}")))).collect();
    for client in &everyone {
        rig.frame(client, json!({ "type": "presence_track", "metadata": metadata }));
        rig.advance(1_000);
    }
    let late = connected(&mut rig, user("late"));
    rig.frame(&late, json!({ "type": "presence_track" }));
    let state = late.next();
    let first = state["clients"].as_array().unwrap();
    assert!(first.len() < everyone.len(), "it is more than one frame of a roster has room for");
    let mut known: Vec<String> = first.iter().map(|one| one["client_id"].as_str().unwrap().to_owned()).collect();
    for frame in late.frames() {
        assert_eq!(frame["type"], "presence_join");
        known.push(frame["client_id"].as_str().unwrap().to_owned());
    }
    let mut expected: Vec<String> = everyone.iter().map(|client| client.id.clone()).collect();
    [&mut known, &mut expected].into_iter().for_each(|ids| ids.sort());
    assert_eq!(known, expected, "each once");
}

/// A tracked client learns who the others are, so a key that every page contains may not be tracked.
#[test]
fn without_a_policy_of_the_lobby_nobody_anonymous_is_tracked() {
    everywhere(json!({ "butterbase": { "access": "public", "listeners": -1 } }), |rig| {
        let nobody = connected(rig, Principal::anonymous(ANONYMOUS));
        rig.frame(&nobody, json!({ "type": "presence_track" }));
        assert_eq!(nobody.next()["code"], "forbidden");
        let ann = connected(rig, user("ann"));
        rig.frame(&ann, json!({ "type": "presence_track" }));
        ann.gets(json!({ "type": "presence_state", "clients": [] }));
    });
}

#[test]
fn a_room_has_observers() {
    let rules = json!({ "channels": [{ "topic": "room:*", "read": { "roles": [USER] }, "presence": { "roles": [USER] },
        "presenceRead": { "roles": [USER] } }], "butterbase": {} });
    everywhere(rules, |rig| {
        let [ann, eve] = ["ann", "eve"].map(|name| connected(rig, user(name)));
        rig.frame(&eve, json!({ "type": "subscribe", "room": "room:1" }));
        eve.gets(json!({ "type": "subscribed", "room": "room:1" }));
        eve.gets(json!({ "type": "presence_state", "room": "room:1", "clients": [] }));
        rig.frame(&ann, json!({ "type": "presence_track", "room": "room:1", "metadata": {} }));
        ann.gets(json!({ "type": "presence_state", "room": "room:1", "clients": [] }));
        let join =
            json!({ "type": "presence_join", "client_id": ann.id, "user_id": "ann", "metadata": {}, "room": "room:1" });
        eve.gets(join);
        // This protocol has no frame for it, so it counts as delivered to nobody.
        let message = json!({ "type": "broadcast", "topic": "room:1", "event": "e", "payload": 1 });
        assert_eq!(rig.accepted(message), 0);
        rig.frame(&eve, json!({ "type": "unsubscribe", "room": "room:1" }));
        eve.gets(json!({ "type": "unsubscribed", "room": "room:1" }));
        rig.frame(&ann, json!({ "type": "presence_track", "room": "elsewhere", "metadata": {} }));
        assert_eq!(ann.next()["code"], "forbidden");
        ann.gets_nothing();
        eve.gets_nothing();
    });
}
