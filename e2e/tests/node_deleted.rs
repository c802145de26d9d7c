//! A Node object is deleted while all that runs on the machine runs on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::DeleteParams;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_e2e::audit::{self, Audit};
use mainstay_e2e::database::Database;
use mainstay_e2e::faults::{Nodes, processes};
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::table::Identity;
use mainstay_e2e::told::message;
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{held, note, table, wait};
use serde_json::json;

/// The server's process.
const SERVER: &str = "mysqld";

/// Importance 1 (one mysqld a directory): the volume can be mounted twice, so a deleted Node proves nothing.
/// The operator leaves the pod alone and says why; Kubernetes' own garbage collector does not, and then the lock on
/// the directory keeps the second server from starting.
#[tokio::test]
async fn a_deleted_node_lives_on() -> Result<(), Failed> {
    scope::run("a_deleted_node_lives_on", wait::LONG * 4, async |scope| {
        let Some(nodes) = Nodes::of(&scope.env) else { return Ok(()) };
        let database = scope.database("ghost");
        database.start(2).await?;
        let primary = database.primary().await?;
        let before = table::identity(&database, primary).await?;
        let node = database.node(primary).await?;
        let old = database.pod(primary).await?.uid().context("a pod without a UID")?;
        let writer = Writer::start(&database, "ghost", Duration::from_millis(10)).await?;
        writer.acknowledged(50).await?;

        // Its kubelet must not hear that the pod was deleted, or it would stop it.
        let audit = Audit::begin()?;
        let cut = nodes.cut(&node, "from-api")?;
        let forgotten = nodes.forget(&node)?;
        let said = database.told(ConditionType::StorageReady, Reason::NodeGone, wait::SHORT).await?;
        for words in [node.as_str(), "could be mounted twice", "out-of-service"] {
            ensure!(said.contains(words), "it does not say {words:?}: {said}");
        }

        let new = made_anew(&database, primary, &old).await?;
        database
            .until("status to say who has the directory", wait::LONG, |status| {
                let told = message(status, primary);
                told.contains("in use") && told.contains("power it off") && told.contains(&node)
            })
            .await?;
        note!("status: {}", message(&database.status().await?, primary));
        only_the_old_one_runs(&database, primary, (&node, &old), &new).await?;
        none_deleted(scope, audit).await?;

        cut.end();
        forgotten.end();
        Nodes::ready(scope.client(), &node).await?;
        back(&database, primary, &before).await?;
        ensure!(!runs(&node, &old)?, "the old server runs still");
        writer.acknowledged(50).await?;
        writer.verify().await?;
        Ok(())
    })
    .await
}

/// Importance 1 (one mysqld a directory): the same of a disk that is attached to one node at a time. While it is
/// attached to the node that was deleted, the operator leaves the pod alone; when Kubernetes' own garbage collector has
/// deleted it, the next one waits for the disk; and it serves once the node has let go of it.
#[tokio::test]
async fn a_deleted_nodes_disk_is_attached() -> Result<(), Failed> {
    scope::run("a_deleted_nodes_disk_is_attached", wait::LONG * 4, async |scope| {
        let Some(nodes) = Nodes::of(&scope.env) else { return Ok(()) };
        if !scope.env.addon("csi").await? {
            return Ok(());
        }
        let database = scope.database("leash");
        database.create(2, json!({"storage": {"class": "csi", "size": "1Gi"}})).await?;
        database.healthy(2, wait::LONG).await?;
        let primary = database.primary().await?;
        let before = table::identity(&database, primary).await?;
        let node = database.node(primary).await?;
        let old = database.pod(primary).await?.uid().context("a pod without a UID")?;
        let writer = Writer::start(&database, "leash", Duration::from_millis(10)).await?;
        writer.acknowledged(50).await?;

        let audit = Audit::begin()?;
        let cut = nodes.cut(&node, "from-api")?;
        let forgotten = nodes.forget(&node)?;
        let attached = format!("its volume {} is still attached to", before.volume);
        let said = database.told(ConditionType::StorageReady, Reason::NodeGone, wait::SHORT).await?;
        ensure!(said.contains("left alone") && said.contains(&attached) && said.contains(&node), "{said}");

        let new = made_anew(&database, primary, &old).await?;
        let said = database.told(ConditionType::StorageReady, Reason::AttachedElsewhere, wait::SHORT).await?;
        ensure!(said.contains(&attached) && said.contains(&node), "{said}");
        only_the_old_one_runs(&database, primary, (&node, &old), &new).await?;
        held::attachment(&scope.client(), &before.volume, &node).await?;
        none_deleted(scope, audit).await?;

        cut.end();
        forgotten.end();
        Nodes::ready(scope.client(), &node).await?;
        back(&database, primary, &before).await?;
        ensure!(!runs(&node, &old)?, "the old server runs still");
        held::attachment(&scope.client(), &before.volume, &database.node(primary).await?).await?;
        writer.acknowledged(50).await?;
        writer.verify().await?;
        Ok(())
    })
    .await
}

/// Importance 1 (I3, I9): somebody deletes the attachment besides, so the disk is taken from a server that goes on with
/// what nobody else sees. Its clients are still connected, and its replica still receives. What comes back on the disk
/// lacks what they wrote: it does not lead, and nothing of it is lost when a person decides for the replica.
#[tokio::test]
async fn a_deleted_nodes_disk_is_taken() -> Result<(), Failed> {
    scope::run("a_deleted_nodes_disk_is_taken", wait::LONG * 5, async |scope| {
        let Some(nodes) = Nodes::of(&scope.env) else { return Ok(()) };
        if !scope.env.addon("csi").await? {
            return Ok(());
        }
        let database = scope.database("thief");
        let spec = json!({"storage": {"class": "csi", "size": "1Gi"}});
        database.create(2, spec.clone()).await?;
        database.healthy(2, wait::LONG).await?;
        let primary = database.primary().await?;
        let before = table::identities(&database, 2).await?;
        let volume = before[primary as usize].volume.clone();
        let node = database.node(primary).await?;
        let old = database.pod(primary).await?.uid().context("a pod without a UID")?;
        let writer = Writer::start(&database, "thief", Duration::from_millis(10)).await?;
        writer.acknowledged(50).await?;

        let cut = nodes.cut(&node, "from-api")?;
        let forgotten = nodes.forget(&node)?;
        let new = made_anew(&database, primary, &old).await?;
        let attachment = held::attachment(&scope.client(), &volume, &node).await?;
        let attachments = held::attachments(&scope.client());
        attachments.delete(&attachment, &DeleteParams::default()).await?;
        wait::gone(&attachments, &attachment, None, wait::LONG).await?;
        note!("the disk is taken from {node}");
        writer.acknowledged(50).await?;
        writer.stop().await?;

        let said = database.told(ConditionType::Blocked, Reason::RolledBack, wait::LONG).await?;
        let replica = (primary + 1) % 2;
        for pod in [primary, replica] {
            ensure!(said.contains(&database.names.pod(pod)), "it does not name instance {pod}: {said}");
        }
        let elsewhere = database.node(primary).await?;
        ensure!(runs(&elsewhere, &new.uid().unwrap_or_default())?, "it was not its server that was judged");
        let read_only: u8 = database.sql(primary).await?.one("SELECT @@super_read_only").await?;
        ensure!(read_only == 1, "what was set back takes writes");

        database.delete().await?;
        let claims = scope.api::<PersistentVolumeClaim>();
        claims.delete(&database.names.claim(primary), &DeleteParams::default()).await?;
        wait::gone(&claims, &database.names.claim(primary), None, wait::LONG).await?;
        database.create(2, spec).await?;
        database.healthy(2, wait::LONG).await?;
        ensure!(database.primary().await? == replica, "the replica does not lead");
        ensure!(table::identity(&database, replica).await? == before[replica as usize], "it is another one");
        let after = Writer::start(&database, "after", Duration::from_millis(10)).await?;
        after.acknowledged(50).await?;
        cut.end();
        forgotten.end();
        Nodes::ready(scope.client(), &node).await?;
        database.healthy(2, wait::LONG).await?;
        after.acknowledged(50).await?;
        after.verify().await?;
        writer.verify().await?;
        Ok(())
    })
    .await
}

/// The operator has deleted no pod since the log began.
async fn none_deleted(scope: &Scope, audit: Audit) -> Result<()> {
    let deleted = audit.requests(&audit::operator(&scope.env.client).await?)?;
    let deleted = deleted.iter().find(|request| request.verb == "delete" && request.resource == "pods");
    ensure!(deleted.is_none(), "the operator deleted a pod: {deleted:?}");
    Ok(())
}

/// Waits until Kubernetes has deleted the pod, as it does with those of nodes that are gone, and another is scheduled.
async fn made_anew(database: &Database<'_>, ordinal: u32, old: &str) -> Result<Pod> {
    let pod = database.names.pod(ordinal);
    let what = format!("{pod} to be made anew");
    wait::object(&database.scope.api(), &pod, &what, wait::LONG, |pod: &Pod| {
        let scheduled = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        scheduled && pod.uid().is_some_and(|uid| uid != old)
    })
    .await
}

/// Once the node hears that its pod is gone it stops it, and the new one serves, as who it was.
async fn back(database: &Database<'_>, primary: u32, before: &Identity) -> Result<()> {
    database.healthy(2, wait::LONG).await?;
    ensure!(database.primary().await? == primary, "another instance leads");
    ensure!(table::identity(database, primary).await? == *before, "it came back as another");
    Ok(())
}

/// There is a new pod on another node, and no second server.
async fn only_the_old_one_runs(
    database: &Database<'_>,
    primary: u32,
    (node, old): (&str, &str),
    new: &Pod,
) -> Result<()> {
    let elsewhere = database.node(primary).await?;
    ensure!(elsewhere != node, "the new pod is on {node}");
    let (first, second) = (runs(node, old)?, runs(&elsewhere, &new.uid().unwrap_or_default())?);
    ensure!(first && !second, "servers on one volume: the old one {first}, the new one {second}");
    Ok(())
}

fn runs(node: &str, pod_uid: &str) -> Result<bool> {
    Ok(!processes(node, pod_uid, SERVER)?.is_empty())
}
