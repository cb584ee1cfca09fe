//! How many changes a batch may have: what a batch costs the database depends more on who listens than on its changes, so a
//! backlog is taken in few large ones, but none that could run into the database's statement timeout.

/// At first, which is a hundredth of a second for one listener.
const CHANGES: u32 = 256;
/// At least and at most.
const MIN_CHANGES: u32 = 32;
const MAX_CHANGES: u32 = 1_024;
/// A full batch that took less time than this is followed by a larger one, in milliseconds.
const SHORT: u64 = 200;
/// One that took more time than this is followed by a smaller one, in milliseconds.
const LONG: u64 = 800;

/// The size of the next batch, transactions that are larger aside.
pub(super) struct BatchSize(u32);

impl Default for BatchSize {
    fn default() -> BatchSize {
        BatchSize(CHANGES)
    }
}

impl BatchSize {
    /// Changes at most.
    pub(super) fn changes(&self) -> u32 {
        self.0
    }

    /// A batch of so many changes took so long.
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
