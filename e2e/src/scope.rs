//! A namespace for one test, and what becomes of it.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use futures::FutureExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Event, Namespace, PersistentVolume, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use mainstay_crd::MySQLCluster;
use serde_json::json;

use crate::cluster::Env;
use crate::{diagnose, held, static_volumes, wait};

/// Label of tests' namespaces: the test's name.
const LABEL: &str = "mainstay.dev/e2e";
/// Label of those that a person wants to look at.
const LABEL_KEPT: &str = "mainstay.dev/e2e-kept";

/// A namespace of the test's own.
pub struct Scope {
    /// The cluster.
    pub env: Env,
    /// The namespace. Pod Security `restricted` is enforced in it.
    pub namespace: String,
}

/// Why a test failed: shown as people read it, without the places in the code that passed it on.
pub struct Failed(anyhow::Error);

impl std::fmt::Debug for Failed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:#}", self.0)
    }
}

/// Runs a test in a namespace of its own, tells what is to be known if it fails, and removes all that it made.
///
/// With MAINSTAY_KEEP=1 the namespace stays, for a person to look at.
///
/// # Errors
/// If the body fails, panics, or is not done within `limit`; and if there is no cluster.
pub async fn run(
    name: &str,
    limit: Duration,
    body: impl AsyncFnOnce(&Scope) -> Result<()>,
) -> Result<(), Failed> {
    run_in(name, limit, body).await.map_err(Failed)
}

async fn run_in(name: &str, limit: Duration, body: impl AsyncFnOnce(&Scope) -> Result<()>) -> Result<()> {
    let env = Env::ensure().await?;
    let scope = Scope::create(env, name).await?;
    let began = Instant::now();
    let outcome = match tokio::time::timeout(limit, AssertUnwindSafe(body(&scope)).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(anyhow!("an assertion failed")),
        Err(_) => Err(anyhow!("not done after {} s", limit.as_secs())),
    };
    let took = began.elapsed().as_secs_f64();
    match &outcome {
        Ok(()) => note!("{name}: passed after {took:.1} s"),
        Err(error) => {
            note!("{name}: FAILED after {took:.1} s: {error:#}");
            // A fault that the test left has been undone by now; the API server may still be starting.
            if scope.env.answers(wait::LONG).await.is_ok() {
                diagnose::print(&scope).await;
            }
        }
    }
    if std::env::var_os("MAINSTAY_KEEP").is_some_and(|keep| keep == "1") {
        scope.keep().await?;
        return outcome;
    }
    outcome
        .and(scope.remains().remove().await.with_context(|| format!("remove namespace {}", scope.namespace)))
}

impl Scope {
    async fn create(env: Env, name: &str) -> Result<Scope> {
        let namespaces: Api<Namespace> = Api::all(env.client.clone());
        let namespace: Namespace = serde_json::from_value(json!({
            "metadata": {
                "generateName": format!("{}-", name.replace('_', "-")),
                "labels": {
                    LABEL: name,
                    "pod-security.kubernetes.io/enforce": "restricted",
                    "pod-security.kubernetes.io/enforce-version": "latest",
                },
            },
        }))?;
        let namespace = namespaces.create(&PostParams::default(), &namespace).await?.name_any();
        note!("{name}: namespace {namespace}");
        Ok(Scope { env, namespace })
    }

    /// Removes what tests left whose process was killed. The caller holds the cluster for itself.
    pub(crate) async fn sweep(env: &Env) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(env.client.clone());
        let left = ListParams::default().labels(&format!("{LABEL},!{LABEL_KEPT}"));
        for namespace in namespaces.list(&left).await? {
            let namespace = namespace.name_any();
            note!("removing {namespace}, which a test that was killed left");
            Remains { client: env.client.clone(), local: env.local, namespace }.remove().await?;
        }
        Ok(())
    }

    async fn keep(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let kept = Patch::Merge(json!({"metadata": {"labels": {LABEL_KEPT: "true"}}}));
        namespaces.patch(&self.namespace, &PatchParams::default(), &kept).await?;
        note!("kept: namespace {}", self.namespace);
        Ok(())
    }

    /// Waits until an event with this reason was written in the namespace, and returns what it says.
    ///
    /// # Errors
    /// After `limit`.
    pub async fn event(&self, reason: &str, limit: Duration) -> Result<String> {
        let events = self.api::<Event>();
        let field = ListParams::default().fields(&format!("reason={reason}"));
        wait::poll(&format!("an event {reason}"), limit, || async {
            let found = events.list(&field).await?.items.into_iter().next();
            Ok(found.map(|event| event.message.unwrap_or_default()))
        })
        .await
    }

    fn remains(&self) -> Remains {
        Remains { client: self.client(), local: self.env.local, namespace: self.namespace.clone() }
    }

    /// The client.
    pub fn client(&self) -> Client {
        self.env.client.clone()
    }

    /// Objects of a kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client(), &self.namespace)
    }
}

/// A namespace that is to go, with all that is in it.
struct Remains {
    client: Client,
    /// Whether there may be something of it on the nodes.
    local: bool,
    namespace: String,
}

impl Remains {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The volumes bound to the namespace's claims.
    async fn volumes(&self) -> Result<Vec<PersistentVolume>> {
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let mut volumes = volumes.list(&ListParams::default()).await?.items;
        volumes.retain(|volume| {
            let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
            claim.and_then(|claim| claim.namespace.as_ref()) == Some(&self.namespace)
        });
        Ok(volumes)
    }

    /// Deletes everything, fast and for good: databases are stopped without ceremony, volumes go whatever they say.
    async fn remove(&self) -> Result<()> {
        let all = ListParams::default();
        let at_once = DeleteParams::background();
        held::let_go_of_all(&self.client, &self.namespace).await?;
        self.remove_clusters().await?;
        self.api::<StatefulSet>().delete_collection(&at_once, &all).await?;
        self.api::<Pod>().delete_collection(&DeleteParams::default().grace_period(1), &all).await?;
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        static_volumes::delete(&self.client, &self.namespace).await?;
        for volume in self.volumes().await?.into_iter().filter(|volume| !static_volumes::is_by_hand(volume)) {
            let delete = json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}});
            match volumes.patch(&volume.name_any(), &PatchParams::default(), &Patch::Merge(delete)).await {
                // It went meanwhile, with its claim.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                outcome => drop(outcome?),
            }
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::default()).await?;
        wait::gone(&namespaces, &self.namespace, None, wait::LONG).await?;
        wait::poll("the volumes to be gone", wait::LONG, || async {
            let left = self.volumes().await?;
            if !left.is_empty() {
                bail!("left: {:?}", left.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
            }
            Ok(Some(()))
        })
        .await?;
        if self.local {
            static_volumes::clear(&self.client, &self.namespace).await?;
        }
        Ok(())
    }

    /// Deletes the clusters while the operator can still see to it; without it, if it does not come.
    async fn remove_clusters(&self) -> Result<()> {
        let clusters = self.api::<MySQLCluster>();
        clusters.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        for cluster in clusters.list(&ListParams::default()).await?.items {
            let name = cluster.name_any();
            if wait::gone(&clusters, &name, None, wait::SHORT).await.is_err() {
                note!("the operator does not let go of {name}: its finalizers are taken away");
                let free = json!({"metadata": {"finalizers": null}});
                clusters.patch(&name, &PatchParams::default(), &Patch::Merge(free)).await?;
            }
        }
        Ok(())
    }
}
