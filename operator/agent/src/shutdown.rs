//! How a server is stopped (invariant I14).
//!
//! SIGTERM makes MySQL acknowledge to clients what waits for a replica's acknowledgement and may be nowhere else.
//! So a server that was writable is made read-only first, within a bound; only if that came back, or nothing could
//! wait, and nothing does wait, it is asked to stop. Else it is killed: its clients then see an error, as they
//! should.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::context::Session;
use crate::mysqld::{Exit, Mysqld, ProcessError};
use crate::sql::Client;
use crate::sql::sessions::{end_clients, others};
use crate::tasks::make_read_only;

/// Most time for sessions to be ended.
const PARTING: Duration = Duration::from_secs(1);
/// Time between two looks at them.
const LOOK: Duration = Duration::from_millis(20);

/// Stops the server within `bound`. A third of it may go to becoming read-only.
pub(crate) async fn stop(
    mysqld: &mut Mysqld,
    session: Option<&Session>,
    bound: Duration,
) -> Result<Exit, ProcessError> {
    let end = Instant::now() + bound;
    let may_terminate = match session {
        Some(session) if session.run.writable() => make_read_only(session, bound / 3).await.may_terminate,
        // It has never been writable since it was started.
        _ => true,
    };
    if may_terminate {
        if let Some(session) = session {
            part(session).await;
        }
        return mysqld.stop(end.saturating_duration_since(Instant::now())).await;
    }
    tracing::warn!("commits may be waiting for an acknowledgement: mysqld is killed");
    mysqld.kill();
    mysqld.wait().await
}

/// Has the server end all sessions, and those of its replicas, now: mysqld's own shutdown waits 2 s if there is any,
/// and up to 8 s for what is not a replica's, its event scheduler too, while it has a replica (seen on 9.7.4). It stops
/// without that too, so an error is no matter.
async fn part(session: &Session) {
    let parted = async {
        let mut client = Client::connect(&session.access).await?;
        client.run_within(PARTING, "end all sessions", "SET GLOBAL offline_mode = ON", None).await?;
        // Who may administer connections is not ended by that.
        end_clients(&mut client).await?;
        while others(&mut client).await? > 0 {
            sleep(LOOK).await;
        }
        client.close().await
    };
    match timeout(PARTING, parted).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(%error, "sessions could not be ended before the server"),
        Err(_) => tracing::info!("sessions do not end before the server"),
    }
}
