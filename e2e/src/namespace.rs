//! A test's namespace.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Namespace};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use crate::cluster::Env;
use crate::wait;

/// Label of tests' namespaces: the test's name.
pub(crate) const LABEL: &str = "mainstay.dev/e2e";
/// Label of those that a person wants to look at.
pub(crate) const LABEL_KEPT: &str = "mainstay.dev/e2e-kept";

/// A namespace of the test's own.
pub struct Scope {
    /// The cluster.
    pub env: Env,
    /// The namespace. Pod Security `restricted` is enforced in it.
    pub namespace: String,
}

impl Scope {
    pub(crate) async fn create(env: Env, name: &str) -> Result<Scope> {
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

    pub(crate) async fn keep(&self) -> Result<()> {
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
