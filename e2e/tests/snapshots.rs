//! `Snapshot`: what leaves, or what a deleted cluster's primary had, is copied before its claim goes, or stays where it
//! can't be copied.

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, try_join};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{ANNOTATION_SNAPSHOT, FINALIZER_RETENTION, LABEL_CLUSTER, LABEL_CLUSTER_ID};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::told::{condition, is_healthy};
use mainstay_e2e::{held, load, note, shell, table, wait};
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

/// Importance 1 (I5): a deleted cluster's claims go only once its primary's snapshot is ready, the object only once they
/// are gone; and a cluster of the same name that begins with the snapshot has every row.
#[tokio::test]
async fn a_snapshot_before_the_cluster_goes() -> Result<(), Failed> {
    scope::run("a_snapshot_before_the_cluster_goes", wait::LONG * 4, async |scope| {
        if !scope.env.addon("csi").await? {
            return Ok(());
        }
        let database = scope.database("reel");
        let class = json!({"class": "csi", "size": "1Gi"});
        let mut storage = class.clone();
        storage["retention"] = json!({"whenDeleted": {"policy": "Snapshot"}});
        database.create(2, json!({"storage": storage})).await?;
        database.healthy(2, wait::LONG).await?;
        let primary = database.primary().await?;
        let before = table::identity(&database, primary).await?;
        load::rows(&mut database.sql(primary).await?, ROWS).await?;
        let replica = (primary + 1) % 2;
        let (claims, primarys) = (scope.api::<PersistentVolumeClaim>(), database.names.claim(primary));
        held::hold(&claims, &database.names.claim(replica)).await?;

        let deleted = async {
            database.api().delete(&database.names.cluster, &DeleteParams::default()).await?;
            wait::gone(&claims, &primarys, None, wait::LONG).await
        };
        let (copy, ()) = try_join!(first_to_go(scope, &primarys), deleted)?;
        note!("{copy} was ready before a claim went");
        let left = database.get().await.context("the object went before the last of its claims")?;
        ensure!(
            left.finalizers().iter().any(|finalizer| finalizer == FINALIZER_RETENTION),
            "nothing keeps the object until its claims are gone: {:?}",
            left.finalizers()
        );
        held::let_go(&claims, &database.names.claim(replica)).await?;
        wait::gone(&database.api(), &database.names.cluster, None, wait::LONG).await?;
        let left = claims.list(&ListParams::default()).await?.items;
        ensure!(left.is_empty(), "claims outlived the object: {left:?}");

        let mine = ListParams::default().labels(&format!("{LABEL_CLUSTER}={}", database.names.cluster));
        let copies = shell::snapshots(scope).list(&mine).await?.items;
        ensure!(copies.len() == 1 && copies[0].name_any() == copy, "there are other snapshots: {copies:?}");
        let id = copies[0].labels().get(LABEL_CLUSTER_ID).context("the snapshot does not say whose it is")?;
        let mut of_copy = shell::copy_of("csi", &copy);
        of_copy["resources"] = json!({"requests": {"storage": "1Gi"}});
        shell::claim(scope, &primarys, of_copy).await?;
        database.create(i32::try_from(primary)? + 1, json!({"storage": class, "adopt": id})).await?;
        database.healthy(i32::try_from(primary)? + 1, wait::LONG).await?;
        ensure!(database.primary().await? == primary, "another instance leads");
        load::check_rows(&mut database.sql(primary).await?, ROWS).await?;
        let after = table::identity(&database, primary).await?;
        ensure!(
            after.server_uuid == before.server_uuid && after.volume != before.volume,
            "{before:?}, {after:?}"
        );
        Ok(())
    })
    .await
}

/// Waits until the first of a cluster's claims is being deleted, and returns the snapshot of its primary's that is ready
/// by then.
async fn first_to_go(scope: &Scope, primarys: &str) -> Result<String> {
    let mut events =
        watcher(scope.api::<PersistentVolumeClaim>(), watcher::Config::default()).default_backoff().boxed();
    let going = async {
        while let Some(event) = events.next().await {
            if let Ok(Event::Apply(claim) | Event::InitApply(claim) | Event::Delete(claim)) = event
                && claim.metadata.deletion_timestamp.is_some()
            {
                return Ok(claim);
            }
        }
        bail!("the watch of the claims ended")
    };
    let claim: PersistentVolumeClaim =
        tokio::time::timeout(wait::LONG, going).await.context("no claim went")??;
    let copies = shell::snapshots(scope).list(&ListParams::default()).await?.items;
    let copy =
        copies.iter().find(|copy| copy.data["spec"]["source"]["persistentVolumeClaimName"] == primarys);
    let copy = copy.with_context(|| format!("{} goes, and {primarys} was not copied", claim.name_any()))?;
    ensure!(copy.data["status"]["readyToUse"] == true, "{} goes before {copy:?} is ready", claim.name_any());
    Ok(copy.name_any())
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
