//! What an instance held a while ago.

use jiff::{SignedDuration, Timestamp};
use mainstay_core::{EARLIER, Heard};
use mainstay_proto::{Report, Server};

/// Two of the sets that an agent reported: the later becomes the earlier one once it is old enough to be of use.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    settled: Option<Heard>,
    next: Option<Heard>,
}

impl Earlier {
    /// Notes what a report that arrived at `now` says.
    pub(super) fn note(&mut self, report: &Report, now: Timestamp) {
        let Server::Running { state } = &report.server else { return };
        // A clock that was set back proves nothing.
        let age = |heard: &Heard| now.duration_since(heard.at);
        if self.next.as_ref().is_some_and(|next| age(next) < SignedDuration::ZERO) {
            *self = Earlier::default();
        }
        match &self.next {
            Some(next) if age(next) < EARLIER => {}
            _ => {
                let channel = state.channel.as_ref();
                let heard = Heard {
                    at: now,
                    gtid_executed: state.gtid_executed.clone(),
                    gtid_purged: state.gtid_purged.clone(),
                    gtid_received: channel.map(|c| c.gtid_received.clone()).unwrap_or_default(),
                };
                self.settled = self.next.replace(heard);
            }
        }
    }

    /// The newest that is old enough.
    pub(super) fn at(&self, now: Timestamp) -> Option<Heard> {
        let old = |heard: &&Heard| now.duration_since(heard.at) >= EARLIER;
        self.next.as_ref().filter(old).or(self.settled.as_ref()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use mainstay_proto::ServerState;

    use super::*;
    use crate::agents::change::tests::report;

    #[test]
    fn what_is_told_was_heard_long_enough_ago_and_not_much_longer() {
        let mut earlier = Earlier::default();
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for second in (0..60).step_by(2) {
            let now = start + SignedDuration::from_secs(second);
            let mut report = report();
            let state = ServerState { gtid_executed: second.to_string(), ..ServerState::default() };
            report.server = Server::Running { state: Box::new(state) };
            earlier.note(&report, now);
            match earlier.at(now) {
                None => assert!(second < 10),
                Some(heard) => {
                    let heard: i64 = heard.gtid_executed.parse().unwrap();
                    assert!((10..=20).contains(&(second - heard)), "{second}: {heard}");
                }
            }
        }
        earlier.note(&report(), start);
        assert_eq!(earlier.at(start), None, "the clock was set back");
    }
}
