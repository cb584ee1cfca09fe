//! Classes: connections for which roles, masks, filters and encoding are worked out once.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::engine::command::TableTarget;
use crate::engine::input::DialectId;
use crate::engine::message::SessionId;
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
    pub(super) wire: DialectId,
    /// The name that frames call the channel by, where they do.
    pub(super) channel: Option<Rc<str>>,
    pub(super) offsets: bool,
    pub(super) roles: Rc<Roles>,
    pub(super) narrowing: Rc<Narrowing>,
}

/// The changes that a connection asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Narrowing {
    /// Every change that it may see.
    is_open: bool,
    targets: Vec<TableTarget>,
}

/// How a change passes: by which subscriptions, and with which of its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) select: Option<Rc<BTreeSet<String>>>,
    /// The numbers of the subscriptions, where they have any.
    pub(super) numbers: Vec<u32>,
}

/// All classes of a tenant with their members, those of one scope side by side.
#[derive(Default)]
pub(super) struct Classes {
    members: BTreeMap<Rc<ClassKey>, BTreeSet<SessionId>>,
}

impl Narrowing {
    /// The same subscriptions in any order make the same narrowing.
    pub(super) fn new(is_open: bool, targets: impl Iterator<Item = TableTarget>) -> Narrowing {
        let mut sorted = Vec::new();
        for target in targets {
            if let Err(place) = sorted.binary_search(&target) {
                sorted.insert(place, target);
            }
        }
        Narrowing { is_open, targets: sorted }
    }

    /// Whether no change at all is asked for.
    pub(super) fn passes_nothing(&self) -> bool {
        !self.is_open && self.targets.is_empty()
    }

    /// The ways in which a change passes, judged on `row` as the class sees it: one for each selection of columns.
    pub(super) fn passes(
        &self,
        schema: &str,
        name: &str,
        operation: Operation,
        row: Option<&Row>,
        table: &Table,
    ) -> Vec<Pass> {
        if self.is_open {
            return vec![Pass::default()];
        }
        let is = |wanted: &str, given: &str| wanted == "*" || wanted == given;
        let passes = |target: &TableTarget| {
            is(&target.schema, schema)
                && is(&target.table, name)
                && target.event.is_none_or(|event| event == operation)
                && row.is_some_and(|row| target.filter.matches(row, &|column| table.column_type(column)))
        };
        let mut ways: Vec<Pass> = Vec::new();
        for target in self.targets.iter().filter(|target| passes(target)) {
            let number = Some(target.number).filter(|number| *number > 0);
            match ways.iter_mut().find(|way| way.select == target.select) {
                Some(way) => way.numbers.extend(number),
                None => ways.push(Pass { select: target.select.clone(), numbers: number.into_iter().collect() }),
            }
        }
        ways
    }
}

impl ClassKey {
    /// The key that comes before all others of its scope.
    fn first(scope: Scope) -> ClassKey {
        ClassKey {
            scope,
            wire: DialectId(0),
            channel: None,
            offsets: false,
            roles: Rc::default(),
            narrowing: Rc::default(),
        }
    }
}

impl Classes {
    /// The classes that listen to `scope`, with their members.
    pub(super) fn of(&self, scope: &Scope) -> impl Iterator<Item = (&Rc<ClassKey>, &BTreeSet<SessionId>)> {
        let from = Rc::new(ClassKey::first(scope.clone()));
        self.members.range(from..).take_while(move |(key, _)| key.scope == *scope)
    }

    /// Adds a member to the class of `key`.
    pub(super) fn join(&mut self, key: &Rc<ClassKey>, session: SessionId) {
        self.members.entry(key.clone()).or_default().insert(session);
    }

    /// Removes a member; a class without members is forgotten.
    pub(super) fn leave(&mut self, key: &Rc<ClassKey>, session: SessionId) {
        let Some(members) = self.members.get_mut(key) else { return };
        members.remove(&session);
        if members.is_empty() {
            self.members.remove(key);
        }
    }

    /// How many topics have a subscriber.
    pub(super) fn topics(&self) -> u64 {
        let mut topics: Vec<&Scope> = self.members.keys().map(|key| &key.scope).collect();
        // Classes of one scope stand side by side.
        topics.dedup();
        topics.iter().filter(|scope| matches!(scope, Scope::Topic(_))).count() as u64
    }
}
