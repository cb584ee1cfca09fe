//! The size of batches. The cost of a batch depends more on who listens than on its changes, so a backlog is taken in a
//! few large batches, but in none that could run into the database's statement timeout.

/// The first size, which takes 10 ms with one listener.
const CHANGES: u32 = 256;
/// The smallest and the largest size.
const MIN_CHANGES: u32 = 32;
const MAX_CHANGES: u32 = 1_024;
/// A full batch that took less than this is followed by a larger one, in milliseconds.
const SHORT: u64 = 200;
/// A batch that took more than this is followed by a smaller one, in milliseconds.
const LONG: u64 = 800;

/// The size of the next batch; a larger transaction exceeds it.
pub(super) struct BatchSize(u32);

impl Default for BatchSize {
    fn default() -> BatchSize {
        BatchSize(CHANGES)
    }
}

impl BatchSize {
    /// The maximum number of changes.
    pub(super) fn changes(&self) -> u32 {
        self.0
    }

    /// Records how long a batch of so many changes took.
    pub(super) fn took(&mut self, changes: usize, milliseconds: u64) {
        let is_full = u32::try_from(changes).is_ok_and(|changes| 2 * u64::from(changes) >= u64::from(self.0));
        if milliseconds > LONG {
            self.0 = (self.0 / 2).max(MIN_CHANGES);
        } else if is_full && milliseconds < SHORT {
            self.0 = (self.0 * 2).min(MAX_CHANGES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_a_backlog_and_shrinks_where_judging_is_dear() {
        let mut size = BatchSize::default();
        size.took(3, 5);
        assert_eq!(size.changes(), CHANGES, "nothing waits");
        (0..4).for_each(|_| size.took(1_024, 60));
        assert_eq!(size.changes(), MAX_CHANGES);
        size.took(1_024, 500);
        assert_eq!(size.changes(), MAX_CHANGES);
        (0..9).for_each(|_| size.took(10, 2_000));
        assert_eq!(size.changes(), MIN_CHANGES);
    }
}
