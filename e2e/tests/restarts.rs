//! Every pod deleted in turn, while clients write.

use std::time::Duration;

use anyhow::{Result, ensure};
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{note, table, wait};

/// Importance 1: an instance that restarts comes back as itself, with its data, in its role.
///
/// Without failover a primary that restarts stays the primary, and waits for the operator to confirm that.
#[tokio::test]
async fn restarts() -> Result<(), Failed> {
    scope::run("restarts", wait::LONG * 3, async |scope| {
        let database = scope.database("turns");
        database.start(3).await?;
        let before = table::identities(&database, 3).await?;
        let record = database.status().await?.replication;
        let primary = database.primary().await?;
        let writer = Writer::start(&database, "turns", Duration::from_millis(5)).await?;
        let replicas = (0..3).filter(|ordinal| *ordinal != primary);
        for ordinal in replicas.chain([primary]) {
            database.restart(ordinal, 3).await?;
            writer.acknowledged(50).await?;
            let after = table::identity(&database, ordinal).await?;
            let known = before.iter().find(|identity| identity.ordinal == ordinal);
            ensure!(known == Some(&after), "instance {ordinal} came back as another: {known:?}, {after:?}");
        }
        writer.verify().await?;
        note!("instances:\n{}", table::of(scope, &database.names.cluster).await?);
        let now = database.status().await?.replication;
        let leads = |record: &Option<mainstay_crd::ReplicationRecord>| {
            record.as_ref().map(|record| (record.primary, record.epoch))
        };
        ensure!(leads(&record) == leads(&now), "who leads has changed: {record:?}, {now:?}");
        Ok(())
    })
    .await
}
