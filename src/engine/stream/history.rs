//! The history: offsets, what is retained, and what a returning connection has missed (docs/protocol-native.md,
//! Recovery).

use std::rc::Rc;

use super::place;
use super::recent::Recent;
use crate::engine::command::Replay;
use crate::engine::effect::{HistoryQuery, Task, Write};
use crate::engine::input::{Newest, StoredPublication};
use crate::engine::message::{Accepted, Announcement, From, Out, Read, RecoveryTarget, SessionId};
use crate::engine::publication::{Publication, STORED_VERSION};
use crate::policy::limits::HistoryLimits;

/// Publications between two trimmings.
const TRIM_EVERY: u64 = 64;
/// The version of a row without text, such as the newest row once its retention has passed.
const GAP_VERSION: u64 = 0;
/// How many rows an incremental trim examines: several times as many as were added since the last one.
const TRIM_ROWS: u64 = 4 * TRIM_EVERY;
/// The rows of one portion for a relay that catches up, and their bytes.
const PORTION: u64 = 500;
const PORTION_BYTES: u64 = 256 * 1024;

/// The end of the history, in memory. The rows are in the storage.
pub(super) struct History {
    limits: HistoryLimits,
    newest: Option<Newest>,
    recent: Recent,
    /// When to look for expired rows again, in Unix milliseconds.
    deadline: Option<u64>,
}

/// A connection that requests what it has missed.
pub(super) struct RecoveryRequest {
    pub(super) session: SessionId,
    pub(super) from: From,
    pub(super) then: Announcement,
}

/// The first step of a recovery.
pub(super) enum Begun {
    /// This must be read first.
    Read(Task),
    /// The result is known without reading, with its cost; `None`: recovery is impossible.
    Known((Option<Vec<Accepted>>, Read)),
}

impl RecoveryRequest {
    /// The target of a partial recovery; `None`: everything.
    fn only(&self) -> Option<&RecoveryTarget> {
        match &self.then {
            Announcement::Subscribed { to, .. } => Some(to),
            Announcement::Asked { only, .. } => only.as_ref(),
            Announcement::Authenticated { .. } | Announcement::Joined { .. } => None,
        }
    }
}

impl Read {
    pub(super) fn of(rows: &[StoredPublication], scanned: u64) -> Read {
        Read { rows: rows.len() as u64, bytes: rows.iter().map(|row| row.text.len() as u64).sum(), scanned }
    }
}

impl History {
    pub(super) fn wake(limits: HistoryLimits, newest: Option<Newest>, oldest: Option<u64>) -> History {
        let deadline = oldest.map(|time| end_of_life(&limits, time));
        let recent = Recent::after(newest.map_or(0, |newest| newest.offset));
        History { limits, newest, recent, deadline }
    }

    /// The offset of the newest publication, 0 before the first.
    pub(super) fn offset(&self) -> u64 {
        self.newest.map_or(0, |newest| newest.offset)
    }

    /// Retains a publication and returns its offset.
    pub(super) fn append(&mut self, now: u64, publication: &Publication, out: &mut Out) -> u64 {
        let (text, topic) = (publication.source.clone(), publication.private_topic());
        self.push(now, (STORED_VERSION, text), (topic, place::of(publication)), out)
    }

    /// Appends a gap for a change that cannot be represented: a recovery across it fails instead of missing it
    /// silently.
    pub(super) fn append_gap(&mut self, now: u64, out: &mut Out) -> u64 {
        self.push(now, (GAP_VERSION, Rc::from("")), (None, place::GAP.to_owned()), out)
    }

    fn push(
        &mut self,
        now: u64,
        (version, text): (u64, Rc<str>),
        (topic, place): (Option<Rc<str>>, String),
        out: &mut Out,
    ) -> u64 {
        let before = self.newest.unwrap_or(Newest { offset: 0, time: now, total_bytes: 0 });
        let newest = Newest {
            offset: before.offset.saturating_add(1),
            // Times must not decrease even if the clock does: trimming relies on their order.
            time: now.max(before.time),
            total_bytes: before.total_bytes.saturating_add(text.len() as u64),
        };
        self.newest = Some(newest);
        self.deadline.get_or_insert(end_of_life(&self.limits, newest.time));
        self.recent.push(newest, (version, text.clone()), &place);
        out.run(Task::Write(Write::Append {
            offset: newest.offset,
            time: newest.time,
            version,
            text,
            topic,
            place,
            total_bytes: newest.total_bytes,
        }));
        if newest.offset.is_multiple_of(TRIM_EVERY) {
            self.trim(now, TRIM_ROWS, out);
        }
        newest.offset
    }

    /// Starts a recovery. The newest publications are in memory; older ones must be read.
    pub(super) fn begin(&mut self, epoch: &str, reading: &RecoveryRequest) -> Begun {
        let nothing = Begun::Known((None, Read::default()));
        let (from, selection, (rows, bytes)) = match &reading.from {
            From::Position(from, topics) if from.epoch == epoch => {
                // One row more than may be replayed shows that there are too many.
                let limits = (self.limits.replay.saturating_add(1), self.limits.replay_bytes);
                (from, place::selection(reading.only(), topics), limits)
            }
            From::All(from) if from.epoch == epoch => (from, place::everywhere(), (PORTION, PORTION_BYTES)),
            From::Topic(_, Replay { since, .. }) if self.newest.is_none_or(|newest| newest.time < *since) => {
                return nothing;
            }
            From::Topic(topic, Replay { since, limit }) => {
                let place = place::of_private_topic(topic);
                return Begun::Read(Task::ReadTopic { place, since: *since, rows: *limit });
            }
            From::Now | From::Position(..) | From::All(_) => return nothing,
        };
        if from.offset >= self.offset() {
            return nothing;
        }
        let query = HistoryQuery { after: from.offset, selection, rows, bytes };
        match self.recent.find(&query) {
            Some((rows, scanned)) => {
                let read = Read::of(&rows, scanned);
                Begun::Known((self.told(&reading.from, rows), read))
            }
            None => Begun::Read(Task::ReadHistory(query)),
        }
    }

    /// The publications of these rows for a recovery from there; `None` if some are missing.
    pub(super) fn told(&mut self, from: &From, rows: Vec<StoredPublication>) -> Option<Vec<Accepted>> {
        match from {
            From::Position(..) => self.missed(rows),
            From::All(_) => rows.into_iter().map(|row| self.accepted(row)).collect(),
            From::Topic(..) => Some(self.newest(rows)),
            From::Now => None,
        }
    }

    /// The publications of these rows, unless they are too many to send at once or one is unreadable.
    fn missed(&mut self, rows: Vec<StoredPublication>) -> Option<Vec<Accepted>> {
        let Read { rows: count, bytes, .. } = Read::of(&rows, 0);
        if count > self.limits.replay || bytes > self.limits.replay_bytes {
            return None;
        }
        rows.into_iter().map(|row| self.accepted(row)).collect()
    }

    /// The newest of these rows that may be sent at once, as publications. Unreadable rows are skipped, because a
    /// replay does not promise completeness.
    fn newest(&mut self, mut rows: Vec<StoredPublication>) -> Vec<Accepted> {
        let mut bytes = 0;
        let fits = |row: &&StoredPublication| {
            bytes += row.text.len() as u64;
            bytes <= self.limits.replay_bytes
        };
        let count = rows.iter().rev().take_while(fits).count();
        rows.drain(..rows.len() - count);
        rows.into_iter().filter_map(|row| self.accepted(row)).collect()
    }

    /// The publication of a row; `None` if it is unreadable.
    fn accepted(&mut self, row: StoredPublication) -> Option<Accepted> {
        let publication = self.recent.parse(&row)?;
        Some(Accepted { publication, offset: row.offset, time: row.time, is_retained: true, verdict: None })
    }

    pub(super) fn housekeep(&mut self, now: u64, out: &mut Out) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            // Trims the whole history: nobody may publish for a long time, and expired rows must not wait for that.
            self.trim(now, self.offset(), out);
            let end = self.newest.map(|newest| end_of_life(&self.limits, newest.time)).filter(|end| *end > now);
            // The time of the oldest remaining row is unknown here, so it is checked again after an eighth of the
            // retention.
            let again = now.saturating_add(self.limits.seconds.saturating_mul(125));
            self.deadline = end.map(|end| end.min(again));
        }
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    fn trim(&mut self, now: u64, rows: u64, out: &mut Out) {
        let Some(newest) = self.newest else { return };
        let last = Newest {
            offset: newest.offset.saturating_sub(self.limits.count),
            time: now.saturating_sub(self.limits.seconds.saturating_mul(1_000)),
            total_bytes: newest.total_bytes.saturating_sub(self.limits.bytes),
        };
        self.recent.forget(&last);
        let Newest { offset, time, total_bytes } = last;
        out.run(Task::Write(Write::Trim { offset, time, total_bytes, rows }));
    }
}

fn end_of_life(limits: &HistoryLimits, time: u64) -> u64 {
    time.saturating_add(limits.seconds.saturating_mul(1_000))
}
