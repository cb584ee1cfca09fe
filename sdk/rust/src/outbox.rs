//! The outbox: what is to be published is written in the transaction of the row, and published after it.
//!
//! A crash anywhere loses nothing: until the Worker has accepted a message, its row is there. Between that and the row's
//! deletion the next flush sends the message again with the same id, which the Worker answers without delivering it; it
//! remembers ids for 10 minutes. Concurrent flushes send the same in the same order, and are safe for the same reason.
//!
//! This is what needs no database: its table, and what a refusal is about. It is the TypeScript package's, row by row, so
//! that an outbox which one of them has filled is flushed by the other.

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
    /// Only this organization's.
    pub organization_id: Option<String>,
    /// Batches of at most 100 messages of one organization, at most. A Worker's requests are limited.
    pub batches: u32,
}

impl Default for FlushOptions {
    fn default() -> Self {
        FlushOptions { organization_id: None, batches: 100 }
    }
}

impl FlushOptions {
    /// Only this organization's.
    pub fn of(organization_id: impl Into<String>) -> FlushOptions {
        FlushOptions { organization_id: Some(organization_id.into()), ..FlushOptions::default() }
    }
}

/// What a flush did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlushReport {
    /// Messages that the Worker has accepted, now or in an earlier flush that died before it could delete them.
    pub published: usize,
    /// Messages that the Worker will never accept. They stay in the table with their `error`, and are not tried again.
    pub parked: usize,
    /// Why some organizations' messages stay for the next flush, one error each.
    pub errors: Vec<RealtimeError>,
    /// Whether it stopped at `batches` with more to do.
    pub more: bool,
}

/// The body of a request with stored messages. A text that is no JSON becomes one that the Worker refuses by its place.
pub fn stored_body(organization_id: &str, messages: &[&str]) -> String {
    let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    let messages: Vec<&str> = messages.iter().map(|text| if is_json(text) { text } else { "null" }).collect();
    let organization = serde_json::Value::from(organization_id);
    format!(r#"{{"organizationId":{organization},"messages":[{}]}}"#, messages.join(","))
}

/// Whether the Worker will never accept a request as it is, so that the messages in it have to be told apart.
pub fn is_refusal(error: &RealtimeError) -> bool {
    matches!(error.status, 400 | 413)
}

/// Whether a request failed for its organization's sake alone, so that the others' may go on. What is no answer of the
/// Worker's own is about no organization: it does not run, or is not where we ask.
pub fn is_theirs(error: &RealtimeError) -> bool {
    error.retryable() && error.status > 0 && error.code != "unexpected_answer"
}

/// Whether a refusal of `count` messages is about the one at `index`. Where it is about none, halves tell.
pub fn is_guilty(error: &RealtimeError, index: usize, count: usize) -> bool {
    let field = error.field.as_deref().unwrap_or_default();
    count == 1 || field == "organizationId" || field.starts_with(&format!("messages[{index}]"))
}
