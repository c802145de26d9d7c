//! Role labels, by which the Services find the instances.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mainstay_core::{Observation, Plan};
use mainstay_crd::names::{LABEL_ROLE, MANAGER_ROLE, Names, ROLE_PRIMARY};
use serde_json::json;
use tracing::info;

use crate::api::is_gone;
use crate::context::Context;
use crate::telemetry::Metrics;

/// Why a role label was not set or removed.
#[derive(Debug, thiserror::Error)]
#[error("role label of pod {pod}: {source}")]
pub(crate) struct RoleError {
    pod: String,
    pub(crate) source: kube::Error,
}

/// A change of one pod's label.
#[derive(Debug, PartialEq, Eq)]
struct Relabel {
    ordinal: u32,
    uid: String,
    role: Option<&'static str>,
}

/// Gives pods the role labels of the plan, where they differ.
///
/// # Errors
/// The first; what comes after it is not done, since a label may be given only after another was taken.
pub(crate) async fn apply(
    context: &Context,
    observation: &Observation,
    plan: &Plan,
) -> Result<(), RoleError> {
    let cluster = &observation.cluster;
    let names = Names::new(&cluster.namespace, &cluster.name);
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &cluster.namespace);
    for Relabel { ordinal, uid, role } in changes(observation, plan) {
        let pod = names.pod(ordinal);
        // The UID makes it a precondition: another pod of this name is left alone.
        let patch = json!({"metadata": {"uid": uid, "labels": {LABEL_ROLE: role}}});
        let params = PatchParams { field_manager: Some(MANAGER_ROLE.into()), ..PatchParams::default() };
        match pods.patch_metadata(&pod, &params, &Patch::Merge(patch)).await {
            Ok(_) => {
                info!(namespace = cluster.namespace, pod, role = role.unwrap_or("none"), "role label");
                Metrics::count(&context.metrics.writes, "PodRole");
            }
            Err(error) if is_gone(&error) => {}
            Err(source) => return Err(RoleError { pod, source }),
        }
    }
    Ok(())
}

/// What differs, in the order in which it is to be done: labels are taken before any is given, and the primary's
/// comes last.
fn changes(observation: &Observation, plan: &Plan) -> Vec<Relabel> {
    let mut changes: Vec<Relabel> = plan
        .roles
        .iter()
        .filter_map(|(ordinal, role)| {
            let pod = observation.instances.get(ordinal)?.pod.as_ref()?;
            let differs = pod.role.as_deref() != *role;
            differs.then(|| Relabel { ordinal: *ordinal, uid: pod.uid.clone(), role: *role })
        })
        .collect();
    changes.sort_by_key(|change| (change.role.is_some(), change.role == Some(ROLE_PRIMARY)));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::tests::{observation, plan};
    use mainstay_core::{Instance, Pod};
    use mainstay_crd::names::ROLE_REPLICA;

    #[test]
    fn labels_are_taken_before_any_is_given() {
        let mut observation = observation();
        let roles = [Some(ROLE_PRIMARY), None, Some(ROLE_REPLICA), None];
        for (ordinal, role) in (0..).zip(roles) {
            let pod = Pod { uid: format!("uid-{ordinal}"), role: role.map(Into::into), ..Pod::default() };
            observation.instances.insert(ordinal, Instance { pod: Some(pod), ..Instance::default() });
        }
        let mut plan = plan();
        plan.roles =
            vec![(1, Some(ROLE_PRIMARY)), (3, Some(ROLE_REPLICA)), (0, None), (2, Some(ROLE_REPLICA))];
        let order: Vec<u32> = changes(&observation, &plan).into_iter().map(|change| change.ordinal).collect();
        assert_eq!(order, [0, 3, 1]);
    }
}
