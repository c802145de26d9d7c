//! The one step.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use mainstay_core::Step;
use mainstay_crd::names::{MANAGER_STATUS, Names};
use mainstay_crd::{MySQLCluster, MySQLClusterStatus, ReplicationRecord};
use mainstay_proto::Order;
use serde_json::{Value, json};
use tracing::info;

use super::api_error::{is_conflict, is_gone};
use super::aside::Keeper;
use super::claims::Subject;
use super::deletion;
use super::storage;
use crate::context::Context;
use crate::patch::merge_patch;
use crate::telemetry::Metrics;
use crate::watch::ClusterKey;

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
}

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// There was none, or what it does will be told by a watch or by an agent.
    Told,
    /// It is to be done later.
    Later(Duration),
    /// An order is on its way; what else is to be done does not wait for it.
    Submitted,
    /// The record was written; the next step follows from it.
    Recorded(Box<MySQLCluster>),
    /// What it was decided on is no longer so.
    Outdated,
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
) -> Result<Outcome, StepError> {
    let outcome = dispatch(context, names, cluster, step).await?;
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
) -> Result<Outcome, StepError> {
    match step {
        Step::Record { cluster_id, record, message, .. } => {
            info!(cluster = %key(names), revision = record.revision, why = message, "record");
            write_record(context, names, cluster, cluster_id, record).await
        }
        Step::Order { ordinal, order, message } => Ok(hand_over(context, names, *ordinal, order, message)),
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

/// Hands an order over. Its agent is not waited for: what comes of it is observed.
fn hand_over(context: &Context, names: &Names, ordinal: u32, order: &Order, why: &str) -> Outcome {
    if !context.agents.submit(order) {
        return Outcome::Outdated;
    }
    let (pod, action) = (names.pod(ordinal), order.action.kind());
    info!(cluster = %key(names), pod, action, revision = order.revision, why, "order handed over");
    Outcome::Submitted
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
}
