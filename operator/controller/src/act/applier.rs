//! How a child is written: server-side, only what differs, and never onto an object that is not the cluster's.

use std::fmt::Debug;
use std::time::Instant;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt};
use mainstay_core::children::{Blueprint, ca_config_map};
use mainstay_crd::names::{ANNOTATION_APPLIED, MANAGER_CLUSTER};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tracing::info;

use super::child_error::ChildError;
use super::fixed::RefusedChange;
use super::ownership::{Owner, owner, was_applied_by_us};
use crate::api::is_as_applied;
use crate::api::is_gone;
use crate::api::{Applied, By, Version, digest};
use crate::telemetry::Metrics;
use crate::watch::{Meta, find};

/// The API server does not change what was asked of an object that exists.
fn is_immutable(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

/// `child` with the digest of itself.
fn stamped(child: &impl Serialize) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(child)?;
    let hash = Sha256::digest(value.to_string().as_bytes());
    let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    value["metadata"]["annotations"][ANNOTATION_APPLIED] = Value::String(hash);
    Ok(value)
}

/// A kind of object that clusters have in their namespace.
pub(super) trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Serialize
    + DeserializeOwned
    + Clone
    + Debug
    + 'static
{
}

impl<K> Child for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
        + 'static
{
}

/// What applies the children of one cluster.
pub(super) struct Applier<'a> {
    pub(super) client: &'a Client,
    pub(super) metrics: &'a Metrics,
    pub(super) applied: &'a mut Applied,
    /// The cluster's name, and the UID of its object.
    pub(super) cluster: &'a str,
    pub(super) uid: &'a str,
    /// What is there may be changed.
    pub(super) changes: bool,
}

impl Applier<'_> {
    /// Applies `child`, or only makes it if nothing may be changed.
    ///
    /// # Errors
    /// If it can't be applied.
    pub(super) async fn see_to<K: Child>(
        &mut self,
        kind: &'static str,
        child: &K,
        store: &Store<Meta<K>>,
        by: By,
    ) -> Result<(), ChildError> {
        let there = || find(store, &child.namespace().unwrap_or_default(), &child.name_any()).is_some();
        if !self.changes && there() {
            return Ok(());
        }
        self.apply(kind, child, store, by).await
    }

    /// Applies `child`, if it is not as it is to be.
    ///
    /// # Errors
    /// If it can't be applied.
    pub(super) async fn apply<K: Child>(
        &mut self,
        kind: &'static str,
        child: &K,
        store: &Store<Meta<K>>,
        by: By,
    ) -> Result<(), ChildError> {
        let (namespace, name) = (child.namespace().unwrap_or_default(), child.name_any());
        let json = |source| ChildError::Json { kind, name: name.clone(), source };
        let wanted = digest(child).map_err(json)?;
        let mut stamped = stamped(child).map_err(json)?;
        let found = find(store, &namespace, &name);
        let live = found.as_ref().map(|live| Version::of(&live.metadata, by));
        if self.applied.is_current(kind, &name, wanted, live.clone(), Instant::now()) {
            return Ok(());
        }
        let ours = found.filter(|live| owner(&live.metadata, self.cluster, self.uid) == Owner::Us);
        if let (Some(ours), Some(live)) = (&ours, live)
            && is_as_applied(&ours.metadata, &stamped)
        {
            self.applied.found(kind, &name, wanted, live, Instant::now());
            return Ok(());
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        // With its UID, what has taken its place meanwhile is not written to.
        let uid = match ours {
            Some(ours) => ours.metadata.uid.clone(),
            None => self.look(kind, &api, &name).await?,
        };
        if let Some(uid) = uid {
            stamped["metadata"]["uid"] = Value::String(uid);
        }
        self.write(kind, &api, &name, &stamped, (wanted, by)).await
    }

    async fn write<K: Child>(
        &mut self,
        kind: &'static str,
        api: &Api<K>,
        name: &str,
        stamped: &Value,
        (wanted, by): (u64, By),
    ) -> Result<(), ChildError> {
        let params = PatchParams::apply(MANAGER_CLUSTER).force();
        match api.patch_metadata(name, &params, &Patch::Apply(stamped)).await {
            Ok(now) => {
                info!(namespace = now.metadata.namespace, kind, name, "applied");
                Metrics::count(&self.metrics.writes, kind);
                self.applied.note(kind, name, wanted, Version::of(&now.metadata, by), Instant::now());
                Ok(())
            }
            Err(source) => Err(ChildError::Api { kind, name: name.to_owned(), source }),
        }
    }

    /// The UID of the object of this name, if it is ours to apply onto; none if there is no such object.
    async fn look<K: Child>(
        &self,
        kind: &'static str,
        api: &Api<K>,
        name: &str,
    ) -> Result<Option<String>, ChildError> {
        let failed = |source| ChildError::Api { kind, name: name.to_owned(), source };
        let Some(object) = api.get_metadata_opt(name).await.map_err(failed)? else { return Ok(None) };
        let foreign = |whose| ChildError::Foreign { kind, name: name.to_owned(), whose };
        match owner(&object.metadata, self.cluster, self.uid) {
            Owner::Us => Ok(object.metadata.uid),
            Owner::Orphan if was_applied_by_us(&object.metadata) => Ok(object.metadata.uid),
            Owner::Orphan => Err(foreign("it has the label, but was not made by Mainstay".into())),
            Owner::Predecessor => Err(ChildError::Leftover { kind, name: name.to_owned() }),
            Owner::Other(whose) => Err(foreign(whose)),
        }
    }

    /// Applies the authority's certificate for clients, if it is to be.
    pub(super) async fn publish(
        &mut self,
        blueprint: &Blueprint<'_>,
        certificate: Option<&str>,
        store: &Store<Meta<ConfigMap>>,
    ) -> Result<(), ChildError> {
        let Some(certificate) = certificate else { return Ok(()) };
        let map = ca_config_map(blueprint, certificate);
        // That it is not as it was left is known already.
        self.applied.forget("ConfigMap", &map.name_any());
        self.apply("ConfigMap", &map, store, By::ResourceVersion).await
    }

    /// Applies the StatefulSet. What of it can't be changed is noted in `refused`, once the API server has said so: the plan
    /// has it replaced, and until then it is left as it is.
    pub(super) async fn stateful_set(
        &mut self,
        wanted: &StatefulSet,
        store: &Store<Meta<StatefulSet>>,
        refused: &mut RefusedChange,
    ) -> Result<(), ChildError> {
        const KIND: &str = "StatefulSet";
        let (namespace, name) = (wanted.namespace().unwrap_or_default(), wanted.name_any());
        let live = find(store, &namespace, &name).and_then(|live| live.metadata.uid.clone());
        if refused.is_to_be_replaced(live.as_deref(), wanted) {
            return Ok(());
        }
        let source = match self.apply(KIND, wanted, store, By::Generation).await {
            Err(ChildError::Api { source, .. }) if is_immutable(&source) => source,
            outcome => return outcome,
        };
        let failed = |source| ChildError::Api { kind: KIND, name: name.clone(), source };
        let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), &namespace);
        let live = api.get_opt(&name).await.map_err(failed)?;
        refused.note(live.as_ref());
        let uid = live.and_then(|live| live.metadata.uid);
        if refused.is_to_be_replaced(uid.as_deref(), wanted) { Ok(()) } else { Err(failed(source)) }
    }

    /// Applies a budget, or deletes it if there is to be none.
    pub(super) async fn budget(
        &mut self,
        namespace: &str,
        name: &str,
        wanted: Option<&PodDisruptionBudget>,
        store: &Store<Meta<PodDisruptionBudget>>,
    ) -> Result<(), ChildError> {
        const KIND: &str = "PodDisruptionBudget";
        if let Some(budget) = wanted {
            return self.see_to(KIND, budget, store, By::Generation).await;
        }
        if !self.changes {
            return Ok(());
        }
        self.applied.forget(KIND, name);
        let ours =
            |live: &Meta<PodDisruptionBudget>| owner(&live.metadata, self.cluster, self.uid) == Owner::Us;
        let Some(live) = find(store, namespace, name).filter(|live| ours(live)) else { return Ok(()) };
        let api: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), namespace);
        let params = DeleteParams::default()
            .preconditions(Preconditions { uid: live.metadata.uid.clone(), resource_version: None });
        match api.delete(name, &params).await {
            Ok(_) => {
                Metrics::count(&self.metrics.writes, KIND);
                Ok(())
            }
            Err(error) if is_gone(&error) => Ok(()),
            Err(source) => Err(ChildError::Api { kind: KIND, name: name.to_owned(), source }),
        }
    }
}
