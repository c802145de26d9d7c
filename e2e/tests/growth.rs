//! Volumes that become larger: under load, where it is refused, and when it is the only way out.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Resource, ResourceExt};
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_e2e::database::Database;
use mainstay_e2e::faults::Nodes;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::told::{condition, instance, message};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{exec, note, table, wait};
use serde_json::{Value, json};

/// The kubelet takes up to a minute and a half to look for a disk that has grown, and does so for one at a time.
const GROWN: Duration = Duration::from_secs(300);
/// The server tries again to start with growing pauses, and status is told when it changes.
const TOLD: Duration = Duration::from_secs(240);

/// Importance 1: every claim grows, and with it its file system, while clients write; no pod is touched, and the next
/// instance has the new size from the beginning.
#[tokio::test]
async fn volumes_grow_under_load() -> Result<(), Failed> {
    scope::run("volumes_grow_under_load", wait::LONG * 4, async |scope| {
        if !scope.env.addon("csi").await? {
            return Ok(());
        }
        let database = scope.database("swell");
        database.create(2, storage("csi", "1Gi")).await?;
        database.healthy(2, wait::LONG).await?;
        let before = table::identities(&database, 2).await?;
        let pods = lives(&database).await?;
        let set = stateful_set(&database).await?;
        let writer = Writer::start(&database, "swell", Duration::from_millis(20)).await?;
        writer.acknowledged(50).await?;

        database.patch(storage("csi", "2Gi")).await?;
        database.told(ConditionType::StorageReady, Reason::Growing, wait::SHORT).await?;
        database.told(ConditionType::StorageReady, Reason::AsExpected, GROWN).await?;
        for ordinal in [0, 1] {
            let claim = database.claim(ordinal).await?;
            ensure!(capacity(&claim) == "2Gi", "{} has {}", claim.name_any(), capacity(&claim));
            let room = room(&database, ordinal).await?;
            ensure!(room > 1800, "the file system of instance {ordinal} has {room} MiB");
        }
        writer.acknowledged(50).await?;
        ensure!(lives(&database).await? == pods, "a pod was touched: {pods:?}");
        let after = stateful_set(&database).await?;
        ensure!(after.uid() != set.uid() && template_size(&after) == "2Gi", "its template is the old one");
        database.patch(json!({"replicas": 3})).await?;
        database.healthy(3, wait::LONG).await?;
        let third = database.claim(2).await?;
        ensure!(capacity(&third) == "2Gi", "the third has {}", capacity(&third));
        ensure!(table::identities(&database, 2).await? == before, "an instance is another one now");
        ensure!(lives(&database).await?[..2] == pods, "a pod was touched: {pods:?}");
        writer.verify().await?;
        Ok(())
    })
    .await
}

/// Importance 2: a class that can't grow is named, and all else goes on.
#[tokio::test]
async fn a_class_that_cannot_grow() -> Result<(), Failed> {
    scope::run("a_class_that_cannot_grow", wait::LONG * 2, async |scope| {
        if !scope.env.local {
            note!("SKIPPED: this test needs the local cluster's class `network`, which can't grow");
            return Ok(());
        }
        let database = scope.database("stiff");
        database.start(1).await?;
        let pods = lives(&database).await?;
        database.patch(storage("network", "3Gi")).await?;
        let said = database.told(ConditionType::StorageReady, Reason::ExpansionRefused, wait::SHORT).await?;
        ensure!(said.contains(&database.names.claim(0)) && said.contains("the class network"), "{said}");
        database.healthy(1, wait::LONG).await?;
        ensure!(requested(&database.claim(0).await?) == "2Gi", "the claim was changed");
        ensure!(lives(&database).await? == pods, "a pod was touched: {pods:?}");
        Ok(())
    })
    .await
}

/// Importance 1: mysqld can't start because its disk is full; a larger size is accepted, and
/// brings it back with all that was acknowledged.
#[tokio::test]
async fn a_full_disk_grows() -> Result<(), Failed> {
    scope::run("a_full_disk_grows", wait::LONG * 5, async |scope| {
        if !scope.env.addon("csi").await? {
            return Ok(());
        }
        let database = scope.database("crowded");
        database.create(1, storage("csi", "768Mi")).await?;
        database.healthy(1, wait::LONG).await?;
        let before = table::identity(&database, 0).await?;
        let writer = Writer::start(&database, "crowded", Duration::from_millis(20)).await?;
        writer.acknowledged(50).await?;
        // dd ends with an error when there is no more room, which is what it is for.
        let fill = "dd if=/dev/zero of=/var/lib/mysql/ballast bs=1M status=none; \
                    dd if=/dev/zero of=/var/lib/mysql/ballast bs=4k oflag=append conv=notrunc status=none; \
                    test $(stat --file-system --format %a /var/lib/mysql) -lt 64";
        exec::in_pod(&scope.api(), &database.names.pod(0), "mysql", &["bash", "-c", fill]).await?;
        let pod = database.pod(0).await?;
        Nodes::kill_in_pod(&database.node(0).await?, &pod.uid().unwrap_or_default(), "mysqld")?;
        note!("the disk is full, and mysqld was killed");
        database.told(ConditionType::StorageReady, Reason::VolumeFull, TOLD).await?;
        database
            .until("the instance to be away, and the disk to be named", TOLD, |status| {
                instance(status, 0).is_some_and(|i| !i.ready) && message(status, 0).contains("is full")
            })
            .await?;
        note!("status: {}", message(&database.status().await?, 0));

        database.patch(storage("csi", "1536Mi")).await?;
        database.healthy(1, GROWN).await?;
        database.until("the disk to be well", wait::LONG, storage_is_ready).await?;
        ensure!(table::identity(&database, 0).await? == before, "it came back as another");
        writer.acknowledged(50).await?;
        writer.verify().await?;
        Ok(())
    })
    .await
}

fn storage(class: &str, size: &str) -> Value {
    json!({"storage": {"class": class, "size": size}})
}

fn storage_is_ready(status: &mainstay_crd::MySQLClusterStatus) -> bool {
    condition(status, ConditionType::StorageReady).is_some_and(|condition| condition.status == "True")
}

/// Of each pod: its UID, and how often its containers were started again.
async fn lives(database: &Database<'_>) -> Result<Vec<(String, i32)>> {
    let pods = database.pods().await?;
    let life = |pod: &k8s_openapi::api::core::v1::Pod| {
        let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
        let restarts = containers.unwrap_or_default().iter().map(|container| container.restart_count).sum();
        (pod.meta().uid.clone().unwrap_or_default(), restarts)
    };
    Ok(pods.iter().map(life).collect())
}

async fn stateful_set(database: &Database<'_>) -> Result<StatefulSet> {
    Ok(database.scope.api::<StatefulSet>().get(&database.names.base()).await?)
}

fn template_size(set: &StatefulSet) -> String {
    let templates = set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_deref());
    templates.unwrap_or_default().first().map(requested).unwrap_or_default()
}

fn requested(claim: &PersistentVolumeClaim) -> String {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    requests.and_then(|requests| requests.get("storage")).map(|size| size.0.clone()).unwrap_or_default()
}

fn capacity(claim: &PersistentVolumeClaim) -> String {
    let capacity = claim.status.as_ref().and_then(|status| status.capacity.as_ref());
    capacity.and_then(|capacity| capacity.get("storage")).map(|size| size.0.clone()).unwrap_or_default()
}

/// MiB of the file system that an instance has its data on.
async fn room(database: &Database<'_>, ordinal: u32) -> Result<u64> {
    let ask = ["stat", "--file-system", "--format", "%b %S", "/var/lib/mysql"];
    let said = exec::in_pod(&database.scope.api(), &database.names.pod(ordinal), "mysql", &ask).await?;
    let (blocks, size) = said.trim().split_once(' ').context("stat says something else")?;
    Ok((blocks.parse::<u64>()? * size.parse::<u64>()?) >> 20)
}
