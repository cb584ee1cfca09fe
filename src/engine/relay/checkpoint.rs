//! A relay's progress in the messages of its root. It is stored in the attachments of two sockets: this outlives memory
//! as sockets do, changes together with what they are sent, and costs no row.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::form::text;
use crate::engine::input::SocketId;

const VERSION: u32 = 1;

/// The stored progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) version: u32,
    /// Counts up: the higher of two notes is valid.
    pub(super) count: u64,
    /// The root's life, and its last batch that was taken.
    pub(super) root: Option<(String, u64)>,
    /// Epoch and offset up to which every retained publication was delivered to the sockets that it concerns.
    pub(super) position: Option<(String, u64)>,
    /// Whether earlier messages are missing although later batches were accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_behind: bool,
    /// Whether messages are held in memory that are not in the history.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) holds_unretained: bool,
    /// Lives of the root that have ended, the latest last: their batches may still come late.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ended_lives: Vec<String>,
}

/// A socket with a note, and its public id.
pub(super) type CheckpointSocket = (SocketId, Rc<str>);

/// The part of an attachment with the note; the rest belongs to the delivery.
#[derive(Deserialize)]
struct Attached {
    client_id: String,
    #[serde(rename = "heard")]
    checkpoint: Option<String>,
}

impl Checkpoint {
    /// The note that replaces this one; `None` if nothing has changed.
    pub(super) fn next(&self, mut next: Checkpoint) -> Option<Checkpoint> {
        (next.version, next.count) = (self.version, self.count);
        if next == *self {
            return None;
        }
        (next.version, next.count) = (VERSION, self.count + 1);
        Some(next)
    }

    /// The text in the attachments.
    pub(super) fn text(&self) -> Rc<str> {
        Rc::from(text(self))
    }
}

/// The latest note in some attachments, and the sockets that have one.
pub(super) fn read(sockets: &[(SocketId, String)]) -> (Option<Checkpoint>, Vec<CheckpointSocket>) {
    let (mut latest, mut noted_sockets): (Option<Checkpoint>, _) = (None, Vec::new());
    let lines = sockets.iter().flat_map(|(first, lines)| (first.0..).zip(lines.split('\n')));
    // Few attachments have one; the others are not parsed twice.
    for (number, line) in lines.filter(|(_, line)| line.contains("\"heard\":")) {
        let Ok(Attached { client_id, checkpoint: Some(note) }) = serde_json::from_str(line) else { continue };
        noted_sockets.push((SocketId(number), Rc::from(client_id)));
        let note = serde_json::from_str::<Checkpoint>(&note).ok().filter(|note| note.version == VERSION);
        latest = match (latest, note) {
            (Some(known), Some(note)) if known.count >= note.count => Some(known),
            (known, note) => note.or(known),
        };
    }
    (latest, noted_sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Checkpoint {
        Checkpoint { position: Some(("epoch".to_owned(), offset)), ..Checkpoint::default() }
    }

    fn beside(client: &str, note: &str) -> String {
        serde_json::json!({ "version": 1, "client_id": client, "heard": note }).to_string()
    }

    #[test]
    fn the_latest_note_holds_and_every_socket_that_has_one_is_known() {
        let first = Checkpoint::default().next(at(1)).unwrap();
        let second = first.next(at(2)).unwrap();
        assert_eq!(second.next(at(2)), None, "it says the same");
        let without = r#"{"version":1,"client_id":"c"}"#;
        let lines = [&beside("a", &second.text()), without, &beside("b", &first.text())].join("\n");
        let (latest, noted_sockets) = read(&[(SocketId(7), lines)]);
        assert_eq!(latest, Some(second));
        assert_eq!(noted_sockets, [(SocketId(7), Rc::from("a")), (SocketId(9), Rc::from("b"))]);
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let note = r#"{"version":1,"count":3,"root":["life+",7],"position":["epoch",9],"is_behind":true}"#;
        let (latest, _) = read(&[(SocketId(0), beside("a", note))]);
        let latest = latest.unwrap();
        assert_eq!(
            (latest.root.clone(), latest.position.clone()),
            (Some(("life+".into(), 7)), Some(("epoch".into(), 9)))
        );
        assert_eq!((latest.is_behind, latest.holds_unretained, &*latest.text()), (true, false, note));
    }

    #[test]
    fn a_note_of_another_version_says_nothing() {
        let other = Checkpoint::default().next(at(1)).unwrap().text().replace("\"version\":1", "\"version\":2");
        for note in [other.as_str(), "", "{}"] {
            let (latest, noted_sockets) = read(&[(SocketId(0), beside("a", note))]);
            assert_eq!((latest, noted_sockets.len()), (None, 1), "{note}");
        }
        assert_eq!(read(&[(SocketId(0), "no JSON, though it names \"heard\":".to_owned())]), (None, Vec::new()));
    }
}
