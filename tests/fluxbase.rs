//! What Fluxbase's clients get beyond the conformance script: both contracts on one socket, sockets without a token, keys of
//! presence, own messages, tables that are switched off.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::dialect::fluxbase::ID;
use realtime_worker::engine::command::{Position, Recover};
use realtime_worker::policy::principal::Principal;
use rig::{Client, Rig, every_way};
use serde_json::{Value, json};

fn realtime() -> Value {
    json!({
        "heartbeats": false,
        "tables": {
            "products": {},
            "orders": { "rows": [{ "column": "user_id", "claim": "sub" }, { "roles": ["admin"] }] },
            "auth.users": {},
        },
        "channels": [
            { "topic": "room:*", "read": {}, "write": {}, "presence": {} },
            { "topic": "open:*", "read": { "roles": ["anon"] }, "write": { "roles": ["anon"] },
              "presence": { "roles": ["anon"] } },
            { "topic": "inbox:*", "write": {} },
            { "topic": "*", "read": { "roles": ["admin"] } },
        ],
        "fluxbase": { "organization": rig::ORGANIZATION, "anonymous": ["public.products"] },
    })
}

fn open_as(rig: &mut Rig, principal: Principal, recover: Recover) -> Client {
    rig.open_at(ID, Some(principal), None, recover).unwrap()
}

/// A user of no particular role.
fn open(rig: &mut Rig, user: &str) -> Client {
    open_as(rig, rig::token::principal(user, &[], None), Recover::Off)
}

fn anonymous(rig: &mut Rig) -> Client {
    open_as(rig, Principal::anonymous("anon"), Recover::Off)
}

/// Sends a frame, and hands back what it is answered.
fn say(rig: &mut Rig, client: &Client, frame: Value) -> Value {
    rig.frame(client, frame);
    client.next()
}

fn subscribe(rig: &mut Rig, client: &Client, channel: &str) -> Value {
    say(rig, client, json!({ "type": "subscribe", "channel": channel }))
}

fn insert(table: &str, row: Value) -> Value {
    json!({ "type": "postgres_changes", "table": table, "eventType": "INSERT", "new": row })
}

#[test]
fn one_socket_speaks_either_contract() {
    every_way(realtime(), |rig| {
        let one = open(rig, "ada");
        one.gets_nothing();
        let ack = json!({ "type": "ack", "channel": "table:public.products" });
        assert_eq!(subscribe(rig, &one, "table:public.products"), ack);
        assert_eq!(subscribe(rig, &one, "table:public.products"), ack, "once more is the same");
        let newer = json!({ "type": "subscribe", "config": { "table": "products", "filter": "price=gt.10" } });
        let ids = [0, 1].map(|_| say(rig, &one, newer.clone())["payload"]["subscription_id"].clone());
        assert_ne!(ids[0], ids[1], "a repeat is a subscription of its own");
        rig.accepted(insert("products", json!({ "id": 1, "price": 11 })));
        let payload = json!({ "type": "INSERT", "table": "products", "schema": "public",
            "record": { "id": 1, "price": 11 } });
        one.gets(json!({ "type": "broadcast", "channel": "table:public.products", "payload": payload }));
        let frame = one.next();
        assert_eq!((&frame["type"], &frame["payload"]), (&json!("postgres_changes"), &payload));
        assert_eq!(frame["subscription_ids"].as_array().unwrap().len(), 2);
        // The filter is of the newer contract's subscriptions only.
        rig.accepted(insert("products", json!({ "id": 2, "price": 9 })));
        assert_eq!(one.next()["type"], "broadcast");
        one.gets_nothing();
        assert_eq!(say(rig, &one, json!({ "type": "unsubscribe", "channel": "table:public.products" })), ack);
        let ended = json!({ "type": "ack", "payload": { "unsubscribed": true, "subscription_id": ids[0] } });
        for _ in 0..2 {
            assert_eq!(say(rig, &one, json!({ "type": "unsubscribe", "subscription_id": ids[0] })), ended);
        }
        rig.accepted(insert("products", json!({ "id": 3, "price": 12 })));
        assert_eq!(one.next()["subscription_ids"], json!([ids[1]]));
        // Where no table channel of the name stands, what has an id ends, all of it.
        let all = json!({ "type": "ack", "payload": { "unsubscribed": true } });
        assert_eq!(say(rig, &one, json!({ "type": "unsubscribe", "channel": "table:public.products" })), all);
        rig.accepted(insert("products", json!({ "id": 4, "price": 13 })));
        one.gets_nothing();
    });
}

#[test]
fn sockets_that_ask_for_the_same_get_the_same_bytes() {
    let mut rig = Rig::new(&realtime());
    let pair = ["ada", "bob"].map(|user| open(&mut rig, user));
    for client in &pair {
        say(&mut rig, client, json!({ "type": "subscribe", "table": "products", "filter": "price=gt.1" }));
    }
    rig.accepted(insert("products", json!({ "price": 2 })));
    assert_eq!(pair[0].next_text(), pair[1].next_text());
}

#[test]
fn a_subscription_is_ended_by_its_own_connection_only() {
    let mut rig = Rig::new(&realtime());
    let [ada, bob] = ["ada", "bob"].map(|user| open(&mut rig, user));
    let ask = json!({ "type": "subscribe", "table": "products" });
    let id = say(&mut rig, &ada, ask)["payload"]["subscription_id"].clone();
    say(&mut rig, &bob, json!({ "type": "unsubscribe", "subscription_id": id }));
    rig.accepted(insert("products", json!({ "id": 1 })));
    assert_eq!(ada.next()["subscription_ids"], json!([id]));
    bob.gets_nothing();
}

#[test]
fn without_a_token_only_open_tables_and_channels_may_be_had() {
    every_way(realtime(), |rig| {
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
fn system_schemas_and_undeclared_tables_are_refused_in_both_contracts() {
    let mut rig = Rig::new(&realtime());
    for (schema, table) in [("auth", "users"), ("public", "nothing"), ("pg_catalog", "*")] {
        let one = open(&mut rig, "ada");
        let sentence = format!("table {schema}.{table} not enabled for realtime");
        let channel = format!("table:{schema}.{table}");
        let expected = json!({ "type": "error", "channel": channel, "error": sentence, "code": "table_not_enabled" });
        assert_eq!(subscribe(&mut rig, &one, &channel), expected);
        let newer = json!({ "type": "subscribe", "config": { "schema": schema, "table": table } });
        assert_eq!(say(&mut rig, &one, newer), expected);
    }
}

#[test]
fn a_token_makes_a_user_of_nobody_and_a_bad_one_changes_nothing() {
    every_way(realtime(), |rig| {
        let one = anonymous(rig);
        let bad = say(rig, &one, json!({ "type": "access_token", "token": "a.b.c" }));
        assert_eq!((&bad["error"], &bad["code"]), (&json!("invalid token"), &json!("invalid_token")));
        let mut claims = rig.claims("ada", &[]);
        claims.as_object_mut().unwrap().remove("role");
        let renewed = say(rig, &one, json!({ "type": "access_token", "token": rig::token::hs256(&claims) }));
        assert_eq!(renewed, json!({ "type": "ack", "payload": { "type": "access_token", "updated": true } }));
        assert_eq!(subscribe(rig, &one, "table:public.orders")["type"], "ack");
        // What is hers she sees, and nothing else.
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
        "fluxbase": { "organization": rig::ORGANIZATION },
    }));
    let one = open(&mut rig, "ada");
    assert_eq!(subscribe(&mut rig, &one, "table:public.notes")["type"], "ack");
    let admin = open_as(&mut rig, rig::token::principal("eve", &["admin"], None), Recover::Off);
    assert_eq!(subscribe(&mut rig, &admin, "table:public.notes")["code"], "forbidden");
}

#[test]
fn the_end_of_a_token_ends_the_socket_on_time() {
    every_way(realtime(), |rig| {
        let expires = rig.now + 60_000;
        let one = open_as(rig, rig::token::principal("ada", &[], Some(expires)), Recover::Off);
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

fn presence(event: &str, key: &str, state: Value) -> Value {
    let payload = json!({ "event": event, "key": key, "state": state });
    json!({ "type": "presence", "channel": "room:1", "payload": payload })
}

#[test]
fn a_presence_key_is_its_users() {
    every_way(realtime(), |rig| {
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
        "fluxbase": { "organization": rig::ORGANIZATION },
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

#[test]
fn admin_channels_are_for_administrators_whatever_the_policies_say() {
    let mut rig = Rig::new(&json!({
        "channels": [{ "topic": "*", "read": {}, "write": {}, "presence": {} }],
        "fluxbase": { "organization": rig::ORGANIZATION },
    }));
    let channel = "realtime:admin:connections";
    let one = open(&mut rig, "ada");
    let refused = subscribe(&mut rig, &one, channel);
    assert_eq!(refused["error"], "admin access required to subscribe to admin channels");
    let admin = open_as(&mut rig, rig::token::principal("eve", &["service_role"], None), Recover::Off);
    let ack = json!({ "type": "ack", "payload": { "subscribed": true, "channel": channel } });
    assert_eq!(subscribe(&mut rig, &admin, channel), ack);
    let publish = json!({ "type": "broadcast", "channel": channel, "event": "e" });
    assert_eq!(say(&mut rig, &admin, publish)["code"], "forbidden");
}

#[test]
fn what_a_table_subscription_missed_is_asked_for_with_it() {
    every_way(realtime(), |rig| {
        let one = open_as(rig, rig::token::principal("ada", &[], None), Recover::On);
        let position = one.next()["payload"].clone();
        rig.accepted(insert("products", json!({ "id": 1 })));
        rig.accepted(insert("orders", json!({ "user_id": "bob" })));
        rig.accepted(insert("orders", json!({ "user_id": "ada" })));
        let epoch = position["epoch"].as_str().unwrap().to_owned();
        let back = open_as(rig, rig::token::principal("ada", &[], None), Recover::From(Position { epoch, offset: 0 }));
        back.next();
        let recover = json!({ "epoch": position["epoch"], "offset": position["offset"] });
        let ask = json!({ "type": "subscribe", "table": "orders", "recover": recover });
        assert_eq!(say(rig, &back, ask)["recovered"], json!(true));
        let missed = back.next();
        assert_eq!((&missed["payload"]["record"], &missed["offset"]), (&json!({ "user_id": "ada" }), &json!(3)));
        back.gets_nothing();
        let gone = json!({ "epoch": "another", "offset": 0 });
        let ask = json!({ "type": "subscribe", "channel": "table:public.products", "recover": gone });
        assert_eq!(
            say(rig, &back, ask),
            json!({ "type": "ack", "channel": "table:public.products", "recovered": false })
        );
    });
}

#[test]
fn a_table_that_is_set_flows_so_for_these_clients_and_no_others() {
    every_way(realtime(), |rig| {
        let (one, native) = (open(rig, "ada"), rig.connect("bob", &[]));
        say(rig, &one, json!({ "type": "subscribe", "table": "products", "filter": "secret=eq.7" }));
        say(rig, &one, json!({ "type": "subscribe", "channel": "table:public.products" }));
        let set = |rig: &mut Rig, body: Value| {
            let mut body = body;
            (body["schema"], body["table"]) = (json!("public"), json!("products"));
            assert_eq!(rig.ask("/tables", &body.to_string()).0, 200);
        };
        set(rig, json!({ "action": "enable", "events": ["INSERT"], "exclude": ["secret"] }));
        let row = json!({ "id": 1, "secret": 7 });
        rig.accepted(insert("products", row.clone()));
        // A filter on a column that does not leave tells nothing of it.
        let frame = one.next();
        assert_eq!((&frame["type"], &frame["payload"]["record"]), (&json!("broadcast"), &json!({ "id": 1 })));
        one.gets_nothing();
        assert_eq!(native.next()["new"], row);
        rig.accepted(json!({ "type": "postgres_changes", "table": "products", "eventType": "DELETE", "old": row }));
        one.gets_nothing();
        set(rig, json!({ "action": "disable" }));
        rig.accepted(insert("products", json!({ "id": 2 })));
        one.gets_nothing();
        let refused = say(rig, &one, json!({ "type": "subscribe", "table": "products" }));
        assert_eq!(refused["error"], "table public.products not enabled for realtime");
        set(rig, json!({ "action": "enable", "events": ["INSERT", "UPDATE", "DELETE"] }));
        rig.accepted(insert("products", json!({ "id": 3 })));
        assert_eq!(one.next()["payload"]["record"], json!({ "id": 3 }));
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
