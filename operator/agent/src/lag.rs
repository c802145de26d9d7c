//! How far behind a replica is while it has no source to compare with.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mainstay_proto::Channel;

/// The lag as it was last known, and when.
#[derive(Debug, Default)]
pub(crate) struct Lag(Mutex<Option<(u64, Instant)>>);

impl Lag {
    /// `channel` as it was seen at `now`; while its receiver looks for its source, with the lag that it had when it
    /// lost it and the time since.
    pub(crate) fn since(&self, mut channel: Channel, now: Instant) -> Channel {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if channel.receiver_running {
            *last = channel.lag_seconds.map(|lag| (lag, now));
        } else if channel.receiver_connecting {
            // Without a source, MySQL calls a replica that has applied all it received 0 s behind, or NULL.
            channel.lag_seconds = last.map(|(lag, at)| lag + now.duration_since(at).as_secs());
        } else {
            *last = None;
        }
        channel
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn channel(running: bool, connecting: bool, lag_seconds: Option<u64>) -> Channel {
        Channel {
            receiver_running: running,
            receiver_connecting: connecting,
            lag_seconds,
            ..Channel::default()
        }
    }

    #[test]
    fn the_lag_grows_while_the_source_is_away() {
        let (lag, start) = (Lag::default(), Instant::now());
        let seen = |running, connecting, told, after| {
            lag.since(channel(running, connecting, told), start + Duration::from_secs(after)).lag_seconds
        };
        assert_eq!(seen(false, true, None, 0), None, "it never had its source");
        assert_eq!(seen(true, false, Some(3), 1), Some(3));
        assert_eq!(seen(false, true, None, 11), Some(13));
        assert_eq!(seen(false, true, Some(0), 31), Some(33));
        assert_eq!(seen(true, false, Some(0), 32), Some(0), "it has caught up");
        assert_eq!(seen(false, false, None, 33), None, "it was stopped");
        assert_eq!(seen(false, true, None, 34), None);
    }
}
