//! Clones that are cut short, and clones of a server that is written to.

use mainstay_proto::{Action, Directory, History, TaskState};

use crate::cluster::Cluster;

#[tokio::test]
async fn a_clone_whose_donor_dies_leaves_nothing_that_could_be_served_and_the_next_succeeds() {
    let cluster = Cluster::new();
    let (mut donor, mut recipient) = (cluster.instance(0), cluster.instance(1));
    donor.primary(false).await;
    donor.sql("CREATE DATABASE d").await;
    donor.sql("CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB)").await;
    for _ in 0..8 {
        donor.sql("INSERT INTO d.t (b) VALUES (REPEAT(UUID(), 400000))").await;
    }
    recipient.start("prepare");
    recipient.report("it is empty", |report| report.directory == Directory::Empty).await;
    let clone = |operation: &str, bound| Action::Clone {
        operation: operation.into(),
        donor: donor.endpoint(),
        max_mib_per_second: bound,
        history: History::default(),
    };
    recipient.order(1, 3, clone("first", Some(5))).await;
    let bytes = |report: &mainstay_proto::Report| {
        report.task.as_ref().and_then(|task| task.progress).is_some_and(|progress| progress.bytes > 1 << 20)
    };
    let seen = recipient.report("bytes arrive", bytes).await;
    assert!(seen.task.unwrap().progress.unwrap().total_bytes.is_some());
    donor.signal("KILL", donor.mysqld_pid());
    recipient.failure("the clone fails").await;
    let report =
        recipient.report("it is partial", |r| matches!(r.directory, Directory::Partial { .. })).await;
    assert!(!matches!(report.task.unwrap().state, TaskState::Running));
    donor.state("it is back", |_| true).await;
    recipient.order(1, 4, clone("second", None)).await;
    assert!(recipient.ended(), "{}", recipient.log());
    recipient.start("serve");
    recipient.wait_for_rows("d.t", 8).await;
    let of = |state: mainstay_proto::ServerState| (state.gtid_executed, state.super_read_only, state.channel);
    let copied = of(recipient.state("it serves", |_| true).await);
    assert_eq!(copied, (donor.text("SELECT @@GLOBAL.gtid_executed").await, true, None));
}

#[tokio::test]
async fn an_agent_that_dies_in_the_middle_leaves_a_partial_directory() {
    let cluster = Cluster::new();
    let mut instance = cluster.instance(0);
    instance.start("prepare");
    instance.report("it is empty", |report| report.directory == Directory::Empty).await;
    instance.order(1, 1, Action::Initialize { operation: "op".into() }).await;
    instance.report("it has begun", |r| matches!(r.directory, Directory::Partial { .. })).await;
    let agent = instance.agent.as_ref().unwrap().id();
    instance.signal("KILL", agent);
    instance.ended();
    instance.start("serve");
    let report = instance.report("it is seen", |r| matches!(r.directory, Directory::Partial { .. })).await;
    assert!(matches!(report.server, mainstay_proto::Server::Stopped { .. }));
    instance.stop();
    instance.start("prepare");
    instance.report("it waits", |r| matches!(r.directory, Directory::Partial { .. })).await;
    instance.order(1, 1, Action::Initialize { operation: "op".into() }).await;
    assert!(instance.ended(), "{}", instance.log());
}
