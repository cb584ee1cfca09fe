//! The figures of a tenant, and logs without tokens, keys, tickets or payloads.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::engine::command::Recover;
use rig::token::{self, principal};
use rig::{API_KEY, Rig, every_way};
use serde_json::{Value, json};

#[test]
fn the_figures_count_what_is_there() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &["admin", "hr"]);
        rig.connect("bob", &["hr"]);
        rig.open();
        for (id, private) in [("1", false), ("2", false)] {
            rig.frame(&ada, json!({ "type": "subscribe", "id": id, "topic": id, "private": private }));
        }
        rig.frame(&ada, json!({ "type": "presence_track", "metadata": {} }));
        rig.frame(&ada, json!({ "type": "presence_track", "topic": "1", "private": false, "metadata": {} }));
        rig.say("one");
        let stats = rig.stats();
        let expected = json!({ "organizationId": "org_1", "connections": 3, "pending": 1,
            "byDialect": { "quickback": 3 }, "byRole": { "admin": 1, "hr": 2 }, "topics": 2, "presence": 2,
            "epoch": rig.epoch(), "offset": 1, "history": 1 });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&stats[name], value, "{name}");
        }
        rig.disconnect(&ada);
        let stats = rig.stats();
        assert_eq!((&stats["connections"], &stats["presence"], &stats["topics"]), (&json!(2), &json!(0), &json!(0)));
    });
}

#[test]
fn publications_and_deliveries_are_of_this_life() {
    let mut rig = Rig::new(&json!({}));
    let clients = ["ada", "bob"].map(|user| rig.connect(user, &[]));
    rig.say("one");
    rig.frame(&clients[0], json!({ "type": "broadcast", "topic": "t", "private": false, "event": "e" }));
    let stats = rig.stats();
    assert_eq!((&stats["publications"], &stats["deliveries"]), (&json!(2), &json!(2)));
    assert_eq!(stats["since"], rig::START);
    rig.advance(1_000);
    rig.hibernate();
    let stats = rig.stats();
    assert_eq!((&stats["publications"], &stats["since"]), (&json!(0), &json!(rig::START + 1_000)));
    assert_eq!(stats["offset"], 1, "what is stored outlives it");
}

/// Everything that must never be logged.
const SECRETS: [&str; 7] =
    ["PAYLOADSECRET", "METADATASECRET", "ROWSECRET", "TICKETSECRET", "TOPICSECRET", "FILTERSECRET", "GARBAGESECRET"];

/// A busy and hostile day, with a secret in every input.
fn a_day(rig: &mut Rig) -> Vec<String> {
    let session = rig.token("ada", &[]);
    let ada = rig.open();
    rig.authenticate(&ada, &session);
    let robot = rig.open();
    rig.authenticate(&robot, API_KEY);
    let expired = token::hs256(&json!({ "sub": "x", "organizationId": "org_1", "exp": 1 }));
    let forged = format!("{}x", session);
    for token in [&expired, &forged] {
        let client = rig.open();
        rig.authenticate(&client, token);
    }
    let foreign = token::ed25519(1, "unknown", &rig.claims("ada", &[]));
    let client = rig.open();
    rig.authenticate(&client, &foreign);
    let used = Some(("TICKETSECRET", rig.now + 60_000));
    assert!(rig.open_as(Some(principal("bob", &[], None)), used, Recover::Off).is_ok());
    assert!(rig.open_as(Some(principal("bob", &[], None)), used, Recover::Off).is_err());
    let frames = [
        json!({ "type": "broadcast", "topic": "TOPICSECRET", "event": "e", "payload": "PAYLOADSECRET" }),
        json!({ "type": "broadcast", "topic": "t", "private": false, "event": "e", "payload": "PAYLOADSECRET" }),
        json!({ "type": "presence_track", "metadata": { "m": "METADATASECRET" } }),
        json!({ "type": "subscribe", "id": "s", "table": "t", "filter": "a=FILTERSECRET.1" }),
        json!({ "type": "GARBAGESECRET", "GARBAGESECRET": "GARBAGESECRET" }),
        json!({ "type": "auth", "token": "GARBAGESECRET" }),
    ];
    frames.into_iter().for_each(|frame| rig.frame(&ada, frame));
    rig.text(&ada, "{\"GARBAGESECRET\": GARBAGESECRET}");
    rig.publish(
        json!({ "type": "postgres_changes", "table": "t", "eventType": "INSERT", "new": { "a": "ROWSECRET" } }),
    );
    rig.publish(json!({ "type": "ROWSECRET" }));
    rig.advance(4_000_000);
    vec![session, expired, forged, foreign, API_KEY.to_owned(), token::JWT_SECRET.to_owned()]
}

#[test]
fn logs_hold_no_secret() {
    for interruption in [rig::Interruption::None, rig::Interruption::Hibernate, rig::Interruption::Crash] {
        let mut rig = Rig::new(&json!({}));
        rig.interruption = interruption;
        let credentials = a_day(&mut rig);
        assert!(rig.logs.len() > 8, "{:?}", rig.logs);
        for line in &rig.logs {
            let parsed: Value = serde_json::from_str(line).unwrap();
            assert!(parsed["event"].is_string() && parsed["organizationId"] == "org_1", "{line}");
            assert!(!line.contains("null"), "a line says what there is to say: {line}");
            let secrets = SECRETS.iter().copied().chain(credentials.iter().map(String::as_str));
            secrets.for_each(|secret| assert!(!line.contains(secret), "{line}"));
        }
    }
}

#[test]
fn no_credential_is_stored() {
    let mut rig = Rig::new(&json!({}));
    let credentials = a_day(&mut rig);
    let ada = rig.connect("ada", &["admin"]);
    let attachment = rig.attachment(&ada).unwrap().clone();
    let stored = format!("{:?} {attachment}", rig.storage);
    credentials.iter().for_each(|secret| assert!(!stored.contains(secret.as_str())));
}

#[test]
fn errors_repeat_nothing_of_what_was_sent() {
    let mut rig = Rig::new(&json!({}));
    a_day(&mut rig);
    let ada = rig.connect("ada", &[]);
    for text in
        ["{\"x\":GARBAGESECRET}", "\"GARBAGESECRET\"", "{\"type\":\"auth\",\"token\":{\"a\":\"GARBAGESECRET\"}}"]
    {
        rig.text(&ada, text);
        let error = ada.next_text();
        assert!(error.contains("invalid_frame") && !error.contains("GARBAGESECRET"), "{error}");
    }
}
