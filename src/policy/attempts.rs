//! Refused attempts to connect, by address. Once an address has used up its budget, it is told to come back later. A
//! credential that was not refused there is still verified, so that nobody pays for a neighbour.

use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest, Sha256};

use crate::code::{Code, Refusal};

/// Addresses that are remembered: those that were refused last.
const MAX_ADDRESSES: usize = 1_024;
/// Refused credentials that are remembered of one address: the last ones.
const MAX_CREDENTIALS: usize = 16;
/// One attempt in units of the budget: each millisecond restores as many units as attempts are allowed per minute.
const ATTEMPT: u64 = 60_000;

/// The digest of a credential and of what it was presented for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialDigest([u8; 8]);

impl CredentialDigest {
    /// The digest of a credential, presented for `purpose`: it may be good for something else.
    pub fn of(purpose: &str, credential: &str) -> CredentialDigest {
        let length = (purpose.len() as u64).to_be_bytes();
        let digest = Sha256::new().chain_update(length).chain_update(purpose).chain_update(credential).finalize();
        let mut first = [0; 8];
        first.iter_mut().zip(digest).for_each(|(byte, digested)| *byte = digested);
        CredentialDigest(first)
    }
}

/// The refused attempts of all addresses. It is in memory only, and its size is bounded.
#[derive(Debug, Default)]
pub struct RefusedAttempts {
    addresses: BTreeMap<Box<str>, AddressBudget>,
}

#[derive(Debug, Default)]
struct AddressBudget {
    spent: u64,
    /// When `spent` was right, in Unix milliseconds.
    time: u64,
    credentials: VecDeque<CredentialDigest>,
}

impl RefusedAttempts {
    /// Refuses an attempt if its address has used up its budget. `now` in Unix milliseconds; `limit`: refused attempts per
    /// minute, which may also come at once.
    ///
    /// # Errors
    /// [`Code::TooManyAttempts`], with the time after which to try again.
    pub fn check(
        &self,
        now: u64,
        limit: u64,
        address: &str,
        credential: Option<CredentialDigest>,
    ) -> Result<(), Refusal> {
        let refuse = |wait| Refusal { retry_after: Some(wait), ..Refusal::of(Code::TooManyAttempts) };
        self.wait(now, limit, address, credential).map_or(Ok(()), |wait| Err(refuse(wait)))
    }

    /// The milliseconds until an address may try again; `None` if it may now.
    fn wait(&self, now: u64, limit: u64, address: &str, credential: Option<CredentialDigest>) -> Option<u64> {
        let budget = self.addresses.get(address)?;
        if credential.is_some_and(|credential| !budget.credentials.contains(&credential)) {
            return None;
        }
        let missing = budget.spent_at(now, limit).saturating_add(ATTEMPT).saturating_sub(capacity(limit));
        (missing > 0).then(|| missing.div_ceil(limit.max(1)))
    }

    /// Charges an address for a refused attempt.
    pub fn refuse(&mut self, now: u64, limit: u64, address: &str, credential: Option<CredentialDigest>) {
        if !self.addresses.contains_key(address) {
            self.make_room(now, limit);
        }
        let budget = self.addresses.entry(Box::from(address)).or_default();
        budget.spend(now, limit, ATTEMPT);
        let Some(credential) = credential.filter(|credential| !budget.credentials.contains(credential)) else { return };
        if budget.credentials.len() >= MAX_CREDENTIALS {
            budget.credentials.pop_front();
        }
        budget.credentials.push_back(credential);
    }

    /// Uses up the budget of an address: another place, which counts on its own, refuses it.
    pub fn exhaust(&mut self, now: u64, limit: u64, address: &str) {
        if !self.addresses.contains_key(address) {
            self.make_room(now, limit);
        }
        self.addresses.entry(Box::from(address)).or_default().spend(now, limit, capacity(limit));
    }

    fn make_room(&mut self, now: u64, limit: u64) {
        if self.addresses.len() < MAX_ADDRESSES {
            return;
        }
        self.addresses.retain(|_, budget| budget.spent_at(now, limit) > 0);
        if self.addresses.len() >= MAX_ADDRESSES {
            let oldest = self.addresses.iter().min_by_key(|(_, budget)| budget.time);
            let oldest = oldest.map(|(address, _)| address.clone());
            oldest.and_then(|address| self.addresses.remove(&address));
        }
    }
}

impl AddressBudget {
    fn spent_at(&self, now: u64, limit: u64) -> u64 {
        self.spent.saturating_sub(now.saturating_sub(self.time).saturating_mul(limit))
    }

    /// No debt: the wait is never longer than one attempt takes to be restored.
    fn spend(&mut self, now: u64, limit: u64, units: u64) {
        self.spent = self.spent_at(now, limit).saturating_add(units).min(capacity(limit));
        self.time = self.time.max(now);
    }
}

fn capacity(limit: u64) -> u64 {
    limit.saturating_mul(ATTEMPT)
}

/// Whether a refusal is about the credential, so that the attempt is charged.
pub fn is_charged(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthorized | Code::InvalidToken | Code::TokenExpired | Code::WrongOrganization | Code::AuthRequired
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const LIMIT: u64 = 30;
    const ADDRESS: &str = "192.0.2.7";

    fn used_up(credential: Option<CredentialDigest>) -> RefusedAttempts {
        let mut known = RefusedAttempts::default();
        for _ in 0..LIMIT {
            assert_eq!(known.wait(NOW, LIMIT, ADDRESS, credential), None);
            known.refuse(NOW, LIMIT, ADDRESS, credential);
        }
        known
    }

    #[test]
    fn who_is_refused_again_and_again_waits_and_never_long() {
        let token = Some(CredentialDigest::of("org_1", "expired"));
        for credential in [None, token] {
            let mut known = used_up(credential);
            assert_eq!(known.wait(NOW, LIMIT, ADDRESS, credential), Some(2_000));
            // What is refused while the budget is used up makes the wait no longer.
            (0..1_000).for_each(|_| known.refuse(NOW, LIMIT, ADDRESS, credential));
            assert_eq!(known.wait(NOW + 500, LIMIT, ADDRESS, credential), Some(1_500));
            assert_eq!(known.wait(NOW + 2_000, LIMIT, ADDRESS, credential), None);
            known.refuse(NOW + 2_000, LIMIT, ADDRESS, credential);
            assert_eq!(known.wait(NOW + 2_000, LIMIT, ADDRESS, credential), Some(2_000));
            assert_eq!(known.wait(NOW - 1, LIMIT, ADDRESS, credential), Some(2_000), "a clock that goes back");
        }
    }

    #[test]
    fn nobody_pays_for_a_neighbour() {
        let token = CredentialDigest::of("org_1", "expired");
        let known = used_up(Some(token));
        assert_eq!(known.wait(NOW, LIMIT, "192.0.2.8", Some(token)), None);
        assert_eq!(known.wait(NOW, LIMIT, ADDRESS, Some(CredentialDigest::of("org_1", "good"))), None);
        assert_eq!(known.wait(NOW, LIMIT, ADDRESS, Some(CredentialDigest::of("org_2", "expired"))), None);
        assert!(known.wait(NOW, LIMIT, ADDRESS, None).is_some(), "nothing tells these two apart");
        assert_ne!(CredentialDigest::of("a", "bc"), CredentialDigest::of("ab", "c"));
    }

    #[test]
    fn another_place_may_refuse_an_address() {
        let mut known = RefusedAttempts::default();
        known.exhaust(NOW, LIMIT, ADDRESS);
        assert_eq!(known.wait(NOW, LIMIT, ADDRESS, None), Some(2_000));
        assert_eq!(known.wait(NOW + 2_000, LIMIT, ADDRESS, None), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut known = RefusedAttempts::default();
        for number in 0..10 * MAX_ADDRESSES as u64 {
            let credential = CredentialDigest::of("org_1", &number.to_string());
            known.refuse(NOW + number, LIMIT, &format!("a{number}"), Some(credential));
            known.refuse(NOW + number, LIMIT, ADDRESS, Some(credential));
            assert!(known.addresses.len() <= MAX_ADDRESSES);
        }
        assert!(known.addresses.values().all(|budget| budget.credentials.len() <= MAX_CREDENTIALS));
        assert!(known.addresses.contains_key(ADDRESS), "the one that goes on is not forgotten");
        // Those whose budget is full again go first.
        known.refuse(NOW + 1_000_000, LIMIT, "late", None);
        assert_eq!(known.addresses.len(), 1);
    }
}
