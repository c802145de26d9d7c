//! How far a clone is, and whether its donor is still there.

use std::time::{Duration, Instant};

use mainstay_proto::{Endpoint, Progress};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::report::ReportPublisher;
use crate::sql::{Access, Client, SqlError};

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// Without a byte for this long, the donor is tried.
const STILL: Duration = Duration::from_secs(5);
/// Longest time for a connection to the donor.
const REACH: Duration = Duration::from_secs(2);
/// Attempts to reach the donor that must fail before it is given up.
const PATIENCE: u32 = 5;

/// Why a clone is given up.
pub(super) struct Trouble(pub(super) String);

/// Reports progress until it is cancelled, or until no byte comes and the donor is out of reach: the plugin itself
/// goes on trying for minutes.
pub(super) async fn watch(publisher: &ReportPublisher, access: &Access, donor: &Endpoint) -> Trouble {
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = None;
    let mut meter = Meter::default();
    let mut unreachable = 0;
    loop {
        tick.tick().await;
        match look(access, &mut client).await {
            Ok((bytes, total)) => publisher.progress(meter.read(bytes, total, Instant::now())),
            Err(error) => {
                client = None;
                tracing::debug!(%error, "the clone's progress is not known");
            }
        }
        unreachable = match meter.still(Instant::now()) {
            Some(still) if still >= STILL && !reachable(donor).await => unreachable + 1,
            _ => 0,
        };
        if unreachable >= PATIENCE {
            let Endpoint { host, port } = donor;
            return Trouble(format!("no data comes from the donor {host}:{port} and it can't be reached"));
        }
    }
}

async fn look(access: &Access, client: &mut Option<Client>) -> Result<(u64, u64), SqlError> {
    let connected = match client {
        Some(connected) => connected,
        None => client.insert(Client::connect(access).await?),
    };
    let query = "SELECT CAST(IFNULL(SUM(DATA), 0) AS UNSIGNED), CAST(IFNULL(SUM(ESTIMATE), 0) AS UNSIGNED) \
                 FROM performance_schema.clone_progress";
    connected.row("read the clone's progress", query).await
}

async fn reachable(donor: &Endpoint) -> bool {
    timeout(REACH, TcpStream::connect((donor.host.as_str(), donor.port))).await.is_ok_and(|c| c.is_ok())
}

/// Turns bytes into a rate.
#[derive(Default)]
pub(crate) struct Meter {
    last: Option<(u64, Instant)>,
    moved: Option<Instant>,
}

impl Meter {
    /// After so many bytes of so many.
    pub(crate) fn read(&mut self, bytes: u64, total: u64, now: Instant) -> Progress {
        let rate = self.last.and_then(|(before, then)| {
            let milliseconds =
                u64::try_from(now.duration_since(then).as_millis()).ok().filter(|&ms| ms > 0)?;
            Some(bytes.saturating_sub(before).saturating_mul(1000) / milliseconds)
        });
        if self.last.is_none_or(|(before, _)| before != bytes) {
            self.moved = Some(now);
        }
        self.last = Some((bytes, now));
        Progress { bytes, total_bytes: (total > 0).then_some(total), bytes_per_second: rate }
    }

    /// How long no byte has come.
    fn still(&self, now: Instant) -> Option<Duration> {
        Some(now.duration_since(self.moved?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_bytes_by_time_and_a_standstill_is_timed_from_the_last_byte() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut meter = Meter::default();
        assert_eq!(meter.read(0, 0, at(0)), Progress { bytes: 0, total_bytes: None, bytes_per_second: None });
        let second = meter.read(3000, 9000, at(2));
        assert_eq!(second, Progress { bytes: 3000, total_bytes: Some(9000), bytes_per_second: Some(1500) });
        assert_eq!(meter.read(3000, 9000, at(5)).bytes_per_second, Some(0));
        assert_eq!(meter.still(at(9)), Some(Duration::from_secs(7)));
    }
}
