//! What the classes of a session have in common: thousands of sessions have the same, so it is found rather than built anew
//! for each.

use std::rc::Rc;

use super::class::{ClassKey, Judge, Narrowing, Scope};
use crate::engine::command::TableTarget;
use crate::engine::input::DialectId;
use crate::policy::roles::Roles;

/// The last ones are looked through; where each session has a channel of its own, that must not cost much.
const MAX_KNOWN: usize = 16;

/// What the keys of a session's classes are made of.
pub(super) struct Common<'a, T> {
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

/// Keys that were made before.
#[derive(Default)]
pub(super) struct Commons {
    known: Vec<KnownClass>,
    next: usize,
}

struct KnownClass {
    /// In the order in which the sessions hold them.
    roles: Roles,
    key: Rc<ClassKey>,
}

impl Commons {
    /// The key of the organization's scope.
    pub(super) fn of(&mut self, common: Common<'_, impl Iterator<Item = TableTarget>>) -> Rc<ClassKey> {
        let Common { judge, dialect, channel, offsets, batches, roles, is_open, targets } = common;
        let narrowing = Narrowing::new(is_open, targets);
        let found = self.known.iter().find(|KnownClass { roles: held, key }| {
            held == roles
                && (key.dialect, key.offsets, key.batches) == (dialect, offsets, batches)
                && key.judge == judge
                && key.channel.as_ref() == channel
                && *key.narrowing == narrowing
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
            narrowing: Rc::new(narrowing),
        });
        self.remember(KnownClass { roles: roles.clone(), key: key.clone() });
        key
    }

    /// In the place of the oldest one. What is large is not remembered: its session may be gone long before.
    fn remember(&mut self, known: KnownClass) {
        if !known.key.narrowing.targets().is_empty() {
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

    fn common<'a>(roles: &'a Roles, channel: Option<&'a Rc<str>>) -> Common<'a, std::iter::Empty<TableTarget>> {
        let (judge, dialect) = (Judge::Nobody, DialectId(0));
        let targets = std::iter::empty();
        Common { judge, dialect, channel, offsets: false, batches: false, roles, is_open: true, targets }
    }

    #[test]
    fn equal_ones_share_a_key_and_the_order_of_roles_makes_no_difference_to_it() {
        let mut commons = Commons::default();
        let roles = ["hr", "admin"].map(|role| Roles::new([role.to_owned(), "member".to_owned()]));
        let turned = Roles::new(["member".to_owned(), "hr".to_owned()]);
        let [first, other] = roles.each_ref().map(|roles| commons.of(common(roles, None)));
        assert!(Rc::ptr_eq(&first, &commons.of(common(&roles[0], None))));
        assert_eq!(first, commons.of(common(&turned, None)));
        assert_ne!(first, other);
    }

    #[test]
    fn each_channel_has_a_key_of_its_own_and_few_are_remembered() {
        let mut commons = Commons::default();
        let roles = Roles::new(["member".to_owned()]);
        for number in 0..100 {
            let name: Rc<str> = Rc::from(format!("room-{number}"));
            assert_eq!(commons.of(common(&roles, Some(&name))).channel, Some(name));
        }
        assert_eq!(commons.known.len(), MAX_KNOWN);
    }
}
