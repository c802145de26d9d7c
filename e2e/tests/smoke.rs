//! A cluster of three, as a user meets it first.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{ListParams, Request};
use mainstay_crd::names::{LABEL_ROLE, ROLE_PRIMARY, ROLE_REPLICA};
use mainstay_crd::{InstanceRole, InstanceStatus, MySQLCluster, MySQLClusterStatus};
use mainstay_e2e::database::Database;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::sql::error_code;
use mainstay_e2e::told::ordinal;
use mainstay_e2e::{exec, load, note, table, wait};
use mainstay_proto::pod::CONTAINER_MYSQL;
use serde_json::Value;

/// Rows that are written.
const ROWS: u32 = 1000;
/// Status tells what it must, and what differs once a minute.
const TOLD: Duration = Duration::from_secs(90);
/// `ER_OPTION_PREVENTS_STATEMENT`: the server is read-only.
const READ_ONLY: u16 = 1290;

/// Importance 1: nothing else matters if this fails.
#[tokio::test]
async fn smoke() -> Result<(), Failed> {
    scope::run("smoke", wait::LONG * 2, async |scope| {
        let database = scope.database("shop");
        database.create_example("quickstart.yaml").await?;
        database.healthy(3, wait::LONG).await?;
        let primary = database.primary().await?;
        data_flows(&database).await?;
        services_lead_to_roles(&database, primary).await?;
        budgets_cover_roles(&database).await?;
        status_tells_the_truth(&database, primary).await?;
        people_see_it(scope).await?;
        pods_are_confined(&database).await
    })
    .await
}

async fn data_flows(database: &Database<'_>) -> Result<()> {
    let mut writer = database.sql_through(&database.names.primary_service()).await?;
    load::rows(&mut writer, ROWS).await?;
    let written = writer.gtid_executed().await?;
    for ordinal in 0..3 {
        let mut sql = database.sql(ordinal).await?;
        ensure!(sql.has_executed(&written, wait::SHORT).await?, "{} does not follow", sql.pod());
        load::check_rows(&mut sql, ROWS).await?;
    }
    let mut reader = database.sql_through(&database.names.read_service()).await?;
    load::check_rows(&mut reader, ROWS).await?;
    let refused = reader.exec("DELETE FROM app.items").await.err().context("a replica took a write")?;
    ensure!(error_code(&refused) == Some(READ_ONLY), "a replica refused a write otherwise: {refused:#}");
    Ok(())
}

async fn services_lead_to_roles(database: &Database<'_>, primary: u32) -> Result<()> {
    let names = &database.names;
    let pods = |wanted: &dyn Fn(u32) -> bool| -> Vec<String> {
        (0..3).filter(|ordinal| wanted(*ordinal)).map(|ordinal| names.pod(ordinal)).collect()
    };
    for (service, expected) in [
        (names.primary_service(), pods(&|ordinal| ordinal == primary)),
        (names.read_service(), pods(&|ordinal| ordinal != primary)),
        (names.base(), pods(&|_| true)),
    ] {
        let endpoints = database.endpoints(&service).await?;
        ensure!(endpoints == expected, "Service {service} leads to {endpoints:?}, not {expected:?}");
    }
    for pod in database.pods().await? {
        let expected = if pod.name_any() == names.pod(primary) { ROLE_PRIMARY } else { ROLE_REPLICA };
        let role = pod.labels().get(LABEL_ROLE).map(String::as_str);
        ensure!(role == Some(expected), "{} is labelled {role:?}", pod.name_any());
    }
    Ok(())
}

/// Each pod is counted by exactly one budget: two would make every eviction an error.
async fn budgets_cover_roles(database: &Database<'_>) -> Result<()> {
    let names = &database.names;
    let budgets = database.scope.api::<PodDisruptionBudget>();
    for (name, expected) in [(names.primary_pdb(), 1), (names.replica_pdb(), 2)] {
        wait::object(&budgets, &name, &format!("{name} to count {expected} pods"), wait::SHORT, |budget| {
            budget.status.as_ref().is_some_and(|status| status.expected_pods == expected)
        })
        .await?;
    }
    let count = budgets.list(&ListParams::default()).await?.items.len();
    ensure!(count == 2, "{count} budgets instead of 2");
    Ok(())
}

async fn status_tells_the_truth(database: &Database<'_>, primary: u32) -> Result<()> {
    // GTID sets alone cause no write: what has been executed since is told within a minute, or with the next change.
    let told = |status: &MySQLClusterStatus| status.instances.iter().all(|told| told.gtid_executed.is_some());
    database.until("the GTID sets to be told", TOLD, told).await?;
    let status = database.status().await?;
    ensure!(status.ready.as_deref() == Some("3/3"), "status.ready is {:?}", status.ready);
    for instance in &status.instances {
        instance_is_as_told(database, instance, primary)
            .await
            .with_context(|| format!("status of {}", instance.name))?;
    }
    note!("instances:\n{}", table::of(database.scope, &database.names.cluster).await?);
    let mut sql = database.sql(primary).await?;
    let version: String = sql.one("SELECT @@version").await?;
    ensure!(status.version == Some(version), "status.version is {:?}", status.version);
    Ok(())
}

async fn instance_is_as_told(database: &Database<'_>, told: &InstanceStatus, primary: u32) -> Result<()> {
    let ordinal = ordinal(told);
    let actual = table::identity(database, ordinal).await?;
    let pod = database.pod(ordinal).await?;
    let node = pod.spec.and_then(|spec| spec.node_name);
    let role = if ordinal == primary { InstanceRole::Primary } else { InstanceRole::Replica };
    ensure!(told.role == Some(role), "role {:?}", told.role);
    ensure!(told.node == node, "node {:?}, not {node:?}", told.node);
    ensure!(told.claim == Some(database.names.claim(ordinal)), "claim {:?}", told.claim);
    ensure!(told.claim_uid == Some(actual.claim_uid), "claimUID {:?}", told.claim_uid);
    ensure!(told.volume == Some(actual.volume), "volume {:?}", told.volume);
    ensure!(told.server_uuid == Some(actual.server_uuid), "serverUUID {:?}", told.server_uuid);
    // What is told may be old, but never more than there is.
    let gtids = told.gtid_executed.as_deref().context("no gtidExecuted")?.replace('\n', "");
    let mut sql = database.sql(ordinal).await?;
    let contained: u8 = sql.one(&format!("SELECT GTID_SUBSET('{gtids}', @@gtid_executed)")).await?;
    ensure!(contained == 1, "gtidExecuted {gtids} is not what the server has");
    ensure!(told.seen_at.is_some(), "no seenAt");
    Ok(())
}

/// What `kubectl get mysqlclusters` shows.
async fn people_see_it(scope: &Scope) -> Result<()> {
    let url = format!("/apis/mysql.mainstay.dev/v1alpha1/namespaces/{}/mysqlclusters", scope.namespace);
    let mut request = Request::new(url).list(&ListParams::default())?;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io".parse()?;
    request.headers_mut().insert("accept", table);
    let table: Value = scope.client().request(request).await?;
    let of = |list: &Value, key: &str| -> Vec<Value> {
        list.as_array().into_iter().flatten().map(|item| item[key].clone()).collect()
    };
    let columns = of(&table["columnDefinitions"], "name");
    let cells = table["rows"][0]["cells"].as_array().context("no row")?;
    let shown = |column: &str| columns.iter().position(|name| name == column).map(|at| cells[at].clone());
    for (column, expected) in
        [("Name", "shop"), ("Ready", "3/3"), ("Primary", "shop-0"), ("State", "Healthy")]
    {
        ensure!(shown(column) == Some(expected.into()), "column {column} is {:?}", shown(column));
    }
    let version =
        shown("Version").and_then(|version| version.as_str().map(str::to_owned)).unwrap_or_default();
    ensure!(version.starts_with(|c: char| c.is_ascii_digit()), "column Version is {version:?}");
    ensure!(scope.api::<MySQLCluster>().list(&ListParams::default()).await?.items.len() == 1, "one cluster");
    Ok(())
}

/// The namespace enforces the restricted profile, so pods that run obey it. No token may be in them either.
async fn pods_are_confined(database: &Database<'_>) -> Result<()> {
    for pod in database.pods().await? {
        let name = pod.name_any();
        let spec = serde_json::to_string(&pod.spec)?;
        ensure!(!spec.contains("serviceAccountToken"), "{name} mounts a token: {spec}");
        let look = ["sh", "-c", "ls /var/run/secrets/kubernetes.io 2>/dev/null; id -u"];
        let seen = exec::in_pod(&database.scope.api::<Pod>(), &name, CONTAINER_MYSQL, &look).await?;
        ensure!(seen.trim() == "999", "{name} has a token, or runs as another user: {seen}");
    }
    Ok(())
}
