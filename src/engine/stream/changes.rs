//! Changes from the database: each batch is applied once, in order, with its history rows in one transaction.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Stream;
use crate::code::{Code, Refusal};
use crate::engine::database::batch::{Batch, Change, ChangeContent};
use crate::engine::effect::{Log, Task, Write};
use crate::engine::input::Stored;
use crate::engine::message::Out;
use crate::engine::publication::{FromDatabase, Publication};
use crate::policy::limits::RETAINED_BYTES;
use crate::value::form::Form;

/// The fact under which the high-water mark is stored.
const MARK: &str = "database.mark";

/// The last batch that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    database: String,
    epoch: String,
    batch: u64,
}

impl Mark {
    /// The stored mark.
    pub(super) fn read(stored: &Stored) -> Option<Mark> {
        serde_json::from_str(stored.facts.get(MARK)?).ok()
    }

    /// Whether a batch belongs to the same life of the same database.
    fn is_of(&self, batch: &Batch) -> bool {
        self.database == batch.database && self.epoch == batch.epoch
    }
}

impl Stream {
    /// Applies a batch, or acknowledges one that was applied before.
    pub(in crate::engine) fn changes(&mut self, now: u64, batch: Batch, out: &mut Out) {
        if self.database.as_ref().is_none_or(|database| *database.name != *batch.database) {
            let message = "The organization takes no changes from this database.";
            return out.run(Task::Taken(Err(Refusal::because(Code::InvalidRequest, message))));
        }
        match &self.mark {
            Some(mark) if mark.is_of(&batch) && batch.number <= mark.batch => {
                return out.run(Task::Taken(Ok(batch.number)));
            }
            // A restored database may have lost changes that it had sent, so earlier positions are meaningless.
            Some(mark) if !mark.is_of(&batch) => self.begin_anew(&batch.epoch, out),
            Some(_) | None => self.begin(out),
        }
        for change in batch.changes {
            self.accept_change(now, change, out);
        }
        for (state, groups) in batch.failed {
            self.failed += groups;
            let details = vec![("sqlstate", state), ("groups", groups.to_string())];
            out.run(Task::Log(Log { event: "not_judged", connection: None, code: None, details }));
        }
        let mark = Mark { database: batch.database, epoch: batch.epoch, batch: batch.number };
        // A struct of texts and numbers always has a JSON form.
        out.run(Task::Write(Write::Fact { name: MARK, value: serde_json::to_string(&mark).unwrap_or_default() }));
        self.mark = Some(mark);
        out.run(Task::Taken(Ok(batch.number)));
    }

    /// Continues the stream under a new epoch, which invalidates every position.
    fn begin_anew(&mut self, database_epoch: &str, out: &mut Out) {
        let digest = Sha256::new().chain_update(&*self.epoch).chain_update([0]).chain_update(database_epoch).finalize();
        let epoch: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        out.run(Task::Write(Write::Epoch(epoch.clone())));
        self.epoch = Rc::from(epoch);
        self.has_begun = true;
    }

    fn accept_change(&mut self, now: u64, change: Change, out: &mut Out) {
        let verdict = Rc::new(change.verdict.clone());
        match self.publication(change) {
            Some((publication, verdict_matters)) => {
                let wanted = self.is_retained(&publication);
                let keep = wanted && publication.source.len() <= RETAINED_BYTES;
                self.accept(now, publication, keep, (None, verdict_matters.then_some(verdict)), out);
                if wanted && !keep {
                    self.history.append_gap(now, out);
                }
            }
            None => {
                self.lost += 1;
                self.history.append_gap(now, out);
            }
        }
    }

    /// The publication of a change, and whether only recipients with a verdict may receive it.
    fn publication(&self, change: Change) -> Option<(Publication, bool)> {
        match change.content {
            ChangeContent::Row { operation, new, old } => {
                let known = self.catalog.as_ref().and_then(|catalog| catalog.enabled(&change.schema, &change.table));
                let from = FromDatabase {
                    at: change.at,
                    truncated: change.truncated,
                    key: known.map(|table| table.key().iter().cloned().collect()).unwrap_or_default(),
                    identity: known.and_then(|table| table.identity()),
                };
                let types = known.map(|table| table.types()).unwrap_or_default();
                let table = (&change.schema, &change.table);
                Some((Publication::from_database(table, (operation, new, old), types, from), true))
            }
            ChangeContent::Message(text) => {
                let form = Form::read(&text, Code::InvalidRequest).ok()?;
                Some((Publication::read(form, &text).ok()?.sent_by_database(), false))
            }
            ChangeContent::Truncate | ChangeContent::Lost => None,
        }
    }
}
