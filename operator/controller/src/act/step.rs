//! The one step.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use mainstay_core::Step;
use mainstay_crd::names::{LABEL_CLUSTER_ID, LABEL_ORDINAL, MANAGER_CLUSTER, MANAGER_STATUS, Names};
use mainstay_crd::{MySQLCluster, MySQLClusterStatus, ReplicationRecord};
use mainstay_proto::{Action, Answer, Order, Refusal};
use serde_json::{Value, json};
use tracing::info;

use super::api_error::{is_conflict, is_gone};
use crate::agents::AgentError;
use crate::context::Context;
use crate::patch::merge_patch;
use crate::telemetry::Metrics;

/// How long a report may take after an order was accepted, before the order is sent again.
const REPORT_DELAY: Duration = Duration::from_secs(10);

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The record can't be written as JSON.
    #[error("writing the record: {0}")]
    Json(#[from] serde_json::Error),
    /// The record was not written.
    #[error("writing the record: {0}")]
    Record(kube::Error),
    /// A claim was not labelled.
    #[error("labelling claim {0}: {1}")]
    Claim(String, kube::Error),
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
    /// Orders like it before it.
    repeats: u32,
}

/// An order that was carried out without success is repeated at once, and then ever less often.
fn pause(repeats: u32) -> Duration {
    match repeats {
        0 => Duration::ZERO,
        more => Duration::from_secs(1 << more.min(5)),
    }
}

/// The same again. A clone that failed is announced under another id.
fn alike(one: &Order, other: &Order) -> bool {
    let copies = |order: &Order| matches!(order.action, Action::Clone { .. });
    one == other || (copies(one) && copies(other))
}

impl Sent {
    /// Whether `order` was accepted, and nothing was heard since that it could have brought about.
    fn awaits(&self, order: &Order, changes: u64, now: Instant) -> bool {
        self.0.get(&order.pod_uid).is_some_and(|taken| {
            let since = now.duration_since(taken.at);
            let unheard = taken.order == *order && taken.changes == changes && since < REPORT_DELAY;
            unheard || (alike(&taken.order, order) && since < pause(taken.repeats))
        })
    }
    fn note(&mut self, order: &Order, changes: u64, now: Instant) {
        let before = self.0.get(&order.pod_uid).filter(|taken| alike(&taken.order, order));
        let repeats = before.map_or(0, |taken| taken.repeats + 1);
        self.0.insert(order.pod_uid.clone(), Taken { order: order.clone(), changes, at: now, repeats });
    }
    /// Forgets orders to pods that are not among `uids`.
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
    let outcome = match step {
        Step::Record { cluster_id, record, message, .. } => {
            info!(cluster = %names.cluster, namespace = names.namespace, revision = record.revision, message, "record");
            write_record(context, names, cluster, cluster_id, record).await
        }
        Step::Order { ordinal, order, message } => {
            give_order(context, names, *ordinal, order, message, sent).await
        }
        Step::LabelClaim { claim, uid, ordinal, cluster_id } => {
            let labels = json!({LABEL_CLUSTER_ID: cluster_id, LABEL_ORDINAL: ordinal.to_string()});
            label_claim(context, names, claim, uid, labels).await
        }
        Step::ReplacePod { pod, uid, message } => {
            info!(cluster = %names.cluster, namespace = names.namespace, pod, message, "pod is replaced");
            delete_pod(context, names, pod, uid).await
        }
    }?;
    Metrics::count(&context.metrics.steps, step.kind());
    Ok(outcome)
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
    if sent.awaits(order, changes, Instant::now()) {
        return Ok(Outcome::Told);
    }
    let (pod, action) = (names.pod(ordinal), order.action.kind());
    let answer = context.agents.order(order).await.map_err(|source| StepError::Order {
        pod: pod.clone(),
        action,
        source,
    })?;
    info!(cluster = %names.cluster, namespace = names.namespace, pod, action, revision = order.revision, message, ?answer, "order");
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

async fn label_claim(
    context: &Context,
    names: &Names,
    claim: &str,
    uid: &str,
    labels: Value,
) -> Result<Outcome, StepError> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &names.namespace);
    let patch = json!({"metadata": {"uid": uid, "labels": labels}});
    let params = PatchParams { field_manager: Some(MANAGER_CLUSTER.into()), ..PatchParams::default() };
    match api.patch_metadata(claim, &params, &Patch::Merge(patch)).await {
        Ok(_) => Ok(Outcome::Told),
        Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
        Err(error) => Err(StepError::Claim(claim.into(), error)),
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
    use mainstay_proto::Action;

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

    #[test]
    fn an_accepted_order_is_not_repeated_before_its_agent_has_reported() {
        let order = |revision| Order {
            proto: 1,
            cluster_id: "id".into(),
            pod_uid: "u".into(),
            ordinal: 0,
            epoch: 1,
            revision,
            action: Action::StandDown,
        };
        let (mut sent, now) = (Sent::default(), Instant::now());
        assert!(!sent.awaits(&order(1), 5, now));
        sent.note(&order(1), 5, now);
        assert!(sent.awaits(&order(1), 5, now));
        assert!(!sent.awaits(&order(1), 6, now), "the agent has reported");
        assert!(!sent.awaits(&order(2), 5, now), "another order");
        assert!(!sent.awaits(&order(1), 5, now + REPORT_DELAY), "no report in time");
    }

    #[test]
    fn what_fails_again_and_again_is_ordered_ever_less_often() {
        let clone = |id: &str| Order {
            proto: 1,
            cluster_id: "id".into(),
            pod_uid: "u".into(),
            ordinal: 1,
            epoch: 1,
            revision: 1,
            action: Action::Clone {
                operation: id.into(),
                donor: mainstay_proto::Endpoint { host: "h".into(), port: 1 },
                max_mib_per_second: None,
            },
        };
        let (mut sent, mut now) = (Sent::default(), Instant::now());
        let mut waited = Vec::new();
        for changes in 0..8 {
            let mut wait = Duration::ZERO;
            while sent.awaits(&clone(&changes.to_string()), changes, now + wait) {
                wait += Duration::from_secs(1);
            }
            now += wait;
            waited.push(wait.as_secs());
            sent.note(&clone(&changes.to_string()), changes, now);
        }
        assert_eq!(waited, [0, 0, 2, 4, 8, 16, 32, 32]);
    }
}
