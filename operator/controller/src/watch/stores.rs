//! The stores.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::reflector::{ObjectRef, Store};

use super::{Claim, Guarded, Pod};

/// An object's metadata.
pub(crate) type Meta<K> = PartialObjectMeta<K>;

/// What there is in one namespace, or in all.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) clusters: Store<Guarded>,
    pub(crate) pods: Store<Pod>,
    pub(crate) claims: Store<Claim>,
    pub(crate) secrets: Store<Meta<Secret>>,
    pub(crate) stateful_sets: Store<Meta<StatefulSet>>,
    pub(crate) services: Store<Meta<Service>>,
    pub(crate) config_maps: Store<Meta<ConfigMap>>,
    pub(crate) accounts: Store<Meta<ServiceAccount>>,
    pub(crate) budgets: Store<Meta<PodDisruptionBudget>>,
}

impl Stores {
    /// Returns once every store holds a whole list. To decide on less would be to take for missing what was only
    /// not read yet.
    ///
    /// # Errors
    /// If a watch has ended.
    pub(crate) async fn filled(&self) -> Result<(), WriterDropped> {
        self.clusters.wait_until_ready().await?;
        self.pods.wait_until_ready().await?;
        self.claims.wait_until_ready().await?;
        self.secrets.wait_until_ready().await?;
        self.stateful_sets.wait_until_ready().await?;
        self.services.wait_until_ready().await?;
        self.config_maps.wait_until_ready().await?;
        self.accounts.wait_until_ready().await?;
        self.budgets.wait_until_ready().await
    }
}

/// An object of `store` by name.
pub(crate) fn find<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.get(&ObjectRef::new(name).within(namespace))
}
