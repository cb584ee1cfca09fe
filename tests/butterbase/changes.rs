//! Changes of tables: operations, filters, policies, the control plane, missed changes.

use realtime_worker::dialect::butterbase::ID;
use realtime_worker::dialect::butterbase::configuration::{ANONYMOUS, USER};
use realtime_worker::engine::command::{Position, Recover};
use realtime_worker::policy::principal::Principal;
use serde_json::{Value, json};

use super::words::*;
use crate::rig::relays::everywhere;
use crate::rig::{ORGANIZATION, Rig};

#[test]
fn all_three_operations_come_whole_and_with_their_time() {
    everywhere(open_tables(), |rig| {
        let client = connected(rig, user("u-1"));
        subscribed(rig, &client, json!({}));
        insert(rig, json!({ "id": 7, "body": "hi" }));
        client
            .gets(json!({ "type": "change", "table": "messages", "op": "INSERT", "record": { "id": 7, "body": "hi" },
            "old_record": null, "timestamp": "2023-11-14T22:13:20.000Z" }));
        update(rig, json!({ "id": 7, "body": "hi!" }), json!({ "id": 7, "body": "hi" }));
        assert_eq!(
            change(&client),
            ("UPDATE".to_owned(), json!({ "id": 7, "body": "hi!" }), json!({ "id": 7, "body": "hi" }))
        );
        delete(rig, json!({ "id": 7, "body": "hi!" }));
        assert_eq!(change(&client), ("DELETE".to_owned(), Value::Null, json!({ "id": 7, "body": "hi!" })));
        rig.frame(&client, json!({ "type": "unsubscribe", "table": "messages" }));
        client.gets(json!({ "type": "unsubscribed", "table": "messages" }));
        assert_eq!(insert(rig, json!({ "id": 8 })), 0);
        rig.frame(&client, json!({ "type": "unsubscribe", "table": "messages" }));
        client.gets(json!({ "type": "unsubscribed", "table": "messages" }));
    });
}

#[test]
fn a_filter_compares_values_with_their_types_and_a_later_one_replaces_it() {
    everywhere(open_tables(), |rig| {
        let client = connected(rig, user("u-1"));
        let filter = json!({ "room_id": "r1", "archived": false });
        let answer = subscribed(rig, &client, json!({ "filter": filter.clone() }));
        assert_eq!(answer["filter"], filter);
        insert(rig, json!({ "id": 1, "room_id": "r1", "archived": false }));
        assert_eq!(change(&client).1["id"], 1);
        for row in [
            json!({ "id": 2, "room_id": "r1", "archived": "false" }),
            json!({ "id": 3, "room_id": "r1", "archived": true }),
            json!({ "id": 4, "room_id": "r1" }),
        ] {
            assert_eq!(insert(rig, row), 0);
        }
        assert_eq!(subscribed(rig, &client, json!({ "filter": { "room_id": "r2" } })).get("id"), None);
        assert_eq!(insert(rig, json!({ "id": 5, "room_id": "r1", "archived": false })), 0);
        assert_eq!(insert(rig, json!({ "id": 6, "room_id": "r2" })), 1, "once, for the one subscription");
        assert_eq!(change(&client).1["id"], 6);
        client.gets_nothing();
    });
}

#[test]
fn a_row_that_leaves_the_filter_is_removed() {
    everywhere(open_tables(), |rig| {
        let client = connected(rig, user("u-1"));
        subscribed(rig, &client, json!({ "filter": { "room": 1 } }));
        update(rig, json!({ "id": 7, "room": 2 }), json!({ "id": 7, "room": 1 }));
        assert_eq!(change(&client), ("DELETE".to_owned(), Value::Null, json!({ "id": 7, "room": 1 })));
        update(rig, json!({ "id": 7, "room": 1 }), json!({ "id": 7, "room": 2 }));
        assert_eq!(change(&client).0, "UPDATE");
        assert_eq!(update(rig, json!({ "id": 7, "room": 3 }), json!({ "id": 7, "room": 2 })), 0);
        delete(rig, json!({ "id": 7, "room": 1 }));
        assert_eq!(change(&client).0, "DELETE");
        assert_eq!(delete(rig, json!({ "id": 7, "room": 2 })), 0);
    });
}

#[test]
fn several_subscriptions_to_a_table_are_told_apart_by_number_and_columns() {
    everywhere(open_tables(), |rig| {
        let client = connected(rig, user("u-1"));
        assert_eq!(subscribed(rig, &client, json!({ "id": 1, "filter": { "room": 1 } }))["id"], 1);
        subscribed(rig, &client, json!({ "id": 2, "filter": { "urgent": true } }));
        insert(rig, json!({ "id": 7, "room": 1, "urgent": true, "body": "b" }));
        assert_eq!(client.next()["subscriptions"], json!([1, 2]), "one frame for both");
        rig.frame(&client, json!({ "type": "unsubscribe", "table": "messages", "id": 2 }));
        client.gets(json!({ "type": "unsubscribed", "table": "messages", "id": 2 }));
        insert(rig, json!({ "id": 8, "room": 1, "urgent": true }));
        assert_eq!(client.next()["subscriptions"], json!([1]));
        subscribed(rig, &client, json!({ "id": 1, "columns": ["body"] }));
        insert(rig, json!({ "id": 9, "room": 1, "body": "b", "secret": "s" }));
        assert_eq!(client.next()["record"], json!({ "id": 9, "body": "b" }), "with the key that says which row");
        delete(rig, json!({ "id": 9, "body": "b", "secret": "s" }));
        assert_eq!(client.next()["old_record"], json!({ "id": 9, "body": "b" }));
    });
}

#[test]
fn rows_are_for_those_whom_a_policy_names() {
    let rules = json!({ "tables": { "messages": { "rows": [{ "column": "owner", "claim": "sub" },
        { "roles": [ANONYMOUS, USER], "column": "room", "claim": "room" }] } },
        "butterbase": { "access": "public", "tables": ["messages"] } });
    everywhere(rules, |rig| {
        let nobody = Principal::anonymous(ANONYMOUS);
        let all = [user("ann"), user("bob"), service(), nobody].map(|principal| connected(rig, principal));
        for client in &all {
            subscribed(rig, client, json!({}));
        }
        let [ann, bob, service, nobody] = all;
        let count = insert(rig, json!({ "id": 1, "owner": "ann" }));
        rig.handed_out(count, 2);
        assert_eq!((change(&ann).0, change(&service).0), ("INSERT".to_owned(), "INSERT".to_owned()));
        // Recipients that could see the row receive its removal.
        let count = update(rig, json!({ "id": 1, "owner": "bob" }), json!({ "id": 1, "owner": "ann" }));
        rig.handed_out(count, 3);
        assert_eq!(change(&ann), ("DELETE".to_owned(), Value::Null, json!({ "id": 1, "owner": "ann" })));
        assert_eq!(change(&bob).0, "INSERT");
        assert_eq!(change(&service).0, "UPDATE");
        let count = delete(rig, json!({ "id": 1, "owner": "bob" }));
        rig.handed_out(count, 2);
        assert_eq!((change(&bob).0, change(&service).0), ("DELETE".to_owned(), "DELETE".to_owned()));
        for client in [ann, bob, nobody] {
            client.gets_nothing();
        }
    });
}

#[test]
fn a_table_without_a_policy_is_for_services_only_and_says_so() {
    let realtime = json!({ "butterbase": { "access": "public", "tables": ["messages", "news"], "public": ["news"] } });
    everywhere(realtime, |rig| {
        let (client, service) = (connected(rig, user("u-1")), connected(rig, service()));
        subscribed(rig, &service, json!({}));
        service.gets_nothing();
        subscribed(rig, &client, json!({}));
        let warning = client.next();
        assert_eq!((&warning["type"], &warning["code"]), (&json!("warning"), &json!("TABLE_HAS_NO_POLICY")));
        let count = insert(rig, json!({ "id": 1 }));
        rig.handed_out(count, 1);
        subscribed(rig, &client, json!({ "table": "news" }));
        client.gets_nothing();
        let news = json!({ "type": "postgres_changes", "table": "news", "eventType": "INSERT", "new": { "id": 1 } });
        let count = rig.accepted(news);
        rig.handed_out(count, 1);
        assert_eq!(client.next()["table"], "news");
    });
}

#[test]
fn tables_are_enabled_by_the_control_plane() {
    let tables = json!({ "messages": { "rows": [{ "roles": [USER] }] }, "other": {} });
    everywhere(json!({ "tables": tables, "butterbase": { "access": "public" } }), |rig| {
        let client = connected(rig, user("u-1"));
        subscribed(rig, &client, json!({}));
        let warning = client.next();
        assert_eq!((&warning["code"], &warning["table"]), (&json!("TABLE_NOT_REALTIME_ENABLED"), &json!("messages")));
        assert!(warning["remediation"].as_str().unwrap().contains(&format!("/v1/{ORGANIZATION}/realtime/configure")));
        let count = insert(rig, json!({ "id": 1 }));
        rig.handed_out(count, 0);
        let enable = |tables: &[&str]| {
            let events = ["INSERT", "UPDATE", "DELETE"];
            json!({ "action": "enable", "schema": "public", "tables": tables, "events": events }).to_string()
        };
        let (status, answer) = rig.ask("/tables", &enable(&["messages", "nope", "neither"]));
        assert_eq!(status, 404);
        assert!(answer.contains("nope,neither"), "all that are missing are named: {answer}");
        assert_eq!(insert(rig, json!({ "id": 2 })), 0, "none is changed where one is missing");
        for _ in 0..2 {
            assert_eq!(rig.ask("/tables", &enable(&["messages"])).0, 200);
            assert_eq!(insert(rig, json!({ "id": 3 })), 1, "the subscription that stood receives");
            assert_eq!(change(&client).0, "INSERT");
        }
        let disable = json!({ "action": "disable", "schema": "public", "table": "messages" }).to_string();
        for _ in 0..2 {
            assert_eq!(rig.ask("/tables", &disable).0, 200);
            let count = insert(rig, json!({ "id": 4 }));
            rig.handed_out(count, 0);
        }
        let (_, tables) = rig.ask("/tables", r#"{"action":"list"}"#);
        let tables: Value = serde_json::from_str(&tables).unwrap();
        assert_eq!(tables["tables"][0]["enabled"], false, "it stays listed");
    });
}

#[test]
fn what_was_missed_comes_with_the_subscription_or_a_gap_is_told() {
    everywhere(open_tables(), |rig| {
        let client = rig.open_at(ID, Some(user("a")), None, Recover::On).unwrap();
        let hello = client.next();
        let epoch = hello["epoch"].as_str().unwrap().to_owned();
        subscribed(rig, &client, json!({ "filter": { "room": 1 } }));
        insert(rig, json!({ "id": 1, "room": 1 }));
        let offset = client.next()["offset"].as_u64().unwrap();
        rig.disconnect(&client);
        insert(rig, json!({ "id": 2, "room": 1 }));
        insert(rig, json!({ "id": 3, "room": 2 }));
        delete(rig, json!({ "id": 2, "room": 1 }));
        let from = Recover::From(Position { epoch: epoch.clone(), offset });
        let back = rig.open_at(ID, Some(user("a")), None, from).unwrap();
        assert_eq!(back.next()["recovered"], true);
        let recover = json!({ "epoch": epoch, "offset": offset });
        let answer = subscribed(rig, &back, json!({ "filter": { "room": 1 }, "recover": recover }));
        assert_eq!(answer["recovered"], true);
        assert_eq!((change(&back).1["id"].clone(), change(&back).0), (json!(2), "DELETE".to_owned()));
        back.gets_nothing();
        let recover = json!({ "epoch": "another", "offset": 1 });
        assert_eq!(subscribed(rig, &back, json!({ "recover": recover }))["recovered"], false);
        back.gets_nothing();
    });
}

#[test]
fn changes_of_other_tables_are_not_read() {
    let mut rig = Rig::new(&open_tables());
    let client = rig.open_at(ID, Some(user("a")), None, Recover::On).unwrap();
    let epoch = client.next()["epoch"].clone();
    for id in 0..100 {
        rig.accepted(
            json!({ "type": "postgres_changes", "table": "busy", "eventType": "INSERT", "new": { "id": id } }),
        );
    }
    insert(&mut rig, json!({ "id": 1 }));
    client.frames();
    rig.hibernate();
    let recover = json!({ "recover": { "epoch": epoch, "offset": 0 } });
    assert_eq!(subscribed(&mut rig, &client, recover)["recovered"], true);
    assert_eq!(change(&client).1, json!({ "id": 1 }));
    client.gets_nothing();
    assert_eq!(rig.history_rows_read, 1, "of 101");
}
