//! Budgets for the regular expressions of filters: for each user, for the organization, and for each publication. Only
//! regular expressions let a subscriber drive up the work of a filter; all others are linear in a short text.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::class::ClassKey;
use super::fan_out::FanOut;
use super::session::{Session, Subscription};
use crate::code::{Code, Refusal};
use crate::engine::budget::{Budget, Payer};
use crate::engine::event::Event;
use crate::engine::message::{Out, SessionId};
use crate::policy::limits::{Limits, MAX_PUBLICATION_STEPS};

/// How many users of a class are tried: one user who can pay does so for all, because they share the work.
const MAX_PAYERS: usize = 64;
const TOO_COSTLY: &str = "The filter's regular expression takes too long for some changes; they do not match.";

/// The budgets; like all budgets, they exist in memory only.
pub(super) struct FilterMeter {
    budget: RefCell<Budget>,
    now: Cell<u64>,
}

/// The steps of one publication, for the class that is being judged.
pub(super) struct Steps<'a> {
    meter: &'a FilterMeter,
    left: Cell<u64>,
    payers: RefCell<Vec<String>>,
    is_exceeded: Cell<bool>,
}

impl FilterMeter {
    /// Full budgets; `now` in Unix milliseconds.
    pub(super) fn new(limits: &Limits, now: u64) -> FilterMeter {
        FilterMeter { budget: RefCell::new(Budget::of_filters(limits, now)), now: Cell::new(now) }
    }

    /// The time from now on, in Unix milliseconds.
    pub(super) fn set_time(&self, now: u64) {
        self.now.set(now);
    }

    /// The budget of one publication.
    pub(super) fn steps(&self) -> Steps<'_> {
        let (left, payers) = (Cell::new(MAX_PUBLICATION_STEPS), RefCell::default());
        Steps { meter: self, left, payers, is_exceeded: Cell::new(false) }
    }

    /// Charges a user; those without one share a budget.
    fn spend(&self, user: &str, steps: u64) -> bool {
        let payer = Payer { user: Some(user), ..Payer::default() };
        self.budget.borrow_mut().spend(self.now.get(), payer, steps).is_ok()
    }
}

impl Steps<'_> {
    /// Takes steps for the class that is being judged, or none.
    pub(super) fn take(&self, steps: u64) -> bool {
        let pays = |user: &String| self.meter.spend(user, steps);
        let left = self.left.get().checked_sub(steps).filter(|_| self.payers.borrow().iter().any(pays));
        match left {
            Some(left) => self.left.set(left),
            None => self.is_exceeded.set(true),
        }
        left.is_some()
    }
}

impl FanOut<'_> {
    /// Charges the members of a class for its regular expressions; most have none.
    pub(super) fn bill(&self, class: &ClassKey, members: impl Iterator<Item = SessionId>, steps: &Steps<'_>) {
        steps.is_exceeded.set(false);
        let mut users = BTreeSet::new();
        if class.selector.has_regular_expressions() {
            let principals = members.filter_map(|id| self.registry.session(id)).map(|session| &session.principal);
            for principal in principals {
                users.insert(principal.user.clone().unwrap_or_default());
                if users.len() == MAX_PAYERS {
                    break;
                }
            }
        }
        *steps.payers.borrow_mut() = users.into_iter().collect();
    }

    /// Warns each member of a class, once, that a filter was not judged.
    pub(super) fn warn_of_costs(&self, members: impl Iterator<Item = SessionId>, steps: &Steps<'_>, out: &mut Out) {
        if !steps.is_exceeded.get() {
            return;
        }
        for id in members {
            let Some(session) = self.registry.session(id).filter(|session| !session.told_costs.replace(true)) else {
                continue;
            };
            let refusal = Refusal::because(Code::RateLimited, TOO_COSTLY);
            self.registry.log_session("filter", id, Some(refusal.code), out);
            self.registry.tell(id, Event::Refused { refusal, id: costly(session), topic: None }, out);
        }
    }
}

/// The first subscription of a session whose filter has a regular expression.
fn costly(session: &Session) -> Option<String> {
    let has_any = |one: &&Subscription| one.table().is_some_and(|target| target.filter.regular_expressions() > 0);
    session.subscriptions.iter().find(has_any).map(|subscription| subscription.id.clone())
}
