//! Copies by the copy tool: as far as they go without it, and, where Percona's image can be pulled, with it.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::api::LogParams;
use mainstay_crd::MySQLClusterStatus;
use mainstay_e2e::database::{self, Database};
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::{checksum, exec, load, wait};
use mainstay_proto::pod::{self, paths, ports};
use serde_json::json;

/// Importance 2: an image without the tool is named as what is wrong and harms nothing, what a copy needs is in the
/// pods, and a fixed spec is enough.
#[tokio::test]
async fn stream_clone() -> Result<(), Failed> {
    scope::run("stream_clone", wait::LONG * 3, async |scope| {
        let database = scope.database("stream");
        // The server's image has all but the tool.
        let clone = json!({"method": "XtraBackup", "image": database::image(), "compress": "Zstd"});
        database.create(2, json!({"clone": clone})).await?;
        database.until("status to say what the image lacks", wait::LONG, lacks_the_tool).await?;
        let mut sql = database.sql_through(&database.names.primary_service()).await?;
        load::rows(&mut sql, 10).await?;
        let primary = database.primary().await?;
        wired(scope, &database, primary).await?;
        let plugin = json!({"method": "Plugin", "image": null, "compress": "None"});
        database.patch(json!({"clone": plugin})).await?;
        // Between two pods of a roll the cluster is Healthy too.
        for ordinal in [0, 1] {
            let name = database.names.pod(ordinal);
            let gives_nothing = |pod: &Pod| container(pod, pod::CONTAINER_DONOR).is_err();
            let what = format!("{name} to be one without a donor");
            wait::object(&scope.api::<Pod>(), &name, &what, wait::LONG, gives_nothing).await?;
        }
        database.healthy(2, wait::LONG * 2).await?;
        for ordinal in [0, 1] {
            load::check_rows(&mut database.sql(ordinal).await?, 10).await?;
        }
        Ok(())
    })
    .await
}

/// Importance 1: replicas that XtraBackup itself copied hold what was written, and replicate on.
/// MAINSTAY_XTRABACKUP_IMAGE names the tool's image, if not the one that follows from the server's.
#[tokio::test]
#[ignore = "pulls Percona's image: `make e2e-xtrabackup`"]
async fn stream_clone_xtrabackup() -> Result<(), Failed> {
    scope::run("stream_clone_xtrabackup", wait::LONG * 5, async |scope| {
        let database = scope.database("stream");
        let image = std::env::var("MAINSTAY_XTRABACKUP_IMAGE").ok().filter(|image| !image.is_empty());
        let clone = json!({"method": "XtraBackup", "image": image, "compress": "Zstd"});
        database.create(1, json!({"clone": clone})).await?;
        // Its image is pulled first.
        database.healthy(1, wait::LONG * 2).await?;
        let mut sql = database.sql_through(&database.names.primary_service()).await?;
        load::rows(&mut sql, 10_000).await?;
        database.scale(3).await?;
        for ordinal in [0, 1, 2] {
            load::check_rows(&mut database.sql(ordinal).await?, 10_000).await?;
        }
        for ordinal in [1, 2] {
            // And not the plugin.
            let log = LogParams { container: Some(pod::CONTAINER_RECEIVE.into()), ..LogParams::default() };
            let log = scope.api::<Pod>().logs(&database.names.pod(ordinal), &log).await?;
            ensure!(log.contains("the copy is consistent"), "{log}");
        }
        checksum::compare(&database, &[0, 1, 2]).await
    })
    .await
}

/// While the primary serves.
fn lacks_the_tool(status: &MySQLClusterStatus) -> bool {
    let says = |text: &str| text.contains("neither xtrabackup nor mariadb-backup");
    let said = status.instances.iter().any(|instance| {
        let clone = instance.clone.as_ref();
        let error = clone.and_then(|clone| clone.last_error.as_deref());
        error.is_some_and(says) && clone.is_some_and(|clone| clone.failures > 0)
    });
    let holds = |type_: &str, reason: Option<&str>| {
        let condition = status.conditions.iter().find(|condition| condition.type_ == type_);
        condition.is_some_and(|c| c.status == "True" && reason.is_none_or(|reason| c.reason == reason))
    };
    said && holds("Progressing", Some("Cloning")) && holds("Available", None)
}

/// The donor listens under its name, where the recipient reaches it, and neither is given a password.
async fn wired(scope: &Scope, database: &Database<'_>, primary: u32) -> Result<()> {
    let (donor, recipient) = (database.pod(primary).await?, database.pod(1 - primary).await?);
    for container in
        [container(&donor, pod::CONTAINER_DONOR)?, container(&recipient, pod::CONTAINER_RECEIVE)?]
    {
        let mounts: Vec<_> =
            container.volume_mounts.iter().flatten().map(|m| m.mount_path.as_str()).collect();
        ensure!(mounts.contains(&paths::TLS) && mounts.contains(&paths::VOLUME), "{mounts:?}");
        ensure!(!mounts.contains(&paths::CREDENTIALS), "{mounts:?}");
    }
    let statuses = donor.status.as_ref().and_then(|status| status.container_statuses.clone());
    let status = statuses.into_iter().flatten().find(|status| status.name == pod::CONTAINER_DONOR);
    let status = status.context("the donor has no status")?;
    ensure!(status.ready && status.restart_count == 0, "the donor does not run: {status:?}");
    let pods = scope.api::<Pod>();
    let (from, to) = (database.names.pod(1 - primary), database.names.pod(primary));
    let log = LogParams { container: Some(pod::CONTAINER_DONOR.into()), ..LogParams::default() };
    let log = pods.logs(&to, &log).await?;
    ensure!(log.contains("ready to give"), "{log}");
    let host = pod::host(&database.names.namespace, &database.names.cluster, primary);
    let connect = format!("exec 3<>/dev/tcp/{host}/{}", ports::DONOR);
    exec::in_pod(&pods, &from, pod::CONTAINER_RECEIVE, &["bash", "-c", &connect]).await?;
    Ok(())
}

fn container<'p>(pod: &'p Pod, name: &str) -> Result<&'p Container> {
    let spec = pod.spec.as_ref().context("a pod without a spec")?;
    let mut all = spec.init_containers.iter().flatten().chain(&spec.containers);
    all.find(|container| container.name == name).with_context(|| format!("no container {name}"))
}
