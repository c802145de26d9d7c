//! A gigabyte cloned while clients write.

use anyhow::{Result, ensure};
use mainstay_crd::InstanceState;
use mainstay_e2e::scope::{self, Failed};
use mainstay_e2e::{checksum, load, note, wait};
use serde_json::json;

/// MiB of data.
const SIZE: u64 = 1024;
/// Transactions a second; two cores have a clone to carry as well.
const RATE: u32 = 100;

/// Importance 1: a replica made under load holds what the primary holds, to the row, and people can see how far
/// its clone is.
#[tokio::test]
async fn clone_under_load() -> Result<(), Failed> {
    scope::run("clone_under_load", wait::LONG * 4, async |scope| {
        let database = scope.database("load");
        let resources = json!({"requests": {"cpu": "50m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}});
        database.create(1, json!({"storage": {"size": "8Gi"}, "resources": resources})).await?;
        database.healthy(1, wait::LONG).await?;
        let mut primary = database.sql(0).await?;
        load::fill(&mut primary, SIZE).await?;
        let sysbench = load::sysbench(&database, RATE).await?;
        sysbench.writes().await?;
        database.patch(json!({"replicas": 2})).await?;
        let mut seen = Vec::new();
        let what = "a replica cloned under load";
        database
            .until(what, wait::LONG * 2, |status| {
                let cloning =
                    status.instances.iter().find(|instance| instance.state == InstanceState::Cloning);
                if let Some(clone) = cloning.and_then(|instance| instance.clone.clone()) {
                    note!("clone: {} of {:?} bytes", clone.bytes, clone.total_bytes);
                    seen.push(clone);
                }
                mainstay_e2e::told::is_healthy(status, 2)
            })
            .await?;
        sysbench.stop().await?;
        checksum::compare(&database, &[0, 1]).await?;
        let on_the_way = seen.iter().filter(|clone| clone.bytes > 0).count();
        ensure!(on_the_way > 0, "status never told how far the clone was: {seen:?}");
        ensure!(seen.iter().all(|clone| clone.donor == database.names.pod(0)), "another donor: {seen:?}");
        let size = load::bytes(&mut primary).await?;
        ensure!(size >= SIZE * 1024 * 1024, "only {size} bytes were there to clone");
        Ok(())
    })
    .await
}
