//! PodDisruptionBudgets.
//!
//! Both say `minAvailable` as a number. With `maxUnavailable` the disruption controller would count against
//! `spec.replicas` of the StatefulSet instead of the pods selected: a budget for one of its three pods would want
//! two of them healthy, and deny every eviction for ever.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mainstay_crd::names::{ROLE_PRIMARY, ROLE_REPLICA};

use super::{Blueprint, meta};

/// The primary's budget; none for a cluster of one.
///
/// It denies the eviction: the operator sees the drain of the node and hands over, whereupon the pod is a replica's.
/// Where it may not read nodes it would never see one, and the drain would wait for ever: then it is allowed.
pub(super) fn primary(blueprint: &Blueprint<'_>) -> Option<PodDisruptionBudget> {
    budget(blueprint, blueprint.names().primary_pdb(), ROLE_PRIMARY, i32::from(blueprint.sees_drains))
}

/// The replicas' budget; none for a cluster of one. One replica at a time may be evicted.
pub(super) fn replica(blueprint: &Blueprint<'_>) -> Option<PodDisruptionBudget> {
    // Of `replicas` pods one is the primary and one may be away.
    let stay = i32::try_from(blueprint.replicas.saturating_sub(2)).unwrap_or(i32::MAX);
    budget(blueprint, blueprint.names().replica_pdb(), ROLE_REPLICA, stay)
}

fn budget(
    blueprint: &Blueprint<'_>,
    name: String,
    role: &str,
    min_available: i32,
) -> Option<PodDisruptionBudget> {
    (blueprint.replicas > 1).then(|| PodDisruptionBudget {
        metadata: meta::metadata(blueprint, name),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(min_available)),
            selector: Some(LabelSelector {
                match_labels: Some(meta::role_labels(blueprint, role)),
                ..Default::default()
            }),
            // A pod that is not Ready serves nobody: a broken instance must not hold up a drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..Default::default()
        }),
        ..Default::default()
    })
}
