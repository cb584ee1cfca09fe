//! The classes of one session, by scope.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::class::{ClassKey, Scope};

/// At most one class per scope. A set suffices, because the keys contain their scope.
#[derive(Default)]
pub(super) struct Memberships(BTreeSet<ByScope>);

struct ByScope(Rc<ClassKey>);

impl Memberships {
    /// The class of this scope.
    pub(super) fn get(&self, scope: &Scope) -> Option<&Rc<ClassKey>> {
        self.0.get(scope).map(|one| &one.0)
    }

    /// Whether there is a class of this scope.
    pub(super) fn has(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// Adds a class, replacing the one of the same scope.
    pub(super) fn insert(&mut self, class: Rc<ClassKey>) {
        self.0.replace(ByScope(class));
    }

    /// Removes the class of this scope.
    pub(super) fn remove(&mut self, scope: &Scope) -> Option<Rc<ClassKey>> {
        self.0.take(scope).map(|one| one.0)
    }

    /// All classes.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<ClassKey>> {
        self.0.iter().map(|one| &one.0)
    }

    /// All classes, by value.
    pub(super) fn into_classes(self) -> impl Iterator<Item = Rc<ClassKey>> {
        self.0.into_iter().map(|one| one.0)
    }
}

impl Borrow<Scope> for ByScope {
    fn borrow(&self) -> &Scope {
        &self.0.scope
    }
}

impl PartialEq for ByScope {
    fn eq(&self, other: &ByScope) -> bool {
        self.0.scope == other.0.scope
    }
}

impl Eq for ByScope {}

impl PartialOrd for ByScope {
    fn partial_cmp(&self, other: &ByScope) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByScope {
    fn cmp(&self, other: &ByScope) -> Ordering {
        self.0.scope.cmp(&other.0.scope)
    }
}
