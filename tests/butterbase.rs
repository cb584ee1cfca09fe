//! What Butterbase's clients get of one tenant: changes, presence, heartbeats, functions, plans, tables, expiry. Every
//! script runs undisturbed, with the object asleep and with a crash between any two of its steps.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::dialect::butterbase::{HEARTBEAT, ID};
use realtime_worker::engine::command::{Position, Recover};
use realtime_worker::policy::app::{ANONYMOUS, SERVICE, USER};
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use rig::{Client, ORGANIZATION, Rig, every_way};
use serde_json::{Value, json};

/// Everything enabled and public, whatever the table.
fn open_tables() -> Value {
    let app = json!({ "access": "public", "listeners": -1, "tables": ["*"], "public": ["*"] });
    json!({ "butterbase": app, "lobby": { "roles": [ANONYMOUS, USER] } })
}

fn user(name: &str) -> Principal {
    Principal {
        user: Some(name.to_owned()),
        roles: Roles::new([USER.to_owned()]),
        method: Method::Session,
        expires: None,
        claims: Default::default(),
        all_claims: None,
        grants: Default::default(),
    }
}

fn service() -> Principal {
    Principal { user: None, roles: Roles::new([SERVICE.to_owned()]), method: Method::ApiKey, ..user("") }
}

fn connected(rig: &mut Rig, principal: Principal) -> Client {
    let client = rig.open_at(ID, Some(principal), None, Recover::Off).unwrap();
    assert_eq!(client.next()["type"], "connected");
    client
}

#[track_caller]
fn subscribed(rig: &mut Rig, client: &Client, more: Value) -> Value {
    let mut frame = json!({ "type": "subscribe", "table": "messages" });
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rig.frame(client, frame);
    let answer = client.next();
    assert_eq!(answer["type"], "subscribed", "{answer}");
    answer
}

fn insert(rig: &mut Rig, row: Value) -> u64 {
    rig.accepted(json!({ "type": "postgres_changes", "table": "messages", "eventType": "INSERT", "new": row }))
}

fn update(rig: &mut Rig, new: Value, old: Value) -> u64 {
    rig.accepted(
        json!({ "type": "postgres_changes", "table": "messages", "eventType": "UPDATE", "new": new, "old": old }),
    )
}

fn delete(rig: &mut Rig, old: Value) -> u64 {
    rig.accepted(json!({ "type": "postgres_changes", "table": "messages", "eventType": "DELETE", "old": old }))
}

/// The next change, without its time.
#[track_caller]
fn change(client: &Client) -> (String, Value, Value) {
    let frame = client.next();
    assert_eq!((&frame["type"], &frame["table"]), (&json!("change"), &json!("messages")), "{frame}");
    assert!(frame["timestamp"].is_string() && frame.as_object().unwrap().len() >= 6, "all six keys: {frame}");
    (frame["op"].as_str().unwrap().to_owned(), frame["record"].clone(), frame["old_record"].clone())
}

#[test]
fn all_three_operations_come_whole_and_with_their_time() {
    every_way(open_tables(), |rig| {
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
    every_way(open_tables(), |rig| {
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
    every_way(open_tables(), |rig| {
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
    every_way(open_tables(), |rig| {
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
    every_way(rules, |rig| {
        let nobody = Principal::anonymous(ANONYMOUS);
        let all = [user("ann"), user("bob"), service(), nobody].map(|principal| connected(rig, principal));
        for client in &all {
            subscribed(rig, client, json!({}));
        }
        let [ann, bob, service, nobody] = all;
        assert_eq!(insert(rig, json!({ "id": 1, "owner": "ann" })), 2);
        assert_eq!((change(&ann).0, change(&service).0), ("INSERT".to_owned(), "INSERT".to_owned()));
        // Who could see the row gets its removal, whoever it is for now.
        assert_eq!(update(rig, json!({ "id": 1, "owner": "bob" }), json!({ "id": 1, "owner": "ann" })), 3);
        assert_eq!(change(&ann), ("DELETE".to_owned(), Value::Null, json!({ "id": 1, "owner": "ann" })));
        assert_eq!(change(&bob).0, "INSERT");
        assert_eq!(change(&service).0, "UPDATE");
        assert_eq!(delete(rig, json!({ "id": 1, "owner": "bob" })), 2);
        assert_eq!((change(&bob).0, change(&service).0), ("DELETE".to_owned(), "DELETE".to_owned()));
        for client in [ann, bob, nobody] {
            client.gets_nothing();
        }
    });
}

#[test]
fn a_table_without_a_policy_is_for_services_only_and_says_so() {
    let realtime = json!({ "butterbase": { "access": "public", "tables": ["messages", "news"], "public": ["news"] } });
    every_way(realtime, |rig| {
        let (client, service) = (connected(rig, user("u-1")), connected(rig, service()));
        subscribed(rig, &service, json!({}));
        service.gets_nothing();
        subscribed(rig, &client, json!({}));
        let warning = client.next();
        assert_eq!((&warning["type"], &warning["code"]), (&json!("warning"), &json!("TABLE_HAS_NO_POLICY")));
        assert_eq!(insert(rig, json!({ "id": 1 })), 1);
        subscribed(rig, &client, json!({ "table": "news" }));
        client.gets_nothing();
        let news = json!({ "type": "postgres_changes", "table": "news", "eventType": "INSERT", "new": { "id": 1 } });
        assert_eq!(rig.accepted(news), 1);
        assert_eq!(client.next()["table"], "news");
    });
}

#[test]
fn tables_are_enabled_by_the_control_plane() {
    let tables = json!({ "messages": { "rows": [{ "roles": [USER] }] }, "other": {} });
    every_way(json!({ "tables": tables, "butterbase": { "access": "public" } }), |rig| {
        let client = connected(rig, user("u-1"));
        subscribed(rig, &client, json!({}));
        let warning = client.next();
        assert_eq!((&warning["code"], &warning["table"]), (&json!("TABLE_NOT_REALTIME_ENABLED"), &json!("messages")));
        assert!(warning["remediation"].as_str().unwrap().contains(&format!("/v1/{ORGANIZATION}/realtime/configure")));
        assert_eq!(insert(rig, json!({ "id": 1 })), 0);
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
            assert_eq!(insert(rig, json!({ "id": 4 })), 0);
        }
        let (_, tables) = rig.ask("/tables", r#"{"action":"list"}"#);
        let tables: Value = serde_json::from_str(&tables).unwrap();
        assert_eq!(tables["tables"][0]["enabled"], false, "it stays listed");
    });
}

#[test]
fn presence_is_among_those_tracked_and_leaves_out_oneself() {
    every_way(open_tables(), |rig| {
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
        // Tracking again is an update, after a fresh snapshot.
        rig.frame(&bob, json!({ "type": "presence_track", "metadata": { "x": 2 } }));
        assert_eq!(bob.next()["type"], "presence_state");
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
    every_way(json!({ "butterbase": { "access": "public", "listeners": -1 } }), |rig| {
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
    every_way(rules, |rig| {
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

#[test]
fn heartbeats_come_to_all_in_one_wake_and_never_twice() {
    every_way(open_tables(), |rig| {
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
    every_way(realtime, |rig| {
        let client = connected(rig, user("a"));
        rig.advance(10 * HEARTBEAT);
        client.gets_nothing();
    });
    every_way(open_tables(), |rig| {
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
    every_way(json!({ "butterbase": { "listeners": 2 } }), |rig| {
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
    // A plan that is not named is the smallest.
    let mut rig = Rig::new(&json!({ "butterbase": {} }));
    (0..20).for_each(|n| drop(connected(&mut rig, user(&n.to_string()))));
    assert!(rig.open_at(ID, Some(user("21")), None, Recover::Off).is_err());
    let mut rig = Rig::new(&json!({ "butterbase": { "listeners": -1 } }));
    (0..300).for_each(|n| drop(connected(&mut rig, user(&n.to_string()))));
}

#[test]
fn a_token_ends_on_time_or_is_refreshed_in_place() {
    every_way(open_tables(), |rig| {
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
fn errors_are_answered_until_there_are_too_many() {
    every_way(open_tables(), |rig| {
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

#[test]
fn what_was_missed_comes_with_the_subscription_or_a_gap_is_told() {
    every_way(open_tables(), |rig| {
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

fn functions() -> Value {
    let functions = json!({ "binding": "FUNCTIONS", "events": { "chat_message": "/chat", "slow": "/slow" } });
    json!({ "butterbase": { "listeners": -1, "functions": functions } })
}

#[test]
fn a_function_answers_its_caller_only() {
    every_way(functions(), |rig| {
        let [ann, bob] = ["ann", "bob"].map(|name| connected(rig, user(name)));
        rig.frame(&ann, json!({ "type": "event", "event": "chat_message", "payload": { "text": "hello" } }));
        let call = rig.calls.first().unwrap();
        assert_eq!(
            (call.path.as_str(), call.user.as_deref(), call.role.as_deref()),
            ("/chat", Some("ann"), Some(USER))
        );
        assert_eq!(call.body, r#"{"event":"chat_message","payload":{"text":"hello"}}"#);
        rig.answer_call(Some((200, r#"{"echo":1}"#)));
        ann.gets(json!({ "type": "event_response", "event": "chat_message", "data": { "echo": 1 }, "status": 200 }));
        rig.frame(&ann, json!({ "type": "event", "event": "chat_message" }));
        rig.answer_call(Some((500, "it broke")));
        ann.gets(json!({ "type": "event_response", "event": "chat_message", "data": "it broke", "status": 500 }));
        rig.frame(&ann, json!({ "type": "event", "event": "chat_message", "id": "c1" }));
        rig.answer_call(None);
        ann.gets(json!({ "type": "error", "message": "Event handler execution failed", "code": "call_failed",
            "retry": "later", "id": "c1" }));
        rig.frame(&ann, json!({ "type": "event", "event": "typing", "id": 7 }));
        ann.gets(json!({ "type": "error", "message": "No handler for event: typing", "code": "no_handler",
            "retry": "no", "id": 7 }));
        bob.gets_nothing();
    });
}

#[test]
fn a_socket_waits_for_nothing_while_its_functions_are_called() {
    let mut rig = Rig::new(&functions());
    let client = connected(&mut rig, user("ann"));
    for id in [1, 2] {
        rig.frame(&client, json!({ "type": "event", "event": "slow", "id": id }));
    }
    rig.frame(&client, json!({ "type": "presence_track" }));
    assert_eq!(client.next()["type"], "presence_state");
    // The second is answered first, and told by its id.
    rig.calls.swap(0, 1);
    for id in [2, 1] {
        rig.answer_call(Some((200, "null")));
        assert_eq!(client.next()["id"], id);
    }
    for _ in 0..16 {
        rig.frame(&client, json!({ "type": "event", "event": "slow" }));
    }
    client.gets_nothing();
    rig.frame(&client, json!({ "type": "event", "event": "slow" }));
    assert_eq!(client.next()["code"], "call_limit");
    rig.answer_call(Some((204, "")));
    assert_eq!(client.next()["data"], "");
    rig.frame(&client, json!({ "type": "event", "event": "slow" }));
    assert_eq!(rig.calls.len(), 16, "there is room again");
}

#[test]
fn an_answer_reaches_nobody_who_took_the_callers_place() {
    let mut rig = Rig::new(&functions());
    let client = connected(&mut rig, user("ann"));
    rig.frame(&client, json!({ "type": "event", "event": "slow" }));
    rig.disconnect(&client);
    let other = connected(&mut rig, user("bob"));
    rig.answer_call(Some((200, "\"secret\"")));
    other.gets_nothing();
    rig.frame(&other, json!({ "type": "event", "event": "slow" }));
    rig.hibernate();
    rig.answer_call(Some((200, "1")));
    assert_eq!(other.next()["data"], 1, "a life that began meanwhile knows whose call it was");
}
