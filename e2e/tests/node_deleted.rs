//! A Node object is deleted while all that runs on the machine runs on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_e2e::audit::{self, Audit};
use mainstay_e2e::database::{Database, message};
use mainstay_e2e::faults::{Nodes, processes};
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{note, table, wait};

/// The server's process.
const SERVER: &str = "mysqld";

/// Importance 1 (SAFETY, "One mysqld a directory"): the volume can be mounted twice, so a deleted Node proves nothing.
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
        let elsewhere = database.node(primary).await?;
        ensure!(elsewhere != node, "the new pod is on {node}");
        let (first, second) = (runs(&node, &old)?, runs(&elsewhere, &new.uid().unwrap_or_default())?);
        ensure!(first && !second, "servers on one directory: the old one {first}, the new one {second}");
        let deleted = audit.requests(&audit::operator(&scope.env.client).await?)?;
        let deleted = deleted.iter().find(|request| request.verb == "delete" && request.resource == "pods");
        ensure!(deleted.is_none(), "the operator deleted a pod: {deleted:?}");

        cut.end();
        forgotten.end();
        Nodes::ready(scope.client(), &node).await?;
        back(&database, primary).await?;
        ensure!(!runs(&node, &old)?, "the old server runs still");
        ensure!(table::identity(&database, primary).await? == before, "it came back as another");
        writer.acknowledged(50).await?;
        writer.verify().await?;
        Ok(())
    })
    .await
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

/// Once the node hears that its pod is gone it stops it, the lock is free, and the new one serves.
async fn back(database: &Database<'_>, primary: u32) -> Result<()> {
    database.healthy(2, wait::LONG).await?;
    ensure!(database.primary().await? == primary, "another instance leads");
    Ok(())
}

fn runs(node: &str, pod_uid: &str) -> Result<bool> {
    Ok(!processes(node, pod_uid, SERVER)?.is_empty())
}
