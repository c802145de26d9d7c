//! The end of an object: what keeps it, and what it takes with it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{FINALIZER_PROTECTION, FINALIZER_RETENTION, LABEL_PROTECTED};
use mainstay_crd::{MySQLCluster, MySQLClusterStatus};
use mainstay_e2e::database::Database;
use mainstay_e2e::exec::here;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::{load, note, table, wait};
use serde_json::json;

/// Rows that are written.
const ROWS: u32 = 1000;
/// An image that nobody has.
const ABSENT: &str = "localhost:1/absent:9.7";
/// The chart's policy.
const POLICY: &str = "mainstay-system-mainstay-deletion-protection";

/// Importance 1: a person who deletes what is protected is told what to do, and nothing happens.
#[tokio::test]
async fn deletion_is_refused() -> Result<(), Failed> {
    scope::run("deletion_is_refused", wait::LONG * 2, async |scope| {
        let database = scope.database("held");
        let storage = json!({"size": "1Gi", "retention": {"whenDeleted": {"policy": "Delete"}}});
        database.create(1, json!({"deletionProtection": true, "storage": storage, "image": ABSENT})).await?;
        finalizers(&database, &[FINALIZER_PROTECTION, FINALIZER_RETENTION]).await?;
        let refused = kubectl(scope, &["delete", "mysqlcluster", "held"]).await.err();
        let refused = format!("{:#}", refused.context("kubectl deleted a protected cluster")?);
        note!("kubectl delete: {refused}");
        ensure!(refused.contains("set spec.deletionProtection to false before you delete it"), "{refused}");
        let refused =
            kubectl(scope, &["delete", "mysqlcluster", "--all", "--cascade=foreground"]).await.err();
        ensure!(refused.is_some(), "kubectl deleted all clusters");
        ensure!(database.get().await?.metadata.deletion_timestamp.is_none(), "it is being deleted");

        let namespaces: Api<Namespace> = Api::all(scope.client());
        label(&namespaces, &scope.namespace, Some("true")).await?;
        let refused = kubectl(scope, &["delete", "namespace", &scope.namespace, "--wait=false"]).await.err();
        let refused = format!("{:#}", refused.context("kubectl deleted a protected namespace")?);
        note!("kubectl delete namespace: {refused}");
        ensure!(refused.contains(LABEL_PROTECTED), "{refused}");
        let kept = namespaces.get(&scope.namespace).await?;
        ensure!(kept.metadata.deletion_timestamp.is_none(), "the namespace is being deleted");
        label(&namespaces, &scope.namespace, None).await?;

        database.patch(json!({"deletionProtection": false})).await?;
        finalizers(&database, &[FINALIZER_RETENTION]).await?;
        kubectl(scope, &["delete", "mysqlcluster", "held", "--timeout=120s"]).await?;
        let claims = scope.api::<PersistentVolumeClaim>();
        wait::gone(&claims, &database.names.claim(0), None, wait::SHORT).await
    })
    .await
}

/// Importance 1: where nothing refuses it, the deletion is taken, the database serves on, and ends once that is
/// allowed; its data is found again.
#[tokio::test]
async fn deletion_waits() -> Result<(), Failed> {
    scope::run("deletion_waits", wait::LONG * 2, async |scope| {
        let database = scope.database("stay");
        database.create(1, json!({"deletionProtection": true})).await?;
        database.healthy(1, wait::LONG).await?;
        load::rows(&mut database.sql(0).await?, ROWS).await?;
        let before = table::identity(&database, 0).await?;
        except(scope).await?;
        database.api().delete("stay", &DeleteParams::default()).await?;
        database
            .until("Blocked to say that it is protected", wait::SHORT, |status| {
                says(status, ConditionType::Blocked, true, Reason::DeletionProtected)
            })
            .await?;
        database.restart(0, 1).await?;
        let mut sql = database.sql_through(&database.names.primary_service()).await?;
        sql.exec("INSERT INTO app.items VALUES (0, SHA2(0, 256))").await?;
        sql.exec("DELETE FROM app.items WHERE id = 0").await?;
        database.patch(json!({"deletionProtection": false})).await?;
        wait::gone(&database.api(), "stay", None, wait::LONG).await?;
        let claim = database.claim(0).await?;
        ensure!(claim.metadata.deletion_timestamp.is_none(), "the claim goes with it");
        database.start(1).await?;
        ensure!(table::identity(&database, 0).await? == before, "it is another one now");
        load::check_rows(&mut database.sql(0).await?, ROWS).await
    })
    .await
}

/// Importance 2: finalizers are there only where the end has something to be done; and what was asked for in vain can
/// be taken back.
#[tokio::test]
async fn finalizers_where_needed() -> Result<(), Failed> {
    scope::run("finalizers_where_needed", wait::LONG, async |scope| {
        let database = scope.database("ends");
        database.create(1, json!({"image": ABSENT})).await?;
        finalizers(&database, &[]).await?;
        when_deleted(&database, "Snapshot").await?;
        finalizers(&database, &[FINALIZER_RETENTION]).await?;
        let refused = when_deleted(&database, "DeleteAfter").await.err().context("DeleteAfter was taken")?;
        note!("DeleteAfter: {refused:#}");
        when_deleted(&database, "Retain").await?;
        finalizers(&database, &[]).await?;
        let claims = scope.api::<PersistentVolumeClaim>();
        wait::object(&claims, &database.names.claim(0), "the claim", wait::SHORT, |_| true).await?;
        database.delete().await?;
        let claim = claims.get(&database.names.claim(0)).await?;
        ensure!(claim.metadata.deletion_timestamp.is_none(), "the claim goes with the object");
        Ok(())
    })
    .await
}

async fn when_deleted(database: &Database<'_>, policy: &str) -> Result<()> {
    database.patch(json!({"storage": {"retention": {"whenDeleted": {"policy": policy}}}})).await.map(drop)
}

fn says(status: &MySQLClusterStatus, type_: ConditionType, is: bool, reason: Reason) -> bool {
    let status_of = |is: bool| if is { "True" } else { "False" };
    let mut conditions = status.conditions.iter();
    conditions.any(|c| c.type_ == type_.as_str() && c.status == status_of(is) && c.reason == reason.as_str())
}

/// Waits until the object has these finalizers and no other, for its present spec.
async fn finalizers(database: &Database<'_>, wanted: &[&str]) -> Result<()> {
    let what = format!("the finalizers {wanted:?}");
    let name = &database.names.cluster;
    wait::object(&database.api(), name, &what, wait::SHORT, |cluster: &MySQLCluster| {
        let status = cluster.status.as_ref();
        let seen = status.is_some_and(|s| s.observed_generation == cluster.metadata.generation);
        let mut there: Vec<&str> = cluster.finalizers().iter().map(String::as_str).collect();
        there.sort_unstable();
        seen && there == wanted
    })
    .await
    .map(drop)
}

/// Labels a namespace as protected, or no longer.
async fn label(namespaces: &Api<Namespace>, name: &str, value: Option<&str>) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"labels": {LABEL_PROTECTED: value}}}));
    namespaces.patch(name, &PatchParams::default(), &patch).await.map(drop)?;
    Ok(())
}

/// Takes this test's namespace out of the policy, as if it were not installed.
async fn except(scope: &Scope) -> Result<()> {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(scope.client());
    let other =
        json!({"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [scope.namespace]});
    let patch = json!({"spec": {"matchResources": {"namespaceSelector": {"matchExpressions": [other]}}}});
    bindings.patch(POLICY, &PatchParams::default(), &Patch::Merge(patch)).await?;
    let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
    let clusters: Api<MySQLCluster> = scope.api();
    wait::poll("the policy to leave the namespace alone", wait::SHORT, || async {
        clusters.delete("stay", &dry).await?;
        Ok(Some(()))
    })
    .await
}

async fn kubectl(scope: &Scope, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(&scope.env.kubeconfig).args(["--namespace", &scope.namespace]);
    command.args(arguments);
    tokio::task::spawn_blocking(move || here(&mut command)).await?
}
