//! The tenant's storage: SQLite, read and written without an await, so the writes of one input are one transaction.

mod history;
mod schema;
mod wake;

use std::cell::Cell;
use std::collections::BTreeMap;

use js_sys::{Array, JSON, JsString, Promise};
use wasm_bindgen::JsValue;

use super::runtime::RawStorage;
use crate::engine::effect::Write;
use crate::engine::input::{PresenceRow, Remembered};

/// How the presence table distinguishes the lobby, public and private topics.
const PLACE_LOBBY: f64 = 2.0;

/// The tenant's tables. The first write creates them: an object that only strangers opened stores nothing.
pub struct Storage {
    raw: RawStorage,
    has_tables: Cell<bool>,
    /// History rows up to this offset may not name where they were published.
    unplaced: Cell<u64>,
}

type Result<T> = std::result::Result<T, JsValue>;

impl Storage {
    /// Opens the storage and migrates existing tables.
    ///
    /// # Errors
    /// When SQLite fails, or the tables are of a later build.
    pub fn open(raw: RawStorage) -> Result<Storage> {
        let storage = Storage { raw, has_tables: Cell::new(true), unplaced: Cell::new(0) };
        let known = storage.rows("SELECT 1 FROM sqlite_master WHERE name = 'meta'", &[])?;
        storage.has_tables.set(!known.is_empty());
        if storage.has_tables.get() {
            storage.migrate()?;
        }
        Ok(storage)
    }

    /// Executes one write.
    pub fn write(&self, write: &Write) -> Result<()> {
        if !self.has_tables.get() {
            self.create()?;
        }
        match write {
            Write::Epoch(epoch) => self.run("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", &[epoch.into()]),
            Write::Fact { name, value } => {
                self.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", &[(*name).into(), value.into()])
            }
            Write::Append { .. } => self.append(write),
            Write::Trim { offset, time, total_bytes, rows } => self.trim(*offset, *time, *total_bytes, *rows),
            Write::Remember { id, answer, forget } => self.remember(id, *answer, *forget),
            Write::Spend { id, expires, forget } => {
                self.forget("tickets", "expires", *forget)?;
                self.run("INSERT INTO tickets (id, expires) VALUES (?, ?)", &[id.into(), number(*expires)])
            }
            Write::Track(row) => self.track(row),
            Write::Untrack { client_id, topic } => {
                self.untrack(client_id, topic.as_ref().map(|(private, name)| (*private, &**name)))
            }
            Write::Relay { number, state } => self.store_relay(*number, state.as_deref()),
            Write::Listeners { relay, parts } => self.listeners(*relay, parts),
            Write::ListenersState { relay, state } => {
                let key = format!("listening.{relay}");
                self.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", &[key.into(), state.into()])
            }
            Write::Forget { client_ids } => self.forget_sockets(client_ids),
            Write::State { client_id, part, text } => {
                let values = [(&**client_id).into(), (*part).into(), text.into()];
                self.run("INSERT OR REPLACE INTO state (client_id, part, text) VALUES (?, ?, ?)", &values)
            }
            Write::DropStatePart { client_id, part } => {
                let statement = "DELETE FROM state WHERE client_id = ? AND part = ?";
                self.run(statement, &[(&**client_id).into(), (*part).into()])
            }
            Write::DropState { client_id } => {
                self.run("DELETE FROM state WHERE client_id = ?", &[(&**client_id).into()])
            }
        }
    }

    fn store_relay(&self, number: u32, state: Option<&str>) -> Result<()> {
        let key = format!("relay.{number}");
        match state {
            Some(state) => self.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", &[key.into(), state.into()]),
            None => self.run("DELETE FROM meta WHERE key = ?", &[key.into()]),
        }
    }

    fn untrack(&self, client_id: &str, topic: Option<(bool, &str)>) -> Result<()> {
        let (place, topic) = place(topic);
        let statement = "DELETE FROM presence WHERE client_id = ? AND place = ? AND topic = ?";
        self.run(statement, &[client_id.into(), place, topic])
    }

    /// How many publications the history has.
    pub fn history_count(&self) -> Result<u64> {
        let rows = self.rows("SELECT count(*) FROM history", &[])?;
        Ok(rows.first().map_or(0, |row| integer(row, 0)))
    }

    /// The remembered results of these idempotency keys.
    pub fn remembered<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, Remembered>> {
        let mut remembered = BTreeMap::new();
        for id in ids {
            let rows = self.rows("SELECT time, offset, delivered FROM idempotency WHERE id = ?", &[id.into()])?;
            if let Some(row) = rows.first() {
                let answer = Remembered { time: integer(row, 0), offset: integer(row, 1), delivered: integer(row, 2) };
                remembered.insert(id.to_owned(), answer);
            }
        }
        Ok(remembered)
    }

    /// The presence of these sockets.
    pub fn presence_of(&self, client_ids: &[String]) -> Result<Vec<PresenceRow>> {
        self.presence_on(&list(client_ids)?)
    }

    /// Whether a ticket was used.
    pub fn is_spent(&self, ticket: &str) -> Result<bool> {
        Ok(!self.rows("SELECT 1 FROM tickets WHERE id = ?", &[ticket.into()])?.is_empty())
    }

    /// Sets the alarm, in Unix milliseconds. The promise settles once that is stored.
    pub fn set_alarm(&self, time: u64) -> Result<Promise> {
        self.raw.set_alarm(time as f64)
    }

    /// Deletes everything, including the alarm (since compatibility date 2026-02-24).
    pub fn delete_all(&self) -> Result<Promise> {
        self.has_tables.set(false);
        self.raw.delete_all()
    }

    fn remember(&self, id: &str, answer: Remembered, forget: u64) -> Result<()> {
        self.forget("idempotency", "time", forget)?;
        let statement = "INSERT OR REPLACE INTO idempotency (id, time, offset, delivered) VALUES (?, ?, ?, ?)";
        self.run(statement, &[id.into(), number(answer.time), number(answer.offset), number(answer.delivered)])
    }

    /// Deletes some of the oldest expired rows, more than are added, so the table stays as long as its window.
    fn forget(&self, table: &str, column: &str, time: u64) -> Result<()> {
        let statement = format!(
            "DELETE FROM {table} WHERE sequence IN (SELECT sequence FROM {table} ORDER BY sequence LIMIT 4) AND {column} <= ?"
        );
        self.run(&statement, &[number(time)])
    }

    fn listeners(&self, relay: u32, parts: &[String]) -> Result<()> {
        let prefix = format!("listeners.{relay}.");
        let statement = "DELETE FROM meta WHERE key >= ?1 AND key < ?1 || ':'";
        self.run(statement, &[prefix.as_str().into()])?;
        for (part, text) in parts.iter().enumerate() {
            let key = format!("{prefix}{part}");
            self.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", &[key.into(), text.into()])?;
        }
        if parts.is_empty() {
            self.run("DELETE FROM meta WHERE key = ?", &[format!("listening.{relay}").into()])?;
        }
        Ok(())
    }

    fn forget_sockets(&self, client_ids: &[String]) -> Result<()> {
        let client_ids = list(client_ids)?;
        let statement = "DELETE FROM presence WHERE (client_id, place, topic) IN (SELECT client_id, place, topic \
             FROM json_each(?) AS gone CROSS JOIN presence ON client_id >= gone.value AND client_id < gone.value || '/')";
        self.run(statement, std::slice::from_ref(&client_ids))?;
        self.run("DELETE FROM state WHERE client_id IN (SELECT value FROM json_each(?))", &[client_ids])
    }

    fn track(&self, row: &PresenceRow) -> Result<()> {
        let (place, topic) = place(row.topic.as_ref().map(|(private, name)| (*private, name.as_str())));
        let (user, key) = (optional(row.user.as_deref()), optional(row.key.as_deref()));
        let statement = "INSERT OR REPLACE INTO presence VALUES (?, ?, ?, ?, ?, ?)";
        self.run(statement, &[row.client_id.as_str().into(), place, topic, user, row.metadata.as_str().into(), key])
    }

    fn meta(&self, key: &str) -> Result<Option<String>> {
        let rows = self.rows("SELECT value FROM meta WHERE key = ?", &[key.into()])?;
        Ok(rows.first().map(|row| text(row, 0)))
    }

    fn run(&self, statement: &str, bindings: &[JsValue]) -> Result<()> {
        self.raw.sql().exec(statement, &bindings.iter().collect::<Array>()).map(drop)
    }

    /// The rows of a query; none if nothing was ever stored.
    fn rows(&self, statement: &str, bindings: &[JsValue]) -> Result<Vec<Array>> {
        self.rows_counted(statement, bindings).map(|(rows, _)| rows)
    }

    /// The same, with the number of rows that the query has read.
    fn rows_counted(&self, statement: &str, bindings: &[JsValue]) -> Result<(Vec<Array>, u64)> {
        if !self.has_tables.get() {
            return Ok((Vec::new(), 0));
        }
        let cursor = self.raw.sql().exec(statement, &bindings.iter().collect::<Array>())?;
        let rows = cursor.raw()?.to_array()?.iter().map(Array::from_js).collect();
        Ok((rows, cursor.rows_read() as u64))
    }
}

trait FromJs {
    fn from_js(value: JsValue) -> Self;
}

impl FromJs for Array {
    /// A row of a cursor is always an array.
    fn from_js(value: JsValue) -> Array {
        wasm_bindgen::JsCast::unchecked_into(value)
    }
}

/// JavaScript numbers are exact below 2^53, which none of these values reaches.
fn number(value: u64) -> JsValue {
    JsValue::from_f64(value as f64)
}

fn integer(row: &Array, column: u32) -> u64 {
    row.get(column).as_f64().map_or(0, |value| value as u64)
}

fn text(row: &Array, column: u32) -> String {
    optional_text(row, column).unwrap_or_default()
}

/// Texts as a list that SQLite reads with `json_each`.
fn list(texts: &[String]) -> Result<JsValue> {
    let texts: Array = texts.iter().map(|text| JsValue::from_str(text)).collect();
    JSON::stringify(&texts).map(JsString::into)
}

fn optional(text: Option<&str>) -> JsValue {
    text.map_or(JsValue::NULL, JsValue::from_str)
}

fn optional_text(row: &Array, column: u32) -> Option<String> {
    row.get(column).as_string()
}

fn place(topic: Option<(bool, &str)>) -> (JsValue, JsValue) {
    match topic {
        Some((private, name)) => (f64::from(u8::from(private)).into(), name.into()),
        None => (PLACE_LOBBY.into(), "".into()),
    }
}

fn presence_row(row: &Array) -> PresenceRow {
    let place = row.get(1).as_f64();
    PresenceRow {
        client_id: text(row, 0),
        topic: (place != Some(PLACE_LOBBY)).then(|| (place == Some(1.0), text(row, 2))),
        user: optional_text(row, 3),
        metadata: text(row, 4),
        key: optional_text(row, 5),
    }
}
