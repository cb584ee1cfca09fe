//! Malformed input of Supabase's clients: whatever value any key has, nobody else receives anything, nothing panics,
//! and the socket still answers a heartbeat.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::dialect::phoenix::{V1, V2};
use realtime_worker::engine::command::Recover;
use realtime_worker::engine::input::DialectId;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use rig::{Client, Rig};
use serde_json::{Value, json};

/// Two sockets of one attacker, one in each version, and a witness who must receive nothing.
struct Bench {
    rig: Rig,
    attackers: [(DialectId, Client); 2],
    witness: Client,
    beats: u64,
}

impl Bench {
    fn new() -> Bench {
        let limits = json!({ "errorsPerMinute": 1_000_000_000_u64, "framesPerSecond": 1_000_000_000_u64, "joinsPerSecond": 1_000_000_000_u64,
            "publicationsPerSecond": 1_000_000_000_u64 });
        let channels =
            json!([{ "topic": "room:*", "read": {}, "write": { "roles": ["hr"] }, "presence": { "roles": ["hr"] } }]);
        let realtime = json!({ "limits": limits, "channels": channels, "publicTopics": false });
        let mut rig = Rig::new(&realtime);
        let attackers = [V1, V2].map(|dialect| (dialect, socket(&mut rig, dialect)));
        let witness = socket(&mut rig, V2);
        let config = json!({ "private": true, "postgres_changes": [{ "event": "*", "table": "t" }] });
        rig.frame(&witness, json!(["1", "1", "realtime:room:1", "phx_join", { "config": config }]));
        assert_eq!(witness.next()[4]["status"], "ok");
        witness.frames();
        Bench { rig, attackers, witness, beats: 0 }
    }

    /// Pushes a payload in both versions, with a channel and without.
    #[track_caller]
    fn pushes(&mut self, event: &str, payload: &str) {
        for (dialect, attacker) in self.attackers.clone() {
            let text = match dialect {
                V1 => {
                    format!(
                        r#"{{"topic":"realtime:room:1","event":"{event}","payload":{payload},"ref":"1","join_ref":"1"}}"#
                    )
                }
                _ => format!(r#"["1","1","realtime:room:1","{event}",{payload}]"#),
            };
            self.rig.text(&attacker, &text);
            self.beats(dialect, &attacker, &text);
        }
    }

    /// The socket answers, and the witness has received nothing.
    #[track_caller]
    fn beats(&mut self, dialect: DialectId, attacker: &Client, sent: &str) {
        let sent: String = sent.chars().take(300).collect();
        // An answer may repeat a binding that browsers accept as JSON and this reader does not.
        (0..attacker.waiting()).for_each(|_| drop(attacker.next_text()));
        self.beats += 1;
        let beat = self.beats.to_string();
        let answer = json!({ "status": "ok", "response": {} });
        if dialect == V1 {
            self.rig.frame(attacker, json!({ "topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": beat }));
            let expected = json!({ "topic": "phoenix", "event": "phx_reply", "payload": answer, "ref": beat });
            assert_eq!(attacker.frames(), [expected], "{sent}");
        } else {
            self.rig.frame(attacker, json!([null, beat, "phoenix", "heartbeat", {}]));
            assert_eq!(attacker.frames(), [json!([null, beat, "phoenix", "phx_reply", answer])], "{sent}");
        }
        assert_eq!((self.witness.frames(), attacker.closed()), (Vec::new(), None), "{sent}");
    }
}

fn socket(rig: &mut Rig, dialect: DialectId) -> Client {
    let principal = Principal {
        user: Some("mallory".to_owned()),
        roles: Roles::new(["member".to_owned()]),
        method: Method::Session,
        expires: None,
        claims: Default::default(),
        all_claims: None,
        grants: Default::default(),
    };
    rig.open_at(dialect, Some(principal), None, Recover::Off).unwrap()
}

/// The documented payloads, with all possible keys.
fn payloads() -> Vec<(&'static str, Value)> {
    let binding = json!({ "event": "UPDATE", "schema": "public", "table": "a", "filter": "id=gt.0", "select": ["id"] });
    let config = json!({
        "broadcast": { "self": false, "ack": true, "replay": { "since": 1_700_000_000_000_u64, "limit": 10 }, "replication_ready": true },
        "presence": { "key": "u1", "enabled": true }, "postgres_changes": [binding], "private": true,
        "postgres_changes_options": { "wait": true, "timeout": 3000 }
    });
    vec![
        ("phx_join", json!({ "config": config })),
        ("phx_join", json!({ "config": { "private": true }, "access_token": "x.y.z", "user_token": "x" })),
        ("broadcast", json!({ "type": "broadcast", "event": "e", "payload": { "x": 1 } })),
        ("presence", json!({ "type": "presence", "event": "track", "payload": { "a": 1 } })),
        ("presence", json!({ "type": "presence", "event": "untrack" })),
        ("access_token", json!({ "access_token": "x.y.z" })),
        ("phx_leave", json!({})),
    ]
}

/// Replacement values as JSON text; some are not valid for any reader.
fn odd_values() -> Vec<String> {
    let texts = [
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "1e400",
        "-1e400",
        "18446744073709551616",
        "\"\"",
        "\"NaN\"",
        "\"true\"",
        "[]",
        "[null]",
        "[[]]",
        "{}",
        "[{}]",
        "{\"\":1}",
        "[1e400,{\"table\":1}]",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"a\\udc00b\"",
        "{\"\\ud800\":1}",
        "{\"a\":1,\"a\":2}",
        "[{\"table\":\"t\",\"table\":\"u\"}]",
        "[{\"id\":9}]",
        "[{ }]",
    ];
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(5_000), close.repeat(5_000));
    let long = [format!("\"{}\"", "x".repeat(5_000)), "9".repeat(5_000), deep("[", "]"), deep("{\"a\":", "}")];
    texts.into_iter().map(str::to_owned).chain(long).collect()
}

/// A marker for an odd value, some of which can only be expressed as JSON text.
const HOLE: &str = "@hole@";

/// The value once for each nested value, with a hole in its place.
fn holes(value: &Value) -> Vec<Value> {
    let within: Vec<Value> = match value {
        Value::Object(members) => {
            let with = |key: &String, hole| members.clone().into_iter().chain([(key.clone(), hole)]).collect();
            members.iter().flat_map(|(key, one)| holes(one).into_iter().map(move |hole| with(key, hole))).collect()
        }
        Value::Array(elements) => {
            let with = |index: usize, hole| {
                let mut elements = elements.clone();
                elements[index] = hole;
                Value::Array(elements)
            };
            let each = elements.iter().enumerate();
            each.flat_map(|(index, one)| holes(one).into_iter().map(move |hole| with(index, hole))).collect()
        }
        _ => Vec::new(),
    };
    within.into_iter().chain([json!(HOLE)]).collect()
}

#[test]
fn any_value_at_any_key_of_a_payload() {
    let mut bench = Bench::new();
    for (event, payload) in payloads() {
        for hole in holes(&payload) {
            for odd in odd_values() {
                bench.pushes(event, &hole.to_string().replacen(&format!("\"{HOLE}\""), &odd, 1));
            }
        }
    }
}

#[test]
fn any_value_in_place_of_a_part_of_a_frame() {
    let mut bench = Bench::new();
    let two = json!(["1", "1", "realtime:room:1", "broadcast", { "event": "e" }]);
    let one = json!({ "topic": "realtime:room:1", "event": "broadcast", "payload": {}, "ref": "1", "join_ref": "1" });
    for (frame, (dialect, attacker)) in [one, two].into_iter().zip(bench.attackers.clone()) {
        for hole in holes(&frame) {
            for odd in odd_values() {
                let text = hole.to_string().replacen(&format!("\"{HOLE}\""), &odd, 1);
                bench.rig.text(&attacker, &text);
                bench.beats(dialect, &attacker, &text);
            }
        }
    }
}

/// Whichever one is used, another reader of the frame might use the other.
#[test]
fn a_key_that_stands_twice_is_not_understood() {
    let mut bench = Bench::new();
    let (_, two) = bench.attackers[1].clone();
    let push = |event: &str, payload: &str| format!(r#"["1","1","realtime:room:1","{event}",{payload}]"#);
    for (one, other) in [(true, false), (false, true)] {
        let payload = format!(r#"{{"config":{{"private":{one},"priv\u0061te":{other}}}}}"#);
        bench.rig.text(&two, &push("phx_join", &payload));
        let reason = json!({ "reason": "PrivateOnly: This project only allows private channels" });
        assert_eq!(two.next()[4], json!({ "status": "error", "response": reason }));
    }
    let config = r#"{"config":{"private":true,"broadcast":{"ack":true},"presence":{"enabled":false}}}"#;
    bench.rig.text(&two, &push("phx_join", config));
    assert_eq!(two.next()[4]["status"], "ok");
    // A client that intended it learns that it is not allowed.
    bench.rig.text(&two, &push("broadcast", r#"{"event":"a","payload":1}"#));
    assert_eq!(two.next()[4]["response"], json!({ "error": "unauthorized" }));
    bench.rig.text(&two, &push("broadcast", r#"{"event":"a","event":"b","payload":1}"#));
    two.gets_nothing();
    bench.rig.text(&two, &push("presence", r#"{"event":"track","payload":{"a":1,"\u0061":2}}"#));
    assert_eq!(two.next()[4]["response"], json!({ "reason": "Presence track payload must be a map" }));
    bench.beats(V2, &two, "keys that stand twice");
}

#[test]
fn binary_frames_of_every_length() {
    let mut bench = Bench::new();
    for (dialect, attacker) in bench.attackers.clone() {
        for length in 0..300_usize {
            for kind in [0, 1, 3, 4, 255] {
                let bytes: Vec<u8> = (0..length).map(|n| if n == 0 { kind } else { (n * 31 % 256) as u8 }).collect();
                bench.rig.binary(&attacker, &bytes);
                bench.beats(dialect, &attacker, &format!("{kind} and {length} bytes"));
            }
        }
    }
}

#[test]
fn a_socket_that_errs_too_often_ends_with_its_channels() {
    let mut rig = Rig::new(&json!({ "limits": { "errorsPerMinute": 3 } }));
    let (mallory, witness) = (socket(&mut rig, V2), socket(&mut rig, V2));
    for client in [&mallory, &witness] {
        rig.frame(
            client,
            json!(["1", "1", "realtime:room:1", "phx_join", { "config": { "presence": { "key": "k" } } }]),
        );
        assert_eq!(client.next()[4]["status"], "ok");
        client.frames();
    }
    let track = json!({ "type": "presence", "event": "track", "payload": {} });
    rig.frame(&mallory, json!(["1", "2", "realtime:room:1", "presence", track]));
    assert!(witness.next()[4]["joins"]["k"].is_object());
    mallory.frames();
    for text in ["", "{}"] {
        rig.text(&mallory, text);
        assert_eq!(mallory.closed(), None, "{text}");
    }
    rig.text(&mallory, "[1]");
    mallory.is_closed(1008, "too_many_errors");
    assert!(witness.next()[4]["leaves"]["k"].is_object());
    assert_eq!(rig.stats()["connections"], 1);
}
