//! Where secrets must not be.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::serde::{Serialize, de::DeserializeOwned};
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use mainstay_crd::MySQLCluster;
use mainstay_e2e::database::Database;
use mainstay_e2e::faults::{on_node, processes};
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::{exec, note, operator, wait};
use mainstay_proto::pod::CONTAINER_MYSQL;

/// Arguments and environment of every process of a container.
const PROCESSES: &str = r#"for file in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do tr '\0' '\n' <"$file"; done 2>/dev/null; true"#;

/// Importance 1 (I10): no password and no private key in an argument, an environment variable, a log, an event, or
/// any object but the Secrets.
#[tokio::test]
async fn secrets_nowhere() -> Result<(), Failed> {
    scope::run("secrets_nowhere", wait::LONG * 2, async |scope| {
        let database = scope.database("quiet");
        database.start(2).await?;
        // A restart goes other ways than the first start.
        database.restart(1, 2).await?;
        let secrets = secrets(&database).await?;
        let places = places(&database).await?;
        note!("looking for {} secrets in {} places", secrets.len(), places.len());
        for (place, text) in &places {
            for (name, value) in &secrets {
                ensure!(!text.contains(value.as_str()), "{name} is in {place}");
            }
        }
        Ok(())
    })
    .await
}

/// What is looked for: each password, and a line from the middle of each private key, plain and as the API writes it.
async fn secrets(database: &Database<'_>) -> Result<Vec<(String, String)>> {
    let names = &database.names;
    let mut found = Vec::new();
    for name in
        [names.credentials_secret(), names.ca_secret(), names.tls_secret(), names.operator_tls_secret()]
    {
        let secret = database.scope.api::<Secret>().get(&name).await?;
        let encoded = serde_json::to_value(&secret)?;
        for (key, value) in secret.data.unwrap_or_default() {
            let text = String::from_utf8(value.0)?;
            let is_key = text.contains("PRIVATE KEY");
            if name != names.credentials_secret() && !is_key {
                continue;
            }
            let plain = if is_key { text.lines().nth(1).unwrap_or_default() } else { text.trim() };
            ensure!(plain.len() >= 12, "{name}/{key} is too short to be a secret");
            found.push((format!("{name}/{key}"), plain.to_owned()));
            let base64 = encoded["data"][&key].as_str().context("data")?.to_owned();
            found.push((format!("{name}/{key} in base64"), base64));
        }
    }
    // Four passwords and three keys, each twice.
    ensure!(
        found.len() == 14,
        "other secrets than expected: {:?}",
        found.iter().map(|(n, _)| n).collect::<Vec<_>>()
    );
    Ok(found)
}

async fn places(database: &Database<'_>) -> Result<BTreeMap<String, String>> {
    let scope = database.scope;
    let mut places = BTreeMap::new();
    let pods = scope.api::<Pod>();
    for pod in database.pods().await? {
        let name = pod.name_any();
        let seen = exec::in_pod(&pods, &name, CONTAINER_MYSQL, &["sh", "-c", PROCESSES]).await?;
        ensure!(seen.contains("mysqld") && seen.contains("MAINSTAY_"), "{name}: its processes can't be read");
        places.insert(format!("processes of {name}"), seen);
        logs(&pods, &pod, &mut places).await?;
    }
    let operators: Api<Pod> = Api::namespaced(scope.client(), operator::NAMESPACE);
    for pod in operator::pods(&scope.env.client).await? {
        logs(&operators, &pod, &mut places).await?;
        operator_process(scope, &pod, &mut places)?;
    }
    objects::<MySQLCluster>(scope, "clusters", &mut places).await?;
    objects::<StatefulSet>(scope, "StatefulSets", &mut places).await?;
    objects::<Pod>(scope, "pods", &mut places).await?;
    objects::<ConfigMap>(scope, "ConfigMaps", &mut places).await?;
    objects::<Service>(scope, "Services", &mut places).await?;
    objects::<PersistentVolumeClaim>(scope, "claims", &mut places).await?;
    objects::<Event>(scope, "events", &mut places).await?;
    let leases: Api<Lease> = Api::namespaced(scope.client(), operator::NAMESPACE);
    places.insert("leases".into(), serde_json::to_string(&leases.list(&ListParams::default()).await?.items)?);
    Ok(places)
}

async fn logs(pods: &Api<Pod>, pod: &Pod, places: &mut BTreeMap<String, String>) -> Result<()> {
    let name = pod.name_any();
    let spec = pod.spec.as_ref().context("a pod without a spec")?;
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    for container in containers {
        let how = LogParams { container: Some(container.name.clone()), ..LogParams::default() };
        let log = pods.logs(&name, &how).await?;
        ensure!(container.name == "agent" || !log.is_empty(), "{name}/{} logs nothing", container.name);
        places.insert(format!("log of {name}/{}", container.name), log);
    }
    Ok(())
}

/// The operator's image has no shell: its process is read from the node, where that can be reached.
fn operator_process(scope: &Scope, pod: &Pod, places: &mut BTreeMap<String, String>) -> Result<()> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).context("not scheduled")?;
    if !scope.env.local {
        note!("the operator's process is not looked at: this is not the local cluster");
        return Ok(());
    }
    let mut seen = String::new();
    for process in processes(node, &pod.uid().unwrap_or_default(), operator::PROCESS)? {
        let read = r#"cat "/proc/$1/cmdline" "/proc/$1/environ" | tr '\0' '\n'"#;
        seen += &on_node(node, read, &[&process])?;
    }
    ensure!(seen.contains("KUBERNETES_SERVICE_HOST"), "the operator's process can't be read: {seen}");
    places.insert(format!("process of {}", pod.name_any()), seen);
    Ok(())
}

async fn objects<K>(scope: &Scope, what: &str, places: &mut BTreeMap<String, String>) -> Result<()>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Serialize
        + std::fmt::Debug,
    K::DynamicType: Default,
{
    let items = scope.api::<K>().list(&ListParams::default()).await?.items;
    ensure!(!items.is_empty(), "there are no {what} to look at");
    places.insert(what.into(), serde_json::to_string(&items)?);
    Ok(())
}
