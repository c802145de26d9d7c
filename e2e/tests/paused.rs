//! `spec.paused`.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use mainstay_crd::MySQLClusterStatus;
use mainstay_crd::conditions::ConditionType;
use mainstay_crd::names::{ANNOTATION_SWITCHOVER_TO, LABEL_CLUSTER};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::told::{condition, is_healthy};
use mainstay_e2e::wait;
use mainstay_e2e::writer::Writer;
use serde_json::json;

/// Importance 2: while paused the operator says so and changes nothing, and then takes up what was missed.
#[tokio::test]
async fn paused() -> Result<(), Failed> {
    scope::run("paused", wait::LONG * 2, async |scope| {
        let database = scope.database("rest");
        database.start(1).await?;
        let before = versions(&database).await?;
        database.patch(json!({"paused": true})).await?;
        let said = |status: &mainstay_crd::MySQLClusterStatus| {
            status.conditions.iter().any(|condition| condition.reason == "Paused")
        };
        database.until("a condition to say that it is paused", wait::SHORT, said).await?;
        kept_up(&database).await?;
        // The operator answers for this generation after it has acted on it, or not.
        database.patch(json!({"replicas": 2, "config": {"common": {"max_connections": "99"}}})).await?;
        database.until("the operator to see the change", wait::SHORT, said).await?;
        ensure!(versions(&database).await? == before, "something was changed while paused");
        database.patch(json!({"paused": false})).await?;
        database.healthy(2, wait::LONG).await?;
        wait::poll("the configuration changed during the pause", wait::LONG, || async {
            let value: u32 = database.sql(0).await?.one("SELECT @@max_connections").await?;
            Ok((value == 99).then_some(()))
        })
        .await
    })
    .await
}

/// Importance 1: what was begun is ended while paused, and a primary whose pod is deleted then leads again. Nobody is
/// called available meanwhile who is not.
#[tokio::test]
async fn paused_in_the_middle() -> Result<(), Failed> {
    scope::run("paused_middle", wait::LONG * 3, async |scope| {
        let database = scope.database("held");
        database.start(2).await?;
        let writer = Writer::start(&database, "held", Duration::from_millis(5)).await?;
        let next = 1 - database.primary().await?;
        let pod = database.names.pod(next);
        let epoch = |status: &MySQLClusterStatus| status.replication.as_ref().map_or(0, |r| r.epoch);
        let before = epoch(&database.status().await?);
        let ask = json!({"metadata": {"annotations": {ANNOTATION_SWITCHOVER_TO: pod}}});
        database.api().patch(&database.names.cluster, &PatchParams::default(), &Patch::Merge(ask)).await?;
        let begun = |status: &MySQLClusterStatus| {
            epoch(status) > before || status.replication.as_ref().is_some_and(|r| r.target.is_some())
        };
        database.until("the switchover to be announced", wait::SHORT, begun).await?;
        database.patch(json!({"paused": true})).await?;
        database
            .until("it to lead though paused", wait::LONG, |s| {
                is_healthy(s, 2) && s.primary.as_ref() == Some(&pod)
            })
            .await?;
        writer.acknowledged(50).await?;

        let uid = database.pod(next).await?.uid().unwrap_or_default();
        scope.api::<Pod>().delete(&pod, &DeleteParams::default()).await?;
        let failed = |status: &MySQLClusterStatus| {
            condition(status, ConditionType::Available).is_some_and(|c| c.status == "False")
                || status.primary.as_ref() != Some(&pod)
        };
        database.until("it to be said that nobody serves writes", wait::SHORT, failed).await?;
        database.replaced(next, &uid, wait::LONG).await?;
        database
            .until("it to lead again though paused", wait::LONG, |s| {
                is_healthy(s, 2) && s.primary.as_ref() == Some(&pod)
            })
            .await?;
        writer.acknowledged(50).await?;
        writer.verify().await?;
        Ok(())
    })
    .await
}

/// What somebody deletes is made again, and what certificates lack too: replicas could not connect without.
async fn kept_up(database: &Database<'_>) -> Result<()> {
    let names = &database.names;
    let (services, secrets) = (database.scope.api::<Service>(), database.scope.api::<Secret>());
    services.delete(&names.read_service(), &DeleteParams::default()).await?;
    secrets.delete(&names.tls_secret(), &DeleteParams::default()).await?;
    wait::poll("the Service to be made again though paused", wait::SHORT, || async {
        Ok(services.get_opt(&names.read_service()).await?.map(|_| ()))
    })
    .await?;
    wait::poll("the certificate to be made again though paused", wait::SHORT, || async {
        Ok(secrets.get_opt(&names.tls_secret()).await?.map(|_| ()))
    })
    .await
}

/// What would differ if anything had been written.
async fn versions(database: &Database<'_>) -> Result<Vec<Option<String>>> {
    let names = &database.names;
    let mut versions = vec![
        database
            .scope
            .api::<StatefulSet>()
            .get(&names.base())
            .await?
            .metadata
            .generation
            .map(|g| g.to_string()),
    ];
    let of_cluster = ListParams::default().labels(&format!("{LABEL_CLUSTER}={}", names.cluster));
    let configurations = database.scope.api::<ConfigMap>().list(&of_cluster).await?;
    // But for what the Secrets are of, which are made again.
    let configurations = configurations.iter().filter(|map| map.name_any() != names.ca_config_map());
    versions.extend(configurations.map(ResourceExt::resource_version));
    versions.extend(database.pods().await?.iter().map(ResourceExt::uid));
    Ok(versions)
}
