//! How long to wait after errors.

use std::time::Duration;

use rand::RngExt;

/// Waits that double from `first` to `most`, each shortened at random by up to a quarter, so that many that failed
/// together do not come back together.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Backoff { first, most, failures: 0 }
    }

    /// For an object whose reconciliation failed.
    pub(crate) fn for_objects() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(300))
    }

    /// For the connection to an agent.
    pub(crate) fn for_streams() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(5))
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let factor = 2u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        jittered(self.first.saturating_mul(factor).min(self.most))
    }

    /// It worked: the next wait is the first again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `wait`, shortened at random by up to a quarter.
pub(crate) fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.75..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_start_over_after_success() {
        let mut backoff = Backoff::for_objects();
        let waits: Vec<f64> = (0..40).map(|_| backoff.next().as_secs_f64()).collect();
        for (i, wait) in waits.iter().enumerate() {
            let full = 2f64.powi(i as i32).min(300.0);
            assert!(*wait >= full * 0.75 && *wait <= full, "{i}: {wait}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_secs(1));
    }
}
