//! What is read of the storage when the object comes to life: what belongs to open sockets. Of the others no more than
//! their ids is read, however much they have left.

use std::collections::BTreeMap;

use js_sys::{Array, JSON, JsString};
use wasm_bindgen::JsValue;

use super::{Result, Storage, integer, presence_row, text};
use crate::engine::input::{Newest, PresenceRow, StatePart, Stored};

/// The socket of a row of presence: a channel's public id is its socket's with a dot and a number behind it.
const SOCKET: &str = "substr(client_id, 1, instr(client_id || '.', '.') - 1)";
const IS_OPEN: &str = "IN (SELECT value FROM json_each(?1))";
/// Relays have their sockets at objects of their own, whose public ids begin like this.
const IS_RELAYED: &str = "client_id GLOB 'r[0-9]*-*'";

/// Rows that sockets have left.
#[derive(Default)]
struct Left {
    presence: Vec<PresenceRow>,
    states: BTreeMap<String, Vec<StatePart>>,
    /// Sockets that are no longer open.
    gone: Vec<String>,
}

impl Storage {
    /// Everything that a waking tenant needs, but for the sockets and the alarm. `open` has the public ids of the sockets that
    /// are open.
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

    /// What sockets have left. Most objects have no such row, and are spared the list of their sockets.
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

    /// Everyone who is present on one of few sockets, or of their channels.
    pub(super) fn presence_on(&self, client_ids: &JsValue) -> Result<Vec<PresenceRow>> {
        let statement = "SELECT client_id, place, topic, user, metadata, presence.key \
             FROM json_each(?) AS one CROSS JOIN presence ON client_id >= one.value AND client_id < one.value || '/'";
        Ok(self.rows(statement, std::slice::from_ref(client_ids))?.iter().map(presence_row).collect())
    }

    /// Everyone who is present on a socket that is open. Nearly all rows are those of such: one walk over the table is faster
    /// than a search for each socket.
    fn presence_on_open(&self, open: &JsValue) -> Result<Vec<PresenceRow>> {
        let statement = format!(
            "SELECT client_id, place, topic, user, metadata, key FROM presence \
             WHERE {SOCKET} {IS_OPEN} OR {IS_RELAYED}"
        );
        Ok(self.rows(&statement, std::slice::from_ref(open))?.iter().map(presence_row).collect())
    }

    /// The sockets that are gone and have left rows: there are some where more rows are stored than belong to those that are
    /// open. No more is read of them than their ids.
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
