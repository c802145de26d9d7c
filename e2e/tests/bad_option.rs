//! An option with which mysqld does not start reaches one replica, and nobody else by the back door.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use mainstay_crd::MySQLClusterStatus;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{ANNOTATION_TEMPLATE_HASH, LABEL_CLUSTER};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{exec, note, wait};
use serde_json::json;

/// Kills mysqld without a word, as the kernel would for want of memory. The image has no `pidof`.
const KILL: &str = r#"for p in /proc/[0-9]*; do
    if [ "$(cat "$p/comm" 2>/dev/null)" = mysqld ]; then kill -9 "${p#/proc/}"; fi
done"#;

/// Importance 1: while a change can't start, the primary's mysqld is killed, and then its pod deleted. Both come back as they
/// were, and writes go on; taking the option back heals, and leaves one configuration.
#[tokio::test]
async fn bad_option() -> Result<(), Failed> {
    scope::run("bad_option", wait::LONG * 4, async |scope| {
        let database = scope.database("door");
        database.start(3).await?;
        let primary = database.primary().await?;
        let name = database.names.pod(primary);
        let before = database.pod(primary).await?;
        let hash = template(&before)?;
        let writer = Writer::start(&database, "door", Duration::from_millis(10)).await?;
        writer.acknowledged(50).await?;

        database.patch(json!({"config": {"common": {"innodb_buffer_pool_size": "banana"}}})).await?;
        database.until("an instance to say what it can't start with", wait::LONG, says_why).await?;
        database.until("Ready to say that the change failed, and how", wait::LONG, change_failed).await?;
        exec::in_pod(&scope.api::<Pod>(), &name, "mysql", &["sh", "-c", KILL]).await?;
        note!("mysqld of {name} was killed");
        writer.acknowledged(300).await?;
        let after = database.pod(primary).await?;
        ensure!(after.uid() == before.uid(), "{name} was replaced although its server comes back");
        ensure!(database.primary().await? == primary, "another leads");

        // What it was made from is deleted too: it is made again, though the spec asks for another.
        let map = configuration(&before)?;
        scope.api::<ConfigMap>().delete(&map, &DeleteParams::default()).await?;
        scope.api::<Pod>().delete(&name, &DeleteParams::default()).await?;
        let after = database.replaced(primary, &before.uid().unwrap_or_default(), wait::LONG).await?;
        ensure!(template(&after)? == hash, "{name} came back with what was not tried yet");
        ensure!(configuration(&after)? == map, "{name} came back with another configuration");
        writer.acknowledged(300).await?;

        database.patch(json!({"config": {"common": {"innodb_buffer_pool_size": null}}})).await?;
        database.healthy(3, wait::LONG).await?;
        for pod in database.pods().await? {
            ensure!(template(&pod)? == hash, "{} is not as it was", pod.name_any());
        }
        one_configuration(&database).await?;
        writer.acknowledged(50).await?;
        writer.verify().await?;
        Ok(())
    })
    .await
}

fn says_why(status: &MySQLClusterStatus) -> bool {
    status.instances.iter().any(|instance| {
        let message = instance.message.as_deref().unwrap_or_default();
        !instance.ready && (message.contains("banana") || message.contains("innodb_buffer_pool_size"))
    })
}

fn change_failed(status: &MySQLClusterStatus) -> bool {
    let reason = Reason::ChangeFailed.as_str();
    status.conditions.iter().any(|condition| {
        let said = &condition.message;
        condition.type_ == ConditionType::Ready.as_str()
            && condition.reason == reason
            && (said.contains("banana") || said.contains("innodb_buffer_pool_size"))
            && said.contains("Change the spec")
    })
}

fn template(pod: &Pod) -> Result<String> {
    pod.annotations().get(ANNOTATION_TEMPLATE_HASH).cloned().context("a pod without a template's hash")
}

/// The ConfigMap with its configuration.
fn configuration(pod: &Pod) -> Result<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut maps = volumes.filter_map(|volume| Some(volume.config_map.as_ref()?.name.clone()));
    maps.next().context("a pod without a configuration")
}

/// The configurations that no pod mounts are removed.
async fn one_configuration(database: &Database<'_>) -> Result<()> {
    let of_cluster = ListParams::default().labels(&format!("{LABEL_CLUSTER}={}", database.names.cluster));
    wait::poll("one ConfigMap to be left", wait::LONG, || async {
        let mut maps = database.scope.api::<ConfigMap>().list(&of_cluster).await?.items;
        maps.retain(|map| map.name_any() != database.names.ca_config_map());
        Ok((maps.len() == 1).then_some(()))
    })
    .await
}
