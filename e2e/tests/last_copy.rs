//! Claims that are deleted while their pods run: the volume would go with the pod, whoever takes it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{ANNOTATION_GIVE_BACK, LABEL_ORDINAL};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::told::condition;
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{load, note, table, wait};
use serde_json::json;

const ROWS: u32 = 1000;
/// An option that only a restart can set.
const OPTION: &str = "back_log";

/// Importance 1 (I5): the claim of an only instance is deleted, and the spec is changed. The volume is set to `Retain`,
/// no pod is replaced for the change, and what the condition advises brings the data back.
#[tokio::test]
async fn last_copy_single() -> Result<(), Failed> {
    scope::run("last_copy_single", wait::LONG * 3, async |scope| {
        let database = scope.database("last");
        database.start(1).await?;
        load::rows(&mut database.sql(0).await?, ROWS).await?;
        let before = table::identity(&database, 0).await?;
        let pod = database.pod(0).await?;

        let told = claim_deleted(&database, 0, &before.volume).await?;
        let annotation = format!("{ANNOTATION_GIVE_BACK}={}", before.volume);
        ensure!(told.contains(&annotation), "no way back is told: {told}");
        database.patch(json!({"config": {"common": {OPTION: "77"}}})).await?;
        database.told(ConditionType::Progressing, Reason::ClaimTerminating, wait::SHORT).await?;
        ensure!(database.pod(0).await?.uid() == pod.uid(), "the pod was replaced");
        load::check_rows(&mut database.sql(0).await?, ROWS).await?;

        ask_back(&database, Some(&before.volume)).await?;
        delete::<Pod>(&database, &database.names.pod(0)).await?;
        database.replaced(0, &pod.uid().unwrap_or_default(), wait::LONG).await?;
        come_back(&database, &before.volume).await?;
        ask_back(&database, None).await?;
        let after = table::identity(&database, 0).await?;
        ensure!((&after.volume, &after.server_uuid) == (&before.volume, &before.server_uuid), "{after:?}");
        load::check_rows(&mut database.sql(0).await?, ROWS).await?;
        Ok(())
    })
    .await
}

/// Importance 1 (I5): the claim of the primary of three is deleted, and the spec is changed. The primary hands over
/// before its pod goes, is cloned anew, and its old volume is kept.
#[tokio::test]
async fn last_copy_primary() -> Result<(), Failed> {
    scope::run("last_copy_primary", wait::LONG * 4, async |scope| {
        let database = scope.database("copies");
        database.start(3).await?;
        let primary = database.primary().await?;
        let before = table::identity(&database, primary).await?;
        let writer = Writer::start(&database, "copies", Duration::from_millis(10)).await?;
        writer.acknowledged(50).await?;

        claim_deleted(&database, primary, &before.volume).await?;
        database.patch(json!({"config": {"common": {OPTION: "77"}}})).await?;
        for ordinal in 0..3 {
            let what = format!("{OPTION} = 77 on instance {ordinal}");
            wait::poll(&what, wait::LONG * 2, || async {
                let has: String = database.sql(ordinal).await?.one(&format!("SELECT @@{OPTION}")).await?;
                Ok((has == "77").then_some(()))
            })
            .await?;
        }
        database.healthy(3, wait::LONG).await?;
        ensure!(database.primary().await? != primary, "the primary did not hand over");
        let after = table::identity(&database, primary).await?;
        ensure!(after.volume != before.volume, "its claim is still there: {after:?}");
        let volumes: Api<PersistentVolume> = Api::all(scope.client());
        let old = volumes.get(&before.volume).await.context("the volume that was kept")?;
        ensure!(old.labels().contains_key(LABEL_ORDINAL), "{:?}", old.labels());
        writer.acknowledged(50).await?;
        writer.verify().await?;
        volumes.delete(&before.volume, &DeleteParams::default()).await?;
        Ok(())
    })
    .await
}

/// Deletes a claim under its server, and waits until the volume is kept and that is said. Returns the message.
async fn claim_deleted(database: &Database<'_>, ordinal: u32, volume: &str) -> Result<String> {
    delete::<PersistentVolumeClaim>(database, &database.names.claim(ordinal)).await?;
    let volumes: Api<PersistentVolume> = Api::all(database.scope.client());
    wait::object(&volumes, volume, "the volume to be kept", wait::SHORT, |volume| {
        let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
        policy == Some("Retain")
    })
    .await?;
    let what = "status to say that the volume is kept";
    let told = database
        .until(what, wait::SHORT, |status| {
            let storage = condition(status, ConditionType::StorageReady);
            storage.is_some_and(|storage| storage.message.contains(&format!("{volume} is set to Retain")))
        })
        .await?;
    let status = told.status.unwrap_or_default();
    let storage = condition(&status, ConditionType::StorageReady).context("no StorageReady")?;
    note!("{}", storage.message);
    Ok(storage.message.clone())
}

/// Waits until the instance serves on `volume` again. If its claim got another one first, that is said, and what is said
/// is done.
async fn come_back(database: &Database<'_>, volume: &str) -> Result<()> {
    let has_it = async || -> Result<bool> {
        let claim = database.claim(0).await?;
        let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
        Ok(claim.metadata.deletion_timestamp.is_none() && name == Some(volume))
    };
    wait::poll("the claim to have the volume, or word of what is in the way", wait::LONG, || async {
        let status = database.status().await?;
        let storage = condition(&status, ConditionType::StorageReady);
        let refused = storage.is_some_and(|storage| storage.reason == Reason::GiveBackRefused.as_str());
        Ok((refused || has_it().await?).then_some(()))
    })
    .await?;
    if !has_it().await? {
        delete::<PersistentVolumeClaim>(database, &database.names.claim(0)).await?;
        delete::<Pod>(database, &database.names.pod(0)).await?;
    }
    database.healthy(1, wait::LONG).await?;
    Ok(())
}

async fn ask_back(database: &Database<'_>, volume: Option<&str>) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION_GIVE_BACK: volume}}}));
    database.api().patch(&database.names.cluster, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn delete<K>(database: &Database<'_>, name: &str) -> Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    database.scope.api::<K>().delete(name, &DeleteParams::default()).await?;
    Ok(())
}
