//! A token bucket with a rate per second and a burst of twice the rate.

/// Levels are counted in thousandths of a token: each millisecond adds `rate` of them.
const TOKEN: u64 = 1_000;
/// How many seconds of refill a debt is limited to.
const MAX_DEBT_SECONDS: u64 = 10;

/// In memory only: an object hibernates after ten idle seconds, and by then every bucket is full again.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    rate: u64,
    level: u64,
    /// What was charged beyond the level, in thousandths of a token.
    debt: u64,
    filled: u64,
}

impl Bucket {
    /// A full bucket for `rate` per second; `now` in Unix milliseconds.
    pub(super) fn full(rate: u64, now: u64) -> Bucket {
        Bucket { rate, level: capacity(rate), debt: 0, filled: now }
    }

    /// Takes all `count` tokens or none; `false` if there are too few. A request for more than the bucket holds empties
    /// a full bucket.
    pub(super) fn take(&mut self, count: u64, now: u64) -> bool {
        self.fill(now);
        match self.level.checked_sub(self.wanted(count)).filter(|_| self.debt == 0) {
            Some(level) => {
                self.level = level;
                true
            }
            None => false,
        }
    }

    /// How many milliseconds until `count` tokens are available.
    pub(super) fn wait(&mut self, count: u64, now: u64) -> u64 {
        self.fill(now);
        let missing = self.wanted(count).saturating_add(self.debt).saturating_sub(self.level);
        missing.div_ceil(self.rate.max(1))
    }

    /// Takes `count` tokens whether or not they are available; the rest becomes a debt.
    pub(super) fn charge(&mut self, count: u64, now: u64) {
        self.fill(now);
        let wanted = count.saturating_mul(TOKEN);
        let debt = self.debt.saturating_add(wanted.saturating_sub(self.level));
        self.level = self.level.saturating_sub(wanted);
        self.debt = debt.min(self.rate.saturating_mul(MAX_DEBT_SECONDS * TOKEN));
    }

    /// Whether the bucket has refilled completely.
    pub(super) fn is_full(&mut self, now: u64) -> bool {
        self.fill(now);
        self.debt == 0 && self.level == capacity(self.rate)
    }

    fn fill(&mut self, now: u64) {
        let came = now.saturating_sub(self.filled).saturating_mul(self.rate);
        self.filled = self.filled.max(now);
        self.level = self.level.saturating_add(came.saturating_sub(self.debt)).min(capacity(self.rate));
        self.debt = self.debt.saturating_sub(came);
    }

    fn wanted(&self, count: u64) -> u64 {
        count.saturating_mul(TOKEN).min(capacity(self.rate))
    }
}

fn capacity(rate: u64) -> u64 {
    rate.saturating_mul(2 * TOKEN)
}
