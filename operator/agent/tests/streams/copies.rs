//! Copies that go well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mainstay_proto::{Action, History, TaskState};
use mysql_async::prelude::Queryable;

use crate::cluster::Cluster;
use crate::instance::Instance;
use crate::mariadb::{self, Server};
use crate::proxy::{Fault, Proxy};
use crate::rig::{Donor, memory, received, recipient, succeeds};

/// MiB of rows: enough for many frames. `MAINSTAY_STREAM_MIB` says more.
fn mib() -> u64 {
    std::env::var("MAINSTAY_STREAM_MIB").map_or(256, |text| text.parse().expect("a number of MiB"))
}

/// Most of the agent's own memory, however large the data.
const MEMORY: u64 = 32 << 20;

/// Writes until it is told to stop; what was acknowledged is counted.
struct Writer {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<u64>,
}

impl Writer {
    async fn start(donor: &Donor<'_>) -> Writer {
        let mut client = donor.server.client().await;
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let task = tokio::spawn(async move {
            let mut written = 0;
            while !told.load(Ordering::SeqCst) {
                client.query_drop("INSERT INTO d.w (b) VALUES (REPEAT(UUID(), 10))").await.unwrap();
                let update =
                    format!("UPDATE d.t SET b = RANDOM_BYTES(1000) WHERE id = {}", 1 + written % 900);
                client.query_drop(update).await.unwrap();
                written += 1;
            }
            written
        });
        Writer { stop, task }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}

/// Starts a server on what arrived, has it replicate from the recorded position, and compares.
async fn holds_what_the_donor_holds(
    cluster: &Cluster,
    recipient: &Instance<'_>,
    donor: &Donor<'_>,
    written: u64,
) {
    let set = received(recipient).unwrap();
    assert!(!set.is_empty());
    let copy = Server::start(cluster, recipient).await;
    let (at_copy,): (u64,) = copy.row("SELECT COUNT(*) FROM d.w").await;
    assert!(
        at_copy > 0 && at_copy <= written,
        "{at_copy} of {written} rows were written before the copy ended"
    );
    replicate(&copy, donor, &set).await;
    let (end,): (String,) = donor.server.row("SELECT @@gtid_current_pos").await;
    let (waited,): (i64,) = copy.row(&format!("SELECT MASTER_GTID_WAIT('{end}', 120)")).await;
    assert_eq!(waited, 0, "it never had {end}, from {set}");
    assert_eq!(copy.checksums().await, donor.server.checksums().await);
    let (rows,): (u64,) = copy.row("SELECT COUNT(*) FROM d.w").await;
    assert_eq!(rows, written);
}

/// Has a copy replicate from the donor's server, from the recorded position on.
async fn replicate(copy: &Server, donor: &Donor<'_>, set: &str) {
    copy.sql(&format!("SET GLOBAL gtid_slave_pos = '{set}'")).await;
    copy.sql(&format!(
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'repl', \
         MASTER_PASSWORD = 'repl-Passw0rd', MASTER_USE_GTID = slave_pos, MASTER_SSL = 0",
        donor.server.port
    ))
    .await;
    copy.sql("START SLAVE").await;
}

async fn copy(compress: bool) {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, mib()).await;
    let writer = Writer::start(&donor).await;
    let mut to = recipient(&cluster, 1).await;
    let action = match donor.action("op", donor.port()) {
        Action::Receive { operation, donor, donor_ordinal, .. } => Action::Receive {
            operation,
            donor,
            donor_ordinal,
            compress,
            max_mib_per_second: Some(100),
            from_primary: false,
            history: History::default(),
        },
        other => other,
    };
    to.order(1, 1, action).await;
    let mut peaks = (0, 0);
    let mut progress = None;
    let deadline = Instant::now() + Duration::from_secs(300);
    while let Some(child) = &mut to.agent {
        let pid = child.id();
        if child.try_wait().unwrap().is_some() {
            break;
        }
        peaks = (peaks.0.max(memory(donor.pid()).unwrap()), peaks.1.max(memory(pid).unwrap_or_default()));
        if let Ok(report) = to.try_report(&cluster.pki.operator).await
            && let Some(task) = report.task
            && task.state == TaskState::Running
        {
            progress = task.progress.or(progress);
        }
        assert!(Instant::now() < deadline, "{}", to.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(to.ended(), "{}", to.log());
    let written = writer.end().await;
    let progress = progress.expect("progress is reported");
    assert!(
        progress.bytes > 0 && progress.total_bytes.is_some_and(|total| total > mib() << 20),
        "{progress:?}"
    );
    assert!(peaks.0 <= MEMORY && peaks.1 <= MEMORY, "memory of donor and recipient: {peaks:?}");
    holds_what_the_donor_holds(&cluster, &to, &donor, written).await;
    donor.unharmed().await;
    for log in [to.log(), donor.instance.log()] {
        assert!(!log.contains(mariadb::PASSWORD), "a password is in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_under_write_load_replicates_on_from_its_recorded_position() {
    copy(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_copy_is_the_same() {
    copy(true).await;
}

/// Writes a row, and removes every binary log but the one that is written to.
///
/// MariaDB keeps a log that its recovery may still need until InnoDB's checkpoint is past it, and
/// that is noted in the background: `PURGE` then removes less, and succeeds.
async fn write_and_purge(donor: &Donor<'_>) {
    for statement in
        ["INSERT INTO d.w (b) VALUES ('w')", "FLUSH BINARY LOGS", "INSERT INTO d.w (b) VALUES ('w')"]
    {
        donor.server.sql(statement).await;
    }
    let mut client = donor.server.client().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let logs: Vec<(String, u64)> = client.query("SHOW BINARY LOGS").await.unwrap();
        if logs.len() == 1 {
            return;
        }
        assert!(Instant::now() < deadline, "they are not removed: {logs:?}");
        let last = &logs.last().unwrap().0;
        client.query_drop(format!("PURGE BINARY LOGS TO '{last}'")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binary_logs_purged_during_a_copy_are_not_missed_and_purged_after_it_harm_nothing() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, 16).await;
    let mut during = recipient(&cluster, 1).await;
    let mut proxy = Proxy::new(donor.port(), Fault::Hold(8 << 20)).await;
    during.order(1, 1, donor.action("during", proxy.port)).await;
    proxy.held().await;
    write_and_purge(&donor).await;
    proxy.release();
    assert!(during.ended(), "{}", during.log());
    holds_what_the_donor_holds(&cluster, &during, &donor, 2).await;

    let mut late = recipient(&cluster, 2).await;
    succeeds(&mut late, 1, donor.action("late", donor.port())).await;
    write_and_purge(&donor).await;
    let copy = Server::start(&cluster, &late).await;
    replicate(&copy, &donor, &received(&late).unwrap()).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    // ER_MASTER_FATAL_ERROR_READING_BINLOG: it stands, and holds what it held.
    while copy.row::<(u32,)>("SELECT LAST_IO_ERRNO FROM information_schema.SLAVE_STATUS").await.0 != 1236 {
        assert!(Instant::now() < deadline, "its receiver never said what it lacks");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(copy.row::<(u64,)>("SELECT COUNT(*) FROM d.w").await.0, 2);

    let mut next = recipient(&cluster, 3).await;
    succeeds(&mut next, 1, donor.action("next", donor.port())).await;
    holds_what_the_donor_holds(&cluster, &next, &donor, 4).await;
    donor.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_there_is_left_to_the_next_container() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, 8).await;
    let mut to = recipient(&cluster, 1).await;
    succeeds(&mut to, 1, donor.action("op", donor.port())).await;
    let set = received(&to);
    to.new_pod();
    to.start("receive");
    assert!(to.ended(), "it waits for nothing: {}", to.log());
    assert_eq!(received(&to), set);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_for_the_next_container_makes_it_go_on() {
    let cluster = Cluster::in_root(mariadb::root());
    let mut to = recipient(&cluster, 1).await;
    let answer = to.send(&to.make_order(1, 1, Action::Initialize { operation: "op".into() })).await;
    let refused = mainstay_proto::Refusal::NoServer;
    assert!(
        matches!(answer, mainstay_proto::Answer::Refused { reason, .. } if reason == refused),
        "{answer:?}"
    );
    assert!(to.ended(), "{}", to.log());
    assert!(!to.volume().join("mainstay.json").exists(), "nothing was done to the volume");
}
