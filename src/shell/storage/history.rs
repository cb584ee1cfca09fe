//! The history's rows: written once, trimmed from the front, found by the place where they were published.

use js_sys::Array;

use super::{Result, Storage, integer, list, number, optional, text};
use crate::engine::ORGANIZATION_PLACES;
use crate::engine::effect::{HistoryQuery, Write};
use crate::engine::input::{HistoryRead, StoredPublication};

/// The offsets of a few places, by index, and of all rows that do not name their place.
const OF_PLACES: &str = "SELECT offset FROM history WHERE place IN (SELECT value FROM json_each(?1)) AND offset > ?2 \
     UNION SELECT offset FROM history WHERE place IS NULL AND offset > ?2 AND offset <= ?3";
/// The same with the publications for the whole organization. These are most rows, so the table is scanned.
const OF_ORGANIZATION: &str = "SELECT offset FROM history WHERE offset > ?2 AND (substr(place, 1, 1) = ?6 \
     OR +place IN (SELECT value FROM json_each(?1)) OR (+place IS NULL AND offset <= ?3))";
/// All offsets; the parameters are those of the statements above.
const OF_ALL: &str = "SELECT offset FROM history WHERE offset > ?2 AND (?1 IS NOT NULL OR ?3 IS NOT NULL)";

impl Storage {
    /// Appends a row.
    pub(super) fn append(&self, write: &Write) -> Result<()> {
        let Write::Append { offset, time, version, text, topic, place, total_bytes } = write else { return Ok(()) };
        let values = [
            number(*offset),
            number(*time),
            number(*version),
            number(*total_bytes),
            optional(topic.as_deref()),
            place.into(),
            (&**text).into(),
        ];
        let statement = "INSERT INTO history (offset, time, version, total_bytes, topic, place, text) \
             VALUES (?, ?, ?, ?, ?, ?, ?)";
        self.run(statement, &values)
    }

    /// The rows that a query asks for, in order; none if the history no longer reaches back that far.
    pub fn history_after(&self, query: &HistoryQuery) -> Result<HistoryRead> {
        let after = number(query.after);
        if self.rows("SELECT 1 FROM history WHERE offset = ? + 1", std::slice::from_ref(&after))?.is_empty() {
            return Ok(HistoryRead::default());
        }
        let mut values = vec![list(&query.selection.places)?, after, number(self.unplaced.get())];
        values.extend([number(query.rows), number(query.bytes)]);
        let offsets = match &query.selection {
            selection if selection.is_all => OF_ALL,
            selection if selection.is_whole => OF_ORGANIZATION,
            _ => OF_PLACES,
        };
        let is_walked = query.selection.is_whole && !query.selection.is_all;
        values.extend(is_walked.then(|| ORGANIZATION_PLACES.into()));
        // The texts are read only once the offsets are known.
        let statement = format!(
            "WITH wanted AS ({offsets} ORDER BY offset LIMIT ?4), \
             sizes AS (SELECT offset, octet_length(text) AS size FROM wanted CROSS JOIN history USING (offset)), \
             sums AS (SELECT offset, sum(size) OVER (ORDER BY offset) - size AS before FROM sizes) \
             SELECT offset, version, text, time FROM sums CROSS JOIN history USING (offset) WHERE before <= ?5 ORDER BY offset"
        );
        let (rows, scanned) = self.rows_counted(&statement, &values)?;
        Ok(HistoryRead { rows: Some(rows.iter().map(publication).collect()), scanned })
    }

    /// The newest `rows` messages of a private topic since a time (Unix milliseconds), in their order.
    pub fn topic_since(&self, place: &str, since: u64, rows: u64) -> Result<HistoryRead> {
        // Times grow with offsets: selecting the newest first reads no more rows than the answer may have.
        let statement = "SELECT * FROM (SELECT offset, version, text, time FROM history \
             WHERE place = ? AND topic IS NOT NULL AND version > 0 ORDER BY offset DESC LIMIT ?) WHERE time >= ?";
        let (rows, scanned) = self.rows_counted(statement, &[place.into(), number(rows), number(since)])?;
        Ok(HistoryRead { rows: Some(rows.iter().rev().map(publication).collect()), scanned })
    }

    pub(super) fn trim(&self, offset: u64, time: u64, total_bytes: u64, rows: u64) -> Result<()> {
        // Offsets, times and totals grow together, so trimmed rows are always at the front; the newest row stays.
        let statement = "DELETE FROM history WHERE offset IN (SELECT offset FROM history ORDER BY offset LIMIT ?) \
             AND offset < (SELECT max(offset) FROM history) AND (offset <= ? OR time <= ? OR total_bytes <= ?)";
        self.run(statement, &[number(rows), number(offset), number(time), number(total_bytes)])?;
        // The newest row keeps the offset, but its content must expire like any other.
        let statement = "UPDATE history SET version = 0, text = '', place = '' \
             WHERE offset = (SELECT max(offset) FROM history) AND version > 0 AND time <= ?";
        self.run(statement, &[number(time)])
    }
}

fn publication(row: &Array) -> StoredPublication {
    StoredPublication { offset: integer(row, 0), time: integer(row, 3), version: integer(row, 1), text: text(row, 2) }
}
