//! MySQL's scheduled events run on whoever leads, and nowhere else.

use anyhow::{Result, ensure};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::{note, wait};

/// Importance 1: over a switchover and the deletion of the primary's pod events go on, under the definer that they had; one
/// that a person disabled stays so; and no instance runs one that is not the primary's.
#[tokio::test]
async fn events_follow_the_primary() -> Result<(), Failed> {
    scope::run("events_follow", wait::LONG * 4, async |scope| {
        let database = scope.database("clock");
        database.start(3).await?;
        let first = database.primary().await?;
        let mut sql = database.sql(first).await?;
        for statement in [
            "CREATE DATABASE app",
            "CREATE TABLE app.ticks (id BIGINT AUTO_INCREMENT PRIMARY KEY, server CHAR(36))",
            "CREATE USER 'clerk'@'%' IDENTIFIED BY 'a clerk, and nobody else'",
            "GRANT ALL ON app.* TO 'clerk'@'%'",
            "CREATE DEFINER='clerk'@'%' EVENT app.tick ON SCHEDULE EVERY 1 SECOND DO INSERT INTO app.ticks (server) \
             VALUES (@@server_uuid)",
            "CREATE DEFINER='clerk'@'%' EVENT app.never ON SCHEDULE EVERY 1 SECOND DISABLE DO INSERT INTO app.ticks \
             (server) VALUES ('never')",
        ] {
            sql.exec(statement).await?;
        }
        ticks(&database).await?;

        database.hand_over_to((first + 1) % 3).await?;
        ticks(&database).await?;
        let second = database.primary().await?;
        database.restart(second, 3).await?;
        ticks(&database).await?;

        let mut sql = database.sql(database.primary().await?).await?;
        let definers: Vec<(String, String)> =
            sql.rows("SELECT event_name, definer FROM information_schema.events ORDER BY event_name").await?;
        ensure!(definers.iter().all(|(_, definer)| definer == "clerk@%"), "{definers:?}");
        ensure!(sql.one::<u64>("SELECT COUNT(*) FROM app.ticks WHERE server = 'never'").await? == 0, "never ran");
        for ordinal in 0..3 {
            let scheduler: String = database.sql(ordinal).await?.one("SELECT @@event_scheduler").await?;
            let leads = ordinal == database.primary().await?;
            ensure!((scheduler == "ON") == leads, "the scheduler of instance {ordinal} is {scheduler}");
        }
        // Nobody has run one beside the primary: it would be quarantined.
        database.healthy(3, wait::LONG).await?;
        Ok(())
    })
    .await
}

/// Waits for three more ticks of the primary.
async fn ticks(database: &Database<'_>) -> Result<()> {
    let mut sql = database.sql(database.primary().await?).await?;
    let count = "SELECT COUNT(*) FROM app.ticks WHERE server = @@server_uuid";
    let before: u64 = sql.one(count).await?;
    wait::poll("three ticks of the primary", wait::LONG, || async {
        let mut sql = database.sql(database.primary().await?).await?;
        Ok((sql.one::<u64>(count).await? >= before + 3).then_some(()))
    })
    .await?;
    note!("events run on {}", database.names.pod(database.primary().await?));
    Ok(())
}
