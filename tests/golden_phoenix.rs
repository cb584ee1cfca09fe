//! The Phoenix dialect's frames, byte for byte: the frames of each generation of Supabase's clients are read as
//! documented, and every server frame is written as documented in both versions. The frames are the files under
//! `tests/dialects/phoenix/`: one frame a line, binary ones in hexadecimal.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use realtime_worker::code::{Code, Reason, Refusal};
use realtime_worker::dialect::phoenix::Phoenix;
use realtime_worker::dialect::phoenix::frame::Version;
use realtime_worker::dialect::{Dialect, Frame, Received};
use realtime_worker::engine::command::{ChannelAct, ChannelFrame, Command, Join, Replay};
use realtime_worker::engine::event::{Address, Bindings, Event, Member, Retained, View};
use realtime_worker::engine::publication::Payload;
use realtime_worker::engine::shared_text::SharedText;
use realtime_worker::policy::table::Operation;
use realtime_worker::policy::token::TokenError;
use realtime_worker::value::row::Row;

/// The golden frames of one folder, by name.
fn golden(folder: &str) -> BTreeMap<String, Vec<Frame>> {
    let folder = format!("{}/tests/dialects/phoenix/{folder}", env!("CARGO_MANIFEST_DIR"));
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let is_binary = path.extension().is_some_and(|extension| extension == "hex");
        let frame = |line: &str| if is_binary { Frame::Binary(bytes(line)) } else { Frame::Text(line.to_owned()) };
        (path.file_stem().unwrap().to_string_lossy().into_owned(), text.lines().map(frame).collect())
    };
    std::fs::read_dir(folder).unwrap().map(file).collect()
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hexadecimal.as_bytes().chunks(2).map(pair).collect()
}

/// One server frame's name, the join that it belongs to, and its event.
type Said = (&'static str, Option<&'static str>, Event);

fn joins() -> Vec<Said> {
    let joined = |answer: &str| Event::Joined { id: "6".to_owned(), answer: Rc::from(answer) };
    let refused = |refusal| Event::NotJoined { id: "6".to_owned(), refusal };
    let nameless = Refusal::with(Code::InvalidFrame, Reason::UnnamedTopic);
    let replay = Refusal::with(Code::InvalidFrame, Reason::PublicReplay);
    let binding = r#"[{"event":"*","schema":"public","table":"test","filter":"id=eq.1","id":1}]"#;
    let live = |tables, announce| Event::Live { tables, announce };
    let filter = Refusal::because(Code::InvalidFilter, "Error parsing `filter` params: [\"foo\", \"hey\"]");
    let events = [
        ("joined", joined(binding)),
        ("joined_without_tables", joined("[]")),
        ("not_joined_forbidden", refused(Refusal::of(Code::Forbidden))),
        ("not_joined_nameless", refused(nameless)),
        ("not_joined_replay", refused(replay)),
        ("not_joined_private_only", refused(Refusal::of(Code::PublicTopicsDisabled))),
        ("not_joined_too_many", refused(Refusal::of(Code::TopicLimit))),
        ("not_joined_bad_token", refused(TokenError::Malformed.into())),
        ("not_joined_endless_token", refused(TokenError::Endless.into())),
        ("not_joined_expired_token", refused(TokenError::Expired(3).into())),
        ("not_joined_forged_token", refused(Code::InvalidToken.into())),
        ("system_of_tables", live(Some(Ok(())), false)),
        ("system_of_messages", live(None, true)),
        ("system_of_both", live(Some(Ok(())), true)),
        ("system_error_of_tables", live(Some(Err(filter)), false)),
    ];
    events.map(|(name, event)| (name, Some("6"), event)).into()
}

fn answers() -> Vec<Said> {
    let retained = Retained { id: "006554ce".to_owned(), replayed: false };
    let id = |id: &str| Some(id.to_owned());
    let refused = |refusal| Event::Refused { refusal, id: id("9"), topic: None };
    let map = Refusal::because(Code::InvalidFrame, "Presence track payload must be a map");
    let expired = Refusal::because(Code::TokenExpired, "Token has expired 3 seconds ago");
    vec![
        ("heartbeat", None, Event::Pong { id: id("26") }),
        ("ack", Some("6"), Event::Acknowledged { id: "9".to_owned(), retained: None }),
        (
            "ack_of_what_is_kept",
            Some("6"),
            Event::Acknowledged { id: "9".to_owned(), retained: Some(Rc::new(retained)) },
        ),
        ("error_too_large", Some("6"), refused(Refusal::of(Code::FrameTooLarge))),
        ("error_unauthorized", Some("6"), refused(Refusal::of(Code::Forbidden))),
        ("error_of_a_ttl", Some("6"), refused(Refusal::with(Code::InvalidRequest, Reason::InvalidRetention))),
        ("error_of_presence", Some("6"), refused(map)),
        ("error_unmatched", None, refused(Refusal::of(Code::UnknownSubscription))),
        ("left", Some("6"), Event::Left { id: id("16") }),
        ("close", Some("6"), Event::Left { id: None }),
        ("expired", Some("6"), Event::Ended(expired)),
        ("no_longer_permitted", Some("6"), Event::Ended(Refusal::with(Code::Forbidden, Reason::ReadRevoked))),
    ]
}

fn changes() -> Vec<Said> {
    let types = [("id", "int8"), ("created_at", "timestamptz"), ("text", "text")];
    let types: BTreeMap<String, String> =
        types.into_iter().map(|(column, kind)| (column.to_owned(), kind.to_owned())).collect();
    let change = |operation, new: Option<&str>, old: Option<&str>| {
        let row = |text: &str| Row::read(text).unwrap();
        let bindings = Bindings { numbers: vec![1, 3], types: types.clone(), time: 1_763_511_760_877, database: None };
        Event::Change {
            schema: Rc::from("public"),
            table: Rc::from("test"),
            view: Rc::new(View { operation, new: new.map(row), old: old.map(row) }),
            topic: None,
            offset: None,
            bindings: Some(Rc::new(bindings)),
            shared: SharedText::default(),
        }
    };
    let new = Some(r#"{"id":46,"created_at":"2025-11-03T09:32:55+00:00","text":"content"}"#);
    let old = Some(r#"{"id":46}"#);
    vec![
        ("insert", None, change(Operation::Insert, new, None)),
        ("update", None, change(Operation::Update, new, old)),
        ("delete", None, change(Operation::Delete, None, old)),
    ]
}

fn message(event: &str, payload: Payload, retained: Option<(&str, bool)>) -> Event {
    let retained = retained.map(|(id, replayed)| Rc::new(Retained { id: id.to_owned(), replayed }));
    Event::Message {
        event: Rc::from(event),
        payload,
        whole: None,
        topic: None,
        offset: None,
        retained,
        is_own: false,
        shared: SharedText::default(),
    }
}

fn messages() -> Vec<Said> {
    let json = || Payload::Json(Rc::from(r#"{"x":1}"#));
    vec![
        ("broadcast", None, message("cursor", json(), None)),
        ("broadcast_with_id", None, message("cursor", json(), Some(("006554ce", false)))),
        ("broadcast_replayed", Some("6"), message("cursor", json(), Some(("006554ce", true)))),
    ]
}

fn presences() -> Vec<Said> {
    let member = |client: &str, key: Option<&str>, metadata: &str| {
        Rc::new(Member {
            client_id: Rc::from(client),
            user: None,
            key: key.map(Rc::from),
            metadata: Rc::from(metadata),
        })
    };
    let [first, second] = [r#"{"user":"u"}"#, r#"{"user":"v"}"#].map(|said| member("c1", Some("k1"), said));
    let members = vec![first.clone(), member("c2", None, "{}")];
    vec![
        ("presence_state", Some("6"), Event::PresenceState { topic: None, members }),
        ("presence_state_of_nobody", Some("6"), Event::PresenceState { topic: None, members: Vec::new() }),
        ("presence_join", None, Event::PresenceJoined { topic: None, member: first.clone() }),
        ("presence_update", None, Event::PresenceUpdated { topic: None, member: second, before: first.clone() }),
        ("presence_leave", None, Event::PresenceLeft { topic: None, member: first }),
    ]
}

fn said(version: Version, name: &str, reference: Option<&str>, event: &Event) -> Vec<Frame> {
    let address = Address { name: Rc::from(name), reference: reference.map(Rc::from) };
    Phoenix(version).encode(Some(&address), event)
}

#[test]
fn every_server_frame_is_written_as_documented_in_both_versions() {
    let events = [joins(), answers(), changes(), messages(), presences()].concat();
    let mut names: BTreeSet<&str> = events.iter().map(|(name, ..)| *name).collect();
    for (version, folder) in [(Version::One, "server/one"), (Version::Two, "server/two")] {
        let golden = golden(folder);
        if version == Version::Two {
            names.extend(["broadcast_of_bytes", "broadcast_of_bytes_replayed"]);
        }
        assert_eq!(golden.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "every file has its event");
        for (name, reference, event) in &events {
            assert_eq!(said(version, "realtime:t", *reference, event), *golden.get(*name).unwrap(), "{name}");
        }
    }
}

#[test]
fn bytes_are_a_frame_of_kind_4_and_nothing_in_the_first_version() {
    let golden = golden("server/two");
    for (name, retained) in [("broadcast_of_bytes", None), ("broadcast_of_bytes_replayed", Some(("x", true)))] {
        let event = message("b", Payload::Binary(Rc::from([1, 2, 255])), retained);
        assert_eq!(said(Version::Two, "realtime:r", None, &event), *golden.get(name).unwrap());
        assert_eq!(said(Version::One, "realtime:r", None, &event), []);
    }
}

/// The expected content of a client's frame: its channel, its join's reference, its own reference, and its command.
type Check = (&'static str, &'static str, [Option<&'static str>; 2], fn(&ChannelAct) -> bool);

fn is_join(act: &ChannelAct, check: fn(&Join) -> bool) -> bool {
    matches!(act, ChannelAct::Join(join) if check(join))
}

/// Nothing requested beyond the channel itself.
fn is_plain(join: &Join, token: Option<&str>, presence: bool) -> bool {
    (join.token.as_ref().map(|token| token.expose()), join.presence) == (token, presence)
        && (&*join.answer, join.tables.len(), join.presence_key.as_deref()) == ("[]", 0, None)
        && !(join.topic.private || join.echo || join.acknowledge || join.announce || join.replay.is_some())
}

fn has_table(join: &Join) -> bool {
    let [Ok(table)] = join.tables.as_slice() else { return false };
    (table.schema.as_str(), table.table.as_str(), table.event) == ("public", "test", None)
        && (table.filter.text(), table.number, &table.select) == ("id=eq.1", 1, &None)
        && &*join.answer == r#"[{"event":"*","schema":"public","table":"test","filter":"id=eq.1","id":1}]"#
}

fn has_everything(join: &Join) -> bool {
    let [Ok(table)] = join.tables.as_slice() else { return false };
    let select = table.select.as_ref().map(|select| select.iter().map(String::as_str).collect::<Vec<_>>());
    (table.table.as_str(), table.event, table.filter.text())
        == ("a", Some(Operation::Update), r#"id=gt.0,name=not.like."a,b%""#)
        && select == Some(vec!["id", "name"])
        && join.token.as_ref().is_some_and(|token| token.expose() == "<jwt>")
        && (join.topic.private, &*join.topic.name, join.presence_key.as_deref()) == (true, "t", Some("u1"))
        && join.replay == Some(Replay { since: 1_700_000_000_000, limit: 10 })
        && [join.presence, join.echo, join.acknowledge, join.announce] == [true, false, true, true]
}

fn is_message(act: &ChannelAct, name: &str, carried: &Payload) -> bool {
    matches!(act, ChannelAct::Publish { event, payload, whole: None, .. } if event == name && payload == carried)
}

fn is_json(act: &ChannelAct, name: &str, json: &str) -> bool {
    is_message(act, name, &Payload::Json(Rc::from(json)))
}

fn is_track(act: &ChannelAct) -> bool {
    matches!(act, ChannelAct::Track { metadata } if &**metadata == r#"{"user":"u"}"#)
}

fn is_token(act: &ChannelAct, expected: &str) -> bool {
    matches!(act, ChannelAct::Refresh(token) if token.expose() == expected)
}

fn version_one() -> Vec<Check> {
    let at = |join, own| [Some(join), Some(own)];
    let (two, room, room1) = ("realtime:two", "realtime:room", "realtime:room1");
    vec![
        ("2.10_join", two, at("1", "1"), |act| is_join(act, |join| is_plain(join, Some("KEY"), true))),
        ("2.11_join", two, at("11", "11"), |act| is_join(act, |join| has_table(join) && join.presence)),
        ("2.11_access_token", two, at("1", "5"), |act| is_token(act, "KEY")),
        ("2.11_broadcast", room, at("8", "9"), |act| is_json(act, "cursor", r#"{"x":1}"#)),
        ("2.11_track", room, at("8", "12"), is_track),
        ("2.11_untrack", room, at("8", "13"), |act| matches!(act, ChannelAct::Untrack)),
        ("2.11_leave", "realtime:t", at("6", "16"), |act| matches!(act, ChannelAct::Leave)),
        ("2.15_join", room1, at("1", "1"), |act| is_join(act, |join| is_plain(join, None, false))),
        ("2.15_join_with_presence", room1, at("1", "1"), |act| {
            is_join(act, |join| {
                join.topic.private && join.echo && join.acknowledge && join.presence_key.as_deref() == Some("u1")
            })
        }),
    ]
}

fn version_two() -> Vec<Check> {
    let at = |join, own| [Some(join), Some(own)];
    let (room, room1, chat) = ("realtime:room", "realtime:room1", "realtime:chat-room");
    let with_accent = "realtime:room:é";
    vec![
        ("2.97_join", with_accent, at("1", "1"), |act| is_join(act, |join| is_plain(join, None, false))),
        ("2.97_broadcast", with_accent, at("1", "2"), |act| is_json(act, "café", r#"{"a":1}"#)),
        ("2.119_join", room1, at("6", "6"), |act| is_join(act, |join| is_plain(join, None, false))),
        ("2.119_join_with_everything", "realtime:t", at("6", "6"), |act| is_join(act, has_everything)),
        ("2.119_join_after_set_auth", room1, at("13", "13"), |act| {
            is_join(act, |join| is_plain(join, Some("<jwt>"), false))
        }),
        ("2.119_access_token", chat, at("10", "1"), |act| is_token(act, "<jwt>")),
        ("2.119_access_token_of_a_key", chat, at("10", "2"), |act| matches!(act, ChannelAct::Nothing)),
        ("2.119_broadcast", chat, at("10", "1"), |act| is_json(act, "user-event", r#"{"a":1}"#)),
        ("2.119_broadcast_of_bytes", "realtime:r", at("10", "2"), |act| {
            is_message(act, "b", &Payload::Binary(Rc::from([1, 2, 255])))
        }),
        ("2.119_broadcast_that_persists", "realtime:r", at("10", "3"), |act| {
            is_json(act, "b", "{}") && matches!(act, ChannelAct::Publish { persist: true, .. })
        }),
        ("2.119_track", room, at("8", "12"), is_track),
        ("2.119_untrack", room, at("8", "13"), |act| matches!(act, ChannelAct::Untrack)),
        ("2.119_leave", "realtime:t", at("6", "16"), |act| matches!(act, ChannelAct::Leave)),
        ("other_broadcast_as_text", room, at("8", "9"), |act| is_json(act, "cursor", r#"{"x":1}"#)),
    ]
}

/// Reads the only frame of a file.
fn read(version: Version, frames: &[Frame]) -> Command {
    let received = match frames {
        [Frame::Text(text)] => Received::Text(text),
        [Frame::Binary(bytes)] => Received::Binary(bytes),
        _ => panic!("one frame a file"),
    };
    Phoenix(version).decode(received).unwrap()
}

#[test]
fn every_client_frame_is_read_as_documented() {
    let golden = golden("client");
    let checks = [(Version::One, version_one()), (Version::Two, version_two())];
    let heartbeats = [(Version::One, "2.11_heartbeat"), (Version::Two, "2.119_heartbeat")];
    let mut names: BTreeSet<&str> = checks.iter().flat_map(|(_, checks)| checks).map(|(name, ..)| *name).collect();
    names.extend(heartbeats.map(|(_, name)| name));
    assert_eq!(golden.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "every file has its check");
    for (version, name) in heartbeats {
        let command = read(version, golden.get(name).unwrap());
        assert!(matches!(command, Command::Ping { id: Some(id) } if id == "26"), "{name}");
    }
    for (version, (name, channel, references, check)) in
        checks.into_iter().flat_map(|(version, checks)| checks.into_iter().map(move |check| (version, check)))
    {
        let frames = golden.get(name).unwrap();
        let Command::Channel(frame) = read(version, frames) else { panic!("{name}") };
        let ChannelFrame { name: of, reference, by_reference, id, act } = *frame;
        assert_eq!([reference.as_deref(), id.as_deref()], references, "{name}");
        assert_eq!(by_reference, matches!(frames.as_slice(), [Frame::Binary(_)]), "{name}");
        assert_eq!(of, channel, "{name}");
        assert!(check(&act), "{name}: {act:?}");
    }
}
