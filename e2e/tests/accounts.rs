//! Rules that a person sets for accounts, and the accounts that the operator needs.

use anyhow::{Result, ensure};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::{load, wait};
use serde_json::json;

/// Rows that are written.
const ROWS: u32 = 100;

/// Importance 1: with a history of passwords asked for from the start a cluster comes up, restarts, and is without it again.
#[tokio::test]
async fn password_history() -> Result<(), Failed> {
    scope::run("password_history", wait::LONG * 5, async |scope| {
        let database = scope.database("history");
        database.create(2, json!({"config": {"common": {"password_history": "5"}}})).await?;
        database.healthy(2, wait::LONG).await?;
        load::rows(&mut database.sql_through(&database.names.primary_service()).await?, ROWS).await?;
        let primary = database.primary().await?;
        for ordinal in [1 - primary, primary] {
            database.restart(ordinal, 2).await?;
        }
        is_read_only_but_for_who_leads(&database).await?;
        database.patch(json!({"config": {"common": {"password_history": null}}})).await?;
        wait::poll("the option to be taken back", wait::LONG * 2, || async {
            let value: u32 = database.sql(primary).await?.one("SELECT @@password_history").await?;
            Ok((value == 0).then_some(()))
        })
        .await?;
        database.healthy(2, wait::LONG).await?;
        load::check_rows(&mut database.sql(1 - primary).await?, ROWS).await?;
        Ok(())
    })
    .await
}

/// Importance 1: a component that checks passwords is installed on the primary, and its mysqld starts anew; the operator's
/// own account is expired. Writes go on, and it still hands over.
#[tokio::test]
async fn password_rules() -> Result<(), Failed> {
    scope::run("password_rules", wait::LONG * 4, async |scope| {
        let database = scope.database("rules");
        database.start(2).await?;
        load::rows(&mut database.sql_through(&database.names.primary_service()).await?, ROWS).await?;
        let primary = database.primary().await?;
        let mut sql = database.sql(primary).await?;
        sql.exec("INSTALL COMPONENT 'file://component_validate_password'").await?;
        sql.exec("SET PERSIST validate_password.length = 60").await?;
        database.restart(primary, 2).await?;
        let primary = database.primary().await?;
        let mut sql = database.sql(primary).await?;
        sql.exec("SET sql_log_bin = 0").await?;
        sql.exec("ALTER USER 'mainstay_operator'@'%' PASSWORD EXPIRE").await?;
        sql.exec("ALTER USER 'mainstay_repl'@'%' ACCOUNT LOCK").await?;
        database.restart(1 - primary, 2).await?;
        database.hand_over_to(1 - primary).await?;
        database.healthy(2, wait::LONG).await?;
        is_read_only_but_for_who_leads(&database).await?;
        let mut writer = database.sql_through(&database.names.primary_service()).await?;
        writer.exec("DELETE FROM app.items WHERE id = 1").await?;
        let written = writer.gtid_executed().await?;
        let mut replica = database.sql(primary).await?;
        ensure!(replica.has_executed(&written, wait::SHORT).await?, "the other does not follow");
        Ok(())
    })
    .await
}

/// Importance 1: the agents' own account is dropped on the primary, and by replication on the replica: both make it anew, the
/// primary without a restart, and it hands over afterwards.
#[tokio::test]
async fn agent_shut_out() -> Result<(), Failed> {
    scope::run("agent_shut_out", wait::LONG * 3, async |scope| {
        let database = scope.database("shut");
        database.start(2).await?;
        load::rows(&mut database.sql_through(&database.names.primary_service()).await?, ROWS).await?;
        let primary = database.primary().await?;
        let since = "SELECT CAST(VARIABLE_VALUE AS UNSIGNED) FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Uptime'";
        let mut sql = database.sql(primary).await?;
        let before: u64 = sql.one(since).await?;
        sql.exec("DROP USER 'mainstay_agent'@'localhost', 'mainstay_agent'@'127.0.0.1'").await?;
        for ordinal in [primary, 1 - primary] {
            wait::poll("the agent's accounts to be made anew", wait::LONG, || async {
                let Ok(mut sql) = database.sql(ordinal).await else { return Ok(None) };
                let query = "SELECT COUNT(*) FROM mysql.user WHERE User = 'mainstay_agent' AND Super_priv = 'Y'";
                let found: u64 = sql.one(query).await.unwrap_or_default();
                Ok((found == 2).then_some(()))
            })
            .await?;
        }
        let after: u64 = database.sql(primary).await?.one(since).await?;
        ensure!(after >= before, "the primary's server was started again");
        database.healthy(2, wait::LONG).await?;
        database.hand_over_to(1 - primary).await?;
        database.healthy(2, wait::LONG).await?;
        is_read_only_but_for_who_leads(&database).await?;
        load::check_rows(&mut database.sql(1 - primary).await?, ROWS).await?;
        Ok(())
    })
    .await
}

async fn is_read_only_but_for_who_leads(database: &Database<'_>) -> Result<()> {
    let primary = database.primary().await?;
    for ordinal in 0..2 {
        let read_only: bool = database.sql(ordinal).await?.one("SELECT @@super_read_only").await?;
        ensure!(read_only == (ordinal != primary), "super_read_only of instance {ordinal} is {read_only}");
    }
    Ok(())
}
