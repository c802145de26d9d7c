//! Services and budgets.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::*;

#[test]
fn clients_find_the_primary_and_the_replicas_by_role() {
    let children = children(json!({}));
    for (service, name, role) in
        [(children.primary, "shop-primary", "primary"), (children.read, "shop-read", "replica")]
    {
        assert_eq!(service.metadata.name.as_deref(), Some(name));
        let spec = service.spec.unwrap();
        assert_eq!(
            serde_json::to_value(&spec.selector).unwrap(),
            json!({"mysql.mainstay.dev/cluster": "shop", "mysql.mainstay.dev/role": role})
        );
        let ports = spec.ports.unwrap();
        assert_eq!(ports.iter().map(|port| port.port).collect::<Vec<_>>(), [3306], "only MySQL is offered");
        assert_eq!(spec.publish_not_ready_addresses, None, "an unready instance serves no client");
        assert_eq!(spec.type_.as_deref(), Some("ClusterIP"));
    }
}

#[test]
fn instances_find_each_other_before_they_are_ready() {
    let spec = children(json!({})).headless.spec.unwrap();
    assert_eq!(spec.cluster_ip.as_deref(), Some("None"));
    assert_eq!(spec.publish_not_ready_addresses, Some(true));
    assert!(!spec.selector.unwrap().contains_key("mysql.mainstay.dev/role"));
}

#[test]
fn the_users_metadata_and_type_are_for_the_services_of_clients_only() {
    let children = children(json!({"service": {"type": "LoadBalancer", "metadata": {
        "labels": {"team": "shop", "mysql.mainstay.dev/cluster": "other", "app.kubernetes.io/name": "other"},
        "annotations": {"example.com/lb": "internal"},
    }}}));
    for service in [&children.primary, &children.read] {
        let labels = service.metadata.labels.as_ref().unwrap();
        assert_eq!(labels["team"], "shop");
        assert_eq!(labels["mysql.mainstay.dev/cluster"], "shop");
        assert_eq!(labels["app.kubernetes.io/name"], "mysql");
        assert_eq!(service.metadata.annotations.as_ref().unwrap()["example.com/lb"], "internal");
        assert_eq!(service.spec.as_ref().unwrap().type_.as_deref(), Some("LoadBalancer"));
    }
    assert!(!children.headless.metadata.labels.unwrap().contains_key("team"));
    assert_eq!(children.headless.spec.unwrap().type_, None);
}

/// Evictions that the disruption controller allows when all of `pods` are healthy
/// (`getExpectedPodCount` in its source): with `minAvailable` as a number it counts the pods selected.
fn allowed(budget: &PodDisruptionBudget, pods: i32) -> i32 {
    let spec = budget.spec.as_ref().unwrap();
    assert_eq!(spec.max_unavailable, None, "would be counted against all of the StatefulSet's pods");
    match spec.min_available {
        Some(IntOrString::Int(min)) => pods - min,
        _ => panic!("a number was expected"),
    }
}

#[test]
fn a_drain_takes_one_replica_at_a_time_and_waits_for_the_primary_to_hand_over() {
    for replicas in 2..=9 {
        let spec = spec(json!({"replicas": replicas}));
        let seen = build(&blueprint(&spec));
        assert_eq!(allowed(&seen.replica_pdb.unwrap(), replicas - 1), 1, "{replicas} instances");
        assert_eq!(allowed(&seen.primary_pdb.unwrap(), 1), 0, "{replicas} instances");
        // Nobody would answer.
        let unseen = build(&Blueprint { sees_drains: false, ..blueprint(&spec) });
        assert_eq!(allowed(&unseen.primary_pdb.unwrap(), 1), 1, "{replicas} instances");
    }
}

#[test]
fn no_pod_is_in_two_budgets() {
    // The eviction API answers 500 for such a pod.
    let children = children(json!({}));
    let role = |budget: PodDisruptionBudget| {
        budget.spec.unwrap().selector.unwrap().match_labels.unwrap()["mysql.mainstay.dev/role"].clone()
    };
    assert_eq!(role(children.primary_pdb.unwrap()), "primary");
    assert_eq!(role(children.replica_pdb.unwrap()), "replica");
}

#[test]
fn a_single_instance_has_no_budget() {
    let children = children(json!({"replicas": 1}));
    assert_eq!((children.primary_pdb, children.replica_pdb), (None, None));
}
