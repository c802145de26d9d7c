//! An image that can't be pulled.

use anyhow::{Result, ensure};
use mainstay_crd::MySQLClusterStatus;
use mainstay_e2e::database::{self, Database};
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::{load, wait};
use serde_json::json;

/// No registry has it.
const NOWHERE: &str = "registry.invalid/mysql:no-such-tag";

/// Importance 1: status names the image, and a fixed spec is enough: pods that can't start are replaced.
#[tokio::test]
async fn bad_image() -> Result<(), Failed> {
    scope::run("bad_image", wait::LONG * 2, async |scope| {
        let database = scope.database("typo");
        database.create(3, json!({"image": NOWHERE})).await?;
        database.until("status to name the image", wait::LONG, names_image).await?;
        database.patch(json!({"image": database::image()})).await?;
        database.healthy(3, wait::LONG).await?;
        serves(&database).await
    })
    .await
}

/// Both where `kubectl get` leads a person and where the instance is described.
fn names_image(status: &MySQLClusterStatus) -> bool {
    let condition = status.conditions.iter().any(|condition| condition.message.contains(NOWHERE));
    let instance = status.instances.iter().any(|instance| {
        !instance.ready && instance.message.as_deref().is_some_and(|message| message.contains(NOWHERE))
    });
    condition && instance
}

async fn serves(database: &Database<'_>) -> Result<()> {
    let mut sql = database.sql_through(&database.names.primary_service()).await?;
    load::rows(&mut sql, 10).await?;
    load::check_rows(&mut sql, 10).await?;
    let epoch = database.status().await?.replication.map(|record| record.epoch);
    ensure!(epoch == Some(1), "the cluster was initialised in epoch {epoch:?}");
    Ok(())
}
