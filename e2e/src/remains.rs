//! What tests leave, and how it goes.

use anyhow::{Result, bail};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use mainstay_crd::MySQLCluster;
use serde_json::json;

use crate::cluster::Env;
use crate::namespace::{LABEL, LABEL_KEPT, Scope};
use crate::{by_hand, held, wait};

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

/// A namespace that is to go, with all that is in it.
pub(crate) struct Remains {
    client: Client,
    /// Whether there may be something of it on the nodes.
    local: bool,
    namespace: String,
}

impl Remains {
    /// What a test made.
    pub(crate) fn of(scope: &Scope) -> Self {
        Remains { client: scope.client(), local: scope.env.local, namespace: scope.namespace.clone() }
    }

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
    pub(crate) async fn remove(&self) -> Result<()> {
        let all = ListParams::default();
        let at_once = DeleteParams::background();
        held::let_go_of_all(&self.client, &self.namespace).await?;
        self.remove_clusters().await?;
        self.api::<StatefulSet>().delete_collection(&at_once, &all).await?;
        self.api::<Pod>().delete_collection(&DeleteParams::default().grace_period(1), &all).await?;
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        by_hand::delete(&self.client, &self.namespace).await?;
        for volume in self.volumes().await?.into_iter().filter(|volume| !by_hand::is_by_hand(volume)) {
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
            by_hand::clear(&self.client, &self.namespace).await?;
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
