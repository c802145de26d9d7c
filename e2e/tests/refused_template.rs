//! Changes of the spec that the API server refuses to make pods of.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::ResourceExt;
use kube::api::PostParams;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::told::condition;
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{note, wait};
use serde_json::{Value, json};

/// Importance 1: a toleration that the API server refuses is said in its words, no pod is touched, and taking it back
/// heals.
#[tokio::test]
async fn refused_template() -> Result<(), Failed> {
    scope::run("refused_template", wait::LONG * 3, async |scope| {
        let database = scope.database("refused");
        database.start(3).await?;
        let writer = writer(&database).await?;
        let toleration = json!([{"key": "database", "operator": "Unknown"}]);
        let spec = json!({"scheduling": {"tolerations": toleration}});
        stands(&database, writer, spec, &["Unknown"]).await?;
        heals(&database, json!({"scheduling": {"tolerations": null}})).await
    })
    .await
}

/// Importance 2: likewise, of what a quota has no room for.
#[tokio::test]
async fn refused_by_quota() -> Result<(), Failed> {
    scope::run("refused_by_quota", wait::LONG * 3, async |scope| {
        let database = scope.database("quota");
        database.start(2).await?;
        // Its pod says nothing of memory: with the quota it would be refused too.
        let writer = writer(&database).await?;
        let quota: ResourceQuota = serde_json::from_value(json!({
            "metadata": {"name": "small"},
            "spec": {"hard": {"limits.memory": "3Gi"}},
        }))?;
        scope.api::<ResourceQuota>().create(&PostParams::default(), &quota).await?;
        let large = json!({"resources": {"limits": {"memory": "8Gi"}}});
        stands(&database, writer, large, &["exceeded quota", "small"]).await?;
        heals(&database, json!({"resources": {"limits": {"memory": "512Mi"}}})).await
    })
    .await
}

/// Makes a change that is refused: it is said so, writes go on, and every pod stays.
async fn stands(database: &Database<'_>, writer: Writer<'_>, change: Value, words: &[&str]) -> Result<()> {
    let before = uids(database).await?;
    database.patch(change).await?;
    let told = database
        .until("SpecValid to be False with the API server's words", wait::LONG, |status| {
            condition(status, ConditionType::SpecValid).is_some_and(|valid| {
                valid.status == "False" && words.iter().all(|word| valid.message.contains(word))
            })
        })
        .await?;
    let status = told.status.unwrap_or_default();
    let valid = condition(&status, ConditionType::SpecValid).context("no SpecValid")?;
    ensure!(valid.reason == Reason::InvalidSpec.as_str(), "{valid:?}");
    note!("{}", valid.message);
    // Pods were deleted 28 times a minute: these writes take one on a busy machine, and half of one else.
    writer.acknowledged(2000).await?;
    ensure!(uids(database).await? == before, "pods were replaced for what can't be");
    writer.verify().await?;
    Ok(())
}

async fn writer<'a>(database: &'a Database<'a>) -> Result<Writer<'a>> {
    Writer::start(database, "stands", Duration::from_millis(10)).await
}

async fn heals(database: &Database<'_>, back: Value) -> Result<()> {
    let before = uids(database).await?;
    database.patch(back).await?;
    database.told(ConditionType::SpecValid, Reason::Accepted, wait::LONG).await?;
    ensure!(uids(database).await? == before, "what was taken back replaced pods");
    Ok(())
}

async fn uids(database: &Database<'_>) -> Result<Vec<Option<String>>> {
    Ok(database.pods().await?.iter().map(Pod::uid).collect())
}
