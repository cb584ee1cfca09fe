//! Subscriptions: narrowing to tables, events and filters; topics and who may have them; what a renewal revokes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::{Client, Rig, every_way};
use serde_json::{Value, json};

fn change(table: &str, operation: &str, new: Value, old: Value) -> Value {
    json!({ "type": "postgres_changes", "table": table, "eventType": operation, "new": new, "old": old })
}

/// Subscribes; the frame needs nothing but the target.
#[track_caller]
fn subscribe(rig: &mut Rig, client: &Client, id: &str, target: Value) {
    ask(rig, client, id, target);
    client.gets(json!({ "type": "subscribed", "id": id }));
}

fn ask(rig: &mut Rig, client: &Client, id: &str, target: Value) {
    let mut frame = json!({ "type": "subscribe", "id": id });
    frame.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
    rig.frame(client, frame);
}

#[track_caller]
fn is_refused(rig: &mut Rig, client: &Client, id: &str, target: Value, code: &str) {
    ask(rig, client, id, target.clone());
    assert_eq!(client.is_refused(code)["id"], id, "{target}");
}

fn rooms() -> Value {
    json!({ "channels": [
        { "topic": "room:secret", "read": { "roles": ["admin"] } },
        { "topic": "room:*", "read": { "roles": ["member"] }, "presence": { "roles": ["admin"] } },
        { "topic": "user:{sub}", "read": {} },
        { "topic": "team:{teams}:*", "read": {} },
    ] })
}

#[test]
fn a_table_subscription_narrows() {
    let cases = [
        (json!({ "table": "claims" }), [true, true, true, false, false]),
        (json!({ "table": "claims", "event": "*" }), [true, true, true, false, false]),
        (json!({ "table": "claims", "event": "UPDATE" }), [false, true, false, false, false]),
        (json!({ "table": "*" }), [true, true, true, true, false]),
        (json!({ "table": "*", "schema": "*" }), [true, true, true, true, true]),
        (json!({ "table": "claims", "schema": "app" }), [false, false, false, false, true]),
        (json!({ "table": "claims", "filter": "status=eq.open" }), [true, false, true, false, false]),
        (
            json!({ "table": "claims", "filter": "amount=gt.9,status=in.(open,shut)" }),
            [true, true, false, false, false],
        ),
        (json!({ "table": "claims", "filter": "missing=neq.1" }), [false; 5]),
        (json!({ "table": "claims", "filter": " " }), [true, true, true, false, false]),
        (json!({ "table": "other" }), [false; 5]),
    ];
    every_way(json!({}), |rig| {
        for (target, expected) in &cases {
            let ada = rig.connect("ada", &[]);
            subscribe(rig, &ada, "s", target.clone());
            let mut elsewhere = change("claims", "INSERT", json!({ "status": "open" }), json!(null));
            elsewhere["schema"] = json!("app");
            let changes = [
                change("claims", "INSERT", json!({ "status": "open", "amount": 10 }), json!(null)),
                change("claims", "UPDATE", json!({ "status": "shut", "amount": 10 }), json!({ "status": "open" })),
                change("claims", "DELETE", json!(null), json!({ "status": "open" })),
                change("files", "INSERT", json!({ "status": "open" }), json!(null)),
                elsewhere,
            ];
            let seen = changes.map(|change| rig.accepted(change) == 1);
            assert_eq!(seen, *expected, "{target}");
            assert_eq!(rig.say("messages are not narrowed"), 1);
            rig.disconnect(&ada);
        }
    });
}

#[test]
fn several_subscriptions_add_up_and_none_means_all() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &[]);
        let insert = |rig: &mut Rig, table: &str| rig.accepted(change(table, "INSERT", json!({ "n": 1 }), json!(null)));
        assert_eq!([insert(rig, "a"), insert(rig, "b")], [1, 1]);
        ada.frames();
        subscribe(rig, &ada, "1", json!({ "table": "a" }));
        subscribe(rig, &ada, "2", json!({ "table": "a", "filter": "n=eq.1" }));
        assert_eq!([insert(rig, "a"), insert(rig, "b")], [1, 0], "two that match still bring one frame");
        ada.frames();
        subscribe(rig, &ada, "3", json!({ "table": "b", "event": "INSERT" }));
        assert_eq!([insert(rig, "a"), insert(rig, "b"), insert(rig, "c")], [1, 1, 0]);
        ada.frames();
        for id in ["1", "2", "3"] {
            rig.frame(&ada, json!({ "type": "unsubscribe", "id": id }));
            ada.gets(json!({ "type": "unsubscribed", "id": id }));
        }
        assert_eq!([insert(rig, "a"), insert(rig, "c")], [1, 1]);
    });
}

#[test]
fn topics_are_for_those_whom_a_policy_names() {
    every_way(rooms(), |rig| {
        let mut claims = rig.claims("u7", &["member"]);
        claims["teams"] = json!(["red"]);
        let ada = rig.connect_with(&claims);
        for (n, topic) in ["room:1", "user:u7", "team:red:x"].iter().enumerate() {
            subscribe(rig, &ada, &n.to_string(), json!({ "topic": topic }));
        }
        for topic in ["room:secret", "user:u8", "team:blue:x", "elsewhere", "user:{sub}", "room"] {
            is_refused(rig, &ada, "x", json!({ "topic": topic }), "forbidden");
            subscribe(rig, &ada, topic, json!({ "topic": topic, "private": false }));
        }
        let guest = rig.connect("guest", &[]);
        is_refused(rig, &guest, "x", json!({ "topic": "room:1" }), "forbidden");
        let message = |topic: &str| json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": topic });
        assert_eq!(rig.accepted(message("room:1")), 1);
        assert_eq!(rig.accepted(message("room:secret")), 0, "the public topic of that name is another");
    });
}

#[test]
fn public_topics_can_be_switched_off() {
    every_way(json!({ "publicTopics": false }), |rig| {
        let ada = rig.connect("ada", &[]);
        is_refused(rig, &ada, "s", json!({ "topic": "t", "private": false }), "public_topics_disabled");
    });
}

#[test]
fn asking_who_is_present_takes_a_right_of_its_own() {
    every_way(rooms(), |rig| {
        let member = rig.connect("m", &["member"]);
        let admin = rig.connect("a", &["member", "admin"]);
        is_refused(rig, &member, "s", json!({ "topic": "room:1", "presence": true }), "forbidden");
        subscribe(rig, &admin, "s", json!({ "topic": "room:1", "presence": true }));
        admin.gets(json!({ "type": "presence_state", "topic": "room:1", "clients": [] }));
    });
}

#[test]
fn those_who_may_only_watch_see_who_is_present() {
    let rooms = json!({ "channels": [
        { "topic": "hall", "read": {}, "presence": { "roles": ["member"] }, "presenceRead": { "roles": ["guest"] } },
    ] });
    every_way(rooms, |rig| {
        let [member, guest, other] =
            [["member"], ["guest"], ["member"]].map(|roles: [&str; 1]| rig.connect(roles[0], &roles));
        let hall = json!({ "topic": "hall" });
        subscribe(rig, &guest, "s", json!({ "topic": "hall", "presence": true }));
        guest.gets(json!({ "type": "presence_state", "topic": "hall", "clients": [] }));
        is_refused(rig, &other, "s", json!({ "topic": "hall", "presence": true }), "forbidden");
        subscribe(rig, &other, "s", hall);
        rig.frame(&member, json!({ "type": "presence_track", "topic": "hall", "metadata": {} }));
        let joined = json!({ "type": "presence_join", "topic": "hall", "client_id": member.id, "user_id": "member",
            "metadata": {} });
        member.gets(json!({ "type": "presence_state", "topic": "hall", "clients": [] }));
        member.gets(joined.clone());
        guest.gets(joined);
        other.gets_nothing();
        rig.frame(&guest, json!({ "type": "presence_track", "topic": "hall", "metadata": {} }));
        guest.is_refused("forbidden");
    });
}

#[test]
fn an_id_stands_for_one_subscription() {
    every_way(rooms(), |rig| {
        let ada = rig.connect("ada", &["member"]);
        subscribe(rig, &ada, "s", json!({ "table": "a" }));
        is_refused(rig, &ada, "s", json!({ "table": "a" }), "subscription_exists");
        is_refused(rig, &ada, "s", json!({ "topic": "room:1" }), "subscription_exists");
        rig.frame(&ada, json!({ "type": "unsubscribe", "id": "other" }));
        assert_eq!(ada.is_refused("unknown_subscription")["id"], "other");
        subscribe(rig, &ada, "1", json!({ "topic": "room:1" }));
        subscribe(rig, &ada, "2", json!({ "topic": "room:1" }));
        let message = json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "room:1" });
        assert_eq!(rig.accepted(message.clone()), 1, "a topic subscribed to twice brings one frame");
        ada.frames();
        rig.frame(&ada, json!({ "type": "unsubscribe", "id": "1" }));
        assert_eq!(rig.accepted(message), 1, "and ends with the last subscription");
    });
}

#[test]
fn a_connection_holds_only_so_many() {
    every_way(json!({ "limits": { "subscriptions": 2, "topics": 1 } }), |rig| {
        let ada = rig.connect("ada", &[]);
        let topic = |name: &str| json!({ "topic": name, "private": false });
        subscribe(rig, &ada, "1", json!({ "table": "a" }));
        subscribe(rig, &ada, "2", json!({ "table": "b" }));
        is_refused(rig, &ada, "3", json!({ "table": "c" }), "subscription_limit");
        subscribe(rig, &ada, "4", topic("t"));
        is_refused(rig, &ada, "5", topic("u"), "topic_limit");
        // Its messages and its members may be two subscriptions; the topic counts once.
        let mut watched = topic("t");
        watched["presence"] = json!(true);
        subscribe(rig, &ada, "6", watched);
        assert_eq!(ada.next()["type"], "presence_state");
        is_refused(rig, &ada, "7", json!({ "topic": "t" }), "topic_limit");
        rig.frame(&ada, json!({ "type": "unsubscribe", "id": "1" }));
        ada.gets(json!({ "type": "unsubscribed", "id": "1" }));
        subscribe(rig, &ada, "3", json!({ "table": "c" }));
    });
}

#[test]
fn a_bad_filter_is_refused_and_narrows_nothing() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &[]);
        for filter in ["a", "a=eq", "a=foo.1", "a=in.1", "a=is.maybe", "a=match.(", "=eq.1", "a=eq.1,"] {
            is_refused(rig, &ada, "s", json!({ "table": "t", "filter": filter }), "invalid_filter");
            rig.advance(60_000);
        }
        assert_eq!(rig.accepted(change("other", "INSERT", json!({}), json!(null))), 1);
    });
}

#[test]
fn filters_tell_nothing_about_what_is_masked_or_unselected() {
    let tables = json!({ "people": {
        "fields": ["id", "ssn"],
        "masking": { "ssn": { "type": "ssn", "show": { "roles": ["admin"], "or": "owner" } } },
    } });
    every_way(json!({ "tables": tables }), |rig| {
        let [admin, owner, other] =
            [("a", "admin"), ("u7", "x"), ("u8", "x")].map(|(user, role)| rig.connect(user, &[role]));
        let row = json!({ "id": 1, "userId": "u7", "ssn": "123-45-6789", "secret": "s" });
        let filters = [
            ("ssn=eq.123-45-6789", [true, true, false]),
            ("ssn=like.123%", [true, true, false]),
            ("ssn=neq.000-00-0000", [true, true, true]),
            ("ssn=not.eq.123-45-6789", [false, false, true]),
            ("ssn=eq.*****6789", [false, false, true]),
            ("secret=eq.s", [false; 3]),
            ("secret=neq.x", [false; 3]),
            ("secret=is.null", [false; 3]),
            ("secret=isdistinct.x", [false; 3]),
        ];
        let operations = [
            change("people", "INSERT", row.clone(), json!(null)),
            change("people", "DELETE", json!(null), row.clone()),
            change("people", "UPDATE", row.clone(), json!({ "id": 1, "ssn": "000" })),
        ];
        for (filter, expected) in filters {
            for client in [&admin, &owner, &other] {
                subscribe(rig, client, "s", json!({ "table": "people", "filter": filter }));
            }
            for operation in &operations {
                rig.accepted(operation.clone());
                let seen = [&admin, &owner, &other].map(|client| client.frames().len() == 1);
                assert_eq!(seen, expected, "{filter} on {operation}");
            }
            for client in [&admin, &owner, &other] {
                rig.frame(client, json!({ "type": "unsubscribe", "id": "s" }));
                client.frames();
            }
        }
    });
}

#[test]
fn declared_types_decide_comparisons() {
    every_way(json!({ "tables": { "t": { "columns": { "zip": "text", "n": "int8" } } } }), |rig| {
        let ada = rig.connect("ada", &[]);
        subscribe(rig, &ada, "1", json!({ "table": "t", "filter": "zip=gt.9" }));
        let mut passes = |row: Value| rig.accepted(change("t", "INSERT", row, json!(null))) == 1;
        assert!(!passes(json!({ "zip": "10" })), "as text 10 is less than 9");
        assert!(passes(json!({ "zip": "95" })));
        rig.frame(&ada, json!({ "type": "unsubscribe", "id": "1" }));
        ada.frames();
        subscribe(rig, &ada, "2", json!({ "table": "t", "filter": "n=gt.9" }));
        assert_eq!(rig.accepted(change("t", "INSERT", json!({ "n": "10" }), json!(null))), 1);
    });
}

#[test]
fn a_refresh_takes_away_what_is_no_longer_allowed() {
    let mut configuration = rooms();
    configuration["tables"] = json!({ "pay": { "requiredRoles": ["hr"] } });
    every_way(configuration, |rig| {
        let ada = rig.connect("ada", &["member", "hr"]);
        let others = rig.connect("bob", &["member"]);
        subscribe(rig, &ada, "room", json!({ "topic": "room:1" }));
        subscribe(rig, &ada, "own", json!({ "topic": "user:ada" }));
        subscribe(rig, &ada, "pay", json!({ "table": "pay" }));
        subscribe(rig, &ada, "t", json!({ "table": "t" }));
        let weaker = rig.token("ada", &["guest"]);
        rig.authenticate(&ada, &weaker);
        assert_eq!(ada.next()["type"], "auth_success");
        ["room", "pay"].iter().for_each(|id| assert_eq!(ada.is_refused("forbidden")["id"], *id));
        let message = |topic: &str| json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": topic });
        assert_eq!([rig.accepted(message("room:1")), rig.accepted(message("user:ada"))], [0, 1]);
        let insert = |table: &str| change(table, "INSERT", json!({}), json!(null));
        assert_eq!([rig.accepted(insert("pay")), rig.accepted(insert("t"))], [0, 2]);
        others.frames();
    });
}

#[test]
fn a_refresh_that_takes_much_away_leaves_the_connection() {
    every_way(rooms(), |rig| {
        let ada = rig.connect("ada", &["member"]);
        let rooms: Vec<String> = (0..12).map(|n| format!("room:{n}")).collect();
        rooms.iter().for_each(|room| subscribe(rig, &ada, room, json!({ "topic": room })));
        let weaker = rig.token("ada", &["guest"]);
        rig.authenticate(&ada, &weaker);
        assert_eq!(ada.next()["type"], "auth_success");
        rooms.iter().for_each(|room| assert_eq!(ada.is_refused("forbidden")["id"], **room));
        assert_eq!((ada.closed(), rig.say("e")), (None, 1));
    });
}

/// With a list of subscriptions, even an empty one, a connection receives what it subscribed to and nothing else,
/// whatever happens to the subscriptions.
#[test]
fn a_list_of_subscriptions_is_all_that_is_received() {
    let realtime = json!({ "tables": { "secrets": { "requiredRoles": ["hr"] } },
        "channels": [{ "topic": "room:*", "read": {} }] });
    every_way(realtime, |rig| {
        let insert = |table: &str| change(table, "INSERT", json!({ "id": 1 }), json!(null));
        let message = json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "room:1" });
        let claims = rig.claims("ada", &["hr"]);
        let lists = [
            json!([]),
            json!([{ "id": "s", "topic": "room:1" }]),
            json!([{ "id": "s", "table": "secrets" }]),
            json!([{ "id": "s", "topic": "elsewhere" }]),
        ];
        for (list, received) in lists.into_iter().zip([[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]]) {
            let ada = rig.connect_saying(&claims, json!({ "subscriptions": list }));
            let sent = [insert("people"), insert("secrets"), message.clone()].map(|body| rig.accepted(body));
            assert_eq!(sent, received, "{list}");
            rig.frame(&ada, json!({ "type": "unsubscribe", "id": "s" }));
            let sent = [insert("people"), insert("secrets"), message.clone()].map(|body| rig.accepted(body));
            assert_eq!(sent, [0, 0, 0], "{list}, ended");
            assert_eq!(rig.say("everyone"), 0, "{list}");
            subscribe_after(rig, &ada);
            assert_eq!([insert("people"), insert("secrets")].map(|body| rig.accepted(body)), [1, 0], "{list}");
            rig.disconnect(&ada);
        }
        let ada = rig.connect_saying(&claims, json!({ "subscriptions": [{ "id": "s", "table": "secrets" }] }));
        let lesser = rig.token("ada", &[]);
        rig.authenticate(&ada, &lesser);
        assert_eq!(rig.accepted(insert("people")), 0, "a right that is lost opens nothing else");
        let eve = rig.connect("eve", &[]);
        assert_eq!(rig.accepted(insert("people")), 1, "without a list the default stands");
        eve.next();
    });
}

fn subscribe_after(rig: &mut Rig, client: &Client) {
    client.frames();
    subscribe(rig, client, "later", json!({ "table": "people" }));
}
