//! Objects that a test keeps from going, as something does that has not finished with them: by a finalizer. None is left
//! behind, also if the test was killed.

use std::fmt::Debug;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

/// The finalizer.
const HELD: &str = "mainstay.dev/e2e-held";

/// Keeps an object from going, whoever deletes it.
///
/// # Errors
/// If there is none of this name.
pub async fn hold<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    set(api, &api.get(name).await?, true).await
}

/// Lets go of it again.
///
/// # Errors
/// If there is none of this name.
pub async fn let_go<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    set(api, &api.get(name).await?, false).await
}

/// The attachment of a volume to a node.
///
/// # Errors
/// If there is none.
pub async fn attachment(client: &Client, volume: &str, node: &str) -> Result<String> {
    let found = attachments(client).list(&ListParams::default()).await?.items;
    let is = |it: &&VolumeAttachment| {
        it.spec.node_name == node && it.spec.source.persistent_volume_name.as_deref() == Some(volume)
    };
    let found = found.iter().find(is).map(ResourceExt::name_any);
    found.with_context(|| format!("{volume} is not attached to {node}"))
}

/// Attachments, which belong to no namespace.
pub fn attachments(client: &Client) -> Api<VolumeAttachment> {
    Api::all(client.clone())
}

/// Lets go of all that a test in this namespace held. The caller holds the cluster for itself.
pub(crate) async fn let_go_of_all(client: &Client, namespace: &str) -> Result<()> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let_go_of(&claims).await?;
    let_go_of(&attachments(client)).await
}

async fn let_go_of<K>(api: &Api<K>) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    for object in api.list(&ListParams::default()).await? {
        if object.finalizers().iter().any(|finalizer| finalizer == HELD) {
            set(api, &object, false).await?;
        }
    }
    Ok(())
}

async fn set<K>(api: &Api<K>, object: &K, held: bool) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let others = object.finalizers().iter().filter(|finalizer| *finalizer != HELD).cloned();
    let finalizers: Vec<String> = others.chain(held.then(|| HELD.to_owned())).collect();
    let patch = json!({"metadata": {"resourceVersion": object.resource_version(), "finalizers": finalizers}});
    api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}
