//! One look at one cluster: observe, plan, act, report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use mainstay_core::{Observation, Plan, Record, Term, moments, plan};
use mainstay_crd::names::Names;
use mainstay_crd::{ClusterPhase, MySQLCluster, MySQLClusterStatus};
use tracing::{trace, warn};

use crate::act::{ActError, Outcome, act};
use crate::backoff::jittered;
use crate::context::{Context, Scope};
use crate::events::Event;
use crate::memory::{ClusterMemory, Memory};
use crate::observe::observe;
use crate::report::{ReportError, report, tell_step};
use crate::telemetry::Metrics;
use crate::watch::{ClusterKey, Guarded};

/// Should a watch ever miss something: how long that can last while something is under way.
const UNDER_WAY: Duration = Duration::from_secs(10);
/// The same while all is well: the ledger moves on once a minute, and what agents say of transactions alone calls for no
/// look. A look asks the API server for nothing, and writes nothing where nothing moved.
const SETTLED: Duration = Duration::from_secs(30);
/// The same after a plan turned out to rest on something old.
const OUTDATED: Duration = Duration::from_secs(1);

/// The same while an object stands in the way that the watches don't bring: one that is not ours.
const UNSEEN: Duration = Duration::from_secs(30);

/// Why a reconciliation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Something was not done.
    #[error(transparent)]
    Act(#[from] ActError),
    /// The status was not written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl Error {
    /// A bounded name, for metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Error::Act(error) => error.kind(),
            Error::Report(_) => "Status",
        }
    }
}

/// What looks at the clusters of one scope.
pub(crate) struct Reconciler {
    pub(crate) scope: Scope,
    pub(crate) memory: Arc<Memory>,
}

/// Brings the cluster one step closer to what its spec says.
///
/// # Errors
/// If something was not done or not reported. Waiting for something is no error.
pub(crate) async fn reconcile(object: Arc<Guarded>, by: Arc<Reconciler>) -> Result<Action, Error> {
    let (begun, scope) = (Instant::now(), &by.scope);
    scope.context.metrics.reconciles.inc();
    let Some(key) = ClusterKey::of(object.meta()) else { return Ok(Action::await_change()) };
    let memory = by.memory.of(&key);
    let mut memory = memory.lock().await;
    let outcome = match &object.0 {
        Ok(watched) => go_round(scope, &key, watched, &mut memory, begun).await,
        Err(invalid) => {
            tell_malformed(scope, &object, &invalid.error, &mut memory);
            Ok(Action::await_change())
        }
    };
    scope.context.metrics.duration.observe(begun.elapsed().as_secs_f64());
    if outcome.is_ok() {
        by.memory.succeeded(&key);
    }
    outcome
}

async fn go_round(
    scope: &Scope,
    key: &ClusterKey,
    watched: &MySQLCluster,
    memory: &mut ClusterMemory,
    begun: Instant,
) -> Result<Action, Error> {
    let context = &scope.context;
    let names = Names::new(&key.namespace, &key.name);
    let cluster = memory.newest(watched);
    let mut observed = observe(&cluster, &names, scope);
    observed.surroundings.refused = memory.act.refused.words(begun);
    memory.act.refused_change.tell(&mut observed.stateful_set);
    let seen_for = memory.first_sights.seen_for(moments::of(&observed.cluster.status), Instant::now());
    let unfit = memory.act.checked.unfit().to_vec();
    let observation = Observation { seen_for, unfit, ..observed };
    let plan = plan(&observation);
    context.agents.announce(key, term(&observation.cluster.status));
    trace!(cluster = %key, ?observation, ?plan, "planned");
    let (outcome, failure) = act(scope, &names, &cluster, &observation, &plan, &mut memory.act).await;
    if let (Some(step), None | Some(ActError::Secret(_) | ActError::Child(_))) = (&plan.step, &failure) {
        tell_step(context, &cluster, step, &outcome);
    }
    context.metrics.judged(key, &plan.instances);
    context.metrics.cloned(key, &plan.instances);
    context.metrics.show(key, memory.shown.replace(plan.phase), plan.phase);
    // What follows from the record, or goes out together with an order, comes before the status.
    if let Some(at_once) = goes_on(context, key, &outcome, memory) {
        failure.map_or(Ok(()), Err)?;
        return Ok(at_once);
    }
    if is_news(&observation, memory) {
        failure.map_or(Ok(()), Err)?;
        return Ok(Action::requeue(Duration::ZERO));
    }
    let reported =
        report(context, &cluster, &observation, &plan, failure.as_ref(), &memory.act.checked).await;
    if let Ok(Some(written)) = &reported {
        memory.written = Some(written.clone());
    }
    failure.map_or(Ok(()), Err)?;
    reported?;
    Ok(Action::requeue(pace(&plan, &outcome).min(rest(&observation))))
}

/// Something was found just now, in a Secret or by a refusal, that this plan does not know of: the next says it.
fn is_news(observation: &Observation, memory: &ClusterMemory) -> bool {
    observation.unfit != memory.act.checked.unfit()
        || memory.act.refused_change.is_news_to(observation.stateful_set.as_ref())
}

/// The next look is at once.
fn goes_on(
    context: &Context,
    key: &ClusterKey,
    outcome: &Outcome,
    memory: &mut ClusterMemory,
) -> Option<Action> {
    match outcome {
        Outcome::Recorded(written) => {
            // Nothing that the record before asked for is sent any more.
            context.agents.announce(key, term(&written.status.clone().unwrap_or_default()));
            memory.written = Some((**written).clone());
        }
        Outcome::Submitted => {}
        Outcome::Told | Outcome::Later(_) | Outcome::Outdated => return None,
    }
    Some(Action::requeue(Duration::ZERO))
}

/// The term by which orders are decided.
fn term(status: &MySQLClusterStatus) -> Term {
    Record::of(status.replication.as_ref()).term()
}

/// When the first order may be given again.
fn rest(observation: &Observation) -> Duration {
    let given = observation.instances.values().filter_map(|instance| instance.dispatched.as_ref());
    let rests = given.map(|given| given.rests).filter(|rests| rests.is_positive());
    rests.min().and_then(|rests| Duration::try_from(rests).ok()).unwrap_or(Duration::MAX)
}

/// When to look again if nothing calls before.
fn pace(plan: &Plan, outcome: &Outcome) -> Duration {
    let settled = matches!(plan.phase, ClusterPhase::Healthy) && plan.step.is_none();
    match outcome {
        Outcome::Recorded(_) | Outcome::Submitted => Duration::ZERO,
        Outcome::Outdated => OUTDATED,
        Outcome::Later(wait) => *wait,
        Outcome::Told => {
            let usual = jittered(if settled { SETTLED } else { UNDER_WAY });
            let asked = plan.look_again.and_then(|wait| Duration::try_from(wait).ok());
            asked.map_or(usual, |wait| wait.max(OUTDATED).min(usual))
        }
    }
}

/// How long to wait after an error.
pub(crate) fn after_error(object: Arc<Guarded>, error: &Error, by: Arc<Reconciler>) -> Action {
    Metrics::count(&by.scope.context.metrics.errors, error.kind());
    let Some(key) = ClusterKey::of(object.meta()) else { return Action::await_change() };
    let wait = by.memory.failed(&key);
    let unseen = matches!(error, Error::Act(error) if error.ends_unseen());
    let wait = if unseen { wait.min(UNSEEN) } else { wait };
    warn!(cluster = %key, kind = error.kind(), error = %error, wait_seconds = wait.as_secs_f64(), "reconciliation failed");
    Action::requeue(wait)
}

/// Says once of each state of an object that it can't be read.
fn tell_malformed(scope: &Scope, object: &Guarded, error: &str, memory: &mut ClusterMemory) {
    if memory.malformed == object.resource_version() {
        return;
    }
    memory.malformed = object.resource_version();
    scope.context.metrics.malformed.inc();
    warn!(cluster = object.name_any(), namespace = object.namespace(), error, "the object can't be read");
    let note = format!("the object can't be read: {error}");
    scope.context.events.publish(&object.object_ref(&()), Event::warning("InvalidSpec", &note));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::tests::plan;

    #[test]
    fn only_a_cluster_that_is_well_and_has_nothing_to_do_is_left_alone() {
        let mut well = plan();
        assert!(pace(&well, &Outcome::Told) > Duration::from_secs(20));
        well.phase = ClusterPhase::Degraded;
        assert!(pace(&well, &Outcome::Told) <= UNDER_WAY);
        assert_eq!(pace(&plan(), &Outcome::Outdated), OUTDATED);
    }
}
