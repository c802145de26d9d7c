//! The fresh look right before a pod is taken: what the watches have brought of its claim and volume may be old.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{Api, ResourceExt};
use mainstay_core::{Claim, Observation, Plan, Step, Volume, may_take_pod};
use mainstay_crd::names::Names;

use super::outcome::StepError;
use crate::context::Context;

/// The kind that the operator may not be allowed to read.
const VOLUMES: &str = "persistentvolumes";

/// Whether nothing has changed since `step` was decided on that makes it unsafe to take the pod that it takes.
///
/// # Errors
/// If claim or volume could not be read.
pub(super) async fn is_safe(
    context: &Context,
    names: &Names,
    observation: &Observation,
    step: &Step,
) -> Result<bool, StepError> {
    match step.takes_pod().and_then(|pod| names.ordinal_of_pod(pod)) {
        Some(ordinal) => may_still(context, names, observation, ordinal).await,
        None => Ok(true),
    }
}

/// The number of pods that the StatefulSet is to have: as planned, but as many as must stay by a fresh look.
///
/// # Errors
/// If a claim or volume could not be read.
pub(super) async fn replicas(
    context: &Context,
    names: &Names,
    observation: &Observation,
    plan: &Plan,
) -> Result<u32, StepError> {
    let beyond = observation.instances.range(plan.stateful_set_replicas..).rev();
    let standing = beyond.filter(|(_, instance)| instance.pod.as_ref().is_some_and(|pod| !pod.deleting));
    for (&ordinal, _) in standing {
        if !may_still(context, names, observation, ordinal).await? {
            return Ok(ordinal + 1);
        }
    }
    Ok(plan.stateful_set_replicas)
}

async fn may_still(
    context: &Context,
    names: &Names,
    observation: &Observation,
    ordinal: u32,
) -> Result<bool, StepError> {
    let name = names.claim(ordinal);
    let failed = |error| StepError::Claim(name.clone(), error);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &names.namespace);
    let claim = claims.get_opt(&name).await.map_err(failed)?;
    let mut fresh = observation.clone();
    let volume = claim.as_ref().and_then(|claim| claim.spec.as_ref()?.volume_name.clone());
    if let Some(volume) =
        volume.filter(|_| !observation.surroundings.unseen.iter().any(|kind| kind == VOLUMES))
    {
        let volumes: Api<PersistentVolume> = Api::all(context.client.clone());
        let now = match volumes.get_opt(&volume).await {
            Ok(now) => now,
            // Not to be seen is what the plan took it for, or takes it for next.
            Err(kube::Error::Api(status)) if status.code == 403 => None,
            Err(error) => return Err(StepError::Volume(volume, error)),
        };
        see_volume(&mut fresh, &volume, now);
    }
    if let Some(instance) = fresh.instances.get_mut(&ordinal) {
        instance.claim = claim.map(|now| see_claim(instance.claim.take(), &now));
    }
    let (planned, now) = (may_take_pod(observation, ordinal), may_take_pod(&fresh, ordinal));
    // Another reason than the one for which it was decided is for the plan to weigh.
    Ok(now.is_ok() && now == planned)
}

fn see_claim(known: Option<Claim>, now: &PersistentVolumeClaim) -> Claim {
    Claim {
        name: now.name_any(),
        uid: now.uid().unwrap_or_default(),
        deleting: now.metadata.deletion_timestamp.is_some(),
        volume: now.spec.as_ref().and_then(|spec| spec.volume_name.clone()),
        ..known.unwrap_or_default()
    }
}

fn see_volume(fresh: &mut Observation, name: &str, now: Option<PersistentVolume>) {
    let Some(now) = now else {
        fresh.surroundings.volumes.remove(name);
        return;
    };
    let spec = now.spec.unwrap_or_default();
    let known = fresh.surroundings.volumes.remove(name).unwrap_or_default();
    let volume = Volume {
        name: name.to_owned(),
        deleting: now.metadata.deletion_timestamp.is_some(),
        reclaim_policy: spec.persistent_volume_reclaim_policy,
        ..known
    };
    fresh.surroundings.volumes.insert(name.to_owned(), volume);
}
