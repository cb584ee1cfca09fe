//! Classes: groups of sessions whose roles, masks, filters and encoding are computed once.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::filter_index::FilterIndex;
use super::rules::Rules;
use crate::engine::command::TableTarget;
use crate::engine::database::verdict::Verdict;
use crate::engine::input::DialectId;
use crate::engine::message::{RecoveryTarget, SessionId};
use crate::policy::channel::Topic;
use crate::policy::roles::Roles;
use crate::policy::table::{Operation, Table};
use crate::value::row::Row;

/// What a class listens to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// Publications to the whole organization.
    Organization,
    /// Publications to a topic.
    Topic(Topic),
    /// Presence in a topic, or in the lobby.
    Presence(Option<Topic>),
}

/// Who decides which rows of a database a session sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Judge {
    /// Nobody: it sees no rows.
    #[default]
    Nobody,
    /// Nobody needs to: it sees all rows.
    Bypass,
    /// The database's policies, evaluated for the group with this id.
    Group(Rc<str>),
}

/// Everything that decides what a session without individual rights sees, and in which bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClassKey {
    pub(super) scope: Scope,
    /// Second in the sort order, so that the classes of a group are adjacent.
    pub(super) judge: Judge,
    pub(super) dialect: DialectId,
    /// The channel name in frames, for dialects that send one.
    pub(super) channel: Option<Rc<str>>,
    pub(super) offsets: bool,
    /// Whether one frame may carry several events.
    pub(super) batches: bool,
    pub(super) roles: Rc<Roles>,
    pub(super) selector: Rc<ChangeSelector>,
}

/// The changes that a session subscribes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChangeSelector {
    /// Whether it receives every change that it may see.
    is_open: bool,
    targets: Vec<TableTarget>,
}

/// How a change matches: through which subscriptions, and with which columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Match {
    pub(super) select: Option<Rc<BTreeSet<String>>>,
    /// The numbers of the subscriptions, for those that have one.
    pub(super) numbers: Vec<u32>,
    /// Whether the row has moved out of the subscription's filter.
    pub(super) has_left: bool,
}

type MembersByClass = BTreeMap<Rc<ClassKey>, BTreeSet<SessionId>>;

/// All classes of a tenant with their members; the classes of one scope are contiguous.
#[derive(Default)]
pub(super) struct Classes {
    members: MembersByClass,
    /// Classes that are found by the values of a change; scans over all classes skip them.
    filtered: MembersByClass,
    index: FilterIndex,
}

impl ChangeSelector {
    /// The order of the subscriptions makes no difference.
    pub(super) fn new(is_open: bool, targets: impl Iterator<Item = TableTarget>) -> ChangeSelector {
        ChangeSelector { is_open, targets: targets.collect::<BTreeSet<_>>().into_iter().collect() }
    }

    /// The subscriptions; empty when every change is received.
    pub(super) fn targets(&self) -> &[TableTarget] {
        if self.is_open { &[] } else { &self.targets }
    }

    /// Whether a filter holds a regular expression.
    pub(super) fn has_regular_expressions(&self) -> bool {
        self.targets().iter().any(|target| target.filter.regular_expressions() > 0)
    }

    /// Whether no change is received.
    pub(super) fn matches_nothing(&self) -> bool {
        !self.is_open && self.targets.is_empty()
    }

    /// How a change matches, judged on `row` as the class sees it: one match per selection of columns. `left` is the
    /// old row, for dialects that report that a row has left a filter. `take` charges the steps of regular expressions.
    pub(super) fn matches_of(
        &self,
        (schema, name): (&str, &str),
        operation: Operation,
        (row, left): (Option<&Row>, Option<&Row>),
        table: &Table,
        take: &dyn Fn(u64) -> bool,
    ) -> Vec<Match> {
        if self.is_open {
            return vec![Match::default()];
        }
        let is = |wanted: &str, given: &str| wanted == "*" || wanted == given;
        let is_match = |target: &TableTarget, operation: Operation, row: Option<&Row>| {
            is(&target.schema, schema)
                && is(&target.table, name)
                && target.event.is_none_or(|event| event == operation)
                && row.is_some_and(|row| target.filter.matches_within(row, &|column| table.column_type(column), take))
        };
        let mut ways: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for target in &self.targets {
            let is_in = is_match(target, operation, row);
            if is_in || is_match(target, Operation::Delete, left) {
                let numbers = ways.entry((target.select.clone(), !is_in)).or_default();
                numbers.extend(Some(target.number).filter(|number| *number > 0));
            }
        }
        ways.into_iter().map(|((select, has_left), numbers)| Match { select, numbers, has_left }).collect()
    }
}

impl ClassKey {
    /// The key with only one of its table subscriptions; `None` when `only` is not a table.
    pub(super) fn restricted_to(&self, only: &RecoveryTarget) -> Option<Rc<ClassKey>> {
        let RecoveryTarget::Table(target) = only else { return None };
        let selector = Rc::new(ChangeSelector::new(false, std::iter::once(target.clone())));
        Some(Rc::new(ClassKey { selector, ..self.clone() }))
    }

    /// The key of the same session for publications to a topic.
    pub(super) fn of_topic(&self, topic: Topic) -> ClassKey {
        ClassKey { scope: Scope::Topic(topic), judge: Judge::Nobody, ..self.clone() }
    }

    /// The key of the same session for presence. Everyone sees presence alike, so only dialect and channel name
    /// distinguish listeners.
    pub(super) fn of_presence(&self, place: Option<Topic>) -> ClassKey {
        let (dialect, channel) = (self.dialect, self.channel.clone());
        ClassKey { dialect, channel, ..ClassKey::first(Scope::Presence(place), Judge::Nobody) }
    }

    /// The key that sorts before all others of its scope and judge.
    pub(super) fn first(scope: Scope, judge: Judge) -> ClassKey {
        ClassKey {
            scope,
            judge,
            dialect: DialectId(0),
            channel: None,
            offsets: false,
            batches: false,
            roles: Rc::default(),
            selector: Rc::default(),
        }
    }
}

impl Classes {
    /// The classes that listen to `scope`, with their members.
    pub(super) fn of<'a>(
        &'a self,
        scope: &'a Scope,
    ) -> impl Iterator<Item = (&'a Rc<ClassKey>, &'a BTreeSet<SessionId>)> {
        range(&self.members, scope).chain(range(&self.filtered, scope))
    }

    /// The classes of `scope` that a change of `table` with these rows may concern.
    pub(super) fn of_change<'a>(
        &'a self,
        scope: &'a Scope,
        (schema, table): (&str, &str),
        rules: &Rules<'_>,
    ) -> impl Iterator<Item = (&'a Rc<ClassKey>, &'a BTreeSet<SessionId>)> {
        range(&self.members, scope).chain(self.found(scope, (schema, table), rules))
    }

    /// The classes with a filter on one of these values.
    fn found<'a>(
        &'a self,
        scope: &Scope,
        (schema, table): (&str, &str),
        rules: &Rules<'_>,
    ) -> impl Iterator<Item = (&'a Rc<ClassKey>, &'a BTreeSet<SessionId>)> + use<'a> {
        let place = (scope.clone(), schema.to_owned(), table.to_owned());
        let (new, old) = rules.rows();
        let rows: Vec<_> = new.into_iter().chain(old).collect();
        let found = self.index.find(&place, &rows, rules);
        found.into_iter().filter_map(|key| self.filtered.get_key_value(key))
    }

    /// The classes that see a change judged by a database.
    pub(super) fn of_judged<'a>(
        &'a self,
        scope: &'a Scope,
        (schema, table): (&str, &str),
        rules: &Rules<'_>,
        verdict: &Verdict,
    ) -> Vec<(&'a Rc<ClassKey>, &'a BTreeSet<SessionId>)> {
        let groups = verdict.seeing().map(|group| Judge::Group(group.clone()));
        let mut found = Vec::new();
        for judge in std::iter::once(Judge::Bypass).chain(groups) {
            let from = Rc::new(ClassKey::first(scope.clone(), judge.clone()));
            let is_of = |key: &Rc<ClassKey>| key.scope == *scope && key.judge == judge;
            found.extend(self.members.range(from..).take_while(|(key, _)| is_of(key)));
        }
        found.extend(self.found(scope, (schema, table), rules));
        found
    }

    /// Adds a member to the class of `key`, and returns the class's own copy of the key: thousands of equal keys would
    /// fill the memory.
    pub(super) fn join(&mut self, key: Rc<ClassKey>, session: SessionId) -> Rc<ClassKey> {
        let is_filtered = FilterIndex::holds(&key);
        let classes = if is_filtered { &mut self.filtered } else { &mut self.members };
        let entry = classes.entry(key);
        let key = entry.key().clone();
        let members = entry.or_default();
        if is_filtered && members.is_empty() {
            self.index.insert(&key);
        }
        members.insert(session);
        key
    }

    /// Removes a member, and the class with its last member.
    pub(super) fn leave(&mut self, key: &Rc<ClassKey>, session: SessionId) {
        let is_filtered = FilterIndex::holds(key);
        let classes = if is_filtered { &mut self.filtered } else { &mut self.members };
        let Some(members) = classes.get_mut(key) else { return };
        members.remove(&session);
        if members.is_empty() {
            classes.remove(key);
            if is_filtered {
                self.index.remove(key);
            }
        }
    }

    /// All classes.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Rc<ClassKey>> {
        self.members.keys().chain(self.filtered.keys())
    }

    /// How many tables have a subscriber; `*` counts as one.
    pub(super) fn tables(&self) -> u64 {
        let targets = self.members.keys().chain(self.filtered.keys()).flat_map(|key| key.selector.targets());
        targets.map(|target| (&target.schema, &target.table)).collect::<BTreeSet<_>>().len() as u64
    }

    /// How many topics have a subscriber.
    pub(super) fn topics(&self) -> u64 {
        let scopes = self.members.keys().chain(self.filtered.keys()).map(|key| &key.scope);
        scopes.filter(|scope| matches!(scope, Scope::Topic(_))).collect::<BTreeSet<_>>().len() as u64
    }
}

/// The contiguous classes of one scope.
fn range<'a>(
    classes: &'a MembersByClass,
    scope: &'a Scope,
) -> impl Iterator<Item = (&'a Rc<ClassKey>, &'a BTreeSet<SessionId>)> {
    let from = Rc::new(ClassKey::first(scope.clone(), Judge::Nobody));
    classes.range(from..).take_while(move |(key, _)| key.scope == *scope)
}
