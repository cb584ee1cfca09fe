//! The key set as the requests and objects of one isolate share it: who fetches it, who waits, who gets what is there.

/// The least time between two fetches, in milliseconds: an unknown `kid` must not become a flood.
pub const PAUSE: u64 = 30_000;
/// How long a fetch may take, in milliseconds.
pub const PATIENCE: u64 = 5_000;
/// When a fetch is given up that nobody ended: the runtime drops what a request was doing once its caller has gone.
const ABANDONED: u64 = PATIENCE + 1_000;

/// A key set's text, and when it was fetched, in Unix milliseconds.
pub type Fetched = (u64, String);

/// The key set that an isolate fetched last, and the fetch that is under way.
#[derive(Default)]
pub struct SharedKeys {
    latest: Option<Fetched>,
    ended: Option<u64>,
    begun: Option<u64>,
}

/// What is to be done for someone who needs the key set.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Fetch it, having said so by [`SharedKeys::begin`], and end that by [`SharedKeys::end`].
    Fetch,
    /// Someone else is fetching it: ask again soon.
    Wait,
    /// Use what was fetched last; `None` when that failed.
    Use(Option<Fetched>),
}

impl SharedKeys {
    /// What to do now for someone who has needed the keys since `since`.
    pub fn step(&self, since: u64, now: u64) -> Step {
        if self.begun.is_some_and(|begun| now.saturating_sub(begun) < ABANDONED) {
            return Step::Wait;
        }
        if self.ended.is_none_or(|ended| now.saturating_sub(ended) >= PAUSE) {
            return Step::Fetch;
        }
        // What came while someone waited was fetched for them too, so it can tell them that a key does not exist.
        let time = |fetched: u64| if fetched >= since { now } else { fetched };
        Step::Use(self.latest.as_ref().map(|(fetched, text)| (time(*fetched), text.clone())))
    }

    /// A fetch begins.
    pub fn begin(&mut self, now: u64) {
        self.begun = Some(now);
    }

    /// A fetch has ended, with a key set or without. What is no key set takes no other's place.
    pub fn end(&mut self, now: u64, fetched: Option<Fetched>) {
        self.begun = None;
        // One from a cache counts from when it was fetched.
        self.ended = Some(fetched.as_ref().map_or(now, |(fetched, _)| *fetched));
        self.latest = fetched.or(self.latest.take());
    }

    /// What was fetched last.
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
        assert_eq!(keys.step(NOW, NOW), Step::Fetch);
        keys.begin(NOW);
        assert_eq!(keys.step(NOW + 1, NOW + 1), Step::Wait);
        keys.end(NOW + 40, set(NOW + 40));
        assert_eq!(keys.step(NOW + 1, NOW + 60), Step::Use(set(NOW + 60)), "fetched for who waited");
        assert_eq!(keys.step(NOW + 50, NOW + 60), Step::Use(set(NOW + 40)), "but not for who came later");
        assert_eq!(keys.latest(), set(NOW + 40).as_ref());
    }

    #[test]
    fn a_set_serves_for_half_a_minute_from_its_fetch() {
        let mut keys = SharedKeys::default();
        keys.begin(NOW);
        keys.end(NOW, set(NOW - 10_000));
        assert_eq!(keys.step(NOW, NOW + 19_999), Step::Use(set(NOW - 10_000)));
        assert_eq!(keys.step(NOW, NOW + 20_000), Step::Fetch);
    }

    #[test]
    fn a_failure_is_shared_too_and_takes_nobody_s_place() {
        let mut keys = SharedKeys::default();
        keys.begin(NOW);
        keys.end(NOW, None);
        assert_eq!(keys.step(NOW, NOW + 29_999), Step::Use(None));
        assert_eq!(keys.step(NOW, NOW + 30_000), Step::Fetch);
        keys.end(NOW + 30_000, set(NOW + 30_000));
        keys.end(NOW + 60_000, None);
        assert_eq!(keys.step(NOW + 60_000, NOW + 60_000), Step::Use(set(NOW + 30_000)));
    }

    #[test]
    fn a_fetch_that_nobody_ends_holds_nobody_up() {
        let mut keys = SharedKeys::default();
        keys.begin(NOW);
        assert_eq!(keys.step(NOW, NOW + 5_999), Step::Wait);
        assert_eq!(keys.step(NOW, NOW + 6_000), Step::Fetch);
    }
}
