//! Figures of a copy, beside the limits measured in the same run. Asserts nothing; `make bench-clone` runs it.

#![allow(clippy::print_stdout, reason = "the table is what this is for")]

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mainstay_proto::{Action, History};

use crate::cluster::Cluster;
use crate::limits::{CALM, LIMIT, MIB, commits, mib, tell, tell_latency, uncache};
use crate::mariadb::{self, chroot};
use crate::rig::{Donor, memory, recipient};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn bench() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, mib()).await;
    let data = donor.instance.volume().join("data");
    let bytes = tell(&data).await;
    uncache(&data);
    let alone = tools_alone(&cluster, &donor).as_secs_f64();
    println!("limit: the tools alone, through a pipe      {:7.0} MiB/s", bytes / MIB / alone);
    tell_latency(
        "commits at the donor, no copy",
        commits(donor.server.client().await, async { tokio::time::sleep(CALM).await }).await,
    );
    for (ordinal, name, compress, limit) in
        [(1, "plain", false, None), (2, "compressed", true, None), (3, "plain, limited", false, Some(LIMIT))]
    {
        uncache(&data);
        copy(&cluster, &donor, ordinal, name, compress, limit).await;
        let _ = std::fs::remove_dir_all(cluster.directory.join(format!("volume-{ordinal}")));
    }
}

/// The donor's tool with its output in the recipient's, and nothing between: what two cores make of the work that is
/// theirs.
fn tools_alone(cluster: &Cluster, donor: &Donor<'_>) -> Duration {
    let run = donor.instance.run_directory();
    let to = cluster.instance(3).volume();
    let inside = |option: &str, path: &Path| format!("{option}={}", cluster.inside(path));
    let began = Instant::now();
    let mut gives = chroot(cluster, "/usr/bin/mariadb-backup")
        .arg(inside("--defaults-file", &run.join("backup.cnf")))
        .args(["--backup", "--stream=xbstream", "--parallel=2", "--target-dir=/tmp"])
        .arg(inside("--datadir", &donor.instance.volume().join("data")))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut takes = chroot(cluster, "/usr/bin/mbstream")
        .args(["-x", "--parallel=2", &inside("--directory", &to)])
        .stdin(gives.stdout.take().unwrap())
        .spawn()
        .unwrap();
    assert!(gives.wait().unwrap().success() && takes.wait().unwrap().success());
    let took = began.elapsed();
    std::fs::remove_dir_all(to).unwrap();
    took
}

/// One copy: how fast, in how much memory, and what the donor's clients feel.
async fn copy(
    cluster: &Cluster,
    donor: &Donor<'_>,
    ordinal: u32,
    name: &str,
    compressed: bool,
    limit: Option<u64>,
) {
    let mut to = recipient(cluster, ordinal).await;
    let action = match donor.action(name, donor.port()) {
        Action::Receive { operation, donor, donor_ordinal, from_primary, .. } => Action::Receive {
            operation,
            donor,
            donor_ordinal,
            compress: compressed,
            max_mib_per_second: limit,
            from_primary,
            history: History::default(),
        },
        other => other,
    };
    let mut peaks = (0, 0);
    let before = processor_seconds(donor.pid());
    let mut spent = 0.0;
    to.order(1, 1, action).await;
    let latencies = commits(donor.server.client().await, async {
        while let Some(child) = &mut to.agent {
            let pid = child.id();
            if child.try_wait().unwrap().is_some() {
                break;
            }
            spent = processor_seconds(pid).unwrap_or(spent);
            peaks = (peaks.0.max(memory(donor.pid()).unwrap()), peaks.1.max(memory(pid).unwrap_or_default()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(to.ended(), "{}", to.log());
    let log = to.log();
    let bytes = digest_bytes(&log);
    let stream = seconds(&log, "a copy begins", "all has arrived");
    let all = seconds(&log, "a copy begins", "there is something for the next container");
    println!("copy, {name:<16} streamed and unpacked     {:7.0} MiB/s", bytes / MIB / stream);
    println!("copy, {name:<16} and consistent, on disk   {:7.0} MiB/s", bytes / MIB / all);
    println!(
        "copy, {name:<16} memory of donor, recipient {:6.1} {:6.1} MiB",
        peaks.0 as f64 / MIB,
        peaks.1 as f64 / MIB
    );
    let given = processor_seconds(donor.pid()).zip(before).map_or(0.0, |(after, before)| after - before);
    println!("copy, {name:<16} processor of both agents    {given:6.1} {spent:6.1} s");
    tell_latency(&format!("commits at the donor, {name}"), latencies);
}

/// Seconds of processor time that a process took, without its children's (proc(5), `stat`: utime and stime, in
/// hundredths on every Linux that Rust runs on).
fn processor_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
}

/// Seconds between two lines of an agent's log.
fn seconds(log: &str, from: &str, to: &str) -> f64 {
    let at = |text: &str| -> Timestamp {
        let line = log.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}:\n{log}"));
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["timestamp"].as_str().unwrap().parse().unwrap()
    };
    at(to).duration_since(at(from)).as_secs_f64()
}

fn digest_bytes(log: &str) -> f64 {
    let line = log.lines().find(|line| line.contains("all has arrived")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    line["fields"]["digest"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}
