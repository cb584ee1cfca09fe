//! The Fluxbase dialect's frames, byte for byte, of both contracts: every server frame is written as documented, and
//! every client frame is read as documented. The documented frames are the files under `tests/dialects/fluxbase/`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use realtime_worker::code::{Code, Reason, Refusal};
use realtime_worker::dialect::fluxbase::{Fluxbase, id};
use realtime_worker::dialect::{Dialect, Frame, Received};
use realtime_worker::engine::command::{Authenticate, Command, Position, Subscribe, Target};
use realtime_worker::engine::event::{Authenticated, Bindings, Event, Member, Retained, View};
use realtime_worker::engine::publication::{FromDatabase, Payload};
use realtime_worker::engine::shared_text::SharedText;
use realtime_worker::policy::channel::Topic;
use realtime_worker::policy::principal::Principal;
use realtime_worker::policy::table::Operation;
use realtime_worker::value::row::Row;

/// The number of the subscription in the golden frames.
const NUMBER: u32 = 0x1b2e_6c1e;

/// The golden frames of one side, by name.
fn golden(side: &str) -> BTreeMap<String, String> {
    let folder = format!("{}/tests/dialects/fluxbase/{side}", env!("CARGO_MANIFEST_DIR"));
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), text.trim_end_matches('\n').to_owned())
    };
    std::fs::read_dir(folder).unwrap().map(file).collect()
}

type Said = (&'static str, Event);

fn topic(name: &str) -> Topic {
    Topic { private: true, name: Rc::from(name) }
}

fn change(numbers: &[u32], operation: Operation, new: Option<&str>, old: Option<&str>, offset: Option<u64>) -> Event {
    let row = |text: &str| Row::read(text).unwrap();
    let bindings = Bindings { numbers: numbers.to_vec(), types: BTreeMap::new(), time: 0, database: None };
    Event::Change {
        schema: Rc::from("public"),
        table: Rc::from("products"),
        view: Rc::new(View { operation, new: new.map(row), old: old.map(row) }),
        topic: None,
        offset,
        bindings: Some(Rc::new(bindings)),
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

fn changes() -> Vec<Said> {
    let channel = [id::channel_number("table:public.products")];
    let product = |name: &str, price: &str| format!(r#"{{"id":123,"name":"{name}","price":{price}}}"#);
    let [new, updated, old, deleted] = [
        product("New Product", "99.99"),
        product("Updated Product", "149.99"),
        product("Old Product", "99.99"),
        product("Deleted Product", "99.99"),
    ];
    let [cheap, dear] = [r#"{"id":123,"price":99.99}"#, r#"{"id":123,"price":149.99}"#];
    use Operation::{Delete, Insert, Update};
    vec![
        ("channel_insert", change(&channel, Insert, Some(&new), None, None)),
        ("channel_update", change(&channel, Update, Some(&updated), Some(&old), None)),
        ("channel_delete", change(&channel, Delete, None, Some(&deleted), None)),
        ("insert", change(&[1, NUMBER], Insert, Some(cheap), None, None)),
        ("update", change(&[1], Update, Some(dear), Some(cheap), None)),
        ("update_of_an_unknown_row", change(&[1], Update, Some(dear), None, None)),
        ("channel_insert_of_a_large_row", truncated(change(&channel, Insert, Some(r#"{"id":123}"#), None, None))),
        ("insert_of_a_large_row", truncated(change(&[1], Insert, Some(r#"{"id":123}"#), None, None))),
        ("delete", change(&[1], Delete, None, Some(dear), Some(42))),
    ]
}

fn message(is_own: bool, retained: Option<bool>, offset: Option<u64>) -> Event {
    Event::Message {
        event: Rc::from("cursor-pos"),
        payload: Payload::Json(Rc::from(r#"{"x":100,"y":200}"#)),
        whole: None,
        topic: Some(topic("room-1")),
        offset,
        retained: retained.map(|replayed| Rc::new(Retained { id: "41".to_owned(), replayed })),
        is_own,
        shared: SharedText::default(),
    }
}

fn answers() -> Vec<Said> {
    let subscribed =
        |id: String, answer: Option<&str>, recovered| Event::Subscribed { id, answer: answer.map(Rc::from), recovered };
    let unsubscribed = |id: &str| Event::Unsubscribed { id: id.to_owned() };
    let filtered = r#","schema":"public","table":"products","event":"INSERT","filter":"price=gt.10""#;
    let unfiltered = r#","schema":"public","table":"products","event":"*""#;
    let number = NUMBER.to_string();
    let unknown = id::of_subscription("1b2e6c1e-0000-4000-8000-000000000001");
    let of = |position, is_renewal| {
        let principal = Rc::new(Principal::anonymous("anon"));
        let organization = Rc::from("org_1");
        Event::Authenticated(Authenticated { organization, principal, position, recovered: None, is_renewal })
    };
    vec![
        ("channel_ack", subscribed("table:public.products".to_owned(), None, None)),
        ("channel_ack", unsubscribed("table:public.products")),
        ("subscribed", subscribed(number.clone(), Some(filtered), None)),
        ("subscribed_without_a_filter", subscribed(number.clone(), Some(unfiltered), None)),
        ("subscribed_to_a_channel", subscribed(id::of_topic(&topic("realtime:admin:connections")), None, None)),
        ("subscribed_recovered", subscribed(id::of_topic(&topic("room-1")), None, Some(true))),
        ("unsubscribed", unsubscribed(&number)),
        ("unsubscribed_unknown", unsubscribed(&unknown)),
        ("unsubscribed_all", unsubscribed("")),
        ("heartbeat", Event::Heartbeat { time: 1 }),
        ("broadcast", message(false, Some(false), None)),
        ("broadcast_of_ones_own", message(true, None, None)),
        ("broadcast_replayed", message(false, Some(true), Some(42))),
        ("broadcast_ack", Event::Acknowledged { id: id::of_message("msg_1767000000000_1"), retained: None }),
        ("access_token", of(None, true)),
        ("connected_with_a_position", of(Some(Position { epoch: "epoch1".to_owned(), offset: 41 }), false)),
    ]
}

fn member(client: &str, key: Option<&str>, metadata: &str) -> Rc<Member> {
    let key = key.map(Rc::from);
    Rc::new(Member { client_id: Rc::from(client), user: None, key, metadata: Rc::from(metadata) })
}

fn presences() -> Vec<Said> {
    let at = || Some(topic("presence:room:1"));
    let [busy, free] = ["busy", "free"].map(|status| member("c1", Some("u-1"), &format!(r#"{{"status":"{status}"}}"#)));
    let roster = |change, members: &[&Rc<Member>]| Event::Roster {
        change: Box::new(change),
        members: members.iter().map(|member| Rc::clone(member)).collect(),
    };
    let joined = Event::PresenceJoined { topic: at(), member: busy.clone() };
    let updated = Event::PresenceUpdated { topic: at(), member: free.clone(), before: busy.clone() };
    let left = Event::PresenceLeft { topic: at(), member: free.clone() };
    let members = vec![busy.clone(), free.clone(), member("c9", None, r#"{"n":2}"#)];
    vec![
        ("presence_join", roster(joined, &[&busy])),
        ("presence_sync", roster(updated, &[&free])),
        ("presence_sync", Event::PresenceState { topic: at(), members: vec![free.clone()] }),
        ("presence_leave", roster(left, &[])),
        ("presence_of_several", Event::PresenceState { topic: at(), members }),
    ]
}

fn refused(refusal: Refusal, id: Option<&str>, topic: Option<Topic>) -> Event {
    Event::Refused { refusal, id: id.map(str::to_owned), topic }
}

/// The refusal of a client's frame.
fn malformed(frame: &str) -> Event {
    let malformed = Fluxbase.decode(Received::Text(frame)).unwrap_err();
    Event::Refused { refusal: malformed.refusal, id: malformed.id, topic: None }
}

fn refusals() -> Vec<Said> {
    let [table, number, room] = ["table:public.x".to_owned(), NUMBER.to_string(), id::of_message("m1")];
    let with = |reason| refused(Refusal::with(Code::Forbidden, reason), Some(&table), None);
    let admin = id::of_topic(&topic("realtime:admin:connections"));
    let forbidden = || Refusal::of(Code::Forbidden);
    vec![
        ("error_full", Event::AuthFailed(Code::ConnectionLimit)),
        ("error_keys_unavailable", Event::AuthFailed(Code::KeysUnavailable)),
        ("error_no_credential", with(Reason::CredentialRequired)),
        ("error_not_enabled", refused(Refusal::of(Code::TableNotEnabled), Some(&table), None)),
        ("error_bad_token", refused(Refusal::of(Code::InvalidToken), None, None)),
        ("error_token_ended", Event::Ended(Refusal::of(Code::TokenExpired))),
        ("error_restart", Event::Ended(Refusal::of(Code::ServiceRestart))),
        ("error_admin_channel", refused(forbidden(), Some(&admin), None)),
        ("error_lost_subscription", refused(forbidden(), Some(&number), None)),
        ("error_of_a_message", refused(forbidden(), Some(&room), Some(topic("room-1")))),
        ("error_filter", malformed(r#"{"type":"subscribe","channel":"table:public.x","config":{"filter":"a=foo.1"}}"#)),
        (
            "error_filter_of_a_table",
            malformed(r#"{"type":"subscribe","schema":"inventory","table":"items","filter":"a=foo.1"}"#),
        ),
        (
            "error_filter_of_a_table",
            malformed(
                r#"{"type":"subscribe","config":{"schema":"inventory","table":"items","filter":"a=foo.1"},"table":"x"}"#,
            ),
        ),
        ("error_no_object", malformed("[]")),
        ("error_no_object", malformed("{")),
        ("error_unknown_type", malformed("{}")),
        ("error_unknown_type", malformed(r#"{"type":7}"#)),
        (
            "error_of_a_field",
            malformed(r#"{"type":"subscribe","channel":"table:public.x","config":{"event":"TRUNCATE"}}"#),
        ),
        ("error_no_table", malformed(r#"{"type":"subscribe","config":{"event":"*"}}"#)),
        ("error_no_channel_for_broadcast", malformed(r#"{"type":"broadcast","event":"e"}"#)),
        ("error_no_channel_for_presence", malformed(r#"{"type":"presence","event":"track"}"#)),
        ("error_presence_payload", malformed(r#"{"type":"presence","channel":"room-1","payload":[]}"#)),
        ("error_presence_event", malformed(r#"{"type":"presence","channel":"room-1","payload":{"event":"x"}}"#)),
        ("error_presence_track", malformed(r#"{"type":"presence","channel":"room-1","payload":{"event":"track"}}"#)),
        (
            "error_presence_untrack",
            malformed(r#"{"type":"presence","channel":"room-1","payload":{"event":"untrack"}}"#),
        ),
        ("error_no_token", malformed(r#"{"type":"access_token","token":" "}"#)),
        ("error_unknown_type", malformed(r#"{"type":"whatever"}"#)),
        ("error_log_streams", malformed(r#"{"type":"subscribe_logs","channel":"execution:e1","config":{}}"#)),
        (
            "error_all_log_streams",
            malformed(r#"{"type":"subscribe_all_logs","payload":{"category":"http","levels":["error"]}}"#),
        ),
    ]
}

#[test]
fn every_server_frame_is_written_as_documented() {
    let golden = golden("server");
    let events: Vec<Said> = [changes(), answers(), presences(), refusals()].into_iter().flatten().collect();
    let names: BTreeSet<&str> = events.iter().map(|(name, _)| *name).collect();
    assert_eq!(golden.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "every file has its event");
    for (name, event) in events {
        assert_eq!(Fluxbase.encode(None, &event), [Frame::Text(golden.get(name).unwrap().clone())], "{name}");
    }
}

#[test]
fn who_does_not_read_is_closed_in_the_contracts_words() {
    assert_eq!(Fluxbase.closing(Code::TooSlow), (1008, "Connection too slow"));
    for code in Code::ALL.iter().filter(|code| **code != Code::TooSlow) {
        assert_eq!(Fluxbase.closing(*code), code.closing());
    }
}

/// A change that was requested through both contracts is sent in both, once each.
#[test]
fn a_change_is_told_in_the_words_in_which_it_was_asked_for() {
    let numbers = [1, 2, id::channel_number("table:public.products")];
    let frames = Fluxbase.encode(None, &change(&numbers, Operation::Insert, Some("{}"), None, None));
    let kinds: Vec<bool> = frames
        .iter()
        .map(|frame| matches!(frame, Frame::Text(text) if text.starts_with(r#"{"type":"broadcast","channel":"table:"#)))
        .collect();
    assert_eq!(kinds, [true, false]);
}

#[test]
fn what_has_no_words_is_told_to_nobody() {
    let mut bytes = message(false, None, None);
    let Event::Message { payload, .. } = &mut bytes else { panic!("a message") };
    *payload = Payload::Binary(Rc::from([1, 2]));
    let mut to_all = message(false, None, None);
    let Event::Message { topic, .. } = &mut to_all else { panic!("a message") };
    *topic = None;
    for event in [bytes, to_all, Event::Pong { id: None }, Event::PresenceState { topic: None, members: Vec::new() }] {
        assert_eq!(Fluxbase.encode(None, &event), [], "{event:?}");
    }
}

type Check = fn(Command) -> bool;

fn table(command: Command) -> Option<(Subscribe, Option<Operation>, String)> {
    let Command::Subscribe(subscribe) = command else { return None };
    let Target::Table(target) = &subscribe.target else { return None };
    assert_eq!((target.schema.as_str(), target.table.as_str()), ("public", "products"));
    assert_eq!(id::is_channel(target.number), !subscribe.is_numbered);
    assert_eq!(subscribe.id, "table:public.products");
    let (event, filter) = (target.event, target.filter.text().to_owned());
    Some((subscribe, event, filter))
}

fn to_channel(command: Command, name: &str, private: bool, asks_who_is_there: bool) -> bool {
    matches!(command, Command::Subscribe(Subscribe { target: Target::Topic { topic, presence }, is_numbered: false, .. })
        if &*topic.name == name && topic.private == private && presence == asks_who_is_there)
}

fn published(command: Command, message: Option<&str>, name: &str) -> bool {
    matches!(command, Command::Publish { topic: at, event, payload, id, echo: true, key: None }
        if at == topic("room-1") && event == name && id.as_deref() == message
        && payload == Payload::Json(Rc::from(r#"{"x":100,"y":200}"#)))
}

fn tracked(command: Command) -> bool {
    matches!(command, Command::Track { topic: Some(at), key: Some(key), metadata }
        if at == topic("presence:room:1") && &*key == "u-1" && &*metadata == r#"{"status":"busy"}"#)
}

fn untracked(command: Command) -> bool {
    matches!(command, Command::Untrack { topic: Some(at), key: Some(key) }
        if at == topic("presence:room:1") && &*key == "u-1")
}

fn checks() -> Vec<(&'static str, Check)> {
    vec![
        ("channel_subscribe", |c| {
            let (subscribe, event, filter) = table(c).unwrap();
            !subscribe.is_numbered && subscribe.answer.is_none() && event.is_none() && filter.is_empty()
        }),
        (
            "channel_unsubscribe",
            |c| matches!(c, Command::UnsubscribeAll { id: Some(id) } if id == "table:public.products"),
        ),
        ("subscribe", |c| {
            let (subscribe, event, filter) = table(c).unwrap();
            subscribe.is_numbered
                && event == Some(Operation::Insert)
                && filter == "price=gt.10"
                && subscribe.answer.unwrap().ends_with(r#""event":"INSERT","filter":"price=gt.10""#)
        }),
        ("subscribe_flat", |c| {
            let (subscribe, event, filter) = table(c).unwrap();
            subscribe.is_numbered && event.is_none() && filter == "price=gt.10"
        }),
        ("subscribe_again_from_a_position", |c| {
            let (subscribe, event, filter) = table(c).unwrap();
            let position = Position { epoch: "epoch1".to_owned(), offset: 41 };
            subscribe.is_numbered && event.is_none() && filter.is_empty() && subscribe.recover == Some(position)
        }),
        ("subscribe_to_a_channel", |c| to_channel(c, "room-1", true, false)),
        ("subscribe_to_a_public_channel", |c| to_channel(c, "room-1", false, false)),
        ("subscribe_to_a_channel_of_the_server", |c| to_channel(c, "fluxbase:jobs", true, false)),
        ("subscribe_with_unknown_keys", |c| {
            let (subscribe, event, filter) = table(c).unwrap();
            subscribe.is_numbered && event.is_none() && filter.is_empty()
        }),
        ("subscribe_to_presence", |c| to_channel(c, "presence:room:1", true, true)),
        ("unsubscribe", |c| matches!(c, Command::Unsubscribe { id } if id == NUMBER.to_string())),
        ("unsubscribe_unknown", |c| matches!(c, Command::Unsubscribe { id } if id.parse::<u32>().is_err())),
        (
            "unsubscribe_channel",
            |c| matches!(c, Command::UnsubscribeAll { id: Some(id) } if id == id::of_topic(&topic("room-1"))),
        ),
        ("unsubscribe_all", |c| matches!(c, Command::UnsubscribeAll { id: None })),
        ("broadcast", |c| published(c, Some(&id::of_message("msg_1767000000000_1")), "cursor-pos")),
        ("broadcast_without_id", |c| published(c, None, "broadcast")),
        ("presence_track", tracked),
        ("presence_track_of_the_sdk", tracked),
        ("presence_untrack", untracked),
        ("presence_untrack_of_the_sdk", untracked),
        (
            "access_token",
            |c| matches!(c, Command::Authenticate(Authenticate { token, organization: None, .. }) if token.expose() == "eyJ..."),
        ),
        ("heartbeat", |c| matches!(c, Command::Ping { id: None })),
    ]
}

#[test]
fn every_client_frame_is_read_as_documented() {
    let golden = golden("client");
    let names: BTreeSet<&str> = checks().iter().map(|(name, _)| *name).collect();
    assert_eq!(golden.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "every file has its check");
    for (name, check) in checks() {
        let command = Fluxbase.decode(Received::Text(golden.get(name).unwrap())).unwrap();
        let shown = format!("{command:?}");
        assert!(check(command), "{name}: {shown}");
    }
}

/// Clients with the same subscription have the same number, so that they receive the same bytes.
#[test]
fn a_number_depends_on_nothing_but_what_is_asked_for() {
    let number = |frame: &str| match Fluxbase.decode(Received::Text(frame)).unwrap() {
        Command::Subscribe(Subscribe { target: Target::Table(target), .. }) => target.number,
        command => panic!("{command:?}"),
    };
    let golden = golden("client");
    let one = number(golden.get("subscribe").unwrap());
    assert_eq!(number(golden.get("subscribe").unwrap()), one);
    assert_ne!(number(golden.get("subscribe_flat").unwrap()), one);
}
