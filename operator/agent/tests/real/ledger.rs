//! What a directory held before it replicated, and the wait for the operator to judge it.

use std::path::Path;
use std::process::Command;

use mainstay_proto::Action;

use crate::cluster::Cluster;
use crate::instance::Instance;

/// What the agent says when replication waits.
const WAITS: &str = "replication waits for the operator";

async fn write(primary: &Instance<'_>, rows: u64) {
    primary.sql("CREATE DATABASE IF NOT EXISTS d").await;
    primary.sql("CREATE TABLE IF NOT EXISTS d.t (id INT AUTO_INCREMENT PRIMARY KEY)").await;
    for _ in 0..rows {
        primary.sql("INSERT INTO d.t VALUES ()").await;
    }
}

/// A replica of `primary` that has its rows.
async fn follow(replica: &mut Instance<'_>, primary: &Instance<'_>, rows: u64) {
    replica.provision(3, Some(primary)).await;
    replica.order(1, 4, Action::Follow { source: primary.endpoint() }).await;
    replica.wait_for_rows("d.t", rows).await;
    replica.state("it follows", |s| s.channel.as_ref().is_some_and(|c| c.receiver_running)).await;
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

#[tokio::test]
async fn a_directory_that_was_set_back_shows_it_even_after_it_has_caught_up() {
    let cluster = Cluster::new();
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    write(&primary, 2).await;
    follow(&mut replica, &primary, 2).await;
    let old = replica.text("SELECT @@GLOBAL.gtid_executed").await;
    replica.stop();
    let snapshot = cluster.directory.join("snapshot");
    copy(&replica.volume(), &snapshot);
    replica.start("serve");
    write(&primary, 3).await;
    replica.wait_for_rows("d.t", 5).await;
    replica.stop();
    copy(&snapshot, &replica.volume());
    replica.new_pod();
    replica.start("serve");
    let waiting = replica.state("it waits", |state| state.awaits_operator).await;
    assert_eq!(waiting.gtid_at_start.as_deref(), Some(old.as_str()));
    replica.order(1, 4, Action::Follow { source: primary.endpoint() }).await;
    replica.wait_for_rows("d.t", 5).await;
    let after = replica.state("it has caught up", |s| s.gtid_executed != old && !s.awaits_operator).await;
    assert_eq!(after.gtid_at_start.as_deref(), Some(old.as_str()), "the evidence stays");
    assert_eq!(after.started_at, waiting.started_at);
}

#[tokio::test]
async fn one_alone_that_was_set_back_shows_it_until_the_operator_speaks_whatever_it_wrote_meanwhile() {
    let cluster = Cluster::new();
    let mut single = cluster.instance(0);
    single.primary(true).await;
    write(&single, 2).await;
    let old = single.text("SELECT @@GLOBAL.gtid_executed").await;
    single.stop();
    let snapshot = cluster.directory.join("snapshot");
    copy(&single.volume(), &snapshot);
    single.start("serve");
    single.state("it leads again by itself", |state| !state.super_read_only).await;
    write(&single, 2).await;
    single.stop();
    copy(&snapshot, &single.volume());
    single.new_pod();
    single.start("serve");
    let waiting = single.state("it waits", |state| state.awaits_operator).await;
    assert!(waiting.super_read_only && waiting.unconfirmed);
    // Nobody says a word (invariant I8), and it writes more than it had lost.
    single.state("it leads", |state| !state.super_read_only).await;
    write(&single, 9).await;
    single.stop();
    single.start("serve");
    let again =
        single.state("it leads again", |state| !state.super_read_only && !state.awaits_operator).await;
    assert_eq!(again.gtid_at_start.as_deref(), Some(old.as_str()), "the evidence stays");
    assert!(again.unconfirmed);
    single.order(1, 9, Action::Lead { alone: true }).await;
    single.state("it is confirmed", |state| !state.unconfirmed).await;
    let now = single.text("SELECT @@GLOBAL.gtid_executed").await;
    single.stop();
    single.start("serve");
    let next = single.state("it leads once more", |state| !state.super_read_only).await;
    assert_eq!((next.gtid_at_start, next.unconfirmed), (Some(now), false));
}

#[tokio::test]
async fn a_new_pod_waits_for_the_operator_but_not_for_ever_and_a_restart_in_it_does_not() {
    let cluster = Cluster::new();
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    write(&primary, 1).await;
    follow(&mut replica, &primary, 1).await;
    replica.stop();
    replica.new_pod();
    write(&primary, 1).await;
    replica.start("serve");
    let waiting = replica.state("it waits", |state| state.awaits_operator).await;
    assert!(waiting.channel.is_some_and(|channel| !channel.receiver_running));
    // Nobody says a word (invariant I8).
    replica.wait_for_rows("d.t", 2).await;
    assert_eq!(replica.log().matches(WAITS).count(), 1);
    let first = replica.state("it goes on", |state| !state.awaits_operator).await;
    replica.stop();
    write(&primary, 1).await;
    replica.start("serve");
    replica.wait_for_rows("d.t", 3).await;
    let second = replica.state("it follows", |state| !state.awaits_operator).await;
    assert_eq!(replica.log().matches(WAITS).count(), 1, "the same pod does not wait");
    assert_ne!(second.started_at, first.started_at);
}
