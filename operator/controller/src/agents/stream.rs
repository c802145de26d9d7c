//! The kept stream of one agent's reports.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use mainstay_proto::{HEARTBEAT_SECONDS, PATH_WATCH, Report};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;
use tracing::{debug, info, warn};

use super::dial::Io;
use super::lines::Lines;
use super::{AgentError, Agents, Target, channel};
use crate::backoff::Backoff;
use crate::telemetry::Metrics;
use crate::watch::Trigger;

/// A stream that says nothing for this long is broken.
const SILENCE: Duration = Duration::from_secs(3 * HEARTBEAT_SECONDS);
/// How often progress alone is worth a look at the cluster.
const PROGRESS: Duration = Duration::from_secs(10);

/// Keeps a stream to `target`'s agent open until it is dropped. Notes every report, and asks for a reconciliation
/// when one could matter. `retry` cuts a wait short.
pub(crate) async fn keep(agents: Agents, target: Target, trigger: Trigger, retry: Arc<Notify>) {
    let mut backoff = Backoff::for_streams();
    loop {
        let Err(error) = follow(&agents, &target, &trigger, &mut backoff).await;
        Metrics::count(&agents.0.metrics.stream_ends, error.kind());
        if agents.note_broken(&target.uid, &error) {
            let (cluster, pod) = (&target.cluster, &target.pod);
            match &error {
                // Containers and pods come and go.
                AgentError::Ended => info!(%cluster, pod, "agent's stream ended"),
                _ => warn!(%cluster, pod, error = %error, "agent's stream broke"),
            }
            trigger.pull(&target.cluster);
        } else {
            debug!(cluster = %target.cluster, pod = target.pod, error = %error, "agent not heard");
        }
        // Over or cut short is the same.
        let _ = timeout(backoff.next(), retry.notified()).await;
    }
}

async fn follow(
    agents: &Agents,
    target: &Target,
    trigger: &Trigger,
    backoff: &mut Backoff,
) -> Result<Infallible, AgentError> {
    // In a box, which is gone once the stream is open: connecting takes more room than reading.
    let mut lines = Box::pin(begin(agents, target)).await?;
    let _open = Open::new(agents);
    let mut progress = Instant::now();
    loop {
        let line =
            timeout(SILENCE, lines.next()).await.map_err(|_| AgentError::Silent(SILENCE.as_secs()))??;
        let report: Report = serde_json::from_slice(&line)?;
        target.check(&report.identity)?;
        backoff.reset();
        let advances = report.task.as_ref().is_some_and(|task| task.progress.is_some());
        let matters = agents.note(&target.uid, report);
        if matters || (advances && progress.elapsed() >= PROGRESS) {
            progress = Instant::now();
            trigger.pull(&target.cluster);
        }
    }
}

async fn begin(agents: &Agents, target: &Target) -> Result<Lines<TlsStream<Box<dyn Io>>>, AgentError> {
    let keys = agents.0.trust.keys(&target.cluster).await?;
    let stream = channel::open(agents, target, keys.known()).await?;
    in_time(Lines::ask(stream, &target.host(), PATH_WATCH)).await
}

async fn in_time<T>(what: impl Future<Output = Result<T, AgentError>>) -> Result<T, AgentError> {
    timeout(SILENCE, what).await.map_err(|_| AgentError::Silent(SILENCE.as_secs()))?
}

/// Counts a stream while it is open.
struct Open<'a>(&'a Agents);

impl<'a> Open<'a> {
    fn new(agents: &'a Agents) -> Self {
        agents.0.metrics.streams.inc();
        Open(agents)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.0.metrics.streams.dec();
    }
}
