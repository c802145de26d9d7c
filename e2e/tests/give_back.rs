//! Claims deleted by hand: their volumes are kept, and given back to the instances that they were of.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use mainstay_crd::names::{ANNOTATION_GIVE_BACK, LABEL_ORDINAL};
use mainstay_crd::{ClusterPhase, Judgement, MySQLClusterStatus};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::table::Identity;
use mainstay_e2e::told::{is_healthy, ordinal};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{note, table, wait};
use serde_json::json;

/// Importance 1: first a replica's claim is deleted, then the primary's. The replica is cloned
/// anew, the primary is not: nothing is initialised, nobody leads. Each gets its volume back, and every acknowledged
/// row is there.
#[tokio::test]
async fn volumes_given_back() -> Result<(), Failed> {
    scope::run("volumes_given_back", wait::LONG * 3, async |scope| {
        let database = scope.database("back");
        database.create(2, json!({"storage": {"size": "2Gi", "reclaimPolicy": "Retain"}})).await?;
        database.healthy(2, wait::LONG).await?;
        let primary = database.primary().await?;
        let replica = 1 - primary;
        let writer = Writer::start(&database, "back", Duration::from_millis(10)).await?;
        writer.acknowledged(50).await?;

        let before = kept(&database, replica).await?;
        lose_claim(&database, replica).await?;
        healthy_on(&database, replica, |volume| volume != before.volume).await?;
        let cloned = table::identity(&database, replica).await?;
        ensure!(cloned.volume != before.volume && cloned.server_uuid != before.server_uuid, "{cloned:?}");
        writer.acknowledged(50).await?;
        give_back(&database, &before).await?;
        writer.acknowledged(50).await?;

        let before = kept(&database, primary).await?;
        lose_claim(&database, primary).await?;
        let lost = |status: &MySQLClusterStatus| {
            let verdict = verdict(status, primary);
            status.state == Some(ClusterPhase::Lost) && verdict == Some(Judgement::NewVolumeEmpty)
        };
        database.until("the cluster to be Lost", wait::LONG, lost).await?;
        give_back(&database, &before).await?;
        ensure!(database.primary().await? == primary, "another leads");
        writer.acknowledged(50).await?;
        writer.verify().await?;
        note!("instances:\n{}", table::of(scope, &database.names.cluster).await?);
        Ok(())
    })
    .await
}

fn verdict(status: &MySQLClusterStatus, of: u32) -> Option<Judgement> {
    let instance = status.instances.iter().find(|instance| ordinal(instance) == of)?;
    instance.verdict.as_ref().map(|verdict| verdict.judgement)
}

/// Waits until all is well and an instance is on such a volume: the status is a moment behind a claim that is gone.
async fn healthy_on(database: &Database<'_>, of: u32, is: impl Fn(&str) -> bool) -> Result<()> {
    let well = |status: &MySQLClusterStatus| {
        let instance = status.instances.iter().find(|instance| ordinal(instance) == of);
        let volume = instance.and_then(|instance| instance.volume.as_deref());
        is_healthy(status, 2) && volume.is_some_and(&is)
    };
    database.until("the cluster to be Healthy on that volume", wait::LONG, well).await?;
    Ok(())
}

/// Who the instance is, once its volume is kept and marked.
async fn kept(database: &Database<'_>, ordinal: u32) -> Result<Identity> {
    let identity = table::identity(database, ordinal).await?;
    let volumes: Api<PersistentVolume> = Api::all(database.scope.client());
    wait::object(&volumes, &identity.volume, "the volume to be kept", wait::SHORT, |volume| {
        let policy = volume.spec.as_ref().and_then(|s| s.persistent_volume_reclaim_policy.as_deref());
        policy == Some("Retain") && volume.labels().get(LABEL_ORDINAL) == Some(&ordinal.to_string())
    })
    .await?;
    Ok(identity)
}

/// Deletes an instance's claim and its pod, without the grace in which it would hand over, and waits until the claim is
/// gone.
async fn lose_claim(database: &Database<'_>, ordinal: u32) -> Result<()> {
    let claim = database.claim(ordinal).await?;
    let (names, at_once) = (&database.names, DeleteParams::default().grace_period(0));
    let claims = database.scope.api::<PersistentVolumeClaim>();
    claims.delete(&names.claim(ordinal), &DeleteParams::default()).await?;
    database.scope.api::<Pod>().delete(&names.pod(ordinal), &at_once).await?;
    wait::gone(&claims, &names.claim(ordinal), claim.uid().as_deref(), wait::LONG).await?;
    note!("{} is gone", names.claim(ordinal));
    Ok(())
}

/// As documented: the annotation, then the claim and the pod that have another volume now.
async fn give_back(database: &Database<'_>, left: &Identity) -> Result<()> {
    let ask = async |volume: Option<&str>| {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION_GIVE_BACK: volume}}}));
        database.api().patch(&database.names.cluster, &PatchParams::default(), &patch).await
    };
    ask(Some(&left.volume)).await?;
    lose_claim(database, left.ordinal).await?;
    healthy_on(database, left.ordinal, |volume| volume == left.volume).await?;
    ask(None).await?;
    let now = table::identity(database, left.ordinal).await?;
    ensure!((&now.volume, &now.server_uuid) == (&left.volume, &left.server_uuid), "{now:?}, not {left:?}");
    note!("{} has its volume {} back", database.names.pod(left.ordinal), left.volume);
    let what = "nothing to be left of giving back";
    database
        .until(what, wait::SHORT, |s| {
            s.replication.as_ref().is_some_and(|record| record.operations.is_empty())
        })
        .await?;
    Ok(())
}
