//! `spec.nodeLoss.whenProven`: the operator vouches for a node itself, on outside proof and on nothing less.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use mainstay_e2e::faults::Nodes;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::told::message;
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{note, table, wait};
use serde_json::json;

/// The taint.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// What a fencing tool writes.
const KEY: &str = "fencing.example.com/state";
/// For how long the node must be silent besides.
const AFTER: Duration = Duration::from_secs(10);

/// Importance 1: a lost node without the annotation, or with another value, is not tainted; with it, it is, and the
/// instance moves.
#[tokio::test]
async fn a_node_is_proven_gone() -> Result<(), Failed> {
    scope::run("a_node_is_proven_gone", wait::LONG * 5, async |scope| {
        let Some(nodes) = Nodes::of(&scope.env) else { return Ok(()) };
        let proof = json!({"nodeAnnotation": format!("{KEY}=off"), "after": format!("{}s", AFTER.as_secs())});
        let database = scope.database("fenced");
        database.create(2, json!({"nodeLoss": {"whenProven": proof}})).await?;
        database.healthy(2, wait::LONG).await?;
        let replica = (database.primary().await? + 1) % 2;
        let before = table::identity(&database, replica).await?;
        let node = database.node(replica).await?;
        let writer = Writer::start(&database, "fenced", Duration::from_millis(10)).await?;
        writer.acknowledged(50).await?;

        let alive = nodes.fence(&node, &format!("{KEY}=on"))?;
        let lost = nodes.lose(&node)?;
        let waits = format!("{KEY}=off");
        database
            .until("status to say that the proof is missing", wait::LONG, |status| {
                let told = message(status, replica);
                told.contains(&waits) && told.contains("'on'")
            })
            .await?;
        note!("status: {}", message(&database.status().await?, replica));
        // Long not Ready, and looked at again: silence alone is no proof.
        wait::poll("the time of silence to pass twice", wait::LONG, || async {
            Ok(silent_for(scope, &node).await?.filter(|silent| *silent > AFTER * 2))
        })
        .await?;
        ensure!(!is_tainted(scope, &node).await?, "{node} was tainted without proof");
        ensure!(database.node(replica).await? == node, "the pod was moved without proof");

        let off = nodes.fence(&node, &format!("{KEY}=off"))?;
        wait::poll("the operator to taint the node", wait::SHORT, || async {
            Ok(is_tainted(scope, &node).await?.then_some(()))
        })
        .await?;
        note!("{}", scope.event("TaintNode", wait::SHORT).await?);
        database.healthy(2, wait::LONG).await?;
        ensure!(database.node(replica).await? != node, "it is on the lost node");
        ensure!(table::identity(&database, replica).await? == before, "it came back as another");
        for other in all_nodes(scope).await?.iter().filter(|other| **other != node) {
            ensure!(!is_tainted(scope, other).await?, "{other} was tainted too");
        }
        lost.end();
        Nodes::ready(scope.client(), &node).await?;
        off.end();
        alive.end();
        database.healthy(2, wait::LONG).await?;
        writer.acknowledged(50).await?;
        writer.verify().await?;
        Ok(())
    })
    .await
}

async fn node(scope: &Scope, name: &str) -> Result<Node> {
    Ok(Api::all(scope.client()).get(name).await?)
}

async fn all_nodes(scope: &Scope) -> Result<Vec<String>> {
    let nodes: Api<Node> = Api::all(scope.client());
    let nodes = nodes.list(&Default::default()).await?.items;
    Ok(nodes.into_iter().filter_map(|node| node.metadata.name).collect())
}

async fn is_tainted(scope: &Scope, name: &str) -> Result<bool> {
    let taints = node(scope, name).await?.spec.and_then(|spec| spec.taints).unwrap_or_default();
    Ok(taints.iter().any(|taint| taint.key == OUT_OF_SERVICE))
}

/// For how long a node has not been Ready.
async fn silent_for(scope: &Scope, name: &str) -> Result<Option<Duration>> {
    let conditions = node(scope, name).await?.status.and_then(|status| status.conditions).unwrap_or_default();
    let ready = conditions.into_iter().find(|c| c.type_ == "Ready" && c.status != "True");
    let since = ready.and_then(|ready| ready.last_transition_time);
    Ok(since.map(|since| jiff::Timestamp::now().duration_since(since.0).unsigned_abs()))
}
