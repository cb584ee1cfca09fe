//! Malformed input of Fluxbase's clients: whatever value any key has, nobody else receives anything, nothing panics,
//! and the socket stays usable.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use proptest::prelude::*;
use realtime_worker::dialect::fluxbase::{ID, filter};
use realtime_worker::engine::command::Recover;
use realtime_worker::policy::filter::Filter;
use realtime_worker::policy::principal::Principal;
use rig::{Client, Rig};
use serde_json::{Value, json};

/// An attacker without a token, and a witness who must receive nothing.
struct Bench {
    rig: Rig,
    attacker: Client,
    witness: Client,
}

impl Bench {
    fn new() -> Bench {
        let many = 1_000_000_000_u64;
        let mut rig = Rig::new(&json!({
            "tables": { "products": {} },
            "channels": [{ "topic": "*", "read": {}, "write": {}, "presence": {} }],
            "limits": { "errorsPerMinute": many, "framesPerSecond": many, "subscriptions": many },
            "fluxbase": { "organization": rig::ORGANIZATION, "anonymous": ["public.products"] },
        }));
        let open = |rig: &mut Rig, principal| rig.open_at(ID, Some(principal), None, Recover::Off).unwrap();
        let attacker = open(&mut rig, Principal::anonymous("anon"));
        let witness = open(&mut rig, rig::token::principal("wes", &[], None));
        for channel in ["a", "presence:a", "table:public.products"] {
            rig.frame(&witness, json!({ "type": "subscribe", "channel": channel }));
        }
        witness.frames();
        Bench { rig, attacker, witness }
    }

    /// Each frame is answered with acknowledgements and errors, to its sender only; the older contract still works.
    #[track_caller]
    fn sends(&mut self, text: &str) {
        self.rig.text(&self.attacker, text);
        for frame in self.attacker.frames() {
            let shown: String = text.chars().take(300).collect();
            assert!(["ack", "error"].contains(&frame["type"].as_str().unwrap()), "{shown}: {frame}");
            assert!(frame["type"] != "error" || frame["code"].is_string(), "{shown}: {frame}");
        }
        let channel = "table:public.products";
        self.rig.frame(&self.attacker, json!({ "type": "subscribe", "channel": channel }));
        assert_eq!(self.attacker.next(), json!({ "type": "ack", "channel": channel }));
        self.witness.gets_nothing();
    }
}

/// One frame of every kind, with every possible key.
fn frames() -> Vec<Value> {
    let recover = json!({ "epoch": "e", "offset": 1 });
    let config = json!({ "table": "products", "schema": "public", "event": "INSERT", "filter": "a=eq.1" });
    vec![
        json!({ "type": "subscribe", "channel": "a", "config": config, "recover": recover }),
        json!({ "type": "subscribe", "table": "products", "schema": "public", "event": "*", "filter": "a=like.*" }),
        json!({ "type": "subscribe", "channel": "a", "private": true, "presence": true }),
        json!({ "type": "subscribe", "channel": "table:public.products", "config": { "filter": "a=eq.1" } }),
        json!({ "type": "unsubscribe", "channel": "a", "subscription_id": "0" }),
        json!({ "type": "broadcast", "channel": "a", "event": "e", "payload": { "n": 1 }, "messageId": "m" }),
        json!({ "type": "presence", "channel": "a", "event": "track", "payload": { "key": "k", "state": { "n": 1 } } }),
        json!({ "type": "presence", "channel": "a", "payload": { "event": "untrack", "key": "k" } }),
        json!({ "type": "access_token", "token": "a.b.c" }),
        json!({ "type": "heartbeat" }),
        json!({ "type": "subscribe_logs", "channel": "execution:e1", "config": {} }),
    ]
}

fn odd_values() -> Vec<String> {
    let long = "x".repeat(300);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let all = ["null", "true", "0", "-1", "1e999", "\"\"", "\"*\"", "\"\\u0000\"", "\"\\ud800\"", "[]", "{}", "[{}]"];
    let more = [
        "\"table:\"",
        "\"table:.\"",
        "\"table:a\"",
        "\"table:*.*\"",
        "\"realtime:admin:x\"",
        "\"channel:a\"",
        "{\"a\":1,\"a\":2}",
    ];
    all.into_iter().chain(more).map(str::to_owned).chain([format!("\"{long}\""), deep]).collect()
}

/// The frame with each value in turn, at every depth, replaced by a marker.
fn holes(value: &Value) -> Vec<Value> {
    let mut holes = vec![json!("HOLE")];
    for (key, inner) in value.as_object().into_iter().flatten() {
        for hole in holes_in(inner) {
            let mut whole = value.clone();
            whole[key] = hole;
            holes.push(whole);
        }
    }
    holes
}

fn holes_in(value: &Value) -> Vec<Value> {
    if value.is_object() { holes(value) } else { vec![json!("HOLE")] }
}

#[test]
fn any_value_at_any_key() {
    let mut bench = Bench::new();
    for frame in frames() {
        for hole in holes(&frame) {
            for odd in odd_values() {
                bench.sends(&hole.to_string().replace("\"HOLE\"", &odd));
            }
        }
    }
}

#[test]
fn what_is_no_frame_is_refused() {
    let mut bench = Bench::new();
    for text in
        ["", " ", "{", "[]", "1", "\"\"", "{\"type\":\"subscribe\",\"type\":\"broadcast\"}", "{\"a\":1}", "\u{0}"]
    {
        bench.sends(text);
    }
    bench.rig.binary(&bench.attacker, &[0, 1, 255]);
    assert_eq!(bench.attacker.next()["code"], "invalid_frame");
}

#[test]
fn a_socket_that_errs_too_often_ends() {
    let mut rig = Rig::new(&json!({ "fluxbase": { "organization": rig::ORGANIZATION } }));
    let one = rig.open_at(ID, Some(Principal::anonymous("anon")), None, Recover::Off).unwrap();
    for _ in 0..10 {
        rig.text(&one, "{}");
        assert_eq!(one.next()["error"], "unknown message type");
    }
    one.is_closed(1008, "too_many_errors");
}

proptest! {
    /// A filter that is accepted follows the common grammar, and is the same when read back from storage.
    #[test]
    fn any_text_is_a_filter_that_can_be_stored_or_none(text in "[a-z]{0,2}(=|->|->>)?(eq|like|in|not\\.ilike|is|gt)?\\.?[ -~é]{0,12}") {
        if let Ok(filter) = filter::read(&text) {
            prop_assert_eq!(Filter::parse(filter.text()).unwrap(), filter);
        }
    }
}
