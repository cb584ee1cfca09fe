//! Randomness that is the same for the same seed.

use std::ops::Range;

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number in the range, which must not be empty.
    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20;
        range.start + drawn % (range.end - range.start)
    }

    /// One of this many, by its index.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.within(0..length as u64) as usize
    }

    /// Whether something happens that has this probability in a thousand.
    pub(crate) fn happens(&mut self, in_thousand: u64) -> bool {
        self.within(0..1_000) < in_thousand
    }
}
