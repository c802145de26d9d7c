//! Leading and following, across restarts.

use mainstay_proto::{Action, GrantedRole};

use crate::cluster::Cluster;
use crate::instance::Instance;

async fn write(instance: &Instance<'_>, rows: u64) {
    instance.sql("CREATE DATABASE IF NOT EXISTS d").await;
    instance.sql("CREATE TABLE IF NOT EXISTS d.t (id INT AUTO_INCREMENT PRIMARY KEY)").await;
    for _ in 0..rows {
        instance.sql("INSERT INTO d.t VALUES ()").await;
    }
}

#[tokio::test]
async fn one_that_is_alone_goes_on_by_itself_with_its_data() {
    let cluster = Cluster::new();
    let mut single = cluster.instance(0);
    single.primary(true).await;
    write(&single, 3).await;
    let before = single.state("it serves", |_| true).await;
    let executed = single.text("SELECT @@GLOBAL.gtid_executed").await;
    single.stop();
    single.new_pod();
    single.start("prepare");
    assert!(single.ended(), "a complete directory needs no order");
    single.start("serve");
    let after = single.state("it leads again", |state| !state.super_read_only).await;
    single.wait_for_rows("d.t", 3).await;
    assert_eq!(after.server_uuid, before.server_uuid);
    assert_eq!(after.gtid_executed, executed);
}

#[tokio::test]
async fn a_primary_among_others_waits_to_be_confirmed_after_a_restart() {
    let cluster = Cluster::new();
    let mut primary = cluster.instance(0);
    primary.primary(false).await;
    write(&primary, 1).await;
    primary.stop();
    primary.start("serve");
    let state = primary.state("it is up", |_| true).await;
    assert!(state.super_read_only);
    let report = primary.report("it knows its role", |report| report.task.is_none()).await;
    assert!(format!("{:?}", report.directory).contains("alone: false"));
    primary.order(1, 2, Action::Lead { alone: false }).await;
    primary.state("it leads", |state| !state.super_read_only).await;
    primary.wait_for_rows("d.t", 1).await;
}

#[tokio::test]
async fn a_replica_follows_and_resumes_without_being_told() {
    let cluster = Cluster::new();
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    write(&primary, 2).await;
    replica.provision(3, Some(&primary)).await;
    replica.wait_for_rows("d.t", 2).await;
    replica.order(1, 4, Action::Follow { source: primary.endpoint() }).await;
    write(&primary, 2).await;
    replica.wait_for_rows("d.t", 4).await;
    replica
        .state("it is in time", |state| state.channel.as_ref().is_some_and(|c| c.lag_seconds == Some(0)))
        .await;
    replica.stop();
    replica.new_pod();
    write(&primary, 2).await;
    replica.start("serve");
    replica.wait_for_rows("d.t", 6).await;
    let log = replica.log();
    let resumed = log.lines().rfind(|line| line.contains("replication channel")).unwrap();
    assert!(resumed.contains(r#""change":"None""#), "a channel that is right is left alone: {resumed}");
    let uuids = [&primary, &replica].map(|i| i.state("up", |_| true));
    let [one, other] = uuids;
    assert_ne!(one.await.server_uuid, other.await.server_uuid);
}

#[tokio::test]
async fn a_server_that_is_killed_comes_back_in_its_role() {
    let cluster = Cluster::new();
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    replica.provision(3, Some(&primary)).await;
    replica.order(1, 4, Action::Follow { source: primary.endpoint() }).await;
    replica.state("it follows", |state| state.channel.is_some()).await;
    let before = replica.mysqld_pid();
    replica.signal("KILL", before);
    write(&primary, 1).await;
    replica.wait_for_rows("d.t", 1).await;
    assert_ne!(replica.mysqld_pid(), before);
    primary.signal("KILL", primary.mysqld_pid());
    primary.state("it waits to be confirmed", |state| state.super_read_only).await;
    primary.order(1, 4, Action::Lead { alone: false }).await;
    primary.state("it leads", |state| !state.super_read_only).await;
    write(&primary, 1).await;
    replica.wait_for_rows("d.t", 2).await;
}

#[tokio::test]
async fn restart_is_carried_out() {
    let cluster = Cluster::new();
    let mut single = cluster.instance(0);
    single.primary(true).await;
    let before = single.mysqld_pid();
    single.sql("RESTART").await;
    single
        .report("it is away", |report| !matches!(report.server, mainstay_proto::Server::Running { .. }))
        .await;
    single.state("it leads again", |state| !state.super_read_only).await;
    assert_ne!(single.mysqld_pid(), before);
}

#[tokio::test]
async fn a_role_brings_its_settings_and_takes_those_of_the_other_back() {
    let cluster = Cluster::new();
    cluster.mount(
        "config",
        &[
            ("primary.cnf", "[mysqld]\nmax_connections=77\n"),
            ("replica.cnf", "[mysqld]\nlong_query_time=3\n"),
        ],
    );
    let (mut primary, mut other) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    assert_eq!(primary.number("SELECT @@GLOBAL.max_connections").await, 77);
    other.provision(3, Some(&primary)).await;
    other.order(1, 4, Action::Follow { source: primary.endpoint() }).await;
    other.state("it follows", |state| state.channel.is_some()).await;
    assert_eq!(other.number("SELECT CAST(@@GLOBAL.long_query_time AS UNSIGNED)").await, 3);
    assert_ne!(other.number("SELECT @@GLOBAL.max_connections").await, 77);
    primary.order(2, 5, Action::StandDown).await;
    primary.state("it stands down", |state| state.super_read_only).await;
    other.order(2, 5, Action::Lead { alone: false }).await;
    other.state("it leads", |state| !state.super_read_only && state.channel.is_none()).await;
    assert_eq!(other.number("SELECT @@GLOBAL.max_connections").await, 77);
    assert_eq!(other.number("SELECT CAST(@@GLOBAL.long_query_time AS UNSIGNED)").await, 10);
    primary.order(2, 6, Action::Follow { source: other.endpoint() }).await;
    write(&other, 2).await;
    primary.wait_for_rows("d.t", 2).await;
    let report = primary.report("it follows", |report| report.highest.revision == 6).await;
    let mainstay_proto::Directory::Complete { marker } = report.directory else { panic!() };
    assert_eq!(marker.grant.unwrap().role, GrantedRole::Replica { source: other.endpoint() });
}
