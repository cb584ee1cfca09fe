//! The event stream's blocks, byte for byte, and how they are processed: ids are completed, no value breaks a block,
//! and malformed input opens no stream. The documented blocks are the files under `tests/dialects/event_stream/`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use realtime_worker::code::{Code, Refusal};
use realtime_worker::dialect::event_stream::block::{complete, position};
use realtime_worker::dialect::event_stream::{EventStream, PROFILE};
use realtime_worker::dialect::native::{self, Native};
use realtime_worker::dialect::{Dialect, Frame, Received};
use realtime_worker::engine::command::Position;
use realtime_worker::engine::event::{Authenticated, Event, Member, View};
use realtime_worker::engine::profile::Profile;
use realtime_worker::engine::publication::Payload;
use realtime_worker::engine::shared_text::SharedText;
use realtime_worker::policy::channel::Topic;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use realtime_worker::policy::secret::Secret;
use realtime_worker::policy::stream_key::StreamKey;
use realtime_worker::policy::table::Operation;
use realtime_worker::server::event_stream::body::EventStreamBody;
use realtime_worker::server::streaming::StreamedBody;
use realtime_worker::value::row::Row;

/// The golden frames of one side, by name.
fn golden(side: &str) -> BTreeMap<String, String> {
    let folder = format!("{}/tests/dialects/event_stream/{side}", env!("CARGO_MANIFEST_DIR"));
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap())
    };
    std::fs::read_dir(folder).unwrap().map(file).collect()
}

fn topic() -> Option<Topic> {
    Some(Topic { private: true, name: Rc::from("room:1") })
}

fn authenticated(recovered: Option<bool>) -> Event {
    let principal = Principal {
        user: Some("u7".to_owned()),
        roles: Roles::new(["admin".to_owned(), "hr".to_owned()]),
        method: Method::Session,
        expires: None,
        claims: BTreeMap::new(),
        all_claims: None,
        grants: Default::default(),
    };
    Event::Authenticated(Authenticated {
        organization: Rc::from("org_1"),
        principal: Rc::new(principal),
        position: Some(Position { epoch: "epoch1".to_owned(), offset: 41 }),
        recovered,
        is_renewal: false,
    })
}

fn message(payload: &str, offset: u64) -> Event {
    Event::Message {
        event: Rc::from("started"),
        payload: Payload::Json(Rc::from(payload)),
        whole: None,
        topic: topic(),
        offset: Some(offset),
        retained: None,
        is_own: false,
        shared: SharedText::default(),
    }
}

fn events() -> Vec<(&'static str, Event)> {
    let row = Row::read(r#"{"id":"mat_123","status":"completed"}"#).unwrap();
    let change = Event::Change {
        schema: Rc::from("public"),
        table: Rc::from("materials"),
        view: Rc::new(View { operation: Operation::Update, new: Some(row), old: None }),
        topic: None,
        offset: Some(42),
        bindings: None,
        shared: SharedText::default(),
    };
    let user = Some(Rc::from("u7"));
    let member = Rc::new(Member { client_id: Rc::from("c1"), user, key: None, metadata: Rc::from("{}") });
    vec![
        ("change", change),
        ("broadcast", message(r#"{"materialId":"mat_123"}"#, 43)),
        ("broadcast_written_over_several_lines", message("{\n  \"a\": \"id: x\\n\\ndata: y\",\r\n \"b\": 1\n}", 44)),
        ("auth_success", authenticated(None)),
        ("auth_success_after_a_gap", authenticated(Some(false))),
        ("auth_success_recovered", authenticated(Some(true))),
        ("presence_leave", Event::PresenceLeft { topic: topic(), member }),
        ("error", Event::Refused { refusal: Refusal::of(Code::Forbidden), id: None, topic: None }),
    ]
}

#[test]
fn every_block_is_written_as_documented() {
    let golden = golden("server");
    let names: BTreeSet<&str> = events().iter().map(|(name, _)| *name).collect();
    assert_eq!(golden.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "every file has its event");
    for (name, event) in events() {
        assert_eq!(EventStream.encode(None, &event), [Frame::Text(golden.get(name).unwrap().clone())], "{name}");
    }
}

/// A client's frames are those of the native dialect, and are handled in the same way.
#[test]
fn frames_and_semantics_are_the_native_ones() {
    for (name, text) in golden("client") {
        let command = EventStream.decode(Received::Text(&text)).unwrap();
        assert_eq!(format!("{command:?}"), format!("{:?}", Native.decode(Received::Text(&text)).unwrap()), "{name}");
    }
    for malformed in ["", "{", "[]", "{\"type\":\"x\"}", "data: {}\n\n"] {
        let [ours, native] = [&EventStream as &dyn Dialect, &Native].map(|of| of.decode(Received::Text(malformed)));
        assert_eq!(format!("{ours:?}"), format!("{native:?}"), "{malformed}");
        assert!(ours.is_err(), "{malformed}");
    }
    // The Worker answers pings and measures what was read, so the object does neither.
    let Profile { name, auto_response, read_confirmation, .. } = native::PROFILE;
    assert_eq!(Profile { name, auto_response, read_confirmation, ..PROFILE }, native::PROFILE);
}

#[test]
fn an_id_leaves_with_its_epoch_or_not_at_all() {
    let mut epoch = None;
    assert_eq!(complete("id: 41\ndata: {}\n\n", &mut epoch), "data: {}\n\n", "of who knows which stream");
    assert_eq!(complete("data: {}\n\n", &mut epoch), "data: {}\n\n");
    assert_eq!(complete("id: e:1:41\ndata: {}\n\n", &mut epoch), "id: e:1:41\ndata: {}\n\n");
    assert_eq!(complete("id: 42\ndata: {}\n\n", &mut epoch), "id: e:1:42\ndata: {}\n\n");
    assert_eq!(complete("id: f:1\ndata: {}\n\n", &mut epoch), "id: f:1\ndata: {}\n\n", "the stream began anew");
    assert_eq!(complete("id: 2\ndata: {}\n\n", &mut epoch), "id: f:2\ndata: {}\n\n");
    assert_eq!(complete("", &mut epoch), "");
}

#[test]
fn an_id_is_read_as_it_was_written() {
    assert_eq!(position("epoch1:42"), Some(("epoch1".to_owned(), 42)));
    assert_eq!(position("e:1:0"), Some(("e:1".to_owned(), 0)));
    for malformed in ["", ":", "42", "e:", ":42", "e:-1", "e:+1", "e: 1", "e:1.5", "e:99999999999999999999", "e:1\n"] {
        assert_eq!(position(malformed), None, "{malformed:?}");
    }
}

#[test]
fn a_body_says_when_to_come_back() {
    let secret = Secret::new("an-access-token-of-thirty-two-bytes");
    let key = |client_id: &str| StreamKey { organization: "org_1".into(), client_id: client_id.into() };
    let body = |client_id: &str| EventStreamBody::new(&key(client_id), &secret, Some("e".into())).unwrap();
    let retry = |text: &str| text.strip_prefix("retry: ").unwrap().split_once('\n').unwrap().0.parse::<u32>().unwrap();
    let returns: BTreeSet<u32> = ["0000", "0bb7", "3f21", "ffff"].iter().map(|id| retry(&body(id).opening())).collect();
    assert!(returns.len() > 2 && returns.iter().all(|retry| (1_000..4_000).contains(retry)), "{returns:?}");
    let mut one = body("0000");
    let opening = one.opening();
    let data = opening.split_once("data: ").unwrap().1.trim();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(StreamKey::verify(data["key"].as_str().unwrap(), [&secret].into_iter()), Ok(key("0000")));
    assert_eq!(
        one.frame("id: 7\ndata: {}\n\n"),
        "id: e:7\ndata: {}\n\n",
        "the epoch of the position that it goes on from"
    );
    let ends = [("token_expired", 1_000), ("", 1_000), ("too_slow", 16_000), ("wrong_organization", 300_000)];
    for (reason, after) in ends {
        let end = format!("retry: {after}\nevent: end\ndata: {{\"code\":1008,\"reason\":\"{reason}\"}}\n\n");
        assert_eq!(one.end(1008, reason), end);
    }
}
