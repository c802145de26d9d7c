//! Writes: Secrets, children, role labels, and the one step.

mod adopt;
mod applier;
mod child_error;
mod children;
mod claims;
#[cfg(test)]
mod claims_tests;
mod config_maps;
mod deletion;
mod fixed;
mod guard;
#[cfg(test)]
mod guard_tests;
mod memory;
mod nodes;
mod outcome;
mod ownership;
mod revisions;
mod roles;
mod snapshots;
mod step;
mod trial;
#[cfg(test)]
mod trial_tests;
mod volumes;

use std::time::Instant;

use kube::ResourceExt;
use mainstay_core::{Observation, Plan};
use mainstay_crd::MySQLCluster;
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::Names;

use crate::api::{is_final, said};
use crate::context::Scope;
use crate::secrets::{self, SecretError};
use child_error::ChildError;
pub(crate) use memory::ActMemory;
pub(crate) use outcome::Outcome;
use outcome::StepError;
use roles::RoleError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActError {
    /// A Secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A child.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A role label.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// The step.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl ActError {
    /// A bounded name, for metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            ActError::Secret(error) => error.kind(),
            ActError::Child(ChildError::Foreign { .. }) => "ChildForeign",
            ActError::Child(_) => "Child",
            ActError::Role(_) => "Role",
            ActError::Step(StepError::Json(_) | StepError::Record(_)) => "Record",
            ActError::Step(StepError::Finalizers(_) | StepError::StatefulSet(..)) => "Deletion",
            ActError::Step(StepError::Claim(..)) => "Claim",
            ActError::Step(StepError::Volume(..)) => "Volume",
            ActError::Step(
                StepError::NoSnapshotApi(_) | StepError::SnapshotApi(..) | StepError::Snapshot(..),
            ) => "Snapshot",
            ActError::Step(StepError::Node(..)) => "Node",
            ActError::Step(StepError::Pod(..)) => "Pod",
        }
    }

    /// The reason that a condition gives.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            ActError::Child(ChildError::Foreign { .. }) | ActError::Secret(SecretError::Foreign { .. }) => {
                Reason::ForeignObject
            }
            ActError::Child(ChildError::Leftover { .. }) => Reason::LeftoverObject,
            ActError::Child(ChildError::Lost { .. }) => Reason::ConfigMapLost,
            ActError::Child(ChildError::Refused { .. }) => Reason::InvalidSpec,
            ActError::Step(StepError::NoSnapshotApi(_)) => Reason::NoSnapshotApi,
            ActError::Step(StepError::SnapshotApi(..) | StepError::Snapshot(..)) => Reason::SnapshotFailed,
            _ => Reason::ApiError,
        }
    }

    /// Whether a person must change something before it can work.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            ActError::Secret(error) => error.is_final(),
            ActError::Child(
                ChildError::Json { .. }
                | ChildError::Refused { .. }
                | ChildError::Foreign { .. }
                | ChildError::Lost { .. },
            )
            | ActError::Step(StepError::Json(_)) => true,
            ActError::Step(StepError::NoSnapshotApi(_) | StepError::Snapshot(..)) => true,
            _ => self.api().is_some_and(is_final),
        }
    }

    /// The spec can't be carried out.
    pub(crate) fn is_of_the_spec(&self) -> bool {
        matches!(self, ActError::Child(ChildError::Refused { .. }))
    }

    /// It ends with something that no watch brings, because what stands in the way has no label of ours.
    pub(crate) fn ends_unseen(&self) -> bool {
        self.reason() == Reason::ForeignObject
    }

    /// What went wrong, for people.
    pub(crate) fn said(&self) -> String {
        match (self, self.api()) {
            (ActError::Child(ChildError::Api { kind, name, .. }), Some(error)) => {
                format!("{kind} {name}: {}", said(error))
            }
            // The error's own form is for programs.
            (_, Some(error)) => self.to_string().replace(&error.to_string(), &said(error)),
            (_, None) => self.to_string(),
        }
    }

    fn api(&self) -> Option<&kube::Error> {
        match self {
            ActError::Child(ChildError::Api { source, .. }) => Some(source),
            ActError::Secret(SecretError::Api(_, error)) => Some(error),
            ActError::Role(error) => Some(&error.source),
            ActError::Step(
                StepError::Record(error)
                | StepError::Finalizers(error)
                | StepError::StatefulSet(_, error)
                | StepError::Claim(_, error)
                | StepError::Volume(_, error)
                | StepError::SnapshotApi(_, error)
                | StepError::Node(_, error)
                | StepError::Pod(_, error),
            ) => Some(error),
            _ => None,
        }
    }
}

/// Does what `plan` says, in order. A child that can't be applied keeps no step from being carried out (a fix must
/// always be able to go on, I11); a role label that can't be taken does.
pub(crate) async fn act(
    scope: &Scope,
    names: &Names,
    cluster: &MySQLCluster,
    observation: &Observation,
    plan: &Plan,
    memory: &mut ActMemory,
) -> (Outcome, Option<ActError>) {
    let made = match &plan.cluster_id {
        Some(id) => make(scope, observation, plan, id, memory).await,
        None => Ok(()),
    };
    adopt::adopt(&scope.context, names, observation, &mut memory.missed).await;
    match take_step(scope, names, cluster, observation, plan, memory).await {
        Ok(outcome) => (outcome, made.err()),
        // What a person must change is said before what may pass.
        Err(error) => (Outcome::Told, Some(made.err().filter(ActError::is_of_the_spec).unwrap_or(error))),
    }
}

async fn make(
    scope: &Scope,
    observation: &Observation,
    plan: &Plan,
    cluster_id: &str,
    memory: &mut ActMemory,
) -> Result<(), ActError> {
    let unpublished = secrets::ensure(scope, observation, cluster_id, &mut memory.checked).await?;
    let names = Names::new(&observation.cluster.namespace, &observation.cluster.name);
    let replicas = guard::replicas(&scope.context, &names, observation, plan).await?;
    let certificate = unpublished.as_ref().map(|unpublished| unpublished.certificate.as_str());
    let applied =
        children::apply(scope, observation, plan, (replicas, cluster_id), certificate, memory).await;
    if let Some(unpublished) = &unpublished {
        memory.checked.published(&names, unpublished, &memory.applied);
    }
    Ok(applied?)
}

async fn take_step(
    scope: &Scope,
    names: &Names,
    cluster: &MySQLCluster,
    observation: &Observation,
    plan: &Plan,
    memory: &mut ActMemory,
) -> Result<Outcome, ActError> {
    roles::apply(&scope.context, observation, plan).await?;
    let Some(step) = &plan.step else { return Ok(Outcome::Told) };
    if !guard::is_safe(&scope.context, names, observation, step).await? {
        return Ok(Outcome::Outdated);
    }
    let carried_out = step::carry_out(&scope.context, names, cluster, step).await;
    if let (Err(StepError::Volume(_, error)), Some(volume)) = (&carried_out, step.keeps_volume())
        && is_final(error)
    {
        memory.refused.note(volume, said(error), Instant::now());
    }
    let outcome = carried_out?;
    if let Outcome::Recorded(written) = &outcome {
        tracing::debug!(cluster = cluster.name_any(), version = written.resource_version(), "record written");
    }
    Ok(outcome)
}

#[cfg(test)]
pub(crate) mod tests {
    use kube::core::Status;
    use mainstay_core::{Observation, Plan};
    use mainstay_crd::ClusterPhase;

    use super::*;

    #[test]
    fn what_the_api_server_refuses_is_told_in_its_own_words() {
        let refused = || {
            let status = Status { code: 403, message: "exceeded quota: small".into(), ..Status::default() };
            kube::Error::Api(Box::new(status))
        };
        let errors: [ActError; 5] = [
            StepError::Claim("data-shop-0".into(), refused()).into(),
            StepError::Volume("pv-0".into(), refused()).into(),
            StepError::SnapshotApi("data-shop-0".into(), refused()).into(),
            StepError::Record(refused()).into(),
            SecretError::Api("shop-ca".into(), refused()).into(),
        ];
        for error in errors {
            let said = error.said();
            assert!(said.contains("exceeded quota: small") && !said.contains("Status"), "{said}");
            assert!(error.is_final());
        }
    }

    /// A cluster of three of which nothing is known.
    pub(crate) fn observation() -> Observation {
        serde_json::from_value(serde_json::json!({
            "now": "2026-01-01T00:00:00Z", "freshId": "fresh", "secretsClusterId": null, "instances": {},
            "cluster": {"namespace": "db", "name": "shop", "uid": "u", "generation": 3, "deleting": false,
                "spec": {"replicas": 3, "image": "mysql:9.7", "storage": {"size": "1Gi"}}, "status": {}},
        }))
        .unwrap()
    }

    /// A plan to do nothing.
    pub(crate) fn plan() -> Plan {
        Plan {
            phase: ClusterPhase::Healthy,
            cluster_id: None,
            upkeep: mainstay_core::Upkeep::Full,
            stateful_set_replicas: 3,
            roles: Vec::new(),
            hold: mainstay_core::Hold::Wanted,
            template: None,
            step: None,
            conditions: Vec::new(),
            instances: Vec::new(),
            primary: None,
            version: None,
            ready: 0,
            look_again: None,
        }
    }
}
