//! A batch of changes from the database's object: rows, messages and verdicts.
//!
//! Unreadable parts become [`ChangeContent::Lost`] in their place, so that nobody mistakes the stream for complete.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::or_default;
use super::verdict::{RoleVerdicts, Verdict};
use crate::code::{Code, Refusal};
use crate::policy::database::Serves;
use crate::policy::filter::microseconds;
use crate::policy::table::{Operation, distinct};
use crate::value::json;
use crate::value::row::Row;

/// Changes in the order of their commits.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The database.
    pub database: String,
    /// The life of the database: a new one after it was restored.
    pub epoch: String,
    /// Its number, greater than the previous batch's.
    pub number: u64,
    /// The changes.
    pub changes: Vec<Change>,
    /// How many groups the database failed to judge for, by SQLSTATE.
    pub failed: BTreeMap<String, u64>,
}

/// One change.
#[derive(Clone, Debug)]
pub struct Change {
    /// The table's schema.
    pub schema: Rc<str>,
    /// The table.
    pub table: Rc<str>,
    /// When it was committed, in Unix milliseconds, if known.
    pub at: Option<u64>,
    /// Whether large columns were left out.
    pub truncated: bool,
    /// What happened.
    pub content: ChangeContent,
    /// Who may see it.
    pub verdict: Verdict,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeContent {
    /// A row was inserted, updated or deleted.
    Row {
        /// The operation.
        operation: Operation,
        /// The row after it.
        new: Option<Row>,
        /// The row before it.
        old: Option<Row>,
    },
    /// A message to a topic, as the text of a publication.
    Message(String),
    /// An unknown number of rows was deleted.
    Truncate,
    /// A change that cannot be represented.
    Lost,
}

#[derive(Deserialize)]
struct BatchText<'a> {
    database: String,
    epoch: String,
    batch: u64,
    #[serde(borrow)]
    changes: Vec<&'a RawValue>,
    #[serde(default, deserialize_with = "or_default")]
    verdicts: Vec<VerdictText>,
}

/// A change without an operation is lost.
#[derive(Default, Deserialize)]
struct ChangeText<'a> {
    #[serde(default)]
    schema: Option<String>,
    #[serde(default)]
    table: Option<String>,
    op: String,
    #[serde(default)]
    at: Option<String>,
    #[serde(default)]
    organization: Option<String>,
    #[serde(default)]
    old_organization: Option<String>,
    #[serde(borrow, default)]
    new: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "or_default")]
    truncated: bool,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessageText<'a> {
    topic: String,
    event: String,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    private: Option<bool>,
    #[serde(default)]
    binary: Option<String>,
    #[serde(default)]
    id: Option<String>,
}

#[derive(Deserialize)]
struct VerdictText {
    schema: String,
    table: String,
    #[serde(default, deserialize_with = "or_default")]
    columns: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    changes: Vec<usize>,
    #[serde(default, deserialize_with = "or_default")]
    groups: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    new: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    old: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    failed: BTreeMap<String, String>,
}

impl Batch {
    /// Reads the body of a delivery for `organization`; `serves` decides which rows are its own.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] if the body as a whole is malformed.
    pub fn read(text: &str, organization: &str, serves: &Serves) -> Result<Batch, Refusal> {
        let text: BatchText<'_> = serde_json::from_str(text).map_err(|_| Refusal::of(Code::InvalidRequest))?;
        let by_column = matches!(serves, Serves::Column(_));
        let organization = by_column.then_some(organization);
        let read = |change: &RawValue| {
            serde_json::from_str::<ChangeText<'_>>(change.get()).unwrap_or_default().read(organization)
        };
        let mut changes: Vec<Change> = text.changes.into_iter().map(read).collect();
        let mut failed = BTreeMap::new();
        for verdict in text.verdicts {
            verdict.failed.values().for_each(|state| *failed.entry(state.clone()).or_default() += 1);
            verdict.give_to(&mut changes);
        }
        Ok(Batch { database: text.database, epoch: text.epoch, number: text.batch, changes, failed })
    }
}

impl ChangeText<'_> {
    /// `organization` selects the rows of one organization, if a table has rows of several.
    fn read(self, organization: Option<&str>) -> Change {
        let content = self.content(organization).unwrap_or(ChangeContent::Lost);
        Change {
            schema: Rc::from(self.schema.unwrap_or_default()),
            table: Rc::from(self.table.unwrap_or_default()),
            at: self.at.and_then(|at| u64::try_from(microseconds(&at)? / 1_000).ok()),
            truncated: self.truncated,
            content,
            verdict: Verdict::default(),
        }
    }

    fn content(&self, organization: Option<&str>) -> Option<ChangeContent> {
        match self.op.as_str() {
            "TRUNCATE" => Some(ChangeContent::Truncate),
            "MESSAGE" => {
                let message: MessageText<'_> = serde_json::from_str(self.message?.get()).ok()?;
                Some(ChangeContent::Message(message.publication()))
            }
            word => {
                let operation = Operation::named(word)?;
                let is_mine =
                    |named: &Option<String>| organization.is_none_or(|wanted| named.as_deref() == Some(wanted));
                let new = image(self.new.filter(|_| is_mine(&self.organization)))?;
                let old = image(self.old.filter(|_| is_mine(&self.old_organization)))?;
                let comes = self.old.is_some() && old.is_none();
                within(operation, new, old, comes)
            }
        }
    }
}

/// A change as one organization sees it: a row that arrives from another organization is an insert, and one that moves
/// there is a delete.
fn within(operation: Operation, new: Option<Row>, old: Option<Row>, comes: bool) -> Option<ChangeContent> {
    let operation = match (operation, &new, &old) {
        (Operation::Insert, Some(_), _) => Operation::Insert,
        (Operation::Update, Some(_), _) => {
            if comes {
                Operation::Insert
            } else {
                Operation::Update
            }
        }
        (Operation::Update, None, Some(_)) | (Operation::Delete, _, Some(_)) => Operation::Delete,
        _ => return None,
    };
    let new = new.filter(|_| operation != Operation::Delete);
    let old = old.filter(|_| operation != Operation::Insert);
    Some(ChangeContent::Row { operation, new, old })
}

/// An image, if present, must be a row.
fn image(text: Option<&RawValue>) -> Option<Option<Row>> {
    match text {
        None => Some(None),
        Some(text) => Row::read(text.get()).ok().map(Some),
    }
}

impl MessageText<'_> {
    /// The message in the form of a publisher.
    fn publication(&self) -> String {
        let mut out = String::from("{\"type\":\"broadcast\",\"event\":");
        json::write_string(&mut out, &self.event);
        out.push_str(",\"payload\":");
        match (&self.binary, self.payload) {
            (Some(bytes), _) => {
                json::write_string(&mut out, bytes);
                out.push_str(",\"encoding\":\"base64\"");
            }
            (None, payload) => out.push_str(payload.map_or("null", RawValue::get)),
        }
        out.push_str(",\"topic\":");
        json::write_string(&mut out, &self.topic);
        out.push_str(if self.private.unwrap_or(true) { "" } else { ",\"private\":false" });
        if let Some(id) = &self.id {
            out.push_str(",\"id\":");
            json::write_string(&mut out, id);
        }
        out.push('}');
        out
    }
}

impl VerdictText {
    /// Adds these verdicts to the changes that they are about. A verdict on a change of another table would widen an
    /// audience.
    fn give_to(self, changes: &mut [Change]) {
        let digits = self.new.into_iter().zip(self.old);
        let groups = self.groups.into_iter().map(Rc::from).zip(digits).collect();
        let role = RoleVerdicts { columns: Rc::new(distinct(self.columns)), groups };
        let mut mine: BTreeMap<usize, &mut Verdict> = changes
            .iter_mut()
            .enumerate()
            .filter(|(_, change)| *change.schema == *self.schema && *change.table == *self.table)
            .map(|(number, change)| (number, &mut change.verdict))
            .collect();
        Verdict::share(role, self.changes.into_iter().map(|number| mine.remove(&number)));
    }
}
