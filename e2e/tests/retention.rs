//! What becomes of claims whose instances are no longer asked for.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use kube::api::Api;
use mainstay_crd::MySQLClusterStatus;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_e2e::database::Database;
use mainstay_e2e::exec::here;
use mainstay_e2e::faults::{Nodes, on_node};
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::static_volumes::directory_of;
use mainstay_e2e::told::is_healthy;
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{note, table, wait};
use serde_json::{Value, json};

/// How long a claim is kept.
const AFTER: Duration = Duration::from_secs(20);

/// Importance 1: `DeleteAfter` keeps a claim for its time, through `kubectl scale`; the next instance is cloned anew.
#[tokio::test]
async fn claims_are_kept_for_their_time() -> Result<(), Failed> {
    scope::run("claims_kept_for_a_time", wait::LONG * 2, async |scope| {
        let database = scope.database("brief");
        let after = format!("{}s", AFTER.as_secs());
        create(&database, json!({"policy": "DeleteAfter", "after": after})).await?;
        let writer = Writer::start(&database, "brief", Duration::from_millis(10)).await?;
        let before = table::identities(&database, 2).await?;
        kubectl_scale(&database, 1).await?;
        let kept = database
            .until("the claim to be kept for its time", wait::LONG, |status| {
                let said = said(status, ConditionType::RetentionApplied);
                said.is_some_and(|(reason, text)| {
                    reason == Reason::ClaimKept.as_str() && text.contains("until")
                })
            })
            .await?;
        note!("{:?}", kept.status.as_ref().and_then(|s| said(s, ConditionType::RetentionApplied)));
        let claim = database.claim(1).await?;
        ensure!(claim.uid().as_ref() == Some(&before[1].claim_uid), "the claim is another one");
        let claims = scope.api::<PersistentVolumeClaim>();
        wait::gone(&claims, &database.names.claim(1), None, wait::LONG).await?;
        let volumes: Api<PersistentVolume> = Api::all(scope.client());
        wait::gone(&volumes, &before[1].volume, None, wait::LONG).await?;
        writer.acknowledged(50).await?;
        kubectl_scale(&database, 2).await?;
        database.healthy(2, wait::LONG).await?;
        let after = table::identities(&database, 2).await?;
        ensure!(after[0] == before[0] && after[1].server_uuid != before[1].server_uuid, "{after:?}");
        writer.verify().await.map(drop)
    })
    .await
}

/// Importance 1: the time counts from when the instance left last, not from when it left first.
#[tokio::test]
async fn the_time_counts_from_the_last_leave() -> Result<(), Failed> {
    scope::run("time_from_the_last_leave", wait::LONG * 2, async |scope| {
        let database = scope.database("again");
        create(&database, json!({"policy": "DeleteAfter", "after": "60s"})).await?;
        let before = table::identities(&database, 2).await?;
        kubectl_scale(&database, 1).await?;
        let first = kept_until(&database, Timestamp::MIN).await?;
        kubectl_scale(&database, 2).await?;
        database.healthy(2, wait::LONG).await?;
        let adopted = table::identities(&database, 2).await?;
        ensure!(adopted == before, "the kept claim was not taken up: {adopted:?}");
        wait::poll("the first time to be over", wait::LONG, async || {
            Ok((Timestamp::now() > first).then_some(()))
        })
        .await?;
        kubectl_scale(&database, 1).await?;
        let second = kept_until(&database, first).await?;
        ensure!(second > Timestamp::now(), "it is kept until {second}, which is over");
        let claim = database.claim(1).await?;
        ensure!(claim.uid().as_ref() == Some(&before[1].claim_uid), "the claim is another one");
        wait::gone(&scope.api::<PersistentVolumeClaim>(), &database.names.claim(1), None, wait::LONG).await?;
        ensure!(Timestamp::now() >= second, "it went before {second}");
        Ok(())
    })
    .await
}

/// Importance 1 (I5): the primary's instance is to go, and the one that stays lacks what it holds: it stays until it
/// does not.
#[tokio::test]
async fn the_last_copy_is_kept() -> Result<(), Failed> {
    scope::run("the_last_copy_is_kept", wait::LONG * 2, async |scope| {
        let database = scope.database("last");
        create(&database, json!({"policy": "Delete"})).await?;
        database.hand_over_to(1).await?;
        let before = table::identities(&database, 2).await?;
        let mut replica = database.sql(0).await?;
        // A stopped applier would be started again; this one waits.
        replica.exec("FLUSH TABLES WITH READ LOCK").await?;
        let writer = Writer::start(&database, "last", Duration::from_millis(10)).await?;
        writer.acknowledged(50).await?;
        // One that is only a little behind would be tried, and the next try comes minutes later.
        let behind = |status: &MySQLClusterStatus| {
            let of = status.instances.iter().find(|instance| instance.ordinal == 0);
            of.and_then(|instance| instance.lag_seconds).is_some_and(|lag| lag > 10)
        };
        database.until("the replica to be far behind", wait::LONG, behind).await?;
        kubectl_scale(&database, 1).await?;
        let told = database
            .until("status to say who is in the way", wait::LONG, |status| {
                said(status, ConditionType::SpecValid)
                    .is_some_and(|(reason, _)| reason == Reason::PrimaryInTheWay.as_str())
            })
            .await?;
        note!("{:?}", told.status.as_ref().and_then(|s| said(s, ConditionType::SpecValid)));
        writer.acknowledged(50).await?;
        ensure!(table::identity(&database, 1).await? == before[1], "the last copy is another one now");
        replica.exec("UNLOCK TABLES").await?;
        database.until("one instance", wait::LONG, |s| is_healthy(s, 1) && s.replicas == 1).await?;
        let claims = scope.api::<PersistentVolumeClaim>();
        wait::gone(&claims, &database.names.claim(1), None, wait::LONG).await?;
        ensure!(table::identity(&database, 0).await? == before[0], "the one that stays is another one now");
        writer.acknowledged(50).await?;
        writer.verify().await.map(drop)
    })
    .await
}

/// Importance 1 (I5): an instance that could not say what it holds leaves its claim, whatever the policy, and is the
/// same when it is asked for again.
#[tokio::test]
async fn what_is_not_known_is_kept() -> Result<(), Failed> {
    scope::run("unknown_is_kept", wait::LONG * 2, async |scope| {
        let Some(_) = Nodes::of(&scope.env) else { return Ok(()) };
        let database = scope.database("dumb");
        create(&database, json!({"policy": "Delete"})).await?;
        ensure!(database.primary().await? == 0, "instance 1 leads");
        let writer = Writer::start(&database, "dumb", Duration::from_millis(10)).await?;
        writer.acknowledged(50).await?;
        let before = table::identities(&database, 2).await?;
        let volumes: Api<PersistentVolume> = Api::all(scope.client());
        let directory = directory_of(&volumes.get(&before[1].volume).await?)?;
        let pod = database.pod(1).await?;
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).context("not scheduled")?;
        on_node(&node, r#"mv "$1/data/ibdata1" "$1/ibdata1""#, &[&directory])?;
        Nodes::kill_in_pod(&node, &pod.uid().unwrap_or_default(), "mysqld")?;
        database.until("the server to be down", wait::LONG, |s| s.ready_replicas == 1).await?;
        kubectl_scale(&database, 1).await?;
        let told = database
            .until("the claim to be kept", wait::LONG, |status| {
                let said = said(status, ConditionType::RetentionApplied);
                status.replicas == 1
                    && said.is_some_and(|(_, text)| text.contains("not known which transactions"))
            })
            .await?;
        note!("{:?}", told.status.as_ref().and_then(|s| said(s, ConditionType::RetentionApplied)));
        writer.acknowledged(50).await?;
        on_node(&node, r#"mv "$1/ibdata1" "$1/data/ibdata1""#, &[&directory])?;
        kubectl_scale(&database, 2).await?;
        database.healthy(2, wait::LONG).await?;
        ensure!(table::identities(&database, 2).await? == before, "an instance is another one now");
        writer.verify().await.map(drop)
    })
    .await
}

/// Two instances, whose claims go as `when_scaled` says.
async fn create(database: &Database<'_>, when_scaled: Value) -> Result<()> {
    let storage = json!({"size": "2Gi", "retention": {"whenScaled": when_scaled}});
    database.create(2, json!({"storage": storage})).await?;
    database.healthy(2, wait::LONG).await?;
    Ok(())
}

/// Until when the claim of instance 1 is kept, once status says it of a time after this one.
async fn kept_until(database: &Database<'_>, after: Timestamp) -> Result<Timestamp> {
    let claim = database.names.claim(1);
    let mut until = None;
    database
        .until("status to say until when the claim is kept", wait::LONG, |status| {
            until = said(status, ConditionType::RetentionApplied).and_then(|(_, text)| {
                let (_, time) = text.split_once(&format!("{claim} is kept until "))?;
                let time = time.split([';', ' ']).next()?.trim_end_matches(['.', ',']);
                time.parse::<Timestamp>().ok().filter(|time| *time > after)
            });
            until.is_some()
        })
        .await?;
    until.context("no time was said")
}

/// Reason and message of a condition that is not True.
fn said(status: &MySQLClusterStatus, type_: ConditionType) -> Option<(&str, &str)> {
    let condition = status.conditions.iter().find(|c| c.type_ == type_.as_str() && c.status != "True")?;
    Some((&condition.reason, &condition.message))
}

async fn kubectl_scale(database: &Database<'_>, replicas: u32) -> Result<()> {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(&database.scope.env.kubeconfig);
    command.args([
        "--namespace",
        &database.names.namespace,
        "scale",
        "mysqlcluster",
        &database.names.cluster,
    ]);
    command.arg(format!("--replicas={replicas}"));
    note!("{}", tokio::task::spawn_blocking(move || here(&mut command)).await??);
    Ok(())
}
