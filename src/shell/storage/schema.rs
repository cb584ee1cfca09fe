//! The tables of the tenant's storage, and their migrations.

use wasm_bindgen::JsValue;

use super::{Result, Storage};

/// The schema that this build writes. A build with a newer one migrates at its first wake.
const SCHEMA: u64 = 4;
/// The text of a row is its last column: the columns before it are read without it.
const CREATE: [&str; 7] = [
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE history (offset INTEGER PRIMARY KEY, time INTEGER NOT NULL, version INTEGER NOT NULL, \
     total_bytes INTEGER NOT NULL, topic TEXT, place TEXT, text TEXT NOT NULL)",
    HISTORY_BY_PLACE,
    "CREATE TABLE idempotency (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, time INTEGER NOT NULL, \
     offset INTEGER NOT NULL, delivered INTEGER NOT NULL)",
    "CREATE TABLE tickets (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, expires INTEGER NOT NULL)",
    "CREATE TABLE presence (client_id TEXT NOT NULL, place INTEGER NOT NULL, topic TEXT NOT NULL, user TEXT, \
     metadata TEXT NOT NULL, key TEXT, PRIMARY KEY (client_id, place, topic)) WITHOUT ROWID",
    STATE,
];
/// State that does not fit into an attachment. Part 0 is the connection itself.
const STATE: &str = "CREATE TABLE state (client_id TEXT NOT NULL, part INTEGER NOT NULL, text TEXT NOT NULL, \
     PRIMARY KEY (client_id, part)) WITHOUT ROWID";
/// SQLite appends the row id, here the offset, to every index.
const HISTORY_BY_PLACE: &str = "CREATE INDEX history_by_place ON history (place) WHERE place IS NOT NULL";
/// The migrations, from each schema to the next, starting with 1 to 2: members have a key of their own, and the
/// messages of private topics name their place.
const TO_NEXT: [&[&str]; 3] = [
    &["ALTER TABLE presence ADD COLUMN key TEXT", "ALTER TABLE history ADD COLUMN topic TEXT"],
    // Rows name where they were published. Existing rows do not, except the messages of private topics: up to the last
    // of them, all rows are searched.
    &[
        "DROP INDEX IF EXISTS history_by_topic",
        "ALTER TABLE history ADD COLUMN place TEXT",
        "UPDATE history SET place = 'private ' || topic WHERE topic IS NOT NULL",
        HISTORY_BY_PLACE,
        "INSERT INTO meta SELECT 'unplaced', coalesce(max(offset), 0) FROM history",
    ],
    // The state was one row, rewritten on each change.
    &[STATE, "INSERT INTO state SELECT client_id, 0, state FROM overflow", "DROP TABLE overflow"],
];

impl Storage {
    /// Creates the tables.
    pub(super) fn create(&self) -> Result<()> {
        self.has_tables.set(true);
        for statement in CREATE {
            self.rows(statement, &[])?;
        }
        self.set_schema(SCHEMA)
    }

    /// Migrates tables of an earlier build.
    ///
    /// # Errors
    /// When they are of a later one.
    pub(super) fn migrate(&self) -> Result<()> {
        let found = self.meta("schema")?.and_then(|version| version.parse().ok());
        let Some(found) = found.filter(|version| (1..=SCHEMA).contains(version)) else {
            return Err(JsValue::from_str("the storage was written by a later version"));
        };
        for (schema, statements) in (2..).zip(TO_NEXT).filter(|(schema, _)| *schema > found) {
            for statement in statements {
                self.rows(statement, &[])?;
            }
            self.set_schema(schema)?;
        }
        let unplaced = self.meta("unplaced")?.and_then(|offset| offset.parse().ok());
        self.unplaced.set(unplaced.unwrap_or_default());
        Ok(())
    }

    fn set_schema(&self, schema: u64) -> Result<()> {
        self.run("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", &[schema.to_string().into()])
    }
}
