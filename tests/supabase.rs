//! Supabase's clients: channels on one socket, in both versions of the protocol, with and without interruptions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::dialect::phoenix::{V1, V2};
use realtime_worker::engine::event::Retained;
use rig::supabase::{join, joined, quiet, socket};
use rig::{Rig, every_way, token};
use serde_json::{Value, json};

fn realtime() -> Value {
    json!({
        "tables": {
            "people": { "masking": { "ssn": { "type": "ssn", "show": { "roles": ["hr"] } } }, "columns": { "id": "int4", "ssn": "text" } },
            "secrets": { "requiredRoles": ["hr"] }
        },
        "channels": [
            { "topic": "open:*", "read": {}, "write": {}, "presence": {}, "history": true },
            { "topic": "hr:*", "read": { "roles": ["hr"] }, "write": { "roles": ["hr"] } }
        ]
    })
}

fn insert(table: &str, row: Value) -> Value {
    json!({ "type": "postgres_changes", "table": table, "eventType": "INSERT", "new": row })
}

#[test]
fn changes_are_told_by_binding_and_masked_by_role() {
    every_way(realtime(), |rig| {
        let [member, hr] = [["member"], ["hr"]].map(|roles| socket(rig, V2, "ada", &roles));
        let bindings = json!([
            { "event": "*", "schema": "public", "table": "people" },
            { "event": "INSERT", "schema": "public", "table": "people", "filter": "id=gt.1" },
            { "event": "DELETE", "schema": "public" }
        ]);
        let config = json!({ "postgres_changes": bindings, "presence": { "enabled": false } });
        for client in [&member, &hr] {
            let response = joined(rig, client, "1", "room", config.clone());
            let answer = response["postgres_changes"].as_array().unwrap();
            for (number, (given, asked)) in (1..).zip(answer.iter().zip(bindings.as_array().unwrap())) {
                let mut expected = asked.clone();
                expected["id"] = json!(number);
                assert_eq!(*given, expected);
            }
            let live = client.next();
            assert_eq!((&live[3], &live[4]["message"]), (&json!("system"), &json!("Subscribed to PostgreSQL")));
        }
        assert_eq!(rig.accepted(insert("people", json!({ "id": 2, "ssn": "123-45-6789" }))), 2);
        for (client, ssn) in [(&member, "*****6789"), (&hr, "123-45-6789")] {
            let frame = client.next();
            assert_eq!((&frame[2], &frame[3]), (&json!("realtime:room"), &json!("postgres_changes")));
            assert_eq!(frame[4]["ids"], json!([1, 2]));
            let data = &frame[4]["data"];
            assert_eq!((&data["type"], &data["record"]), (&json!("INSERT"), &json!({ "id": 2, "ssn": ssn })));
            let columns = json!([{ "name": "id", "type": "int4" }, { "name": "ssn", "type": "text" }]);
            assert_eq!(data["columns"], columns);
            assert_eq!(data["commit_timestamp"], "2023-11-14T22:13:20.000Z");
        }
        // Neither another table's changes nor messages to everyone concern a channel.
        assert_eq!(rig.accepted(insert("elsewhere", json!({ "id": 1 }))) + rig.say("everyone"), 0);
    });
}

#[test]
fn selections_have_frames_of_their_own() {
    every_way(realtime(), |rig| {
        let ada = socket(rig, V2, "ada", &["hr"]);
        let bindings = json!([
            { "event": "*", "schema": "public", "table": "people", "select": ["name"] },
            { "event": "*", "schema": "public", "table": "people" }
        ]);
        joined(rig, &ada, "1", "room", json!({ "postgres_changes": bindings, "presence": { "enabled": false } }));
        ada.next();
        assert_eq!(rig.accepted(insert("people", json!({ "id": 1, "name": "a", "ssn": "x" }))), 2);
        let mut seen: Vec<Value> = ada.frames().iter().map(|frame| frame[4]["data"]["record"].clone()).collect();
        seen.sort_by_key(Value::to_string);
        assert_eq!(seen, [json!({ "id": 1, "name": "a", "ssn": "x" }), json!({ "id": 1, "name": "a" })]);
    });
}

#[test]
fn what_a_role_may_not_have_cannot_be_joined() {
    every_way(realtime(), |rig| {
        let ada = socket(rig, V2, "ada", &["member"]);
        let secrets = json!({ "postgres_changes": [{ "event": "*", "schema": "public", "table": "secrets" }] });
        for (topic, config, reason) in [
            ("room", secrets, "Unauthorized: You do not have permissions to read from this Channel topic: room"),
            (
                "hr:1",
                json!({ "private": true }),
                "Unauthorized: You do not have permissions to read from this Channel topic: hr:1",
            ),
            ("", json!({}), "TopicNameRequired: You must provide a topic name"),
            (
                "room",
                json!({ "broadcast": { "replay": { "since": 1 } } }),
                "UnableToReplayMessages: Replay is not allowed for public channels",
            ),
        ] {
            join(rig, &ada, "1", topic, config);
            let answer = ada.next();
            assert_eq!(answer[4], json!({ "status": "error", "response": { "reason": reason } }));
        }
        assert_eq!(rig.accepted(insert("secrets", json!({ "id": 1 }))), 0);
    });
}

#[test]
fn messages_pass_between_all_dialects() {
    every_way(realtime(), |rig| {
        let one = socket(rig, V1, "ada", &["member"]);
        rig.frame(&one, json!({ "topic": "realtime:open:1", "event": "phx_join", "ref": "1", "join_ref": "1",
            "payload": { "config": { "private": true, "broadcast": { "self": true, "ack": true }, "presence": { "enabled": false } } } }));
        let answer = json!({ "topic": "realtime:open:1", "event": "phx_reply", "ref": "1",
            "payload": { "status": "ok", "response": { "postgres_changes": [] } } });
        one.gets(answer);
        let two = socket(rig, V2, "bob", &["member"]);
        joined(rig, &two, "1", "open:1", json!({ "private": true, "presence": { "enabled": false } }));
        let native = rig.connect("eve", &["member"]);
        rig.frame(&native, json!({ "type": "subscribe", "id": "s", "topic": "open:1" }));
        native.next();
        rig.frame(
            &one,
            json!({ "topic": "realtime:open:1", "event": "broadcast", "ref": "2", "join_ref": "1",
            "payload": { "type": "broadcast", "event": "e", "payload": { "x": 1 } } }),
        );
        let message = json!({ "type": "broadcast", "event": "e", "payload": { "x": 1 }, "meta": { "id": "1" } });
        one.gets(json!({ "topic": "realtime:open:1", "event": "broadcast", "payload": message, "ref": null }));
        one.gets(json!({ "topic": "realtime:open:1", "event": "phx_reply", "ref": "2", "payload": { "status": "ok", "response": {} } }));
        two.gets(json!([null, null, "realtime:open:1", "broadcast", message]));
        native.gets(json!({ "type": "broadcast", "event": "e", "payload": { "x": 1 }, "topic": "open:1" }));
        // Raw bytes: a binary frame, base64, and nothing for the version that cannot express them.
        let mut frame = vec![3, 1, 1, 15, 1, 0, 0];
        frame.extend_from_slice(b"12realtime:open:1b");
        frame.extend_from_slice(&[1, 2, 255]);
        rig.binary(&two, &frame);
        native.gets(
            json!({ "type": "broadcast", "event": "b", "payload": "AQL/", "encoding": "base64", "topic": "open:1" }),
        );
        one.gets_nothing();
        two.gets_nothing();
    });
}

/// A binary frame's name may be mangled, so its reference identifies the channel, unless several or none have it.
#[test]
fn binary_frames_find_their_channel_by_reference_and_name() {
    every_way(realtime(), |rig| {
        let [ada, bob] = ["ada", "bob"].map(|user| socket(rig, V2, user, &["member"]));
        for topic in ["a", "b", "c"] {
            let reference = if topic == "c" { "2" } else { "1" };
            joined(rig, &ada, reference, topic, quiet());
            joined(rig, &bob, reference, topic, quiet());
        }
        for (reference, written, meant) in
            [("1", "b", "b"), ("1", "a", "a"), ("", "b", "b"), ("2", "b", "c"), ("9", "c", "c")]
        {
            let mut frame = vec![3, reference.len() as u8, 0, 10, 1, 0, 1];
            frame.extend_from_slice(format!("{reference}realtime:{written}e1").as_bytes());
            rig.binary(&ada, &frame);
            let message = json!({ "type": "broadcast", "event": "e", "payload": 1 });
            bob.gets(json!([null, null, format!("realtime:{meant}"), "broadcast", message]));
        }
    });
}

#[test]
fn a_replay_comes_first_and_is_marked() {
    every_way(realtime(), |rig| {
        for n in 1..=30 {
            rig.accepted(
                json!({ "type": "broadcast", "event": "e", "payload": n, "topic": "open:1", "id": format!("m{n}") }),
            );
        }
        rig.accepted(json!({ "type": "broadcast", "event": "e", "payload": 0, "topic": "open:2" }));
        let ada = socket(rig, V2, "ada", &["member"]);
        let replay = json!({ "since": rig.now, "limit": 3 });
        joined(
            rig,
            &ada,
            "7",
            "open:1",
            json!({ "private": true, "broadcast": { "replay": replay }, "presence": { "enabled": false } }),
        );
        for n in 28..=30 {
            let payload = json!({ "type": "broadcast", "event": "e", "payload": n, "meta": { "id": Retained::id_of(Some(&format!("m{n}")), 0), "replayed": true } });
            ada.gets(json!(["7", null, "realtime:open:1", "broadcast", payload]));
        }
        ada.gets_nothing();
    });
}

#[test]
fn presence_has_references_that_change_with_what_is_said() {
    every_way(realtime(), |rig| {
        let [ada, bob] = ["ada", "bob"].map(|user| socket(rig, V2, user, &["member"]));
        for (client, key) in [(&ada, "k"), (&bob, "k")] {
            joined(rig, client, "1", "open:1", json!({ "private": true, "presence": { "key": key } }));
            assert_eq!(client.next(), json!(["1", null, "realtime:open:1", "presence_state", {}]));
        }
        let track = |payload: Value| json!(["1", "2", "realtime:open:1", "presence", { "type": "presence", "event": "track", "payload": payload }]);
        rig.frame(&ada, track(json!({ "n": 1 })));
        assert_eq!(ada.next()[4], json!({ "status": "ok", "response": {} }));
        let join = ada.next();
        assert_eq!(bob.next(), join);
        let first = join[4]["joins"]["k"]["metas"][0].clone();
        assert_eq!(first["n"], 1);
        rig.frame(&ada, track(json!({ "n": 2 })));
        ada.next();
        let update = bob.next();
        assert_eq!(update[4]["leaves"]["k"]["metas"][0], first);
        let second = &update[4]["joins"]["k"]["metas"][0];
        assert_eq!((&second["phx_ref_prev"], &second["n"]), (&first["phx_ref"], &json!(2)));
        rig.frame(&bob, track(json!({ "n": 3 })));
        let eve = socket(rig, V2, "eve", &["member"]);
        joined(rig, &eve, "1", "open:1", json!({ "private": true }));
        assert_eq!(eve.next()[4]["k"]["metas"].as_array().unwrap().len(), 2);
        rig.disconnect(&bob);
        assert_eq!(eve.next()[4]["leaves"]["k"]["metas"][0]["n"], 3);
        rig.frame(&ada, json!(["1", "9", "realtime:open:1", "phx_leave", {}]));
        assert_eq!(eve.next()[4]["leaves"]["k"]["metas"][0]["n"], 2);
    });
}

#[test]
fn a_second_join_closes_the_first_and_leaving_ends_it() {
    every_way(realtime(), |rig| {
        let ada = socket(rig, V2, "ada", &["member"]);
        joined(rig, &ada, "1", "room", quiet());
        join(rig, &ada, "2", "room", quiet());
        ada.gets(json!(["1", "1", "realtime:room", "phx_close", {}]));
        assert_eq!(ada.next()[4]["status"], "ok");
        rig.frame(&ada, json!([null, "3", "phoenix", "heartbeat", {}]));
        ada.gets(json!([null, "3", "phoenix", "phx_reply", { "status": "ok", "response": {} }]));
        rig.frame(&ada, json!(["2", "4", "realtime:room", "phx_leave", {}]));
        ada.gets(json!(["2", "4", "realtime:room", "phx_reply", { "status": "ok", "response": {} }]));
        ada.gets(json!(["2", "2", "realtime:room", "phx_close", {}]));
        rig.frame(&ada, json!(["2", "5", "realtime:room", "broadcast", { "type": "broadcast", "event": "e" }]));
        let reason = json!({ "status": "error", "response": { "reason": "unmatched topic" } });
        ada.gets(json!([null, "5", "realtime:room", "phx_reply", reason]));
        assert_eq!(rig.stats()["byDialect"], json!({ "supabase": 1 }));
    });
}

#[test]
fn a_channel_ends_with_its_token_and_goes_on_with_a_fresh_one() {
    every_way(realtime(), |rig| {
        let ada = socket(rig, V2, "ada", &["member"]);
        let mut claims = rig.claims("ada", &["hr"]);
        claims["exp"] = json!(rig.now / 1_000 + 60);
        for topic in ["hr:1", "hr:2"] {
            let payload = json!({ "config": { "private": true, "presence": { "enabled": false } }, "access_token": token::hs256(&claims) });
            rig.frame(&ada, json!(["1", "1", format!("realtime:{topic}"), "phx_join", payload]));
            assert_eq!(ada.next()[4]["status"], "ok");
        }
        let fresh = rig.token("ada", &["hr"]);
        rig.frame(&ada, json!(["1", "2", "realtime:hr:1", "access_token", { "access_token": fresh }]));
        rig.advance(60_000);
        let told = ada.next();
        assert_eq!((&told[2], &told[3]), (&json!("realtime:hr:2"), &json!("system")));
        assert_eq!(told[4]["message"], "Token has expired 0 seconds ago");
        ada.gets(json!(["1", "1", "realtime:hr:2", "phx_close", {}]));
        let lesser = rig.token("ada", &["member"]);
        rig.frame(&ada, json!(["1", "3", "realtime:hr:1", "access_token", { "access_token": lesser }]));
        let told = ada.next();
        assert_eq!(told[4]["message"], "You do not have permissions to read from this Channel topic: hr:1");
        ada.gets(json!(["1", "1", "realtime:hr:1", "phx_close", {}]));
        ada.gets_nothing();
        assert_eq!(ada.closed(), None);
    });
}

/// Tokens that are invalid at `now`, each with the kind and sentence of its refusal.
fn bad_tokens(now: u64) -> Vec<(String, &'static str, &'static str)> {
    let seconds = now / 1_000;
    let good = json!({ "sub": "ada", "org_id": rig::ORGANIZATION, "exp": seconds + 60 });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        token::hs256(&claims)
    };
    let mut forged = token::hs256(&good);
    forged.replace_range(forged.len() - 10.., "AAAAAAAAAA");
    let signature = "Failed to validate JWT signature";
    vec![
        ("nonsense".to_owned(), "MalformedJWT", "The token provided is not a valid JWT"),
        (with("exp", json!(null)), "InvalidJWTToken", "Fields `role` and `exp` are required in JWT"),
        (with("exp", json!(seconds - 60)), "InvalidJWTToken", "Token has expired 60 seconds ago"),
        (forged, "JwtSignatureError", signature),
        (with("nbf", json!(seconds + 600)), "JwtSignatureError", signature),
        (with("org_id", json!("org_2")), "JwtSignatureError", signature),
    ]
}

#[test]
fn a_bad_token_is_told_what_is_wrong_with_it() {
    every_way(realtime(), |rig| {
        let ada = socket(rig, V2, "ada", &["member"]);
        for (token, kind, sentence) in bad_tokens(rig.now) {
            let payload = json!({ "config": quiet(), "access_token": token });
            rig.frame(&ada, json!(["1", "1", "realtime:room", "phx_join", payload]));
            let response = json!({ "reason": format!("{kind}: {sentence}") });
            ada.gets(json!(["1", "1", "realtime:room", "phx_reply", { "status": "error", "response": response }]));
            joined(rig, &ada, "2", "room", quiet());
            rig.frame(&ada, json!(["2", "3", "realtime:room", "access_token", { "access_token": token }]));
            assert_eq!(ada.next()[4]["message"], sentence);
            ada.gets(json!(["2", "2", "realtime:room", "phx_close", {}]));
        }
        // A token within the clock skew of its expiry would end its channel at once, so it may join none.
        let mut claims = rig.claims("ada", &["member"]);
        claims["exp"] = json!(rig.now / 1_000 - 3);
        let payload = json!({ "config": quiet(), "access_token": token::hs256(&claims) });
        rig.frame(&ada, json!(["1", "1", "realtime:room", "phx_join", payload]));
        assert_eq!(ada.next()[4]["response"]["reason"], "InvalidJWTToken: Token has expired 3 seconds ago");
    });
}

#[test]
fn no_frame_of_any_form_ends_in_a_panic_or_reaches_another() {
    let frames = [
        json!(["1", "1", "realtime:open:1", "phx_join", { "config": { "private": true, "postgres_changes": [{ "event": "*", "table": "people", "filter": "id=in.(1,2)", "select": ["id"] }], "broadcast": { "replay": { "since": 1 } }, "presence": { "key": 7 } }, "access_token": "x" }]),
        json!(["1", "2", "realtime:open:1", "broadcast", { "type": "broadcast", "event": "e", "payload": { "x": [1] } }]),
        json!(["1", "3", "realtime:open:1", "presence", { "type": "presence", "event": "track", "payload": { "a": 1 } }]),
        json!(["1", "4", "realtime:open:1", "access_token", { "access_token": "x.y.z" }]),
    ];
    let witness_sees = |rig: &mut Rig, text: &str| {
        let witness = rig.connect("eve", &["member"]);
        let ada = socket(rig, V2, "ada", &["member"]);
        join(rig, &ada, "0", "room", quiet());
        rig.text(&ada, text);
        assert!(rig.stats()["connections"].as_u64().unwrap() >= 1);
        witness.gets_nothing();
    };
    for frame in frames {
        let text = frame.to_string();
        for end in 0..text.len() {
            let mut rig = Rig::new(&realtime());
            witness_sees(&mut rig, text.get(..end).unwrap());
        }
    }
}
