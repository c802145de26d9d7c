//! How a server is stopped (invariant I14).
//!
//! SIGTERM makes MySQL acknowledge to clients what waits for a replica's acknowledgement and may be nowhere else.
//! So a server that was writable is made read-only first, within a bound; only if that came back, or nothing could
//! wait, and nothing does wait, it is asked to stop. Else it is killed: its clients then see an error, as they
//! should.

use std::time::Duration;

use tokio::time::Instant;

use crate::context::Session;
use crate::mysqld::{Exit, Mysqld, ProcessError};
use crate::tasks::make_read_only;

/// Stops the server within `bound`. A third of it may go to becoming read-only.
pub(crate) async fn stop(
    mysqld: &mut Mysqld,
    session: Option<&Session>,
    bound: Duration,
) -> Result<Exit, ProcessError> {
    let end = Instant::now() + bound;
    let may_terminate = match session {
        Some(session) if session.live.writable() => make_read_only(session, bound / 3).await.may_terminate(),
        // It has never been writable since it was started.
        _ => true,
    };
    if may_terminate {
        return mysqld.stop(end.saturating_duration_since(Instant::now())).await;
    }
    tracing::warn!("commits may be waiting for an acknowledgement: mysqld is killed");
    mysqld.kill();
    mysqld.wait().await
}
