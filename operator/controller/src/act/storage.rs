//! Steps on volumes, and for them.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Resource};
use mainstay_core::StorageStep;
use mainstay_crd::names::{MANAGER_CLUSTER, Names};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::debug;

use super::api_error::is_gone;
use super::step::{Outcome, StepError};
use crate::context::Context;

/// The taint by which an administrator vouches that nothing runs on a node. Source: KEP-2268.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// When a note that could not be written is tried again.
const NOTE_AGAIN: Duration = Duration::from_secs(300);

/// Carries out `step`.
///
/// # Errors
/// If the API server refused or did not answer.
pub(super) async fn carry_out(
    context: &Context,
    names: &Names,
    step: &StorageStep,
) -> Result<Outcome, StepError> {
    let client = || context.client.clone();
    match step {
        StorageStep::MarkVolume { volume, uid, labels, annotations, retain } => {
            let mut change = json!({"metadata": {"labels": labels, "annotations": annotations}});
            if *retain {
                change["spec"] = json!({"persistentVolumeReclaimPolicy": "Retain"});
            }
            match patch(&Api::<PersistentVolume>::all(client()), step, volume, uid, change).await {
                // To write it down is not worth more than an attempt now and then.
                Err(error) if step.is_note() => {
                    debug!(volume, %error, "not marked");
                    Ok(Outcome::Later(NOTE_AGAIN))
                }
                outcome => outcome,
            }
        }
        StorageStep::ReserveVolume { volume, uid, namespace, claim } => {
            reserve(context, step, (volume, uid), (namespace, claim)).await
        }
        StorageStep::GrowClaim { claim, uid, size } => {
            let claims = Api::<PersistentVolumeClaim>::namespaced(client(), &names.namespace);
            let change = json!({"spec": {"resources": {"requests": {"storage": size}}}});
            patch(&claims, step, claim, uid, change).await
        }
        StorageStep::DeleteStrandedClaim { claim, uid } => {
            let claims = Api::<PersistentVolumeClaim>::namespaced(client(), &names.namespace);
            delete(&claims, step, claim, uid, DeleteParams::default()).await
        }
        StorageStep::ForceDeletePod { pod, uid } => {
            let pods = Api::<Pod>::namespaced(client(), &names.namespace);
            delete(&pods, step, pod, uid, DeleteParams::default().grace_period(0)).await
        }
        StorageStep::TaintNode { node, uid } => taint(&Api::all(client()), step, node, uid).await,
    }
}

/// Takes the UID out of a volume's reference: then the next claim of this name is bound to it, whenever it comes. One
/// that is being bound to it already must keep its UID, or it is Lost: the watches may not have brought that claim yet,
/// so that both are looked at afresh, the volume first.
async fn reserve(
    context: &Context,
    step: &StorageStep,
    (volume, uid): (&str, &str),
    (namespace, claim): (&str, &str),
) -> Result<Outcome, StepError> {
    let failed = |error| StepError::Storage(step.kind(), volume.to_owned(), error);
    let volumes = Api::<PersistentVolume>::all(context.client.clone());
    let claims = Api::<PersistentVolumeClaim>::namespaced(context.client.clone(), namespace);
    let Some(now) = volumes.get_opt(volume).await.map_err(failed)? else { return Ok(Outcome::Outdated) };
    let bound_to = now.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()?.uid.clone());
    let there = claims.get_metadata_opt(claim).await.map_err(failed)?.and_then(|claim| claim.metadata.uid);
    if bound_to.is_some() && bound_to == there {
        return Ok(Outcome::Outdated);
    }
    let reference = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace,
        "name": claim, "uid": null, "resourceVersion": null});
    let version = json!({"resourceVersion": now.metadata.resource_version});
    let change = json!({"metadata": version, "spec": {"claimRef": reference}});
    patch(&volumes, step, volume, uid, change).await
}

/// The UID makes it a precondition: another object of this name is left alone.
async fn patch<K>(
    api: &Api<K>,
    step: &StorageStep,
    name: &str,
    uid: &str,
    mut change: Value,
) -> Result<Outcome, StepError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    change["metadata"]["uid"] = json!(uid);
    let params = PatchParams { field_manager: Some(MANAGER_CLUSTER.into()), ..PatchParams::default() };
    match api.patch_metadata(name, &params, &Patch::Merge(change)).await {
        Ok(_) => Ok(Outcome::Told),
        Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
        Err(error) => Err(StepError::Storage(step.kind(), name.to_owned(), error)),
    }
}

async fn delete<K>(
    api: &Api<K>,
    step: &StorageStep,
    name: &str,
    uid: &str,
    params: DeleteParams,
) -> Result<Outcome, StepError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let params = params.preconditions(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
    match api.delete(name, &params).await {
        Ok(_) => Ok(Outcome::Told),
        Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
        Err(error) => Err(StepError::Storage(step.kind(), name.to_owned(), error)),
    }
}

/// Taints are a list that others write too: it is read, and written back only as it was read.
async fn taint(api: &Api<Node>, step: &StorageStep, name: &str, uid: &str) -> Result<Outcome, StepError> {
    let failed = |error| StepError::Storage(step.kind(), name.to_owned(), error);
    let Some(node) = api.get_opt(name).await.map_err(failed)? else { return Ok(Outcome::Outdated) };
    let mut taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    if taints.iter().any(|taint| taint.key == OUT_OF_SERVICE) {
        return Ok(Outcome::Told);
    }
    taints.push(k8s_openapi::api::core::v1::Taint {
        key: OUT_OF_SERVICE.into(),
        value: Some("nodeshutdown".into()),
        effect: "NoExecute".into(),
        ..Default::default()
    });
    let version = node.metadata.resource_version;
    let change = json!({"metadata": {"resourceVersion": version}, "spec": {"taints": taints}});
    patch(api, step, name, uid, change).await
}
