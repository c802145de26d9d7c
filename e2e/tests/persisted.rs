//! Options that safety rests on, set otherwise by a person.

use anyhow::{Result, ensure};
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::{note, wait};

/// What is persisted on a replica: the second two would make it lose what it received, and replicate before it was judged.
const PERSISTED: [&str; 3] = [
    "SET PERSIST sync_binlog = 0",
    "SET PERSIST_ONLY relay_log_recovery = ON",
    "SET PERSIST_ONLY skip_replica_start = OFF",
];

/// Importance 1: each is set back, at the latest with the next start, on the primary and on a replica.
#[tokio::test]
async fn persisted_options() -> Result<(), Failed> {
    scope::run("persisted_options", wait::LONG * 4, async |scope| {
        let database = scope.database("kept");
        database.start(2).await?;
        let primary = database.primary().await?;
        for ordinal in [1 - primary, primary] {
            let mut sql = database.sql(ordinal).await?;
            for statement in PERSISTED {
                sql.exec(statement).await?;
            }
            wait::poll("sync_binlog to be 1 again while it runs", wait::LONG, || async {
                let value: u32 = database.sql(ordinal).await?.one("SELECT @@sync_binlog").await?;
                Ok((value == 1).then_some(()))
            })
            .await?;
            database.restart(ordinal, 2).await?;
            let mut sql = database.sql(ordinal).await?;
            let now: (u32, u32, u32) =
                sql.one("SELECT @@sync_binlog, @@relay_log_recovery, @@skip_replica_start").await?;
            ensure!(now == (1, 0, 1), "instance {ordinal}: {now:?}");
            let left: u64 = sql
                .one(
                    "SELECT COUNT(*) FROM performance_schema.persisted_variables WHERE variable_name IN \
                     ('sync_binlog', 'relay_log_recovery', 'skip_replica_start')",
                )
                .await?;
            ensure!(left == 0, "{left} of them are persisted still on instance {ordinal}");
            note!("instance {ordinal} has them as they must be");
        }
        Ok(())
    })
    .await
}
