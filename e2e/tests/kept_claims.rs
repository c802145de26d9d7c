//! Claims that were kept when instances left, and whose content was changed meanwhile, behind the operator's back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{Api, DeleteParams};
use mainstay_crd::{InstanceState, InstanceStatus, Judgement};
use mainstay_e2e::database::Database;
use mainstay_e2e::faults::on_node;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::static_volumes::{StaticVolumes, directory_of};
use mainstay_e2e::told::{is_healthy, ordinal};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{load, note, table, wait};

/// The instance that leaves and comes back.
const LAST: u32 = 2;
/// Rows of the other cluster.
const ROWS: u32 = 100;

/// Importance 1 (I9): another cluster's data, nothing, and an older copy of its own. Only what left may serve; of what
/// came instead nothing is touched, but for what is empty, and the other instances serve throughout.
#[tokio::test]
async fn content_changed_while_kept() -> Result<(), Failed> {
    scope::run("content_changed_while_kept", wait::LONG * 4, async |scope| {
        let Some(volumes) = StaticVolumes::of(scope) else { return Ok(()) };
        let node = volumes.workers().await?.into_iter().next().context("a cluster without workers")?;
        let others = stranger(scope).await?;
        let database = scope.database("keep");
        database.start(3).await?;
        let writer = Writer::start(&database, "keep", Duration::from_millis(10)).await?;
        let before = table::identity(&database, LAST).await?;
        let own = directory(scope, &before.volume).await?;

        writer.acknowledged(50).await?;
        database.scale(2).await?;
        on_node(&node, r#"mv "$1" "$1.own" && cp -a "$2" "$1""#, &[&own, &others])?;
        let message = comes_back_as(&database, Judgement::NewVolumeForeign).await?;
        stays_out(&database, &message, &["holds"]).await?;
        writer.acknowledged(50).await?;
        on_node(&node, r#"diff -rq "$1/data/app" "$2/data/app""#, &[&own, &others])?;
        // The way out: what left is put back.
        on_node(&node, r#"mv "$1" "$1.foreign" && mv "$1.own" "$1""#, &[&own])?;
        delete_pod(&database).await?;
        database.healthy(3, wait::LONG).await?;
        ensure!(table::identity(&database, LAST).await? == before, "it is not the one that left");

        database.scale(2).await?;
        on_node(&node, r#"cp -a "$1" "$1.old""#, &[&own])?;
        database.scale(3).await?;
        writer.acknowledged(50).await?;
        database.scale(2).await?;
        on_node(&node, r#"mv "$1" "$1.new" && mv "$1.old" "$1""#, &[&own])?;
        let message = comes_back_as(&database, Judgement::RolledBack).await?;
        stays_out(&database, &message, &["was set back: it lacks"]).await?;
        writer.acknowledged(50).await?;
        on_node(&node, r#"mv "$1" "$1.old" && mv "$1.new" "$1""#, &[&own])?;
        delete_pod(&database).await?;
        database.healthy(3, wait::LONG).await?;
        ensure!(table::identity(&database, LAST).await? == before, "it is not the one that left");

        database.scale(2).await?;
        on_node(&node, r#"mv "$1" "$1.new" && install -d -m 777 "$1""#, &[&own])?;
        comes_back_as(&database, Judgement::Wiped).await?;
        database.healthy(3, wait::LONG).await?;
        let cloned = table::identity(&database, LAST).await?;
        ensure!(cloned.server_uuid != before.server_uuid && cloned.volume == before.volume, "{cloned:?}");
        writer.acknowledged(50).await?;
        writer.verify().await?;
        on_node(&node, r#"rm -rf "$1".own "$1".new "$1".old "$1".foreign "$2""#, &[&own, &others])?;
        Ok(())
    })
    .await
}

/// A copy of another cluster's directory, with data in it.
async fn stranger(scope: &Scope) -> Result<String> {
    let database = scope.database("stranger");
    database.start(1).await?;
    load::rows(&mut database.sql(0).await?, ROWS).await?;
    let volume = table::identity(&database, 0).await?.volume;
    database.delete().await?;
    directory(scope, &volume).await
}

async fn directory(scope: &Scope, volume: &str) -> Result<String> {
    let volumes: Api<PersistentVolume> = Api::all(scope.client());
    directory_of(&volumes.get(volume).await?)
}

/// Asks for the instance again, and waits until this is said of what it has come back with.
async fn comes_back_as(database: &Database<'_>, judgement: Judgement) -> Result<String> {
    database.ask_for(3).await?;
    let what = format!("the verdict {judgement:?}");
    let cluster = database
        .until(&what, wait::LONG, |status| {
            let verdict =
                status.instances.iter().find(|i| ordinal(i) == LAST).and_then(|i| i.verdict.as_ref());
            verdict.is_some_and(|verdict| verdict.judgement == judgement)
        })
        .await?;
    let instances = cluster.status.unwrap_or_default().instances;
    let verdict = instances.into_iter().find(|i| ordinal(i) == LAST).and_then(|i| i.verdict);
    let message = verdict.context("no verdict")?.message;
    note!("{judgement:?}: {message}");
    Ok(message)
}

/// It is quarantined, its message says so and names the ways out, and the others serve.
async fn stays_out(database: &Database<'_>, message: &str, words: &[&str]) -> Result<()> {
    let claim = database.names.claim(LAST);
    let ways = ["Put back the volume that left", "to have it cloned anew", &claim];
    for word in words {
        ensure!(message.contains(word), "'{word}' is not in: {message}");
    }
    // What was found, and what to do about it.
    let out = |instance: &InstanceStatus| {
        let says = |text: &str| instance.message.as_ref().is_some_and(|said| said.contains(text));
        instance.state == InstanceState::Quarantined && says(message) && ways.iter().all(|way| says(way))
    };
    let cluster = database
        .until("it to be quarantined and the others to serve", wait::SHORT, |status| {
            status.ready_replicas == 2 && status.instances.iter().any(|i| ordinal(i) == LAST && out(i))
        })
        .await?;
    ensure!(!is_healthy(&cluster.status.unwrap_or_default(), 3), "the cluster is called Healthy");
    let endpoints = database.endpoints(&database.names.read_service()).await?;
    ensure!(!endpoints.contains(&database.names.pod(LAST)), "clients are sent to it: {endpoints:?}");
    let claim = database.scope.api::<PersistentVolumeClaim>().get(&claim).await?;
    ensure!(claim.metadata.deletion_timestamp.is_none(), "its claim is being deleted");
    Ok(())
}

async fn delete_pod(database: &Database<'_>) -> Result<()> {
    let pods = database.scope.api::<Pod>();
    pods.delete(&database.names.pod(LAST), &DeleteParams::default()).await?;
    Ok(())
}
