//! What a condition says is to be done is done word for word, and nothing that is still somewhere is lost by it.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{ANNOTATION_GIVE_BACK, ANNOTATION_LEAD_FROM};
use mainstay_crd::{ClusterPhase, MySQLClusterStatus};
use mainstay_e2e::database::Database;
use mainstay_e2e::faults::Nodes;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::told::is_healthy;
use mainstay_e2e::{checksum, load, note, wait};
use serde_json::json;

/// Rows that are written, and that every instance has before the primary loses its volume.
const ROWS: u32 = 1000;

/// Importance 1: `whenDeleted: Delete`, and the primary's volume is lost. The request that `Blocked` spells out is made as it
/// stands there: another leads with every row, nothing was initialised, the old primary is cloned anew, and no claim went.
#[tokio::test]
async fn led_from_a_replica() -> Result<(), Failed> {
    scope::run("led_from_a_replica", wait::LONG * 4, async |scope| {
        let (database, lost, _) = lost(scope, "lead").await?;
        let told = database.told(ConditionType::Blocked, Reason::PrimaryDataLost, wait::SHORT).await?;
        ensure!(told.contains("nothing is given up by it"), "every row is on two others: {told}");
        let before = claims(scope, &database).await?;

        ask(&database, "lead-from-nobody").await?;
        let refused = scope.event(Reason::LeadFromRefused.as_str(), wait::SHORT).await?;
        note!("refused: {refused}");
        ensure!(
            database.status().await?.state == Some(ClusterPhase::Lost),
            "it was carried out all the same"
        );

        ask(&database, &spelled_out(&told)?).await?;
        let another = |status: &MySQLClusterStatus| {
            is_healthy(status, 3) && status.primary.as_ref().is_some_and(|p| *p != database.names.pod(lost))
        };
        let cluster =
            database.until("another to lead and all to be Healthy", wait::LONG * 2, another).await?;
        let record = cluster.status.and_then(|status| status.replication).context("no record")?;
        let given_up = record.lost.context("status does not say what was given up")?;
        ensure!(given_up.known.is_empty() && given_up.from == database.names.pod(lost), "{given_up:?}");
        for ordinal in 0..3 {
            load::check_rows(&mut database.sql(ordinal).await?, ROWS).await?;
        }
        checksum::compare(&database, &[0, 1, 2]).await?;
        ensure!(claims(scope, &database).await? == before, "a claim was deleted");
        Ok(())
    })
    .await
}

/// Importance 1: as before, and the object is deleted, although it says that its claims go with it. Every claim and Secret
/// stays, an event says so, and the object that is made again says which volume to give back, and serves every row then.
#[tokio::test]
async fn deleted_while_lost() -> Result<(), Failed> {
    scope::run("deleted_while_lost", wait::LONG * 4, async |scope| {
        let (database, lost, volume) = lost(scope, "gone").await?;
        let before = claims(scope, &database).await?;
        database.delete().await?;
        let told = scope.event(Reason::ClaimKept.as_str(), wait::SHORT).await?;
        note!("{told}");
        ensure!(claims(scope, &database).await? == before, "claims went with the object");
        for secret in [database.names.credentials_secret(), database.names.ca_secret()] {
            scope.api::<Secret>().get(&secret).await.with_context(|| format!("Secret {secret} went too"))?;
        }
        // The lost volume was kept as its claim was deleted: nobody leads without what it holds.
        database.create(3, json!({})).await?;
        let told = database.told(ConditionType::Blocked, Reason::DataWithoutRecord, wait::LONG).await?;
        note!("{told}");
        ensure!(told.contains(&volume), "{volume} is not named");
        let give = json!({"metadata": {"annotations": {ANNOTATION_GIVE_BACK: volume}}});
        database.api().patch("gone", &PatchParams::default(), &Patch::Merge(give)).await?;
        // Its claim was kept too, with the empty volume that came in its place.
        let (claim, pod) = (database.names.claim(lost), database.names.pod(lost));
        ensure!(told.contains(&format!("Then delete {claim} and {pod}")), "what is in the way is not named");
        scope.api::<PersistentVolumeClaim>().delete(&claim, &DeleteParams::default()).await?;
        scope.api::<Pod>().delete(&pod, &DeleteParams::default()).await?;
        database.healthy(3, wait::LONG * 2).await?;
        ensure!(database.primary().await? == lost, "another leads than who has the last primary's data");
        for ordinal in 0..3 {
            load::check_rows(&mut database.sql(ordinal).await?, ROWS).await?;
        }
        Ok(())
    })
    .await
}

/// Importance 1: the machine that alone can mount the primary's volume never comes back. What `StorageReady` says is done, and
/// what `Blocked` spells out then: another leads with every row, and the volume that is out of reach is kept.
#[tokio::test]
async fn led_from_a_replica_after_a_machine_was_lost_for_good() -> Result<(), Failed> {
    scope::run("machine_lost_for_good", wait::LONG * 6, async |scope| {
        let Some(nodes) = Nodes::of(&scope.env) else { return Ok(()) };
        let database = with_rows(scope, "never", json!({"class": "local", "size": "1Gi"})).await?;
        let primary = database.primary().await?;
        let node = database.node(primary).await?;
        let volume = volume_of(&database, primary).await?;
        let lost = nodes.lose(&node)?;
        let told = database.told(ConditionType::StorageReady, Reason::NodeNotReady, wait::LONG).await?;
        note!("{told}");
        let (claim, pod) = (database.names.claim(primary), database.names.pod(primary));
        let keep = format!("set the reclaim policy of the volume {volume} to Retain");
        for said in [keep, format!("delete {claim} and {pod}"), format!("kubectl taint nodes {node}")] {
            ensure!(told.contains(&said), "it does not say: {said}");
        }
        let vouch = nodes.vouch(&node)?;
        let volumes: Api<PersistentVolume> = Api::all(scope.client());
        let retain = json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}});
        volumes.patch(&volume, &PatchParams::default(), &Patch::Merge(retain)).await?;
        scope.api::<PersistentVolumeClaim>().delete(&claim, &DeleteParams::default()).await?;
        // The taint may have taken it by now.
        let _ = scope.api::<Pod>().delete(&pod, &DeleteParams::default()).await;
        let told = database.told(ConditionType::Blocked, Reason::PrimaryDataLost, wait::LONG).await?;
        note!("{told}");
        ask(&database, &spelled_out(&told)?).await?;
        let another = |status: &MySQLClusterStatus| {
            is_healthy(status, 3) && status.primary.as_ref().is_some_and(|leads| *leads != pod)
        };
        database.until("another to lead and all to be Healthy", wait::LONG * 2, another).await?;
        for ordinal in 0..3 {
            load::check_rows(&mut database.sql(ordinal).await?, ROWS).await?;
        }
        volumes.get(&volume).await.context("the volume that was out of reach")?;
        for fault in [lost, vouch] {
            fault.end();
        }
        Nodes::ready(scope.client(), &node).await
    })
    .await
}

/// A cluster of three that goes with its claims, and has rows on all of them.
async fn with_rows<'a>(scope: &'a Scope, name: &str, mut storage: serde_json::Value) -> Result<Database<'a>> {
    let database = scope.database(name);
    storage["retention"] = json!({"whenDeleted": {"policy": "Delete"}});
    database.create(3, json!({"storage": storage})).await?;
    database.healthy(3, wait::LONG).await?;
    load::rows(&mut database.sql_through(&database.names.primary_service()).await?, ROWS).await?;
    checksum::compare(&database, &[0, 1, 2]).await?;
    noted(&database).await?;
    Ok(database)
}

async fn volume_of(database: &Database<'_>, ordinal: u32) -> Result<String> {
    database.claim(ordinal).await?.spec.and_then(|spec| spec.volume_name).context("no volume")
}

/// A cluster of three that goes with its claims, has rows on all of them, and whose primary has lost its volume, which
/// is kept. Returns the primary and the volume too.
async fn lost<'a>(scope: &'a Scope, name: &str) -> Result<(Database<'a>, u32, String)> {
    let database = with_rows(scope, name, json!({"size": "2Gi"})).await?;
    let primary = database.primary().await?;
    let claim = database.claim(primary).await?;
    let volume = volume_of(&database, primary).await?;
    // Without the grace in which it would hand over.
    let (names, at_once) = (&database.names, DeleteParams::default().grace_period(0));
    let claims = scope.api::<PersistentVolumeClaim>();
    claims.delete(&names.claim(primary), &DeleteParams::default()).await?;
    scope.api::<Pod>().delete(&names.pod(primary), &at_once).await?;
    wait::gone(&claims, &names.claim(primary), claim.uid().as_deref(), wait::LONG).await?;
    let is_lost = |status: &MySQLClusterStatus| status.state == Some(ClusterPhase::Lost);
    database.until("the cluster to be Lost", wait::LONG, is_lost).await?;
    Ok((database, primary, volume))
}

/// Waits until the ledger has all that the instances hold: it moves on in steps.
async fn noted(database: &Database<'_>) -> Result<()> {
    let all = database.sql(database.primary().await?).await?.gtid_executed().await?;
    let current = |status: &MySQLClusterStatus| {
        let entry =
            |i: &mainstay_crd::InstanceStatus| i.ledger.as_ref().map(|entry| entry.gtid_executed.clone());
        status.instances.iter().all(|i| entry(i).as_ref() == Some(&all))
    };
    database.until("the ledger to have all", wait::LONG, current).await.map(drop)
}

/// The claims by name and UID.
async fn claims(scope: &Scope, database: &Database<'_>) -> Result<Vec<(String, Option<String>)>> {
    let claims = scope.api::<PersistentVolumeClaim>().list(&ListParams::default()).await?.items;
    let ours = claims.iter().filter(|claim| database.names.ordinal_of_claim(&claim.name_any()).is_some());
    Ok(ours.map(|claim| (claim.name_any(), claim.uid())).collect())
}

/// The value in the command that the message has.
fn spelled_out(message: &str) -> Result<String> {
    let value =
        message.split_once(&format!("{ANNOTATION_LEAD_FROM}=")).context("no command in the message")?.1;
    let end = value.find(|c: char| c.is_whitespace() || c == ')').unwrap_or(value.len());
    Ok(value[..end].to_owned())
}

async fn ask(database: &Database<'_>, value: &str) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION_LEAD_FROM: value}}}));
    database.api().patch(&database.names.cluster, &PatchParams::default(), &patch).await?;
    note!("{ANNOTATION_LEAD_FROM}={value}");
    Ok(())
}
