//! The add-on `csi` itself: tests of growth, attachment and snapshots build on it.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::{note, shell, wait};
use serde_json::json;

/// What is written.
const WORDS: &str = "written before the snapshot";

/// Importance 2: a claim is bound, written to, grown and restored from a snapshot; what can't be had is refused.
#[tokio::test]
async fn csi_addon() -> Result<(), Failed> {
    scope::run("csi_addon", wait::LONG * 2, async |scope| {
        if !scope.env.addon("csi").await? {
            return Ok(());
        }
        shell::claim(scope, "first", json!({"storageClassName": "csi"})).await?;
        shell::pod(scope, "first").await?;
        shell::run(scope, "first", &format!("echo '{WORDS}' >/data/words; sync")).await?;
        has_its_size(scope, "first", 320).await?;
        snapshot(scope, "first").await?;
        shell::run(scope, "first", "echo later >/data/words").await?;
        grows(scope, "first", 640).await?;
        shell::claim(scope, "second", shell::copy_of("csi", "first")).await?;
        shell::pod(scope, "second").await?;
        let read = shell::run(scope, "second", "cat /data/words").await?;
        ensure!(read.trim() == WORDS, "the restored claim has {read:?}");
        fixed_class_refuses(scope).await
    })
    .await
}

/// The file system is as large as the claim says and no larger, so the disk can be filled.
async fn has_its_size(scope: &Scope, name: &str, mebibytes: u64) -> Result<()> {
    let said = shell::run(scope, name, "df --output=size --block-size=1M /data | tail -n 1").await?;
    let size: u64 = said.trim().parse()?;
    // Its own tables take some of it.
    ensure!(
        (mebibytes * 3 / 4..=mebibytes).contains(&size),
        "a disk of {mebibytes} MiB has {size} MiB for files"
    );
    Ok(())
}

async fn grows(scope: &Scope, name: &str, mebibytes: u64) -> Result<()> {
    let size = format!("{mebibytes}Mi");
    let more = Patch::Merge(json!({"spec": {"resources": {"requests": {"storage": size}}}}));
    let claims = scope.api::<PersistentVolumeClaim>();
    claims.patch(name, &PatchParams::default(), &more).await?;
    let what = format!("claim {name} to have {size}");
    wait::object(&claims, name, &what, wait::LONG, |claim| {
        let capacity = claim.status.as_ref().and_then(|status| status.capacity.as_ref());
        capacity.and_then(|capacity| capacity.get("storage")).is_some_and(|has| has.0 == size)
    })
    .await?;
    note!("{name} has grown while its pod runs");
    has_its_size(scope, name, mebibytes).await
}

async fn fixed_class_refuses(scope: &Scope) -> Result<()> {
    shell::claim(scope, "fixed", json!({"storageClassName": "csi-fixed"})).await?;
    shell::pod(scope, "fixed").await?;
    let more = Patch::Merge(json!({"spec": {"resources": {"requests": {"storage": "640Mi"}}}}));
    let refused = scope.api::<PersistentVolumeClaim>().patch("fixed", &PatchParams::default(), &more).await;
    let refused = refused.err().context("a claim of csi-fixed was grown")?;
    ensure!(refused.to_string().contains("resize"), "refused otherwise: {refused}");
    Ok(())
}

/// Takes a snapshot of the claim of this name and waits until it can be used.
async fn snapshot(scope: &Scope, name: &str) -> Result<()> {
    let (snapshots, kind) = (shell::snapshots(scope), shell::snapshot_kind());
    let spec = json!({"source": {"persistentVolumeClaimName": name}});
    let snapshot = DynamicObject::new(name, &kind).data(json!({"spec": spec}));
    snapshots.create(&PostParams::default(), &snapshot).await?;
    let what = format!("snapshot {name} to be ready");
    wait::poll(&what, wait::LONG, || async {
        let snapshot = snapshots.get(name).await?;
        Ok((snapshot.data["status"]["readyToUse"] == true).then_some(()))
    })
    .await
}
