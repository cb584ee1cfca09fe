//! A relay's report on its sockets, collected until the next request to the root carries it.

use std::collections::BTreeSet;

use super::form::{PayerForm, Report};
use super::interest::InterestFilter;
use crate::engine::delivery::Delivery;

/// How many sessions may end before the filter is rebuilt without their interest.
const MANY_ENDED: u64 = 1_000;

/// What has changed since the last report.
pub(super) struct Reporter {
    interest: InterestFilter,
    has_news: bool,
    /// Whether the next report is complete rather than a difference.
    is_whole: bool,
    ended: u64,
    users: BTreeSet<String>,
    sockets: (u64, u64),
    frames: u64,
    spent: Vec<(PayerForm, u64)>,
}

impl Reporter {
    /// The report of a new life, which must be complete.
    pub(super) fn new() -> Reporter {
        Reporter {
            interest: InterestFilter::default(),
            has_news: true,
            is_whole: true,
            ended: 0,
            users: BTreeSet::new(),
            sockets: (0, 0),
            frames: 0,
            spent: Vec::new(),
        }
    }

    /// Adds what the delivery has recorded since the last call.
    pub(super) fn note(&mut self, delivery: &mut Delivery) {
        let (classes, users, ended) = delivery.take_notes();
        let owed = delivery.take_owed().into_iter();
        self.spent.extend(owed.map(|(socket, user, units)| (PayerForm { socket, user }, units)));
        for class in &classes {
            self.has_news |= self.interest.add_scope(&class.scope());
        }
        for user in users {
            self.has_news |= self.interest.add_user(&user);
            self.users.insert(user);
        }
        self.ended += ended;
        if self.ended >= MANY_ENDED {
            self.ended = 0;
            let before = std::mem::take(&mut self.interest);
            delivery.each_class(|scope| _ = self.interest.add_scope(&scope));
            delivery.each_user(|user, _| _ = self.interest.add_user(user));
            self.has_news |= before != self.interest;
        }
    }

    /// Whether there is something to report.
    pub(super) fn is_due(&self, delivery: &Delivery) -> bool {
        self.has_news || self.is_whole || !self.users.is_empty() || self.sockets != delivery.counts()
    }

    /// Counts frames of a publication, and who is charged for them.
    pub(super) fn delivered(&mut self, frames: u64, payer: Option<(PayerForm, u64)>) {
        self.frames += frames;
        self.spent.extend(payer);
    }

    /// The last report may be lost, so the next one is complete.
    pub(super) fn doubt(&mut self) {
        self.is_whole = true;
    }

    /// The report.
    pub(super) fn take(&mut self, delivery: &Delivery) -> Report {
        let is_whole = std::mem::take(&mut self.is_whole);
        let changed = std::mem::take(&mut self.users);
        let mut users = Vec::new();
        if is_whole {
            delivery.each_user(|user, count| users.push((user.to_owned(), count)));
        } else {
            users.extend(
                changed.into_iter().map(|user| (delivery.of_user(&user), user)).map(|(count, user)| (user, count)),
            );
        }
        let tells_interest = std::mem::take(&mut self.has_news) || is_whole;
        self.sockets = delivery.counts();
        Report {
            sockets: self.sockets.0,
            pending: self.sockets.1,
            listeners: delivery.app_listeners(),
            users,
            is_whole,
            interest: tells_interest.then(|| self.interest.text()),
            frames: std::mem::take(&mut self.frames),
            spent: std::mem::take(&mut self.spent),
        }
    }
}
