//! Publishing: one event or several, every field, idempotency, order, the rate limit, and the publisher's answer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::{Rig, every_way};
use serde_json::{Value, json};

fn insert(id: &str) -> Value {
    json!({ "type": "postgres_changes", "table": "claims", "eventType": "INSERT", "new": { "id": id } })
}

fn seen_insert(id: &str) -> Value {
    json!({ "type": "postgres_changes", "table": "claims", "eventType": "INSERT", "schema": "public",
        "new": { "id": id }, "old": null })
}

#[test]
fn one_event_reaches_everyone_of_the_organization() {
    every_way(json!({}), |rig| {
        let clients = [rig.connect("ada", &["admin"]), rig.connect("bob", &[])];
        let silent = rig.open();
        let answer = rig.publish(insert("c1"));
        let expected = json!({ "accepted": 1, "duplicate": false, "epoch": rig.epoch(), "offset": 1, "delivered": 2 });
        assert_eq!((answer.status, answer.body), (202, expected));
        clients.iter().for_each(|client| client.gets(seen_insert("c1")));
        silent.gets_nothing();
    });
}

#[test]
fn the_three_operations_keep_the_rows_they_need() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &[]);
        let publish = |rig: &mut Rig, operation: &str, new: Value, old: Value| {
            rig.accepted(json!({ "type": "postgres_changes", "schema": "app", "table": "t", "eventType": operation,
                "new": new, "old": old }));
        };
        let cases = [
            ("INSERT", json!({ "a": 1 }), json!({ "b": 2 }), json!({ "a": 1 }), json!(null)),
            ("UPDATE", json!({ "a": 1 }), json!({ "a": 0 }), json!({ "a": 1 }), json!({ "a": 0 })),
            ("UPDATE", json!({ "a": 1 }), json!(null), json!({ "a": 1 }), json!(null)),
            ("DELETE", json!({ "a": 1 }), json!({ "b": 2 }), json!(null), json!({ "b": 2 })),
            ("DELETE", json!(null), json!({ "b": 2 }), json!(null), json!({ "b": 2 })),
        ];
        for (operation, new, old, seen_new, seen_old) in cases {
            publish(rig, operation, new, old);
            ada.gets(json!({ "type": "postgres_changes", "table": "t", "eventType": operation, "schema": "app",
                "new": seen_new, "old": seen_old }));
        }
    });
}

#[test]
fn a_batch_is_delivered_in_its_order() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &[]);
        let messages: Vec<Value> = (0..100).map(|n| insert(&n.to_string())).collect();
        let answer = rig.publish(json!({ "messages": messages }));
        assert_eq!((answer.body["accepted"].as_u64(), answer.body["offset"].as_u64()), (Some(100), Some(100)));
        assert_eq!(answer.body["delivered"], 100);
        (0..100).for_each(|n| ada.gets(seen_insert(&n.to_string())));
    });
}

#[test]
fn a_batch_is_refused_as_one() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &[]);
        let mut messages: Vec<Value> = (0..3).map(|n| insert(&n.to_string())).collect();
        messages.push(json!({ "type": "postgres_changes", "table": "claims", "eventType": "UPSERT", "new": {} }));
        let answer = rig.publish(json!({ "messages": messages }));
        assert_eq!((answer.status, &answer.body["error"]["field"]), (400, &json!("messages[3].eventType")));
        let many = vec![insert("x"); 101];
        assert_eq!(rig.publish(json!({ "messages": many })).body["error"]["field"], "messages");
        assert_eq!(rig.publish(json!({ "messages": [] })).body["error"]["field"], "messages");
        let own = json!({ "organizationId": "org_2", "type": "broadcast", "event": "e", "payload": 1 });
        assert_eq!(rig.publish(json!({ "messages": [own] })).body["error"]["field"], "messages[0].organizationId");
        ada.gets_nothing();
        assert!(rig.storage.history.is_empty(), "a refused request leaves nothing behind");
    });
}

#[test]
fn the_audience_is_the_user_and_the_roles() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &["admin"]);
        let other_ada = rig.connect("ada", &["member"]);
        let bob = rig.connect("bob", &["admin", "hr"]);
        let message = |user: Value, roles: Value| {
            let mut body = json!({ "type": "broadcast", "event": "e", "payload": {} });
            let fields = [("userId", user), ("targetRoles", roles)].into_iter().filter(|(_, value)| !value.is_null());
            fields.for_each(|(name, value)| body[name] = value);
            body
        };
        let cases = [
            (json!(null), json!(null), [1, 1, 1]),
            (json!("ada"), json!(null), [1, 1, 0]),
            (json!(null), json!(["hr", "member"]), [0, 1, 1]),
            (json!("ada"), json!(["admin"]), [1, 0, 0]),
            (json!("bob"), json!(["member"]), [0, 0, 0]),
            (json!("nobody"), json!(null), [0, 0, 0]),
            (json!(null), json!([]), [0, 0, 0]),
        ];
        for (user, roles, expected) in cases {
            let delivered = rig.accepted(message(user.clone(), roles.clone()));
            let counts = [&ada, &other_ada, &bob].map(|client| client.frames().len());
            assert_eq!((counts, delivered), (expected, counts.iter().sum::<usize>() as u64), "{user} {roles}");
        }
    });
}

#[test]
fn only_the_named_fields_leave() {
    every_way(json!({ "tables": { "claims": { "fields": ["id", "title"] } } }), |rig| {
        let ada = rig.connect("ada", &[]);
        let row = |n: u64| json!({ "id": n, "title": "t", "secret": "s", "nested": { "id": 1 } });
        let publish = |rig: &mut Rig, table: &str, fields: Value| {
            rig.accepted(json!({ "type": "postgres_changes", "table": table, "eventType": "UPDATE", "new": row(2),
                "old": row(1), "fields": fields }));
            let frame = ada.next();
            [frame["new"].clone(), frame["old"].clone()]
        };
        let seen = publish(rig, "other", json!(["secret", "nested", "missing"]));
        assert_eq!(
            seen,
            [json!({ "secret": "s", "nested": { "id": 1 } }), json!({ "secret": "s", "nested": { "id": 1 } })]
        );
        let seen = publish(rig, "claims", json!(["id", "secret"]));
        assert_eq!(seen, [json!({ "id": 2 }), json!({ "id": 1 })], "both lists hold");
        assert_eq!(publish(rig, "other", json!([])), [json!({}), json!({})]);
    });
}

#[test]
fn a_topic_is_for_its_subscribers() {
    every_way(json!({ "channels": [{ "topic": "room:*", "read": {} }] }), |rig| {
        let ada = rig.connect("ada", &[]);
        let bob = rig.connect("bob", &[]);
        rig.frame(&ada, json!({ "type": "subscribe", "id": "s", "topic": "room:1" }));
        rig.frame(&bob, json!({ "type": "subscribe", "id": "s", "topic": "room:1", "private": false }));
        [&ada, &bob].iter().for_each(|client| client.gets(json!({ "type": "subscribed", "id": "s" })));
        let message = json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "room:1" });
        let mut public = message.clone();
        public["private"] = json!(false);
        assert_eq!(rig.accepted(message.clone()), 1);
        ada.gets(message.clone());
        bob.gets_nothing();
        assert_eq!(rig.accepted(public), 1);
        bob.gets(message);
        ada.gets_nothing();
        let mut change = insert("c1");
        change["topic"] = json!("room:1");
        rig.accepted(change);
        let mut seen = seen_insert("c1");
        seen["topic"] = json!("room:1");
        ada.gets(seen);
    });
}

#[test]
fn payloads_leave_as_they_came() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &[]);
        let payloads = [
            "null",
            "true",
            "-0",
            "1e400",
            "9007199254740993",
            "1.10",
            "\"\\ud800\"",
            "\"\\u00e9\\n\\u0000\"",
            "[ ]",
            "[1, [2]]",
            "{ \"b\" : 1,\"a\":{\"x\":[ ]} }",
            "\"<\u{2028}\u{1F600}>\"",
        ];
        for payload in payloads {
            let body = format!(
                "{{\"organizationId\":\"org_1\",\"type\":\"broadcast\",\"event\":\"e\",\"payload\":{payload}}}"
            );
            assert_eq!(rig.publish_text(&body).status, 202, "{payload}");
            assert_eq!(ada.next_text(), format!("{{\"type\":\"broadcast\",\"event\":\"e\",\"payload\":{payload}}}"));
        }
    });
}

#[test]
fn bytes_leave_as_base64() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &[]);
        let bytes = json!({ "type": "broadcast", "event": "e", "payload": "AQL/", "encoding": "base64" });
        rig.accepted(bytes.clone());
        ada.gets(bytes.clone());
        let wrong = [
            ("payload", json!("AQL_"), "payload"),
            ("payload", json!({}), "payload"),
            ("encoding", json!("hex"), "encoding"),
            ("encoding", json!(null), "encoding"),
            ("maskingConfig", json!({ "a": { "type": "ssn" } }), "maskingConfig"),
        ];
        for (name, value, field) in wrong {
            let mut body = bytes.clone();
            body[name] = value;
            let answer = rig.publish(body.clone());
            assert_eq!((answer.status, &answer.body["error"]["field"]), (400, &json!(field)), "{body}");
        }
        ada.gets_nothing();
    });
}

#[test]
fn what_needs_no_recovery_is_not_kept() {
    let tables = json!({ "tables": { "quiet": { "history": false } } });
    every_way(tables, |rig| {
        let ada = rig.connect("ada", &[]);
        let kept = |rig: &Rig| rig.storage.history.len();
        let message = |history: bool| json!({ "type": "broadcast", "event": "e", "payload": 1, "history": history });
        let row = |table: &str, history: bool| json!({ "type": "postgres_changes", "table": table, "eventType": "INSERT", "new": {}, "history": history });
        for body in [message(false), row("claims", false), row("quiet", false), row("quiet", true)] {
            rig.accepted(body.clone());
            assert_eq!((kept(rig), ada.frames().len()), (0, 1), "{body}");
        }
        rig.accepted(json!({ "messages": [message(true), row("claims", true), message(false)] }));
        assert_eq!((kept(rig), ada.frames().len()), (2, 3));
        let from = json!({ "recover": { "epoch": rig.epoch(), "offset": 0 } });
        assert_eq!(rig.connect_saying(&rig.claims("bob", &[]), from).frames().len(), 2);
        let answer = rig.publish(json!({ "type": "broadcast", "event": "e", "payload": 1, "history": "no" }));
        assert_eq!((answer.status, &answer.body["error"]["field"]), (400, &json!("history")));
    });
}

#[test]
fn a_publisher_may_say_its_columns_types() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &[]);
        let mut change = insert("c1");
        change["columns"] = json!({ "id": "uuid", "amount": "numeric" });
        rig.accepted(change.clone());
        ada.gets(seen_insert("c1"));
        let wrong = [json!(["id"]), json!({ "id": 7 }), json!({ "id": "" }), json!(null)];
        for (columns, field) in wrong.into_iter().zip(["columns", "columns.id", "columns.id", "columns"]) {
            change["columns"] = columns;
            let answer = rig.publish(change.clone());
            assert_eq!((answer.status, &answer.body["error"]["field"]), (400, &json!(field)), "{change}");
        }
        let message = json!({ "type": "broadcast", "event": "e", "payload": {}, "columns": { "id": "uuid" } });
        assert_eq!(rig.publish(message).body["error"]["field"], "columns");
        ada.gets_nothing();
    });
}

#[test]
fn an_idempotency_key_counts_once_within_its_window() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &[]);
        let mut body = insert("c1");
        body["id"] = json!("key 1");
        let first = rig.publish(body.clone());
        rig.say("between");
        rig.advance(10 * 60_000 - 1);
        let again = rig.publish(body.clone());
        assert_eq!(
            again.body,
            json!({ "accepted": 1, "duplicate": true, "epoch": rig.epoch(), "offset": 1, "delivered": 1 })
        );
        assert_eq!(first.body["duplicate"], false);
        assert_eq!(ada.frames().len(), 2);
        rig.advance(1);
        let late = rig.publish(body);
        assert_eq!((&late.body["duplicate"], &late.body["offset"]), (&json!(false), &json!(3)));
        ada.gets(seen_insert("c1"));
    });
}

#[test]
fn a_key_repeated_within_a_batch_counts_once() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &[]);
        let keyed = |id: &str, key: &str| {
            let mut body = insert(id);
            body["id"] = json!(key);
            body
        };
        let answer =
            rig.publish(json!({ "messages": [keyed("a", "1"), keyed("b", "1"), insert("c"), keyed("d", "2")] }));
        assert_eq!(answer.body["accepted"], 4);
        assert_eq!((&answer.body["duplicate"], &answer.body["offset"]), (&json!(false), &json!(3)));
        ["a", "c", "d"].iter().for_each(|id| ada.gets(seen_insert(id)));
        let answer = rig.publish(json!({ "messages": [keyed("a", "1"), keyed("d", "2")] }));
        let expected = json!({ "accepted": 2, "duplicate": true, "epoch": rig.epoch(), "offset": 3, "delivered": 2 });
        assert_eq!(answer.body, expected);
        let answer = rig.publish(json!({ "messages": [keyed("a", "1"), keyed("e", "3")] }));
        assert_eq!((&answer.body["duplicate"], &answer.body["offset"]), (&json!(false), &json!(4)));
        ada.gets(seen_insert("e"));
        ada.gets_nothing();
    });
}

#[test]
fn old_keys_are_forgotten_a_few_at_a_time() {
    let mut rig = Rig::new(&json!({}));
    let keyed = |n: usize| json!({ "type": "broadcast", "event": "e", "payload": 1, "id": n.to_string() });
    for n in 0..40 {
        rig.accepted(keyed(n));
    }
    rig.advance(10 * 60_000);
    for n in 40..60 {
        rig.accepted(keyed(n));
    }
    assert_eq!(rig.storage.idempotency.len(), 20, "only what is within the window is left");
}

#[test]
fn the_rate_limit_is_of_the_organization() {
    every_way(json!({ "limits": { "publicationsPerSecond": 50 } }), |rig| {
        let ada = rig.connect("ada", &[]);
        let batch = |count: usize| json!({ "messages": vec![insert("c"); count] });
        assert_eq!(rig.publish(batch(100)).status, 202, "a batch as large as the burst goes through");
        assert_eq!(ada.frames().len(), 100);
    });
    let mut rig = Rig::new(&json!({ "limits": { "publicationsPerSecond": 10 } }));
    let ada = rig.connect("ada", &[]);
    for _ in 0..20 {
        rig.say("e");
    }
    let refused = rig.publish(insert("c1"));
    assert_eq!((refused.status, &refused.body["error"]["code"]), (429, &json!("rate_limited")));
    assert_eq!(refused.retry_after, Some(1));
    assert_eq!(ada.frames().len(), 20, "what is refused is not delivered");
    rig.advance(1_000);
    for _ in 0..10 {
        rig.say("e");
    }
    assert_eq!(rig.publish(insert("c1")).status, 429);
}

#[test]
fn a_wrong_body_is_refused_by_its_path() {
    let cases = [
        (json!({ "type": "broadcast", "event": "e" }), "payload"),
        (json!({ "type": "broadcast", "payload": 1 }), "event"),
        (json!({ "type": "broadcast", "event": "", "payload": 1 }), "event"),
        (json!({ "type": "message", "event": "e", "payload": 1 }), "type"),
        (json!({ "type": "broadcast", "event": "e", "payload": 1, "targetRole": ["a"] }), "targetRole"),
        (json!({ "type": "broadcast", "event": "e", "payload": 1, "fields": ["a"] }), "fields"),
        (json!({ "type": "broadcast", "event": "e", "payload": 1, "private": true }), "private"),
        (json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "x".repeat(256) }), "topic"),
        (json!({ "type": "broadcast", "event": "e", "payload": 1, "id": "" }), "id"),
        (json!({ "type": "broadcast", "event": "e", "payload": 1, "id": "x".repeat(256) }), "id"),
        (json!({ "type": "postgres_changes", "table": "t", "eventType": "INSERT" }), "new"),
        (json!({ "type": "postgres_changes", "table": "t", "eventType": "INSERT", "new": [] }), "new"),
        (json!({ "type": "postgres_changes", "table": "t", "eventType": "UPDATE", "old": {} }), "new"),
        (json!({ "type": "postgres_changes", "table": "t", "eventType": "DELETE", "new": {} }), "old"),
        (json!({ "type": "postgres_changes", "eventType": "INSERT", "new": {} }), "table"),
        (json!({ "type": "broadcast", "event": "e", "payload": 1, "organizationId": "a b" }), "organizationId"),
        (
            json!({ "type": "broadcast", "event": "e", "payload": 1, "organizationId": "x".repeat(129) }),
            "organizationId",
        ),
        (
            json!({ "type": "broadcast", "event": "e", "payload": 1, "maskingConfig": { "a": {} } }),
            "maskingConfig.a.type",
        ),
    ];
    let mut rig = Rig::new(&json!({}));
    for (body, field) in cases {
        let answer = rig.publish(body.clone());
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!("invalid_request")), "{body}");
        assert_eq!(answer.body["error"]["field"], field, "{body}");
    }
    let mask = json!({ "type": "broadcast", "event": "e", "payload": 1, "maskingConfig": { "a": { "type": "x" } } });
    assert_eq!(rig.publish(mask).body["error"]["code"], "unknown_mask_type");
}
