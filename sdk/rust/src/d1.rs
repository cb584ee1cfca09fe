//! The outbox in a D1 database.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;
use worker::{D1Database, D1PreparedStatement, Date};

use crate::error::RealtimeError;
use crate::message::{Message, Options};
use crate::outbox::{FlushOptions, FlushReport, is_guilty, is_refusal, is_theirs, stored_body};
use crate::publishing::publishing_functions;
use crate::realtime::{Realtime, random_uuid};

/// An outbox: the publishing functions give statements for the application's batch, and `flush` publishes.
///
/// ```text
/// let outbox = realtime.outbox(&database);
/// database.batch(vec![insert_claim, outbox.insert("claims", &claim, "org_1", &Options::default())?]).await?;
/// outbox.flush(&FlushOptions::of("org_1")).await?; // and all organizations' in the cron trigger
/// ```
pub struct Outbox<'a> {
    realtime: &'a Realtime,
    database: &'a D1Database,
}

impl Realtime {
    /// An outbox in a database that has the table of [`crate::OUTBOX_TABLE`].
    pub fn outbox<'a>(&'a self, database: &'a D1Database) -> Outbox<'a> {
        Outbox { realtime: self, database }
    }
}

impl Outbox<'_> {
    publishing_functions!([] write [] -> D1PreparedStatement, "When a row or payload cannot be serialized.");

    /// Publishes what is waiting, in order within each organization, and deletes it. Call it after the commit, and from
    /// a cron trigger for what a crash has left behind.
    ///
    /// # Errors
    /// When publishing fails for every organization alike (no connection, a wrong token), or the database fails.
    pub async fn flush(&self, options: &FlushOptions) -> Result<FlushReport, RealtimeError> {
        let mut report = FlushReport::default();
        let mut queue = match &options.organization_id {
            Some(one) => VecDeque::from([one.clone()]),
            None => self.organizations(options.batches).await?,
        };
        let mut left = options.batches;
        while let Some(organization) = queue.pop_front() {
            if left == 0 {
                report.more = true;
                break;
            }
            left -= 1;
            match self.flush_batch(&organization, &mut report).await {
                // Behind the others, so that nobody waits for an organization with many messages.
                Ok(BATCH) => queue.push_back(organization),
                Ok(_) => {}
                Err(error) if is_theirs(&error) => report.errors.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(report)
    }

    fn write(&self, organization_id: &str, message: Message) -> Result<D1PreparedStatement, RealtimeError> {
        let message = message.with_id(random_uuid);
        let now = JsValue::from_f64(Date::now().as_millis() as f64);
        self.statement(INSERT, &[organization_id.into(), message.id().into(), message.to_string().into(), now])
    }

    /// The organizations with waiting messages, the longest waiting first.
    async fn organizations(&self, batches: u32) -> Result<VecDeque<String>, RealtimeError> {
        let rows: Vec<Waiting> = self.run(ORGANIZATIONS, &[JsValue::from_f64(f64::from(batches) + 1.0)]).await?;
        Ok(rows.into_iter().map(|row| row.organization_id).collect())
    }

    /// Publishes one organization's next messages, and returns how many there were.
    async fn flush_batch(&self, organization: &str, report: &mut FlushReport) -> Result<usize, RealtimeError> {
        let rows: Vec<Row> = self.run(WAITING, &[organization.into(), JsValue::from_f64(BATCH as f64)]).await?;
        let count = rows.len();
        // The parts of a rejected batch, the next one last.
        let mut parts = vec![rows];
        while let Some(rows) = parts.pop() {
            if rows.is_empty() {
                continue;
            }
            let texts: Vec<&str> = rows.iter().map(|row| row.message.as_str()).collect();
            match self.realtime.send(&stored_body(organization, &texts)).await {
                Ok(_) => report.published += self.delete_rows(&rows).await?,
                Err(error) if is_refusal(&error) => parts.extend(self.separate(&error, rows, report).await?),
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Parks the rows that a rejection concerns, and returns the others: in halves if it is unknown which are meant.
    async fn separate(
        &self,
        error: &RealtimeError,
        rows: Vec<Row>,
        report: &mut FlushReport,
    ) -> Result<Vec<Vec<Row>>, RealtimeError> {
        let count = rows.len();
        let mut others = Vec::with_capacity(count);
        for (index, row) in rows.into_iter().enumerate() {
            if is_guilty(error, index, count) {
                self.run::<Nothing>(PARK, &[error.to_string().into(), row.position.into()]).await?;
                report.parked += 1;
            } else {
                others.push(row);
            }
        }
        let half = if others.len() == count { count / 2 } else { 0 };
        let later = others.split_off(half);
        Ok(vec![later, others])
    }

    async fn delete_rows(&self, rows: &[Row]) -> Result<usize, RealtimeError> {
        let places = vec!["?"; rows.len()].join(",");
        let positions: Vec<JsValue> = rows.iter().map(|row| row.position.into()).collect();
        self.run::<Nothing>(&format!("DELETE FROM realtime_outbox WHERE position IN ({places})"), &positions).await?;
        Ok(rows.len())
    }

    async fn run<Answer: for<'a> Deserialize<'a>>(
        &self,
        sql: &str,
        values: &[JsValue],
    ) -> Result<Vec<Answer>, RealtimeError> {
        let answer = self.statement(sql, values)?.all().await.map_err(failed)?;
        answer.results().map_err(failed)
    }

    fn statement(&self, sql: &str, values: &[JsValue]) -> Result<D1PreparedStatement, RealtimeError> {
        self.database.prepare(sql).bind(values).map_err(failed)
    }
}

fn failed(error: worker::Error) -> RealtimeError {
    RealtimeError::here("database", error.to_string())
}

#[derive(Deserialize)]
struct Waiting {
    organization_id: String,
}

#[derive(Deserialize)]
struct Row {
    /// A float, because D1 does not accept big integers.
    position: f64,
    message: String,
}

/// A row of a statement that returns none.
#[derive(Deserialize)]
struct Nothing {}

/// The most messages in one request, and the most values in a statement of D1.
const BATCH: usize = 100;

const INSERT: &str =
    "INSERT INTO realtime_outbox (organization_id, id, message, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
const ORGANIZATIONS: &str = "SELECT organization_id FROM realtime_outbox WHERE error IS NULL GROUP BY organization_id ORDER BY MIN(position) LIMIT ?";
const WAITING: &str = "SELECT position, message FROM realtime_outbox WHERE organization_id = ? AND error IS NULL ORDER BY position LIMIT ?";
const PARK: &str = "UPDATE realtime_outbox SET error = ? WHERE position = ?";
