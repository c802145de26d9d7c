//! The kept stream of one agent's reports.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use mainstay_proto::{Report, heartbeat};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;
use tracing::{debug, info, warn};

use super::dial::Io;
use super::ndjson::Lines;
use super::{AgentError, Agents, Target, channel};
use crate::backoff::Backoff;
use crate::telemetry::Metrics;
use crate::watch::Trigger;

/// How often an agent is to say something. It may say that it does so at another interval.
const HEARTBEAT: Duration = heartbeat::DEFAULT;
/// A stream in which so many heartbeats are missing is broken.
const MISSING: u32 = 3;
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
    let silence = MISSING * lines.heartbeat;
    let mut progress = Instant::now();
    loop {
        let line = in_time(silence, lines.next()).await?;
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
    in_time(MISSING * HEARTBEAT, Lines::ask(stream, &target.host(), &heartbeat::ask(HEARTBEAT))).await
}

async fn in_time<T>(
    bound: Duration,
    what: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, AgentError> {
    timeout(bound, what).await.map_err(|_| AgentError::Silent(bound.as_secs()))?
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
