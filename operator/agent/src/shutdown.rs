//! Stopping (I14).
//!
//! A server that may have commits waiting for an acknowledgement is never sent SIGTERM: it would tell their clients
//! OK for what nobody else has. So: read-only first, within a bound; only if that came back and nobody waits,
//! SIGTERM; else SIGKILL.

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::mysqld::process::Mysqld;
use crate::server::Launcher;
use crate::sql::{Session, SqlError};
use crate::tasks::role::waiting_commits;

/// Tells when the container is to stop.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens for SIGTERM and SIGINT.
    pub(crate) fn listen() -> std::io::Result<Stop> {
        let (sender, receiver) = watch::channel(false);
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            tracing::info!("asked to stop");
            let _ = sender.send(true);
            // Kept, so that nobody takes its end for a wish.
            sender.closed().await;
        });
        Ok(Stop(receiver))
    }

    /// Returns once the container is to stop.
    pub(crate) async fn wanted(&mut self) {
        if self.0.wait_for(|wanted| *wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Stops mysqld within the grace that the kubelet gives.
pub(crate) async fn stop(launcher: &Launcher, mysqld: &mut Mysqld) {
    let bound = launcher.settings.stop_bound();
    let calm = tokio::time::timeout(bound / 3, quiet(launcher)).await;
    if matches!(calm, Ok(Ok(true))) {
        let ended = mysqld.stop(bound / 2).await;
        tracing::info!(message = ended.message, "stopped");
    } else {
        tracing::warn!("commits may be waiting for an acknowledgement: the server is killed, and recovers");
        mysqld.signal(Signal::KILL);
        mysqld.ended().await;
    }
}

/// Read-only, and nobody waits.
async fn quiet(launcher: &Launcher) -> Result<bool, SqlError> {
    let mut session: Session = launcher.session().await?;
    session.run("becoming read-only", "SET GLOBAL super_read_only=ON").await?;
    Ok(waiting_commits(&mut session).await? == 0)
}
