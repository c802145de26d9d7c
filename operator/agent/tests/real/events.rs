//! Scheduled events run on who leads, and nowhere else.

use mainstay_proto::{Action, Answer, Report, Server, TaskState};

use crate::cluster::Cluster;

const STATUS: &str = "SELECT GROUP_CONCAT(EVENT_NAME, ' ', STATUS, ' ', DEFINER ORDER BY EVENT_NAME) FROM information_schema.EVENTS";

#[tokio::test]
async fn events_follow_the_lead() {
    let cluster = Cluster::new();
    let (mut primary, mut other) = (cluster.instance(0), cluster.instance(1));
    primary.primary(false).await;
    primary.sql("CREATE DATABASE d").await;
    primary.sql("CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, host VARCHAR(99))").await;
    other.provision(3, Some(&primary)).await;
    other.order(1, 4, Action::Follow { source: primary.endpoint() }).await;
    other.state("it follows", |s| s.channel.as_ref().is_some_and(|c| c.receiver_running)).await;
    primary.sql("CREATE USER app@'%' IDENTIFIED BY 'x'").await;
    primary.sql("GRANT ALL ON d.* TO app@'%'").await;
    primary
        .sql(
            "CREATE DEFINER = app@'%' EVENT d.tick ON SCHEDULE EVERY 1 SECOND \
             DO INSERT INTO d.t (host) VALUES (@@report_host)",
        )
        .await;
    primary.sql("CREATE DEFINER = app@'%' EVENT d.z ON SCHEDULE EVERY 1 SECOND DISABLE DO DO 1").await;
    let rows = |of: &str| format!("SELECT COUNT(*) FROM d.t WHERE host = '{of}'");
    let [first, second] = [primary.endpoint().host, other.endpoint().host];
    primary.until("it ticks", || async { primary.number(&rows(&first)).await > 0 }).await;
    other.until("it is replicated", || async { other.own_text(STATUS).await.contains("z ") }).await;
    assert_eq!(other.text("SELECT @@GLOBAL.event_scheduler").await, "OFF");

    primary.order(2, 5, Action::StandDown).await;
    // As the operator does: until the order is carried out, what is told may have been listed before it.
    let done = |report: &Report| {
        report.task.as_ref().is_some_and(|task| task.term.revision == 5 && task.state == TaskState::Done)
    };
    let Server::Running { state } = primary.report("it stands down", done).await.server else { panic!() };
    let known = state.disabled_events;
    assert_eq!(known.as_ref().map(Vec::len), Some(1), "{known:?}");
    assert_eq!(primary.own_text("SELECT @@GLOBAL.event_scheduler").await, "OFF");
    let mut lead = other.make_order(2, 5, Action::Lead { alone: false });
    lead.disabled_events = known;
    assert_eq!(other.send(&lead).await, Answer::Accepted);
    other.state("it leads", |state| !state.super_read_only && state.channel.is_none()).await;
    primary.order(2, 6, Action::Follow { source: other.endpoint() }).await;
    other.until("it ticks there", || async { other.number(&rows(&second)).await > 1 }).await;
    let promoted = "tick ENABLED app@%,z DISABLED app@%";
    assert_eq!(other.own_text(STATUS).await, promoted, "as they were, and so is their definer");
    primary.until("it arrives", || async { primary.number(&rows(&second)).await > 1 }).await;

    // A start of a server that led does not run them, nor does it once it follows.
    primary.stop();
    primary.start("serve");
    primary.state("it follows", |s| s.channel.as_ref().is_some_and(|c| c.receiver_running)).await;
    assert_eq!(primary.own_text("SELECT @@GLOBAL.event_scheduler").await, "OFF");
    let before = other.number(&rows(&second)).await;
    other.until("it ticks on", || async { other.number(&rows(&second)).await > before }).await;
    let executed = primary.own_text("SELECT @@GLOBAL.gtid_executed").await;
    let errant = format!("SELECT GTID_SUBTRACT('{executed}', @@GLOBAL.gtid_executed)");
    assert_eq!(other.own_text(&errant).await, "", "it wrote nothing of its own");
}

#[tokio::test]
async fn who_switched_events_off_finds_them_off() {
    let cluster = Cluster::new();
    cluster.mount(
        "config",
        &[("common.cnf", "[mysqld]\ninnodb_buffer_pool_size=64M\nevent_scheduler=DISABLED\n")],
    );
    let mut primary = cluster.instance(0);
    primary.primary(false).await;
    assert_eq!(primary.text("SELECT @@GLOBAL.event_scheduler").await, "OFF");
}
