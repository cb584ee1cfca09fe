//! What the object of a database stores: the latest interest of each organization, parts that an organization could not
//! take, and when the outbox is drained next.

use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue};

use super::runtime::RawStorage;
use crate::source::input::StoredSource;

const CREATE: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS interest (organization TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS parked (sequence INTEGER PRIMARY KEY, organization TEXT NOT NULL, batch INTEGER NOT NULL, \
     body TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS drain (one INTEGER PRIMARY KEY CHECK (one = 1), time INTEGER NOT NULL)",
];

/// The tables.
pub struct SourceStorage {
    raw: RawStorage,
}

type Result<T> = std::result::Result<T, JsValue>;

impl SourceStorage {
    /// Opens them. Only organizations' objects can call, so what is stored is never a stranger's.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn open(raw: RawStorage) -> Result<SourceStorage> {
        let storage = SourceStorage { raw };
        for statement in CREATE {
            storage.run(statement, &[])?;
        }
        Ok(storage)
    }

    /// Everything.
    pub fn load(&self) -> Result<StoredSource> {
        let interests = self.rows("SELECT body FROM interest")?;
        let parked = self.rows("SELECT organization, batch, body FROM parked ORDER BY sequence")?;
        let drains = self.rows("SELECT time FROM drain")?;
        let text = |row: &Array, column| row.get(column).as_string().unwrap_or_default();
        Ok(StoredSource {
            interests: interests.iter().map(|row| text(row, 0)).collect(),
            parked: parked
                .iter()
                .map(|row| (text(row, 0), row.get(1).as_f64().unwrap_or(0.0) as u64, text(row, 2)))
                .collect(),
            drains_at: drains.first().and_then(|row| row.get(0).as_f64()).map(|time| time as u64),
        })
    }

    /// Stores the latest interest of an organization.
    pub fn interest(&self, organization: &str, body: &str) -> Result<()> {
        self.run("INSERT OR REPLACE INTO interest VALUES (?, ?)", &[organization.into(), body.into()])
    }

    /// Stores a part.
    pub fn park(&self, organization: &str, batch: u64, body: &str) -> Result<()> {
        let statement = "INSERT INTO parked (organization, batch, body) VALUES (?, ?, ?)";
        self.run(statement, &[organization.into(), (batch as f64).into(), body.into()])
    }

    /// Removes a part: the oldest of that number, because a restored database numbers its batches anew.
    pub fn unpark(&self, organization: &str, batch: u64) -> Result<()> {
        let statement = "DELETE FROM parked WHERE sequence = \
             (SELECT min(sequence) FROM parked WHERE organization = ? AND batch = ?)";
        self.run(statement, &[organization.into(), (batch as f64).into()])
    }

    /// Stores when the outbox is drained next, in Unix milliseconds.
    pub fn drain(&self, time: u64) -> Result<()> {
        self.run("INSERT OR REPLACE INTO drain VALUES (1, ?)", &[(time as f64).into()])
    }

    /// Sets the alarm, in Unix milliseconds.
    pub fn set_alarm(&self, time: u64) -> Result<()> {
        super::fault::watch("setAlarm", self.raw.set_alarm(time as f64)?);
        Ok(())
    }

    fn run(&self, statement: &str, bindings: &[JsValue]) -> Result<()> {
        self.raw.sql().exec(statement, &bindings.iter().collect::<Array>()).map(drop)
    }

    fn rows(&self, statement: &str) -> Result<Vec<Array>> {
        let cursor = self.raw.sql().exec(statement, &Array::new())?;
        Ok(cursor.raw()?.to_array()?.iter().map(JsValue::unchecked_into).collect())
    }
}
