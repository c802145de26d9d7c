//! The operator killed while it makes a cluster.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use mainstay_crd::{MySQLClusterStatus, Operation, OperationKind};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::{checksum, exec, load, note, operator, table, wait};
use mainstay_proto::pod::{CONTAINER_MYSQL, paths};
use serde_json::Value;

/// Importance 1: five operators, each killed at another moment, make the same cluster as one: initialised once,
/// Healthy.
#[tokio::test]
async fn operator_killed() -> Result<(), Failed> {
    scope::run("operator_killed", wait::LONG * 4, async |scope| {
        let database = scope.database("relay");
        database.create(3, serde_json::json!({})).await?;
        let set = database.names.base();
        wait::object(&scope.api::<StatefulSet>(), &set, "the StatefulSet", wait::LONG, |_| true).await?;
        kill(&database, "the StatefulSet was made").await?;

        let announced = moment(&database, "the initialisation announced", |status| {
            operations(status, OperationKind::Initialize).first().cloned().cloned()
        })
        .await?;
        kill(&database, "the initialisation was announced").await?;

        moment(&database, "a primary recorded", |status| status.replication.as_ref()?.primary).await?;
        kill(&database, "the primary was recorded").await?;

        let first = moment(&database, "a clone announced", |status| {
            operations(status, OperationKind::Clone).first().map(|operation| operation.ordinal)
        })
        .await?;
        kill(&database, "the first clone was announced").await?;

        moment(&database, "another clone announced", |status| {
            operations(status, OperationKind::Clone)
                .iter()
                .find(|operation| operation.ordinal != first)
                .map(drop)
        })
        .await?;
        kill(&database, "the second clone was announced").await?;

        database.healthy(3, wait::LONG).await?;
        initialised_once(&database, &announced).await?;
        load::rows(&mut database.sql_through(&database.names.primary_service()).await?, 1000).await?;
        checksum::compare(&database, &[0, 1, 2]).await
    })
    .await
}

async fn kill(database: &Database<'_>, when: &str) -> Result<()> {
    note!("killing the operator: {when}");
    operator::kill(&database.scope.env).await.map(drop)
}

fn operations(status: &MySQLClusterStatus, kind: OperationKind) -> Vec<&Operation> {
    let all = status.replication.iter().flat_map(|record| &record.operations);
    all.filter(|operation| operation.kind == kind).collect()
}

/// Waits for a moment of the record that a watch sees go by, and returns what it was known by.
async fn moment<T>(
    database: &Database<'_>,
    what: &str,
    mut seen: impl FnMut(&MySQLClusterStatus) -> Option<T>,
) -> Result<T> {
    let mut found = None;
    database
        .until(what, wait::LONG, |status| {
            found = seen(status);
            found.is_some()
        })
        .await?;
    found.with_context(|| what.to_owned())
}

/// The first data directory is the one that was announced first, and the others are copies of it.
async fn initialised_once(database: &Database<'_>, announced: &Operation) -> Result<()> {
    let record = database.status().await?.replication.context("no record")?;
    ensure!(record.epoch == 1, "it took {} epochs", record.epoch);
    ensure!(
        record.primary == Some(announced.ordinal),
        "{:?} leads, not {}",
        record.primary,
        announced.ordinal
    );
    ensure!(record.operations.is_empty(), "left over: {:?}", record.operations);
    for identity in table::identities(database, 3).await? {
        let made_by = operation_of(database, identity.ordinal).await?;
        let is_first = i64::from(identity.ordinal) == i64::from(announced.ordinal);
        if (made_by == announced.id) != is_first {
            bail!(
                "instance {} was made by operation {made_by}; announced was {announced:?}",
                identity.ordinal
            );
        }
    }
    Ok(())
}

/// The operation that made a data directory, from the marker beside it.
async fn operation_of(database: &Database<'_>, ordinal: u32) -> Result<String> {
    let marker = format!("{}/mainstay.json", paths::VOLUME);
    let pods = database.scope.api::<Pod>();
    let text = exec::in_pod(&pods, &database.names.pod(ordinal), CONTAINER_MYSQL, &["cat", &marker]).await?;
    let marker: Value = serde_json::from_str(&text)?;
    find(&marker, "operation").with_context(|| format!("no operation in the marker {marker}"))
}

/// The first text under `key`, however deep.
fn find(value: &Value, key: &str) -> Option<String> {
    match value {
        Value::Object(fields) => fields
            .get(key)
            .and_then(|found| found.as_str().map(str::to_owned))
            .or_else(|| fields.values().find_map(|inner| find(inner, key))),
        _ => None,
    }
}
