//! `whenScaled: Snapshot`: what leaves is copied before its claim goes, or stays where it can't be copied.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::ListParams;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{ANNOTATION_SNAPSHOT, LABEL_CLUSTER};
use mainstay_e2e::database::{Database, condition, is_healthy};
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::{load, note, shell, wait};
use serde_json::{Value, json};

/// Rows that are written before the instance leaves.
const ROWS: u32 = 1000;

/// Importance 1 (I5): the claim goes only once its snapshot is ready, and the snapshot has the data.
#[tokio::test]
async fn a_snapshot_before_the_claim_goes() -> Result<(), Failed> {
    scope::run("a_snapshot_before_the_claim_goes", wait::LONG * 3, async |scope| {
        if !scope.env.addon("csi").await? {
            return Ok(());
        }
        let database = scope.database("film");
        database.create(2, storage("csi", "Snapshot")).await?;
        database.healthy(2, wait::LONG).await?;
        load::rows(&mut database.sql(0).await?, ROWS).await?;
        let claim = database.claim(1).await?;
        database.patch(json!({"replicas": 1})).await?;
        let (claims, name) = (scope.api::<PersistentVolumeClaim>(), claim.name_any());
        let going = |claim: &PersistentVolumeClaim| claim.metadata.deletion_timestamp.is_some();
        let leaving = wait::object(&claims, &name, "the claim to be deleted", wait::LONG, going).await?;
        let copy = leaving.annotations().get(ANNOTATION_SNAPSHOT).context("deleted without a snapshot")?;
        let snapshot = shell::snapshots(scope).get(copy).await?;
        ensure!(snapshot.data["status"]["readyToUse"] == true, "not ready when its claim went: {snapshot:?}");
        wait::gone(&claims, &name, None, wait::LONG).await?;
        database.healthy(1, wait::LONG).await?;
        note!("{copy} was ready before its claim went");
        holds_the_data(scope, copy).await?;
        let own = ListParams::default().labels(&format!("{LABEL_CLUSTER}={}", database.names.cluster));
        let kept = shell::snapshots(scope).list(&own).await?.items;
        ensure!(kept.len() == 1, "there are {} snapshots", kept.len());
        Ok(())
    })
    .await
}

/// Importance 1: of a class whose volumes can't be copied nothing is deleted, and status says what is in the way.
#[tokio::test]
async fn a_class_without_snapshots() -> Result<(), Failed> {
    scope::run("a_class_without_snapshots", wait::LONG * 2, async |scope| {
        if !scope.env.addon("csi").await? {
            return Ok(());
        }
        let database = scope.database("blind");
        database.create(2, storage("network", "Snapshot")).await?;
        database.healthy(2, wait::LONG).await?;
        refused(&database, Reason::SnapshotFailed).await
    })
    .await
}

/// Importance 1: the same where Kubernetes has no such API at all; and add-ons leave nothing behind.
#[tokio::test]
async fn a_cluster_without_snapshots() -> Result<(), Failed> {
    scope::run("a_cluster_without_snapshots", wait::LONG * 3, async |scope| {
        if !scope.env.addon("csi").await? {
            return Ok(());
        }
        scope.env.addon_down("csi").await?;
        let database = scope.database("blind");
        database.create(2, storage("network", "Snapshot")).await?;
        database.healthy(2, wait::LONG).await?;
        refused(&database, Reason::NoSnapshotApi).await
    })
    .await
}

/// Scales down, sees the claim kept and the reason given, and that keeping it as asked is the way out.
async fn refused(database: &Database<'_>, reason: Reason) -> Result<()> {
    let claim = database.claim(1).await?;
    database.patch(json!({"replicas": 1})).await?;
    let said = database.told(ConditionType::Blocked, reason, wait::LONG).await?;
    ensure!(said.contains(&claim.name_any()), "it does not say which claim: {said}");
    ensure!(database.claim(1).await?.uid() == claim.uid(), "the claim is another one now");
    database.patch(storage("network", "Retain")).await?;
    database
        .until("nothing to be in the way", wait::SHORT, |status| {
            let blocked = condition(status, ConditionType::Blocked);
            is_healthy(status, 1) && blocked.is_some_and(|blocked| blocked.status == "False")
        })
        .await?;
    let kept = database.claim(1).await?;
    ensure!(kept.uid() == claim.uid() && kept.metadata.deletion_timestamp.is_none(), "the claim was deleted");
    Ok(())
}

/// The directory in a snapshot is whole: the marker says so, and the table's file is there.
async fn holds_the_data(scope: &Scope, snapshot: &str) -> Result<()> {
    let mut copy = shell::copy_of("csi", snapshot);
    copy["resources"] = json!({"requests": {"storage": "1Gi"}});
    shell::claim(scope, "copy", copy).await?;
    shell::pod(scope, "copy").await?;
    let marker =
        shell::run(scope, "copy", "test -s /data/data/app/items.ibd; cat /data/mainstay.json").await?;
    let marker: Value = serde_json::from_str(&marker)?;
    ensure!(marker.to_string().contains("complete"), "the copy is not complete: {marker}");
    Ok(())
}

fn storage(class: &str, policy: &str) -> Value {
    let retention = json!({"whenScaled": {"policy": policy}});
    json!({"storage": {"class": class, "size": "1Gi", "retention": retention}})
}
