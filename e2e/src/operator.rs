//! The operator under test: installed by its charts, killed on demand.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams};
use kube::{Client, ResourceExt};
use sha2::{Digest, Sha256};

use crate::cluster::Env;
use crate::exec::here;
use crate::faults::kill_processes;
use crate::place::{program, root, script};
use crate::wait;

/// The namespace of the operator.
pub const NAMESPACE: &str = "mainstay-system";
/// The Helm release, and so the Deployment.
pub const RELEASE: &str = "mainstay";
/// The process's name.
pub const PROCESS: &str = "mainstay-controller";
/// The lease of the one that acts.
pub const LEASE: &str = "mainstay-controller";
/// The chart's values in tests: one operator for all namespaces, with every right that a test needs.
const SETTINGS: &str = "clusterWide=true,storage.taintNodes=true";
/// Annotation on the operator's pods: what image and charts they were made of.
const BUILD: &str = "mainstay.dev/e2e-build";
/// Charts and image are installed anew in less than this, or not at all.
const INSTALL: Duration = Duration::from_secs(180);

/// The image of operator and agent: MAINSTAY_IMAGE, or what `make image` builds.
pub fn image() -> String {
    std::env::var("MAINSTAY_IMAGE")
        .unwrap_or_else(|_| format!("mainstay/mainstay:{}", env!("CARGO_PKG_VERSION")))
}

/// Sees to it that the operator of this checkout's charts and image runs; does nothing if it does.
///
/// With MAINSTAY_OPERATOR=as-is the one that runs is left alone, whatever it was made of.
pub(crate) async fn ensure(env: &Env) -> Result<()> {
    if std::env::var_os("MAINSTAY_OPERATOR").is_some_and(|which| which == "as-is") {
        note!("testing the operator that runs, as it is");
        return Ok(());
    }
    let image = image();
    if env.local {
        let load = image.clone();
        tokio::task::spawn_blocking(move || here(script("load").arg(load)))
            .await?
            .context("load the operator's image into the nodes; `make image` builds it")?;
    }
    let build = build(&image)?;
    let deployments: Api<Deployment> = Api::namespaced(env.client.clone(), NAMESPACE);
    let runs =
        deployments.get_opt(RELEASE).await?.is_some_and(|deployment| is_rolled_out(&deployment, &build));
    if !runs {
        note!("installing the operator, build {build}");
        let kubeconfig = env.kubeconfig.clone();
        let of = build.clone();
        tokio::task::spawn_blocking(move || install(&kubeconfig, &image, &of)).await??;
    }
    wait::object(&deployments, RELEASE, "the operator to run", INSTALL, |deployment| {
        is_rolled_out(deployment, &build)
    })
    .await?;
    wait::poll("a single generation of the operator's pods", INSTALL, || async {
        let pods = pods(&env.client).await?;
        Ok(pods.iter().all(|pod| pod.annotations().get(BUILD) == Some(&build)).then_some(()))
    })
    .await
}

/// A hash of all that decides what runs: image, values and charts.
fn build(image: &str) -> Result<String> {
    let id = here(Command::new("docker").args(["image", "inspect", "-f", "{{.Id}}", image]));
    let mut hash = Sha256::new();
    hash.update(id.unwrap_or_else(|_| image.into()));
    hash.update(SETTINGS);
    let mut files = BTreeMap::new();
    collect(&root().join("charts"), &mut files)?;
    for (path, content) in files {
        hash.update(path);
        hash.update(content);
    }
    Ok(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn collect(directory: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let entries = directory.read_dir().with_context(|| format!("read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.insert(path.display().to_string(), std::fs::read(&path)?);
        }
    }
    Ok(())
}

fn is_rolled_out(deployment: &Deployment, build: &str) -> bool {
    let of_build = || {
        let template = deployment.spec.as_ref()?.template.metadata.as_ref()?;
        Some(template.annotations.as_ref()?.get(BUILD)? == build)
    };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation == deployment.metadata.generation
            && status.updated_replicas == Some(wanted)
            && status.available_replicas == Some(wanted)
            && status.replicas == Some(wanted)
    }) && of_build() == Some(true)
}

fn install(kubeconfig: &Path, image: &str, build: &str) -> Result<()> {
    let helm = program("helm")?;
    let charts = root().join("charts");
    let upgrade = |release: &str, chart: &str, sets: &[[String; 2]]| -> Result<()> {
        let mut command = Command::new(&helm);
        command.arg("--kubeconfig").arg(kubeconfig).args(["--namespace", NAMESPACE]);
        command.args(["upgrade", "--install", "--create-namespace", release]).arg(charts.join(chart));
        for set in sets {
            command.args(set);
        }
        here(&mut command).map(drop)
    };
    let (repository, tag) = image.rsplit_once(':').context("the image needs a tag")?;
    upgrade("mainstay-crds", "mainstay-crds", &[])?;
    upgrade(
        RELEASE,
        "mainstay",
        &[
            ["--set-string".into(), format!("image.repository={repository}")],
            ["--set-string".into(), format!("image.tag={tag}")],
            ["--set-string".into(), format!("podAnnotations.{}={build}", BUILD.replace('.', "\\."))],
            ["--set".into(), SETTINGS.into()],
        ],
    )
}

/// The operator's pods.
///
/// # Errors
/// If they can't be listed.
pub async fn pods(client: &Client) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let labels = format!("app.kubernetes.io/instance={RELEASE},app.kubernetes.io/name=mainstay");
    Ok(pods.list(&ListParams::default().labels(&labels)).await?.items)
}

/// Whether this pod of the operator is the one that acts.
///
/// # Errors
/// If the lease can't be read.
pub async fn leads(client: &Client, pod: &Pod) -> Result<bool> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let lease = leases.get(LEASE).await.context("the operator's lease")?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
    // POD_PROCESS: a process that restarts in the pod holds it anew.
    Ok(holder.split('_').next() == Some(pod.name_any().as_str()))
}

/// Ends every operator process with SIGKILL where nodes can be reached, and deletes its pod without grace, so that
/// another one starts at once and finds what the killed one left. A pod whose process does not run yet is left alone;
/// while none runs, as just after an earlier kill, the first one is waited for. Returns how many were ended.
///
/// # Errors
/// If none starts, or one can't be ended.
pub async fn kill(env: &Env) -> Result<usize> {
    wait::poll("an operator to kill", INSTALL, || async {
        let killed = kill_running(env).await?;
        Ok((killed > 0).then_some(killed))
    })
    .await
}

async fn kill_running(env: &Env) -> Result<usize> {
    let pods = pods(&env.client).await?;
    let killed = try_join_all(pods.iter().map(|pod| kill_one(env, pod))).await?;
    Ok(killed.into_iter().filter(|killed| *killed).count())
}

async fn kill_one(env: &Env, pod: &Pod) -> Result<bool> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    if let (true, Some(node), Some(uid)) = (env.local, node, pod.metadata.uid.clone()) {
        let kill = move || kill_processes(&node, &uid, PROCESS);
        if tokio::task::spawn_blocking(kill).await?? == 0 {
            return Ok(false);
        }
    }
    let api: Api<Pod> = Api::namespaced(env.client.clone(), NAMESPACE);
    api.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
    Ok(true)
}
