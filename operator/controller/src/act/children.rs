//! The children: what is applied when, and what keeps what back.

use mainstay_core::children::{Blueprint, Children, build};
use mainstay_core::{Hold, Observation, Plan, Upkeep};
use tracing::debug;

use super::applier::Applier;
use super::child_error::ChildError;
use super::config_maps;
use super::memory::ActMemory;
use crate::api::By;
use crate::context::Scope;
use crate::watch::{Stores, find};

/// Applies all children, and the authority's `certificate` if clients may not find it yet. One that can't be applied does
/// not keep the others from it.
///
/// # Errors
/// The first.
pub(crate) async fn apply(
    scope: &Scope,
    observation: &Observation,
    plan: &Plan,
    (replicas, cluster_id): (u32, &str),
    certificate: Option<&str>,
    memory: &mut ActMemory,
) -> Result<(), ChildError> {
    let cluster = &observation.cluster;
    let ActMemory { applied, trials, last, refused_change, .. } = memory;
    let blueprint = blueprint(scope, observation, replicas, cluster_id);
    let children = build(&blueprint);
    let Stores { accounts, config_maps, stateful_sets, .. } = &scope.stores;
    let names = mainstay_crd::names::Names::new(&cluster.namespace, &cluster.name);
    let mut applier = Applier {
        client: &scope.context.client,
        metrics: &scope.context.metrics,
        applied,
        cluster: &cluster.name,
        uid: &cluster.uid,
        changes: plan.upkeep == Upkeep::Full,
    };
    // A pod is refused while its account is not there.
    let account =
        applier.see_to("ServiceAccount", &children.service_account, accounts, By::ResourceVersion).await;
    let held = find(stateful_sets, &cluster.namespace, &names.base());
    let accepted = match (&account, plan.upkeep) {
        (Ok(()), Upkeep::Full) => {
            trials.accepts(&scope.context, observation, &children.stateful_set, held.as_deref()).await
        }
        _ => Ok(()),
    };
    // What is told to clients does not wait for what may not be; configuration and template do.
    let others = see_to_others(scope, &mut applier, &blueprint, &children, certificate).await;
    let outcomes: Vec<_> = [account].into_iter().chain(others).collect();
    if plan.upkeep == Upkeep::Missing {
        return outcomes.into_iter().collect();
    }
    // No pod begins with another's account or name in the DNS. What runs goes on.
    let stands_in_the_way = |outcome: &Result<(), ChildError>| {
        matches!(outcome, Err(ChildError::Foreign { .. } | ChildError::Leftover { .. }))
    };
    if observation.stateful_set.is_none() && outcomes.iter().any(stands_in_the_way) {
        return outcomes.into_iter().collect();
    }
    // What was proven is held whatever becomes of what is wanted.
    if let (Err(refused), Hold::Wanted) = (&accepted, &plan.hold) {
        debug!(cluster = cluster.name, %refused, "not applied");
        return outcomes.into_iter().chain([accepted]).rev().collect();
    }
    // Nor with another's configuration.
    if accepted.is_ok() {
        applier.apply("ConfigMap", &children.config_map, config_maps, By::ResourceVersion).await?;
    }
    let put_back = last.put_back(&scope.context, &names, children.stateful_set, &plan.hold).await;
    let failed = |source| ChildError::Api { kind: "ControllerRevision", name: names.base(), source };
    let set = match put_back.map_err(failed)? {
        Some(set) => applier.stateful_set(&set, stateful_sets, refused_change).await,
        None => Ok(()),
    };
    let cleaned = config_maps::clean_up(scope, &names, observation, plan, &children.config_map).await;
    [accepted].into_iter().chain(outcomes).chain([set, cleaned]).collect()
}

/// What clients and pods that are there rely on.
async fn see_to_others(
    scope: &Scope,
    applier: &mut Applier<'_>,
    blueprint: &Blueprint<'_>,
    children: &Children,
    certificate: Option<&str>,
) -> [Result<(), ChildError>; 7] {
    let Children { headless, primary, read, primary_pdb, replica_pdb, .. } = children;
    let Stores { config_maps, services, budgets, .. } = &scope.stores;
    let (namespace, names) = (blueprint.namespace, blueprint.names());
    [
        applier.see_to("Service", headless, services, By::ResourceVersion).await,
        applier.see_to("Service", primary, services, By::ResourceVersion).await,
        applier.see_to("Service", read, services, By::ResourceVersion).await,
        applier.publish(blueprint, certificate, config_maps).await,
        applier.budget(namespace, &names.primary_pdb(), primary_pdb.as_ref(), budgets).await,
        applier.budget(namespace, &names.replica_pdb(), replica_pdb.as_ref(), budgets).await,
        config_maps::restore(scope, &names, blueprint, &children.config_map, applier).await,
    ]
}

/// What the children are made from.
fn blueprint<'a>(
    scope: &'a Scope,
    observation: &'a Observation,
    replicas: u32,
    cluster_id: &'a str,
) -> Blueprint<'a> {
    let cluster = &observation.cluster;
    Blueprint {
        namespace: &cluster.namespace,
        name: &cluster.name,
        uid: &cluster.uid,
        cluster_id,
        spec: &cluster.spec,
        replicas,
        sees_drains: observation.surroundings.known,
        agent_image: &scope.context.settings.agent_image,
    }
}
