//! A writable server becomes read-only, within a bound.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::events;
use crate::context::Session;
use crate::sql::sessions::{commits_may_wait, end_clients, waiting_for_acknowledgement};
use crate::sql::{Client, SqlError};

/// After this long, the sessions that hold up the change are ended.
const POLITE: Duration = Duration::from_secs(1);

/// What became of the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadOnly {
    /// The statement came back: no write is under way.
    pub(crate) reached: bool,
    /// SIGTERM would be safe: the server said that no commit waits for an acknowledgement. SIGTERM acknowledges to
    /// clients what waits (seen on 9.7.4), so without that certainty only SIGKILL is left (invariant I14).
    pub(crate) may_terminate: bool,
}

/// Makes the server read-only and ends its clients' sessions. The statement has a connection of its own: it waits
/// behind writes that are under way, and behind commits that wait for an acknowledgement for ever.
pub(crate) async fn make_read_only(session: &Session, bound: Duration) -> ReadOnly {
    let nothing = ReadOnly { reached: false, may_terminate: false };
    match timeout(bound + Duration::from_secs(1), attempt(session, bound)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the server could not be made read-only");
            nothing
        }
        Err(_) => {
            tracing::warn!("the server could not be made read-only in time");
            nothing
        }
    }
}

async fn attempt(session: &Session, bound: Duration) -> Result<ReadOnly, SqlError> {
    let end = Instant::now() + bound;
    let mut setter = Client::connect(&session.access).await?;
    let mut other = Client::connect(&session.access).await?;
    // Before it is read-only: an event that begins now would hold that up, or fail.
    events::stop(&mut other).await;
    let statement = setter.run_read_only();
    tokio::pin!(statement);
    let mut pause = POLITE.min(bound / 2);
    let reached = loop {
        tokio::select! {
            outcome = &mut statement => {
                outcome?;
                break true;
            }
            () = sleep(pause) => {
                if Instant::now() >= end {
                    break false;
                }
                let ended = end_clients(&mut other).await?;
                tracing::info!(ended, "clients' sessions were ended that held up the change to read-only");
                pause = Duration::from_millis(200);
            }
        }
    };
    let waiting = waiting_for_acknowledgement(&mut other).await?;
    let may_terminate = waiting == 0 && (reached || !commits_may_wait(&mut other).await?);
    if reached {
        session.run.set_writable(false);
        end_clients(&mut other).await?;
    }
    Ok(ReadOnly { reached, may_terminate })
}
