//! The history: offsets, what is kept, what a returning connection has missed (docs/protocol-native.md, Recovery).

use std::rc::Rc;

use super::place;
use super::recent::Recent;
use crate::engine::command::Replay;
use crate::engine::effect::{HistoryQuery, Task, Write};
use crate::engine::input::{Newest, StoredPublication};
use crate::engine::message::{Accepted, Announcement, From, Missable, Out, Read, SessionId};
use crate::engine::publication::{Publication, STORED_VERSION};
use crate::policy::limits::HistoryLimits;

/// Publications between two trimmings.
const TRIM_EVERY: u64 = 64;
/// The version of a row without a text, as the last one has when its time is over.
const GAP_VERSION: u64 = 0;
/// Rows that a trimming on the way looks at: a few times as many as came since the last.
const TRIM_ROWS: u64 = 4 * TRIM_EVERY;

/// What memory knows of the history: where it ends, and what came last. The rows are in the storage.
pub(super) struct History {
    limits: HistoryLimits,
    newest: Option<Newest>,
    recent: Recent,
    /// When the rows that are left should be looked at again, in Unix milliseconds.
    deadline: Option<u64>,
}

/// A connection that asks what it has missed.
pub(super) struct RecoveryRequest {
    pub(super) session: SessionId,
    pub(super) from: From,
    pub(super) then: Announcement,
}

/// How a reading begins.
pub(super) enum Begun {
    /// This must be read first.
    Read(Task),
    /// What was missed is known already, and what it took to know it; `None`: nothing can be told.
    Known((Option<Vec<Accepted>>, Read)),
}

impl RecoveryRequest {
    /// What of all that was missed it is about; `None`: all.
    fn only(&self) -> Option<&Missable> {
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

    /// Keeps a publication and gives its offset.
    pub(super) fn append(&mut self, now: u64, publication: &Publication, out: &mut Out) -> u64 {
        let (text, topic) = (publication.source.clone(), publication.private_topic());
        self.push(now, (STORED_VERSION, text), (topic, place::of(publication)), out)
    }

    /// Leaves a place for what cannot be told: nobody comes back over it and takes the stream for complete.
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
            // A clock that goes back must not make the history go back: trimming relies on the order.
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

    /// Begins to tell what a connection has missed. What came last is known; the rest must be read.
    pub(super) fn begin(&mut self, epoch: &str, reading: &RecoveryRequest) -> Begun {
        let nothing = Begun::Known((None, Read::default()));
        let (from, topics) = match &reading.from {
            From::Position(from, topics) if from.epoch == epoch => (from, topics),
            From::Topic(_, Replay { since, .. }) if self.newest.is_none_or(|newest| newest.time < *since) => {
                return nothing;
            }
            From::Topic(topic, Replay { since, limit }) => {
                let place = place::of_private_topic(topic);
                return Begun::Read(Task::ReadTopic { place, since: *since, rows: *limit });
            }
            From::Now | From::Position(..) => return nothing,
        };
        if from.offset >= self.offset() {
            return nothing;
        }
        let query = HistoryQuery {
            after: from.offset,
            selection: place::selection(reading.only(), topics),
            // One more than may be told: then it is too much.
            rows: self.limits.replay.saturating_add(1),
            bytes: self.limits.replay_bytes,
        };
        match self.recent.find(&query) {
            Some((rows, scanned)) => {
                let read = Read::of(&rows, scanned);
                Begun::Known((self.missed(rows), read))
            }
            None => Begun::Read(Task::ReadHistory(query)),
        }
    }

    /// What these rows are, if they are not too much to send at once and each can be told.
    pub(super) fn missed(&mut self, rows: Vec<StoredPublication>) -> Option<Vec<Accepted>> {
        let Read { rows: count, bytes, .. } = Read::of(&rows, 0);
        if count > self.limits.replay || bytes > self.limits.replay_bytes {
            return None;
        }
        rows.into_iter().map(|row| self.accepted(row)).collect()
    }

    /// The newest of some rows that are not too much to send at once, as they were accepted. What cannot be read any more is
    /// left out: a replay promises no completeness.
    pub(super) fn newest(&mut self, mut rows: Vec<StoredPublication>) -> Vec<Accepted> {
        let mut bytes = 0;
        let fits = |row: &&StoredPublication| {
            bytes += row.text.len() as u64;
            bytes <= self.limits.replay_bytes
        };
        let count = rows.iter().rev().take_while(fits).count();
        rows.drain(..rows.len() - count);
        rows.into_iter().filter_map(|row| self.accepted(row)).collect()
    }

    /// A row as it was accepted; `None` when it cannot be read any more.
    fn accepted(&mut self, row: StoredPublication) -> Option<Accepted> {
        let publication = self.recent.parse(&row)?;
        Some(Accepted { publication, offset: row.offset, time: row.time, is_kept: true, verdict: None })
    }

    pub(super) fn housekeep(&mut self, now: u64, out: &mut Out) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            // All of them: nobody may publish for a long time, and what is over its time must not wait for that.
            self.trim(now, self.offset(), out);
            let end = self.newest.map(|newest| end_of_life(&self.limits, newest.time)).filter(|end| *end > now);
            // When the oldest that is left will be due is not known here: it is looked for again after an eighth of the
            // time for which any is kept.
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
