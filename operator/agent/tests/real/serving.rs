//! What the operator and the kubelet are told.

use mainstay_proto::{Action, Directory, Server};

use crate::cluster::{Cluster, NAMESPACE};
use crate::pair;

#[tokio::test]
async fn only_an_instance_that_fills_its_role_is_ready() {
    let cluster = Cluster::new();
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    primary.provision(1, None).await;
    assert_eq!(primary.probe("/livez").await, 200);
    assert_eq!(primary.probe("/readyz").await, 503, "no role");
    primary.order(1, 2, Action::Lead { alone: false }).await;
    primary.state("it leads", |state| !state.super_read_only).await;
    assert_eq!(primary.probe("/readyz").await, 200);
    pair::follow(&mut replica, &primary).await;
    assert_eq!(replica.probe("/readyz").await, 200);
    replica.sql("STOP REPLICA IO_THREAD").await;
    replica.state("it does not", |s| s.channel.as_ref().is_some_and(|c| !c.receiver_running)).await;
    assert_eq!(replica.probe("/readyz").await, 503);
    primary.order(1, 5, Action::StandDown).await;
    primary.state("it stands down", |state| state.super_read_only).await;
    assert_eq!(primary.probe("/readyz").await, 503);
}

#[tokio::test]
async fn a_stream_tells_changes_and_goes_on_without_them() {
    let cluster = Cluster::new();
    let mut instance = cluster.instance(0);
    instance.primary(false).await;
    let mut stream = instance.watch().await;
    let first = stream.next().await;
    assert!(matches!(first.server, Server::Running { .. }));
    let second = stream.next().await;
    assert!(second.at > first.at, "a heartbeat, though nothing changed");
    instance.signal("KILL", instance.mysqld_pid());
    loop {
        if let Server::Stopped { last_exit: Some(why) } = stream.next().await.server {
            assert!(why.contains("killed by signal 9"), "{why}");
            break;
        }
    }
    loop {
        if matches!(stream.next().await.server, Server::Running { .. }) {
            break;
        }
    }
}

#[tokio::test]
async fn who_asks_for_a_report_hears_what_is_so_now() {
    let cluster = Cluster::new();
    let mut instance = cluster.instance(0);
    instance.primary(false).await;
    instance.sql("CREATE DATABASE d").await;
    instance.sql("CREATE TABLE d.t (id INT PRIMARY KEY)").await;
    // The agent looks by itself every half a second: it would have to be lucky each time.
    for row in 0..10 {
        instance.sql(&format!("INSERT INTO d.t VALUES ({row})")).await;
        let executed = instance.text("SELECT @@GLOBAL.gtid_executed").await;
        assert_eq!(instance.fresh().await.gtid_executed, executed, "row {row}");
    }
}

#[tokio::test]
async fn a_server_that_can_not_start_says_why() {
    let cluster = Cluster::new();
    let mut instance = cluster.instance(0);
    instance.provision(1, None).await;
    instance.stop();
    cluster.mount("config", &[("common.cnf", "[mysqld]\nno_such_option=1\n")]);
    instance.start("serve");
    let report = instance
        .report("it does not start", |r| matches!(&r.server, Server::Stopped { last_exit: Some(_) }))
        .await;
    let Server::Stopped { last_exit: Some(why) } = report.server else { panic!() };
    assert!(why.contains("no_such_option"), "{why}");
    assert!(matches!(report.directory, Directory::Complete { .. }));
    // And it starts by itself once that is put right.
    cluster.mount("config", &[("common.cnf", "[mysqld]\n")]);
    instance.state("it is up", |_| true).await;
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_by_agent_and_server() {
    let cluster = Cluster::new();
    let mut instance = cluster.instance(0);
    instance.primary(true).await;
    let expires = "SELECT VARIABLE_VALUE FROM performance_schema.global_status \
                   WHERE VARIABLE_NAME = 'Ssl_server_not_after'";
    let before = instance.text(expires).await;
    let served = instance.certificate().await;
    let pid = instance.mysqld_pid();
    let renewed = cluster.pki.renewed(NAMESPACE, &cluster.name);
    cluster.mount("tls", &[("tls.crt", &renewed.certificate), ("tls.key", &renewed.key)]);
    while instance.text(expires).await == before || instance.certificate().await == served {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(instance.mysqld_pid(), pid, "without a restart");
}

#[tokio::test]
async fn an_order_that_is_not_known_is_refused_and_nothing_else_comes_of_it() {
    let cluster = Cluster::new();
    let mut instance = cluster.instance(0);
    instance.start("prepare");
    instance.report("it is empty", |report| report.directory == Directory::Empty).await;
    let mut order = serde_json::to_value(instance.make_order(1, 1, Action::StandDown)).unwrap();
    order["action"]["type"] = "flyAway".into();
    let answer = instance.post(order.to_string()).await;
    assert!(answer.contains("Unknown"), "{answer}");
    let huge = format!("{{\"x\":\"{}\"}}", "x".repeat(100_000));
    assert!(!instance.post(huge).await.contains("Accepted"));
    instance.report("it is as it was", |report| report.directory == Directory::Empty).await;
}
