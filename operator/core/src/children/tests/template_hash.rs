//! When pods are replaced.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::json;

use super::*;

fn template(blueprint: &Blueprint<'_>) -> PodTemplateSpec {
    build(blueprint).stateful_set.spec.unwrap().template
}

fn annotation(template: &PodTemplateSpec) -> String {
    template.metadata.as_ref().unwrap().annotations.as_ref().unwrap()["mysql.mainstay.dev/template-hash"]
        .clone()
}

#[test]
fn the_planner_and_the_pods_speak_of_the_same_hash() {
    let spec = spec(json!({}));
    let blueprint = blueprint(&spec);
    assert_eq!(annotation(&template(&blueprint)), template_hash(&blueprint));
}

#[test]
fn upgrading_the_operator_replaces_no_pod() {
    let spec = spec(json!({}));
    let old = blueprint(&spec);
    let new = Blueprint { agent_image: "mainstay/agent:2", ..old.clone() };
    assert_ne!(template(&old), template(&new));
    assert_eq!(template_hash(&old), template_hash(&new));
}

/// Pods that exist carry these hashes: another one here restarts every pod that an upgraded operator meets.
#[test]
fn the_hash_of_a_spec_is_the_same_in_every_release() {
    for (more, hash) in [
        (json!({}), "3e5ad02d8a0a2a18"),
        (
            json!({
                "imagePullPolicy": "IfNotPresent",
                "imagePullSecrets": [{"name": "registry"}],
                "resources": {"limits": {"memory": "4Gi", "cpu": "2"}, "requests": {"memory": "4Gi"}},
                "config": {"common": {"max_connections": "500"}, "replica": {"innodb_io_capacity": "200"}},
                "scheduling": {
                    "antiAffinity": "Required",
                    "nodeSelector": {"disk": "ssd"},
                    "tolerations": [{"key": "database", "operator": "Exists"}],
                    "priorityClassName": "high",
                },
                "podMetadata": {"labels": {"team": "shop"}},
                "podSecurity": {"runAsUser": 1000, "fsGroup": 1000},
            }),
            "301684d3e18af74d",
        ),
    ] {
        let spec = spec(more);
        assert_eq!(template_hash(&blueprint(&spec)), hash);
    }
}

#[test]
fn whatever_changes_a_pod_or_its_configuration_replaces_it() {
    let plain = spec(json!({}));
    let plain = blueprint(&plain);
    let before = template(&plain);
    for change in [
        json!({"image": "mysql:8.4"}),
        json!({"imagePullPolicy": "Always"}),
        json!({"imagePullSecrets": [{"name": "registry"}]}),
        json!({"resources": {"requests": {"cpu": "1"}}}),
        json!({"config": {"common": {"max_connections": "500"}}}),
        json!({"config": {"primary": {"max_connections": "500"}}}),
        json!({"config": {"replica": {"max_connections": "500"}}}),
        json!({"scheduling": {"antiAffinity": "Required"}}),
        json!({"scheduling": {"affinity": {"nodeAffinity": {}}}}),
        json!({"scheduling": {"nodeSelector": {"disk": "ssd"}}}),
        json!({"scheduling": {"tolerations": [{"operator": "Exists"}]}}),
        json!({"scheduling": {"topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
        ]}}),
        json!({"scheduling": {"priorityClassName": "high"}}),
        json!({"podMetadata": {"labels": {"team": "shop"}}}),
        json!({"podMetadata": {"annotations": {"team": "shop"}}}),
        json!({"podSecurity": {"runAsUser": 1000, "fsGroup": 1000}}),
        json!({"clone": {"method": "XtraBackup"}}),
        json!({"clone": {"method": "XtraBackup", "image": "tool:1"}}),
    ] {
        let changed = spec(change.clone());
        let after = template(&blueprint(&changed));
        assert_ne!(after, before, "{change}");
        assert_ne!(annotation(&after), annotation(&before), "{change}");
    }
    let other = Blueprint { cluster_id: "another", ..plain };
    assert_ne!(annotation(&template(&other)), annotation(&before));
}

#[test]
fn what_does_not_concern_pods_leaves_them_alone() {
    let plain = spec(json!({}));
    let before = template(&blueprint(&plain));
    for change in [
        json!({"replicas": 5}),
        json!({"storage": {"size": "20Gi"}}),
        json!({"service": {"type": "LoadBalancer"}}),
        json!({"clone": {"limits": {"bytesPerSecond": "50Mi"}}}),
        json!({"clone": {"method": "Plugin", "image": "tool:1"}}),
        json!({"paused": true}),
        // What is said is what was the case anyway.
        json!({"podSecurity": {"runAsUser": 999, "fsGroup": 999}}),
        json!({"scheduling": {"antiAffinity": "Preferred"}}),
        json!({"config": {"common": {}}}),
        // The operator's option, which the user's entry does not change.
        json!({"config": {"common": {"gtid_mode": "OFF"}}}),
    ] {
        let changed = spec(change.clone());
        assert_eq!(template(&blueprint(&changed)), before, "{change}");
    }
}
