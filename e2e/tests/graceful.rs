//! The primary's pod is told to end: a replica takes over first.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use mainstay_crd::{MySQLClusterStatus, SwitchoverReason};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::told::is_healthy;
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{note, wait};
use serde_json::json;

/// Without a hand-over a new pod must come up first, which takes longer than this.
const GAP: Duration = Duration::from_secs(5);

/// Importance 1: `kubectl delete pod` of the primary loses nothing acknowledged, and clients write on with a replica.
#[tokio::test]
async fn graceful_deletion() -> Result<(), Failed> {
    scope::run("graceful", wait::LONG * 3, async |scope| {
        let database = scope.database("kind");
        database.start(3).await?;
        let writer = Writer::start(&database, "kind", Duration::from_millis(5)).await?;
        for round in 1..=2 {
            let (first, before) = (database.primary().await?, epoch(&database.status().await?));
            let pod = database.pod(first).await?;
            scope.api::<Pod>().delete(&pod.name_any(), &DeleteParams::default()).await?;
            database.until("another to lead", wait::LONG, |status| epoch(status) > before).await?;
            let reason = database.status().await?.replication.and_then(|r| r.switchover).map(|s| s.reason);
            ensure!(reason == Some(SwitchoverReason::PodEnding), "a switchover for {reason:?}");
            database.replaced(first, &pod.uid().unwrap_or_default(), wait::LONG).await?;
            let status = database.healthy(3, wait::LONG).await?.status.unwrap_or_default();
            ensure!(status.primary != Some(pod.name_any()), "it came back as the primary");
            writer.acknowledged(50).await?;
            note!("round {round}: {} was deleted, {:?} leads", pod.name_any(), status.primary);
        }
        let (gap, _) = writer.verify().await?.gap();
        note!("longest time without a write: {:.3} s", gap.as_secs_f64());
        ensure!(gap < GAP, "clients could not write for {gap:?}: nobody took over before the server ended");
        Ok(())
    })
    .await
}

/// Importance 2: the taint of an autoscaler asks for a hand-over as a cordon does, and the eviction is then allowed.
#[tokio::test]
async fn drain_by_taint() -> Result<(), Failed> {
    scope::run("drain_taint", wait::LONG * 3, async |scope| {
        let database = scope.database("scaled");
        database.start(2).await?;
        let writer = Writer::start(&database, "scaled", Duration::from_millis(5)).await?;
        let first = database.primary().await?;
        let (pod, node) = (database.names.pod(first), database.node(first).await?);
        let nodes: Api<Node> = Api::all(scope.client());
        taint(&nodes, &node, true).await?;
        let moved = database
            .until("the other to lead", wait::LONG, |status| {
                status.primary.as_ref().is_some_and(|primary| *primary != pod) && is_healthy(status, 2)
            })
            .await;
        let evicted = match moved {
            Ok(_) => evict(&database, &pod).await,
            Err(error) => Err(error),
        };
        taint(&nodes, &node, false).await?;
        evicted?;
        database.healthy(2, wait::LONG).await?;
        writer.verify().await?;
        Ok(())
    })
    .await
}

/// What cluster-autoscaler sets on a node before it evicts the pods.
const TAINT: &str = "ToBeDeletedByClusterAutoscaler";

async fn taint(nodes: &Api<Node>, name: &str, set: bool) -> Result<()> {
    let node = nodes.get(name).await?;
    let mut taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    taints.retain(|taint| taint.key != TAINT);
    let mut taints = serde_json::to_value(taints)?;
    if let (true, Some(list)) = (set, taints.as_array_mut()) {
        list.push(json!({"key": TAINT, "value": "1", "effect": "NoSchedule"}));
    }
    let patch = Patch::Merge(json!({"spec": {"taints": taints}}));
    nodes.patch(name, &PatchParams::default(), &patch).await.context("the node's taints")?;
    Ok(())
}

/// As the autoscaler does; refused while its budget has not followed the label.
async fn evict(database: &Database<'_>, pod: &str) -> Result<()> {
    let pods = database.scope.api::<Pod>();
    wait::poll("the eviction to be allowed", wait::SHORT, || async {
        Ok(pods.evict(pod, &EvictParams::default()).await.ok())
    })
    .await
    .map(drop)
}

fn epoch(status: &MySQLClusterStatus) -> i64 {
    status.replication.as_ref().map_or(0, |record| record.epoch)
}
