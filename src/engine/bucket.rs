//! A token bucket: so many a second, with a burst of twice as many.

/// Thousandths of a token; a millisecond brings `rate` of them.
const TOKEN: u64 = 1_000;

/// Lives in memory only: an object hibernates after ten idle seconds, and by then every bucket is full again.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    rate: u64,
    level: u64,
    filled: u64,
}

impl Bucket {
    /// A full bucket for `rate` a second; `now` in Unix milliseconds.
    pub(super) fn full(rate: u64, now: u64) -> Bucket {
        Bucket { rate, level: capacity(rate), filled: now }
    }

    /// Takes `count` at once, or none; `false` when there are not so many. More than the bucket holds empties a full one.
    pub(super) fn take(&mut self, count: u64, now: u64) -> bool {
        let elapsed = now.saturating_sub(self.filled);
        self.filled = self.filled.max(now);
        self.level = self.level.saturating_add(elapsed.saturating_mul(self.rate)).min(capacity(self.rate));
        let wanted = count.saturating_mul(TOKEN).min(capacity(self.rate));
        match self.level.checked_sub(wanted) {
            Some(level) => {
                self.level = level;
                true
            }
            None => false,
        }
    }
}

fn capacity(rate: u64) -> u64 {
    rate.saturating_mul(2 * TOKEN)
}
