//! What of a report could matter to a decision.

use jiff::Timestamp;

use crate::{Report, Server, Space};

/// Seconds of lag at which a replica is judged anew. Between two of them lag comes and goes without notice.
const LAG_STEPS: [u64; 5] = [5, 10, 30, 60, 300];

impl Report {
    /// The report with everything that moves all the time taken out; whatever is not named here counts. An agent says at
    /// once what changes this, and only that calls for a look at the cluster: an idle cluster, and a busy one that is
    /// well, cause no work at all.
    #[must_use]
    pub fn still(&self) -> Report {
        let mut still = self.clone();
        still.at = Timestamp::UNIX_EPOCH;
        if let Some(task) = &mut still.task {
            task.progress = None;
        }
        still.space = still.space.filter(|space| space.is_full()).map(|_| Space::default());
        if let Server::Running { state } = &mut still.server {
            state.read_at = None;
            // What a replica was the first to commit, it should not have.
            let own = match &state.channel {
                Some(_) => own(&state.gtid_executed, &state.server_uuid).to_owned(),
                None => String::new(),
            };
            empty(&mut state.gtid_executed);
            state.gtid_executed.push_str(&own);
            empty(&mut state.gtid_purged);
            if let Some(channel) = &mut state.channel {
                channel.read_at = None;
                empty(&mut channel.gtid_received);
                channel.lag_seconds = channel.lag_seconds.map(step);
            }
        }
        still
    }
}

/// What of a GTID set was first committed by the server with this UUID, as it was written.
fn own<'a>(gtid_set: &'a str, server_uuid: &str) -> &'a str {
    let mut parts = gtid_set.split(',');
    parts
        .find(|part| !server_uuid.is_empty() && part.trim_start().starts_with(server_uuid))
        .unwrap_or_default()
}

/// A GTID set matters as far as there is one.
fn empty(gtid_set: &mut String) {
    gtid_set.truncate(1);
    if !gtid_set.is_empty() {
        "+".clone_into(gtid_set);
    }
}

fn step(lag: u64) -> u64 {
    LAG_STEPS.iter().filter(|bound| lag > **bound).count() as u64
}
