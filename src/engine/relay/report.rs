//! A relay's report on its sockets, collected until the next request to the root carries it.

use std::collections::BTreeSet;

use super::form::{PayerForm, Report};
use super::interest::InterestFilter;
use crate::engine::delivery::Delivery;
use crate::engine::publication::Publication;

/// How many sessions may end before the filter is rebuilt without their interest.
const MANY_ENDED: u64 = 1_000;
/// How often a report is complete, in milliseconds. An answer and a request may overtake each other, and the older of two
/// counts would stay.
const WHOLE: u64 = 60_000;

/// What has changed since the last report.
pub(super) struct Reporter {
    interest: InterestFilter,
    has_news: bool,
    /// Whether messages are held that will increase the interest.
    holds_grants: bool,
    /// Whether the next report is complete rather than a difference.
    is_whole: bool,
    /// When the last complete one was made, in Unix milliseconds.
    whole_at: u64,
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
            holds_grants: false,
            is_whole: true,
            whole_at: 0,
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
        let charges = delivery.take_charges().into_iter();
        self.spent.extend(charges.map(|(socket, user, units)| (PayerForm { socket, user }, units)));
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

    /// While messages are held that will increase the interest, everything is of interest: the root takes the batch that
    /// they came in for handled.
    pub(super) fn hold_grants(&mut self, holds_grants: bool) {
        self.has_news |= holds_grants != self.holds_grants;
        self.holds_grants = holds_grants;
    }

    /// Whether a publication may have a recipient here.
    pub(super) fn wants(&self, publication: &Publication) -> bool {
        self.interest.wants_publication(publication)
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
    pub(super) fn take(&mut self, now: u64, delivery: &Delivery) -> Report {
        // The clock may have been set back.
        let is_late = now.abs_diff(self.whole_at) > WHOLE;
        let is_whole = std::mem::take(&mut self.is_whole) || is_late;
        if is_whole {
            self.whole_at = now;
        }
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
        let everything = self.holds_grants.then(InterestFilter::everything);
        let interest = everything.as_ref().unwrap_or(&self.interest);
        self.sockets = delivery.counts();
        Report {
            sockets: self.sockets.0,
            pending: self.sockets.1,
            listeners: delivery.app_listeners(),
            users,
            is_whole,
            interest: tells_interest.then(|| interest.text()),
            frames: std::mem::take(&mut self.frames),
            spent: std::mem::take(&mut self.spent),
        }
    }
}
