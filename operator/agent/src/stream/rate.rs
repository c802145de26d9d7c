//! A bound on bytes a second: a token bucket that is paid afterwards.

use std::time::Duration;

use tokio::time::Instant;

/// How far a rate may be exceeded for a moment: what it lets through in this time.
const BURST: Duration = Duration::from_millis(100);

/// Lets so many bytes a second pass.
#[derive(Debug)]
pub(crate) struct Bucket {
    bytes_per_second: f64,
    /// Until then, what has passed is paid for.
    paid_until: Instant,
}

impl Bucket {
    /// For a rate in MiB a second; at least one.
    pub(crate) fn new(mib_per_second: u64, now: Instant) -> Self {
        let mib = u32::try_from(mib_per_second.max(1)).unwrap_or(u32::MAX);
        Bucket { bytes_per_second: f64::from(mib) * 1_048_576.0, paid_until: now }
    }

    /// Until when to wait after these bytes have passed.
    pub(crate) fn pass(&mut self, bytes: usize, now: Instant) -> Instant {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let cost = Duration::from_secs_f64(f64::from(bytes) / self.bytes_per_second);
        // What was not used is not saved up beyond the burst.
        let from = self.paid_until.max(now.checked_sub(BURST).unwrap_or(now));
        self.paid_until = from + cost;
        self.paid_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = 128 * 1024;

    #[test]
    fn over_any_time_no_more_passes_than_the_rate_and_one_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(8, start);
        let mut now = start;
        let mut passed = 0_u32;
        while now.duration_since(start) < Duration::from_secs(10) {
            now = now.max(bucket.pass(CHUNK, now));
            passed += 1;
        }
        let mib = f64::from(passed) / 8.0;
        assert!((78.0..=82.0).contains(&mib), "{mib} MiB in 10 s at 8 MiB/s");
    }

    #[test]
    fn a_pause_is_not_saved_up() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1, start);
        let later = start + Duration::from_secs(60);
        let free = (0..20).take_while(|_| bucket.pass(CHUNK, later) <= later).count();
        assert_eq!(free, 0, "a tenth of a second is less than one chunk at 1 MiB/s");
    }
}
