//! More replicas, while clients write.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::writer::Writer;
use mainstay_e2e::{checksum, note, table, wait};
use serde_json::json;

/// Importance 1: new replicas get all that was acknowledged, and nobody else is touched.
#[tokio::test]
async fn scale_up() -> Result<(), Failed> {
    scope::run("scale_up", wait::LONG * 3, async |scope| {
        let database = scope.database("grow");
        database.start(3).await?;
        let uids =
            |pods: Vec<k8s_openapi::api::core::v1::Pod>| -> Vec<_> { pods.iter().map(|p| p.uid()).collect() };
        let pods = uids(database.pods().await?);
        let before = table::identities(&database, 3).await?;
        let writer = Writer::start(&database, "up", Duration::from_millis(5)).await?;
        // As `kubectl scale` and autoscalers do it.
        let scale = Patch::Merge(json!({"spec": {"replicas": 5}}));
        database.api().patch_scale(&database.names.cluster, &PatchParams::default(), &scale).await?;
        database.healthy(5, wait::LONG).await?;
        writer.acknowledged(100).await?;
        writer.verify().await?;
        checksum::compare(&database, &[0, 1, 2, 3, 4]).await?;
        let after = table::identities(&database, 5).await?;
        note!("instances:\n{}", table::of(scope, &database.names.cluster).await?);
        ensure!(after[..3] == before, "an old instance is another one now: {before:?}, {after:?}");
        ensure!(uids(database.pods().await?)[..3] == pods, "an old instance's pod was replaced");
        let mut servers: Vec<_> = after.iter().map(|identity| &identity.server_uuid).collect();
        servers.sort();
        servers.dedup();
        ensure!(servers.len() == 5, "instances share a server_uuid: {after:?}");
        Ok(())
    })
    .await
}
