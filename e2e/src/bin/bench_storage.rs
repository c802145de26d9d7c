//! Prints how long it takes until an instance is back whose node was lost, and what a kept claim saves. Asserts
//! nothing.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::DeleteParams;
use mainstay_e2e::database::Database;
use mainstay_e2e::faults::Nodes;
use mainstay_e2e::figures::{self, Figure, seconds};
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::told::{instance, is_healthy, message};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{load, note, wait};
use serde_json::json;

/// MiB that are cloned, or kept.
const SIZE: u64 = 1024;
/// In which all of it is done.
const LIMIT: Duration = Duration::from_secs(1800);

#[tokio::main]
async fn main() -> Result<(), Failed> {
    scope::run("bench_storage", LIMIT, async |scope| {
        let mut figures = Vec::new();
        figures.extend(lost_node(scope).await?);
        figures.extend(scale_up(scope).await?);
        figures::print(&figures);
        Ok(())
    })
    .await
}

/// The primary's node is powered off. The taint is set as soon as status names the node: that no time passes until
/// somebody vouches for it is the one thing here that no user has.
async fn lost_node(scope: &Scope) -> Result<Vec<Figure>> {
    let Some(nodes) = Nodes::of(&scope.env) else { return Ok(Vec::new()) };
    let database = scope.database("lost");
    database.start(3).await?;
    let primary = database.primary().await?;
    let node = database.node(primary).await?;
    let writer = Writer::start(&database, "lost", Duration::from_millis(20)).await?;
    writer.acknowledged(50).await?;

    let (began, wall) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH)?);
    let fault = nodes.lose(&node)?;
    let named = |status: &_| {
        instance(status, primary).is_some_and(|i| !i.ready) && message(status, primary).contains(&node)
    };
    database.until("status to name the lost node", wait::LONG, named).await?;
    let seen = began.elapsed();
    let vouch = nodes.vouch(&node)?;
    let pod = database.names.pod(primary);
    wait::object(&scope.api(), &pod, "the pod to run on another node", wait::LONG, |pod: &Pod| {
        let elsewhere = pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_ref() != Some(&node));
        elsewhere && pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
    })
    .await?;
    let runs = began.elapsed();
    database.healthy(3, wait::LONG).await?;
    let ready = began.elapsed();
    writer.acknowledged(50).await?;
    let ledger = writer.ledger().await?;
    let (gap, at) = ledger.gap();
    let first = ledger.acks.first().context("nothing was acknowledged")?.at;
    let writable = Duration::from_secs_f64((first + at.as_secs_f64() + gap.as_secs_f64()).max(0.0));
    let writable = writable.saturating_sub(wall);
    fault.end();
    Nodes::ready(scope.client(), &node).await?;
    vouch.end();
    database.healthy(3, wait::LONG).await?;
    writer.verify().await?;
    database.delete().await?;
    let line = |what: &str, time: Duration| (format!("  {what}"), seconds(time));
    Ok(vec![
        ("the primary's node is lost, network volume, seconds until".into(), String::new()),
        line("status names the node, and the bench taints it at once", seen),
        line("its pod runs on another node", runs),
        line("writes are acknowledged again", writable),
        line("the instance is Ready, and the cluster Healthy", ready),
    ])
}

/// One instance more: on the claim that it left, and on a new one.
async fn scale_up(scope: &Scope) -> Result<Vec<Figure>> {
    let database = scope.database("kept");
    let resources = json!({"requests": {"cpu": "50m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}});
    database.create(2, json!({"storage": {"size": "8Gi"}, "resources": resources})).await?;
    database.healthy(2, wait::LONG).await?;
    load::fill(&mut database.sql_through(&database.names.primary_service()).await?, SIZE).await?;
    let executed = database.sql(0).await?.gtid_executed().await?;
    database.sql(1).await?.has_executed(&executed, wait::LONG).await?;
    scale(&database, 1).await?;
    let kept = scale(&database, 2).await?;
    scale(&database, 1).await?;
    let claims = scope.api::<PersistentVolumeClaim>();
    claims.delete(&database.names.claim(1), &DeleteParams::default()).await?;
    wait::gone(&claims, &database.names.claim(1), None, wait::LONG).await?;
    let cloned = scale(&database, 2).await?;
    Ok(vec![
        (format!("from 1 to 2 instances with {SIZE} MiB, seconds until Healthy"), String::new()),
        ("  on the claim that was kept".into(), seconds(kept)),
        ("  on a new claim, cloned".into(), seconds(cloned)),
    ])
}

/// How long it takes until there are `replicas` and no others.
async fn scale(database: &Database<'_>, replicas: i32) -> Result<Duration> {
    let began = Instant::now();
    database.patch(json!({"replicas": replicas})).await?;
    let what = format!("{replicas} instances to be Healthy and the others to be gone");
    database.until(&what, wait::LONG * 2, |s| is_healthy(s, replicas) && s.replicas == replicas).await?;
    note!("{replicas} instances after {}", seconds(began.elapsed()));
    Ok(began.elapsed())
}
