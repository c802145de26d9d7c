//! Every pod deleted in turn, while clients write.

use std::time::Duration;

use anyhow::{Result, ensure};
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{note, table, wait};

/// Importance 1: an instance that restarts comes back as itself, with its data. A replica comes back in its role; a
/// primary whose pod is deleted hands over first, once, and comes back as a replica.
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
        let epoch =
            |record: &Option<mainstay_crd::ReplicationRecord>| record.as_ref().map(|record| record.epoch);
        ensure!(
            epoch(&now) == epoch(&record).map(|epoch| epoch + 1),
            "not one hand-over: {record:?}, {now:?}"
        );
        ensure!(database.primary().await? != primary, "the primary did not hand over");
        Ok(())
    })
    .await
}
