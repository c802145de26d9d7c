//! A node is lost for good, while clients write, and its instance comes back elsewhere on the same volume.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mainstay_crd::Judgement;
use mainstay_e2e::database::Database;
use mainstay_e2e::faults::Nodes;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::told::{instance, is_healthy, message};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{note, table, wait};

/// Importance 1: a replica's node. Writes go on throughout.
#[tokio::test]
async fn a_replicas_node_is_lost() -> Result<(), Failed> {
    scope::run("node_of_replica", wait::LONG * 4, async |scope| {
        lose(scope, 3, |primary| (primary + 1) % 3).await
    })
    .await
}

/// Importance 1: the primary's node. It comes back as the primary, with all that was acknowledged.
#[tokio::test]
async fn the_primarys_node_is_lost() -> Result<(), Failed> {
    scope::run("node_of_primary", wait::LONG * 4, async |scope| lose(scope, 3, |primary| primary).await).await
}

/// Importance 1: the classic case, a single instance.
#[tokio::test]
async fn the_only_node_is_lost() -> Result<(), Failed> {
    scope::run("node_of_single", wait::LONG * 4, async |scope| lose(scope, 1, |primary| primary).await).await
}

async fn lose(scope: &Scope, replicas: i32, whose: fn(u32) -> u32) -> Result<()> {
    let Some(nodes) = Nodes::of(&scope.env) else { return Ok(()) };
    let database = scope.database("move");
    database.start(replicas).await?;
    let ordinal = whose(database.primary().await?);
    let before = table::identity(&database, ordinal).await?;
    let node = database.node(ordinal).await?;
    let writer = Writer::start(&database, "moved", Duration::from_millis(5)).await?;
    writer.acknowledged(50).await?;
    note!("before:\n{}", table::of(scope, &database.names.cluster).await?);

    let began = Instant::now();
    let fault = nodes.lose(&node)?;
    database
        .until("status to name the lost node", wait::LONG, |status| {
            instance(status, ordinal).is_some_and(|i| !i.ready) && message(status, ordinal).contains(&node)
        })
        .await?;
    note!("{node} lost; status names it after {:.1} s", began.elapsed().as_secs_f64());
    ensure!(
        database.node(ordinal).await? == node,
        "the pod was moved before anybody had vouched that its node is gone"
    );

    let vouched = Instant::now();
    let vouch = nodes.vouch(&node)?;
    wait::poll("the pod to run on another node", wait::LONG, || async {
        let now = database.node(ordinal).await.ok();
        Ok(now.filter(|now| *now != node))
    })
    .await?;
    note!("pod bound to another node {:.1} s after the taint", vouched.elapsed().as_secs_f64());
    database.healthy(replicas, wait::LONG).await?;
    note!("Healthy {:.1} s after the taint", vouched.elapsed().as_secs_f64());
    writer.acknowledged(50).await?;
    let after = table::identity(&database, ordinal).await?;
    ensure!(after == before, "it came back as another: {before:?}, {after:?}");
    said(&database, ordinal, &node).await?;

    fault.end();
    Nodes::ready(scope.client(), &node).await?;
    vouch.end();
    writer.acknowledged(50).await?;
    database.until("all to be Healthy still", wait::LONG, |status| is_healthy(status, replicas)).await?;
    ensure!(table::identity(&database, ordinal).await? == before, "the node that came back disturbed it");
    writer.verify().await?;
    note!("after:\n{}", table::of(scope, &database.names.cluster).await?);
    Ok(())
}

/// The verdict is in status, and an event names the old node and the new one.
async fn said(database: &Database<'_>, ordinal: u32, old: &str) -> Result<()> {
    let new = database.node(ordinal).await?;
    let said = database.scope.event("VolumeRebound", wait::SHORT).await?;
    ensure!(said.contains(old) && said.contains(&new), "the event does not name {old} and {new}: {said}");
    note!("{said}");
    let status = database.status().await?;
    let verdict = instance(&status, ordinal).and_then(|i| i.verdict.as_ref()).context("no verdict")?;
    ensure!(verdict.judgement == Judgement::SameVolume, "{verdict:?}");
    Ok(())
}
