//! Volumes made by hand, as `examples/storage` has them: data and volume outlive the pod.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::ResourceExt;
use kube::api::Api;
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::static_volumes::{Place, StaticVolumes, host_path, local, on_only};
use mainstay_e2e::table::Identity;
use mainstay_e2e::{load, note, table, wait};

/// Rows that are written.
const ROWS: u32 = 1000;

/// Importance 1: of two volumes that fit, the one with the label is taken, and kept.
#[tokio::test]
async fn volume_by_selector() -> Result<(), Failed> {
    scope::run("volume_by_selector", wait::LONG * 2, async |scope| {
        let Some(volumes) = StaticVolumes::of(scope) else { return Ok(()) };
        let node = &volumes.workers().await?[0];
        let wanted = volumes.directory(Place::Network, node, "wanted")?;
        let other = volumes.directory(Place::Network, node, "other")?;
        let mut example = None;
        let database = volumes
            .apply_example("by-selector.yaml", |_, volume| {
                host_path(volume, &wanted)?;
                example = Some(volume.clone());
                Ok(())
            })
            .await?;
        let mut decoy = example.context("an example without a volume")?;
        decoy.labels_mut().clear();
        decoy.metadata.name = Some("another".into());
        host_path(&mut decoy, &other)?;
        volumes.volume(decoy).await?;
        let identities = outlives_its_pods(&database, 1).await?;
        ensure!(identities[0].volume == volumes.name("ledger"), "it took {}", identities[0].volume);
        ensure!(
            phase(scope, &volumes.name("another")).await? == "Available",
            "the other volume was taken too"
        );
        Ok(())
    })
    .await
}

/// Importance 1: instances on disks of the nodes come back to their node and their volume.
#[tokio::test]
async fn local_volumes() -> Result<(), Failed> {
    scope::run("local_volumes", wait::LONG * 4, async |scope| {
        let Some(volumes) = StaticVolumes::of(scope) else { return Ok(()) };
        let nodes = volumes.workers().await?;
        let database = volumes
            .apply_example("local.yaml", |number, volume| {
                let node = nodes.get(number).context("more volumes than nodes")?;
                local(volume, node, &volumes.directory(Place::Node, node, "disk")?)
            })
            .await?;
        database.healthy(3, wait::LONG).await?;
        let before = nodes_of(&database).await?;
        let identities = outlives_its_pods(&database, 3).await?;
        ensure!(nodes_of(&database).await? == before, "an instance left its node");
        let mut taken: Vec<&String> = identities.iter().map(|identity| &identity.volume).collect();
        taken.sort();
        taken.dedup();
        ensure!(taken.len() == 3, "instances share a volume: {identities:?}");
        Ok(())
    })
    .await
}

/// Importance 2: a host path of one node.
#[tokio::test]
async fn host_path_volume() -> Result<(), Failed> {
    scope::run("host_path_volume", wait::LONG * 2, async |scope| {
        let Some(volumes) = StaticVolumes::of(scope) else { return Ok(()) };
        let node = volumes.workers().await?.pop().context("a cluster without workers")?;
        let path = volumes.directory(Place::Node, &node, "directory")?;
        let database = volumes
            .apply_example("host-path.yaml", |_, volume| {
                host_path(volume, &path)?;
                on_only(volume, &node)
            })
            .await?;
        outlives_its_pods(&database, 1).await?;
        ensure!(nodes_of(&database).await? == [node], "it is on another node");
        Ok(())
    })
    .await
}

/// Importance 1: GlusterFS, mounted on every node.
#[tokio::test]
async fn gluster_volumes() -> Result<(), Failed> {
    scope::run("gluster_volumes", wait::LONG * 4, async |scope| {
        let Some(volumes) = StaticVolumes::of(scope) else { return Ok(()) };
        if !scope.env.addon("gluster").await? {
            return Ok(());
        }
        let node = &volumes.workers().await?[0];
        let database = volumes
            .apply_example("glusterfs.yaml", |number, volume| {
                let path = volumes.directory(Place::Gluster, node, &format!("orders-{number}"))?;
                host_path(volume, &path)
            })
            .await?;
        outlives_its_pods(&database, 2).await?;
        Ok(())
    })
    .await
}

/// Waits until the cluster is Healthy, writes, deletes each pod, and proves that the rows, the claims and the volumes
/// are those from before.
async fn outlives_its_pods(database: &Database<'_>, replicas: u32) -> Result<Vec<Identity>> {
    let count = i32::try_from(replicas)?;
    database.healthy(count, wait::LONG).await?;
    load::rows(&mut database.sql_through(&database.names.primary_service()).await?, ROWS).await?;
    let before = table::identities(database, replicas).await?;
    for ordinal in 0..replicas {
        database.restart(ordinal, count).await?;
    }
    let after = table::identities(database, replicas).await?;
    note!("instances:\n{}", table::of(database.scope, &database.names.cluster).await?);
    ensure!(before == after, "an instance is another one now: {before:?}, {after:?}");
    for ordinal in 0..replicas {
        load::check_rows(&mut database.sql(ordinal).await?, ROWS).await?;
    }
    Ok(after)
}

async fn nodes_of(database: &Database<'_>) -> Result<Vec<String>> {
    let pods = database.pods().await?;
    Ok(pods.into_iter().filter_map(|pod| pod.spec?.node_name).collect())
}

async fn phase(scope: &Scope, volume: &str) -> Result<String> {
    let volumes: Api<PersistentVolume> = Api::all(scope.client());
    Ok(volumes.get(volume).await?.status.and_then(|status| status.phase).unwrap_or_default())
}
