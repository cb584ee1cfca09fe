//! Edge cases of channels, as Supabase's server handles them: stale leaves, lost rights, tokens without claims, empty
//! and oversized payloads and parameters.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::dialect::phoenix::{V1, V2};
use rig::supabase::{join, joined, quiet, socket};
use rig::{Client, Rig, every_way, token};
use serde_json::{Value, json};

fn realtime() -> Value {
    json!({ "channels": [
        { "topic": "both:*", "read": { "roles": ["reader"] }, "write": {}, "presence": {}, "presenceRead": { "roles": ["watcher"] } },
        { "topic": "open:*", "read": {}, "write": {}, "presence": {}, "history": true },
    ] })
}

fn renew(rig: &mut Rig, client: &Client, topic: &str, token: &str) {
    let payload = json!({ "access_token": token });
    rig.frame(client, json!(["1", "9", format!("realtime:{topic}"), "access_token", payload]));
}

#[track_caller]
fn ends(client: &Client, topic: &str, message: &str) {
    let told = client.next();
    assert_eq!((&told[3], &told[4]["message"]), (&json!("system"), &json!(message)), "{told}");
    client.gets(json!(["1", "1", format!("realtime:{topic}"), "phx_close", {}]));
    client.gets_nothing();
}

#[test]
fn a_stale_leave_leaves_the_newer_join_alone() {
    every_way(realtime(), |rig| {
        let ada = socket(rig, V2, "ada", &["member"]);
        for (leave, is_left) in [(json!("1"), false), (json!("5"), true), (Value::Null, true)] {
            joined(rig, &ada, "1", "room", quiet());
            join(rig, &ada, "5", "room", quiet());
            ada.gets(json!(["1", "1", "realtime:room", "phx_close", {}]));
            ada.next();
            rig.frame(&ada, json!([leave, "6", "realtime:room", "phx_leave", {}]));
            if is_left {
                ada.gets(json!(["5", "6", "realtime:room", "phx_reply", { "status": "ok", "response": {} }]));
                ada.gets(json!(["5", "5", "realtime:room", "phx_close", {}]));
                continue;
            }
            ada.gets_nothing();
            // Other stale pushes are accepted.
            let message = json!({ "type": "broadcast", "event": "e", "payload": 1 });
            joined(rig, &ada, "7", "other", json!({ "presence": { "enabled": false }, "broadcast": { "self": true } }));
            rig.frame(&ada, json!(["6", "8", "realtime:other", "broadcast", message]));
            ada.gets(json!([null, null, "realtime:other", "broadcast", message]));
            rig.frame(&ada, json!([null, "9", "realtime:room", "phx_leave", {}]));
            ada.next();
            ada.next();
        }
    });
}

#[test]
fn a_stale_leave_of_the_first_version_leaves_the_newer_join_alone() {
    every_way(realtime(), |rig| {
        let ada = socket(rig, V1, "ada", &["member"]);
        let frame = |event: &str, join_ref: &str, reference: &str| {
            let payload = json!({ "config": quiet() });
            json!({ "topic": "realtime:room", "event": event, "payload": payload, "ref": reference, "join_ref": join_ref })
        };
        rig.frame(&ada, frame("phx_join", "1", "1"));
        rig.frame(&ada, frame("phx_join", "5", "5"));
        ada.frames();
        rig.frame(&ada, frame("phx_leave", "1", "6"));
        ada.gets_nothing();
        rig.frame(&ada, frame("phx_leave", "5", "7"));
        assert_eq!(ada.next()["ref"], "7");
        assert_eq!(ada.next()["event"], "phx_close");
    });
}

#[test]
fn whoever_loses_a_part_of_what_it_read_loses_the_channel() {
    every_way(realtime(), |rig| {
        let denied = "You do not have permissions to read from this Channel topic: both:1";
        let revoked = "You no longer have permission to read from this Channel topic: both:1";
        for (left, message) in [(vec!["reader"], revoked), (vec!["watcher"], revoked), (vec!["member"], denied)] {
            let ada = socket(rig, V2, "ada", &["reader", "watcher"]);
            joined(rig, &ada, "1", "both:1", json!({ "private": true, "presence": { "enabled": true } }));
            ada.next();
            let token = rig.token("ada", &left);
            renew(rig, &ada, "both:1", &token);
            ends(&ada, "both:1", message);
            rig.disconnect(&ada);
        }
        // A client that did not request the members loses nothing with them.
        let ada = socket(rig, V2, "ada", &["reader", "watcher"]);
        joined(rig, &ada, "1", "both:1", json!({ "private": true, "presence": { "enabled": false } }));
        let token = rig.token("ada", &["reader"]);
        renew(rig, &ada, "both:1", &token);
        ada.gets_nothing();
    });
}

#[test]
fn a_token_must_give_a_role_and_its_end() {
    every_way(realtime(), |rig| {
        let ada = socket(rig, V2, "ada", &["member"]);
        let without = |name: &str| {
            let mut claims = json!({ "sub": "ada", "role": "member", "organizationId": rig::ORGANIZATION,
                "exp": rig::START / 1_000 + 600 });
            claims.as_object_mut().unwrap().remove(name);
            token::hs256(&claims)
        };
        let required = ("InvalidJWTToken", "Fields `role` and `exp` are required in JWT");
        let malformed = ("MalformedJWT", "The token provided is not a valid JWT");
        for (token, (kind, sentence)) in
            [(without("role"), required), (without("exp"), required), (String::new(), malformed)]
        {
            joined(rig, &ada, "1", "room", quiet());
            renew(rig, &ada, "room", &token);
            ends(&ada, "room", sentence);
            let payload = json!({ "config": quiet(), "access_token": token });
            rig.frame(&ada, json!(["1", "1", "realtime:room", "phx_join", payload]));
            assert_eq!(ada.next()[4]["response"]["reason"], format!("{kind}: {sentence}"));
        }
        joined(rig, &ada, "1", "room", quiet());
        renew(rig, &ada, "room", &without("nothing"));
        ada.gets_nothing();
    });
}

#[test]
fn an_empty_message_goes_on_as_it_came() {
    every_way(realtime(), |rig| {
        let [ada, bob] = ["ada", "bob"].map(|user| socket(rig, V2, user, &["member"]));
        for (topic, private, meta) in [("room", false, None), ("open:1", true, Some("1"))] {
            let config = json!({ "private": private, "broadcast": { "ack": true }, "presence": { "enabled": false } });
            joined(rig, &ada, "1", topic, config.clone());
            joined(rig, &bob, "1", topic, config);
            let name = format!("realtime:{topic}");
            rig.frame(&ada, json!(["1", "2", name, "broadcast", {}]));
            ada.gets(json!(["1", "2", name, "phx_reply", { "status": "ok", "response": {} }]));
            let told = meta.map_or(json!({}), |id| json!({ "meta": { "id": id } }));
            bob.gets(json!([null, null, name, "broadcast", told]));
        }
        let eve = rig.connect("eve", &["member"]);
        rig.frame(&eve, json!({ "type": "subscribe", "id": "s", "topic": "room", "private": false }));
        eve.next();
        rig.frame(&ada, json!(["1", "3", "realtime:room", "broadcast", { "event": 7, "x": 1 }]));
        bob.gets(json!([null, null, "realtime:room", "broadcast", { "event": 7, "x": 1 }]));
        eve.gets(json!({ "type": "broadcast", "event": "broadcast", "payload": {}, "topic": "room" }));
    });
}

#[test]
fn an_empty_selection_is_all_columns() {
    every_way(realtime(), |rig| {
        let ada = socket(rig, V2, "ada", &["member"]);
        let bindings = json!([{ "event": "*", "schema": "public", "table": "people", "select": [] }]);
        joined(rig, &ada, "1", "room", json!({ "postgres_changes": bindings, "presence": { "enabled": false } }));
        assert_eq!(ada.next()[4]["message"], "Subscribed to PostgreSQL");
        let row = json!({ "id": 1, "name": "a" });
        rig.accepted(json!({ "type": "postgres_changes", "table": "people", "eventType": "INSERT", "new": row }));
        assert_eq!(ada.next()[4]["data"]["record"], row);
    });
}

#[test]
fn a_presence_key_that_is_too_long_is_refused() {
    every_way(realtime(), |rig| {
        let ada = socket(rig, V2, "ada", &["member"]);
        let config = |length: usize| json!({ "presence": { "enabled": true, "key": "k".repeat(length) } });
        join(rig, &ada, "1", "room", config(256));
        let answer = ada.next();
        assert_eq!((&answer[1], &answer[4]["status"]), (&json!("1"), &json!("error")));
        assert_eq!(answer[4]["response"]["reason"], "The presence key is longer than 255 bytes");
        joined(rig, &ada, "2", "room", config(255));
        ada.next();
        let track = json!({ "type": "presence", "event": "track", "payload": {} });
        rig.frame(&ada, json!(["2", "3", "realtime:room", "presence", track]));
        ada.next();
        assert!(ada.next()[4]["joins"]["k".repeat(255)].is_object());
    });
}
