//! Figures of a copy, beside the limits measured in the same run. Asserts nothing; `make bench-clone` runs it.

#![allow(clippy::print_stdout, reason = "the table is what this is for")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mainstay_proto::Action;
use mysql_async::prelude::Queryable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::Cluster;
use crate::mariadb;
use crate::rig::{Donor, memory, recipient};

const MIB: f64 = 1_048_576.0;
/// MiB a second of the copies with a rate limit.
const LIMIT: u64 = 50;
/// How long commits are timed without a copy.
const CALM: Duration = Duration::from_secs(10);

/// MiB of rows; `MAINSTAY_STREAM_MIB` says otherwise.
fn mib() -> u64 {
    std::env::var("MAINSTAY_STREAM_MIB").map_or(2048, |text| text.parse().expect("a number of MiB"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn bench() {
    let cluster = Cluster::in_root(mariadb::root());
    let donor = Donor::new(&cluster, mib()).await;
    let data = donor.instance.volume().join("data");
    println!("\n{} MiB of rows", mib());
    let (bytes, read) = reading(&data);
    println!("limit: reading the donor's files            {:7.0} MiB/s", bytes / MIB / read);
    println!("limit: sending over the same path           {:7.0} MiB/s", bytes / MIB / sending(bytes).await);
    let target = cluster.directory.join("written");
    println!(
        "limit: writing, until it is on the disk     {:7.0} MiB/s",
        bytes / MIB / writing(&target, bytes)
    );
    tell_latency(
        "commits at the donor, no copy",
        commits(&donor, async { tokio::time::sleep(CALM).await }).await,
    );
    for (ordinal, name, compress, limit) in
        [(1, "plain", false, None), (2, "compressed", true, None), (3, "plain, limited", false, Some(LIMIT))]
    {
        uncache(&data);
        copy(&cluster, &donor, ordinal, name, compress, limit).await;
        let _ = std::fs::remove_dir_all(cluster.directory.join(format!("volume-{ordinal}")));
    }
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
        },
        other => other,
    };
    let mut peaks = (0, 0);
    to.order(1, 1, action).await;
    let latencies = commits(donor, async {
        while let Some(child) = &mut to.agent {
            let pid = child.id();
            if child.try_wait().unwrap().is_some() {
                break;
            }
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
    tell_latency(&format!("commits at the donor, {name}"), latencies);
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

/// Times commits of one client while something else goes on.
async fn commits(donor: &Donor<'_>, meanwhile: impl Future<Output = ()>) -> Vec<Duration> {
    let mut client = donor.server.client().await;
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let task = tokio::spawn(async move {
        let mut times = Vec::new();
        while !told.load(Ordering::SeqCst) {
            let began = Instant::now();
            client.query_drop("INSERT INTO d.w (b) VALUES ('timed')").await.unwrap();
            times.push(began.elapsed());
        }
        times
    });
    meanwhile.await;
    stop.store(true, Ordering::SeqCst);
    task.await.unwrap()
}

fn tell_latency(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    println!("{what:<40} {:6.1} ms median {:6.1} ms p99 ({} commits)", at(50), at(99), times.len());
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Takes the files out of the kernel's cache, so that they come from the disk.
fn uncache(data: &Path) {
    for file in files(data) {
        let mut of = std::ffi::OsString::from("if=");
        of.push(&file);
        let _ = Command::new("dd").arg(of).args(["iflag=nocache", "count=0", "status=none"]).status();
    }
}

fn reading(data: &Path) -> (f64, f64) {
    Command::new("sync").status().unwrap();
    uncache(data);
    let tables: Vec<_> =
        files(data).into_iter().filter(|file| file.extension().is_some_and(|e| e == "ibd")).collect();
    let bytes: u64 = tables.iter().map(|file| file.metadata().unwrap().len()).sum();
    let began = Instant::now();
    for file in tables {
        let mut from = std::ffi::OsString::from("if=");
        from.push(&file);
        let read = Command::new("dd").arg(from).args(["of=/dev/null", "bs=1M", "status=none"]).status();
        assert!(read.unwrap().success());
    }
    (bytes as f64, began.elapsed().as_secs_f64())
}

/// Over the loopback interface, as the copy goes here; without TLS.
async fn sending(bytes: f64) -> f64 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sender = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let chunk = vec![7; 128 * 1024];
        let mut left = bytes;
        while left > 0.0 {
            stream.write_all(&chunk).await.unwrap();
            left -= chunk.len() as f64;
        }
    });
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let began = Instant::now();
    let mut buffer = vec![0; 128 * 1024];
    while stream.read(&mut buffer).await.unwrap() > 0 {}
    sender.await.unwrap();
    began.elapsed().as_secs_f64()
}

fn writing(target: &Path, bytes: f64) -> f64 {
    let began = Instant::now();
    let mut of = std::ffi::OsString::from("of=");
    of.push(target);
    let count = format!("count={}", (bytes / MIB).ceil());
    let wrote = Command::new("dd")
        .args(["if=/dev/zero", "bs=1M", &count, "conv=fdatasync", "status=none"])
        .arg(of)
        .status();
    assert!(wrote.unwrap().success());
    let took = began.elapsed().as_secs_f64();
    std::fs::remove_file(target).unwrap();
    took
}
