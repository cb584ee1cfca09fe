//! The parts of the outbox that need no database: the body of stored messages, and what a rejection concerns.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use realtime_worker_client::{
    FlushOptions, Message, Options, RealtimeError, is_guilty, is_refusal, is_theirs, stored_body,
};
use serde_json::{Value, json};

fn refusal(status: u16, field: Option<&str>) -> RealtimeError {
    let error = RealtimeError::here("invalid_request", "no");
    RealtimeError { status, field: field.map(str::to_owned), ..error }
}

fn guilty(field: Option<&str>, count: usize) -> Vec<usize> {
    (0..count).filter(|index| is_guilty(&refusal(400, field), *index, count)).collect()
}

#[test]
fn stored_messages_are_sent_as_they_were_written() {
    let message = Message::broadcast("paid", &7, &Options::default()).unwrap().with_id(|| "once".to_owned());
    assert_eq!(message.id(), Some("once"));
    let written = message.to_string();
    let body: Value = serde_json::from_str(&stored_body("org_\"1\"", &[&written, "{torn", "1 2"])).unwrap();
    let paid = json!({ "type": "broadcast", "event": "paid", "payload": 7, "id": "once" });
    assert_eq!(body, json!({ "organizationId": "org_\"1\"", "messages": [paid, null, null] }));
}

#[test]
fn numbers_keep_every_digit() {
    let text = r#"{"payload":123456789012345678901234567890.10}"#;
    assert!(stored_body("org_1", &[text]).contains(text));
}

#[test]
fn a_refusal_is_about_the_messages_that_it_names() {
    assert_eq!(guilty(Some("messages[1]"), 12), [1]);
    assert_eq!(guilty(Some("messages[11].event"), 12), [11]);
    assert_eq!(guilty(Some("organizationId"), 3), [0, 1, 2]);
    assert!(guilty(None, 3).is_empty());
    assert_eq!(guilty(None, 1), [0]);
}

#[test]
fn only_what_the_message_itself_causes_is_a_refusal() {
    for (status, expected) in
        [(400, true), (413, true), (401, false), (403, false), (429, false), (500, false), (0, false)]
    {
        assert_eq!(is_refusal(&refusal(status, None)), expected, "{status}");
    }
}

#[test]
fn a_flush_is_of_everyone_unless_it_names_one() {
    assert_eq!(FlushOptions::default(), FlushOptions { organization_id: None, batches: 100 });
    assert_eq!(FlushOptions::of("org_1"), FlushOptions { organization_id: Some("org_1".to_owned()), batches: 100 });
}

#[test]
fn what_is_no_answer_of_the_worker_is_about_no_organization() {
    let failed = |status, code: &str| RealtimeError { status, ..RealtimeError::here(code, "no") };
    assert!(is_theirs(&failed(503, "overloaded")) && is_theirs(&failed(429, "rate_limited")));
    for other in [failed(503, "unexpected_answer"), failed(0, "network"), failed(401, "unauthorized"), failed(400, "x")]
    {
        assert!(!is_theirs(&other), "{other:?}");
    }
}
