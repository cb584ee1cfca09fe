//! The source: passes a PostgreSQL database's committed changes to the organizations that own them.
//!
//! Pure, like the engine: [`DatabaseSource::handle`] takes one input and returns [`SourceTask`]s. The database keeps
//! each batch until the source reports that every organization has taken it, so a crash between any two steps leads to
//! the same publications (docs/postgres.md).

pub mod batch;
pub mod delivery;
pub mod input;
pub mod interest;
pub mod link;
pub mod pieces;
pub mod queries;
mod registration;
pub mod size;
pub mod statement;
pub mod task;
pub mod url;

use std::rc::Rc;

use crate::policy::database::Database;
use batch::TakenBatch;
use delivery::Deliveries;
use input::{SourceInput, StoredSource};
use interest::Interests;
use link::{LinkState, Problem};
use queries::{Purpose, Queries};
use size::BatchSize;
use statement::Statement;
use task::SourceTask;

/// The polling interval while there are changes, in milliseconds.
const POLL: u64 = 15;
/// The polling interval of an idle connection, which shows that it is alive, in milliseconds.
const PROBE: u64 = 5_000;
/// The interval at which captured tables are synchronized with the publication, in milliseconds.
const SYNC: u64 = 60_000;
/// How long the connection stays open after the last subscriber has left, in milliseconds.
const LINGER: u64 = 10_000;
/// Shorter waits use a timer, longer ones the alarm, in milliseconds.
const TIMER: u64 = 1_000;

/// One database's source.
pub struct DatabaseSource {
    database: Rc<Database>,
    interests: Interests,
    link: LinkState,
    queries: Queries,
    deliveries: Deliveries,
    /// The batch that is being delivered.
    current: Option<u64>,
    /// The batch that all organizations have taken; the next `take` acknowledges it.
    done: Option<u64>,
    size: BatchSize,
    /// When the next batch is requested.
    take_at: u64,
    /// Until when the database is left alone, even if it notifies.
    rests_until: u64,
    /// When captured tables are synchronized next.
    sync_at: u64,
    /// When organizations whose interest could not be registered are registered again.
    retry_at: Option<u64>,
    /// When the connection is closed because nobody listens.
    closes_at: Option<u64>,
    /// When the outbox is drained because nobody listens.
    drains_at: Option<u64>,
    is_draining: bool,
    alarm: Option<u64>,
    timer: Option<u64>,
}

impl DatabaseSource {
    /// Wakes a source: after a first start, a deploy or a crash alike.
    pub fn wake(now: u64, database: Rc<Database>, stored: StoredSource) -> DatabaseSource {
        let interests = Interests::of(stored.interests);
        let drains = database.drain_seconds > 0 && !interests.is_new() && !interests.has_any();
        // The stored time counts: an idle object is evicted, and a new countdown at each wake would never end.
        let latest = now.saturating_add(database.drain_seconds * 1_000);
        DatabaseSource {
            drains_at: drains.then(|| stored.drains_at.map_or(now, |time| time.min(latest))),
            database,
            interests,
            link: LinkState::default(),
            queries: Queries::default(),
            deliveries: Deliveries::of(stored.parked),
            current: None,
            done: None,
            size: BatchSize::default(),
            take_at: now,
            rests_until: now,
            sync_at: now,
            retry_at: None,
            closes_at: None,
            is_draining: false,
            alarm: None,
            timer: None,
        }
    }

    /// Handles one input; `now` in Unix milliseconds.
    pub fn handle(&mut self, now: u64, input: SourceInput, out: &mut Vec<SourceTask>) {
        match input {
            SourceInput::Interest { request, body } => self.interest(now, request, body, out),
            SourceInput::Ask { request, statement } => self.queries.ask(request, statement),
            SourceInput::Knock => self.take_at = now.max(self.rests_until),
            SourceInput::Connected { listens } => self.connected(now, listens),
            SourceInput::Failed(problem) => self.lost(now, problem, out),
            SourceInput::Answered { query, answer } => self.answered(now, query, answer, out),
            SourceInput::Delivered { organization, batch, status } => {
                self.deliveries.delivered(now, &organization, batch, status, out);
            }
            SourceInput::Alarm => self.alarm = None,
            SourceInput::Timer => self.timer = None,
        }
        self.advance(now, out);
        self.arm(now, out);
    }

    /// The source's figures for `/status`, as JSON.
    pub fn figures(&self) -> serde_json::Value {
        serde_json::json!({
            "connection": self.link.word(),
            "problem": self.link.problem().map(Problem::as_str),
            "attempt": self.link.attempts(),
            "organizations": self.interests.live().count(),
            "undelivered": self.deliveries.len(),
        })
    }

    /// The connection failed or was lost: everyone who waits is informed, and another attempt is scheduled.
    fn lost(&mut self, now: u64, problem: Problem, out: &mut Vec<SourceTask>) {
        if matches!(self.link, LinkState::Closed { .. }) {
            return;
        }
        for request in self.queries.abandon() {
            out.push(SourceTask::Reply { request, status: 503, body: refusal(problem.as_str()) });
        }
        for organization in self.interests.lose() {
            out.push(SourceTask::Feed { organization, body: interest::feed(&self.database.name, None) });
        }
        out.push(SourceTask::Disconnect);
        let missing = self.database.connection.as_ref().filter(|_| problem == Problem::NoConnection);
        let missing = missing.map(|name| ("missing", name.clone()));
        let details = [("problem", problem.as_str().to_owned())].into_iter().chain(missing).collect();
        out.push(SourceTask::Log { event: "database_lost", details });
        self.link.fail(now, problem);
        self.is_draining = false;
        if !self.interests.is_new() && !self.interests.has_any() {
            self.schedule_drain(now, out);
        }
        // The next connection may reach a restored database, where this number means another batch.
        (self.current, self.done, self.retry_at) = (None, None, None);
        self.deliveries.forget();
    }

    fn answered(&mut self, now: u64, query: u64, answer: Result<String, Problem>, out: &mut Vec<SourceTask>) {
        let Some((purpose, sent)) = self.queries.answered(query) else { return };
        match (purpose, answer) {
            (Purpose::Ask(request), Ok(body)) => out.push(SourceTask::Reply { request, status: 200, body }),
            (Purpose::Ask(request), Err(problem)) if problem != Problem::Unreachable => {
                let status = if problem == Problem::MissingPrivilege { 403 } else { 503 };
                out.push(SourceTask::Reply { request, status, body: refusal(problem.as_str()) });
                out.push(SourceTask::Log {
                    event: "query_failed",
                    details: vec![("problem", problem.as_str().to_owned())],
                });
            }
            (Purpose::Sync, Ok(_)) => {}
            // Tables that are captured already stay captured.
            (Purpose::Sync, Err(problem)) if problem != Problem::Unreachable => {
                let details = vec![("problem", problem.as_str().to_owned())];
                out.push(SourceTask::Log { event: "publication_not_followed", details });
            }
            (Purpose::Register { organization, request }, Ok(body)) => {
                self.link.proven();
                self.registered(organization, request, body, out);
            }
            // What one organization reports must not end the feed of the others.
            (Purpose::Register { organization, request }, Err(Problem::QueryFailed)) => {
                self.not_registered(now, &organization, request, out);
            }
            (Purpose::Take, Ok(body)) => self.taken(now, sent, &body, out),
            (purpose, Err(problem)) => {
                out.extend(purpose.request().map(|request| SourceTask::Reply {
                    request,
                    status: 503,
                    body: refusal(problem.as_str()),
                }));
                self.lost(now, problem, out);
            }
        }
    }

    fn taken(&mut self, now: u64, sent: u64, body: &str, out: &mut Vec<SourceTask>) {
        let Ok(batch) = TakenBatch::read(body) else { return self.lost(now, Problem::NotUnderstood, out) };
        self.link.proven();
        self.done = None;
        let Some(number) = batch.number() else {
            if batch.may_sleep() && self.is_draining {
                self.is_draining = false;
                self.closes_at = Some(now);
            }
            let wait = match (batch.may_sleep(), self.link.listens()) {
                (false, _) => POLL,
                (true, true) => PROBE,
                (true, false) => self.database.poll_milliseconds,
            };
            self.take_at = now.saturating_add(wait);
            return;
        };
        self.current = Some(number);
        self.size.took(batch.len(), now.saturating_sub(sent));
        // If verdicts are expensive, the database is left alone for as long as they took.
        self.rests_until = sent.saturating_add(2 * now.saturating_sub(sent));
        self.take_at = self.rests_until;
        for (organization, part) in batch.parts(&self.database, &self.interests) {
            self.deliveries.push(now, organization, number, part, out);
        }
    }

    /// Starts whatever may start now.
    fn advance(&mut self, now: u64, out: &mut Vec<SourceTask>) {
        self.deliveries.advance(now, out);
        if self.current.is_some() && self.deliveries.is_settled() {
            self.done = self.current.take();
        }
        if self.drains_at.is_some_and(|time| time <= now) {
            self.drains_at = None;
            self.is_draining = true;
        }
        if self.queries.is_overdue(now) || self.link.is_overdue(now) {
            self.lost(now, Problem::Unreachable, out);
        }
        let is_needed = self.is_needed();
        match is_needed {
            true => self.closes_at = None,
            false if self.link.is_up() && self.closes_at.is_none() => self.closes_at = Some(now.saturating_add(LINGER)),
            false => {}
        }
        if self.closes_at.is_some_and(|time| time <= now) && self.current.is_none() {
            self.close(now, out);
        }
        if is_needed && self.link.may_connect(now) {
            self.link.connect(now);
            out.push(SourceTask::Connect);
        }
        self.query(now, out);
    }

    fn is_needed(&self) -> bool {
        self.interests.has_any() || self.is_draining || !self.queries.is_empty()
    }

    /// Closes the connection when nobody needs it.
    fn close(&mut self, now: u64, out: &mut Vec<SourceTask>) {
        self.closes_at = None;
        self.queries.abandon();
        self.retry_at = None;
        self.link = LinkState::default();
        out.push(SourceTask::Disconnect);
        self.schedule_drain(now, out);
    }

    /// Schedules draining the outbox, because nobody listens.
    fn schedule_drain(&mut self, now: u64, out: &mut Vec<SourceTask>) {
        if self.database.drain_seconds > 0 {
            let time = now.saturating_add(self.database.drain_seconds * 1_000);
            self.drains_at = Some(time);
            out.push(SourceTask::StoreDrain(time));
        }
    }

    /// Sends the next query: one at a time, and while a batch is being delivered only those that someone waits for.
    fn query(&mut self, now: u64, out: &mut Vec<SourceTask>) {
        if !self.link.is_up() {
            return;
        }
        let takes = self.current.is_none() && self.take_at <= now;
        if self.sync_at <= now && self.interests.has_any() {
            self.sync(now);
        }
        if self.retry_at.take_if(|time| *time <= now).is_some() {
            self.register_again(false);
        }
        let take = Statement::Take { done: self.done, max_changes: self.size.changes() };
        let is_behind = |organization: &str| self.deliveries.has(organization);
        if let Some((query, statement)) = self.queries.next(now, takes.then_some(take), is_behind) {
            out.push(SourceTask::Query { query, statement });
        }
    }

    /// Schedules the next call. While anybody listens there is always an alarm: a crash loses timers and connections.
    fn arm(&mut self, now: u64, out: &mut Vec<SourceTask>) {
        let may_take = self.link.is_up() && self.current.is_none() && !self.queries.is_busy();
        let link = self.link.deadline().filter(|_| self.is_needed() || !matches!(self.link, LinkState::Closed { .. }));
        let dues = [
            may_take.then_some(self.take_at),
            (self.link.is_up() && self.interests.has_any()).then_some(self.sync_at),
            link,
            self.queries.deadline(),
            self.deliveries.deadline(),
            self.retry_at,
            self.closes_at.filter(|_| self.current.is_none()),
            self.drains_at,
        ];
        let next = dues.into_iter().flatten().min().map(|time| time.max(now + 1));
        if let Some(next) = next.filter(|next| next - now < TIMER)
            && self.timer.is_none_or(|timer| timer > next || timer <= now)
        {
            self.timer = Some(next);
            out.push(SourceTask::Timer { milliseconds: next - now });
        }
        let insurance = self.interests.has_any().then(|| now.saturating_add(PROBE));
        let Some(alarm) = next.into_iter().chain(insurance).min() else { return };
        let alarm = alarm.max(now + TIMER);
        // At rest, an obsolete alarm would wake the object for nothing; otherwise moving it costs a write.
        let is_at_rest = !self.is_needed() && matches!(self.link, LinkState::Closed { .. });
        if self.alarm.is_none_or(|set| set > alarm || (is_at_rest && set < alarm)) {
            self.alarm = Some(alarm);
            out.push(SourceTask::SetAlarm(alarm));
        }
    }
}

/// The body of a refusal: `{"error":{"code","message"}}`.
fn refusal(problem: &str) -> String {
    serde_json::json!({ "error": { "code": "source_unavailable", "message": problem } }).to_string()
}
