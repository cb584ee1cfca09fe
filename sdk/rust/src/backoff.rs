//! When to retry.

use std::time::Duration;

use crate::error::RealtimeError;

/// How often to retry, and how long to wait between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Maximum requests, including the first.
    pub attempts: u32,
    /// The maximum wait before the second request; each further wait may be twice as long.
    pub delay: Duration,
    /// The maximum of one wait; a longer `Retry-After` ends the retries.
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
    /// `random` is between 0 and 1, so that clients that failed together do not retry together.
    pub fn wait(&self, tried: u32, error: &RealtimeError, random: f64) -> Option<Duration> {
        let asked = Duration::try_from_secs_f64(error.retry_after.unwrap_or_default()).unwrap_or(Duration::MAX);
        if !error.retryable() || tried >= self.attempts || asked > self.max_delay {
            return None;
        }
        let doubled = self.delay.saturating_mul(2_u32.saturating_pow(tried.saturating_sub(1)));
        Some(asked + doubled.min(self.max_delay).mul_f64(random.clamp(0.0, 1.0)))
    }
}
