//! The last part of a copy that was received: its first start. The copy is a stopped server's data directory, which is
//! what a copy tool leaves, with that server's logs and identity still in it.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use mainstay_proto::{Action, Directory, Endpoint, History, TaskState};

use crate::cluster::{Cluster, USER};
use crate::instance::Instance;

/// The donor's.
fn history() -> History {
    History::default().reset(0, 7)
}

/// A primary with rows, stopped and started again, and an instance that has received a copy of it.
async fn received<'a>(cluster: &'a Cluster, set: Option<&str>) -> (Instance<'a>, Instance<'a>, String) {
    let (mut primary, copy) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    primary.sql("CREATE DATABASE d").await;
    primary.sql("CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY)").await;
    primary.sql("INSERT INTO d.t VALUES (), (), ()").await;
    let held = primary.text("SELECT @@GLOBAL.gtid_executed").await;
    primary.stop();
    let (from, to) = (primary.volume().join("data"), copy.volume().join("data"));
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    let order = Action::Receive {
        operation: "copy".into(),
        donor: Endpoint { host: "donor".into(), port: 1 },
        donor_ordinal: 0,
        compress: false,
        max_mib_per_second: None,
        from_primary: true,
        history: history(),
    };
    let marker = serde_json::json!({
        "version": 1, "clusterId": cluster.id, "ordinal": 1, "state": "partial", "kind": "clone",
        "operation": "copy", "highest": {"epoch": 1, "revision": 2}, "history": history(),
        "received": {"gtidSet": set.unwrap_or(&held), "serverVersion": "9.7.4", "order": order},
    });
    let path = copy.volume().join("mainstay.json");
    fs::write(&path, marker.to_string()).unwrap();
    chown(path, Some(USER), Some(USER)).unwrap();
    primary.start("serve");
    primary.state("it is back", |_| true).await;
    (primary, copy, held)
}

#[tokio::test]
async fn a_received_copy_becomes_a_server_of_its_own_that_replicates_on() {
    let cluster = Cluster::new();
    let (primary, mut copy, held) = received(&cluster, None).await;
    copy.start("prepare");
    assert!(copy.ended(), "{}", copy.log());
    copy.start("serve");
    let state = copy.state("it serves", |_| true).await;
    assert_eq!((state.gtid_executed.as_str(), state.gtid_purged.as_str()), (held.as_str(), held.as_str()));
    assert_eq!((state.super_read_only, state.channel), (true, None));
    assert_eq!(state.history, Some(history()), "its own reset does not count");
    assert_ne!(state.server_uuid, primary.state("its source", |_| true).await.server_uuid);
    primary.order(1, 9, Action::Lead { alone: false }).await;
    primary.state("it leads", |state| !state.super_read_only).await;
    primary.sql("INSERT INTO d.t VALUES ()").await;
    copy.order(1, 9, Action::Follow { source: primary.endpoint() }).await;
    copy.wait_for_rows("d.t", 4).await;
    assert_eq!(
        copy.text("SELECT @@GLOBAL.gtid_executed").await,
        primary.text("SELECT @@GLOBAL.gtid_executed").await
    );
}

#[tokio::test]
async fn killed_before_any_step_of_its_first_start_it_is_partial_and_goes_on_later() {
    let cluster = Cluster::new();
    let (_primary, mut copy, held) = received(&cluster, None).await;
    let saved = copy.volume().join("mainstay.json");
    let marker = fs::read_to_string(&saved).unwrap();
    for step in ["start", "reset", "purge", "verify", "complete"] {
        copy.flags = vec![("halt-before", step.to_owned())];
        copy.start("prepare");
        let halted = format!("\"step\":\"{step}\"");
        copy.report("it halts", |_| copy.log().contains(&halted)).await;
        let agent = copy.agent.as_ref().unwrap().id();
        copy.signal("KILL", agent);
        copy.ended();
        // Outside of a container the server outlives the agent.
        if let Ok(pid) = fs::read_to_string(copy.run_directory().join("mysqld.pid")) {
            let _ = Command::new("kill").args(["-s", "KILL", pid.trim()]).status();
        }
        copy.flags.clear();
        copy.new_pod();
        let starts = copy.log().matches("mysqld started").count();
        copy.start("serve");
        copy.report("it is partial", |r| matches!(r.directory, Directory::Partial { .. })).await;
        copy.stop();
        assert_eq!(copy.log().matches("mysqld started").count(), starts, "{step}: {}", copy.log());
        if step != "complete" {
            // Each of these is a first crash: more than a few in a row would be given up.
            let starts = fs::read_to_string(&saved).unwrap();
            assert!(starts.contains("\"starts\":1") || starts.contains("\"starts\": 1"), "{starts}");
            fs::write(&saved, &marker).unwrap();
        }
    }
    copy.start("prepare");
    assert!(copy.ended(), "{}", copy.log());
    copy.start("serve");
    assert_eq!(copy.state("it serves", |_| true).await.gtid_executed, held);
}

/// The binary logs between the copy and now went while it was on its way.
#[tokio::test]
async fn a_copy_that_lacks_what_its_source_has_purged_says_so_and_holds_what_it_held() {
    let cluster = Cluster::new();
    let (primary, mut copy, held) = received(&cluster, None).await;
    primary.order(1, 3, Action::Lead { alone: false }).await;
    primary.state("it leads", |state| !state.super_read_only).await;
    for statement in
        ["INSERT INTO d.t VALUES ()", "FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY"]
    {
        primary.sql(statement).await;
    }
    let purged = primary.text("SELECT @@GLOBAL.gtid_purged").await;
    assert_ne!(purged, held, "the row that the copy lacks is in no log any more");
    copy.start("prepare");
    assert!(copy.ended(), "{}", copy.log());
    copy.start("serve");
    copy.state("it serves", |_| true).await;
    copy.order(1, 9, Action::Follow { source: primary.endpoint() }).await;
    let stands = |state: &mainstay_proto::ServerState| {
        state
            .channel
            .as_ref()
            .is_some_and(|c| c.receiver_error.as_ref().is_some_and(|e| e.contains("purged")))
    };
    // What the operator needs to set it aside: what it holds, and that its source has no more of it.
    let state = copy.state("its receiver says why it stands", stands).await;
    assert_eq!((state.gtid_executed, state.super_read_only), (held, true));
    let mut anew = cluster.instance(2);
    anew.start("prepare");
    anew.report("it is empty", |report| report.directory == Directory::Empty).await;
    let donor = primary.endpoint();
    anew.order(
        1,
        10,
        Action::Clone {
            operation: "anew".into(),
            donor,
            max_mib_per_second: None,
            history: History::default(),
        },
    )
    .await;
    assert!(anew.ended(), "{}", anew.log());
    anew.start("serve");
    anew.wait_for_rows("d.t", 4).await;
}

#[tokio::test]
async fn a_copy_whose_set_can_not_be_taken_is_wiped() {
    let cluster = Cluster::new();
    let (primary, mut copy, _) = received(&cluster, Some("no-set-at-all")).await;
    copy.start("prepare");
    let failed = copy
        .report("it fails", |r| {
            matches!(r.task.as_ref().map(|task| &task.state), Some(TaskState::Failed { .. }))
        })
        .await;
    assert!(matches!(failed.directory, Directory::Partial { .. }), "{failed:?}");
    assert!(!copy.volume().join("data").exists(), "all of it is gone");
    // The plugin needs no other container.
    let donor = primary.endpoint();
    copy.order(
        1,
        9,
        Action::Clone {
            operation: "again".into(),
            donor,
            max_mib_per_second: None,
            history: History::default(),
        },
    )
    .await;
    assert!(copy.ended(), "{}", copy.log());
}
