//! An operator that takes over from another.

use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use mainstay_e2e::audit::{self, Audit};
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::told::is_healthy;
use mainstay_e2e::{note, operator, wait};
use serde_json::json;

/// Somebody takes the Lease from the operator that acts: it stands by, in its container, and acts again once it can.
async fn robbed(scope: &Scope) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(scope.client(), operator::NAMESPACE);
    let acts = async || -> Result<Option<Pod>> {
        for pod in operator::pods(&scope.env.client).await? {
            if operator::leads(&scope.env.client, &pod).await? {
                return Ok(Some(pod));
            }
        }
        Ok(None)
    };
    let robbed = wait::poll("an operator to act", wait::LONG, &acts).await?;
    let before = restarts(&robbed);
    let now = Timestamp::now();
    let take =
        json!({"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 5, "renewTime": MicroTime(now)}});
    leases.patch(operator::LEASE, &PatchParams::default(), &Patch::Merge(take)).await?;
    note!("the Lease was taken from {}", robbed.name_any());
    wait::poll("an operator to act again", wait::LONG, &acts).await?;
    let pods: Api<Pod> = Api::namespaced(scope.client(), operator::NAMESPACE);
    let after = pods.get(&robbed.name_any()).await?;
    ensure!((after.uid(), restarts(&after)) == (robbed.uid(), before), "its container ended");
    Ok(())
}

fn restarts(pod: &Pod) -> Vec<i32> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|container| container.restart_count).collect()
}

/// Importance 2: an operator that takes over a cluster that is as it should be writes nothing; and what is changed
/// after that is all that it then writes.
#[tokio::test]
async fn take_over() -> Result<(), Failed> {
    scope::run("take_over", wait::LONG * 3, async |scope| {
        if !scope.env.local {
            return Ok(());
        }
        let database = scope.database("heir");
        database.start(2).await?;
        let user = audit::operator(&scope.env.client).await?;
        let audit = Audit::begin()?;
        operator::kill(&scope.env).await?;

        // It has looked at the cluster once it has carried this out: it is one look.
        let label = json!({"service": {"metadata": {"labels": {"heir": "seen"}}}});
        let changed = database.patch(label).await?;
        database
            .until("the next operator to see a change", wait::LONG, |status| {
                status.observed_generation == changed.metadata.generation && is_healthy(status, 2)
            })
            .await?;

        let namespace = scope.namespace.as_str();
        let mut written = audit.requests(&user)?;
        written.retain(|request| {
            request.namespace == namespace && !["get", "list", "watch"].contains(&request.verb.as_str())
        });
        note!("the next operator wrote: {written:?}");
        let clients = [database.names.primary_service(), database.names.read_service()];
        let expected = |request: &audit::Request| match request.resource.as_str() {
            // What the change asks for, and what tells that it was seen.
            "services" => clients.contains(&request.name),
            "mysqlclusters" | "events" => true,
            _ => false,
        };
        let other: Vec<_> = written.iter().filter(|request| !expected(request)).collect();
        ensure!(other.is_empty(), "it wrote what did not differ: {other:?}");
        robbed(scope).await?;
        database.restart(0, 2).await
    })
    .await
}
