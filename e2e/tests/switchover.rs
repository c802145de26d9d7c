//! A planned change of the primary, while clients write.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::api::{Patch, PatchParams};
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::ANNOTATION_SWITCHOVER_TO;
use mainstay_crd::{MySQLClusterStatus, ReplicationRecord};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::told::is_healthy;
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{note, operator, table, wait};
use serde_json::json;

/// Importance 1: who was asked for leads, nothing acknowledged is lost, and no pod is replaced for it.
#[tokio::test]
async fn switchover() -> Result<(), Failed> {
    scope::run("switchover", wait::LONG * 3, async |scope| {
        let database = scope.database("hand");
        database.start(3).await?;
        let before = table::identities(&database, 3).await?;
        let first = database.primary().await?;
        let writer = Writer::start(&database, "named", Duration::from_millis(5)).await?;
        let next = (first + 1) % 3;
        ask(&database, Some(&database.names.pod(next))).await?;
        leads(&database, next).await?;
        writer.acknowledged(100).await?;
        writer.verify().await?;

        let writer = Writer::start(&database, "anyone", Duration::from_millis(5)).await?;
        ask(&database, Some("any")).await?;
        database
            .until("another primary", wait::LONG, |status| {
                is_healthy(status, 3) && status.primary != Some(database.names.pod(next))
            })
            .await?;
        writer.acknowledged(100).await?;
        writer.verify().await?;

        let now = database.primary().await?;
        ask(&database, Some("nobody-7")).await?;
        scope.event(Reason::SwitchoverRefused.as_str(), wait::SHORT).await?;
        ensure!(database.primary().await? == now, "a request that can't be carried out changed the primary");
        ensure!(table::identities(&database, 3).await? == before, "an instance is another one now");
        Ok(())
    })
    .await
}

/// Importance 1 (I7): the operator is killed in the middle, and the next one ends what was begun.
#[tokio::test]
async fn switchover_with_the_operator_killed() -> Result<(), Failed> {
    scope::run("switchover_killed", wait::LONG * 3, async |scope| {
        let database = scope.database("torn");
        database.start(2).await?;
        let writer = Writer::start(&database, "torn", Duration::from_millis(5)).await?;
        type Moment = (&'static str, fn(&ReplicationRecord) -> bool);
        let moments: [Moment; 3] = [
            ("it was announced", |record| record.target.is_some()),
            ("the old primary was seen read-only", |record| {
                record.target.is_some()
                    && record.switchover.as_ref().is_some_and(|s| s.final_gtid_set.is_some())
            }),
            // The new epoch, which ends the wait for each of them: a moment may go by unseen.
            ("the outcome was written", |_| false),
        ];
        for (what, moment) in moments {
            let next = 1 - database.primary().await?;
            let before = record(&database.status().await?).epoch;
            ask(&database, Some(&database.names.pod(next))).await?;
            let reached = |status: &MySQLClusterStatus| {
                let record = record(status);
                record.epoch > before || moment(&record)
            };
            database.until(what, wait::LONG, reached).await?;
            operator::kill(&scope.env).await?;
            leads(&database, next).await?;
            writer.acknowledged(50).await?;
            note!("killed when {what}: {} leads", database.names.pod(next));
        }
        writer.verify().await?;
        Ok(())
    })
    .await
}

fn record(status: &MySQLClusterStatus) -> ReplicationRecord {
    status.replication.clone().unwrap_or_default()
}

async fn ask(database: &Database<'_>, whom: Option<&str>) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION_SWITCHOVER_TO: whom}}}));
    database.api().patch(&database.names.cluster, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn leads(database: &Database<'_>, ordinal: u32) -> Result<()> {
    let replicas = database.get().await?.spec.replicas;
    let pod = database.names.pod(ordinal);
    let what = format!("{pod} to lead");
    database
        .until(&what, wait::LONG, |status| {
            is_healthy(status, replicas) && status.primary.as_ref() == Some(&pod)
        })
        .await?;
    Ok(())
}
