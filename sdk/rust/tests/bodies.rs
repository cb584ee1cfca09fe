//! Request bodies, which equal those of the TypeScript package, and how answers are read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use std::time::Duration;

use realtime_worker_client::{
    Backoff, Encoding, Mask, MaskRule, Message, Options, RealtimeError, Show, batch_body, read_answer,
};
use serde_json::{Value, json};

fn body(message: Result<Message, RealtimeError>) -> Value {
    serde_json::from_str(&message.unwrap().body("org_1")).unwrap()
}

#[test]
fn changes_have_the_documented_form() {
    let (new, old) = (json!({ "id": 1, "open": false }), json!({ "id": 1, "open": true }));
    let options = Options::default();
    let change = |event_type: &str, new: Value, old: Value| {
        json!({
            "organizationId": "org_1", "type": "postgres_changes", "schema": "public", "table": "claims",
            "eventType": event_type, "new": new, "old": old,
        })
    };
    let null = Value::Null;
    assert_eq!(body(Message::insert("claims", &new, &options)), change("INSERT", new.clone(), null.clone()));
    assert_eq!(body(Message::update("claims", &new, Some(&old), &options)), change("UPDATE", new.clone(), old.clone()));
    assert_eq!(body(Message::update("claims", &new, None, &options)), change("UPDATE", new.clone(), null.clone()));
    assert_eq!(body(Message::delete("claims", &old, &options)), change("DELETE", null, old.clone()));
    let invoice = body(Message::insert("billing.invoices", &new, &options));
    assert_eq!((&invoice["schema"], &invoice["table"]), (&json!("billing"), &json!("invoices")));
}

#[test]
fn every_option_goes_along_under_its_name() {
    let shown = MaskRule { mask: Mask::CreditCard, show: Show { roles: vec!["hr".into()], owner: true } };
    let hidden = MaskRule { mask: Mask::Redact, show: Show::default() };
    let options = Options {
        user_id: Some("u7".into()),
        target_roles: Some(vec!["admin".into()]),
        topic: Some("room:1".into()),
        private: Some(false),
        fields: Some(vec!["id".into()]),
        columns: [("id".to_owned(), "int8".to_owned())].into(),
        encoding: Some(Encoding::Base64),
        masking_config: [("card".to_owned(), shown), ("pin".to_owned(), hidden)].into(),
        owner_field: Some("boss".into()),
        history: Some(false),
        id: Some("mine".into()),
    };
    let sent = body(Message::insert("cards", &json!({ "id": 1 }), &options).map(|it| it.with_id(|| "other".into())));
    let expected = json!({
        "organizationId": "org_1", "type": "postgres_changes", "schema": "public", "table": "cards",
        "eventType": "INSERT", "new": { "id": 1 }, "old": null,
        "userId": "u7", "targetRoles": ["admin"], "topic": "room:1", "private": false, "fields": ["id"],
        "columns": { "id": "int8" }, "encoding": "base64", "history": false,
        "maskingConfig": {
            "card": { "type": "creditCard", "show": { "roles": ["hr"], "or": "owner" } },
            "pin": { "type": "redact", "show": { "roles": [] } },
        },
        "ownerField": "boss", "id": "mine",
    });
    assert_eq!(sent, expected);
}

#[test]
fn messages_go_alone_or_in_a_batch() {
    let message = |payload: &str| Message::broadcast("extraction:started", &payload, &Options::to_roles(["admin"]));
    let ids = |message: Message| message.with_id(|| "made".into());
    let alone = json!({ "type": "broadcast", "event": "extraction:started", "payload": "a", "targetRoles": ["admin"] });
    let mut sent = body(message("a"));
    sent.as_object_mut().unwrap().remove("organizationId");
    assert_eq!(sent, alone);
    let batch = batch_body("org_1", vec![message("a").unwrap(), ids(message("b").unwrap())]);
    let batch: Value = serde_json::from_str(&batch).unwrap();
    assert_eq!((&batch["organizationId"], &batch["messages"][0]), (&json!("org_1"), &alone));
    assert_eq!((&batch["messages"][1]["payload"], &batch["messages"][1]["id"]), (&json!("b"), &json!("made")));
}

#[test]
fn what_does_not_serialize_is_an_error() {
    let keyless = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = Message::insert("claims", &keyless, &Options::default()).unwrap_err();
    assert_eq!((error.code.as_str(), error.status, error.retryable()), ("invalid_request", 0, false));
}

#[test]
fn answers_are_read() {
    let accepted = r#"{"accepted":1,"duplicate":false,"epoch":"e","offset":42,"delivered":17}"#;
    assert_eq!(read_answer(202, None, accepted).unwrap().offset, 42);
    let refused = r#"{"error":{"code":"invalid_request","message":"event is required","field":"event"}}"#;
    let error = read_answer(400, None, refused).unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.field.as_deref(), error.retryable()),
        ("invalid_request", Some("event"), false)
    );
    for (status, body) in [(200, accepted), (202, "<html>"), (404, "")] {
        let error = read_answer(status, None, body).unwrap_err();
        assert_eq!((error.code.as_str(), error.status, error.retryable()), ("unexpected_answer", status, false));
    }
}

#[test]
fn what_may_pass_is_tried_again_and_not_forever() {
    let backoff = Backoff::default();
    let refused = |status: u16, code: &str, retry_after: Option<&str>| {
        read_answer(status, retry_after, &json!({ "error": { "code": code, "message": "" } }).to_string()).unwrap_err()
    };
    let wait = |tried, error: &RealtimeError| backoff.wait(tried, error, 1.0).map(|wait| wait.as_millis());
    let network = RealtimeError::here("network", "");
    assert_eq!([1, 2, 3, 4].map(|tried| wait(tried, &network)), [Some(200), Some(400), Some(800), None]);
    assert_eq!(backoff.wait(1, &network, 0.0), Some(Duration::ZERO));
    assert_eq!(wait(1, &refused(429, "rate_limited", Some("2"))), Some(2_200));
    assert_eq!(wait(1, &refused(503, "overloaded", None)), Some(200));
    let never = [
        refused(429, "rate_limited", Some("60")),
        refused(503, "overloaded", Some("1e300")),
        refused(400, "invalid_request", None),
        refused(500, "configuration", None),
        RealtimeError::here("configuration", ""),
    ];
    for error in never {
        assert_eq!(wait(1, &error), None, "{error}");
    }
    let patient = Backoff { attempts: 100, ..backoff };
    assert_eq!(patient.wait(99, &network, 1.0), Some(Duration::from_secs(5)));
}
