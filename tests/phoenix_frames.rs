//! The frames of both Phoenix framings, byte for byte as Supabase's clients send and expect them, and with any other
//! content: a frame is read as documented or refused, and never read beyond its meaning.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

use realtime_worker::code::{Code, Refusal};
use realtime_worker::dialect::phoenix::frame::{self, Version, broadcast_binary, text};
use realtime_worker::dialect::phoenix::push::{MessageBody, Push, Pushed};
use realtime_worker::dialect::{Frame, Received};
use serde_json::{Value, json};

const VERSIONS: [Version; 2] = [Version::One, Version::Two];
/// The join of 2.119.0 with every option.
const FULL_JOIN: &str = r#"{"config":{"broadcast":{"self":false,"ack":true,"replay":{"since":1700000000000,"limit":10},"replication_ready":true},"presence":{"key":"u1","enabled":true},"postgres_changes":[{"event":"UPDATE","schema":"public","table":"a","filter":"id=gt.0,name=not.like.\"a,b%\"","select":["id","name"]}],"private":true,"postgres_changes_options":{"wait":true,"timeout":3000}},"access_token":"<jwt>"}"#;
/// The join of 2.119.0 without options.
const JOIN: &str = r#"{"config":{"broadcast":{"ack":false,"self":false},"presence":{"key":"","enabled":false},"postgres_changes":[],"private":false}}"#;
/// The join of 2.11.2.
const OLD_JOIN: &str = r#"{"config":{"broadcast":{"ack":false,"self":false},"presence":{"key":""},"postgres_changes":[],"private":false},"access_token":"KEY"}"#;
const CURSOR: &str = r#"{"type":"broadcast","event":"cursor","payload":{"x":1}}"#;

/// A client's text frame and its content: references, topic, event, payload.
type Golden = (Version, String, [Option<&'static str>; 2], [&'static str; 3]);

/// Text frames that real clients have sent.
fn text_frames() -> Vec<Golden> {
    let one = |topic: &str, event: &str, payload: &str, references: &str| {
        format!(r#"{{"topic":"{topic}","event":"{event}","payload":{payload},{references}}}"#)
    };
    let two = |join_ref: &str, reference: &str, topic: &str, event: &str, payload: &str| {
        format!(r#"["{join_ref}","{reference}","{topic}","{event}",{payload}]"#)
    };
    let (room, chat) = ("realtime:room", "realtime:chat-room");
    let token = r#"{"access_token":"<jwt>"}"#;
    let track = r#"{"type":"presence","event":"track","payload":{"user":"u"}}"#;
    let untrack = r#"{"type":"presence","event":"untrack"}"#;
    let [join, both] = [r#""ref":"11","join_ref":"11""#, r#""ref":"9","join_ref":"8""#];
    vec![
        (
            Version::Two,
            two("6", "6", "realtime:room1", "phx_join", JOIN),
            [Some("6"); 2],
            ["realtime:room1", "phx_join", JOIN],
        ),
        (
            Version::Two,
            two("6", "6", "realtime:t", "phx_join", FULL_JOIN),
            [Some("6"); 2],
            ["realtime:t", "phx_join", FULL_JOIN],
        ),
        (
            Version::One,
            one("realtime:two", "phx_join", OLD_JOIN, join),
            [Some("11"); 2],
            ["realtime:two", "phx_join", OLD_JOIN],
        ),
        (
            Version::Two,
            r#"[null,"26","phoenix","heartbeat",{}]"#.into(),
            [None, Some("26")],
            ["phoenix", "heartbeat", "{}"],
        ),
        (
            Version::One,
            one("phoenix", "heartbeat", "{}", r#""ref":"26""#),
            [None, Some("26")],
            ["phoenix", "heartbeat", "{}"],
        ),
        (
            Version::Two,
            two("6", "16", "realtime:t", "phx_leave", "{}"),
            [Some("6"), Some("16")],
            ["realtime:t", "phx_leave", "{}"],
        ),
        (Version::Two, two("8", "9", room, "broadcast", CURSOR), [Some("8"), Some("9")], [room, "broadcast", CURSOR]),
        (Version::One, one(room, "broadcast", CURSOR, both), [Some("8"), Some("9")], [room, "broadcast", CURSOR]),
        (Version::Two, two("8", "12", room, "presence", track), [Some("8"), Some("12")], [room, "presence", track]),
        (Version::Two, two("8", "13", room, "presence", untrack), [Some("8"), Some("13")], [room, "presence", untrack]),
        (
            Version::Two,
            two("10", "1", chat, "access_token", token),
            [Some("10"), Some("1")],
            [chat, "access_token", token],
        ),
        (
            Version::One,
            one(chat, "access_token", token, r#""ref":"5","join_ref":"1""#),
            [Some("1"), Some("5")],
            [chat, "access_token", token],
        ),
    ]
}

/// A binary frame: a header, then texts, then the payload.
fn binary(header: &[u8], texts: &str, payload: &[u8]) -> Vec<u8> {
    [header, texts.as_bytes(), payload].concat()
}

/// Binary frames that 2.119.0 and 2.97.0 have sent, and one of kind 0.
fn binary_frames() -> Vec<Vec<u8>> {
    vec![
        binary(&[3, 2, 1, 0x12, 0x0a, 0, 1], "101realtime:chat-roomuser-event", br#"{"a":1}"#),
        binary(&[3, 2, 1, 0x0a, 1, 0, 0], "102realtime:rb", &[1, 2, 0xff]),
        binary(&[3, 2, 1, 0x0a, 1, 0x16, 1], r#"103realtime:rb{"persist":{"ttl":60}}"#, b"{}"),
        [&[3, 2, 1, 0x0f, 1, 0, 1], "104realtime:room:".as_bytes(), &[0xe9], b"b{}"].concat(),
        binary(&[0, 2, 1, 0x0a, 5], "105realtime:revent", br#"{"a":1}"#),
    ]
}

/// Reads a frame; a refusal has the expected code and a sentence that repeats nothing of the frame.
fn read(version: Version, frame: Received<'_>) -> Option<Push<'_>> {
    match frame::read(version, frame) {
        Ok(push) => Some(push),
        Err(Refusal { code, message, field, .. }) => {
            assert_eq!((code, field), (Code::InvalidFrame, None));
            assert!(message.ends_with('.') && message.len() < 100, "{message}");
            None
        }
    }
}

fn read_text(version: Version, text: &str) -> Option<Push<'_>> {
    read(version, Received::Text(text))
}

#[track_caller]
fn read_binary(bytes: &[u8]) -> Push<'_> {
    read(Version::Two, Received::Binary(bytes)).unwrap()
}

fn owned(references: [Option<&str>; 2]) -> [Option<String>; 2] {
    references.map(|reference| reference.map(str::to_owned))
}

/// A user's message as read, without its references.
fn message<'a>(push: &'a Push<'a>) -> (&'a str, &'a str, &'a str, MessageBody<'a>) {
    let Pushed::Broadcast { metadata, body } = push.payload else { panic!("{push:?}") };
    assert!(push.is_binary);
    (&push.topic, &push.event, metadata, body)
}

#[test]
fn text_frames_are_read() {
    for (version, frame, references, [topic, event, payload]) in text_frames() {
        let push = read_text(version, &frame).unwrap_or_else(|| panic!("{frame}"));
        let [join_ref, reference] = owned(references);
        let (topic, event, payload) = (topic.to_owned(), event.to_owned(), Pushed::Json(payload));
        assert_eq!(push, Push { join_ref, reference, topic, event, payload, is_binary: false });
    }
}

#[test]
fn messages_in_binary_frames_are_read() {
    let frames = binary_frames();
    let [plain, raw, persisted, latin, _] = frames.each_push();
    assert_eq!([&plain.join_ref, &plain.reference], [&Some("10".to_owned()), &Some("1".to_owned())]);
    assert_eq!(message(&plain), ("realtime:chat-room", "user-event", "", MessageBody::Json(r#"{"a":1}"#)));
    assert_eq!(message(&raw), ("realtime:r", "b", "", MessageBody::Binary(&[1, 2, 0xff])));
    assert_eq!(message(&persisted), ("realtime:r", "b", r#"{"persist":{"ttl":60}}"#, MessageBody::Json("{}")));
    assert_eq!(message(&latin), ("realtime:room:é", "b", "", MessageBody::Json("{}")));
}

/// The frames of [`binary_frames`], as read.
trait EachPush {
    fn each_push(&self) -> [Push<'_>; 5];
}

impl EachPush for Vec<Vec<u8>> {
    fn each_push(&self) -> [Push<'_>; 5] {
        self.iter().map(|frame| read_binary(frame)).collect::<Vec<_>>().try_into().unwrap()
    }
}

#[test]
fn other_binary_frames_are_a_push_of_json() {
    let frames = binary_frames();
    let [.., generic] = frames.each_push();
    let [join_ref, reference] = owned([Some("10"), Some("5")]);
    let (topic, event) = ("realtime:r".to_owned(), "event".to_owned());
    let payload = Pushed::Json(r#"{"a":1}"#);
    assert_eq!(generic, Push { join_ref, reference, topic, event, payload, is_binary: true });
}

#[test]
fn a_binary_frame_without_references_has_none() {
    let frame = binary(&[3, 0, 0, 1, 1, 0, 0], "te", b"");
    let push = read_binary(&frame);
    assert_eq!([&push.join_ref, &push.reference], [&None, &None]);
    assert_eq!(message(&push), ("t", "e", "", MessageBody::Binary(b"")));
}

#[test]
fn references_may_be_numbers_and_extra_elements_are_let_be() {
    for (version, frame) in [
        (Version::One, r#"{"x":[],"join_ref":8,"ref":9,"payload":null,"event":"e","topic":"t"}"#),
        (Version::Two, r#"[8,9,"t","e",null,{},"more"]"#),
    ] {
        let [join_ref, reference] = owned([Some("8"), Some("9")]);
        let (topic, event) = ("t".to_owned(), "e".to_owned());
        let expected = Push { join_ref, reference, topic, event, payload: Pushed::Json("null"), is_binary: false };
        assert_eq!(read_text(version, frame), Some(expected));
    }
}

#[test]
fn a_cut_text_frame_is_refused() {
    for (_, frame, ..) in text_frames() {
        for version in VERSIONS {
            for place in 0..frame.len() {
                let cut = frame.get(..place).unwrap();
                assert_eq!(read_text(version, cut), None, "{cut}");
            }
        }
    }
}

/// A payload may have fewer bytes; a header, the texts that it measures, and JSON may not.
#[test]
fn a_cut_binary_frame_is_refused_unless_raw_bytes_are_cut() {
    for frame in binary_frames() {
        for place in 0..frame.len() {
            let cut = frame.get(..place).unwrap();
            if let Some(push) = read(Version::Two, Received::Binary(cut)) {
                let Pushed::Broadcast { body: MessageBody::Binary(bytes), .. } = push.payload else {
                    panic!("{cut:?}")
                };
                assert!([&[1, 2][..], &[1], &[]].contains(&bytes), "{bytes:?}");
            }
        }
    }
}

#[test]
fn binary_frames_are_of_version_two_and_of_the_known_kinds() {
    for frame in binary_frames() {
        assert_eq!(read(Version::One, Received::Binary(&frame)), None);
        for kind in (0..=255).filter(|kind| *kind != frame[0] && !matches!(kind, 0 | 3)) {
            let mut frame = frame.clone();
            frame[0] = kind;
            assert_eq!(read(Version::Two, Received::Binary(&frame)), None, "kind {kind}");
        }
    }
}

#[test]
fn a_wrong_length_never_reads_past_the_frame() {
    for frame in binary_frames() {
        let lengths = if frame[0] == 0 { 1..5 } else { 1..6 };
        for (place, length) in lengths.flat_map(|place| (0..=255).map(move |length| (place, length))) {
            let mut frame = frame.clone();
            frame[place] = length;
            if let Some(push) = read(Version::Two, Received::Binary(&frame)) {
                assert!(push.topic.len() + push.event.len() <= 2 * frame.len());
            }
        }
    }
}

#[test]
fn an_unknown_encoding_and_payloads_that_are_no_json_are_refused() {
    for encoding in 2..=255 {
        let frame = binary(&[3, 0, 0, 1, 1, 0, encoding], "te", b"{}");
        assert_eq!(read(Version::Two, Received::Binary(&frame)), None, "encoding {encoding}");
    }
    for payload in [&b""[..], b"{", b"{} {}", b"nul", b"\"\n\"", b"\"\xe9\"", b"\0"] {
        let frame = binary(&[3, 0, 0, 1, 1, 0, 1], "te", payload);
        assert_eq!(read(Version::Two, Received::Binary(&frame)), None, "payload {payload:?}");
        let frame = binary(&[0, 0, 0, 1, 1], "te", payload);
        assert_eq!(read(Version::Two, Received::Binary(&frame)), None, "kind 0, payload {payload:?}");
        let (length, texts) = (u8::try_from(payload.len()).unwrap(), [b"te", payload].concat());
        let frame = [&[3, 0, 0, 1, 1, length, 1][..], &texts, b"{}"].concat();
        let refused = read(Version::Two, Received::Binary(&frame)).is_none();
        assert_eq!(refused, !payload.is_empty(), "metadata {payload:?}");
    }
}

/// Each member and element, replaced by every kind of value, and removed.
#[test]
fn wrong_types_are_refused_at_each_place() {
    let values = [json!(null), json!(true), json!(7), json!("text"), json!([]), json!({})];
    let taken = |place: &str, value: &Value| match place {
        "ref" | "join_ref" => value.is_null() || value.is_number() || value.is_string(),
        "topic" | "event" => value.is_string(),
        _ => true,
    };
    let places = ["join_ref", "ref", "topic", "event", "payload"];
    for (index, place) in places.into_iter().enumerate() {
        let object = json!({ "join_ref": "1", "ref": "2", "topic": "t", "event": "e", "payload": {} });
        let array = places.map(|place| object[place].clone());
        for value in &values {
            let (mut object, mut array) = (object.clone(), array.clone());
            object[place] = value.clone();
            array[index] = value.clone();
            let expected = taken(place, value);
            assert_eq!(read_text(Version::One, &object.to_string()).is_some(), expected, "{object}");
            assert_eq!(read_text(Version::Two, &json!(array).to_string()).is_some(), expected, "{array:?}");
        }
        let mut object = object;
        object.as_object_mut().unwrap().remove(place);
        assert_eq!(read_text(Version::One, &object.to_string()).is_some(), place == "join_ref", "{object}");
        assert_eq!(read_text(Version::Two, &json!(array[..index]).to_string()), None);
    }
    for text in ["", " ", "null", "7", "\"text\"", "[]", "{}", "\u{feff}[]", "\0", "[null,\"1\",\"t\",\"e\",{}]]"] {
        assert!(VERSIONS.iter().all(|version| read_text(*version, text).is_none()), "{text:?}");
    }
}

#[test]
fn names_are_unicode_text_and_stand_once() {
    for (refused, name) in [(true, r"\ud800"), (true, r"\udc00\ud800"), (false, r"\ud83d\ude00"), (false, r"a\u0000b")]
    {
        for (topic, event) in [(name, "e"), ("t", name)] {
            let object = format!(r#"{{"topic":"{topic}","event":"{event}","payload":{{}},"ref":"1"}}"#);
            let array = format!(r#"[null,"1","{topic}","{event}",{{}}]"#);
            assert_eq!(read_text(Version::One, &object).is_none(), refused, "{object}");
            assert_eq!(read_text(Version::Two, &array).is_none(), refused, "{array}");
        }
    }
    let twice = r#"{"topic":"t","t\u006fpic":"u","event":"e","payload":{},"ref":"1"}"#;
    assert_eq!(read_text(Version::One, twice), None);
}

#[test]
fn deep_nesting_is_read_or_refused_without_recursion() {
    let depth = 200_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let object = format!(r#"{{"topic":"t","event":"e","payload":{deep},"ref":"1"}}"#);
        assert_eq!(read_text(Version::One, &object).unwrap().payload, Pushed::Json(&deep));
        let array = format!(r#"[null,"1","t","e",{deep}]"#);
        assert_eq!(read_text(Version::Two, &array).unwrap().payload, Pushed::Json(&deep));
        let frame = binary(&[3, 0, 0, 1, 1, 0, 1], "te", deep.as_bytes());
        assert_eq!(message(&read_binary(&frame)).3, MessageBody::Json(&deep));
        assert!(VERSIONS.iter().all(|version| read_text(*version, &open.repeat(depth)).is_none()));
    }
}

#[test]
fn text_frames_are_written() {
    let ok = r#"{"status":"ok","response":{}}"#;
    let closed = (Some("6"), Some("6"), "realtime:t", "phx_close", "{}");
    let state = (Some("4"), None, "realtime:room", "presence_state", "{}");
    let beat = (None, Some("26"), "phoenix", "phx_reply", ok);
    for (version, (join_ref, reference, topic, event, payload), expected) in [
        (Version::Two, beat, r#"[null,"26","phoenix","phx_reply",{"status":"ok","response":{}}]"#),
        (
            Version::One,
            beat,
            r#"{"topic":"phoenix","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"26"}"#,
        ),
        (Version::Two, closed, r#"["6","6","realtime:t","phx_close",{}]"#),
        (Version::One, closed, r#"{"topic":"realtime:t","event":"phx_close","payload":{},"ref":"6"}"#),
        (Version::Two, state, r#"["4",null,"realtime:room","presence_state",{}]"#),
        (Version::One, state, r#"{"topic":"realtime:room","event":"presence_state","payload":{},"ref":null}"#),
    ] {
        assert_eq!(text(version, join_ref, reference, topic, event, payload), Frame::Text(expected.to_owned()));
    }
}

#[test]
fn what_is_written_is_read_again() {
    let (join_ref, reference) = (Some("a\"b"), Some("\u{0}\u{2028}"));
    let (topic, event, payload) = ("realtime:\"é\\\n", "😀\u{7f}", r#"{"a":"\ud800"}"#);
    for version in VERSIONS {
        let Frame::Text(frame) = text(version, join_ref, reference, topic, event, payload) else { panic!("a text") };
        let push = read_text(version, &frame).unwrap();
        assert_eq!((push.reference.as_deref(), &*push.topic, &*push.event), (reference, topic, event));
        assert_eq!(push.payload, Pushed::Json(payload));
        assert_eq!(push.join_ref.as_deref(), join_ref.filter(|_| version == Version::Two));
    }
}

#[test]
fn messages_are_written_as_binary_frames() {
    let meta = r#"{"id":"x","replayed":true}"#;
    let json = MessageBody::Json(r#"{"a":1}"#);
    for (metadata, body, expected) in [
        ("", json, binary(&[4, 0x0a, 1, 0, 1], "realtime:rb", br#"{"a":1}"#)),
        (meta, json, binary(&[4, 0x0a, 1, 0x1a, 1], &format!("realtime:rb{meta}"), br#"{"a":1}"#)),
        ("", MessageBody::Binary(&[1, 2, 0xff]), binary(&[4, 0x0a, 1, 0, 0], "realtime:rb", &[1, 2, 0xff])),
    ] {
        assert_eq!(broadcast_binary("realtime:r", "b", metadata, body), Some(Frame::Binary(expected)));
    }
    let long = "é".repeat(128);
    assert_eq!(broadcast_binary(&long, "b", "", json), None);
    assert_eq!(broadcast_binary("realtime:r", &long, "", json), None);
    let Some(Frame::Binary(frame)) = broadcast_binary("realtime:é", "b", "", json) else { panic!("a binary frame") };
    assert_eq!(frame.get(1), Some(&11), "lengths count bytes");
}
