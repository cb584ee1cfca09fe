//! Rate limits by cost: the deliveries and history reads that a client causes are charged to a bucket of its socket,
//! one of its user and one of all clients; over HTTP, to one of its address and one of its user or key. The API worker
//! is not charged to any of these, so no client can starve its publishing.
//!
//! One unit is the cost of a frame to one socket, some 25 µs of workerd's CPU. A kibibyte of the frame, or a few rows
//! of the history, cost about as much.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::bucket::Bucket;
use super::message::Read;
use crate::code::{Code, Refusal};
use crate::policy::limits::Limits;

/// Bytes per unit.
const UNIT_BYTES: u64 = 1_024;
/// History rows read and sent, per unit.
const UNIT_ROWS: u64 = 2;
/// History rows scanned, per unit.
const UNIT_SCANNED: u64 = 32;
/// Up to this many buckets, full ones are not removed.
const MANY_BUCKETS: usize = 1_024;

/// Units for sending the same bytes to several sockets.
pub(super) fn frames(recipients: u64, bytes: usize) -> u64 {
    recipients.saturating_mul(1 + bytes as u64 / UNIT_BYTES)
}

/// Units for rows of the history that are read and sent, and for those scanned to find them.
pub(super) fn rows(read: Read) -> u64 {
    read.rows / UNIT_ROWS + read.bytes / UNIT_BYTES + read.scanned / UNIT_SCANNED
}

/// Who is charged.
#[derive(Clone, Copy, Default)]
pub(super) struct Payer<'a> {
    /// The socket; over HTTP the address, if known.
    pub(super) socket: Option<&'a str>,
    /// The user, if there is one.
    pub(super) user: Option<&'a str>,
    /// A digest of the key of an HTTP request without a user.
    pub(super) key: Option<&'a str>,
}

/// The buckets of one organization's clients, in memory only: a hibernated object was idle for ten seconds, so its
/// buckets are full.
pub(super) struct Budget {
    per_socket: u64,
    per_user: u64,
    sockets: Buckets,
    users: Buckets,
    keys: Buckets,
    organization: Bucket,
}

/// Buckets by the name of the payer.
#[derive(Default)]
struct Buckets {
    known: BTreeMap<Rc<str>, Bucket>,
    /// How many remained when full buckets were last removed.
    left: usize,
}

impl Budget {
    /// Full buckets; `now` in Unix milliseconds.
    pub(super) fn new(limits: &Limits, now: u64) -> Budget {
        Budget {
            per_socket: limits.work_per_connection,
            per_user: limits.work_per_user,
            sockets: Buckets::default(),
            users: Buckets::default(),
            keys: Buckets::default(),
            organization: Bucket::full(limits.work_of_clients, now),
        }
    }

    /// The budget for the steps of filters.
    pub(super) fn of_filters(limits: &Limits, now: u64) -> Budget {
        Budget {
            per_user: limits.filter_steps_per_user,
            organization: Bucket::full(limits.filter_steps, now),
            ..Budget::new(limits, now)
        }
    }

    /// Takes units from every bucket of the payer, or from none.
    ///
    /// # Errors
    /// [`Code::RateLimited`] with the time until there are enough.
    pub(super) fn spend(&mut self, now: u64, payer: Payer<'_>, units: u64) -> Result<(), Refusal> {
        let mut buckets = self.buckets(now, payer);
        let wait = buckets.iter_mut().map(|bucket| bucket.wait(units, now)).max().unwrap_or_default();
        if wait > 0 {
            return Err(Refusal { retry_after: Some(wait), ..Refusal::of(Code::RateLimited) });
        }
        buckets.into_iter().for_each(|bucket| bucket.charge(units, now));
        Ok(())
    }

    /// Charges units for work that is already done, even if the buckets go into debt.
    pub(super) fn charge(&mut self, now: u64, payer: Payer<'_>, units: u64) {
        if units > 0 {
            self.buckets(now, payer).into_iter().for_each(|bucket| bucket.charge(units, now));
        }
    }

    fn buckets(&mut self, now: u64, payer: Payer<'_>) -> Vec<&mut Bucket> {
        let mut buckets = vec![&mut self.organization];
        buckets.extend(payer.socket.map(|socket| self.sockets.of(socket, self.per_socket, now)));
        buckets.extend(payer.user.map(|user| self.users.of(user, self.per_user, now)));
        buckets.extend(payer.key.map(|key| self.keys.of(key, self.per_user, now)));
        buckets
    }
}

impl Buckets {
    /// The bucket of a payer, full if it is new. Full buckets are removed only once their number has doubled, so that
    /// adding one stays cheap.
    fn of(&mut self, name: &str, rate: u64, now: u64) -> &mut Bucket {
        if self.known.len() >= MANY_BUCKETS.max(2 * self.left) && !self.known.contains_key(name) {
            self.known.retain(|_, bucket| !bucket.is_full(now));
            self.left = self.known.len();
        }
        self.known.entry(Rc::from(name)).or_insert_with(|| Bucket::full(rate, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(socket: u64, user: u64, clients: u64) -> Budget {
        let limits =
            Limits { work_per_connection: socket, work_per_user: user, work_of_clients: clients, ..Limits::default() };
        Budget::new(&limits, 0)
    }

    fn payer<'a>(socket: &'a str, user: &'a str) -> Payer<'a> {
        Payer { socket: Some(socket), user: Some(user), key: None }
    }

    #[test]
    fn a_socket_a_user_and_all_clients_have_a_bucket_each() {
        let mut budget = budget(10, 15, 25);
        assert!(budget.spend(0, payer("s1", "ada"), 20).is_ok());
        assert_eq!(budget.spend(0, payer("s1", "ada"), 5).unwrap_err().retry_after, Some(500), "of the socket");
        assert!(budget.spend(0, payer("s2", "ada"), 10).is_ok());
        assert!(budget.spend(0, payer("s3", "ada"), 3).unwrap_err().retry_after.is_some(), "of the user");
        assert!(budget.spend(0, payer("s4", "bob"), 20).is_ok());
        assert_eq!(budget.spend(0, payer("s5", "eve"), 5).unwrap_err().retry_after, Some(200), "of all clients");
        assert!(budget.spend(200, payer("s5", "eve"), 5).is_ok(), "after the time that was told");
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let mut budget = budget(100, 10, 1_000);
        budget.spend(0, payer("s", "ada"), 20).unwrap();
        for _ in 0..100 {
            assert!(budget.spend(0, payer("s", "ada"), 20).is_err());
        }
        assert!(
            budget.spend(0, Payer { socket: Some("s"), ..Payer::default() }, 180).is_ok(),
            "the socket's bucket is as it was"
        );
    }

    #[test]
    fn debts_are_paid_before_anything_else_and_have_a_bound() {
        let mut budget = budget(10, 10, 1_000_000);
        budget.charge(0, payer("s", "ada"), 50);
        assert_eq!(budget.spend(0, payer("s", "ada"), 1).unwrap_err().retry_after, Some(3_100));
        budget.charge(0, payer("s", "ada"), 1_000_000);
        assert_eq!(budget.spend(0, payer("s", "ada"), 1).unwrap_err().retry_after, Some(10_100));
        assert!(budget.spend(10_100, payer("s", "ada"), 1).is_ok());
    }

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let mut budget = budget(10, 10, 1_000_000);
        for number in 0..10 * MANY_BUCKETS {
            let name = number.to_string();
            budget.spend(number as u64 * 1_000, payer(&name, &name), 1).unwrap();
        }
        assert!(budget.sockets.known.len() <= MANY_BUCKETS && budget.users.known.len() <= MANY_BUCKETS);
    }

    #[test]
    fn a_crowd_that_is_not_full_again_is_seldom_looked_at() {
        let mut budget = budget(10, 10, 1_000_000_000);
        let (mut sweeps, mut left) = (0, 0);
        for number in 0..10 * MANY_BUCKETS {
            let name = number.to_string();
            budget.spend(0, payer(&name, &name), 1).unwrap();
            sweeps += usize::from(budget.sockets.left != left);
            left = budget.sockets.left;
        }
        assert_eq!((budget.sockets.known.len(), sweeps), (10 * MANY_BUCKETS, 4), "at 1,024, 2,048, 4,096 and 8,192");
    }
}
