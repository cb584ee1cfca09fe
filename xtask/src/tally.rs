//! Counts tests in the output of cargo and Node.

use std::fmt;
use std::ops::AddAssign;

/// How many tests and checks passed, failed or were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Tally {
    /// One test or check that passed.
    pub const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };

    /// One test or check that failed.
    pub const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// The counts of one test binary, if the line is the last one that it prints: `test result: ok. 4 passed; 0 failed;
    /// 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`.
    pub fn of_cargo_line(line: &str) -> Option<Self> {
        let counts = line.strip_prefix("test result: ")?;
        let count = |label: &str| {
            let words: Vec<_> = counts.split([' ', ';', '.']).collect();
            let label = words.iter().position(|word| *word == label)?;
            words.get(label.checked_sub(1)?)?.parse().ok()
        };
        Some(Self { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
    }

    /// The counts at the end of a TAP report of `node --test`: lines such as `# pass 3`. Node counts a file in which no
    /// test ran as passed; that is subtracted again.
    pub fn of_tap(report: &str) -> Option<Self> {
        let count = |label: &str| {
            let line = format!("# {label} ");
            let line = report.lines().rev().find_map(|l| l.strip_prefix(&line))?;
            line.parse::<usize>().ok()
        };
        let is_empty_file = |line: &&str| line.starts_with("ok ") && line.ends_with(".spec.mjs");
        let empty_files = report.lines().filter(is_empty_file).count();
        Some(Self {
            passed: count("pass")?.checked_sub(empty_files)?,
            failed: count("fail")? + count("cancelled")?,
            skipped: count("skipped")? + count("todo")?,
        })
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(formatter, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_result_line_of_a_test_binary() {
        let line = "test result: FAILED. 14 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s";
        let tally = Tally { passed: 14, failed: 2, skipped: 1 };
        assert_eq!(Tally::of_cargo_line(line), Some(tally));
    }

    #[test]
    fn takes_no_other_line_for_a_result() {
        for line in ["", "running 3 tests", "test result: unknown", "test a ... ok"] {
            assert_eq!(Tally::of_cargo_line(line), None, "{line}");
        }
    }

    #[test]
    fn reads_the_end_of_a_tap_report() {
        let report = "TAP version 13\n# pass 99\nok 1 - health\n1..1\n# tests 6\n# suites 0\n# pass 2\n# fail 1\n\
                      # cancelled 1\n# skipped 1\n# todo 1\n# duration_ms 7.5\n";
        let tally = Tally { passed: 2, failed: 2, skipped: 2 };
        assert_eq!(Tally::of_tap(report), Some(tally));
    }

    #[test]
    fn a_file_without_tests_is_not_a_test() {
        let report = "ok 1 - miniflare/specs/health.spec.mjs\nok 2 - health\n# pass 2\n# fail 0\n# cancelled 0\n\
                      # skipped 0\n# todo 0\n";
        assert_eq!(Tally::of_tap(report), Some(Tally::PASSED));
    }

    #[test]
    fn a_report_that_broke_off_has_no_counts() {
        assert_eq!(Tally::of_tap("TAP version 13\nok 1 - health\n"), None);
    }

    #[test]
    fn says_skipped_only_when_something_was() {
        let mut tally = Tally::PASSED;
        tally += Tally::FAILED;
        assert_eq!(tally.to_string(), "1 passed, 1 failed");
        tally.skipped = 1;
        assert_eq!(tally.to_string(), "1 passed, 1 failed, 1 skipped");
    }
}
