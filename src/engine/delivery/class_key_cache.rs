//! A cache of class keys: thousands of sessions have equal keys, which they share instead of each building its own.

use std::rc::Rc;

use super::class::{ChangeSelector, ClassKey, Judge, Scope};
use crate::engine::command::TableTarget;
use crate::engine::input::DialectId;
use crate::policy::roles::Roles;

/// The cache is searched linearly, which must stay cheap even if each session has a channel of its own.
const MAX_KNOWN: usize = 16;

/// The parts of a session's class key.
pub(super) struct ClassKeyParts<'a, T> {
    pub(super) judge: Judge,
    pub(super) dialect: DialectId,
    pub(super) channel: Option<&'a Rc<str>>,
    pub(super) offsets: bool,
    pub(super) batches: bool,
    pub(super) roles: &'a Roles,
    /// Whether every change is received.
    pub(super) is_open: bool,
    pub(super) targets: T,
}

/// Recent keys.
#[derive(Default)]
pub(super) struct ClassKeyCache {
    known: Vec<KnownClass>,
    next: usize,
}

struct KnownClass {
    /// In the session's order.
    roles: Roles,
    key: Rc<ClassKey>,
}

impl ClassKeyCache {
    /// The key of the organization's scope.
    pub(super) fn of(&mut self, common: ClassKeyParts<'_, impl Iterator<Item = TableTarget>>) -> Rc<ClassKey> {
        let ClassKeyParts { judge, dialect, channel, offsets, batches, roles, is_open, targets } = common;
        let selector = ChangeSelector::new(is_open, targets);
        let found = self.known.iter().find(|KnownClass { roles: held, key }| {
            held == roles
                && (key.dialect, key.offsets, key.batches) == (dialect, offsets, batches)
                && key.judge == judge
                && key.channel.as_ref() == channel
                && *key.selector == selector
        });
        if let Some(known) = found {
            return known.key.clone();
        }
        let key = Rc::new(ClassKey {
            scope: Scope::Organization,
            judge,
            dialect,
            channel: channel.cloned(),
            offsets,
            batches,
            roles: Rc::new(roles.sorted()),
            selector: Rc::new(selector),
        });
        self.remember(KnownClass { roles: roles.clone(), key: key.clone() });
        key
    }

    /// Replaces the oldest entry. Large keys are not cached: they might outlive their session by far.
    fn remember(&mut self, known: KnownClass) {
        if !known.key.selector.targets().is_empty() {
            return;
        }
        match self.known.get_mut(self.next) {
            Some(oldest) => *oldest = known,
            None => self.known.push(known),
        }
        self.next = (self.next + 1) % MAX_KNOWN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common<'a>(roles: &'a Roles, channel: Option<&'a Rc<str>>) -> ClassKeyParts<'a, std::iter::Empty<TableTarget>> {
        let (judge, dialect) = (Judge::Nobody, DialectId(0));
        let targets = std::iter::empty();
        ClassKeyParts { judge, dialect, channel, offsets: false, batches: false, roles, is_open: true, targets }
    }

    #[test]
    fn equal_ones_share_a_key_and_the_order_of_roles_makes_no_difference_to_it() {
        let mut cache = ClassKeyCache::default();
        let roles = ["hr", "admin"].map(|role| Roles::new([role.to_owned(), "member".to_owned()]));
        let turned = Roles::new(["member".to_owned(), "hr".to_owned()]);
        let [first, other] = roles.each_ref().map(|roles| cache.of(common(roles, None)));
        assert!(Rc::ptr_eq(&first, &cache.of(common(&roles[0], None))));
        assert_eq!(first, cache.of(common(&turned, None)));
        assert_ne!(first, other);
    }

    #[test]
    fn each_channel_has_a_key_of_its_own_and_few_are_remembered() {
        let mut cache = ClassKeyCache::default();
        let roles = Roles::new(["member".to_owned()]);
        for number in 0..100 {
            let name: Rc<str> = Rc::from(format!("room-{number}"));
            assert_eq!(cache.of(common(&roles, Some(&name))).channel, Some(name));
        }
        assert_eq!(cache.known.len(), MAX_KNOWN);
    }
}
