//! Steps at the end of a cluster that goes with its claims.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use mainstay_core::Object;
use mainstay_crd::MySQLCluster;
use mainstay_crd::names::{GROUP, MANAGER_CLUSTER, Names};
use serde_json::json;

use super::outcome::{Outcome, StepError};
use crate::api::is_gone;
use crate::context::Context;

/// The object as it is now, if it is still the same.
pub(super) async fn fresh(
    context: &Context,
    names: &Names,
    cluster: &MySQLCluster,
) -> Result<Option<MySQLCluster>, kube::Error> {
    let api: Api<MySQLCluster> = Api::namespaced(context.client.clone(), &names.namespace);
    Ok(api.get_opt(&names.cluster).await?.filter(|now| now.uid() == cluster.uid()))
}

/// Sets Mainstay's finalizers and leaves those of others, as they are now.
pub(super) async fn set_finalizers(
    context: &Context,
    names: &Names,
    cluster: &MySQLCluster,
    wanted: &[String],
) -> Result<Outcome, StepError> {
    let Some(now) = fresh(context, names, cluster).await.map_err(StepError::Finalizers)? else {
        return Ok(Outcome::Outdated);
    };
    // The spec may just have been changed: a protection must not be taken off by what was decided before.
    if now.metadata.generation != cluster.metadata.generation {
        return Ok(Outcome::Outdated);
    }
    let others = now.finalizers().iter().filter(|finalizer| !finalizer.starts_with(GROUP));
    let finalizers: Vec<&String> = others.chain(wanted).collect();
    let patch = json!({"metadata": {
        "uid": now.uid(), "resourceVersion": now.resource_version(), "finalizers": finalizers,
    }});
    let api: Api<MySQLCluster> = Api::namespaced(context.client.clone(), &names.namespace);
    let params = PatchParams { field_manager: Some(MANAGER_CLUSTER.into()), ..PatchParams::default() };
    match api.patch_metadata(&names.cluster, &params, &Patch::Merge(patch)).await {
        Ok(_) => Ok(Outcome::Told),
        Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
        Err(error) => Err(StepError::Finalizers(error)),
    }
}

/// Deletes the StatefulSet; its pods go with it and end gracefully.
pub(super) async fn delete_stateful_set(
    context: &Context,
    names: &Names,
    cluster: &MySQLCluster,
    name: &str,
) -> Result<Outcome, StepError> {
    let failed = |error| StepError::StatefulSet(name.into(), error);
    if !fresh(context, names, cluster)
        .await
        .map_err(failed)?
        .is_some_and(|now| Object::from(&now).takes_its_claims())
    {
        return Ok(Outcome::Outdated);
    }
    let api: Api<StatefulSet> = Api::namespaced(context.client.clone(), &names.namespace);
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(Outcome::Told),
        Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
        Err(error) => Err(failed(error)),
    }
}
