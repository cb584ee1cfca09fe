//! Tables, with the frames of both contracts.

use realtime_worker::engine::command::{Position, Recover};
use serde_json::{Value, json};

use super::words::*;
use crate::rig::Rig;
use crate::rig::relays::everywhere;

#[test]
fn what_a_table_subscription_missed_is_asked_for_with_it() {
    everywhere(realtime(), |rig| {
        let one = open_as(rig, crate::rig::token::principal("ada", &[], None), Recover::On);
        let position = one.next()["payload"].clone();
        rig.accepted(insert("products", json!({ "id": 1 })));
        rig.accepted(insert("orders", json!({ "user_id": "bob" })));
        rig.accepted(insert("orders", json!({ "user_id": "ada" })));
        let epoch = position["epoch"].as_str().unwrap().to_owned();
        let back =
            open_as(rig, crate::rig::token::principal("ada", &[], None), Recover::From(Position { epoch, offset: 0 }));
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
    everywhere(realtime(), |rig| {
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
        // A filter on an excluded column reveals nothing about it.
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
fn one_socket_speaks_either_contract() {
    everywhere(realtime(), |rig| {
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
        // The filter belongs to the newer contract's subscription only.
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
        // If there is no table channel of that name, every subscription with an id ends.
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
