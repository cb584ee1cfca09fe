//! The native dialect's frames, byte for byte: every server frame is written as documented, and every client frame is
//! read as documented. The documented frames are the files under `tests/dialects/native/`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use realtime_worker::code::{Code, Refusal};
use realtime_worker::dialect::native::Native;
use realtime_worker::dialect::{Dialect, Frame, Received};
use realtime_worker::engine::command::{Authenticate, Command, Position, Recover, Subscribe, Target};
use realtime_worker::engine::event::{Authenticated, Event, Member, View};
use realtime_worker::engine::publication::Payload;
use realtime_worker::engine::shared_text::SharedText;
use realtime_worker::policy::channel::Topic;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use realtime_worker::policy::table::Operation;
use realtime_worker::value::row::Row;

/// The golden frames of one side, by name.
fn golden(side: &str) -> BTreeMap<String, String> {
    let folder = format!("{}/tests/dialects/native/{side}", env!("CARGO_MANIFEST_DIR"));
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), text.trim_end_matches('\n').to_owned())
    };
    std::fs::read_dir(folder).unwrap().map(file).collect()
}

fn topic(private: bool) -> Option<Topic> {
    Some(Topic { private, name: Rc::from("room:1") })
}

fn change(operation: Operation, new: Option<&str>, old: Option<&str>) -> Event {
    let row = |text: &str| Row::read(text).unwrap();
    let view = Rc::new(View { operation, new: new.map(row), old: old.map(row) });
    Event::Change {
        schema: Rc::from("public"),
        table: Rc::from("materials"),
        view,
        topic: None,
        offset: None,
        bindings: None,
        shared: SharedText::default(),
    }
}

fn changes() -> Vec<(&'static str, Event)> {
    let deleted = change(Operation::Delete, None, Some(r#"{"id":"mat_123"}"#));
    let Event::Change { table, view, .. } = deleted.clone() else { panic!("a change") };
    let elsewhere = Event::Change {
        schema: Rc::from("app"),
        table,
        view,
        topic: topic(true),
        offset: Some(42),
        bindings: None,
        shared: SharedText::default(),
    };
    let inserted = r#"{"id":"mat_123","title":"Breaking News","status":"pending"}"#;
    let updated = [r#"{"id":"mat_123","status":"completed"}"#, r#"{"id":"mat_123","status":"pending"}"#];
    let message = |event: &str, payload: &str, topic, offset| Event::Message {
        event: Rc::from(event),
        payload: Payload::Json(Rc::from(payload)),
        whole: None,
        topic,
        offset,
        retained: None,
        is_own: false,
        shared: SharedText::default(),
    };
    let complete = r#"{"materialId":"mat_123","claimCount":5,"duration":1234}"#;
    let started = message("extraction:started", r#"{"materialId":"mat_123"}"#, topic(false), Some(42));
    let mut bytes = message("image", "", None, None);
    if let Event::Message { payload, .. } = &mut bytes {
        *payload = Payload::Binary(Rc::from([1, 2, 255]));
    }
    vec![
        ("insert", change(Operation::Insert, Some(inserted), None)),
        ("update", change(Operation::Update, Some(updated[0]), Some(updated[1]))),
        ("delete", deleted),
        ("change_to_a_topic_with_offset", elsewhere),
        ("broadcast", message("processing-complete", complete, None, None)),
        ("broadcast_to_a_topic_with_offset", started),
        ("broadcast_of_bytes", bytes),
    ]
}

/// An insert and a message, in one frame.
fn batch() -> Event {
    let named = |wanted: &str| changes().into_iter().find(|(name, _)| *name == wanted).map(|(_, event)| event);
    let events = ["insert", "broadcast_to_a_topic_with_offset"].map(named);
    Event::Batch(events.into_iter().map(Option::unwrap).collect())
}

fn authentications() -> Vec<(&'static str, Event)> {
    let principal = |user: Option<&str>, roles: &[&str], method| Principal {
        user: user.map(str::to_owned),
        roles: Roles::new(roles.iter().map(|role| (*role).to_owned())),
        method,
        expires: None,
        claims: BTreeMap::new(),
        all_claims: None,
        grants: Default::default(),
    };
    let success = |principal: Principal, position: Option<Position>, recovered| {
        let (organization, principal) = (Rc::from("org_1"), Rc::new(principal));
        Event::Authenticated(Authenticated { organization, principal, position, recovered, is_renewal: false })
    };
    let user = || principal(Some("u7"), &["admin", "hr"], Method::Session);
    let position = || Some(Position { epoch: "epoch1".to_owned(), offset: 41 });
    vec![
        ("auth_success", success(user(), None, None)),
        ("auth_success_of_a_key", success(principal(None, &[], Method::ApiKey), None, None)),
        ("auth_success_with_position", success(user(), position(), None)),
        ("auth_success_recovered", success(user(), position(), Some(true))),
        ("auth_error", Event::AuthFailed(Code::InvalidToken)),
        ("auth_expired", Event::AuthExpired),
        ("pong", Event::Pong { id: None }),
        ("ping", Event::Ping),
        ("feed_live", Event::Feed { is_live: true }),
        ("feed_lost", Event::Feed { is_live: false }),
    ]
}

fn answers() -> Vec<(&'static str, Event)> {
    let id = |id: &str| id.to_owned();
    let missing = Refusal::at(Code::InvalidFrame, "payload", "payload is required");
    vec![
        ("subscribed", Event::Subscribed { id: id("s1"), answer: None, recovered: None }),
        ("subscribed_recovered", Event::Subscribed { id: id("s1"), answer: None, recovered: Some(false) }),
        ("unsubscribed", Event::Unsubscribed { id: id("s1") }),
        ("ack", Event::Acknowledged { id: id("c9"), retained: None }),
        ("error", Event::Refused { refusal: Refusal::of(Code::Forbidden), id: None, topic: None }),
        ("error_with_id_and_field", Event::Refused { refusal: missing, id: Some(id("c9")), topic: None }),
    ]
}

fn presences() -> Vec<(&'static str, Event)> {
    let member = |client: &str, user: Option<&str>, metadata: &str| {
        Rc::new(Member {
            client_id: Rc::from(client),
            user: user.map(Rc::from),
            key: None,
            metadata: Rc::from(metadata),
        })
    };
    let busy = || member("c1", Some("u7"), r#"{"state":"busy"}"#);
    let members = vec![busy(), member("c2", None, "{}")];
    vec![
        ("presence_state", Event::PresenceState { topic: topic(true), members }),
        ("presence_state_of_the_lobby", Event::PresenceState { topic: None, members: Vec::new() }),
        ("presence_join", Event::PresenceJoined { topic: topic(true), member: busy() }),
        ("presence_update", Event::PresenceUpdated { topic: None, member: busy(), before: busy() }),
        ("presence_leave", Event::PresenceLeft { topic: topic(false), member: busy() }),
    ]
}

#[test]
fn every_server_frame_is_written_as_documented() {
    let golden = golden("server");
    let events = [changes(), authentications(), answers(), presences(), vec![("batch", batch())]];
    let events: Vec<_> = events.into_iter().flatten().collect();
    let names: BTreeSet<&str> = events.iter().map(|(name, _)| *name).collect();
    assert_eq!(golden.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "every file has its event");
    for (name, event) in events {
        assert_eq!(Native.encode(None, &event), [Frame::Text(golden.get(name).unwrap().clone())], "{name}");
    }
}

type Check = fn(Command) -> bool;

fn is_recovery(command: Command, expected: Recover, count: usize) -> bool {
    matches!(command, Command::Authenticate(Authenticate { token, recover, subscriptions, .. })
        if token.expose() == "a session token" && recover == expected && subscriptions.as_ref().map_or(0, Vec::len) == count)
}

fn is_recovery_batched(command: Command) -> bool {
    matches!(&command, Command::Authenticate(Authenticate { batches: true, .. }))
        && is_recovery(command, Recover::On, 0)
}

fn is_table(command: Command, event: Option<Operation>, filter: &str) -> bool {
    matches!(command, Command::Subscribe(Subscribe { id, target: Target::Table(table), .. }) if id == "s1"
        && (table.schema.as_str(), table.table.as_str()) == ("public", "claims")
        && table.event == event && table.filter.text() == filter)
}

fn is_topic(command: Command, private: bool, asks_for_more: bool) -> bool {
    matches!(command, Command::Subscribe(Subscribe { id, target: Target::Topic { topic: at, presence }, recover, .. })
        if id == "s2" && Some(&at) == topic(private).as_ref() && presence == asks_for_more && recover.is_some() == asks_for_more)
}

fn is_publication(command: Command, json: &str, asks_for_ack: bool) -> bool {
    let carried = Payload::Json(Rc::from(json));
    matches!(command, Command::Publish { topic: at, event, payload, id, echo, key: None } if Some(&at) == topic(true).as_ref()
        && event == "cursor" && payload == carried && echo == asks_for_ack
        && id.as_deref() == asks_for_ack.then_some("c9"))
}

fn checks() -> Vec<(&'static str, Check)> {
    vec![
        ("auth", |c| is_recovery(c, Recover::Off, 0)),
        ("auth_with_recovery", |c| is_recovery(c, Recover::On, 0)),
        ("auth_with_batches", |c| is_recovery_batched(c)),
        ("auth_from_a_position", |c| {
            is_recovery(c, Recover::From(Position { epoch: "epoch1".to_owned(), offset: 41 }), 2)
        }),
        ("subscribe_to_a_table", |c| is_table(c, None, "status=eq.open")),
        ("subscribe_to_an_operation", |c| is_table(c, Some(Operation::Delete), "")),
        ("subscribe_to_a_topic", |c| is_topic(c, true, false)),
        ("subscribe_to_a_public_topic", |c| is_topic(c, false, true)),
        ("unsubscribe", |c| matches!(c, Command::Unsubscribe { id } if id == "s1")),
        ("broadcast", |c| is_publication(c, "{}", true)),
        ("broadcast_without_echo", |c| is_publication(c, "null", false)),
        (
            "broadcast_of_bytes",
            |c| matches!(c, Command::Publish { payload: Payload::Binary(bytes), .. } if *bytes == [1, 2, 255]),
        ),
        ("broadcast_with_a_key", |c| matches!(c, Command::Publish { key: Some(key), .. } if key == "k1")),
        (
            "presence_track",
            |c| matches!(c, Command::Track { topic: at, metadata, .. } if at == topic(true) && &*metadata == "{}"),
        ),
        (
            "presence_track_in_the_lobby",
            |c| matches!(c, Command::Track { topic: None, metadata, .. } if &*metadata == r#"{"state":"busy"}"#),
        ),
        ("presence_update", |c| matches!(c, Command::Update { topic: at, .. } if at == topic(true))),
        ("presence_untrack", |c| matches!(c, Command::Untrack { topic: at, .. } if at == topic(true))),
        ("ping", |c| matches!(c, Command::Ping { id: None })),
    ]
}

#[test]
fn every_client_frame_is_read_as_documented() {
    let golden = golden("client");
    let names: BTreeSet<&str> = checks().iter().map(|(name, _)| *name).collect();
    assert_eq!(golden.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "every file has its check");
    for (name, check) in checks() {
        let command = Native.decode(Received::Text(golden.get(name).unwrap())).unwrap();
        let shown = format!("{command:?}");
        assert!(check(command), "{name}: {shown}");
    }
}
