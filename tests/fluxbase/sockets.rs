//! The life of a socket: admission, tokens, heartbeats, limits.

use realtime_worker::engine::command::Recover;
use serde_json::json;

use super::words::*;
use crate::rig::relays::everywhere;
use crate::rig::{Rig, every_way};

#[test]
fn without_a_token_only_open_tables_and_channels_may_be_had() {
    everywhere(realtime(), |rig| {
        let nobody = anonymous(rig);
        assert_eq!(subscribe(rig, &nobody, "table:public.products")["type"], "ack");
        let refused = subscribe(rig, &nobody, "table:public.orders");
        assert_eq!(refused["error"], "authentication required for subscriptions");
        let refused = say(rig, &nobody, json!({ "type": "subscribe", "config": { "schema": "*", "table": "*" } }));
        assert_eq!(refused["code"], "forbidden");
        for frame in [
            json!({ "type": "subscribe", "channel": "room:1" }),
            json!({ "type": "broadcast", "channel": "room:1", "event": "e", "payload": 1 }),
            json!({ "type": "presence", "channel": "room:1", "payload": { "event": "track", "key": "k" } }),
            json!({ "type": "subscribe", "channel": "square", "private": false }),
        ] {
            assert_eq!(say(rig, &nobody, frame.clone())["code"], "forbidden", "{frame}");
        }
        let ack = json!({ "type": "ack", "payload": { "subscribed": true, "channel": "open:1" } });
        assert_eq!(subscribe(rig, &nobody, "open:1"), ack);
        say(rig, &nobody, json!({ "type": "broadcast", "channel": "open:1", "event": "e" }));
        rig.accepted(insert("products", json!({ "id": 1 })));
        assert_eq!(nobody.next()["channel"], "table:public.products");
    });
}

#[test]
fn a_token_makes_a_user_of_nobody_and_a_bad_one_changes_nothing() {
    everywhere(realtime(), |rig| {
        let one = anonymous(rig);
        let bad = say(rig, &one, json!({ "type": "access_token", "token": "a.b.c" }));
        assert_eq!((&bad["error"], &bad["code"]), (&json!("invalid token"), &json!("invalid_token")));
        let mut claims = rig.claims("ada", &[]);
        claims.as_object_mut().unwrap().remove("role");
        let renewed = say(rig, &one, json!({ "type": "access_token", "token": crate::rig::token::hs256(&claims) }));
        assert_eq!(renewed, json!({ "type": "ack", "payload": { "type": "access_token", "updated": true } }));
        assert_eq!(subscribe(rig, &one, "table:public.orders")["type"], "ack");
        // She sees what is hers, and nothing else.
        rig.accepted(insert("orders", json!({ "user_id": "bob" })));
        rig.accepted(insert("orders", json!({ "user_id": "ada" })));
        assert_eq!(one.next()["payload"]["record"], json!({ "user_id": "ada" }));
        one.gets_nothing();
    });
}

#[test]
fn a_token_without_a_role_is_an_authenticated_one() {
    let mut rig = Rig::new(&json!({
        "tables": { "notes": { "requiredRoles": ["authenticated"] } },
        "fluxbase": { "organization": crate::rig::ORGANIZATION },
    }));
    let one = open(&mut rig, "ada");
    assert_eq!(subscribe(&mut rig, &one, "table:public.notes")["type"], "ack");
    let admin = open_as(&mut rig, crate::rig::token::principal("eve", &["admin"], None), Recover::Off);
    assert_eq!(subscribe(&mut rig, &admin, "table:public.notes")["code"], "forbidden");
}

#[test]
fn the_end_of_a_token_ends_the_socket_on_time() {
    everywhere(realtime(), |rig| {
        let expires = rig.now + 60_000;
        let one = open_as(rig, crate::rig::token::principal("ada", &[], Some(expires)), Recover::Off);
        subscribe(rig, &one, "table:public.products");
        rig.advance(59_999);
        rig.accepted(insert("products", json!({ "id": 1 })));
        assert_eq!(one.next()["type"], "broadcast");
        rig.advance(1);
        assert_eq!(one.next()["code"], "token_expired");
        one.is_closed(1008, "token_expired");
    });
}

#[test]
fn a_heartbeat_comes_every_thirty_seconds_to_those_who_know_it() {
    let mut realtime = realtime();
    realtime["heartbeats"] = json!(true);
    let mut rig = Rig::new(&realtime);
    let (one, native) = (open(&mut rig, "ada"), rig.connect("bob", &[]));
    rig.advance(61_000);
    assert_eq!(one.frames(), [json!({ "type": "heartbeat" }), json!({ "type": "heartbeat" })]);
    native.gets_nothing();
}

#[test]
fn a_full_organization_says_so_after_the_upgrade() {
    let mut realtime = realtime();
    realtime["limits"] = json!({ "connections": 1 });
    let mut rig = Rig::new(&realtime);
    let _first = open(&mut rig, "ada");
    let late = open(&mut rig, "bob");
    late.gets(json!({ "type": "error", "payload": { "message": "server is full, try later" },
        "error": "max_connections_reached", "code": "connection_limit" }));
    late.is_closed(1013, "connection_limit");
}

#[test]
fn an_address_has_a_share_of_the_sockets_without_a_token() {
    let mut realtime = realtime();
    realtime["limits"] = json!({ "anonymousPerAddress": 2, "connectionsPerUser": 1 });
    every_way(realtime, |rig| {
        let full = |client: &crate::rig::Client| {
            assert_eq!(client.next()["error"], "max_connections_reached");
            client.is_closed(1013, "connection_limit");
        };
        rig.address = Some("192.0.2.1".to_owned());
        let [first, second] = [anonymous(rig), anonymous(rig)];
        full(&anonymous(rig));
        // A token and another address have shares of their own.
        open(rig, "ada").gets_nothing();
        rig.address = Some("192.0.2.2".to_owned());
        anonymous(rig).gets_nothing();
        rig.address = Some("192.0.2.1".to_owned());
        let token = rig.token("ann", &["member"]);
        assert_eq!(say(rig, &first, json!({ "type": "access_token", "token": token }))["type"], "ack");
        full(&open(rig, "ann"));
        let refused = say(rig, &second, json!({ "type": "access_token", "token": token }));
        assert_eq!(
            (&refused["error"], &refused["code"]),
            (&json!("max_connections_reached"), &json!("connection_limit"))
        );
        anonymous(rig).gets_nothing();
        full(&anonymous(rig));
        rig.disconnect(&first);
        open(rig, "ann").gets_nothing();
        rig.disconnect(&second);
        anonymous(rig).gets_nothing();
        full(&anonymous(rig));
    });
}
