//! Options that safety rests on, set otherwise by a person.

use anyhow::{Result, ensure};
use mainstay_crd::MySQLClusterStatus;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::{note, wait};

/// More than a process can address, in one piece: in small pieces mysqld would take all memory of its node first.
const TOO_LARGE: &str = "SET PERSIST_ONLY innodb_buffer_pool_size = 1152921504606846976, \
    PERSIST_ONLY innodb_buffer_pool_chunk_size = 1152921504606846976";

/// What is persisted on a replica: the second two would make it lose what it received, and replicate before it was judged.
const PERSISTED: [&str; 4] = [
    "SET PERSIST replica_exec_mode = IDEMPOTENT",
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
            wait::poll("two of them to be set back while it runs", wait::LONG, || async {
                let query = "SELECT @@sync_binlog, @@replica_exec_mode";
                let now: (u32, String) = database.sql(ordinal).await?.one(query).await?;
                Ok((now == (1, "STRICT".into())).then_some(()))
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
                     ('sync_binlog', 'relay_log_recovery', 'skip_replica_start', 'replica_exec_mode')",
                )
                .await?;
            ensure!(left == 0, "{left} of them are persisted still on instance {ordinal}");
            note!("instance {ordinal} has them as they must be");
        }
        Ok(())
    })
    .await
}

/// Importance 2: a value that was persisted, and with which no server starts, is left out at the next start: on a replica and on
/// the primary. It is told, and what the server has come up with before stays.
#[tokio::test]
async fn fatal_persisted_option() -> Result<(), Failed> {
    scope::run("fatal_persisted_option", wait::LONG * 4, async |scope| {
        let database = scope.database("fatal");
        database.start(2).await?;
        let primary = database.primary().await?;
        for ordinal in [1 - primary, primary] {
            database.sql(ordinal).await?.exec("SET PERSIST max_connections = 77").await?;
            database.restart(ordinal, 2).await?;
            let mut sql = database.sql(ordinal).await?;
            sql.exec(TOO_LARGE).await?;
            database.restart(ordinal, 2).await?;
            let name = database.names.pod(ordinal);
            let says = |status: &MySQLClusterStatus| {
                let instance = status.instances.iter().find(|instance| instance.name == name);
                let message = instance.and_then(|instance| instance.message.as_deref()).unwrap_or_default();
                message.contains("innodb_buffer_pool_size")
            };
            database.until("it to be told what was left out", wait::LONG, says).await?;
            let connections: u32 = database.sql(ordinal).await?.one("SELECT @@max_connections").await?;
            ensure!(connections == 77, "instance {ordinal} has max_connections {connections}");
            note!("instance {ordinal} starts without what is fatal");
        }
        database.healthy(2, wait::LONG).await?;
        Ok(())
    })
    .await
}
