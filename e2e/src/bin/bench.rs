//! Prints figures of the operator on a real cluster. Asserts nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use mainstay_e2e::audit::{self, Audit};
use mainstay_e2e::database::Database;
use mainstay_e2e::faults::{on_node, processes};
use mainstay_e2e::figures::{self, Figure, rate, seconds};
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::{load, note, operator, wait};
use serde_json::json;

/// Tries of which the median is told.
const TRIES: usize = 3;
/// MiB that are cloned.
const SIZE: u64 = 1024;
/// For how long the operator's requests are counted.
const IDLE: Duration = Duration::from_secs(60);
/// In which all of it is done.
const LIMIT: Duration = Duration::from_secs(1800);

#[tokio::main]
async fn main() -> Result<(), Failed> {
    scope::run("bench", LIMIT, async |scope| {
        let mut figures = Vec::new();
        for replicas in [1, 3] {
            figures.push(time_to_ready(scope, replicas).await?);
        }
        figures.extend(idle(scope).await?);
        figures.extend(clone(scope).await?);
        figures::print(&figures);
        Ok(())
    })
    .await
}

async fn time_to_ready(scope: &Scope, replicas: i32) -> Result<Figure> {
    let mut times = Vec::new();
    for attempt in 0..TRIES {
        let database = scope.database(&format!("ready-{replicas}-{attempt}"));
        let began = Instant::now();
        database.start(replicas).await?;
        times.push(began.elapsed());
        database.delete().await?;
    }
    times.sort();
    Ok((format!("apply to Ready, {replicas} instances, median of {TRIES}"), seconds(times[TRIES / 2])))
}

/// What the operator needs for a cluster of three in which nothing happens.
async fn idle(scope: &Scope) -> Result<Vec<Figure>> {
    let database = scope.database("idle");
    database.start(3).await?;
    if !scope.env.local {
        note!("memory and requests are not counted: this is not the local cluster");
        return Ok(Vec::new());
    }
    let pods = operator::pods(&scope.env.client).await?;
    let user = audit::operator(&scope.env.client).await?;
    let audit = Audit::begin()?;
    note!("idle for {} s", IDLE.as_secs());
    tokio::time::sleep(IDLE).await;
    let requests = audit.requests(&user)?;
    let requests: Vec<String> = requests.iter().map(|r| format!("{} {}", r.verb, r.resource)).collect();
    let mut figures = Vec::new();
    for pod in &pods {
        let part = if operator::leads(&scope.env.client, pod).await? { "leads" } else { "stands by" };
        let (resident, peak) = memory(pod)?;
        figures.push((
            format!("memory of the operator that {part}, now / peak"),
            format!("{resident} / {peak}"),
        ));
    }
    database.delete().await?;
    let leases = requests.iter().filter(|request| request.contains("leases")).count();
    figures.extend([
        (
            format!("API requests a minute, one idle cluster, {} operators", pods.len()),
            requests.len().to_string(),
        ),
        ("  of these for the lease".into(), leases.to_string()),
        ("  the others".into(), others(&requests)),
    ]);
    Ok(figures)
}

fn others(requests: &[String]) -> String {
    let mut others: Vec<&str> =
        requests.iter().map(String::as_str).filter(|request| !request.contains("leases")).collect();
    others.sort_unstable();
    let groups = others.chunk_by(|a, b| a == b).map(|group| format!("{} {}", group.len(), group[0]));
    let groups: Vec<String> = groups.collect();
    if groups.is_empty() { "none".into() } else { groups.join(", ") }
}

fn memory(pod: &Pod) -> Result<(String, String)> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).context("not scheduled")?;
    let status = on_node(
        node,
        r#"grep -h -e ^VmRSS -e ^VmHWM "/proc/$1/status""#,
        &[&process(pod, operator::PROCESS)?],
    )?;
    let of = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default();
        format!("{:.1} MiB", kib as f64 / 1024.0)
    };
    Ok((of("VmRSS"), of("VmHWM")))
}

/// The process's id, as the pod's node counts.
fn process(pod: &Pod, name: &str) -> Result<String> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).context("not scheduled")?;
    let uid = pod.uid().context("a pod without a UID")?;
    processes(node, &uid, name)?
        .into_iter()
        .next()
        .with_context(|| format!("{} has no {name}", pod.name_any()))
}

/// A clone beside a plain copy of the same table over the same path.
async fn clone(scope: &Scope) -> Result<Vec<Figure>> {
    let database = scope.database("clone");
    let resources = json!({"requests": {"cpu": "50m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}});
    database.create(1, json!({"storage": {"size": "8Gi"}, "resources": resources})).await?;
    database.healthy(1, wait::LONG).await?;
    load::fill(&mut database.sql(0).await?, SIZE).await?;
    let began = Instant::now();
    database.patch(json!({"replicas": 2})).await?;
    database.healthy(2, wait::LONG * 2).await?;
    let scaled = began.elapsed();
    let copy = "SELECT data, TIMESTAMPDIFF(MICROSECOND, begin_time, end_time) \
                FROM performance_schema.clone_progress WHERE stage = 'FILE COPY'";
    let (bytes, micros): (u64, u64) = database.sql(1).await?.one(copy).await?;
    let mut figures = vec![
        (format!("from 1 to 2 instances with {SIZE} MiB"), seconds(scaled)),
        ("clone, its copying alone".into(), rate(bytes, Duration::from_micros(micros))),
    ];
    if scope.env.local {
        figures.push(plain_copy(&database).await?);
    }
    Ok(figures)
}

/// The table's file through a TCP connection between the same two pods, from and to volumes of the same class,
/// and to disk.
async fn plain_copy(database: &Database<'_>) -> Result<Figure> {
    let (from, to) = (database.pod(0).await?, database.pod(1).await?);
    let (from_process, to_process) = (process(&from, "mysqld")?, process(&to, "mysqld")?);
    let address = to.status.as_ref().and_then(|status| status.pod_ip.clone()).context("no address")?;
    let file = "/proc/$1/root/var/lib/mysql";
    let send = format!(
        "nsenter -t $1 -n socat -u OPEN:{file}/data/filler/data.ibd TCP:$2:7777,retry=20,interval=0.1"
    );
    let receive = format!(
        "nsenter -t $1 -n socat -u TCP-LISTEN:7777,reuseaddr OPEN:{file}/copy,creat,trunc && sync {file}/copy && \
         stat -c %s {file}/copy && rm {file}/copy"
    );
    let to_node = to.spec.as_ref().and_then(|spec| spec.node_name.clone()).context("not scheduled")?;
    let from_node = from.spec.as_ref().and_then(|spec| spec.node_name.clone()).context("not scheduled")?;
    let began = Instant::now();
    let receiving = tokio::task::spawn_blocking(move || on_node(&to_node, &receive, &[&to_process]));
    let sending = tokio::task::spawn_blocking(move || on_node(&from_node, &send, &[&from_process, &address]));
    sending.await.context("send")??;
    let bytes: u64 = receiving.await.context("receive")??.trim().parse()?;
    Ok(("plain copy of the same table between the same pods".into(), rate(bytes, began.elapsed())))
}
