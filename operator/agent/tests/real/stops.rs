//! How a server stops, and what is told of it.

use std::time::Instant;

use mainstay_proto::{Action, Server};
use mysql_async::prelude::Queryable;

use crate::cluster::Cluster;
use crate::instance::Instance;
use crate::pair;

/// Has the server stop by `statement`. Returns what was told until it answered again, and the seconds until it had ended
/// and until it answered.
async fn stop_by(instance: &Instance<'_>, statement: &'static str) -> (Vec<Server>, f64, f64) {
    let mut stream = instance.watch().await;
    let began = Instant::now();
    let mut client = instance.client().await;
    // Whether an answer comes is the server's to say. A client that stays is waited for, so this one leaves.
    let asked = tokio::spawn(async move { drop(client.query_drop(statement).await) });
    let (mut told, mut ended) = (Vec::new(), None);
    loop {
        let server = stream.next().await.server;
        if !matches!(server, Server::Running { .. } | Server::Stopping) && ended.is_none() {
            ended = Some(began.elapsed().as_secs_f64());
        }
        let back = matches!(server, Server::Running { .. }) && ended.is_some();
        told.push(server);
        if back {
            asked.await.unwrap();
            return (told, ended.unwrap(), began.elapsed().as_secs_f64());
        }
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_by_sql_says_so_and_comes_back_as_it_was() {
    let cluster = Cluster::new();
    let (primary, replica) = pair::with_a_row(&cluster).await;
    for (revision, statement) in [(5, "SHUTDOWN"), (6, "RESTART")] {
        let before = primary.text("SELECT @@GLOBAL.gtid_executed").await;
        let (told, ended, back) = stop_by(&primary, statement).await;
        println!("{statement} of a primary with a replica: ended after {ended:.1} s, back after {back:.1} s");
        assert!(told.contains(&Server::Stopping), "{told:?}");
        assert!(!told.iter().any(|server| matches!(server, Server::Silent { .. })), "{told:?}");
        let state = primary.state("it waits to be confirmed", |_| true).await;
        assert_eq!((state.super_read_only, state.gtid_executed), (true, before));
        primary.order(1, revision, Action::Lead { alone: false }).await;
        primary.state("it leads", |state| !state.super_read_only).await;
        primary.sql("INSERT INTO d.t VALUES ()").await;
        replica.wait_for_rows("d.t", revision - 3).await;
    }
    let (_, ended, back) = stop_by(&replica, "SHUTDOWN").await;
    println!("SHUTDOWN of a replica: ended after {ended:.1} s, back after {back:.1} s");
    replica
        .state("it follows", |s| s.channel.as_ref().is_some_and(|c| c.receiver_running && c.applier_running))
        .await;
}

/// By its agent a server is stopped without a session left: then mysqld waits for nobody.
#[tokio::test]
async fn an_agent_that_ends_leaves_mysqld_nobody_to_wait_for() {
    let cluster = Cluster::new();
    cluster
        .mount("config", &[("common.cnf", "[mysqld]\ninnodb_buffer_pool_size=64M\nlog_error_verbosity=3\n")]);
    let (mut primary, mut replica) = pair::with_a_row(&cluster).await;
    let mut idle = Vec::new();
    for instance in [&primary, &replica] {
        idle.push(instance.client().await);
    }
    for instance in [&mut replica, &mut primary] {
        let began = Instant::now();
        instance.stop();
        println!("instance {} ended after {:.1} s", instance.ordinal, began.elapsed().as_secs_f64());
        let log = instance.log();
        let last = log.lines().rev().find(|line| line.contains("client threads a chance to die")).unwrap();
        println!("{last}");
        assert!(log.contains("Shutdown complete"), "{log}");
    }
}
