//! The one step.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use mainstay_core::Step;
use mainstay_crd::names::{MANAGER_STATUS, Names};
use mainstay_crd::{MySQLCluster, MySQLClusterStatus, ReplicationRecord};
use mainstay_proto::{Action, Answer, Order, Refusal};
use serde_json::{Value, json};
use tracing::info;

use super::api_error::{is_conflict, is_gone};
use super::aside::Keeper;
use super::claims::Subject;
use super::deletion;
use super::storage;
use crate::agents::AgentError;
use crate::context::Context;
use crate::patch::merge_patch;
use crate::telemetry::Metrics;
use crate::watch::ClusterKey;

/// How long a report may take after an order was accepted, before the order is sent again.
const REPORT_DELAY: Duration = Duration::from_secs(10);
/// The first wait before an order that was carried out in vain is given again; each is twice the one before.
const FIRST_REPEAT: Duration = Duration::from_secs(2);
/// The longest such wait.
const LAST_REPEAT: Duration = Duration::from_secs(60);
/// An order that was not given for this long is a new one.
const FORGET: Duration = Duration::from_secs(300);

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The record can't be written as JSON.
    #[error("writing JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The record was not written.
    #[error("writing the record: {0}")]
    Record(kube::Error),
    /// A claim was not labelled or deleted.
    #[error("claim {0}: {1}")]
    Claim(String, kube::Error),
    /// Finalizers were not set.
    #[error("finalizers: {0}")]
    Finalizers(kube::Error),
    /// The StatefulSet was not deleted.
    #[error("deleting StatefulSet {0}: {1}")]
    StatefulSet(String, kube::Error),
    /// A volume was not kept.
    #[error("volume {0}: {1}")]
    Volume(String, kube::Error),
    /// There is no such API here.
    #[error(
        "claim {0} is kept: its policy is to take a VolumeSnapshot first, but this Kubernetes cluster has no \
         snapshot.storage.k8s.io/v1 API. Install it, or change spec.storage.retention"
    )]
    NoSnapshotApi(String),
    /// The API server did not make or show a snapshot.
    #[error("claim {0} is kept, since its VolumeSnapshot was not taken: {1}")]
    SnapshotApi(String, kube::Error),
    /// A snapshot failed.
    #[error("claim {0} is kept, since its VolumeSnapshot was not taken: {1}")]
    Snapshot(String, String),
    /// Something was not done to a volume, or for one.
    #[error("{0} {1}: {2}")]
    Storage(&'static str, String, kube::Error),
    /// A pod was not deleted.
    #[error("deleting pod {0}: {1}")]
    Pod(String, kube::Error),
    /// An order was not taken.
    #[error("ordering {pod} to {action}: {source}")]
    Order {
        /// The pod.
        pod: String,
        /// The order's kind.
        action: &'static str,
        /// The error.
        source: AgentError,
    },
}

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// There was none, or what it does will be told by a watch or by an agent.
    Told,
    /// It is to be done later.
    Later(Duration),
    /// The record was written; the next step follows from it.
    Recorded(Box<MySQLCluster>),
    /// What it was decided on is no longer so.
    Outdated,
}

/// Orders that were accepted, by pod UID.
#[derive(Debug, Default)]
pub(crate) struct Sent(HashMap<String, Taken>);

#[derive(Debug)]
struct Taken {
    order: Order,
    /// Changes that the agent had reported by then.
    changes: u64,
    at: Instant,
    /// How long to wait before it is sent once more, should the plan still ask for it.
    patience: Duration,
}

/// The same again. A clone that failed is announced under another id.
fn alike(one: &Order, other: &Order) -> bool {
    let copies = |order: &Order| matches!(order.action, Action::Clone { .. } | Action::Receive { .. });
    one == other || (copies(one) && copies(other))
}

impl Sent {
    /// How long not to send `order`, if it was accepted before: until the agent has had time to report, and longer
    /// each time that the same order did not bring about what it was given for.
    fn wait(&self, order: &Order, changes: u64, now: Instant) -> Option<Duration> {
        let taken = self.0.get(&order.pod_uid).filter(|taken| alike(&taken.order, order))?;
        let unheard = taken.order == *order && taken.changes == changes;
        let patience = if unheard { REPORT_DELAY.max(taken.patience) } else { taken.patience };
        patience.checked_sub(now.duration_since(taken.at)).filter(|left| !left.is_zero())
    }

    fn note(&mut self, order: &Order, changes: u64, now: Instant) {
        let again = self.0.get(&order.pod_uid).filter(|taken| alike(&taken.order, order));
        let again = again.filter(|taken| now.duration_since(taken.at) < taken.patience + FORGET);
        let patience = again.map_or(Duration::ZERO, |t| (t.patience * 2).clamp(FIRST_REPEAT, LAST_REPEAT));
        let taken = Taken { order: order.clone(), changes, at: now, patience };
        self.0.insert(order.pod_uid.clone(), taken);
    }

    /// Forgets orders to pods that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.0.retain(|uid, _| is_there(uid));
    }
}

/// Carries out `step` of a plan that was made from `cluster`.
///
/// # Errors
/// If it was not carried out, and that is not because it is outdated.
pub(crate) async fn carry_out(
    context: &Context,
    names: &Names,
    cluster: &MySQLCluster,
    step: &Step,
    sent: &mut Sent,
) -> Result<Outcome, StepError> {
    let outcome = dispatch(context, names, cluster, step, sent).await?;
    if !matches!(outcome, Outcome::Later(_)) {
        Metrics::count(&context.metrics.steps, step.kind());
    }
    Ok(outcome)
}

async fn dispatch(
    context: &Context,
    names: &Names,
    cluster: &MySQLCluster,
    step: &Step,
    sent: &mut Sent,
) -> Result<Outcome, StepError> {
    match step {
        Step::Record { cluster_id, record, message, .. } => {
            info!(cluster = %key(names), revision = record.revision, why = message, "record");
            write_record(context, names, cluster, cluster_id, record).await
        }
        Step::Order { ordinal, order, message } => {
            give_order(context, names, *ordinal, order, message, sent).await
        }
        Step::LabelClaim { claim, uid, ordinal, cluster_id } => {
            Subject { context, names, claim, uid, ordinal: *ordinal }.label(cluster_id).await
        }
        Step::NoteClaim { claim, uid, ordinal, cluster_id, note } => {
            Subject { context, names, claim, uid, ordinal: *ordinal }.note(cluster_id, note.as_ref()).await
        }
        Step::SnapshotClaim { claim, uid, snapshot, ordinal, cluster_id } => {
            let subject = Subject { context, names, claim, uid, ordinal: *ordinal };
            subject.snapshot(snapshot, cluster_id).await
        }
        Step::DeleteClaim { claim, uid, resource_version, ordinal, message } => {
            info!(cluster = %key(names), claim, why = message, "claim to be deleted");
            let subject = Subject { context, names, claim, uid, ordinal: *ordinal };
            subject.delete_unused(cluster, resource_version).await
        }
        Step::SetFinalizers { finalizers } => {
            info!(cluster = %key(names), ?finalizers, "finalizers");
            deletion::set_finalizers(context, names, cluster, finalizers).await
        }
        Step::DeleteStatefulSet { name } => {
            info!(cluster = %key(names), "the cluster is torn down, as spec.storage.retention says");
            deletion::delete_stateful_set(context, names, cluster, name).await
        }
        Step::DropClaim { claim, uid, resource_version } => {
            info!(cluster = %key(names), claim, "claim deleted with its cluster");
            deletion::drop_claim(context, names, cluster, claim, uid, resource_version).await
        }
        Step::KeepVolume { aside, ordinal, cluster_id, former_policy } => {
            Keeper { context, names, aside }.keep(*ordinal, cluster_id, former_policy.as_deref()).await
        }
        Step::ReleaseClaim { aside, claim } => {
            info!(cluster = %key(names), claim, volume = aside.volume, kept_as = aside.claim, "claim released");
            Keeper { context, names, aside }.release(claim).await
        }
        Step::ReserveVolume { aside } => Keeper { context, names, aside }.reserve().await,
        Step::CreateAsideClaim { aside, ordinal, cluster_id, class, capacity, access_modes } => {
            let keeper = Keeper { context, names, aside };
            keeper.claim(*ordinal, cluster_id, class.as_deref(), *capacity, access_modes).await
        }
        Step::Storage { step, message } => {
            info!(cluster = %key(names), step = step.kind(), why = message, "storage");
            storage::carry_out(context, names, step).await
        }
        Step::ReplacePod { pod, uid, message } => {
            info!(cluster = %key(names), pod, why = message, "pod replaced");
            delete_pod(context, names, pod, uid).await
        }
    }
}

fn key(names: &Names) -> ClusterKey {
    ClusterKey::named(&names.namespace, &names.cluster)
}

/// Whoever changed the object since it was read may have changed what the record hangs on: then it is not written.
async fn write_record(
    context: &Context,
    names: &Names,
    cluster: &MySQLCluster,
    cluster_id: &str,
    record: &ReplicationRecord,
) -> Result<Outcome, StepError> {
    let api: Api<MySQLCluster> = Api::namespaced(context.client.clone(), &names.namespace);
    let patch = json!({
        "metadata": {"uid": cluster.uid(), "resourceVersion": cluster.resource_version()},
        "status": record_patch(&cluster.status.clone().unwrap_or_default(), cluster_id, record)?,
    });
    let params = PatchParams { field_manager: Some(MANAGER_STATUS.into()), ..PatchParams::default() };
    match api.patch_status(&names.cluster, &params, &Patch::Merge(patch)).await {
        Ok(written) => {
            Metrics::count(&context.metrics.writes, "Record");
            Ok(Outcome::Recorded(Box::new(written)))
        }
        Err(error) if is_conflict(&error) => Ok(Outcome::Outdated),
        Err(error) => Err(StepError::Record(error)),
    }
}

/// Of the status, cluster id and record alone.
fn record_patch(
    before: &MySQLClusterStatus,
    cluster_id: &str,
    record: &ReplicationRecord,
) -> Result<Value, serde_json::Error> {
    let after = MySQLClusterStatus {
        cluster_id: Some(cluster_id.into()),
        replication: Some(record.clone()),
        ..before.clone()
    };
    merge_patch(before, &after)
}

async fn give_order(
    context: &Context,
    names: &Names,
    ordinal: u32,
    order: &Order,
    message: &str,
    sent: &mut Sent,
) -> Result<Outcome, StepError> {
    let (_, changes) = context.agents.heard(&order.pod_uid);
    if let Some(wait) = sent.wait(order, changes, Instant::now()) {
        return Ok(Outcome::Later(wait));
    }
    let (pod, action) = (names.pod(ordinal), order.action.kind());
    let answer = context.agents.order(order).await.map_err(|source| StepError::Order {
        pod: pod.clone(),
        action,
        source,
    })?;
    info!(cluster = %key(names), pod, action, revision = order.revision, why = message, ?answer, "order");
    match answer {
        Answer::Accepted => {
            sent.note(order, changes, Instant::now());
            Ok(Outcome::Told)
        }
        // These pass by themselves: the reports will say when.
        Answer::Refused { reason: Refusal::Busy | Refusal::NoServer, .. } => Ok(Outcome::Told),
        // The pod or the record is not what the plan took it for.
        Answer::Refused { reason: Refusal::NotMe | Refusal::Outdated, .. } => Ok(Outcome::Outdated),
        Answer::Refused { reason, message } => {
            Err(StepError::Order { pod, action, source: AgentError::Refused { reason, message } })
        }
    }
}

async fn delete_pod(context: &Context, names: &Names, pod: &str, uid: &str) -> Result<Outcome, StepError> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &names.namespace);
    let params = DeleteParams::default()
        .preconditions(Preconditions { uid: Some(uid.into()), resource_version: None });
    match api.delete(pod, &params).await {
        Ok(_) => Ok(Outcome::Told),
        Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
        Err(error) => Err(StepError::Pod(pod.into(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_crd::{Operation, OperationKind};

    #[test]
    fn a_record_replaces_the_one_before_and_nothing_else() {
        let before = MySQLClusterStatus {
            ready_replicas: 2,
            replication: Some(ReplicationRecord {
                revision: 4,
                target: Some(1),
                operations: vec![Operation {
                    id: "o".into(),
                    kind: OperationKind::Initialize,
                    ordinal: 0,
                    donor: None,
                    revision: 4,
                    failures: 0,
                    not_before: None,
                    aside: None,
                    claim_uid: None,
                }],
                ..ReplicationRecord::default()
            }),
            ..MySQLClusterStatus::default()
        };
        let record = ReplicationRecord { revision: 5, primary: Some(0), ..ReplicationRecord::default() };
        let patch = record_patch(&before, "id", &record).unwrap();
        let replication = json!({"revision": 5, "primary": 0, "target": null, "operations": null});
        assert_eq!(patch, json!({"clusterId": "id", "replication": replication}));
    }

    fn order(revision: u64) -> Order {
        Order {
            proto: 1,
            cluster_id: "id".into(),
            pod_uid: "u".into(),
            ordinal: 0,
            epoch: 1,
            revision,
            action: Action::StandDown,
            disabled_events: None,
        }
    }

    #[test]
    fn an_accepted_order_is_not_repeated_before_its_agent_has_reported() {
        let (mut sent, now) = (Sent::default(), Instant::now());
        assert_eq!(sent.wait(&order(1), 5, now), None);
        sent.note(&order(1), 5, now);
        assert_eq!(sent.wait(&order(1), 5, now), Some(REPORT_DELAY));
        assert_eq!(sent.wait(&order(1), 6, now), None, "the agent has reported");
        assert_eq!(sent.wait(&order(2), 5, now), None, "another order");
        assert_eq!(sent.wait(&order(1), 5, now + REPORT_DELAY), None, "no report in time");
    }

    fn clone(operation: u64) -> Order {
        let donor = mainstay_proto::Endpoint { host: "h".into(), port: 1 };
        let action = Action::Clone { operation: operation.to_string(), donor, max_mib_per_second: None };
        Order { action, ..order(1) }
    }

    #[test]
    fn an_order_that_is_carried_out_in_vain_is_repeated_ever_more_slowly() {
        let (mut sent, mut now) = (Sent::default(), Instant::now());
        let mut waits = Vec::new();
        for changes in 0..8 {
            sent.note(&clone(changes), changes, now);
            let wait = sent.wait(&clone(changes + 1), changes + 1, now).unwrap_or_default();
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [0, 2, 4, 8, 16, 32, 60, 60]);
        sent.note(&order(2), 9, now);
        assert_eq!(sent.wait(&order(2), 10, now), None, "another order starts over");
    }
}
