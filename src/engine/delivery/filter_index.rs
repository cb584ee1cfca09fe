//! An index from filter values to the classes with such filters, so that a change finds the classes that it may
//! concern.
//!
//! The index only preselects classes: each filter is then judged on the view of its class, so a hit reveals nothing
//! about a value that is masked for a subscriber.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::class::{ClassKey, Scope};
use super::rules::Rules;
use crate::engine::command::TableTarget;
use crate::policy::filter::{Cell, Equality};
use crate::value::row::Row;

/// The indexed classes of a tenant.
#[derive(Default)]
pub(super) struct FilterIndex {
    tables: BTreeMap<ScopedTable, Columns>,
}

/// A table within one scope.
type ScopedTable = (Scope, String, String);
/// For each column, the classes by the key of the value that they filter on.
type Columns = BTreeMap<String, BTreeMap<String, BTreeSet<Rc<ClassKey>>>>;

impl FilterIndex {
    /// Whether the index can find a class: each of its subscriptions names a table and a value.
    pub(super) fn holds(key: &ClassKey) -> bool {
        let targets = key.selector.targets();
        !matches!(key.scope, Scope::Presence(_))
            && !targets.is_empty()
            && targets.iter().all(|target| equality(target).is_some())
    }

    /// Adds a class.
    pub(super) fn insert(&mut self, class: &Rc<ClassKey>) {
        for (place, equality) in entries(class) {
            let column = self.tables.entry(place).or_default().entry(equality.column.to_owned()).or_default();
            for key in equality.keys {
                column.entry(key).or_default().insert(class.clone());
            }
        }
    }

    /// Removes a class, and empty entries.
    pub(super) fn remove(&mut self, class: &Rc<ClassKey>) {
        for (place, equality) in entries(class) {
            let Some(columns) = self.tables.get_mut(&place) else { continue };
            if let Some(column) = columns.get_mut(equality.column) {
                equality.keys.iter().for_each(|key| remove_from(column, key, class));
                if column.is_empty() {
                    columns.remove(equality.column);
                }
            }
            if columns.is_empty() {
                self.tables.remove(&place);
            }
        }
    }

    /// The classes with a subscription that may match a change of these rows, regardless of masks.
    pub(super) fn find(&self, place: &ScopedTable, rows: &[&Row], rules: &Rules<'_>) -> BTreeSet<&Rc<ClassKey>> {
        let mut found = BTreeSet::new();
        let Some(columns) = self.tables.get(place) else { return found };
        for cell in rows.iter().flat_map(|row| &row.columns) {
            let Some(column) = columns.get(&*cell.name) else { continue };
            let by = if rules.masks(&cell.name) {
                Cell::Anything
            } else {
                Cell::of(&cell.json, rules.table.column_type(&cell.name))
            };
            match by {
                Cell::Key(key) => found.extend(column.get(&key).into_iter().flatten()),
                Cell::Anything => found.extend(column.values().flatten()),
                Cell::Nothing => {}
            }
        }
        found
    }
}

fn entries(class: &ClassKey) -> impl Iterator<Item = (ScopedTable, Equality<'_>)> {
    class.selector.targets().iter().filter_map(|target| {
        let place = (class.scope.clone(), target.schema.clone(), target.table.clone());
        Some((place, equality(target)?))
    })
}

fn equality(target: &TableTarget) -> Option<Equality<'_>> {
    let names_table = target.schema != "*" && target.table != "*";
    target.filter.equality().filter(|_| names_table)
}

fn remove_from(column: &mut BTreeMap<String, BTreeSet<Rc<ClassKey>>>, key: &str, class: &Rc<ClassKey>) {
    let Some(classes) = column.get_mut(key) else { return };
    classes.remove(class);
    if classes.is_empty() {
        column.remove(key);
    }
}
