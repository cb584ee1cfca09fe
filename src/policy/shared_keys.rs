//! The key set that the requests and objects of one isolate share: who fetches it, who waits, and who reuses it.

/// The minimum interval between two fetches, in milliseconds: unknown `kid`s must not flood the issuer.
pub const PAUSE: u64 = 30_000;
/// How long a fetch may take, in milliseconds.
pub const PATIENCE: u64 = 5_000;
/// When an unfinished fetch is abandoned: the runtime drops a request's work once its caller has disconnected.
const ABANDONED: u64 = PATIENCE + 1_000;

/// A key set's text, and when it was fetched, in Unix milliseconds.
pub type Fetched = (u64, String);

/// The key set that an isolate fetched last, and the fetch in progress.
#[derive(Default)]
pub struct SharedKeys {
    latest: Option<Fetched>,
    ended: Option<u64>,
    begun: Option<u64>,
}

/// What a caller that needs the key set has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum KeySetStep {
    /// Fetch it: call [`SharedKeys::begin`] first and [`SharedKeys::end`] afterwards.
    Fetch,
    /// Another caller is fetching it: ask again soon.
    Wait,
    /// Use the last one; `None` when the fetch failed.
    Use(Option<Fetched>),
}

impl SharedKeys {
    /// The next step for a caller that has needed the keys since `since`.
    pub fn step(&self, since: u64, now: u64) -> KeySetStep {
        if self.begun.is_some_and(|begun| now.saturating_sub(begun) < ABANDONED) {
            return KeySetStep::Wait;
        }
        if self.ended.is_none_or(|ended| now.saturating_sub(ended) >= PAUSE) {
            return KeySetStep::Fetch;
        }
        // A set fetched while a caller waited is recent enough to prove that a key does not exist.
        let time = |fetched: u64| if fetched >= since { now } else { fetched };
        KeySetStep::Use(self.latest.as_ref().map(|(fetched, text)| (time(*fetched), text.clone())))
    }

    /// Records the start of a fetch.
    pub fn begin(&mut self, now: u64) {
        self.begun = Some(now);
    }

    /// Records the end of a fetch, with its text or `None`. An invalid key set does not replace a valid one.
    pub fn end(&mut self, now: u64, fetched: Option<Fetched>) {
        self.begun = None;
        // A cached response counts from the time of its original fetch.
        self.ended = Some(fetched.as_ref().map_or(now, |(fetched, _)| *fetched));
        self.latest = fetched.or(self.latest.take());
    }

    /// The key set fetched last.
    pub fn latest(&self) -> Option<&Fetched> {
        self.latest.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn set(fetched: u64) -> Option<Fetched> {
        Some((fetched, "{}".to_owned()))
    }

    #[test]
    fn one_fetches_and_the_others_wait() {
        let mut keys = SharedKeys::default();
        assert_eq!(keys.step(NOW, NOW), KeySetStep::Fetch);
        keys.begin(NOW);
        assert_eq!(keys.step(NOW + 1, NOW + 1), KeySetStep::Wait);
        keys.end(NOW + 40, set(NOW + 40));
        assert_eq!(keys.step(NOW + 1, NOW + 60), KeySetStep::Use(set(NOW + 60)), "fetched for who waited");
        assert_eq!(keys.step(NOW + 50, NOW + 60), KeySetStep::Use(set(NOW + 40)), "but not for who came later");
        assert_eq!(keys.latest(), set(NOW + 40).as_ref());
    }

    #[test]
    fn a_set_serves_for_half_a_minute_from_its_fetch() {
        let mut keys = SharedKeys::default();
        keys.begin(NOW);
        keys.end(NOW, set(NOW - 10_000));
        assert_eq!(keys.step(NOW, NOW + 19_999), KeySetStep::Use(set(NOW - 10_000)));
        assert_eq!(keys.step(NOW, NOW + 20_000), KeySetStep::Fetch);
    }

    #[test]
    fn a_failure_is_shared_too_and_takes_nobody_s_place() {
        let mut keys = SharedKeys::default();
        keys.begin(NOW);
        keys.end(NOW, None);
        assert_eq!(keys.step(NOW, NOW + 29_999), KeySetStep::Use(None));
        assert_eq!(keys.step(NOW, NOW + 30_000), KeySetStep::Fetch);
        keys.end(NOW + 30_000, set(NOW + 30_000));
        keys.end(NOW + 60_000, None);
        assert_eq!(keys.step(NOW + 60_000, NOW + 60_000), KeySetStep::Use(set(NOW + 30_000)));
    }

    #[test]
    fn a_fetch_that_nobody_ends_holds_nobody_up() {
        let mut keys = SharedKeys::default();
        keys.begin(NOW);
        assert_eq!(keys.step(NOW, NOW + 5_999), KeySetStep::Wait);
        assert_eq!(keys.step(NOW, NOW + 6_000), KeySetStep::Fetch);
    }
}
