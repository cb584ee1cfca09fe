//! The outbox: a publication is written in the transaction of the row, and sent afterwards.
//!
//! A crash at any point loses nothing: a message's row stays until the Worker has accepted the message. If the row
//! could not be deleted, the next flush sends the message again with the same id, and the Worker answers without
//! delivering it, because it remembers ids for 10 minutes. Concurrent flushes send the same messages in the same order,
//! and are safe for the same reason.
//!
//! This module needs no database: it has the table, and decides what a rejection concerns. The table is the TypeScript
//! package's, so either package can flush what the other has written.

use serde::de::IgnoredAny;

use crate::error::RealtimeError;

/// The outbox's table for D1 and SQLite: a migration.
pub const OUTBOX_TABLE: &str = "CREATE TABLE IF NOT EXISTS realtime_outbox (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  organization_id TEXT NOT NULL,
  id TEXT NOT NULL,
  message TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  error TEXT,
  UNIQUE (organization_id, id)
);
CREATE INDEX IF NOT EXISTS realtime_outbox_waiting ON realtime_outbox (organization_id, position) WHERE error IS NULL;
";

/// How much to flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushOptions {
    /// Only this organization's messages.
    pub organization_id: Option<String>,
    /// The most batches of up to 100 messages of one organization. A Worker's requests are limited.
    pub batches: u32,
}

impl Default for FlushOptions {
    fn default() -> Self {
        FlushOptions { organization_id: None, batches: 100 }
    }
}

impl FlushOptions {
    /// Only this organization's messages.
    pub fn of(organization_id: impl Into<String>) -> FlushOptions {
        FlushOptions { organization_id: Some(organization_id.into()), ..FlushOptions::default() }
    }
}

/// The result of a flush.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlushReport {
    /// Messages that the Worker has accepted, now or in an earlier flush that crashed before it could delete them.
    pub published: usize,
    /// Messages that the Worker will never accept. They stay in the table with their `error`, and are not retried.
    pub parked: usize,
    /// Why some organizations' messages wait for the next flush, one error each.
    pub errors: Vec<RealtimeError>,
    /// Whether it stopped at `batches` although more messages wait.
    pub more: bool,
}

/// The body of a request with stored messages. A text that is not JSON is replaced by a value that the Worker rejects
/// by its index.
pub fn stored_body(organization_id: &str, messages: &[&str]) -> String {
    let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    let messages: Vec<&str> = messages.iter().map(|text| if is_json(text) { text } else { "null" }).collect();
    let organization = serde_json::Value::from(organization_id);
    format!(r#"{{"organizationId":{organization},"messages":[{}]}}"#, messages.join(","))
}

/// Whether the Worker will never accept a request, so that its messages must be tried separately.
pub fn is_refusal(error: &RealtimeError) -> bool {
    matches!(error.status, 400 | 413)
}

/// Whether a request failed for its own organization only, so that others may continue. Without an answer from the
/// Worker, the error concerns no organization: the Worker is not running, or not at this address.
pub fn is_theirs(error: &RealtimeError) -> bool {
    error.retryable() && error.status > 0 && error.code != "unexpected_answer"
}

/// Whether a rejection of `count` messages concerns the one at `index`. If it names none, each half is tried.
pub fn is_guilty(error: &RealtimeError, index: usize, count: usize) -> bool {
    let field = error.field.as_deref().unwrap_or_default();
    count == 1 || field == "organizationId" || field.starts_with(&format!("messages[{index}]"))
}
