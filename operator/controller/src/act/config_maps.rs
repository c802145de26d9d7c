//! ConfigMaps with MySQL's configuration: those that pods mount are there, and no others.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};
use mainstay_core::children::{Blueprint, config_map_told, missing_config_maps, unused_config_maps};
use mainstay_core::{Hold, Observation, Plan};
use mainstay_crd::ClusterPhase;
use mainstay_crd::names::{LABEL_CLUSTER, Names};
use tracing::info;

use super::applier::Applier;
use super::child_error::ChildError;
use super::revisions;
use crate::api::By;
use crate::api::is_gone;
use crate::context::Scope;
use crate::watch::find;

/// Makes those again that somebody deleted while a pod mounts them: a pod that starts waits for it. What was in one is told
/// by the template that mounts it, in the StatefulSet's history, which has that of every pod.
pub(super) async fn restore(
    scope: &Scope,
    names: &Names,
    blueprint: &Blueprint<'_>,
    wanted: &ConfigMap,
    applier: &mut Applier<'_>,
) -> Result<(), ChildError> {
    let store = &scope.stores.config_maps;
    let is_there = |name: &str| find(store, &names.namespace, name).is_some();
    let missing = missing_config_maps(names, &mounted(scope, names), is_there);
    let (same, others): (Vec<_>, Vec<_>) = missing.into_iter().partition(|name| *name == wanted.name_any());
    if !same.is_empty() {
        applier.apply("ConfigMap", wanted, store, By::ResourceVersion).await?;
    }
    if others.is_empty() {
        return Ok(());
    }
    let failed = |source| ChildError::Api { kind: "ControllerRevision", name: names.base(), source };
    let templates = revisions::all(&scope.context, names).await.map_err(failed)?;
    let mut lost = None;
    for name in others {
        match templates.iter().find_map(|(_, template)| config_map_told(blueprint, template, &name)) {
            Some(map) => applier.apply("ConfigMap", &map, store, By::ResourceVersion).await?,
            None => lost = Some(name),
        }
    }
    lost.map_or(Ok(()), |name| Err(ChildError::Lost { name }))
}

/// Deletes them, once every pod is made from the template that the StatefulSet holds and serves: until then, one may be
/// made from an older one.
pub(super) async fn clean_up(
    scope: &Scope,
    names: &Names,
    observation: &Observation,
    plan: &Plan,
    wanted: &ConfigMap,
) -> Result<(), ChildError> {
    let held = observation.stateful_set.as_ref().and_then(|set| set.template_hash.as_ref());
    let made = |pod: &mainstay_core::Pod| !pod.deleting && pod.template_hash.as_ref() == held;
    let all = observation.instances.values().all(|instance| instance.pod.as_ref().is_none_or(made));
    let proven = plan.template.as_ref().map(|template| &template.proven);
    if plan.phase != ClusterPhase::Healthy || plan.hold != Hold::Wanted || !all || held != proven {
        return Ok(());
    }
    let there = scope.stores.config_maps.state();
    let in_cluster = there.iter().filter(|map| {
        map.namespace().as_ref() == Some(&names.namespace)
            && map.labels().get(LABEL_CLUSTER) == Some(&names.cluster)
    });
    let named = in_cluster.map(|map| map.name_any());
    let there: Vec<String> = named.filter(|name| *name != names.ca_config_map()).collect();
    if there.iter().all(|name| *name == wanted.name_any()) {
        return Ok(());
    }
    let mounted = mounted(scope, names);
    for name in unused_config_maps(names, &wanted.name_any(), there.iter().map(String::as_str), &mounted) {
        delete(scope, names, observation, name).await?;
    }
    Ok(())
}

/// By any pod of the cluster that there is.
fn mounted(scope: &Scope, names: &Names) -> BTreeSet<String> {
    let pods = scope.stores.pods.state();
    let in_cluster = pods.iter().filter(|pod| {
        pod.metadata.namespace.as_ref() == Some(&names.namespace)
            && pod.labels().get(LABEL_CLUSTER) == Some(&names.cluster)
    });
    let volumes = in_cluster.flat_map(|pod| pod.spec.volumes.iter());
    volumes.filter_map(|volume| Some(volume.config_map.as_ref()?.name.clone())).collect()
}

/// By a fresh look: only what this cluster controls.
async fn delete(
    scope: &Scope,
    names: &Names,
    observation: &Observation,
    name: &str,
) -> Result<(), ChildError> {
    let failed = |source| ChildError::Api { kind: "ConfigMap", name: name.to_owned(), source };
    let api: Api<ConfigMap> = Api::namespaced(scope.context.client.clone(), &names.namespace);
    let Some(now) = api.get_metadata_opt(name).await.map_err(failed)? else { return Ok(()) };
    let mut owners = now.owner_references().iter();
    if !owners.any(|owner| owner.controller == Some(true) && owner.uid == observation.cluster.uid) {
        return Ok(());
    }
    let params =
        DeleteParams::default().preconditions(Preconditions { uid: now.uid(), resource_version: None });
    match api.delete(name, &params).await {
        Ok(_) => {
            info!(cluster = names.cluster, name, "removed: no pod mounts it");
            Ok(())
        }
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}
