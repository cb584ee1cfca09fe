//! What the object of a database stores: the latest interest of each organization, parts that an organization could not
//! take, and when the outbox is drained next.

use std::collections::BTreeMap;

use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue};

use super::runtime::RawStorage;
use crate::source::input::StoredSource;
use crate::source::pieces::{MAX_PIECE_BYTES, pieces};

const CREATE: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS interest (organization TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS parked (sequence INTEGER PRIMARY KEY, organization TEXT NOT NULL, batch INTEGER NOT NULL, \
     body TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS pieces (of TEXT NOT NULL, piece INTEGER NOT NULL, body TEXT NOT NULL, \
     PRIMARY KEY (of, piece)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS drain (one INTEGER PRIMARY KEY CHECK (one = 1), time INTEGER NOT NULL)",
];

/// The tables. If a text is too large for a row, the row holds its first piece, and `pieces` the others.
pub struct SourceStorage {
    raw: RawStorage,
}

type Result<T> = std::result::Result<T, JsValue>;

impl SourceStorage {
    /// Opens the tables. Only organizations' objects call this object, so strangers cannot store anything.
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

    /// Everything that is stored.
    pub fn load(&self) -> Result<StoredSource> {
        let interests = self.rows("SELECT body, organization FROM interest")?;
        let parked = self.rows("SELECT organization, batch, body, sequence FROM parked ORDER BY sequence")?;
        let drains = self.rows("SELECT time FROM drain")?;
        let mut rests = self.rests()?;
        let text = |row: &Array, column| row.get(column).as_string().unwrap_or_default();
        let count = |row: &Array, column| row.get(column).as_f64().unwrap_or(0.0) as u64;
        let mut whole = |first: String, of: &str| first + &rests.remove(of).unwrap_or_default();
        Ok(StoredSource {
            interests: interests.iter().map(|row| whole(text(row, 0), &interest(&text(row, 1)))).collect(),
            parked: parked
                .iter()
                .map(|row| (text(row, 0), count(row, 1), whole(text(row, 2), &part(count(row, 3)))))
                .collect(),
            drains_at: drains.first().map(|row| count(row, 0)),
        })
    }

    /// Stores the latest interest of an organization.
    pub fn interest(&self, organization: &str, body: &str) -> Result<()> {
        let statement = "INSERT OR REPLACE INTO interest VALUES (?, ?)";
        let mut pieces = pieces(body, MAX_PIECE_BYTES);
        self.run(statement, &[organization.into(), pieces.next().unwrap_or_default().into()])?;
        self.store_rest(&interest(organization), pieces)
    }

    /// Stores a part.
    pub fn park(&self, organization: &str, batch: u64, body: &str) -> Result<()> {
        let mut pieces = pieces(body, MAX_PIECE_BYTES);
        let statement = "INSERT INTO parked (organization, batch, body) VALUES (?, ?, ?) RETURNING sequence";
        let first = pieces.next().unwrap_or_default();
        let rows = self.select(statement, &[organization.into(), (batch as f64).into(), first.into()])?;
        let sequence = rows.first().and_then(|row| row.get(0).as_f64()).unwrap_or(0.0) as u64;
        self.store_rest(&part(sequence), pieces)
    }

    /// Removes a part: the oldest of that number, because a restored database numbers its batches anew.
    pub fn unpark(&self, organization: &str, batch: u64) -> Result<()> {
        let statement = "DELETE FROM parked WHERE sequence = \
             (SELECT min(sequence) FROM parked WHERE organization = ? AND batch = ?) RETURNING sequence";
        for row in self.select(statement, &[organization.into(), (batch as f64).into()])? {
            self.store_rest(&part(row.get(0).as_f64().unwrap_or(0.0) as u64), std::iter::empty())?;
        }
        Ok(())
    }

    /// Replaces the pieces of a text after its first.
    fn store_rest<'a>(&self, of: &str, rest: impl Iterator<Item = &'a str>) -> Result<()> {
        self.run("DELETE FROM pieces WHERE of = ?", &[of.into()])?;
        for (piece, body) in (1_u32..).zip(rest) {
            self.run("INSERT INTO pieces VALUES (?, ?, ?)", &[of.into(), piece.into(), body.into()])?;
        }
        Ok(())
    }

    /// The pieces after the first, joined, by the key of their text.
    fn rests(&self) -> Result<BTreeMap<String, String>> {
        let mut rests = BTreeMap::<String, String>::new();
        for row in self.rows("SELECT of, body FROM pieces ORDER BY of, piece")? {
            let text = |column| row.get(column).as_string().unwrap_or_default();
            rests.entry(text(0)).or_default().push_str(&text(1));
        }
        Ok(rests)
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
        self.select(statement, &[])
    }

    fn select(&self, statement: &str, bindings: &[JsValue]) -> Result<Vec<Array>> {
        let cursor = self.raw.sql().exec(statement, &bindings.iter().collect::<Array>())?;
        Ok(cursor.raw()?.to_array()?.iter().map(JsValue::unchecked_into).collect())
    }
}

/// The key of the pieces of an organization's interest.
fn interest(organization: &str) -> String {
    ["interest/", organization].concat()
}

/// The key of the pieces of a parked part.
fn part(sequence: u64) -> String {
    format!("parked/{sequence}")
}
