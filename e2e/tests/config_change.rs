//! Changes that need a restart, good and bad.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::ResourceExt;
use mainstay_crd::MySQLClusterStatus;
use mainstay_e2e::database::Database;
use mainstay_e2e::rollout::Rollout;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{note, wait};
use serde_json::json;

/// An option that is not dynamic, so that only a restart can set it.
const OPTION: &str = "back_log";

/// Importance 1: a change is rolled out one instance at a time, replicas first, and nothing acknowledged is lost.
#[tokio::test]
async fn config_change() -> Result<(), Failed> {
    scope::run("config_change", wait::LONG * 3, async |scope| {
        let database = scope.database("tuned");
        database.start(3).await?;
        let primary = database.primary().await?;
        let writer = Writer::start(&database, "tuned", Duration::from_millis(5)).await?;
        let rollout = Rollout::watch(&database);
        database.patch(json!({"config": {"common": {OPTION: "77"}}})).await?;
        all_have(&database, "77").await?;
        let seen = rollout.seen();
        note!("replaced {:?}, at most {} away", seen.replaced, seen.most_away);
        ensure!(seen.replaced.len() == 3, "replaced {:?}", seen.replaced);
        ensure!(seen.replaced.last() == Some(&database.names.pod(primary)), "the primary was not the last");
        ensure!(seen.most_away == 1, "{} instances were away at a time", seen.most_away);
        writer.acknowledged(50).await?;
        writer.verify().await?;
        Ok(())
    })
    .await
}

/// Importance 1 (I11): a change that can't start stops at the first pod and leaves the primary alone; the next
/// change is rolled out although not all are Ready.
#[tokio::test]
async fn bad_config() -> Result<(), Failed> {
    scope::run("bad_config", wait::LONG * 3, async |scope| {
        let database = scope.database("banana");
        database.start(3).await?;
        let primary = database.primary().await?;
        let before = uids(&database).await?;
        let writer = Writer::start(&database, "banana", Duration::from_millis(5)).await?;
        database.patch(json!({"config": {"common": {"innodb_buffer_pool_size": "banana"}}})).await?;
        database.until("an instance to say what it can't start with", wait::LONG, says_why).await?;
        writer.acknowledged(200).await?;
        let after = uids(&database).await?;
        let touched: Vec<usize> = (0..3).filter(|at| before[*at] != after[*at]).collect();
        ensure!(touched.len() == 1, "instances {touched:?} were replaced, though the first can't start");
        ensure!(touched != [primary as usize], "the primary was replaced first");
        database
            .patch(json!({"config": {"common": {"innodb_buffer_pool_size": "134217728", OPTION: "78"}}}))
            .await?;
        all_have(&database, "78").await?;
        writer.acknowledged(50).await?;
        writer.verify().await?;
        Ok(())
    })
    .await
}

fn says_why(status: &MySQLClusterStatus) -> bool {
    status.instances.iter().any(|instance| {
        let message = instance.message.as_deref().unwrap_or_default();
        !instance.ready && (message.contains("banana") || message.contains("innodb_buffer_pool_size"))
    })
}

async fn uids(database: &Database<'_>) -> Result<Vec<Option<String>>> {
    Ok(database.pods().await?.iter().map(ResourceExt::uid).collect())
}

/// Waits until every server has the value and the cluster is Healthy with it.
async fn all_have(database: &Database<'_>, value: &str) -> Result<()> {
    for ordinal in 0..3 {
        wait::poll(&format!("{OPTION} = {value} on instance {ordinal}"), wait::LONG, || async {
            let has: String = database.sql(ordinal).await?.one(&format!("SELECT @@{OPTION}")).await?;
            Ok((has == value).then_some(()))
        })
        .await?;
    }
    database.healthy(3, wait::LONG).await?;
    Ok(())
}
