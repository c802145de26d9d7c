//! What an agent must never do.

use std::fs;
use std::process::Command;

use mainstay_proto::{Action, Answer, Directory, Refusal};

use crate::cluster::{Cluster, PASSWORDS};
use crate::instance::Instance;

#[tokio::test]
async fn orders_from_the_past_or_for_others_change_nothing() {
    let cluster = Cluster::new();
    let mut instance = cluster.instance(0);
    instance.primary(false).await;
    instance.order(2, 9, Action::StandDown).await;
    instance.state("it stands down", |state| state.super_read_only).await;
    let lead = Action::Lead { alone: false };
    let refused = |answer| match answer {
        Answer::Refused { reason, .. } => reason,
        Answer::Accepted => panic!("accepted"),
    };
    assert_eq!(refused(instance.send(&instance.make_order(2, 8, lead.clone())).await), Refusal::Outdated);
    let mut other = instance.make_order(2, 9, lead.clone());
    other.pod_uid = "another".into();
    assert_eq!(refused(instance.send(&other).await), Refusal::NotMe);
    // The highest order is kept on the volume, not in the agent.
    instance.stop();
    instance.start("serve");
    instance.state("it is up", |_| true).await;
    assert_eq!(refused(instance.send(&instance.make_order(1, 99, lead)).await), Refusal::Outdated);
    assert!(instance.state("still", |_| true).await.super_read_only);
}

#[tokio::test]
async fn only_the_operator_is_heard() {
    let cluster = Cluster::new();
    let mut instance = cluster.instance(0);
    instance.start("prepare");
    instance.report("it is empty", |report| report.directory == Directory::Empty).await;
    assert!(
        instance.try_report(&cluster.pki.instance).await.is_err(),
        "an instance's certificate is not enough"
    );
    let stranger = crate::pki::Pki::new("db", "other");
    assert!(
        instance.try_report(&stranger.operator).await.is_err(),
        "another authority's operator is not ours"
    );
}

#[tokio::test]
async fn data_that_was_not_made_here_is_left_alone() {
    let cluster = Cluster::new();
    let mut instance = cluster.instance(0);
    fs::write(instance.volume().join("ibdata1"), "somebody's rows").unwrap();
    instance.start("prepare");
    instance.report("it is foreign", |r| matches!(r.directory, Directory::Foreign { .. })).await;
    let order = instance.make_order(1, 1, Action::Initialize { operation: "op".into() });
    let answer = instance.send(&order).await;
    assert!(matches!(answer, Answer::Refused { reason: Refusal::WrongDirectory, .. }), "{answer:?}");
    assert_eq!(fs::read_to_string(instance.volume().join("ibdata1")).unwrap(), "somebody's rows");
    // It goes on by itself once that is gone.
    fs::remove_file(instance.volume().join("ibdata1")).unwrap();
    instance.report("it is empty", |report| report.directory == Directory::Empty).await;
}

#[tokio::test]
async fn a_second_agent_on_the_volume_starts_nothing_and_says_who_holds_it() {
    let cluster = Cluster::new();
    let mut first = cluster.instance(0);
    first.primary(true).await;
    let mut second = cluster.instance(0);
    second.start("serve");
    let report = second.report("it is locked", |r| matches!(r.directory, Directory::Locked { .. })).await;
    let Directory::Locked { holder } = report.directory else { panic!() };
    assert!(holder.contains(&first.pod_uid), "{holder}");
    // The lock outlives an agent whose mysqld still runs.
    let (agent, mysqld) = (first.agent.as_ref().unwrap().id(), first.mysqld_pid());
    first.signal("KILL", agent);
    first.ended();
    if fs::read_to_string(format!("/proc/{mysqld}/stat")).is_ok_and(|stat| !stat.contains(" Z ")) {
        assert!(matches!(second.report("still", |_| true).await.directory, Directory::Locked { .. }));
        first.signal("KILL", mysqld);
    }
    second.state("it takes over", |state| !state.super_read_only).await;
}

#[tokio::test]
async fn passwords_are_nowhere_to_be_seen() {
    let cluster = Cluster::new();
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    replica.provision(3, Some(&primary)).await;
    replica.order(1, 4, Action::Follow { source: primary.endpoint() }).await;
    replica.state("it follows", |s| s.channel.as_ref().is_some_and(|c| c.receiver_running)).await;
    let reports = [&primary, &replica].map(|i| i.try_report(&cluster.pki.operator));
    let [one, other] = reports;
    let mut seen = format!("{:?}{:?}{}{}", one.await, other.await, primary.log(), replica.log());
    for instance in [&primary, &replica] {
        for pid in [instance.agent.as_ref().unwrap().id(), instance.mysqld_pid()] {
            for file in ["cmdline", "environ"] {
                seen.push_str(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).unwrap()));
            }
        }
    }
    assert!(seen.contains("mysqld"), "the search looks at the right things");
    for (account, password) in PASSWORDS {
        assert!(!seen.contains(password), "the password of {account} is to be seen");
    }
    let left =
        Command::new("grep").args(["-rl", PASSWORDS[2].1]).arg(cluster.directory.join("run-1")).output();
    assert!(left.unwrap().stdout.is_empty(), "the init file is gone once it has done its work");
}

#[tokio::test]
async fn new_passwords_are_taken_up_while_it_runs() {
    let cluster = Cluster::new();
    let (mut primary, mut replica) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    replica.provision(3, Some(&primary)).await;
    replica.order(1, 4, Action::Follow { source: primary.endpoint() }).await;
    replica.state("it follows", |s| s.channel.as_ref().is_some_and(|c| c.receiver_running)).await;
    let before = [&primary, &replica].map(Instance::mysqld_pid);
    cluster.mount("credentials", &[("replication", "another-Passw0rd"), ("root", "another'-root")]);
    for instance in [&primary, &replica] {
        instance
            .until("the new password works", || async {
                instance.log_in("root", "another'-root").await.is_ok()
            })
            .await;
        assert!(instance.log_in("root", PASSWORDS[0].1).await.is_err(), "the old one does not");
    }
    let query = "SELECT User_password FROM mysql.slave_master_info";
    replica
        .until("the channel has it", || async { replica.own_text(query).await == "another-Passw0rd" })
        .await;
    replica.state("it follows", |s| s.channel.as_ref().is_some_and(|c| c.receiver_running)).await;
    let state = replica.state("it is read-only", |_| true).await;
    assert!(state.super_read_only);
    assert_eq!([&primary, &replica].map(Instance::mysqld_pid), before, "without a restart");
    assert_eq!(
        replica.own_text("SELECT @@GLOBAL.gtid_executed").await,
        primary.own_text("SELECT @@GLOBAL.gtid_executed").await,
        "and nothing is logged"
    );
}
