//! When to try again.

use std::time::Duration;

use crate::error::RealtimeError;

/// How often to try, and how long to wait in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Requests at most, the first among them.
    pub attempts: u32,
    /// The wait before the second request, at most; each further one may be twice as long.
    pub delay: Duration,
    /// One wait at most; a longer `Retry-After` ends the trying.
    pub max_delay: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { attempts: 4, delay: Duration::from_millis(200), max_delay: Duration::from_secs(5) }
    }
}

impl Backoff {
    /// How long to wait after `tried` requests, the last of which ended in `error`; `None`: give up.
    ///
    /// `random` is from 0 to 1, so that those who failed together do not come back together.
    pub fn wait(&self, tried: u32, error: &RealtimeError, random: f64) -> Option<Duration> {
        let asked = Duration::try_from_secs_f64(error.retry_after.unwrap_or_default()).unwrap_or(Duration::MAX);
        if !error.retryable() || tried >= self.attempts || asked > self.max_delay {
            return None;
        }
        let doubled = self.delay.saturating_mul(2_u32.saturating_pow(tried.saturating_sub(1)));
        Some(asked + doubled.min(self.max_delay).mul_f64(random.clamp(0.0, 1.0)))
    }
}
