//! A cluster of one.

use anyhow::{Result, ensure};
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::{load, table, wait};

/// Rows that are written.
const ROWS: u32 = 1000;

/// Importance 1: the smallest cluster serves, and its pod comes back with its data, writable.
#[tokio::test]
async fn single() -> Result<(), Failed> {
    scope::run("single", wait::LONG * 2, async |scope| {
        let database = scope.database("solo");
        database.create_example("single.yaml").await?;
        database.healthy(1, wait::LONG).await?;
        let before = table::identity(&database, 0).await?;
        load::rows(&mut database.sql_through(&database.names.primary_service()).await?, ROWS).await?;
        database.restart(0, 1).await?;
        let mut sql = database.sql_through(&database.names.primary_service()).await?;
        load::check_rows(&mut sql, ROWS).await?;
        sql.exec("INSERT INTO app.items VALUES (0, 'after')").await?;
        let after = table::identity(&database, 0).await?;
        ensure!(before == after, "it came back as another: {before:?}, {after:?}");
        Ok(())
    })
    .await
}
