//! The one step.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use mainstay_core::{ClaimStep, NodeStep, ObjectStep, PodStep, Record, Step};
use mainstay_crd::names::{MANAGER_STATUS, Names};
use mainstay_crd::{MySQLCluster, MySQLClusterStatus};
use mainstay_proto::Order;
use serde_json::{Value, json};
use tracing::info;

use super::claims::ClaimTarget;
use super::outcome::{Outcome, StepError};
use super::volumes::VolumeTarget;
use super::{deletion, fixed, nodes};
use crate::api::merge_patch;
use crate::api::{is_conflict, is_gone};
use crate::context::Context;
use crate::telemetry::Metrics;
use crate::watch::ClusterKey;

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
            info!(cluster = %key(names), revision = record.term().revision, why = message, "record");
            write_record(context, names, cluster, cluster_id, record).await
        }
        Step::Order { ordinal, order, message } => Ok(hand_over(context, names, *ordinal, order, message)),
        Step::AskReport { pod_uid, .. } => Ok(ask(context, pod_uid)),
        Step::Pod { pod, uid, step, message } => {
            info!(cluster = %key(names), pod, why = message, ?step, "pod taken");
            delete_pod(context, names, pod, uid, *step).await
        }
        Step::Claim { claim, uid, step, message, .. } => {
            let target = ClaimTarget { context, names, claim, uid };
            do_to_claim(&target, cluster, step, message).await
        }
        Step::Volume { volume, uid, step: change, message, .. } => {
            info!(cluster = %key(names), volume, step = step.kind(), why = message, "volume");
            VolumeTarget { context, names, volume, uid }.carry_out(change).await
        }
        Step::Node { node, uid, step: NodeStep::TaintOutOfService, message } => {
            info!(cluster = %key(names), node, why = message, "node tainted");
            nodes::taint_out_of_service(context, node, uid).await
        }
        Step::Object(ObjectStep::SetFinalizers { finalizers }) => {
            info!(cluster = %key(names), ?finalizers, "finalizers");
            deletion::set_finalizers(context, names, cluster, finalizers).await
        }
        Step::Object(ObjectStep::ReplaceStatefulSet { name, uid, message }) => {
            info!(cluster = %key(names), why = message, "StatefulSet replaced");
            fixed::replace_stateful_set(context, names, name, uid).await
        }
        Step::Object(ObjectStep::DeleteStatefulSet { name }) => {
            info!(cluster = %key(names), "the cluster is torn down, as spec.storage.retention says");
            deletion::delete_stateful_set(context, names, cluster, name).await
        }
    }
}

async fn do_to_claim(
    target: &ClaimTarget<'_>,
    cluster: &MySQLCluster,
    step: &ClaimStep,
    message: &str,
) -> Result<Outcome, StepError> {
    match step {
        ClaimStep::Label { ordinal, cluster_id } => target.label(*ordinal, cluster_id).await,
        ClaimStep::Note { ordinal, cluster_id, note } => {
            target.note(*ordinal, cluster_id, note.as_ref()).await
        }
        ClaimStep::Snapshot { ordinal, cluster_id, snapshot } => {
            target.snapshot(snapshot, *ordinal, cluster_id).await
        }
        ClaimStep::Grow { size } => {
            info!(cluster = %key(target.names), claim = target.claim, why = message, "claim grows");
            target.grow(size).await
        }
        ClaimStep::Delete { unneeded, resource_version } => {
            info!(cluster = %key(target.names), claim = target.claim, why = message, "claim to be deleted");
            target.delete_unneeded(cluster, unneeded, resource_version.as_deref()).await
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
    record: &Record,
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
    record: &Record,
) -> Result<Value, serde_json::Error> {
    let after = MySQLClusterStatus {
        cluster_id: Some(cluster_id.into()),
        replication: Some(record.clone().into()),
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

/// The answer calls for the next look.
fn ask(context: &Context, pod_uid: &str) -> Outcome {
    if context.agents.ask(pod_uid) { Outcome::Told } else { Outcome::Outdated }
}

async fn delete_pod(
    context: &Context,
    names: &Names,
    pod: &str,
    uid: &str,
    step: PodStep,
) -> Result<Outcome, StepError> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &names.namespace);
    let params = match step {
        PodStep::Replace => DeleteParams::default(),
        PodStep::ForceDelete => DeleteParams::default().grace_period(0),
    };
    let params = params.preconditions(Preconditions { uid: Some(uid.into()), resource_version: None });
    match api.delete(pod, &params).await {
        Ok(_) => Ok(Outcome::Told),
        Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
        Err(error) => Err(StepError::Pod(pod.into(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_core::Operation;
    use mainstay_crd::OperationKind;

    #[test]
    fn a_record_replaces_the_one_before_and_nothing_else() {
        let announced =
            Record::default().initialize(Operation::new("o".into(), OperationKind::Initialize, 0));
        let before = MySQLClusterStatus {
            ready_replicas: 2,
            replication: Some(announced.clone().into()),
            ..MySQLClusterStatus::default()
        };
        let record = announced.initialized(0);
        let patch = record_patch(&before, "id", &record).unwrap();
        let replication = json!({"epoch": 1, "revision": 2, "primary": 0, "operations": null});
        assert_eq!(patch, json!({"clusterId": "id", "replication": replication}));
    }
}
