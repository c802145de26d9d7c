//! A disk that is full. It is a real file system of fixed size: directories and host paths know no bounds.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolume;
use mainstay_crd::MySQLClusterStatus;
use mainstay_crd::conditions::ConditionType;
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::static_volumes::{Place, StaticVolumes, on_only};
use mainstay_e2e::told::{condition, instance, is_healthy, message};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{load, note, wait};
use serde_json::json;

/// The small disk, in MiB.
const DISK: u32 = 1536;
/// What of it the replica may not use at first, in MiB.
const KEPT: u32 = 768;
/// Rows of data in MiB. They take three times that: in the relay log, in the table and in the binary log.
const DATA: u64 = 256;
/// Free bytes that are none: InnoDB asks for more at a time.
const NOTHING: u64 = 32 << 20;
/// The server tries again to write once a minute, and status is told when it changes.
const TOLD: Duration = Duration::from_secs(240);

/// Importance 1: a replica's disk fills up. Status names the instance and the cause, the primary serves on, and once
/// there is room the replica comes back by itself.
#[tokio::test]
async fn full_disk_of_a_replica() -> Result<(), Failed> {
    scope::run("full_disk_of_a_replica", wait::LONG * 6, async |scope| {
        let Some(volumes) = StaticVolumes::of(scope) else { return Ok(()) };
        let nodes = volumes.workers().await?;
        ensure!(nodes.len() >= 3, "three workers are needed: {nodes:?}");
        volumes
            .class(serde_json::from_value(json!({
                "metadata": {"name": "fixed"},
                "provisioner": "kubernetes.io/no-provisioner",
                "volumeBindingMode": "WaitForFirstConsumer",
            }))?)
            .await?;
        for node in &nodes[..2] {
            let path = volumes.directory(Place::Node, node, "large")?;
            volumes.volume(volume(&format!("on-{node}"), node, &path)?).await?;
        }
        let database = scope.database("full");
        // A replica that is behind holds many transactions in memory, and those of this test are large.
        let memory = json!({"requests": {"cpu": "50m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}});
        let storage = json!({"size": "1Gi", "class": volumes.name("fixed")});
        database.create(2, json!({"storage": storage, "resources": memory})).await?;
        database.healthy(2, wait::LONG).await?;

        // The only volume that is left for the third instance is the small one.
        let small = volumes.disk(&nodes[2], "small", DISK)?;
        volumes.reserve(&nodes[2], &small, KEPT)?;
        volumes.volume(volume("small", &nodes[2], &small)?).await?;
        database.patch(json!({"replicas": 3})).await?;
        database.healthy(3, wait::LONG).await?;
        let node = database.pod(2).await?.spec.and_then(|spec| spec.node_name);
        ensure!(node.as_ref() == Some(&nodes[2]), "the third instance is on {node:?}");

        let writer = Writer::start(&database, "on", Duration::from_millis(50)).await?;
        load::fill(&mut database.sql_through(&database.names.primary_service()).await?, DATA).await?;
        wait::poll("the small disk to be full", wait::LONG, || async {
            Ok((volumes.free(&nodes[2], &small)? < NOTHING).then_some(()))
        })
        .await?;
        note!("the disk of instance 2 is full");
        database.until("status to name the full disk", TOLD, names_the_disk).await?;
        note!("status: {}", told(&database).await?);
        writer.acknowledged(100).await?;

        volumes.reserve(&nodes[2], &small, 0)?;
        // It may have been Ready all the time: what it can't write yet is only seconds old.
        let written = database.sql_through(&database.names.primary_service()).await?.gtid_executed().await?;
        let mut replica = database.sql(2).await?;
        ensure!(replica.has_executed(&written, TOLD).await?, "the replica does not follow");
        database.until("the disk to be well, and all to be Healthy", TOLD, is_well).await?;
        writer.verify().await?;
        Ok(())
    })
    .await
}

fn volume(name: &str, node: &str, path: &str) -> Result<PersistentVolume> {
    let mut volume = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "fixed",
            "local": {"path": path},
        },
    }))?;
    on_only(&mut volume, node)?;
    Ok(volume)
}

/// A person who reads the instance's message knows that it is the disk, and which instance.
fn names_the_disk(status: &MySQLClusterStatus) -> bool {
    ["full", "space"].iter().any(|word| message(status, 2).contains(word))
}

fn is_well(status: &MySQLClusterStatus) -> bool {
    let storage = condition(status, ConditionType::StorageReady);
    is_healthy(status, 3) && storage.is_some_and(|storage| storage.status == "True")
}

async fn told(database: &Database<'_>) -> Result<String> {
    let status = database.status().await?;
    let instance = instance(&status, 2).context("no third instance in status")?;
    Ok(format!("{} is {:?}: {}", instance.name, instance.state, instance.message.as_deref().unwrap_or("-")))
}
