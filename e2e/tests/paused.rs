//! `spec.paused`.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::ResourceExt;
use kube::api::DeleteParams;
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::wait;
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
        let services = scope.api::<Service>();
        let read = database.names.read_service();
        services.delete(&read, &DeleteParams::default()).await?;
        // The operator answers for this generation after it has acted on it, or not.
        database.patch(json!({"replicas": 2, "config": {"common": {"max_connections": "99"}}})).await?;
        database.until("the operator to see the change", wait::SHORT, said).await?;
        ensure!(versions(&database).await? == before, "something was changed while paused");
        ensure!(services.get_opt(&read).await?.is_none(), "a Service was made while paused");
        database.patch(json!({"paused": false})).await?;
        database.healthy(2, wait::LONG).await?;
        services.get(&read).await.context("the Service after the pause")?;
        wait::poll("the configuration changed during the pause", wait::LONG, || async {
            let value: u32 = database.sql(0).await?.one("SELECT @@max_connections").await?;
            Ok((value == 99).then_some(()))
        })
        .await
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
        database.scope.api::<ConfigMap>().get(&names.config_map()).await?.resource_version(),
    ];
    versions.extend(database.pods().await?.iter().map(ResourceExt::uid));
    Ok(versions)
}
