//! The kept stream of one agent's reports.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use mainstay_proto::{HEARTBEAT_SECONDS, PATH_WATCH, Report};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::{AgentError, Agents, Target, channel};
use crate::backoff::Backoff;
use crate::telemetry::Metrics;
use crate::watch::Trigger;

/// A stream that says nothing for this long is broken.
const SILENCE: Duration = Duration::from_secs(3 * HEARTBEAT_SECONDS);
/// How long connecting may take until the answer begins.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest report: GTID sets of very old clusters have been seen with hundreds of kilobytes.
const LONGEST: usize = 8 << 20;
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
            warn!(cluster = %target.cluster, pod = target.pod, error = %error, "agent's stream broke");
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
) -> Result<std::convert::Infallible, AgentError> {
    let (response, connection) = timeout(CONNECT, begin(agents, target))
        .await
        .map_err(|_| AgentError::Silent(CONNECT.as_secs()))??;
    let _open = Open::new(agents);
    tokio::select! {
        ended = connection => Err(ended.map_or_else(AgentError::from, |()| AgentError::Ended)),
        broken = read(agents, target, trigger, backoff, response) => broken,
    }
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

async fn begin(
    agents: &Agents,
    target: &Target,
) -> Result<(Response<Incoming>, impl Future<Output = Result<(), hyper::Error>>), AgentError> {
    let (mut sender, connection) = channel::open(agents, target).await?;
    let mut connection = Box::pin(connection);
    let request = Request::get(PATH_WATCH)
        .header(hyper::header::HOST, target.host())
        .body(Full::<Bytes>::default())
        .map_err(|error| AgentError::Dial(error.to_string()))?;
    let response = tokio::select! {
        response = sender.send_request(request) => response?,
        ended = &mut connection => return Err(ended.map_or_else(AgentError::from, |()| AgentError::Ended)),
    };
    match response.status() {
        hyper::StatusCode::OK => Ok((response, connection)),
        other => Err(AgentError::Status(other.as_u16())),
    }
}

async fn read(
    agents: &Agents,
    target: &Target,
    trigger: &Trigger,
    backoff: &mut Backoff,
    response: Response<Incoming>,
) -> Result<std::convert::Infallible, AgentError> {
    let mut lines = Lines { body: response.into_body(), rest: Vec::new() };
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

/// The lines of a body.
struct Lines {
    body: Incoming,
    rest: Vec<u8>,
}

impl Lines {
    /// The next line that is not empty.
    ///
    /// # Errors
    /// If the body ends or breaks, or the line is too long.
    async fn next(&mut self) -> Result<Vec<u8>, AgentError> {
        let mut looked_at = 0;
        loop {
            if let Some(end) = self.rest[looked_at..].iter().position(|byte| *byte == b'\n') {
                let rest = self.rest.split_off(looked_at + end + 1);
                let mut line = std::mem::replace(&mut self.rest, rest);
                line.pop();
                looked_at = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(line);
            }
            looked_at = self.rest.len();
            if looked_at > LONGEST {
                return Err(AgentError::TooLong(LONGEST));
            }
            let frame = self.body.frame().await.ok_or(AgentError::Ended)??;
            if let Some(data) = frame.data_ref() {
                self.rest.extend_from_slice(data);
            }
        }
    }
}
