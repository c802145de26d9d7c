//! Where pods may run.

use k8s_openapi::api::core::v1::{
    Affinity, PodAffinityTerm, PodAntiAffinity, PodSpec, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use mainstay_crd::{AntiAffinity, Scheduling};

use super::{Blueprint, meta};

/// Well-known label: a node's name.
const TOPOLOGY_NODE: &str = "kubernetes.io/hostname";

/// Fills in what the spec says about scheduling.
pub(super) fn apply(blueprint: &Blueprint<'_>, spec: &mut PodSpec) {
    let scheduling = blueprint.spec.scheduling.clone().unwrap_or_default();
    spec.affinity = affinity(blueprint, &scheduling);
    let Scheduling { node_selector, tolerations, topology_spread_constraints, priority_class_name, .. } =
        scheduling;
    spec.node_selector = (!node_selector.is_empty()).then_some(node_selector);
    spec.tolerations = (!tolerations.is_empty()).then_some(tolerations);
    spec.topology_spread_constraints = (!topology_spread_constraints.is_empty()).then(|| {
        topology_spread_constraints.into_iter().map(|constraint| spread(blueprint, constraint)).collect()
    });
    spec.priority_class_name = priority_class_name;
}

/// The user's affinity with the anti-affinity between instances added to it.
fn affinity(blueprint: &Blueprint<'_>, scheduling: &Scheduling) -> Option<Affinity> {
    let theirs = scheduling.affinity.clone();
    if scheduling.anti_affinity == AntiAffinity::Disabled {
        return theirs;
    }
    let term = PodAffinityTerm {
        label_selector: Some(meta::selector(blueprint)),
        topology_key: TOPOLOGY_NODE.into(),
        ..Default::default()
    };
    let mut affinity = theirs.unwrap_or_default();
    let anti: &mut PodAntiAffinity = affinity.pod_anti_affinity.get_or_insert_default();
    if scheduling.anti_affinity == AntiAffinity::Required {
        anti.required_during_scheduling_ignored_during_execution.get_or_insert_default().push(term);
    } else {
        let weighted = WeightedPodAffinityTerm { weight: 100, pod_affinity_term: term };
        anti.preferred_during_scheduling_ignored_during_execution.get_or_insert_default().push(weighted);
    }
    Some(affinity)
}

/// A constraint without a selector counts no pod, and so has no effect: it is taken to mean this cluster's.
fn spread(blueprint: &Blueprint<'_>, mut constraint: TopologySpreadConstraint) -> TopologySpreadConstraint {
    constraint.label_selector.get_or_insert_with(|| meta::selector(blueprint));
    constraint
}
