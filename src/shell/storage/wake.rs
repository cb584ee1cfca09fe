//! What is read from the storage at a wake: the rows of open sockets, but only the ids of closed ones, however much
//! they have left behind.

use std::collections::BTreeMap;

use js_sys::{Array, JSON, JsString};
use wasm_bindgen::JsValue;

use super::{Result, Storage, integer, presence_row, text};
use crate::engine::input::{Newest, PresenceRow, StatePart, Stored};

/// The socket of a presence row: a channel's public id is its socket's, followed by a dot and a number.
const SOCKET: &str = "substr(client_id, 1, instr(client_id || '.', '.') - 1)";
const IS_OPEN: &str = "IN (SELECT value FROM json_each(?1))";
/// Relayed sockets live at other objects; their public ids begin like this.
const IS_RELAYED: &str = "client_id GLOB 'r[0-9]*-*'";

/// Rows left behind by sockets.
#[derive(Default)]
struct Left {
    presence: Vec<PresenceRow>,
    states: BTreeMap<String, Vec<StatePart>>,
    /// Sockets that are no longer open.
    gone: Vec<String>,
}

impl Storage {
    /// Everything that a waking tenant needs except the sockets and the alarm. `open` has the public ids of the open
    /// sockets.
    pub fn load(&self, open: &Array) -> Result<Stored> {
        let mut facts = BTreeMap::new();
        for row in self.rows("SELECT key, value FROM meta", &[])? {
            facts.insert(text(&row, 0), text(&row, 1));
        }
        let oldest = self.rows("SELECT time FROM history WHERE version > 0 ORDER BY offset LIMIT 1", &[])?;
        let Left { presence, states, gone } = self.load_left(open)?;
        Ok(Stored {
            epoch: facts.get("epoch").cloned(),
            facts,
            newest: self.newest()?,
            oldest: oldest.first().map(|row| integer(row, 0)),
            states,
            presence,
            gone,
            ..Stored::default()
        })
    }

    /// The rows of closed sockets. Most objects have none, and need not list their sockets for this.
    fn load_left(&self, open: &Array) -> Result<Left> {
        let counts = self.rows("SELECT (SELECT count(*) FROM presence) + (SELECT count(*) FROM state)", &[])?;
        let count = counts.first().map_or(0, |row| integer(row, 0));
        if count == 0 {
            return Ok(Left::default());
        }
        let open: JsValue = JSON::stringify(open).map(JsString::into)?;
        let (presence, states) = (self.presence_on_open(&open)?, self.states(&open)?);
        let of_open = presence.len() + states.values().map(Vec::len).sum::<usize>();
        let gone = if count <= of_open as u64 { Vec::new() } else { self.gone(&open)? };
        Ok(Left { presence, states, gone })
    }

    /// Everyone present on one of a few sockets, or on one of their channels.
    pub(super) fn presence_on(&self, client_ids: &JsValue) -> Result<Vec<PresenceRow>> {
        let statement = "SELECT client_id, place, topic, user, metadata, presence.key \
             FROM json_each(?) AS one CROSS JOIN presence ON client_id >= one.value AND client_id < one.value || '/'";
        Ok(self.rows(statement, std::slice::from_ref(client_ids))?.iter().map(presence_row).collect())
    }

    /// Everyone present on an open socket. These are nearly all rows: one scan is faster than a search for each socket.
    fn presence_on_open(&self, open: &JsValue) -> Result<Vec<PresenceRow>> {
        let statement = format!(
            "SELECT client_id, place, topic, user, metadata, key FROM presence \
             WHERE {SOCKET} {IS_OPEN} OR {IS_RELAYED}"
        );
        Ok(self.rows(&statement, std::slice::from_ref(open))?.iter().map(presence_row).collect())
    }

    /// The closed sockets that left rows behind. There are some if more rows are stored than belong to open sockets.
    /// Only their ids are read.
    fn gone(&self, open: &JsValue) -> Result<Vec<String>> {
        let statement = format!(
            "SELECT DISTINCT {SOCKET} AS socket FROM presence WHERE socket NOT {IS_OPEN} AND NOT {IS_RELAYED} \
             UNION SELECT client_id FROM state WHERE client_id NOT {IS_OPEN}"
        );
        Ok(self.rows(&statement, std::slice::from_ref(open))?.iter().map(|row| text(row, 0)).collect())
    }

    fn newest(&self) -> Result<Option<Newest>> {
        let rows = self.rows("SELECT offset, time, total_bytes FROM history ORDER BY offset DESC LIMIT 1", &[])?;
        let newest =
            |row: &Array| Newest { offset: integer(row, 0), time: integer(row, 1), total_bytes: integer(row, 2) };
        Ok(rows.first().map(newest))
    }

    fn states(&self, open: &JsValue) -> Result<BTreeMap<String, Vec<StatePart>>> {
        let statement =
            format!("SELECT client_id, part, text FROM state WHERE +client_id {IS_OPEN} ORDER BY client_id, part");
        let mut states: BTreeMap<String, Vec<StatePart>> = BTreeMap::new();
        for row in self.rows(&statement, std::slice::from_ref(open))? {
            let number = u32::try_from(integer(&row, 1)).unwrap_or(u32::MAX);
            states.entry(text(&row, 0)).or_default().push(StatePart { number, text: text(&row, 2) });
        }
        Ok(states)
    }
}
