//! What the instances' agents say: one kept stream for each pod; and orders, on a connection of their own.

mod change;
mod channel;
mod connection;
mod dial;
mod dispatch;
#[cfg(test)]
mod dispatch_tests;
mod earlier;
mod error;
mod ndjson;
mod outbox;
mod stream;
mod target;
#[cfg(test)]
mod tests;
mod trust;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use mainstay_core::{Agent, Heard};
use mainstay_proto::{Report, TaskState, Term};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use crate::telemetry::Metrics;
use crate::watch::{ClusterKey, Trigger};
pub(crate) use dial::Dialer;
pub(crate) use error::AgentError;
pub(crate) use target::Target;
pub(crate) use trust::Trust;

/// The agents of all pods.
#[derive(Clone)]
pub(crate) struct Agents(Arc<Inner>);

struct Inner {
    dialer: Dialer,
    trust: Trust,
    metrics: Arc<Metrics>,
    /// By pod UID.
    followed: Mutex<HashMap<String, Followed>>,
    /// By which record orders may be sent.
    terms: Mutex<HashMap<ClusterKey, Term>>,
    /// Another leads: nobody is followed or ordered any more.
    closed: AtomicBool,
}

struct Followed {
    target: Target,
    word: Agent,
    earlier: earlier::Earlier,
    /// Rises with every change that could matter to a decision.
    changes: u64,
    retry: Arc<Notify>,
    outbox: outbox::Outbox,
    trigger: Trigger,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl Agents {
    pub(crate) fn new(dialer: Dialer, trust: Trust, metrics: Arc<Metrics>) -> Self {
        let (followed, terms) = (Mutex::default(), Mutex::default());
        Agents(Arc::new(Inner { dialer, trust, metrics, followed, terms, closed: AtomicBool::new(false) }))
    }

    /// The keys by which agents are known.
    pub(crate) fn trust(&self) -> &Trust {
        &self.0.trust
    }

    /// Opens a stream to `target`'s agent and keeps it open. If there is one already, a try that waits is made now:
    /// something about the pod has changed.
    pub(crate) fn follow(&self, target: Target, trigger: Trigger) {
        let mut followed = self.followed();
        if self.0.closed.load(Ordering::SeqCst) {
            return;
        }
        if let Some(known) = followed.get(&target.uid).filter(|known| known.target == target) {
            known.retry.notify_waiters();
            return;
        }
        let (stop, retry) = (CancellationToken::new(), Arc::new(Notify::new()));
        let entry = Followed {
            target: target.clone(),
            word: Agent::Unheard,
            earlier: earlier::Earlier::default(),
            changes: 0,
            retry: retry.clone(),
            outbox: outbox::Outbox::default(),
            trigger: trigger.clone(),
            stop: stop.clone(),
            _stop: stop.clone().drop_guard(),
        };
        followed.insert(target.uid.clone(), entry);
        let stream = stream::keep(self.clone(), target, trigger, retry);
        tokio::spawn(async move { stop.run_until_cancelled(stream).await });
    }

    /// Closes the stream to a pod's agent and forgets what it said.
    pub(crate) fn leave(&self, uid: &str) {
        self.followed().remove(uid);
    }

    /// Another leads from now on: every stream ends, and no order is sent any more.
    pub(crate) fn close(&self) {
        let mut followed = self.followed();
        self.0.closed.store(true, Ordering::SeqCst);
        followed.clear();
    }

    /// Forgets a cluster whose object is gone.
    pub(crate) fn forget(&self, cluster: &ClusterKey) {
        self.terms().remove(cluster);
        self.0.trust.forget(cluster);
    }

    /// The last word of a pod's agent.
    pub(crate) fn heard(&self, uid: &str) -> Agent {
        self.followed().get(uid).map_or(Agent::Unheard, |followed| followed.word.clone())
    }

    /// What a pod's instance held a while before `now`.
    pub(crate) fn earlier(&self, uid: &str, now: Timestamp) -> Option<Heard> {
        self.followed().get(uid)?.earlier.at(now)
    }

    /// Notes a report of an open stream; whether it could matter to a decision.
    fn note(&self, uid: &str, report: Report) -> bool {
        let mut followed = self.followed();
        let Some(entry) = followed.get_mut(uid) else { return false };
        tell_failure(&entry.target, entry.word.last(), &report);
        let heard_at = Timestamp::now();
        entry.earlier.note(&report, heard_at);
        let matters = match &entry.word {
            Agent::Live { report: last, .. } => change::matters(last, &report),
            Agent::Unheard | Agent::Broken { .. } => true,
        };
        entry.word = Agent::Live { report: Box::new(report), heard_at };
        entry.changes += u64::from(matters);
        matters
    }

    /// Notes a report that was asked for, unless the stream has brought a newer one, or has ended.
    fn note_answer(&self, uid: &str, report: Report) {
        let newer = |last: &Report| last.at > report.at;
        let last = self.followed().get(uid).map(|entry| entry.word.live().is_none_or(newer));
        if last == Some(false) {
            self.note(uid, report);
        }
    }

    /// Notes that a stream broke; whether it was open.
    fn note_broken(&self, uid: &str, error: &AgentError) -> bool {
        let mut followed = self.followed();
        let Some(entry) = followed.get_mut(uid) else { return false };
        let Agent::Live { report, .. } = &entry.word else { return false };
        let report = report.clone();
        entry.word = Agent::Broken { report, since: Timestamp::now(), error: error.to_string() };
        entry.changes += 1;
        true
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<String, Followed>> {
        // Nothing panics while it holds this lock; if something did, each entry is whole all the same.
        self.0.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Taken after [`Agents::followed`], where both are.
    fn terms(&self) -> MutexGuard<'_, HashMap<ClusterKey, Term>> {
        self.0.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs that an order failed, once.
fn tell_failure(target: &Target, before: Option<&Report>, now: &Report) {
    let failed = |report: &Report| {
        report.task.clone().and_then(|task| match task.state {
            TaskState::Failed { error } => Some((task.term, task.kind, error)),
            TaskState::Running | TaskState::Done => None,
        })
    };
    let Some((term, kind, error)) = failed(now) else { return };
    if before.and_then(failed) != Some((term, kind.clone(), error.clone())) {
        let (cluster, pod, revision) = (&target.cluster, &target.pod, term.revision);
        warn!(%cluster, pod, kind, revision, error, "an order was not carried out");
    }
}
