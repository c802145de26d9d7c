//! A replica that is written to, and one whose threads stand still.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use mainstay_crd::conditions::Reason;
use mainstay_crd::{InstanceState, MySQLClusterStatus};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::sql::Sql;
use mainstay_e2e::told::{instance, message};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{load, note, table, wait};
use serde_json::json;

/// Rows that are written.
const ROWS: u32 = 100;
/// An option that needs a new pod, and the server's variable.
const OPTION: &str = "table_open_cache_instances";

/// Importance 1: root writes a row on a replica. It is told, the replica leaves the reads and stays out over the deletion of
/// its pod; it keeps back neither a switchover to the other nor a change of the spec; the advice, done as it stands, heals.
#[tokio::test]
async fn errant_replica() -> Result<(), Failed> {
    scope::run("errant_replica", wait::LONG * 5, async |scope| {
        let database = scope.database("stray");
        database.start(3).await?;
        let primary = database.primary().await?;
        let (replica, other) = ((primary + 1) % 3, (primary + 2) % 3);
        load::rows(&mut database.sql_through(&database.names.primary_service()).await?, ROWS).await?;
        let writer = Writer::start(&database, "stray", Duration::from_millis(10)).await?;
        writer.acknowledged(50).await?;

        let mut sql = database.sql(replica).await?;
        let own: String = sql.one("SELECT @@server_uuid").await?;
        written_to(&mut sql, "CREATE DATABASE stray").await?;
        stays_out(&database, replica, &own).await?;
        ensure!(message(&database.status().await?, replica).contains("to have it cloned anew"), "no way out");
        ensure!(reads(&database).await? == [database.names.pod(other)], "it is read from");

        let uid = database.pod(replica).await?.uid().unwrap_or_default();
        scope.api::<Pod>().delete(&database.names.pod(replica), &DeleteParams::default()).await?;
        // It is kept out, so it does not become Ready.
        let what = "the replica's mysqld to run in its next pod";
        wait::poll(what, wait::LONG, || async {
            let next = database.pod(replica).await?.uid().unwrap_or_default();
            Ok((next != uid && database.sql(replica).await?.one::<u32>("SELECT 1").await? == 1).then_some(()))
        })
        .await?;
        stays_out(&database, replica, &own).await?;
        // Half a minute: alone it went on by itself after ten seconds.
        writer.acknowledged(2000).await?;
        stays_out(&database, replica, &own).await?;
        let following: u64 = running(&mut database.sql(replica).await?, "connection").await?;
        ensure!(following == 0, "it replicates");
        ensure!(reads(&database).await? == [database.names.pod(other)], "it is read from again");

        database.led_by(other).await?;
        database.patch(json!({"config": {"common": {OPTION: "7"}}})).await?;
        for ordinal in [primary, other] {
            wait::poll(&format!("{OPTION} on instance {ordinal}"), wait::LONG * 2, || async {
                let value: u32 = database.sql(ordinal).await?.one(&format!("SELECT @@{OPTION}")).await?;
                Ok((value == 7).then_some(()))
            })
            .await?;
        }
        note!("a switchover and a change of the spec went by it");

        let volumes: Api<PersistentVolume> = Api::all(scope.client());
        let kept = table::identity(&database, replica).await?.volume;
        let keep = Patch::Merge(json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}}));
        volumes.patch(&kept, &PatchParams::default(), &keep).await?;
        let claims = scope.api::<PersistentVolumeClaim>();
        claims.delete(&database.names.claim(replica), &DeleteParams::default()).await?;
        scope.api::<Pod>().delete(&database.names.pod(replica), &DeleteParams::default()).await?;
        database.healthy(3, wait::LONG * 2).await?;
        let stray = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'stray'";
        ensure!(database.sql(replica).await?.one::<u64>(stray).await? == 0, "the stray database is there");
        load::check_rows(&mut database.sql(replica).await?, ROWS).await?;
        writer.verify().await?;
        volumes.delete(&kept, &DeleteParams::default()).await?;
        Ok(())
    })
    .await
}

/// Importance 2: an applier that was stopped is started again; one that can't go on says why, and goes on by itself once
/// nothing is in its way.
#[tokio::test]
async fn stopped_applier() -> Result<(), Failed> {
    scope::run("stopped_applier", wait::LONG * 3, async |scope| {
        let database = scope.database("still");
        database.start(2).await?;
        let primary = database.primary().await?;
        let replica = 1 - primary;
        load::rows(&mut database.sql_through(&database.names.primary_service()).await?, ROWS).await?;

        database.sql(replica).await?.exec("STOP REPLICA SQL_THREAD").await?;
        wait::poll("the applier to be started again", wait::LONG, || async {
            Ok((running(&mut database.sql(replica).await?, "applier").await? == 1).then_some(()))
        })
        .await?;
        database.healthy(2, wait::LONG).await?;

        let mut sql = database.sql(replica).await?;
        sql.exec("SET sql_log_bin = 0").await?;
        written_to(&mut sql, "INSERT INTO app.items VALUES (9999, 'here first')").await?;
        let mut writer = database.sql(primary).await?;
        writer.exec("INSERT INTO app.items VALUES (9999, 'from the primary')").await?;
        let said = |status: &MySQLClusterStatus| {
            status.conditions.iter().any(|condition| {
                condition.reason == Reason::ApplierFailed.as_str() && condition.message.contains("1062")
            })
        };
        database.until("a condition to say 1062", wait::LONG, said).await?;
        written_to(&mut sql, "DELETE FROM app.items WHERE id = 9999").await?;
        database.healthy(2, wait::LONG * 2).await?;
        let row: String =
            database.sql(replica).await?.one("SELECT name FROM app.items WHERE id = 9999").await?;
        ensure!(row == "from the primary", "{row}");
        Ok(())
    })
    .await
}

/// As root can: a server that is read-only is made writable, for one statement.
async fn written_to(sql: &mut Sql, statement: &str) -> Result<()> {
    sql.exec("SET GLOBAL super_read_only = OFF").await?;
    sql.exec("SET GLOBAL read_only = OFF").await?;
    sql.exec(statement).await?;
    sql.exec("SET GLOBAL super_read_only = ON").await
}

/// It is quarantined, and its own transactions are named.
async fn stays_out(database: &Database<'_>, ordinal: u32, own: &str) -> Result<()> {
    let what = format!("{} to be quarantined", database.names.pod(ordinal));
    let out = |status: &MySQLClusterStatus| {
        instance(status, ordinal).is_some_and(|i| i.state == InstanceState::Quarantined && !i.ready)
            && message(status, ordinal).contains(own)
    };
    database.until(&what, wait::LONG, out).await.map(drop)
}

async fn reads(database: &Database<'_>) -> Result<Vec<String>> {
    database.endpoints(&database.names.read_service()).await
}

/// How many of the channel's receivers (`connection`) or appliers (`applier`) run.
async fn running(sql: &mut Sql, thread: &str) -> Result<u64> {
    let table = format!("performance_schema.replication_{thread}_status");
    sql.one(&format!("SELECT COUNT(*) FROM {table} WHERE service_state <> 'OFF'")).await
}
