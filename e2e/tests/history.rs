//! What GTIDs alone do not tell: a primary that counts its transactions anew, and rows that went past the binary log.

use anyhow::{Result, ensure};
use kube::api::{Patch, PatchParams};
use mainstay_crd::conditions::ConditionType;
use mainstay_crd::names::ANNOTATION_SWITCHOVER_TO;
use mainstay_crd::{InstanceState, MySQLClusterStatus};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::told::{condition, instance, message};
use mainstay_e2e::{load, note, wait};
use serde_json::json;

/// Rows that are written before, each in a transaction of its own or not.
const ROWS: u32 = 100;
/// Rows that are written afterwards, each in a transaction of its own.
const MORE: u32 = 30;
/// Transactions of the dump.
const DUMPED: u32 = 300;

/// Importance 1: `RESET BINARY LOGS AND GTIDS` on a primary. Its replicas hold the same numbers for other rows: they are told,
/// kept out of the reads and from taking over, and cloned anew; nothing is lost.
#[tokio::test]
async fn counted_anew() -> Result<(), Failed> {
    scope::run("counted_anew", wait::LONG * 5, async |scope| {
        let database = scope.database("anew");
        database.start(3).await?;
        let primary = database.primary().await?;
        let others = [(primary + 1) % 3, (primary + 2) % 3];
        let service = database.names.primary_service();
        let mut sql = database.sql_through(&service).await?;
        load::rows(&mut sql, ROWS).await?;
        sql.exec("CREATE TABLE app.more (id INT PRIMARY KEY)").await?;
        for id in 0..2 * MORE {
            sql.exec(&format!("INSERT INTO app.more VALUES ({id})")).await?;
        }
        database.healthy(3, wait::SHORT).await?;

        sql.exec("RESET BINARY LOGS AND GTIDS").await?;
        for id in 2 * MORE..3 * MORE {
            sql.exec(&format!("INSERT INTO app.more VALUES ({id})")).await?;
        }
        // The second waits while the first is set aside and cloned.
        let kept_out = |status: &MySQLClusterStatus| {
            instance(status, others[1]).is_some_and(|i| i.state == InstanceState::Quarantined && !i.ready)
                && message(status, others[1]).contains("RESET BINARY LOGS AND GTIDS")
        };
        let what = format!("{} to be quarantined", database.names.pod(others[1]));
        let said = database.until(&what, wait::LONG, kept_out).await?.status.unwrap_or_default();
        note!("{}", message(&said, others[1]));
        ask(&database, Some(&database.names.pod(others[1]))).await?;
        let refused = |status: &MySQLClusterStatus| {
            let record = status.replication.as_ref();
            record.is_some_and(|record| record.answered_request.is_some() && record.target.is_none())
        };
        database.until("the request to be refused", wait::LONG, refused).await?;
        ensure!(database.primary().await? == primary, "another leads");
        ask(&database, None).await?;

        database.healthy(3, wait::LONG * 3).await?;
        ensure!(database.primary().await? == primary, "another leads");
        all_have(&database, 3 * MORE).await?;
        database.hand_over_to(others[0]).await?;
        let mut sql = database.sql_through(&service).await?;
        sql.exec(&format!("INSERT INTO app.more VALUES ({})", 3 * MORE)).await?;
        all_have(&database, 3 * MORE + 1).await?;
        Ok(())
    })
    .await
}

/// Importance 1: a dump is read in as `mysqldump` writes it by default, with its GTIDs and past the binary log. The replicas
/// receive on and lack it: they are told, and cloned anew.
#[tokio::test]
async fn dumped_with_gtids() -> Result<(), Failed> {
    scope::run("dumped_with_gtids", wait::LONG * 4, async |scope| {
        let database = scope.database("dumped");
        database.start(3).await?;
        let primary = database.primary().await?;
        let mut sql = database.sql(primary).await?;
        load::rows(&mut sql, ROWS).await?;

        let dump = format!("0aa9c2e1-0000-4000-8000-0123456789ab:1-{DUMPED}");
        sql.exec("SET SESSION sql_log_bin = 0").await?;
        sql.exec(&format!("SET GLOBAL gtid_purged = '+{dump}'")).await?;
        sql.exec("CREATE TABLE app.more (id INT PRIMARY KEY)").await?;
        for id in 0..DUMPED {
            sql.exec(&format!("INSERT INTO app.more VALUES ({id})")).await?;
        }
        drop(sql);
        let lacks = |status: &MySQLClusterStatus| {
            let mut others = status.instances.iter().filter(|i| i.ordinal.unsigned_abs() != primary);
            let ready = condition(status, ConditionType::Ready);
            others.all(|i| !i.ready)
                && others_say(status, primary, &dump)
                && ready.is_some_and(|ready| ready.status == "False")
        };
        database.until("the replicas to lack the dump", wait::LONG, lacks).await?;
        database.healthy(3, wait::LONG * 3).await?;
        ensure!(database.primary().await? == primary, "another leads");
        all_have(&database, DUMPED).await?;
        database.hand_over_to((primary + 1) % 3).await?;
        Ok(())
    })
    .await
}

/// One of the replicas says that it lacks this.
fn others_say(status: &MySQLClusterStatus, primary: u32, dump: &str) -> bool {
    (0..3).filter(|i| *i != primary).any(|i| message(status, i).contains(dump))
}

async fn all_have(database: &Database<'_>, more: u32) -> Result<()> {
    for ordinal in 0..3 {
        let what = format!("{more} rows on {}", database.names.pod(ordinal));
        wait::poll(&what, wait::LONG, || async {
            has_all(database, ordinal, more).await?;
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

async fn has_all(database: &Database<'_>, ordinal: u32, more: u32) -> Result<()> {
    let mut sql = database.sql(ordinal).await?;
    load::check_rows(&mut sql, ROWS).await?;
    let rows: u32 = sql.one("SELECT COUNT(*) FROM app.more").await?;
    ensure!(rows == more, "{} has {rows} rows of {more}", sql.pod());
    Ok(())
}

/// Asks for this instance to lead, or takes that back.
async fn ask(database: &Database<'_>, whom: Option<&str>) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION_SWITCHOVER_TO: whom}}}));
    database.api().patch(&database.names.cluster, &PatchParams::default(), &patch).await?;
    Ok(())
}
