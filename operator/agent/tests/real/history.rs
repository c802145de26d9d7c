//! From which count a server's transactions are: a person's reset is noticed and told, the agent's own are not counted.

use mainstay_proto::{Action, Directory, History};

use crate::cluster::Cluster;
use crate::instance::Instance;

/// A primary with rows, of which a look has told.
async fn with_rows(primary: &mut Instance<'_>) {
    primary.primary(false).await;
    primary.sql("CREATE DATABASE d").await;
    primary.sql("CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY)").await;
    primary.sql("INSERT INTO d.t VALUES (), (), ()").await;
    let held = primary.text("SELECT @@GLOBAL.gtid_executed").await;
    let seen = primary.state("its rows are seen", |state| state.gtid_executed == held).await;
    assert_eq!(seen.history, Some(History::default()), "what initialised it does not count");
}

/// What its marker says.
fn written(instance: &Instance<'_>) -> History {
    let text = std::fs::read_to_string(instance.volume().join("mainstay.json")).unwrap();
    let marker: serde_json::Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(marker["history"].clone()).unwrap()
}

async fn reset(instance: &Instance<'_>) -> History {
    let before = written(instance);
    instance.sql("RESET BINARY LOGS AND GTIDS").await;
    let counted = |state: &mainstay_proto::ServerState| state.history.is_some_and(|now| now != before);
    let state = instance.state("the reset is noticed", counted).await;
    let told = state.history.unwrap();
    assert_eq!(written(instance), told, "it is on the volume by then");
    assert_eq!((told.resets, told.by), (before.resets + 1, instance.ordinal));
    assert!(!state.gtid_executed.contains("1-3"), "the sets are of that count: {}", state.gtid_executed);
    told
}

#[tokio::test]
async fn a_reset_is_noticed_written_down_and_told_and_outlives_the_server_and_its_copies_have_it() {
    let cluster = Cluster::new();
    let (mut primary, mut copy) = (cluster.instance(0), cluster.instance(1));
    with_rows(&mut primary).await;
    let first = reset(&primary).await;
    primary.sql("INSERT INTO d.t VALUES (), (), (), ()").await;
    primary.sql("INSERT INTO d.t VALUES ()").await;
    let held = primary.text("SELECT @@GLOBAL.gtid_executed").await;
    let grown = primary.state("it counts on", |state| state.gtid_executed == held).await;
    assert_eq!(grown.history, Some(first));
    // A new role, a purge and a restart do not count.
    primary.sql("FLUSH BINARY LOGS").await;
    primary.sql("PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY").await;
    primary.state("its logs are purged", |state| !state.gtid_purged.is_empty()).await;
    primary.order(1, 3, Action::StandDown).await;
    primary.state("it stands", |state| state.super_read_only).await;
    primary.stop();
    primary.start("serve");
    assert_eq!(primary.state("it is back", |_| true).await.history, Some(first));
    primary.order(1, 4, Action::Lead { alone: false }).await;
    primary.state("it leads", |state| !state.super_read_only).await;

    copy.start("prepare");
    copy.report("it is empty", |report| report.directory == Directory::Empty).await;
    let clone = Action::Clone {
        operation: "copy".into(),
        donor: primary.endpoint(),
        max_mib_per_second: None,
        history: first,
    };
    copy.order(1, 4, clone).await;
    assert!(copy.ended(), "{}", copy.log());
    copy.start("serve");
    assert_eq!(copy.state("it serves", |_| true).await.history, Some(first), "CLONE does not count");
    copy.order(1, 5, Action::Follow { source: primary.endpoint() }).await;
    copy.wait_for_rows("d.t", 8).await;
    let follows = copy.state("it follows", |s| s.channel.as_ref().is_some_and(|c| c.receiver_running)).await;
    assert_eq!(follows.history, Some(first));

    let second = reset(&primary).await;
    let own = reset(&copy).await;
    assert_ne!(own, second, "as often, but not the same");
}
