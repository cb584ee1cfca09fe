//! The listeners at one relay, as it reports them: groups with their tables. The root stores them, so that its wake
//! need not ask its relays.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::interest::TableName;
use crate::policy::database::Group;

/// The version of the stored form.
const VERSION: u32 = 1;
/// The most bytes of groups in one stored part: a row of the storage has at most 2 MB.
const MAX_PART_BYTES: usize = 1 << 20;

/// A group as it is sent and stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupForm {
    id: String,
    role: String,
    claims: Box<RawValue>,
    tables: Vec<TableName>,
}

/// The listeners at one relay.
#[derive(Debug, Default)]
pub struct Remote {
    revision: u64,
    groups: BTreeMap<Rc<str>, (Rc<Group>, BTreeSet<TableName>)>,
    /// Whether the relay was told that the database judges for all of them.
    is_answered: bool,
}

/// Part of the groups. What it says of the answer holds unless a [`AnswerState`] of the same or a later report is stored: builds
/// before stored no state, and rewrote all parts instead.
#[derive(Serialize, Deserialize)]
struct Part {
    version: u32,
    revision: u64,
    is_answered: bool,
    groups: Vec<GroupForm>,
}

/// What changes while the groups stay the same.
#[derive(Serialize, Deserialize)]
struct AnswerState {
    version: u32,
    revision: u64,
    is_answered: bool,
}

impl Remote {
    /// A new report of a relay.
    pub fn told(revision: u64, groups: Vec<GroupForm>) -> Remote {
        Remote { revision, groups: groups.into_iter().map(read).collect(), is_answered: false }
    }

    /// Reads the stored parts with their state; `None` if a part is unreadable.
    pub fn stored<'a>(parts: impl Iterator<Item = &'a str>, state: Option<&str>) -> Option<Remote> {
        let mut remote = Remote { is_answered: true, ..Remote::default() };
        for text in parts {
            let part: Part = serde_json::from_str(text).ok().filter(|part: &Part| part.version == VERSION)?;
            remote.revision = part.revision;
            remote.is_answered &= part.is_answered;
            remote.groups.extend(part.groups.into_iter().map(read));
        }
        let state = state.and_then(|text| serde_json::from_str(text).ok());
        if let Some(state) =
            state.filter(|state: &AnswerState| state.version == VERSION && state.revision >= remote.revision)
        {
            (remote.revision, remote.is_answered) = (state.revision, state.is_answered);
        }
        Some(remote)
    }

    /// The text of the state to store.
    pub fn state(&self) -> String {
        let state = AnswerState { version: VERSION, revision: self.revision, is_answered: self.is_answered };
        // Numbers always have a JSON form.
        serde_json::to_string(&state).unwrap_or_default()
    }

    /// The texts to store.
    pub fn parts(&self) -> Vec<String> {
        let (mut parts, mut groups, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (id, (group, tables)) in &self.groups {
            let Ok(claims) = RawValue::from_string(group.claims.clone()) else { continue };
            bytes += group.claims.len()
                + tables.iter().map(|(schema, name)| schema.len() + name.len() + 8).sum::<usize>()
                + 64;
            let tables = tables.iter().cloned().collect();
            groups.push(GroupForm { id: id.to_string(), role: group.role.clone(), claims, tables });
            if bytes > MAX_PART_BYTES {
                parts.extend(self.part(std::mem::take(&mut groups)));
                bytes = 0;
            }
        }
        if !groups.is_empty() {
            parts.extend(self.part(groups));
        }
        parts
    }

    fn part(&self, groups: Vec<GroupForm>) -> Option<String> {
        let (revision, is_answered) = (self.revision, self.is_answered);
        serde_json::to_string(&Part { version: VERSION, revision, is_answered, groups }).ok()
    }

    /// The groups with their tables.
    pub fn groups(&self) -> impl Iterator<Item = (&Rc<Group>, &BTreeSet<TableName>)> {
        self.groups.values().map(|(group, tables)| (group, tables))
    }

    /// Whether both name the same listeners.
    pub fn is_same(&self, other: &Remote) -> bool {
        self.groups == other.groups
    }

    /// The revision that waits for an answer.
    pub fn waiting(&self) -> Option<u64> {
        (!self.is_answered).then_some(self.revision)
    }

    /// Records that the relay is told.
    pub fn answer(&mut self) {
        self.is_answered = true;
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether the relay is sent what a group sees of a table's changes.
    pub fn shows(&self, group: &str, schema: &str, table: &str) -> bool {
        let is = |wanted: &str, given: &str| wanted == "*" || wanted == given;
        let tables = self.groups.get(group).into_iter().flat_map(|(_, tables)| tables);
        tables.into_iter().any(|(in_schema, name)| is(in_schema, schema) && is(name, table))
    }
}

fn read(form: GroupForm) -> (Rc<str>, (Rc<Group>, BTreeSet<TableName>)) {
    let id: Rc<str> = Rc::from(form.id);
    let group = Group { id: id.clone(), role: form.role, claims: form.claims.get().to_owned() };
    (id, (Rc::new(group), form.tables.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(id: &str, tables: &[&str]) -> GroupForm {
        let claims = RawValue::from_string(format!("{{\"sub\":\"{id}\"}}")).unwrap();
        let tables = tables.iter().map(|table| ("public".to_owned(), (*table).to_owned())).collect();
        GroupForm { id: id.to_owned(), role: "member".to_owned(), claims, tables }
    }

    #[test]
    fn a_group_is_shown_the_tables_that_it_listens_to() {
        let remote = Remote::told(1, vec![group("a", &["t"]), group("b", &["*"])]);
        assert!(remote.shows("a", "public", "t") && !remote.shows("a", "public", "u"));
        assert!(remote.shows("b", "public", "u") && !remote.shows("b", "private", "u"));
        assert!(!remote.shows("c", "public", "t"));
    }

    #[test]
    fn what_is_stored_comes_back_in_however_many_parts() {
        let many = (0..20_000).map(|number| group(&format!("{number:016x}"), &["t"]));
        let mut remote = Remote::told(7, many.collect());
        let parts = remote.parts();
        assert!(parts.len() > 1 && parts.iter().all(|part| part.len() < 2_000_000), "{}", parts.len());
        let stored = |state: &str| Remote::stored(parts.iter().map(String::as_str), Some(state)).unwrap();
        let back = stored(&remote.state());
        assert!(back.is_same(&remote) && back.waiting() == Some(7));
        remote.answer();
        assert_eq!(stored(&remote.state()).waiting(), None, "the parts need not be rewritten");
        assert_eq!(stored(&Remote::told(8, Vec::new()).state()).waiting(), Some(8));
        for other in ["", "{}", r#"{"version":1,"revision":6,"is_answered":true}"#] {
            assert_eq!(stored(other).waiting(), Some(7), "{other}");
        }
        assert!(Remote::stored(["{}"].into_iter(), None).is_none());
    }

    #[test]
    fn what_the_build_before_stored_is_read() {
        let part =
            |is_answered: bool| format!(r#"{{"version":1,"revision":7,"is_answered":{is_answered},"groups":[]}}"#);
        let waiting =
            |parts: [bool; 2]| Remote::stored(parts.map(part).iter().map(String::as_str), None).unwrap().waiting();
        assert_eq!([waiting([true, true]), waiting([true, false])], [None, Some(7)]);
    }
}
