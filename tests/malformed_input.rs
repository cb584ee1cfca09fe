//! Malformed input: whatever a frame or body contains, the answer is an error with a code that repeats nothing of it,
//! nobody else notices, and the connection stays until it has made too many errors.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test stops at the first surprise"
)]

mod rig;

use realtime_worker::code::Code;
use rig::{Client, Rig, token};
use serde_json::{Map, Value, json};

/// In every text value that is sent; no answer may contain it.
const MARK: &str = "MARKEDVALUE";

/// A rig with a witness who must receive nothing, and limits that allow many errors.
struct Bench {
    rig: Rig,
    attacker: Client,
    witness: Client,
}

impl Bench {
    fn new() -> Bench {
        let limits = json!({ "errorsPerMinute": 1_000_000_000_u64, "framesPerSecond": 1_000_000_000_u64,
            "publicationsPerSecond": 1_000_000_000_u64 });
        let channels = json!([{ "topic": "*", "read": {}, "write": {}, "presence": {}, "history": true }]);
        let mut rig = Rig::new(&json!({ "limits": limits, "channels": channels }));
        let [attacker, witness] = ["mallory", "wanda"].map(|user| rig.connect(user, &["member"]));
        rig.frame(&witness, json!({ "type": "subscribe", "id": "w", "topic": "room:1" }));
        rig.frame(&witness, json!({ "type": "presence_track", "topic": "room:1", "metadata": {} }));
        witness.frames();
        Bench { rig, attacker, witness }
    }

    /// Sends a frame that must be refused.
    #[track_caller]
    fn is_refused(&mut self, text: &str) {
        self.rig.text(&self.attacker, text);
        self.answered(text);
    }

    /// Exactly one error was received, with a code of the table and nothing of the input; nobody else received
    /// anything.
    #[track_caller]
    fn answered(&mut self, sent: &str) {
        let answer = self.attacker.next_text();
        let error: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(error["type"], "error", "{answer} to {}", start(sent));
        assert!(Code::ALL.iter().any(|code| error["code"] == code.as_str()), "{answer}");
        assert!(!answer.contains(MARK), "{answer} repeats what was sent");
        assert!(answer.len() < 1_000, "an answer of {} bytes", answer.len());
        self.attacker.gets_nothing();
        self.witness.gets_nothing();
        assert_eq!(self.attacker.closed(), None);
    }

    /// Publishes a body that must be refused.
    #[track_caller]
    fn body_is_refused(&mut self, body: &str) {
        let answer = self.rig.publish_text(body);
        assert_eq!(answer.status, 400, "{} to {}", answer.body, start(body));
        assert!(!answer.body.to_string().contains(MARK), "{} repeats what was sent", answer.body);
        assert!(answer.body.to_string().len() < 1_000);
        self.witness.gets_nothing();
        assert!(self.rig.storage.history.is_empty());
    }
}

fn start(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Every frame of the contract, with all possible keys.
fn frames() -> Vec<Value> {
    vec![
        json!({ "type": "auth", "token": MARK, "organizationId": "org_1",
            "recover": { "epoch": MARK, "offset": 41 }, "subscriptions": [{ "id": MARK, "table": MARK }] }),
        json!({ "type": "subscribe", "id": "s1", "table": MARK, "schema": MARK, "event": "*", "filter": "status=eq.open" }),
        json!({ "type": "subscribe", "id": "s2", "topic": "room:1", "private": true, "presence": true,
            "recover": { "epoch": MARK, "offset": 41 } }),
        json!({ "type": "unsubscribe", "id": "s1" }),
        json!({ "type": "broadcast", "topic": "room:1", "private": true, "event": MARK, "payload": { "a": MARK },
            "id": "c9", "echo": false }),
        json!({ "type": "presence_track", "topic": "room:1", "private": true, "metadata": { "a": MARK } }),
        json!({ "type": "presence_update", "topic": "room:1", "private": true, "metadata": { "a": MARK } }),
        json!({ "type": "presence_untrack", "topic": "room:1", "private": true }),
        json!({ "type": "ping" }),
    ]
}

/// Every body of the contract, with all possible keys.
fn bodies() -> Vec<Value> {
    let masking = json!({ MARK: { "type": "ssn", "show": { "roles": [MARK], "or": "owner" } } });
    let common = json!({ "topic": MARK, "private": true, "userId": MARK, "targetRoles": [MARK],
        "maskingConfig": masking, "ownerField": MARK, "id": MARK });
    let with = |own: Value| {
        let mut body = common.as_object().unwrap().clone();
        body.extend(own.as_object().unwrap().clone());
        Value::Object(body)
    };
    let change = json!({ "type": "postgres_changes", "schema": MARK, "table": MARK, "eventType": "UPDATE",
        "new": { "a": MARK }, "old": { "a": MARK }, "fields": [MARK] });
    let message = json!({ "type": "broadcast", "event": MARK, "payload": { "a": MARK } });
    let named = |own: &Value| {
        let mut body = with(own.clone());
        body["organizationId"] = json!("org_1");
        body
    };
    vec![
        named(&change),
        named(&message),
        json!({ "organizationId": "org_1", "messages": [with(change), with(message)] }),
    ]
}

/// The same object with one key's value replaced, for every key of every nested object.
fn replaced(value: &Value, with: &Value) -> Vec<Value> {
    let within = |map: &Map<String, Value>| {
        let one = |key: &String| {
            let mut versions = vec![with.clone()];
            versions.extend(replaced(&map[key], with));
            let put = |version| {
                let mut changed = map.clone();
                changed.insert(key.clone(), version);
                Value::Object(changed)
            };
            versions.into_iter().map(put).collect::<Vec<_>>()
        };
        map.keys().flat_map(one).collect()
    };
    match value {
        Value::Object(map) => within(map),
        Value::Array(list) => {
            let one = |(place, element): (usize, &Value)| {
                let put = |version| {
                    let mut changed = list.clone();
                    changed[place] = version;
                    Value::Array(changed)
                };
                replaced(element, with).into_iter().map(put).collect::<Vec<_>>()
            };
            list.iter().enumerate().flat_map(one).collect()
        }
        _ => Vec::new(),
    }
}

/// Values of every kind, some of which fit some keys.
fn odd_values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!(MARK),
        json!([]),
        json!([null]),
        json!([[]]),
        json!({}),
        json!({ MARK: MARK }),
        json!(MARK.repeat(300)),
        json!("\u{0}"),
    ]
}

#[test]
fn frames_cut_at_every_byte() {
    let mut bench = Bench::new();
    for frame in frames() {
        let text = frame.to_string();
        for length in (0..text.len()).filter(|length| text.is_char_boundary(*length)) {
            bench.is_refused(&text[..length]);
            bench.is_refused(&text[length + 1..]);
        }
    }
}

#[test]
fn bodies_cut_at_every_byte() {
    let mut bench = Bench::new();
    for body in bodies() {
        let text = body.to_string();
        (0..text.len()).for_each(|length| bench.body_is_refused(&text[..length]));
    }
}

#[test]
fn any_value_at_any_key_of_a_frame() {
    for with in odd_values() {
        let mut bench = Bench::new();
        for frame in frames().iter().flat_map(|frame| replaced(frame, &with)) {
            let text = frame.to_string();
            bench.rig.text(&bench.attacker, &text);
            for answer in bench.attacker.frames() {
                if answer["type"] == "error" {
                    let mut known = answer.clone();
                    // The frame's own id and the path of an unknown key are the client's words.
                    ["id", "field", "message"].iter().for_each(|key| known[key] = json!(null));
                    assert!(!known.to_string().contains(MARK), "{answer} to {text}");
                }
            }
            assert_eq!(bench.attacker.closed(), None, "{text}");
        }
        bench.rig.text(&bench.attacker, r#"{"type":"ping"}"#);
        bench.attacker.gets(json!({ "type": "pong" }));
    }
}

#[test]
fn any_value_at_any_key_of_a_body() {
    for with in odd_values() {
        let mut bench = Bench::new();
        for body in bodies().iter().flat_map(|body| replaced(body, &with)) {
            let answer = bench.rig.publish_text(&body.to_string());
            assert!(matches!(answer.status, 202 | 400), "{answer:?} to {body}");
            if answer.status == 400 {
                assert_eq!(bench.witness.waiting(), 0, "{body}");
            }
            bench.witness.frames();
        }
    }
}

#[test]
fn an_unknown_key_is_refused() {
    let mut bench = Bench::new();
    for mut frame in frames() {
        frame["unknown"] = json!(MARK);
        bench.is_refused(&frame.to_string());
        let text = frame.to_string().replacen("{", "{\"type\":\"ping\",", 1);
        bench.is_refused(&text);
    }
    for mut body in bodies() {
        body["unknown"] = json!(MARK);
        bench.body_is_refused(&body.to_string());
    }
}

#[test]
fn a_repeated_key_is_refused_however_it_is_spelt() {
    let mut bench = Bench::new();
    for text in frames().iter().map(Value::to_string) {
        bench.is_refused(&text.replacen('{', "{\"t\\u0079pe\":\"ping\",", 1));
    }
    for text in bodies().iter().map(Value::to_string) {
        bench.body_is_refused(&text.replacen('{', "{\"organizati\\u006fnId\":\"org_1\",", 1));
    }
    let row = r#"{"organizationId":"org_1","type":"postgres_changes","table":"t","eventType":"INSERT","new":{"a":1,"\u0061":2}}"#;
    bench.body_is_refused(row);
}

#[test]
fn what_is_no_object_at_all() {
    let mut bench = Bench::new();
    let texts = [
        "",
        " ",
        "\u{0}",
        "null",
        "true",
        "1",
        "-",
        "\"MARKEDVALUE\"",
        "[]",
        "[{}]",
        "{",
        "}",
        "{}",
        "{}{}",
        "{}x",
        "{\"\":1}",
        "\u{feff}{\"type\":\"ping\"}",
        "{'type':'ping'}",
        "{type:\"ping\"}",
        "{\"type\":\"ping\",}",
        "{\"type\":ping}",
        "{\"type\":\"PING\"}",
        "{\"type\":\"ping\u{0}\"}",
        "{\"type\":\"\\ud800\"}",
        "{\"\\ud800\":1}",
        "{\"type\":[\"ping\"]}",
        "{\"type\":1e999999}",
        "{\"type\":\"ping\",\"type\":\"ping\"}",
        "{\"__proto__\":{}}",
        "[null,null,\"t\",\"e\",{}]",
    ];
    for text in texts {
        bench.is_refused(text);
        bench.body_is_refused(text);
    }
}

#[test]
fn binary_frames_of_every_length() {
    let mut bench = Bench::new();
    for length in 0..300 {
        let bytes: Vec<u8> = (0..length).map(|n: usize| (n * 31 % 256) as u8).collect();
        bench.rig.binary(&bench.attacker, &bytes);
        bench.answered("bytes");
    }
}

#[test]
fn deep_nesting_costs_no_stack() {
    let mut bench = Bench::new();
    for (open, close, depth) in [("[", "]", 30_000), ("{\"a\":", "}", 9_000)] {
        let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        for key in ["type", "topic", "event", "id", "token", "recover", "subscriptions", "filter", "unknown"] {
            bench.is_refused(&format!("{{\"type\":\"subscribe\",\"table\":\"t\",\"{key}\":{deep}}}"));
        }
        bench.is_refused(&deep);
        bench.is_refused(&open.repeat(depth));
        bench.rig.text(
            &bench.attacker,
            &format!("{{\"type\":\"broadcast\",\"topic\":\"x\",\"event\":\"e\",\"payload\":{deep}}}"),
        );
        bench.attacker.gets_nothing();
    }
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    for key in ["organizationId", "type", "messages", "maskingConfig", "targetRoles", "fields", "id"] {
        let answer = bench.rig.publish_text(&format!("{{\"{key}\":{deep}}}"));
        assert_eq!(answer.status, 400);
    }
    let body = format!(
        "{{\"organizationId\":\"org_1\",\"type\":\"broadcast\",\"event\":\"e\",\"payload\":{deep},\
         \"maskingConfig\":{{\"a.b.c\":{{\"type\":\"name\"}}}}}}"
    );
    assert_eq!(bench.rig.publish_text(&body).status, 202);
    assert_eq!(bench.witness.next()["event"], "e");
}

#[test]
fn huge_numbers_and_texts() {
    let mut bench = Bench::new();
    let digits = "9".repeat(60_000);
    for number in [&digits, "1e400", "-1", "1.0", "9007199254740992", "18446744073709551616", "01"] {
        let recover = format!("{{\"epoch\":\"e\",\"offset\":{number}}}");
        bench.is_refused(&format!("{{\"type\":\"auth\",\"token\":\"t\",\"recover\":{recover}}}"));
        bench.is_refused(&format!("{{\"type\":\"subscribe\",\"id\":\"s\",\"topic\":\"t\",\"recover\":{recover}}}"));
    }
    let long = MARK.repeat(5_000);
    for key in ["type", "id", "table", "topic", "event", "filter", &long] {
        bench.is_refused(&json!({ "type": "subscribe", key: long }).to_string());
    }
    bench.is_refused(&MARK.repeat(10_000));
    bench.body_is_refused(&json!({ "organizationId": long }).to_string());
    bench.body_is_refused(&json!({ "organizationId": "org_1", "type": "broadcast", "event": long }).to_string());
}

#[test]
fn texts_with_nul_and_lone_surrogates() {
    let mut bench = Bench::new();
    for text in [r#""\ud800""#, r#""a\udc00b""#, r#""\ud800\ud800""#] {
        for key in ["type", "id", "table", "topic", "event", "filter", "schema"] {
            bench.is_refused(&format!("{{\"type\":\"subscribe\",\"{key}\":{text}}}"));
        }
        for key in ["organizationId", "type", "table", "userId", "id", "ownerField"] {
            bench.body_is_refused(&format!("{{\"{key}\":{text}}}"));
        }
    }
    bench.rig.frame(&bench.attacker, json!({ "type": "subscribe", "id": "\u{0}", "topic": "a\u{0}b" }));
    bench.attacker.gets(json!({ "type": "subscribed", "id": "\u{0}" }));
    bench.rig.hibernate();
    let message = json!({ "type": "broadcast", "event": "\u{0}", "payload": "\u{0}", "topic": "a\u{0}b" });
    assert_eq!(bench.rig.accepted(message.clone()), 1);
    bench.attacker.gets(message);
}

#[test]
fn before_it_is_anyone_a_connection_may_err_ten_times() {
    let mut rig = Rig::new(&json!({}));
    for frame in frames() {
        let client = rig.open();
        let text = frame.to_string();
        (1..10).for_each(|cut| rig.text(&client, &text[..cut]));
        (1..10).for_each(|_| drop(client.is_refused("invalid_frame")));
        let token = token::hs256(&rig.claims("ada", &[]));
        rig.authenticate(&client, &token);
        assert_eq!(client.next()["type"], "auth_success");
        rig.text(&client, &text[..10]);
        client.is_refused("invalid_frame");
        client.is_closed(1008, "too_many_errors");
    }
}
