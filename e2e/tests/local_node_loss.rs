//! A node is lost for good that alone can mount its instances' volumes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::ResourceExt;
use kube::api::Api;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{ANNOTATION_GTID_SET, ANNOTATION_KEPT_SINCE, LABEL_CLUSTER_ID, LABEL_ORDINAL};
use mainstay_e2e::database::Database;
use mainstay_e2e::faults::{Fault, Nodes};
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::table::Identity;
use mainstay_e2e::told::{condition, instance, message};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{checksum, note, table, wait};
use serde_json::json;

/// How long a replica may be away in this test.
const AFTER: Duration = Duration::from_secs(10);

/// Importance 1: nothing is replaced before the user says so; then a replica is, on another
/// node, and its old volume is kept. The primary never is.
#[tokio::test]
async fn a_local_volumes_node_is_lost() -> Result<(), Failed> {
    scope::run("local_node_loss", wait::LONG * 6, async |scope| {
        let Some(nodes) = Nodes::of(&scope.env) else { return Ok(()) };
        let database = scope.database("rooted");
        database.create(3, json!({"storage": {"class": "local", "size": "1Gi"}})).await?;
        database.healthy(3, wait::LONG).await?;
        let before = table::identities(&database, 3).await?;
        let writer = Writer::start(&database, "rooted", Duration::from_millis(10)).await?;
        writer.acknowledged(50).await?;

        let primary = database.primary().await?;
        let replica = (primary + 1) % 3;
        let node = database.node(replica).await?;
        let lost = lose(&database, nodes, replica, &node).await?;
        ensure!(
            claim_uid(&database, replica).await? == uid(&before, replica),
            "its claim was replaced unasked"
        );
        writer.acknowledged(50).await?;

        let after = json!({"storage": {"local": {"replaceAfter": format!("{}s", AFTER.as_secs())}}});
        database.patch(after).await?;
        database.healthy(3, wait::LONG).await?;
        let now = table::identities(&database, 3).await?;
        note!("instances:\n{}", table::of(scope, &database.names.cluster).await?);
        for ordinal in 0..3 {
            let (old, new) = (&before[ordinal as usize], &now[ordinal as usize]);
            ensure!((old == new) == (ordinal != replica), "instance {ordinal}: {old:?}, {new:?}");
        }
        ensure!(database.node(replica).await? != node, "it is on the lost node");
        is_kept(&database, &before[replica as usize]).await?;
        ensure!(database.primary().await? == primary, "another instance leads");
        writer.acknowledged(50).await?;

        for fault in lost {
            fault.end();
        }
        Nodes::ready(scope.client(), &node).await?;
        the_primary_stays(&database, nodes, primary).await?;
        writer.acknowledged(50).await?;
        ensure!(table::identities(&database, 3).await? == now, "an instance is another one now");
        writer.verify().await?;
        checksum::compare(&database, &[0, 1, 2]).await
    })
    .await
}

/// Loses a node, sees it named with its volume, and vouches that it is gone.
async fn lose(database: &Database<'_>, nodes: Nodes, ordinal: u32, node: &str) -> Result<Vec<Fault>> {
    let volume = volume_of(database, ordinal).await?;
    let fault = nodes.lose(node)?;
    let said = database.told(ConditionType::StorageReady, Reason::NodeNotReady, wait::LONG).await?;
    ensure!(said.contains(node) && said.contains(&volume), "it names not {node} and {volume}: {said}");
    ensure!(said.contains("replaceAfter"), "it does not say what can be done: {said}");
    let vouch = nodes.vouch(node)?;
    database
        .until("its pod to have no node", wait::LONG, |status| {
            let waits = instance(status, ordinal).is_some_and(|i| i.node.is_none() && !i.ready);
            waits && message(status, ordinal).contains(node)
        })
        .await?;
    note!("status: {}", message(&database.status().await?, ordinal));
    Ok(vec![fault, vouch])
}

/// The primary's node is away for longer than a replica may be, and nothing is replaced: with its volume gone, nobody
/// could tell what was acknowledged.
async fn the_primary_stays(database: &Database<'_>, nodes: Nodes, primary: u32) -> Result<()> {
    let node = database.node(primary).await?;
    let uid = claim_uid(database, primary).await?;
    let seen = jiff::Timestamp::now();
    let fault = nodes.lose(&node)?;
    database
        .until("status to say that the primary gets no other volume", wait::LONG, |status| {
            let told = condition(status, ConditionType::StorageReady);
            told.is_some_and(|told| told.message.contains("it leads"))
        })
        .await?;
    wait::poll("a replica's time to pass twice", wait::LONG, || async {
        Ok((jiff::Timestamp::now().duration_since(seen).unsigned_abs() > AFTER * 2).then_some(()))
    })
    .await?;
    ensure!(claim_uid(database, primary).await? == uid, "the primary's claim was replaced");
    ensure!(database.node(primary).await? == node, "the primary was moved");
    let record = database.status().await?.replication.context("no record")?;
    ensure!(record.operations.is_empty(), "something is under way: {:?}", record.operations);
    fault.end();
    Nodes::ready(database.scope.client(), &node).await?;
    database.healthy(3, wait::LONG).await?;
    ensure!(database.primary().await? == primary, "another instance leads");
    Ok(())
}

/// The volume outlived its claim, and says whose data it has.
async fn is_kept(database: &Database<'_>, old: &Identity) -> Result<()> {
    let volumes: Api<PersistentVolume> = Api::all(database.scope.client());
    let volume = volumes.get(&old.volume).await?;
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.clone());
    ensure!(policy.as_deref() == Some("Retain"), "{} has the policy {policy:?}", old.volume);
    let id = database.status().await?.cluster_id.context("no cluster id")?;
    ensure!(volume.labels().get(LABEL_CLUSTER_ID) == Some(&id), "{:?}", volume.labels());
    ensure!(volume.labels().get(LABEL_ORDINAL) == Some(&old.ordinal.to_string()), "{:?}", volume.labels());
    for key in [ANNOTATION_GTID_SET, ANNOTATION_KEPT_SINCE] {
        ensure!(volume.annotations().contains_key(key), "{} does not say {key}", old.volume);
    }
    note!("{} is kept: {:?}", old.volume, volume.annotations());
    Ok(())
}

fn uid(identities: &[Identity], ordinal: u32) -> String {
    identities[ordinal as usize].claim_uid.clone()
}

async fn claim_uid(database: &Database<'_>, ordinal: u32) -> Result<String> {
    database.claim(ordinal).await?.uid().context("a claim without a UID")
}

async fn volume_of(database: &Database<'_>, ordinal: u32) -> Result<String> {
    database.claim(ordinal).await?.spec.and_then(|spec| spec.volume_name).context("not bound")
}
