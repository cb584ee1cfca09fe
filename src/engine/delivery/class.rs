//! Classes: connections for which roles, masks, filters and encoding are worked out once.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::engine::command::TableTarget;
use crate::engine::input::{SocketId, Wire};
use crate::policy::channel::Topic;
use crate::policy::roles::Roles;
use crate::policy::table::{Operation, Table};
use crate::value::row::Row;

/// What a connection listens to with one membership.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// What is published to the whole organization.
    Organization,
    /// What is published to a topic.
    Topic(Topic),
    /// Who comes and goes in a topic, or in the lobby.
    Presence(Option<Topic>),
}

/// Everything that decides what a connection without rights of its own sees, and in which bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClassKey {
    pub(super) scope: Scope,
    pub(super) wire: Wire,
    pub(super) offsets: bool,
    pub(super) roles: Rc<Roles>,
    pub(super) narrowing: Rc<Narrowing>,
}

/// The table subscriptions of a connection: without any it receives every change that it may see.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Narrowing(Vec<TableTarget>);

/// A class and its members.
pub(super) struct Class {
    pub(super) key: Rc<ClassKey>,
    pub(super) members: BTreeSet<SocketId>,
}

/// All classes of a tenant, by their scope.
#[derive(Default)]
pub(super) struct Classes {
    scopes: BTreeMap<Scope, BTreeMap<Rc<ClassKey>, Class>>,
}

impl Narrowing {
    /// The same subscriptions in any order make the same narrowing.
    pub(super) fn new(targets: impl Iterator<Item = TableTarget>) -> Narrowing {
        let mut sorted = Vec::new();
        for target in targets {
            if let Err(place) = sorted.binary_search(&target) {
                sorted.insert(place, target);
            }
        }
        Narrowing(sorted)
    }

    /// Whether a change passes, judged on `row` as the class sees it.
    pub(super) fn passes(
        &self,
        schema: &str,
        name: &str,
        operation: Operation,
        row: Option<&Row>,
        table: &Table,
    ) -> bool {
        let is = |wanted: &str, given: &str| wanted == "*" || wanted == given;
        let passes = |target: &TableTarget| {
            is(&target.schema, schema)
                && is(&target.table, name)
                && target.event.is_none_or(|event| event == operation)
                && row.is_some_and(|row| target.filter.matches(row, &|column| table.column_type(column)))
        };
        self.0.is_empty() || self.0.iter().any(passes)
    }
}

impl Classes {
    /// The classes that listen to `scope`.
    pub(super) fn of(&self, scope: &Scope) -> impl Iterator<Item = &Class> {
        self.scopes.get(scope).into_iter().flat_map(BTreeMap::values)
    }

    /// Adds a member to the class of `key`.
    pub(super) fn join(&mut self, key: &Rc<ClassKey>, socket: SocketId) {
        let classes = self.scopes.entry(key.scope.clone()).or_default();
        let class = classes.entry(key.clone()).or_insert_with(|| Class { key: key.clone(), members: BTreeSet::new() });
        class.members.insert(socket);
    }

    /// Removes a member; a class without members is forgotten.
    pub(super) fn leave(&mut self, key: &ClassKey, socket: SocketId) {
        let Some(classes) = self.scopes.get_mut(&key.scope) else { return };
        let Some(class) = classes.get_mut(key) else { return };
        class.members.remove(&socket);
        if class.members.is_empty() {
            classes.remove(key);
        }
        if classes.is_empty() {
            self.scopes.remove(&key.scope);
        }
    }

    /// How many topics have a subscriber.
    pub(super) fn topics(&self) -> u64 {
        self.scopes.keys().filter(|scope| matches!(scope, Scope::Topic(_))).count() as u64
    }
}
