//! Malformed frames of Butterbase's clients: every frame is a command or is refused with a message, and nothing panics.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use realtime_worker::dialect::butterbase::Butterbase;
use realtime_worker::dialect::{Dialect, Frame, Received};
use realtime_worker::engine::event::Event;

/// Every documented frame of a client.
fn frames() -> Vec<Vec<u8>> {
    let folder = format!("{}/tests/dialects/butterbase/client", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|entry| std::fs::read(entry.unwrap().path()).unwrap().trim_ascii_end().to_vec()).collect()
}

/// Reads a frame; a refusal is reported with one JSON frame.
fn is_command(frame: &[u8]) -> bool {
    let Err(malformed) = Butterbase.decode(Received::Binary(frame)) else { return true };
    let event = Event::Refused { refusal: malformed.refusal, id: malformed.id, topic: None };
    let told = Butterbase.encode(None, &event);
    assert!(matches!(told.as_slice(), [Frame::Text(text)] if serde_json::from_str::<serde_json::Value>(text).is_ok()));
    false
}

#[test]
fn a_frame_that_is_cut_off_is_no_command() {
    for frame in frames() {
        assert!(is_command(&frame));
        for end in 0..frame.len() {
            assert!(!is_command(frame.get(..end).unwrap()), "{}", String::from_utf8_lossy(&frame));
        }
    }
}

#[test]
fn any_byte_may_be_another() {
    let mut refused = 0;
    for frame in frames() {
        for place in 0..frame.len() {
            for byte in [0, b'"', b'\\', b'{', b'[', b'0', b'-', 0x7f, 0xc3, 0xff] {
                let mut changed = frame.clone();
                *changed.get_mut(place).unwrap() = byte;
                refused += usize::from(!is_command(&changed));
            }
        }
    }
    assert!(refused > 1_000, "most of them are no frames: {refused}");
}

#[test]
fn depth_and_length_cost_no_more_than_their_bytes() {
    let nested = |open: &str, close: &str| [open.repeat(100_000), close.repeat(100_000)].concat();
    for value in [nested("[", "]"), nested("{\"a\":", "}"), format!("\"{}\"", "x".repeat(100_000))] {
        for key in
            ["table", "filter", "columns", "recover", "id", "room", "metadata", "payload", "event", "token", "type"]
        {
            for kind in ["subscribe", "presence_track", "event", "auth"] {
                is_command(format!("{{\"type\":\"{kind}\",\"{key}\":{value}}}").as_bytes());
            }
        }
    }
}
