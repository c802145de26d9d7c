//! What was acknowledged or received is not lost by an order, and not by a stop.

use std::time::Duration;

use mainstay_proto::{Action, Endpoint, TaskState};
use mysql_async::prelude::Queryable;

use crate::cluster::Cluster;
use crate::instance::Instance;
use crate::pair;

/// The primary writes a row that the replica receives and can't apply; then the primary is gone.
async fn received_only(primary: &mut Instance<'_>, replica: &Instance<'_>) {
    primary.sql("INSERT INTO d.t VALUES ()").await;
    let written = primary.text("SELECT @@GLOBAL.gtid_executed").await;
    let last = written.rsplit('-').next().unwrap_or_default().to_owned();
    replica
        .state("the row is received", |s| {
            s.channel
                .as_ref()
                .is_some_and(|c| c.gtid_received.ends_with(&last) && !c.gtid_received.is_empty())
        })
        .await;
    let (agent, mysqld) = (primary.agent.as_ref().unwrap().id(), primary.mysqld_pid());
    primary.signal("KILL", agent);
    primary.signal("KILL", mysqld);
    primary.ended();
    assert_eq!(replica.number("SELECT COUNT(*) FROM d.t").await, 1, "the row is received, not applied");
}

#[tokio::test]
async fn a_replica_leads_only_with_everything_that_it_received() {
    let cluster = Cluster::new();
    let (mut primary, replica) = pair::with_a_row(&cluster).await;
    replica.sql("STOP REPLICA SQL_THREAD").await;
    received_only(&mut primary, &replica).await;
    replica.order(2, 5, Action::Lead { alone: false }).await;
    replica.state("it leads", |state| !state.super_read_only && state.channel.is_none()).await;
    assert_eq!(replica.number("SELECT COUNT(*) FROM d.t").await, 2);
}

/// The kubelet's SIGTERM: the primary writes on until the operator has a replica take over, and ends then.
#[tokio::test]
async fn a_primary_that_is_told_to_end_hands_over_first() {
    let cluster = Cluster::new();
    let (mut primary, replica) = pair::with_a_row(&cluster).await;
    // As an operator would listen.
    let mut stream = primary.watch().await;
    primary.signal("TERM", primary.agent.as_ref().unwrap().id());
    while !stream.next().await.ending {}
    primary.sql("INSERT INTO d.t VALUES ()").await;
    assert_eq!(primary.probe("/readyz").await, 200);
    primary.order(1, 5, Action::StandDown).await;
    primary.state("it stands", |state| state.super_read_only).await;
    replica.wait_for_rows("d.t", 2).await;
    replica.order(2, 6, Action::Lead { alone: false }).await;
    replica.state("it leads", |state| !state.super_read_only).await;
    primary.order(2, 6, Action::Follow { source: replica.endpoint() }).await;
    while !primary.ended() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    replica.sql("INSERT INTO d.t VALUES ()").await;
    primary.start("serve");
    primary.wait_for_rows("d.t", 3).await;
}

#[tokio::test]
async fn a_change_of_source_keeps_what_was_received() {
    let cluster = Cluster::new();
    let (mut primary, replica) = pair::with_a_row(&cluster).await;
    // The applier runs, and waits for this.
    let mut blocker = replica.client().await;
    blocker.query_drop("LOCK TABLES d.t READ").await.unwrap();
    received_only(&mut primary, &replica).await;
    // Nobody has the row but the replica's relay log.
    let nobody = Endpoint { host: "nobody.invalid".into(), port: 3306 };
    replica.order(2, 5, Action::Follow { source: nobody }).await;
    replica
        .state("it has the new source", |s| {
            s.channel.as_ref().is_some_and(|c| c.source_host == "nobody.invalid" && !c.receiver_running)
        })
        .await;
    drop(blocker);
    replica.wait_for_rows("d.t", 2).await;
}

#[tokio::test]
async fn an_applier_that_can_not_go_on_keeps_a_replica_from_leading() {
    let cluster = Cluster::new();
    let (mut primary, replica) = pair::with_a_row(&cluster).await;
    replica.sql("SET GLOBAL super_read_only = OFF").await;
    let mut local = replica.client().await;
    // The next row is there already: the primary's can't be applied.
    local.query_drop("SET sql_log_bin = 0").await.unwrap();
    local.query_drop("INSERT INTO d.t VALUES (2)").await.unwrap();
    replica.sql("SET GLOBAL super_read_only = ON").await;
    primary.sql("INSERT INTO d.t VALUES ()").await;
    let failed =
        replica.state("it fails", |s| s.channel.as_ref().is_some_and(|c| c.applier_error.is_some())).await;
    let told = failed.channel.and_then(|channel| channel.applier_error).unwrap();
    assert!(told.contains("Duplicate entry '2'"), "the worker's own words: {told}");
    primary.stop();
    replica.order(2, 5, Action::Lead { alone: false }).await;
    let error = replica.failure("it does not lead").await;
    assert!(error.contains("can't be applied"), "{error}");
    let state = replica.state("it is as it was", |_| true).await;
    assert!(state.super_read_only && state.channel.is_some_and(|c| !c.gtid_received.is_empty()));
}

#[tokio::test]
async fn a_demotion_ends_what_holds_it_up_and_every_clients_session() {
    let cluster = Cluster::new();
    let mut primary = cluster.instance(0);
    primary.primary(false).await;
    primary.sql("CREATE DATABASE d").await;
    primary.sql("CREATE TABLE d.t (id INT)").await;
    let mut idle = primary.client().await;
    let mut writer = primary.client().await;
    let writing =
        tokio::spawn(async move { writer.query_drop("INSERT INTO d.t SELECT SLEEP(1000)").await.is_err() });
    let running = "SELECT COUNT(*) FROM performance_schema.processlist WHERE INFO LIKE 'INSERT INTO d.t%'";
    while primary.number(running).await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    primary.order(2, 3, Action::StandDown).await;
    primary
        .report("it stands down", |r| {
            r.task.as_ref().is_some_and(|t| t.state == TaskState::Done && t.term.epoch == 2)
        })
        .await;
    assert!(primary.state("up", |_| true).await.super_read_only);
    assert!(writing.await.unwrap(), "its client is told that the write failed");
    assert!(idle.query_drop("SELECT 1").await.is_err(), "an idle session is ended too");
}

/// MySQL itself, asked by SIGTERM, tells such a client OK.
#[tokio::test]
async fn a_stop_acknowledges_nothing_that_waits_for_a_replica() {
    let cluster = Cluster::new();
    let mut primary = cluster.instance(0);
    primary.primary(false).await;
    primary.sql("CREATE DATABASE d").await;
    primary.sql("CREATE TABLE d.t (id INT PRIMARY KEY)").await;
    primary.sql("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'").await;
    primary.sql("SET GLOBAL rpl_semi_sync_source_timeout = 4294967295").await;
    primary.sql("SET GLOBAL rpl_semi_sync_source_wait_no_replica = 1").await;
    primary.sql("SET GLOBAL rpl_semi_sync_source_enabled = 1").await;
    let mut writer = primary.client().await;
    let writing = tokio::spawn(async move { writer.query_drop("INSERT INTO d.t VALUES (1)").await });
    let waiting = "SELECT CAST(VARIABLE_VALUE AS UNSIGNED) FROM performance_schema.global_status \
                   WHERE VARIABLE_NAME = 'Rpl_semi_sync_source_wait_sessions'";
    while primary.number(waiting).await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    primary.stop();
    assert!(writing.await.unwrap().is_err(), "nobody else has it, so nobody may be told that it is safe");
}

#[tokio::test]
async fn a_primary_that_nothing_waits_on_is_stopped_cleanly_while_clients_write() {
    let cluster = Cluster::new();
    let mut primary = cluster.instance(0);
    primary.primary(true).await;
    primary.sql("CREATE DATABASE d").await;
    primary.sql("CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY)").await;
    let mut writer = primary.client().await;
    let acknowledged = tokio::spawn(async move {
        let mut rows = 0_u64;
        while writer.query_drop("INSERT INTO d.t VALUES ()").await.is_ok() {
            rows += 1;
        }
        rows
    });
    while primary.number("SELECT COUNT(*) FROM d.t").await < 20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    primary.stop();
    assert!(primary.log().contains("mysqld: Shutdown complete"), "{}", primary.log());
    primary.start("serve");
    primary.state("it leads again", |state| !state.super_read_only).await;
    assert_eq!(primary.number("SELECT COUNT(*) FROM d.t").await, acknowledged.await.unwrap());
}

#[tokio::test]
async fn a_newer_role_ends_one_that_is_being_taken_on() {
    let cluster = Cluster::new();
    let (mut primary, replica) = pair::with_a_row(&cluster).await;
    let mut blocker = replica.client().await;
    blocker.query_drop("LOCK TABLES d.t READ").await.unwrap();
    received_only(&mut primary, &replica).await;
    replica.order(2, 5, Action::Lead { alone: false }).await;
    replica
        .report("it drains", |r| {
            r.task.as_ref().is_some_and(|t| t.kind == "Lead" && t.state == TaskState::Running)
        })
        .await;
    replica.order(3, 6, Action::StandDown).await;
    replica
        .report("it stands down", |r| {
            r.task.as_ref().is_some_and(|t| t.kind == "StandDown" && t.state == TaskState::Done)
        })
        .await;
    drop(blocker);
    replica.wait_for_rows("d.t", 2).await;
    assert!(replica.state("still", |_| true).await.super_read_only, "the older order never takes effect");
}
