//! Orders on their way. Who decides waits for no agent: an order is handed over, and what comes of it is observed.
//!
//! Each pod has one connection, which is kept for a while, and one order under way. A newer order replaces one that was
//! not sent yet; and one that was decided by another record than the present one is never sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::{Dispatch, Dispatched};
use mainstay_proto::{Answer, Order, Refusal, Report, Term};
use tokio::sync::Notify;
use tokio::time::{Instant as Moment, sleep_until};
use tracing::{debug, info, warn};

use super::connection::Connection;
use super::outbox::{Due, Outbox};
use super::{AgentError, Agents, Followed, Target};
use crate::telemetry::Metrics;
use crate::watch::{ClusterKey, Trigger};

/// How long an agent may take to answer an order. It only takes it; the work shows in reports.
const ANSWER: Duration = Duration::from_secs(5);
/// How long an agent may take to report what is so now.
const LOOK: Duration = Duration::from_secs(2);
/// Time from a report that was asked for to the next question, and from one that did not come.
const PAUSE: Duration = Duration::from_millis(100);
const LONG_PAUSE: Duration = Duration::from_secs(1);
/// How long a connection is kept that nobody uses.
const KEPT: Duration = Duration::from_secs(300);

impl Agents {
    /// Notes by which record of `cluster` orders may be sent from now on: those of another are not sent any more.
    pub(crate) fn announce(&self, cluster: &ClusterKey, term: Term) {
        self.terms().insert(cluster.clone(), term);
    }

    /// Hands `order` over, and comes back at once. What comes of it is in [`Agents::dispatched`], and calls for a look at
    /// the cluster. False if the pod has no address (any more).
    pub(crate) fn submit(&self, order: &Order) -> bool {
        let mut followed = self.followed();
        let Some(entry) = followed.get_mut(&order.pod_uid) else { return false };
        entry.outbox.put(order, entry.changes, Instant::now());
        self.serve(entry);
        true
    }

    /// Has a pod's agent look at MySQL and report, and comes back at once. The answer is noted like any other report, and
    /// calls for a look at the cluster. False if the pod has no address (any more).
    pub(crate) fn ask(&self, uid: &str) -> bool {
        let mut followed = self.followed();
        let Some(entry) = followed.get_mut(uid) else { return false };
        let soonest = entry.outbox.again.unwrap_or_else(Moment::now);
        entry.outbox.question.get_or_insert(soonest);
        self.serve(entry);
        true
    }

    /// Sees to it that somebody does what is due.
    fn serve(&self, entry: &mut Followed) {
        entry.outbox.wake.notify_one();
        if std::mem::replace(&mut entry.outbox.is_served, true) {
            return;
        }
        let courier = Courier {
            agents: self.clone(),
            target: entry.target.clone(),
            trigger: entry.trigger.clone(),
            wake: entry.outbox.wake.clone(),
            kept: None,
        };
        let stop = entry.stop.child_token();
        tokio::spawn(async move { stop.run_until_cancelled(courier.run()).await });
    }

    /// The order that was handed over last for a pod, and what has come of it.
    pub(crate) fn dispatched(&self, uid: &str, now: Instant) -> Option<Dispatched> {
        let followed = self.followed();
        let entry = followed.get(uid)?;
        entry.outbox.observe(entry.word.live(), entry.changes, now)
    }
}

/// Delivers the orders of one pod.
struct Courier {
    agents: Agents,
    target: Target,
    trigger: Trigger,
    wake: Arc<Notify>,
    kept: Option<Connection>,
}

impl Courier {
    async fn run(mut self) {
        loop {
            let Some(due) = self.with(|outbox| outbox.due(Moment::now())) else { return };
            let later = match due {
                Due::Order => {
                    self.deliver().await;
                    continue;
                }
                Due::Question => {
                    self.inquire().await;
                    continue;
                }
                Due::Nothing(later) => later,
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = closed(&mut self.kept) => self.kept = None,
                () = sleep_until(later.unwrap_or_else(|| Moment::now() + KEPT)) => {
                    if later.is_none() && self.leave() {
                        return;
                    }
                }
            }
        }
    }

    async fn deliver(&mut self) {
        let reused = self.kept.is_some();
        let mut connection = match self.kept.take() {
            Some(kept) => kept,
            None => match Connection::open(&self.agents, &self.target).await {
                Ok(connection) => connection,
                Err(error) => return self.note_unsent(&error),
            },
        };
        // At the last moment: what is newer by now goes instead.
        if let Some(order) = self.take() {
            let answer = connection.order(&order, ANSWER).await;
            let broke = matches!(answer, Err(AgentError::Http(_)));
            if broke && reused {
                // It may have been closed just then. Whoever gets an order twice answers and changes nothing.
                return self.put_back(&order);
            }
            let broken = answer.is_err();
            self.note_answer(&order, answer);
            if broken {
                return;
            }
        }
        self.kept = Some(connection).filter(Connection::is_open);
    }

    /// Asks for a report. What does not come is asked for again if it is still wanted.
    async fn inquire(&mut self) {
        let reused = self.kept.is_some();
        let mut connection = match self.kept.take() {
            Some(kept) => kept,
            None => match Connection::open(&self.agents, &self.target).await {
                Ok(connection) => connection,
                Err(error) => return self.note_report(Err(error)),
            },
        };
        let report = connection.report(LOOK).await;
        if reused && matches!(report, Err(AgentError::Http(_))) {
            return;
        }
        if report.is_ok() {
            self.kept = Some(connection).filter(Connection::is_open);
        }
        self.note_report(report);
    }

    fn note_report(&self, report: Result<Report, AgentError>) {
        let known = report.and_then(|report| self.target.check(&report.identity).map(|()| report));
        let pause = if known.is_ok() { PAUSE } else { LONG_PAUSE };
        self.with(|outbox| (outbox.question, outbox.again) = (None, Some(Moment::now() + pause)));
        match known {
            Ok(report) => self.agents.note_answer(&self.target.uid, report),
            Err(error) => {
                debug!(cluster = %self.target.cluster, pod = self.target.pod, %error, "no report came");
            }
        }
        self.trigger.pull(&self.target.cluster);
    }

    /// The order to be sent now. One of another record is dropped.
    fn take(&self) -> Option<Order> {
        let mut followed = self.agents.followed();
        let entry = followed.get_mut(&self.target.uid)?;
        let given = entry.outbox.queued()?;
        let order = given.dispatched.order.clone();
        let decided_by = Term { epoch: order.epoch, revision: order.revision };
        if self.agents.terms().get(&self.target.cluster) != Some(&decided_by) {
            debug!(cluster = %self.target.cluster, pod = self.target.pod, ?decided_by, "an order is outdated");
            entry.outbox.newest = None;
            return None;
        }
        given.changes = entry.changes;
        given.becomes(Dispatch::Sent, Instant::now());
        Some(order)
    }

    fn put_back(&self, order: &Order) {
        self.with(|outbox| {
            if let Some(given) = outbox.sent(order) {
                given.becomes(Dispatch::Queued, Instant::now());
            }
        });
    }

    fn note_answer(&self, order: &Order, answer: Result<Answer, AgentError>) {
        let (cluster, pod, action) = (&self.target.cluster, &self.target.pod, order.action.kind());
        let state = match answer {
            Ok(Answer::Accepted) => Dispatch::Accepted,
            Ok(Answer::Refused { reason, message }) => Dispatch::Refused { reason, why: message },
            Err(error) => self.failed(&error),
        };
        info!(%cluster, pod, action, revision = order.revision, ?state, "order");
        if let Dispatch::Refused { reason: Refusal::WrongDirectory | Refusal::Unknown, why } = &state {
            Metrics::count(&self.agents.0.metrics.errors, "Refused");
            warn!(%cluster, pod, action, why, "an order was refused");
        }
        self.with(|outbox| {
            if let Some(given) = outbox.sent(order) {
                given.becomes(state, Instant::now());
            }
        });
        self.trigger.pull(cluster);
    }

    /// There is no connection by which the order that waits could be sent.
    fn note_unsent(&self, error: &AgentError) {
        let state = self.failed(error);
        self.with(|outbox| {
            if let Some(given) = outbox.queued() {
                given.becomes(state, Instant::now());
            }
        });
        self.trigger.pull(&self.target.cluster);
    }

    fn failed(&self, error: &AgentError) -> Dispatch {
        Metrics::count(&self.agents.0.metrics.errors, error.kind());
        warn!(cluster = %self.target.cluster, pod = self.target.pod, %error, "an order was not answered");
        Dispatch::Failed { why: error.to_string() }
    }

    /// Whether nobody wants anything: then the next order has another deliver it.
    fn leave(&self) -> bool {
        self.with(|outbox| {
            let idle = matches!(outbox.due(Moment::now()), Due::Nothing(None));
            outbox.is_served = !idle;
            idle
        })
        .unwrap_or(true)
    }

    fn with<T>(&self, what: impl FnOnce(&mut Outbox) -> T) -> Option<T> {
        Some(what(&mut self.agents.followed().get_mut(&self.target.uid)?.outbox))
    }
}

async fn closed(kept: &mut Option<Connection>) {
    match kept {
        Some(connection) => connection.closed().await,
        None => std::future::pending().await,
    }
}
