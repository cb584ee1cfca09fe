//! The Butterbase dialect's frames, byte for byte: every server frame is written as documented, and every client frame
//! is read as documented. The documented frames are the files under `tests/dialects/butterbase/`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use realtime_worker::code::{Code, Refusal};
use realtime_worker::dialect::butterbase::Butterbase;
use realtime_worker::dialect::butterbase::configuration::{ANONYMOUS, SERVICE};
use realtime_worker::dialect::{Dialect, Frame, Received};
use realtime_worker::engine::command::{Command, Position, Recover, Subscribe, TableTarget, Target};
use realtime_worker::engine::event::{Authenticated, Bindings, Called, Event, Member, TableWarning, View};
use realtime_worker::engine::publication::FromDatabase;
use realtime_worker::engine::shared_text::SharedText;
use realtime_worker::policy::channel::Topic;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use realtime_worker::policy::table::Operation;
use realtime_worker::value::row::Row;

/// 2026-08-22T08:56:00.000Z
const MINUTE: u64 = 1_787_388_960_000;

/// The golden frames of one side, by name.
fn golden(side: &str) -> BTreeMap<String, String> {
    let folder = format!("{}/tests/dialects/butterbase/{side}", env!("CARGO_MANIFEST_DIR"));
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), text.trim_end_matches('\n').to_owned())
    };
    std::fs::read_dir(folder).unwrap().map(file).collect()
}

fn change(
    operation: Operation,
    new: Option<&str>,
    old: Option<&str>,
    time: u64,
    (offset, numbers): (Option<u64>, &[u32]),
) -> Event {
    let row = |text: &str| Row::read(text).unwrap();
    Event::Change {
        schema: Rc::from("public"),
        table: Rc::from("messages"),
        view: Rc::new(View { operation, new: new.map(row), old: old.map(row) }),
        topic: None,
        offset,
        bindings: Some(Rc::new(Bindings {
            numbers: numbers.to_vec(),
            types: BTreeMap::new(),
            time: MINUTE + time,
            database: None,
        })),
        shared: SharedText::default(),
    }
}

/// The same change, of a row that was too large to be sent whole.
fn truncated(mut event: Event) -> Event {
    let Event::Change { bindings: Some(bindings), .. } = &mut event else { panic!("a change") };
    let database = Some(Rc::new(FromDatabase { truncated: true, ..FromDatabase::default() }));
    *bindings = Rc::new(Bindings { database, ..(**bindings).clone() });
    event
}

fn changes() -> Vec<(&'static str, Event)> {
    let [first, second] = ["hi", "hi!"].map(|body| format!(r#"{{"id":7,"room_id":"r1","body":"{body}"}}"#));
    let plain = (None, [].as_slice());
    vec![
        ("change_insert", change(Operation::Insert, Some(&first), None, 7_123, plain)),
        ("change_update", change(Operation::Update, Some(&second), Some(&first), 8_000, plain)),
        ("change_delete", change(Operation::Delete, None, Some(&second), 9_000, plain)),
        (
            "change_of_a_large_row",
            truncated(change(Operation::Update, Some(r#"{"id":7}"#), Some(r#"{"id":7}"#), 8_000, plain)),
        ),
        (
            "change_with_offset_and_subscriptions",
            change(Operation::Delete, None, Some(r#"{"id":7}"#), 9_000, (Some(42), &[1, 2])),
        ),
    ]
}

fn connections() -> Vec<(&'static str, Event)> {
    let named = |roles: &[&str], method| Principal {
        user: Some("u-1".to_owned()),
        roles: Roles::new(roles.iter().map(|role| (*role).to_owned())),
        method,
        expires: None,
        claims: BTreeMap::new(),
        all_claims: None,
        grants: std::collections::BTreeMap::new(),
    };
    let success = |principal: Principal, position: Option<Position>, recovered| {
        let (organization, principal) = (Rc::from("app_abc123"), Rc::new(principal));
        Event::Authenticated(Authenticated { organization, principal, position, recovered, is_renewal: false })
    };
    let user = || named(&["butterbase_user", "editor"], Method::Session);
    let position = Position { epoch: "epoch1".to_owned(), offset: 41 };
    vec![
        ("connected", success(user(), None, None)),
        ("connected_as_anonymous", success(Principal::anonymous(ANONYMOUS), None, None)),
        ("connected_as_service", success(named(&[SERVICE], Method::ApiKey), None, None)),
        ("connected_with_position", success(user(), Some(position), Some(true))),
        ("heartbeat", Event::Heartbeat { time: MINUTE + 30_000 }),
        ("error_of_an_ended_token", Event::Ended(Refusal::of(Code::TokenExpired))),
        ("error_of_authentication", Event::AuthFailed(Code::InvalidToken)),
        ("error_of_a_restart", Event::Ended(Refusal::of(Code::ServiceRestart))),
    ]
}

fn answers() -> Vec<(&'static str, Event)> {
    let subscribed = |id: &str, answer: Option<&str>, recovered| Event::Subscribed {
        id: id.to_owned(),
        answer: answer.map(Rc::from),
        recovered,
    };
    let warned = |id: &str, warning| Event::Warned { id: id.to_owned(), warning, organization: Rc::from("app_abc123") };
    let called = |id: Option<&str>, status, body: &str| {
        let (event, id, body) = (Rc::from("chat_message"), id.map(str::to_owned), Rc::from(body));
        Event::Called(Called { event, id, status, body })
    };
    let refused = |refusal, id: Option<&str>| Event::Refused { refusal, id: id.map(str::to_owned), topic: None };
    let because = |code, message: &'static str| Refusal::because(code, message);
    vec![
        ("subscribed", subscribed("messages\u{1f}", None, None)),
        ("subscribed_with_filter", subscribed("messages\u{1f}", Some(r#"{"room_id":"r1","archived":false}"#), None)),
        ("subscribed_by_number_from_a_position", subscribed("messages\u{1f}2", None, Some(false))),
        ("subscribed_to_a_room", subscribed("\u{1f}r1", None, None)),
        ("warning", warned("messages\u{1f}", TableWarning::NotEnabled)),
        ("warning_without_policy", warned("messages\u{1f}2", TableWarning::NoPolicy)),
        ("unsubscribed", Event::Unsubscribed { id: "messages\u{1f}".to_owned() }),
        ("event_response", called(None, 200, "{\"echo\":{\"text\":\"hello\"}}\n")),
        ("event_response_of_text", called(Some("\"c1\""), 500, "it broke")),
        ("error", refused(because(Code::InvalidFrame, "Missing \"table\" field"), None)),
        ("error_of_a_subscription", refused(Refusal::of(Code::Forbidden), Some("messages\u{1f}"))),
        ("error_of_the_feed", Event::Feed { is_live: false }),
        ("error_of_an_event", refused(because(Code::NoHandler, "No handler for event: x"), Some("7"))),
    ]
}

fn presences() -> Vec<(&'static str, Event)> {
    let member = |number: u8, user: Option<&str>, metadata: &str| {
        Rc::new(Member {
            client_id: Rc::from(format!("5d0f4b5e-0000-4000-8000-00000000000{number}")),
            user: user.map(Rc::from),
            key: None,
            metadata: Rc::from(metadata),
        })
    };
    let bob = member(1, Some("u-2"), r#"{"name":"Bob"}"#);
    let alice = member(2, Some("u-1"), r#"{"name":"Alice","cursor":{"x":100,"y":50}}"#);
    let moved = member(2, Some("u-1"), r#"{"name":"Alice","cursor":{"x":120,"y":60}}"#);
    let room = Some(Topic { private: true, name: Rc::from("r1") });
    vec![
        ("presence_state", Event::PresenceState { topic: None, members: vec![bob] }),
        ("presence_state_of_nobody", Event::PresenceState { topic: room.clone(), members: Vec::new() }),
        ("presence_join", Event::PresenceJoined { topic: None, member: alice.clone() }),
        ("presence_update", Event::PresenceUpdated { topic: None, member: moved, before: alice.clone() }),
        ("presence_leave", Event::PresenceLeft { topic: None, member: alice }),
        (
            "presence_leave_of_an_anonymous_in_a_room",
            Event::PresenceLeft { topic: room, member: member(3, None, "{}") },
        ),
    ]
}

#[test]
fn every_server_frame_is_written_as_documented() {
    let golden = golden("server");
    let events: Vec<_> = [changes(), connections(), answers(), presences()].into_iter().flatten().collect();
    let names: BTreeSet<&str> = events.iter().map(|(name, _)| *name).collect();
    assert_eq!(golden.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "every file has its event");
    for (name, event) in events {
        assert_eq!(Butterbase.encode(None, &event), [Frame::Text(golden.get(name).unwrap().clone())], "{name}");
    }
}

type Check = fn(Command) -> bool;

/// A subscription to all changes of `messages`: its id, its filter, further options.
fn is_table(command: Command, id: &str, filter: &str, check: fn(&Subscribe, &TableTarget) -> bool) -> bool {
    let Command::Subscribe(subscribe) = command else { return false };
    let Target::Table(table) = &subscribe.target else { return false };
    subscribe.id == id
        && (table.schema.as_str(), table.table.as_str(), table.event) == ("public", "messages", None)
        && table.filter.text() == filter
        && subscribe.answer.as_deref() == Some(filter).filter(|filter| !filter.is_empty())
        && check(&subscribe, table)
}

fn is_whole(subscribe: &Subscribe, table: &TableTarget) -> bool {
    subscribe.recover.is_none() && table.select.is_none() && table.number == 0
}

fn is_room(topic: Option<&Topic>) -> bool {
    topic.is_some_and(|topic| topic.private && &*topic.name == "r1")
}

fn is_track(command: Command, in_room: bool, metadata: &str) -> bool {
    matches!(command, Command::Track { topic, metadata: said, .. }
        if is_room(topic.as_ref()) == in_room && topic.is_some() == in_room && &*said == metadata)
}

fn is_call(command: Command, payload: &str, id: Option<&str>) -> bool {
    matches!(command, Command::Call(call)
        if &*call.event == "chat_message" && &*call.payload == payload && call.id.as_deref() == id)
}

fn checks() -> Vec<(&'static str, Check)> {
    let narrowed: Check = |c| {
        is_table(c, "messages\u{1f}2", r#"{"room_id":"r2"}"#, |_, table| {
            let select = table.select.as_ref().map(|select| select.iter().map(String::as_str).collect::<Vec<_>>());
            select == Some(vec!["body", "id"]) && table.number == 2
        })
    };
    let resumed: Check = |c| {
        let position = Position { epoch: "epoch1".to_owned(), offset: 41 };
        is_table(c, "messages\u{1f}", "", |_, table| table.number == 0) && {
            let text = golden("client").get("subscribe_from_a_position").unwrap().clone();
            let again = Butterbase.decode(Received::Text(&text)).unwrap();
            matches!(again, Command::Subscribe(subscribe) if subscribe.recover == Some(position))
        }
    };
    vec![
        ("subscribe", |c| is_table(c, "messages\u{1f}", "", is_whole)),
        ("subscribe_with_filter", |c| is_table(c, "messages\u{1f}", r#"{"room_id":"r1","archived":false}"#, is_whole)),
        ("subscribe_with_a_list_for_a_filter", |c| is_table(c, "messages\u{1f}", "", is_whole)),
        ("subscribe_with_unknown_keys", |c| is_table(c, "messages\u{1f}", "", is_whole)),
        ("subscribe_with_number_and_columns", narrowed),
        ("subscribe_from_a_position", resumed),
        ("subscribe_to_a_room", |c| {
            matches!(c, Command::Subscribe(Subscribe { id, target: Target::Topic { topic, presence: true }, .. })
                if id == "\u{1f}r1" && is_room(Some(&topic)))
        }),
        ("unsubscribe", |c| matches!(c, Command::Unsubscribe { id } if id == "messages\u{1f}")),
        ("unsubscribe_by_number", |c| matches!(c, Command::Unsubscribe { id } if id == "messages\u{1f}2")),
        ("presence_track", |c| is_track(c, false, r#"{"name":"Alice","cursor":{"x":100,"y":50}}"#)),
        ("presence_track_without_metadata", |c| is_track(c, false, "{}")),
        ("presence_track_with_other_metadata", |c| is_track(c, false, "{}")),
        ("presence_track_in_a_room", |c| is_track(c, true, "{}")),
        ("presence_update", |c| {
            matches!(c, Command::Update { topic: None, metadata }
                if &*metadata == r#"{"name":"Alice","cursor":{"x":120,"y":60}}"#)
        }),
        ("presence_untrack", |c| matches!(c, Command::Untrack { topic: None, .. })),
        ("event", |c| is_call(c, r#"{"text":"hello"}"#, None)),
        ("event_with_id", |c| is_call(c, "null", Some("\"c1\""))),
        ("auth", |c| {
            matches!(c, Command::Authenticate(frame)
                if frame.token.expose() == "a session token" && frame.recover == Recover::Off)
        }),
    ]
}

#[test]
fn every_client_frame_is_read_as_documented() {
    let golden = golden("client");
    let names: BTreeSet<&str> = checks().iter().map(|(name, _)| *name).collect();
    assert_eq!(golden.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "every file has its check");
    for (name, check) in checks() {
        let text = golden.get(name).unwrap();
        // A binary frame with the same text is the same.
        for frame in [Received::Text(text), Received::Binary(text.as_bytes())] {
            let command = Butterbase.decode(frame).unwrap();
            let shown = format!("{command:?}");
            assert!(check(command), "{name}: {shown}");
        }
    }
}

#[test]
fn every_error_has_the_documented_words() {
    let cases: [(&[u8], &str); 18] = [
        (b"{", "Invalid JSON"),
        (b"", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"{\"type\":\"subscribe\",\"table\":\"a\"} x", "Invalid JSON"),
        (b"{}", "Unknown message type: undefined"),
        (b"[]", "Unknown message type: undefined"),
        (b"5", "Unknown message type: undefined"),
        (br#"{"type":5}"#, "Unknown message type: 5"),
        (br#"{"type":null}"#, "Unknown message type: null"),
        (br#"{"type":"typing"}"#, "Unknown message type: typing"),
        (br#"{"type":"subscribe"}"#, "Missing \"table\" field"),
        (br#"{"type":"subscribe","table":7}"#, "Missing \"table\" field"),
        (br#"{"type":"unsubscribe","table":""}"#, "Missing \"table\" field"),
        (br#"{"type":"event","payload":1}"#, "Missing \"event\" field"),
        (br#"{"type":"auth"}"#, "Missing \"token\" field"),
        // Added by us; ignoring these keys would widen what is sent.
        (br#"{"type":"subscribe","table":"*"}"#, "Invalid \"table\" field"),
        (br#"{"type":"subscribe","table":"a","columns":"id"}"#, "Invalid \"columns\" field"),
        (br#"{"type":"subscribe","table":"a","recover":true}"#, "Invalid \"recover\" field"),
    ];
    for (frame, message) in cases {
        let malformed = Butterbase.decode(Received::Binary(frame)).unwrap_err();
        assert_eq!(malformed.refusal.message, message, "{}", String::from_utf8_lossy(frame));
    }
}

#[test]
fn only_an_object_is_a_filter() {
    let echoed = |filter: &str| {
        let frame = format!(r#"{{"type":"subscribe","table":"messages","filter":{filter}}}"#);
        let Command::Subscribe(subscribe) = Butterbase.decode(Received::Text(&frame)).unwrap() else {
            panic!("{frame}")
        };
        let Target::Table(TableTarget { filter, .. }) = &subscribe.target else { panic!("{frame}") };
        (subscribe.answer.as_deref().map(str::to_owned), filter.text().to_owned())
    };
    for none in ["null", "\"room_id=eq.r1\"", "7", "true", "[]", r#"[{"room_id":"r1"}]"#] {
        assert_eq!(echoed(none), (None, String::new()), "{none}");
    }
    for object in ["{}", r#"{"room_id":null}"#, r#"{"n":1.0,"tags":["a"]}"#] {
        assert_eq!(echoed(object), (Some(object.to_owned()), object.to_owned()));
    }
}

/// Members that do not fit into one frame of a roster follow as joins, each in its own frame here.
#[test]
fn members_that_appear_together_are_told_one_by_one() {
    let [(_, join), (_, leave)] = ["presence_join", "presence_leave"]
        .map(|kind| presences().into_iter().find(|(name, _)| *name == kind).unwrap());
    let both = Event::PresenceChanged { topic: None, changes: Rc::from([join.clone(), leave.clone()]) };
    let frames = [Butterbase.encode(None, &join), Butterbase.encode(None, &leave)].concat();
    assert_eq!((frames.len(), Butterbase.encode(None, &both)), (2, frames));
}

#[test]
fn the_last_of_two_members_of_one_name_counts() {
    let frame = r#"{"type":"event","type":"unsubscribe","table":"a","table":"b","\u0074able":"c"}"#;
    let command = Butterbase.decode(Received::Text(frame)).unwrap();
    assert!(matches!(command, Command::Unsubscribe { id } if id == "c\u{1f}"));
}
