//! The state of a socket that does not fit into an attachment: one row for itself, and one for each of its
//! subscriptions or channels. Only changed rows are written, so that one of ten thousand subscriptions costs as much as
//! a single one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::attachment::{StoredChannel, StoredSubscription};
use super::session::Session;
use super::socket::Socket;
use crate::engine::effect::{Task, Write};
use crate::engine::input::StatePart;
use crate::engine::message::{Out, SessionId};
use crate::engine::profile::Sessions;
use crate::policy::principal::Principal;

/// The row of the socket itself.
const HEAD: u32 = 0;

/// The rows of a socket's state.
#[derive(Default)]
pub(super) struct StateRows {
    head: String,
    /// The bytes of each other row, by number.
    parts: BTreeMap<u32, usize>,
    bytes: usize,
    last: u32,
}

/// A channel with its principal: each row can be read without the others.
#[derive(Serialize, Deserialize)]
struct ChannelRow {
    channel: StoredChannel,
    principal: Principal,
}

impl StateRows {
    /// Bytes of all rows.
    pub(super) fn bytes(&self) -> usize {
        self.head.len() + self.bytes
    }

    fn next(&mut self) -> u32 {
        self.last = self.last.saturating_add(1);
        self.last
    }

    fn put(&mut self, socket: &Socket, part: u32, text: String, out: &mut Out) {
        self.bytes += text.len();
        self.bytes -= self.parts.insert(part, text.len()).unwrap_or_default();
        let client_id = socket.client_id.clone();
        out.run(Task::Write(Write::State { client_id, part, text }));
    }

    fn drop(&mut self, socket: &Socket, part: u32, out: &mut Out) {
        if let Some(bytes) = self.parts.remove(&part) {
            self.bytes -= bytes;
            out.run(Task::Write(Write::DropStatePart { client_id: socket.client_id.clone(), part }));
        }
    }

    /// Removes rows that are no longer needed; `parts` are those that are.
    fn retain(&mut self, socket: &Socket, parts: &BTreeSet<u32>, out: &mut Out) {
        if parts.len() == self.parts.len() {
            return;
        }
        let gone: Vec<u32> = self.parts.keys().filter(|part| !parts.contains(part)).copied().collect();
        gone.into_iter().for_each(|part| self.drop(socket, part, out));
    }
}

/// Writes the rows that have changed.
pub(super) fn write(socket: &mut Socket, head: String, out: &mut Out) {
    let mut rows = socket.rows.take().unwrap_or_default();
    let mut sessions = std::mem::take(&mut socket.sessions);
    match socket.profile.sessions {
        Sessions::One => write_subscriptions(&mut rows, socket, &mut sessions, out),
        Sessions::Many => write_channels(&mut rows, socket, &mut sessions, out),
    }
    if rows.head != head {
        let client_id = socket.client_id.clone();
        out.run(Task::Write(Write::State { client_id, part: HEAD, text: head.clone() }));
        rows.head = head;
    }
    socket.sessions = sessions;
    socket.rows = Some(rows);
}

/// Removes all rows.
pub(super) fn remove(socket: &mut Socket, out: &mut Out) {
    if socket.rows.take().is_none() {
        return;
    }
    for session in &mut socket.sessions {
        session.row = 0;
        session.subscriptions.forget_rows();
    }
    out.run(Task::Write(Write::DropState { client_id: socket.client_id.clone() }));
}

/// The text of the socket's own row.
pub(super) fn head(parts: &[StatePart]) -> Option<&str> {
    parts.iter().find(|part| part.number == HEAD).map(|part| part.text.as_str())
}

/// Restores the subscriptions or channels of a socket from its other rows; `None` if one is unreadable.
pub(super) fn read(socket: &mut Socket, parts: &[StatePart]) -> Option<()> {
    let mut rows = StateRows { head: head(parts)?.to_owned(), ..StateRows::default() };
    for StatePart { number, text } in parts.iter().filter(|part| part.number != HEAD) {
        rows.parts.insert(*number, text.len());
        rows.bytes += text.len();
        rows.last = rows.last.max(*number);
        match socket.profile.sessions {
            Sessions::One => {
                let stored: StoredSubscription = serde_json::from_str(text).ok()?;
                let mut subscription = stored.read()?;
                subscription.row = *number;
                socket.sessions.first_mut()?.subscriptions.push(subscription);
            }
            Sessions::Many => {
                let session = read_channel(socket, *number, text)?;
                socket.sessions.push(session);
            }
        }
    }
    socket.rows = Some(Box::new(rows));
    Some(())
}

fn write_subscriptions(rows: &mut StateRows, socket: &Socket, sessions: &mut [Session], out: &mut Out) {
    for session in sessions {
        let mut last = rows.last;
        let mut written = Vec::new();
        let next = || {
            last = last.saturating_add(1);
            last
        };
        session.subscriptions.save(next, |subscription| {
            // Structs of texts and numbers always have a JSON form.
            let text = serde_json::to_string(&StoredSubscription::of(subscription)).unwrap_or_default();
            written.push((subscription.row, text));
        });
        rows.last = last;
        written.into_iter().for_each(|(part, text)| rows.put(socket, part, text, out));
        session.subscriptions.take_ended().into_iter().for_each(|part| rows.drop(socket, part, out));
    }
}

fn write_channels(rows: &mut StateRows, socket: &Socket, sessions: &mut [Session], out: &mut Out) {
    let mut parts = BTreeSet::new();
    for session in sessions {
        let Some(channel) = &session.channel else { continue };
        if session.row == 0 || !session.is_saved {
            let row = ChannelRow {
                channel: StoredChannel::of(session, channel, 0),
                principal: Principal::clone(&session.principal),
            };
            if session.row == 0 {
                session.row = rows.next();
            }
            session.is_saved = true;
            rows.put(socket, session.row, serde_json::to_string(&row).unwrap_or_default(), out);
        }
        parts.insert(session.row);
    }
    rows.retain(socket, &parts, out);
}

/// Most channels of a socket belong to the same principal.
fn read_channel(socket: &Socket, part: u32, text: &str) -> Option<Session> {
    let row: ChannelRow = serde_json::from_str(text).ok()?;
    let known = socket.sessions.iter().map(|session| &session.principal).find(|known| ***known == row.principal);
    let principal = known.cloned().unwrap_or_else(|| row.principal.into());
    let number = u32::try_from(socket.sessions.len()).ok()?;
    let mut session = row.channel.read(SessionId { socket: socket.id, number }, &[principal])?;
    (session.row, session.is_saved) = (part, true);
    Some(session)
}

/// The size of a string in V8 serialization: one byte per character if all are Latin-1, otherwise two per UTF-16 unit.
pub(super) fn serialized_bytes(text: &str) -> usize {
    let is_latin = text.chars().all(|c| u32::from(c) < 0x100);
    if is_latin { text.chars().count() } else { text.encode_utf16().count() * 2 }
}
