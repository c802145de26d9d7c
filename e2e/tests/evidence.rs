//! Where data is expected, nothing is initialised: volumes that were kept bring it back, or are named.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{ANNOTATION_GIVE_BACK, LABEL_ORDINAL};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::table::Identity;
use mainstay_e2e::{load, note, table, wait};
use serde_json::json;

/// Rows that are written.
const ROWS: u32 = 1000;

/// Importance 1: object and claims are deleted, the volumes kept. Applied again, nothing is made, and `Blocked` names the
/// volumes and their cluster's id; with `adopt` and `give-back`, as it says, the same instance serves every row.
#[tokio::test]
async fn nothing_is_initialised_beside_kept_volumes() -> Result<(), Failed> {
    scope::run("nothing_is_initialised_beside_kept_volumes", wait::LONG * 4, async |scope| {
        let (database, id, before) = released(scope, "named").await?;
        database.create(2, storage()).await?;
        let told = database.told(ConditionType::Blocked, Reason::DataWithoutRecord, wait::LONG).await?;
        for part in [&before.volume, &id] {
            ensure!(told.contains(part.as_str()), "'{part}' is not in: {told}");
        }
        ensure!(database.pods().await?.is_empty(), "pods were made");
        ensure!(claims(&database).await? == 0, "claims were made");

        database.patch(json!({"adopt": id})).await?;
        ask_back(&database, &before.volume).await?;
        serves(&database, &before).await
    })
    .await
}

/// Importance 1: as before, with both from the beginning.
#[tokio::test]
async fn adopted_with_a_volume_given_back() -> Result<(), Failed> {
    scope::run("adopted_with_a_volume_given_back", wait::LONG * 4, async |scope| {
        let (database, id, before) = released(scope, "adopted").await?;
        let mut spec = storage();
        spec["adopt"] = json!(id);
        // As `kubectl apply` would have it in one go; until the annotation is there, it waits.
        database.create(2, spec).await?;
        ask_back(&database, &before.volume).await?;
        serves(&database, &before).await
    })
    .await
}

/// Importance 1: `adopt` alone, of data that is nowhere: nothing is initialised under that id, and it is said.
#[tokio::test]
async fn adopted_and_not_there() -> Result<(), Failed> {
    scope::run("adopted_and_not_there", wait::LONG * 2, async |scope| {
        let database = scope.database("missed");
        let id = "00000000-0000-4000-8000-000000000000";
        database.create(1, json!({"adopt": id})).await?;
        let told = database.told(ConditionType::Blocked, Reason::DataWithoutRecord, wait::LONG).await?;
        ensure!(told.contains(id) && told.contains("nothing is initialised"), "{told}");
        database.patch(json!({"adopt": null})).await?;
        database.healthy(1, wait::LONG).await.map(drop)
    })
    .await
}

fn storage() -> serde_json::Value {
    json!({"storage": {"size": "2Gi", "reclaimPolicy": "Retain"}})
}

/// A cluster of two whose object and claims are gone, with its id and who its last primary was.
async fn released<'a>(scope: &'a Scope, name: &str) -> Result<(Database<'a>, String, Identity)> {
    let database = scope.database(name);
    database.create(2, storage()).await?;
    database.healthy(2, wait::LONG).await?;
    load::rows(&mut database.sql_through(&database.names.primary_service()).await?, ROWS).await?;
    let volumes: Api<PersistentVolume> = Api::all(scope.client());
    let identities = table::identities(&database, 2).await?;
    for identity in &identities {
        wait::object(&volumes, &identity.volume, "the volume to be kept", wait::SHORT, |volume| {
            let policy = volume.spec.as_ref().and_then(|s| s.persistent_volume_reclaim_policy.as_deref());
            policy == Some("Retain") && volume.labels().contains_key(LABEL_ORDINAL)
        })
        .await?;
    }
    let id = database.status().await?.cluster_id.context("no cluster id")?;
    let primary = database.primary().await?;
    database.delete().await?;
    let claims = scope.api::<PersistentVolumeClaim>();
    for identity in &identities {
        let claim = database.names.claim(identity.ordinal);
        claims.delete(&claim, &DeleteParams::default()).await?;
        wait::gone(&claims, &claim, None, wait::LONG).await?;
        wait::object(&volumes, &identity.volume, "the volume to be Released", wait::LONG, |volume| {
            volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Released")
        })
        .await?;
    }
    note!("the volumes of {id} are Released");
    let last = identities.into_iter().find(|identity| identity.ordinal == primary);
    Ok((database, id, last.context("the primary has no identity")?))
}

async fn ask_back(database: &Database<'_>, volume: &str) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION_GIVE_BACK: volume}}}));
    database.api().patch(&database.names.cluster, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// The instance is who it was, on its volume, it leads, and every row is on all.
async fn serves(database: &Database<'_>, before: &Identity) -> Result<()> {
    database.healthy(2, wait::LONG * 2).await?;
    let now = table::identity(database, before.ordinal).await?;
    ensure!(
        (&now.volume, &now.server_uuid) == (&before.volume, &before.server_uuid),
        "{now:?}, not {before:?}"
    );
    ensure!(database.primary().await? == before.ordinal, "another leads");
    for ordinal in 0..2 {
        load::check_rows(&mut database.sql(ordinal).await?, ROWS).await?;
    }
    Ok(())
}

async fn claims(database: &Database<'_>) -> Result<usize> {
    let claims = database.scope.api::<PersistentVolumeClaim>().list(&ListParams::default()).await?.items;
    Ok(claims.iter().filter(|claim| database.names.ordinal_of_claim(&claim.name_any()).is_some()).count())
}
