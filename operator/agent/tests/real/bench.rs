//! Figures of a clone by MySQL's plugin, beside the limits measured in the same run. Asserts nothing; `make bench-clone`
//! runs it.

#![allow(clippy::print_stdout, reason = "the table is what this is for")]

use std::time::{Duration, Instant};

use mainstay_proto::{Action, Directory, History};
use mysql_async::prelude::Queryable;

use crate::cluster::Cluster;
use crate::instance::Instance;
use crate::limits::{CALM, LIMIT, MIB, commits, mib, tell, tell_latency, uncache};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn bench() {
    let cluster = Cluster::new();
    let mut donor = cluster.instance(0);
    donor.primary(false).await;
    load(&donor).await;
    tell(&donor.volume().join("data/d")).await;
    let calm = commits(donor.client().await, async { tokio::time::sleep(CALM).await }).await;
    tell_latency("commits at the donor, no clone", calm);
    for (ordinal, name, limit) in [(1, "Plugin", None), (2, "Plugin, limited", Some(LIMIT))] {
        uncache(&donor.volume().join("data/d"));
        clone(&cluster, &donor, ordinal, name, limit).await;
        let _ = std::fs::remove_dir_all(cluster.directory.join(format!("volume-{ordinal}")));
    }
}

/// Half of each row can't be compressed.
async fn load(donor: &Instance<'_>) {
    let mut client = donor.client().await;
    for statement in [
        "SET sql_log_bin = 0, cte_max_recursion_depth = 10000",
        "SET GLOBAL innodb_flush_log_at_trx_commit = 2",
        "CREATE DATABASE d",
        "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, b BLOB)",
        "CREATE TABLE d.w (id INT AUTO_INCREMENT PRIMARY KEY, b VARCHAR(500))",
    ] {
        client.query_drop(statement).await.unwrap();
    }
    // 7 MiB a statement; 1024 random bytes at once are the most.
    let random = ["RANDOM_BYTES(1000)"; 4].join(", ");
    for _ in 0..mib().div_ceil(7) {
        let insert = format!(
            "INSERT INTO d.t (b) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) \
             SELECT CONCAT({random}, REPEAT('x', 4000)) FROM n"
        );
        client.query_drop(insert).await.unwrap();
    }
    client.query_drop("SET GLOBAL innodb_flush_log_at_trx_commit = 1").await.unwrap();
}

async fn clone(cluster: &Cluster, donor: &Instance<'_>, ordinal: u32, name: &str, limit: Option<u64>) {
    let mut to = cluster.instance(ordinal);
    to.start("prepare");
    to.report("it is empty", |report| report.directory == Directory::Empty).await;
    let action = Action::Clone {
        operation: name.into(),
        donor: donor.endpoint(),
        max_mib_per_second: limit,
        history: History::default(),
    };
    to.order(1, 1, action).await;
    let began = Instant::now();
    let latencies = commits(donor.client().await, async {
        let agent = to.agent.as_mut().unwrap();
        while agent.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let all = began.elapsed().as_secs_f64();
    assert!(to.ended(), "{}", to.log());
    to.start("serve");
    to.state("it serves", |_| true).await;
    let stages = "SELECT SUM(DATA), TIMESTAMPDIFF(MICROSECOND, MIN(BEGIN_TIME), MAX(END_TIME)) / 1000000 \
                  FROM performance_schema.clone_progress WHERE STAGE IN ('FILE COPY', 'PAGE COPY', 'REDO COPY')";
    let copied: Option<(f64, f64)> = to.client().await.query_first(stages).await.unwrap();
    let (bytes, stream) = copied.unwrap();
    println!("clone, {name:<15} its copying               {:7.0} MiB/s", bytes / MIB / stream);
    println!("clone, {name:<15} from order to complete    {:7.0} MiB/s", bytes / MIB / all);
    tell_latency(&format!("commits at the donor, {name}"), latencies);
    to.stop();
}
