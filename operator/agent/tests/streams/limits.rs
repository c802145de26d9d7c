//! What a copy is measured against: the same bytes read, sent and written without it, and a client's commits beside
//! it.

#![allow(clippy::print_stdout, reason = "these lines are what it is for")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) const MIB: f64 = 1_048_576.0;

/// MiB a second of what has a rate limit.
pub(crate) const LIMIT: u64 = 50;
/// How long commits are timed while nothing is copied.
pub(crate) const CALM: Duration = Duration::from_secs(10);
/// Between two commits: a client that never paused would take a processor from what is measured.
const PAUSE: Duration = Duration::from_millis(5);

/// MiB of rows; `MAINSTAY_STREAM_MIB` says otherwise.
pub(crate) fn mib() -> u64 {
    std::env::var("MAINSTAY_STREAM_MIB").map_or(2048, |text| text.parse().expect("a number of MiB"))
}

/// Prints the limits for a copy of `data`: its tables read, sent, and written beside it. Returns their bytes.
pub(crate) async fn tell(data: &Path) -> f64 {
    println!("\n{} MiB of rows", mib());
    let (bytes, read) = reading(data);
    println!("limit: reading the donor's files            {:7.0} MiB/s", bytes / MIB / read);
    println!("limit: sending over the same path           {:7.0} MiB/s", bytes / MIB / sending(bytes).await);
    let target = data.with_extension("written");
    println!(
        "limit: writing, until it is on the disk     {:7.0} MiB/s",
        bytes / MIB / writing(&target, bytes)
    );
    bytes
}

/// Times commits of one client while something else goes on.
pub(crate) async fn commits(mut client: Conn, meanwhile: impl Future<Output = ()>) -> Vec<Duration> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let task = tokio::spawn(async move {
        let mut times = Vec::new();
        while !told.load(Ordering::SeqCst) {
            let began = Instant::now();
            client.query_drop("INSERT INTO d.w (b) VALUES ('timed')").await.unwrap();
            times.push(began.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
        times
    });
    meanwhile.await;
    stop.store(true, Ordering::SeqCst);
    task.await.unwrap()
}

/// Prints the median and the 99th percentile.
pub(crate) fn tell_latency(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    println!("{what:<40} {:6.1} ms median {:6.1} ms p99 ({} commits)", at(50), at(99), times.len());
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Takes the files out of the kernel's cache, so that they come from the disk.
pub(crate) fn uncache(data: &Path) {
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
