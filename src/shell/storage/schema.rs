//! The tables of the tenant's storage, and how those of earlier builds are brought up to date.

use wasm_bindgen::JsValue;

use super::{Result, Storage};

/// The schema that this build writes. A build with another one migrates at its first wake.
const SCHEMA: &str = "2";
const CREATE: [&str; 6] = [
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE history (offset INTEGER PRIMARY KEY, time INTEGER NOT NULL, version INTEGER NOT NULL, \
     text TEXT NOT NULL, total_bytes INTEGER NOT NULL)",
    "CREATE TABLE idempotency (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, time INTEGER NOT NULL, \
     offset INTEGER NOT NULL, delivered INTEGER NOT NULL)",
    "CREATE TABLE tickets (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, expires INTEGER NOT NULL)",
    "CREATE TABLE presence (client_id TEXT NOT NULL, place INTEGER NOT NULL, topic TEXT NOT NULL, user TEXT, \
     metadata TEXT NOT NULL, PRIMARY KEY (client_id, place, topic)) WITHOUT ROWID",
    "CREATE TABLE overflow (client_id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID",
];
/// From schema 1 to 2, and part of every new storage: members have a key of their own, and the messages of private topics
/// are found by their topic. Only those cost an index.
const TO_SCHEMA_2: [&str; 3] = [
    "ALTER TABLE presence ADD COLUMN key TEXT",
    "ALTER TABLE history ADD COLUMN topic TEXT",
    "CREATE INDEX history_by_topic ON history (topic, offset) WHERE topic IS NOT NULL",
];
impl Storage {
    /// Creates the tables.
    pub(super) fn create(&self) -> Result<()> {
        self.has_tables.set(true);
        for statement in CREATE {
            self.rows(statement, &[])?;
        }
        self.rows("INSERT INTO meta VALUES ('schema', '1')", &[])?;
        self.migrate()
    }

    /// Brings tables that an earlier build wrote up to date.
    ///
    /// # Errors
    /// When they are of a later one.
    pub(super) fn migrate(&self) -> Result<()> {
        if self.meta("schema")?.as_deref() == Some("1") {
            for statement in TO_SCHEMA_2 {
                self.rows(statement, &[])?;
            }
            self.rows("UPDATE meta SET value = '2' WHERE key = 'schema'", &[])?;
        }
        match self.meta("schema")?.as_deref() {
            Some(SCHEMA) => Ok(()),
            _ => Err(JsValue::from_str("the storage was written by a later version")),
        }
    }
}
