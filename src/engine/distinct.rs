//! An estimate of how many distinct names several objects have together, without exchanging the names.
//!
//! Each object sends the smallest hashes of its names. Up to [`MAX_HASHES`] names the count is exact. Beyond, it is
//! estimated from the density of the smallest hashes (k minimum values), with an error of about 2 %.

use std::collections::BTreeSet;

/// How many hashes are stored.
pub const MAX_HASHES: usize = 4_096;

/// A set of names, represented by its smallest hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distinct {
    hashes: BTreeSet<u64>,
}

impl Distinct {
    /// Adds a name, given in parts.
    pub fn add(&mut self, name: &[&str]) {
        self.insert(hash(name));
    }

    /// Adds the hash of a name.
    pub fn insert(&mut self, hash: u64) {
        self.hashes.insert(hash);
        if self.hashes.len() > MAX_HASHES {
            self.hashes.pop_last();
        }
    }

    /// The hashes, the smallest first.
    pub fn hashes(&self) -> impl Iterator<Item = u64> {
        self.hashes.iter().copied()
    }

    /// The number of distinct names, estimated beyond [`MAX_HASHES`].
    pub fn count(&self) -> u64 {
        let count = self.hashes.len();
        match self.hashes.last() {
            Some(largest) if count >= MAX_HASHES => {
                let share = (*largest as f64 / u64::MAX as f64).max(f64::MIN_POSITIVE);
                ((count as f64 - 1.0) / share).max(count as f64) as u64
            }
            _ => count as u64,
        }
    }
}

/// FNV-1a over the terminated parts, then mixed, so that hashes are spread evenly.
fn hash(name: &[&str]) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    // This byte occurs in no UTF-8 text.
    let bytes = name.iter().flat_map(|part| part.bytes().chain([0xff]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, step);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(range: std::ops::Range<u32>) -> Distinct {
        let mut names = Distinct::default();
        range.for_each(|number| names.add(&["room", &number.to_string()]));
        names
    }

    fn union(one: &Distinct, other: &Distinct) -> Distinct {
        let mut both = one.clone();
        other.hashes().for_each(|hash| both.insert(hash));
        both
    }

    #[test]
    fn names_that_several_have_count_once() {
        assert_eq!(union(&names(0..2_000), &names(1_000..3_000)).count(), 3_000);
        assert_eq!(names(0..0).count(), 0);
        let mut apart = Distinct::default();
        apart.add(&["a", "bc"]);
        apart.add(&["ab", "c"]);
        assert_eq!(apart.count(), 2, "parts have ends");
    }

    #[test]
    fn more_than_are_remembered_are_estimated() {
        let count = union(&names(0..60_000), &names(40_000..100_000)).count();
        assert!((95_000..105_000).contains(&count), "{count}");
    }
}
