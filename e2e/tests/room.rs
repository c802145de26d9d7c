//! Clusters with less room than they ask for.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Node, ResourceQuota};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use mainstay_crd::MySQLClusterStatus;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::told::{instance, message};
use mainstay_e2e::{load, note, wait};
use serde_json::json;

/// Rows that are written.
const ROWS: u32 = 100;

/// Importance 1: one node fewer than instances that must each have their own: the others are a database, and what
/// ails the last is said in the scheduler's words. Asked for no longer, it comes.
#[tokio::test]
async fn node_short() -> Result<(), Failed> {
    scope::run("node_short", wait::LONG * 4, async |scope| {
        let nodes = i32::try_from(open_nodes(scope).await?)?;
        let database = scope.database("room");
        database.create(nodes + 1, json!({"scheduling": {"antiAffinity": "Required"}})).await?;
        let last = u32::try_from(nodes)?;
        let without_room = |status: &MySQLClusterStatus| {
            let short = (0..=last).find(|&i| instance(status, i).is_some_and(|i| !i.ready));
            status.primary.is_some()
                && status.ready_replicas == nodes
                && short.is_some_and(|i| message(status, i).contains("anti-affinity"))
        };
        database.until("all but one to serve, and why", wait::LONG, without_room).await?;
        note!("{nodes} of {} serve", nodes + 1);
        load::rows(&mut database.sql_through(&database.names.primary_service()).await?, ROWS).await?;

        database.patch(json!({"scheduling": {"antiAffinity": "Preferred"}})).await?;
        database.healthy(nodes + 1, wait::LONG * 2).await?;
        for ordinal in 0..=last {
            load::check_rows(&mut database.sql(ordinal).await?, ROWS).await?;
        }
        Ok(())
    })
    .await
}

/// Importance 1: a quota has room for two pods: what refuses the third is said in the quota's words, and two are a
/// database. With room, the third comes by itself.
#[tokio::test]
async fn quota_of_pods() -> Result<(), Failed> {
    scope::run("quota_of_pods", wait::LONG * 3, async |scope| {
        let quotas = scope.api::<ResourceQuota>();
        let quota: ResourceQuota =
            serde_json::from_value(json!({"metadata": {"name": "two"}, "spec": {"hard": {"pods": "2"}}}))?;
        quotas.create(&PostParams::default(), &quota).await?;
        let database = scope.database("quota");
        database.create(3, json!({})).await?;
        let refused = |status: &MySQLClusterStatus| {
            let words = |i| message(status, i).contains("exceeded quota: two");
            status.primary.is_some() && status.ready_replicas == 2 && (0..3).any(words)
        };
        let told = database.until("two to serve, and the quota's words", wait::LONG, refused).await?;
        let ready = told.status.unwrap_or_default().conditions.into_iter().find(|c| c.type_ == "Ready");
        ensure!(
            ready.is_some_and(|ready| ready.message.contains("exceeded quota: two")),
            "Ready says not why"
        );

        let room = Patch::Merge(json!({"spec": {"hard": {"pods": "9"}}}));
        quotas.patch("two", &PatchParams::default(), &room).await?;
        database.healthy(3, wait::LONG * 2).await?;
        Ok(())
    })
    .await
}

/// How many nodes take pods that tolerate nothing.
async fn open_nodes(scope: &Scope) -> Result<usize> {
    let nodes: Api<Node> = Api::all(scope.client());
    let nodes = nodes.list(&ListParams::default()).await?.items;
    let open = nodes.iter().filter(|node| {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        !taints.into_iter().flatten().any(|taint| taint.effect != "PreferNoSchedule")
    });
    Ok(open.count())
}
