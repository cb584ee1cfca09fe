//! Presence: among those tracked, in rooms, in the lobby.

use realtime_worker::dialect::butterbase::configuration::{ANONYMOUS, USER};
use realtime_worker::policy::principal::Principal;
use serde_json::json;

use super::words::*;
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
        // Tracking again is an update: a member that is tracked knows who is there.
        rig.frame(&bob, json!({ "type": "presence_track", "metadata": { "x": 2 } }));
        bob.gets_nothing();
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

/// Whoever is tracked learns who the others are: a key that is in every page is nobody.
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
        // What is said there is no frame of this protocol, and is counted as told to nobody.
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
