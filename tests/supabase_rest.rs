//! Messages published over Supabase's REST: what is accepted, who may publish it, who receives it, what is retained,
//! and how every refusal is worded.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use proptest::collection::vec;
use proptest::prelude::*;
use realtime_worker::code::Code;
use realtime_worker::engine::publication::Publication;
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::policy::principal::Principal;
use realtime_worker::server::api::Rejected;
use realtime_worker::server::publish::{self, PublishRequest};
use realtime_worker::server::supabase::rest::{self, Body, Sender};
use rig::token::principal;
use rig::{Client, ORGANIZATION, Rig, configuration, every_way};
use serde_json::{Value, json};

fn channels() -> Value {
    json!({ "channels": [
        { "topic": "room:*", "read": {}, "write": { "roles": ["member"] } },
        { "topic": "log:*", "read": {}, "write": {}, "history": true },
    ] })
}

fn deployment() -> Configuration {
    configuration(&channels(), &[])
}

fn member() -> Principal {
    principal("ada", &["member"], None)
}

fn guest() -> Principal {
    principal("eve", &["guest"], None)
}

fn json_of(text: &str) -> Body {
    Body::Json(text.to_owned())
}

/// A single message to the private topic, as a client sends it.
fn single(sender: Sender<'_>, topic: &str, body: Body) -> Result<Publication, Rejected> {
    rest::single(&deployment(), sender, (topic.to_owned(), "ev".to_owned()), (true, false), body)
}

fn batch(sender: Sender<'_>, messages: Value) -> Result<Vec<Publication>, Rejected> {
    rest::batch(&deployment(), sender, &Body::Json(json!({ "messages": messages }).to_string()))
}

#[track_caller]
fn is_answered<T: std::fmt::Debug>(answered: Result<T, Rejected>, status: u16, body: Value) {
    let answer = answered.unwrap_err().answer;
    assert_eq!((answer.status, serde_json::from_str::<Value>(&answer.body).unwrap()), (status, body));
}

#[track_caller]
fn subscribe(rig: &mut Rig, client: &Client, topic: &str, private: bool) {
    rig.frame(
        client,
        json!({ "type": "subscribe", "id": format!("{topic}{private}"), "topic": topic, "private": private }),
    );
    assert_eq!(client.next()["type"], "subscribed");
}

/// Passes publications to the object, as the Worker does.
#[track_caller]
fn publish(rig: &mut Rig, publications: &[Publication]) {
    let answer = rig.publish_text(&publish::request(ORGANIZATION, None, publications));
    assert_eq!(rest::answered(answer.status), Ok(rest::accepted()), "{}", answer.body);
}

fn seen(topic: &str, event: &str, payload: Value) -> Value {
    json!({ "type": "broadcast", "event": event, "payload": payload, "topic": topic })
}

#[test]
fn a_batch_reaches_the_subscribers_of_its_topics() {
    every_way(channels(), |rig| {
        let ada = rig.connect("ada", &["member"]);
        [("room:1", true), ("room:1", false)].iter().for_each(|(topic, private)| subscribe(rig, &ada, topic, *private));
        let messages = json!([
            { "topic": "room:1", "event": "é", "payload": { "b": 1.10, "a": [] }, "private": true },
            { "topic": "room:1", "event": "x", "payload": {}, "private": null, "from": "a newer client" },
            { "topic": "room:1", "event": "y", "payload": {}, "private": "true" },
            { "topic": "elsewhere", "event": "z", "payload": {} },
        ]);
        publish(rig, &batch(Sender::Client(&member()), messages).unwrap());
        ada.gets(seen("room:1", "é", json!({ "b": 1.10, "a": [] })));
        ada.gets(seen("room:1", "x", json!({})));
        ada.gets(seen("room:1", "y", json!({})));
        ada.gets_nothing();
    });
}

/// A message with `persist` is retained or refused: a client that is not told otherwise would rely on it.
#[test]
fn a_single_message_that_asks_for_it_is_kept_or_refused() {
    let forbidden = json!({ "message": "Unauthorized" });
    let ask = |sender, topic: &str, private| {
        rest::single(&deployment(), sender, (topic.to_owned(), "ev".to_owned()), (private, true), json_of("{}"))
    };
    let (member, guest) = (member(), guest());
    for (sender, topic, private) in [
        (Sender::Client(&member), "room:1", true),
        (Sender::Client(&guest), "log:1", false),
        (Sender::Client(&guest), "nowhere", true),
        (Sender::Service, "log:1", false),
    ] {
        is_answered(ask(sender, topic, private), 403, forbidden.clone());
    }
    assert!(ask(Sender::Client(&guest), "log:1", true).unwrap().history);
    assert!(ask(Sender::Service, "room:1", true).unwrap().history);
    for (flag, ttl, persist) in [
        (None, None, false),
        (Some("false"), None, false),
        (Some("true"), None, true),
        (None, Some("1"), true),
        (None, Some("259200"), true),
    ] {
        assert_eq!(rest::persists(flag, ttl), Ok(persist), "{flag:?} {ttl:?}");
    }
    for ttl in ["0", "259201", "-1", "1.5", "1e2", "an hour", " 60", "99999999999999999999"] {
        is_answered(rest::persists(None, Some(ttl)), 422, json!({ "error": "invalid_persist_ttl" }));
    }
}

#[test]
fn a_single_message_carries_any_json_or_bytes() {
    every_way(channels(), |rig| {
        let ada = rig.connect("ada", &["member"]);
        subscribe(rig, &ada, "room:1", true);
        let bodies = [
            (r#" {"b":1.10,"a":"\ud800"} "#, r#"{"b":1.10,"a":"\ud800"}"#),
            ("[1, 2]", r#"{"_json":[1, 2]}"#),
            ("null", r#"{"_json":null}"#),
            ("\"é\"\n", r#"{"_json":"é"}"#),
            ("-0", r#"{"_json":-0}"#),
        ];
        for (body, payload) in bodies {
            publish(rig, &[single(Sender::Client(&member()), "room:1", json_of(body)).unwrap()]);
            let frame =
                format!("{{\"type\":\"broadcast\",\"event\":\"ev\",\"payload\":{payload},\"topic\":\"room:1\"}}");
            assert_eq!(ada.next_text(), frame);
        }
        publish(rig, &[single(Sender::Client(&member()), "room:1", Body::Binary(vec![1, 2, 255])).unwrap()]);
        ada.gets(
            json!({ "type": "broadcast", "event": "ev", "payload": "AQL/", "encoding": "base64", "topic": "room:1" }),
        );
    });
}

#[test]
fn what_a_client_publishes_is_kept_only_where_the_policy_says_so() {
    every_way(channels(), |rig| {
        let (member, body) = (member(), || json_of(r#"{"n":{}}"#));
        let kept = |rig: &Rig| rig.storage.history.len();
        publish(rig, &[single(Sender::Client(&member), "room:1", body()).unwrap()]);
        publish(rig, &[single(Sender::Client(&member), "room:1", Body::Binary(vec![7])).unwrap()]);
        let public = json!([{ "topic": "log:1", "event": "e", "payload": {} }]);
        publish(rig, &batch(Sender::Client(&member), public).unwrap());
        assert_eq!(kept(rig), 0);
        publish(rig, &[single(Sender::Client(&member), "log:1", body()).unwrap()]);
        assert_eq!(kept(rig), 1);
        publish(rig, &[single(Sender::Service, "room:1", body()).unwrap()]);
        assert_eq!(kept(rig), 2, "the service publishes as with POST /broadcast");
        let ada = rig.connect("ada", &["member"]);
        let from = json!({ "epoch": rig.epoch(), "offset": 0 });
        rig.frame(&ada, json!({ "type": "subscribe", "id": "s", "topic": "log:1", "recover": from }));
        ada.gets(json!({ "type": "subscribed", "id": "s", "recovered": true }));
        ada.gets(seen("log:1", "ev", json!({ "n": {} })));
    });
}

#[test]
fn the_channel_policies_decide_what_a_client_may_publish() {
    let guest = guest();
    let forbidden = json!({ "message": "Unauthorized" });
    is_answered(single(Sender::Client(&guest), "room:1", json_of("{}")), 403, forbidden.clone());
    is_answered(single(Sender::Client(&guest), "nowhere", Body::Binary(vec![1])), 403, forbidden.clone());
    assert!(single(Sender::Client(&guest), "log:1", json_of("{}")).is_ok());
    assert!(single(Sender::Service, "nowhere", json_of("{}")).is_ok());
    let message =
        |topic: &str, private: bool| json!({ "topic": topic, "event": "e", "payload": {}, "private": private });
    let messages = json!([message("room:1", true), message("room:1", false), message("log:1", true)]);
    let topics = |sender| batch(sender, messages.clone()).unwrap().into_iter().map(|one| one.topic.unwrap());
    let for_guest: Vec<_> =
        topics(Sender::Client(&guest)).map(|topic| (topic.name.to_string(), topic.private)).collect();
    assert_eq!(for_guest, [("room:1".to_owned(), false), ("log:1".to_owned(), true)]);
    assert_eq!(topics(Sender::Client(&member())).count(), 3);
    let closed = configuration(&json!({ "publicTopics": false }), &[]);
    let place = ("t".to_owned(), "e".to_owned());
    is_answered(
        rest::single(&closed, Sender::Client(&guest), place.clone(), (false, false), json_of("{}")),
        403,
        forbidden,
    );
    assert!(rest::single(&closed, Sender::Service, place, (false, false), json_of("{}")).is_ok());
    let body = json!({ "messages": [message("t", false)] }).to_string();
    assert_eq!(rest::batch(&closed, Sender::Client(&guest), &json_of(&body)), Ok(Vec::new()));
}

#[test]
fn what_is_wrong_with_a_batch_is_named_message_by_message() {
    let (blank, invalid) = (json!(["can't be blank"]), json!(["is invalid"]));
    let long = json!(["should be at most 255 byte(s)"]);
    let good = || json!({ "topic": "t", "event": "e", "payload": {} });
    let with = |name: &str, value: Value| {
        let mut message = good();
        message[name] = value;
        message
    };
    let cases = [
        (json!({}), json!({ "topic": blank, "event": blank, "payload": blank })),
        (with("topic", json!("")), json!({ "topic": blank })),
        (with("topic", json!(7)), json!({ "topic": invalid })),
        (with("topic", json!("é".repeat(128))), json!({ "topic": long })),
        (with("event", json!(null)), json!({ "event": blank })),
        (with("event", json!(["e"])), json!({ "event": invalid })),
        (with("payload", json!(null)), json!({ "payload": blank })),
        (with("payload", json!("text")), json!({ "payload": invalid })),
        (with("payload", json!([])), json!({ "payload": invalid })),
        (with("private", json!(1)), json!({ "private": invalid })),
        (json!("text"), json!({ "message": invalid })),
    ];
    for (message, errors) in cases {
        let answered = batch(Sender::Client(&member()), json!([good(), message]));
        is_answered(answered, 422, json!({ "errors": { "messages": [{}, errors] } }));
    }
    let read = |body: &str| rest::batch(&deployment(), Sender::Service, &json_of(body));
    is_answered(read("{}"), 422, json!({ "errors": { "messages": blank } }));
    is_answered(read(r#"{"messages":null}"#), 422, json!({ "errors": { "messages": blank } }));
    is_answered(read(r#"{"messages":{}}"#), 422, json!({ "errors": { "messages": invalid } }));
    let twice = r#"{"messages":[{"topic":"t","event":"e","payload":{"a":1,"a":2}}]}"#;
    is_answered(read(twice), 422, json!({ "errors": { "messages": [{ "payload": invalid }] } }));
    for odd in ["", "[]", "nonsense", r#"{"messages":[]"#] {
        assert_eq!(read(odd).unwrap_err().answer.status, 400, "{odd}");
    }
    assert_eq!(read(r#"{"messages":[]}"#), Ok(Vec::new()));
    let bytes = rest::batch(&deployment(), Sender::Service, &Body::Binary(vec![1]));
    assert_eq!(bytes.unwrap_err().answer.status, 415);
}

#[test]
fn what_is_wrong_with_a_single_message_is_named() {
    let place = |topic: &str, event: &str| (topic.to_owned(), event.to_owned());
    let ask = |place, body: &str| rest::single(&deployment(), Sender::Service, place, (true, false), json_of(body));
    let blank = json!(["can't be blank"]);
    is_answered(ask(place("", ""), ""), 422, json!({ "errors": { "topic": blank, "event": blank, "payload": blank } }));
    let long = json!({ "errors": { "event": ["should be at most 255 byte(s)"] } });
    is_answered(ask(place("t", &"e".repeat(256)), "{}"), 422, long);
    for odd in ["{", "nonsense", "{} {}", r#"{"a":1,"a":2}"#, "1,\"b\":2", "1,\"_json\":2", "1}{", "\u{a0}1"] {
        is_answered(ask(place("t", "e"), odd), 422, json!({ "errors": { "payload": ["is invalid"] } }));
    }
}

#[test]
fn no_payload_of_a_client_is_larger_than_its_frames_may_be() {
    let small = configuration(&json!({ "limits": { "frameBytes": 16 } }), &[]);
    let guest = guest();
    let ask = |sender, body| rest::single(&small, sender, ("t".to_owned(), "e".to_owned()), (false, false), body);
    let large = || json!({ "errors": { "payload": ["Payload size exceeds tenant limit"] } });
    let fits = |body: Body| assert!(ask(Sender::Client(&guest), body).is_ok());
    fits(Body::Binary(vec![0; 16]));
    fits(json_of(r#"{"a":"12345678"}"#));
    is_answered(ask(Sender::Client(&guest), Body::Binary(vec![0; 17])), 422, large());
    is_answered(ask(Sender::Client(&guest), json_of(r#"{"a":"123456789"}"#)), 422, large());
    is_answered(ask(Sender::Client(&guest), json_of("\"this is too long\"")), 422, large());
    is_answered(Err::<(), _>(rest::rejected(Code::PayloadTooLarge)), 422, large());
    assert!(ask(Sender::Service, Body::Binary(vec![0; 17])).is_ok());
    let body = json!({ "messages": [{ "topic": "t", "event": "e", "payload": { "a": "123456789" } }] }).to_string();
    let errors = json!({ "errors": { "messages": [{ "payload": ["Payload size exceeds tenant limit"] }] } });
    is_answered(rest::batch(&small, Sender::Client(&guest), &json_of(&body)), 422, errors);
}

#[test]
fn too_much_at_once_is_told_in_supabases_words() {
    let messages = |count| json!(vec![json!({ "topic": "t", "event": "e", "payload": {} }); count]);
    assert_eq!(batch(Sender::Service, messages(100)).unwrap().len(), 100);
    let reduce = json!({ "message": "Too many messages to broadcast, please reduce the batch size" });
    is_answered(batch(Sender::Service, messages(101)), 429, reduce);
    is_answered(rest::answered(429), 429, json!({ "message": "Too many requests" }));
    let mut rig = Rig::new(&json!({ "limits": { "publicationsPerSecond": 1 } }));
    let publications = batch(Sender::Service, messages(3)).unwrap();
    let mut ask = || rest::answered(rig.publish_text(&publish::request(ORGANIZATION, None, &publications)).status);
    assert_eq!(ask(), Ok(rest::accepted()));
    is_answered(ask(), 429, json!({ "message": "Too many requests" }));
}

#[test]
fn every_other_refusal_has_its_status_and_words() {
    let unauthorized = || json!({ "message": "Unauthorized" });
    for code in [Code::Unauthorized, Code::InvalidToken, Code::TokenExpired, Code::WrongOrganization] {
        is_answered(Err::<(), _>(rest::rejected(code)), 401, unauthorized());
    }
    is_answered(Err::<(), _>(rest::rejected(Code::OriginNotAllowed)), 403, unauthorized());
    let media = "Unsupported Media Type. Use application/json or application/octet-stream";
    is_answered(Err::<(), _>(rest::rejected(Code::UnsupportedMediaType)), 415, json!({ "error": media }));
    let overloaded = json!({ "message": Code::Overloaded.sentence() });
    is_answered(rest::answered(503), 503, overloaded);
    is_answered(rest::answered(500), 500, json!({ "message": Code::Internal.sentence() }));
    is_answered(rest::answered(400), 500, json!({ "message": Code::Internal.sentence() }));
    assert_eq!((rest::accepted().status, rest::accepted().body.as_str()), (202, ""));
}

#[test]
fn topic_and_event_stand_in_the_path() {
    let place = |path: &str| rest::place(&format!("/realtime/v1/api/broadcast{path}"));
    let found = |topic: &str, event: &str| Some((topic.to_owned(), event.to_owned()));
    assert_eq!(place("/room%3A%C3%A9/events/ev%2F1"), found("room:é", "ev/1"));
    assert_eq!(place("/a%2Fevents%2Fb/events/c+d"), found("a/events/b", "c+d"));
    assert_eq!(place("/events/events/events"), found("events", "events"));
    assert_eq!(place("//events/"), found("", ""), "which is refused by its names");
    for other in ["", "/", "/a", "/a/events", "/a/b/events/c", "/a/events/b/c", "/%ff/events/a", "/a/events/%c3"] {
        assert_eq!(place(other), None, "{other}");
    }
}

/// Texts that are JSON, nearly JSON, or not JSON at all.
fn bodies() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[\\[\\]{}:, \\\\\"ae0-]{0,12}".boxed(),
        any::<String>().prop_map(|text| json!(text).to_string()).boxed(),
        Just(r#""\ud800""#.to_owned()).boxed(),
        any::<f64>().prop_map(|number| json!(number).to_string()).boxed(),
    ];
    (piece.clone(), piece, any::<String>()).prop_flat_map(|(one, other, key)| {
        let key = json!(key);
        prop_oneof![
            Just(one.clone()),
            Just(format!("{{{key}:{one}}}")),
            Just(format!("{{{key}:{one},\"b\":{other}}}")),
            Just(format!("[{one},{other}]")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The object reads again what the Worker has read, and must find the same, never a reason to refuse.
    #[test]
    fn what_the_worker_accepts_the_object_reads_alike(
        topic in any::<String>(), event in any::<String>(), body in bodies(), bytes in vec(any::<u8>(), 0..40),
        private in any::<bool>(), is_service in any::<bool>(), is_binary in any::<bool>(),
    ) {
        let member = member();
        let sender = if is_service { Sender::Service } else { Sender::Client(&member) };
        let topic = if private { format!("log:{topic}") } else { topic };
        let sent = if is_binary { Body::Binary(bytes) } else { json_of(&body) };
        let published = rest::single(&deployment(), sender, (topic.clone(), event.clone()), (private, false), sent);
        let message = format!(
            "{{\"messages\":[{{\"topic\":{},\"event\":{},\"private\":{private},\"payload\":{body}}}]}}",
            json!(topic), json!(event),
        );
        let batch = rest::batch(&deployment(), sender, &json_of(&message));
        for publications in [published.map(|one| vec![one]), batch].into_iter().flatten().filter(|some| !some.is_empty()) {
            let read = PublishRequest::read(&publish::request(ORGANIZATION, None, &publications));
            let read = read.map_err(|refusal| TestCaseError::fail(format!("{refusal:?}")))?;
            prop_assert_eq!(&read.publications, &publications);
            prop_assert_eq!(&read.organization, ORGANIZATION);
        }
    }

    #[test]
    fn no_path_and_no_body_is_too_odd(path in any::<String>(), body in bodies()) {
        let _ = rest::place(&path);
        let _ = rest::place(&format!("/realtime/v1/api/broadcast/{path}"));
        let _ = rest::batch(&deployment(), Sender::Service, &json_of(&body));
        let _ = rest::batch(&deployment(), Sender::Service, &Body::Json(format!("{{\"messages\":{body}}}")));
        let _ = rest::batch(&deployment(), Sender::Service, &Body::Json(format!("{{\"messages\":[{body}]}}")));
    }
}
