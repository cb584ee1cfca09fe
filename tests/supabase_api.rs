//! A request to Supabase's REST, step by step as the shell executes it: which object is asked, and what is answered.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

mod http_call;
mod signing;

use http_call::HttpCall;
use realtime_worker::code::Code;
use realtime_worker::dialect::read_configuration;
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::server::answer::Answer;
use realtime_worker::server::api::{ObjectRequest, Rejected};
use realtime_worker::server::request_head::{Query, RequestHead};
use serde_json::json;
use signing::*;

const ACCESS_TOKEN: &str = "an-access-token-of-thirty-two-bytes";
const BATCH: &str = "/realtime/v1/api/broadcast";
const PUBLIC: &str = r#"{"messages":[{"topic":"room:1","event":"e","payload":{"n":1}}]}"#;

fn configuration() -> Configuration {
    let realtime = json!({ "channels": [{ "topic": "room:*", "write": { "roles": ["member"] } }] }).to_string();
    read_configuration(&|name| match name {
        "ACCESS_TOKEN" => Some(ACCESS_TOKEN.to_owned()),
        "JWT_SECRET" => Some(SECRET.to_owned()),
        "DEFAULT_ORGANIZATION" => Some("main".to_owned()),
        "REALTIME" => Some(realtime.clone()),
        _ => None,
    })
    .unwrap()
}

fn head(path: &str, query: &str, key: &str) -> RequestHead {
    RequestHead {
        host: "realtime.example.com".to_owned(),
        method: "POST".to_owned(),
        path: path.to_owned(),
        query: Query::read(query),
        authorization: (!key.is_empty()).then(|| format!("Bearer {key}")),
        media_type: Some("application/json".to_owned()),
        ..RequestHead::default()
    }
}

/// Executes a request: the object answers with `status`. Returns the answer and the object's request.
fn carry_out(head: RequestHead, body: &str, status: u16) -> (Result<Answer, Rejected>, Vec<ObjectRequest>) {
    let configuration = configuration();
    let mut asked = Vec::new();
    let call = HttpCall::new(&configuration, NOW).with_object(|question| {
        asked.push(question);
        (status, "{}".to_owned())
    });
    let answer = call.carry_out(head, body);
    (answer, asked)
}

fn token(role: &str) -> String {
    hmac("HS256", SECRET, &json!({ "sub": "u7", "role": role, "organizationId": "main", "exp": NOW_SECONDS + 60 }))
}

#[test]
fn the_ping_is_answered_to_whoever_asks() {
    let ping = RequestHead { method: "GET".to_owned(), ..head("/realtime/v1/api/ping", "", "") };
    let (answer, asked) = carry_out(ping, "", 500);
    assert_eq!((answer.unwrap().status, asked.len()), (200, 0));
}

#[test]
fn what_the_service_publishes_reaches_the_organization_it_names() {
    let (answer, asked) = carry_out(head(BATCH, "?organizationId=org_1", ACCESS_TOKEN), PUBLIC, 202);
    assert_eq!(answer.unwrap().status, 202);
    let [question] = &*asked else { panic!("one question: {asked:?}") };
    assert_eq!((&*question.organization, question.path), ("org_1", "/publish"));
    assert!(question.body.as_ref().unwrap().contains("room:1"));
}

#[test]
fn a_client_publishes_where_its_token_belongs_and_only_what_it_may() {
    let private = PUBLIC.replace("\"event\"", "\"private\":true,\"event\"");
    let (answer, asked) = carry_out(head(BATCH, "", &token("member")), &private, 202);
    assert_eq!((answer.unwrap().status, &*asked.first().unwrap().organization), (202, "main"));
    let (answer, asked) = carry_out(head(BATCH, "", &token("guest")), &private, 202);
    assert_eq!((answer.unwrap().status, asked.len()), (202, 0), "left out without a word, and no object is woken");
    let single = head(&format!("{BATCH}/room:1/events/e"), "?private=true", &token("guest"));
    let (answer, asked) = carry_out(single, "{}", 202);
    assert_eq!((answer.unwrap_err().answer.status, asked.len()), (403, 0));
}

#[test]
fn refusals_are_told_before_the_object_is_asked() {
    let binary = RequestHead { media_type: Some("text/plain".to_owned()), ..head(BATCH, "", ACCESS_TOKEN) };
    let cases = [
        (head(BATCH, "", ""), 401, Code::Unauthorized),
        (head(BATCH, "", "nonsense"), 401, Code::InvalidToken),
        (binary, 415, Code::UnsupportedMediaType),
    ];
    for (head, status, code) in cases {
        let (answer, asked) = carry_out(head, PUBLIC, 202);
        let rejected = answer.unwrap_err();
        assert_eq!((rejected.answer.status, rejected.code, asked.len()), (status, code, 0));
    }
}

#[test]
fn what_the_object_answers_is_told_in_supabases_words() {
    for (status, told) in [(202, 202), (429, 429), (503, 503), (500, 500), (418, 500)] {
        let (answer, _) = carry_out(head(BATCH, "", ACCESS_TOKEN), PUBLIC, status);
        let answer = answer.unwrap_or_else(|rejected| rejected.answer);
        assert_eq!(answer.status, told, "{status}");
    }
}
