//! The StatefulSet and its pods.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::StatefulSetSpec;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use mainstay_proto::pod::{env, paths, ports};
use serde_json::json;

use super::*;

fn stateful_set(more: Value) -> StatefulSetSpec {
    children(more).stateful_set.spec.unwrap()
}

fn pod(more: Value) -> PodSpec {
    stateful_set(more).template.spec.unwrap()
}

fn containers(pod: &PodSpec) -> Vec<&Container> {
    pod.init_containers.iter().flatten().chain(&pod.containers).collect()
}

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>, all of it, baseline included.
#[test]
fn pods_are_admitted_where_the_restricted_standard_is_enforced() {
    let pod = pod(json!({"podSecurity": {"runAsUser": 1001, "fsGroup": 1002}}));
    for host in [pod.host_network, pod.host_pid, pod.host_ipc] {
        assert_eq!(host, None);
    }
    let allowed =
        ["name", "configMap", "emptyDir", "secret", "persistentVolumeClaim", "projected", "downwardAPI"];
    for volume in serde_json::to_value(&pod.volumes).unwrap().as_array().unwrap() {
        for key in volume.as_object().unwrap().keys() {
            assert!(allowed.contains(&key.as_str()), "volume type {key}");
        }
    }
    let context = pod.security_context.as_ref().unwrap();
    assert_eq!(context.run_as_non_root, Some(true));
    assert_eq!(context.run_as_user, Some(1001));
    assert_eq!((context.run_as_group, context.fs_group), (Some(1002), Some(1002)));
    assert_eq!(context.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
    assert_eq!(context.se_linux_options, None);
    // One that the restricted profile allows: nothing that goes out may take a server's port.
    let sysctls =
        context.sysctls.iter().flatten().map(|sysctl| (sysctl.name.as_str(), sysctl.value.as_str()));
    assert_eq!(sysctls.collect::<Vec<_>>(), [("net.ipv4.ip_local_reserved_ports", "33062")]);
    assert_eq!(containers(&pod).len(), 3);
    for container in containers(&pod) {
        let name = &container.name;
        let context = container.security_context.as_ref().unwrap();
        assert_eq!(context.allow_privilege_escalation, Some(false), "{name}");
        assert_eq!(context.privileged, None, "{name}");
        let capabilities = context.capabilities.as_ref().unwrap();
        assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]), "{name}");
        assert_eq!(capabilities.add, None, "{name}");
        assert_eq!((context.run_as_non_root, context.run_as_user), (None, None), "{name} follows the pod");
        assert_eq!((&context.seccomp_profile, &context.proc_mount), (&None, &None), "{name} follows the pod");
        assert_eq!(context.read_only_root_filesystem, Some(true), "{name}");
        assert!(container.ports.iter().flatten().all(|port| port.host_port.is_none()), "{name}");
    }
}

#[test]
fn no_secret_is_in_the_template_or_an_environment() {
    let pod = pod(json!({}));
    for container in containers(&pod) {
        assert_eq!(container.env_from, None, "{}", container.name);
        for variable in container.env.iter().flatten() {
            let from = serde_json::to_value(&variable.value_from).unwrap();
            assert!(from.is_null() || from.get("fieldRef").is_some(), "{}", variable.name);
        }
    }
    assert_eq!(pod.automount_service_account_token, Some(false));
    let mounted: BTreeSet<&str> = pod
        .volumes
        .iter()
        .flatten()
        .filter_map(|volume| volume.secret.as_ref())
        .map(|secret| {
            assert_eq!(secret.default_mode, Some(0o440), "others may not read it");
            secret.secret_name.as_deref().unwrap()
        })
        .collect();
    // Not the authority's key, nor the operator's.
    assert_eq!(mounted, BTreeSet::from(["shop-credentials", "shop-tls"]));
}

#[test]
fn the_pods_account_can_do_nothing() {
    let children = children(json!({}));
    assert_eq!(children.service_account.automount_service_account_token, Some(false));
    let pod = children.stateful_set.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.service_account_name, children.service_account.metadata.name);
}

#[test]
fn the_agent_finds_what_the_protocol_promises() {
    let pod = pod(json!({}));
    let volumes: BTreeSet<String> =
        pod.volumes.iter().flatten().map(|volume| volume.name.clone()).chain(["data".into()]).collect();
    let [install, prepare] = pod.init_containers.as_deref().unwrap() else { panic!("two init containers") };
    let [mysql] = pod.containers.as_slice() else { panic!("one container") };
    assert_eq!(install.image.as_deref(), Some("mainstay/agent:1"));
    assert_eq!(install.command.as_ref().unwrap()[1..], ["install", "/opt/mainstay/mainstay-agent"]);
    for (container, name, subcommand) in [(prepare, "prepare", "prepare"), (mysql, "mysql", "serve")] {
        assert_eq!(container.name, name);
        assert_eq!(container.image.as_deref(), Some("mysql:9.7"));
        assert_eq!(container.command.as_deref().unwrap(), [paths::AGENT, subcommand]);
        let mounts = container.volume_mounts.as_ref().unwrap();
        assert!(mounts.iter().all(|mount| volumes.contains(&mount.name)), "{name}");
        let at: BTreeSet<&str> = mounts.iter().map(|mount| mount.mount_path.as_str()).collect();
        for path in
            [paths::BIN, paths::VOLUME, paths::CONFIG, paths::CREDENTIALS, paths::TLS, paths::RUN, "/tmp"]
        {
            assert!(at.contains(path), "{name}: {path}");
        }
        let variables: BTreeSet<&str> =
            container.env.iter().flatten().map(|variable| variable.name.as_str()).collect();
        for variable in [
            env::NAMESPACE,
            env::CLUSTER,
            env::CLUSTER_ID,
            env::POD_NAME,
            env::POD_UID,
            env::POD_IP,
            env::NODE,
            env::SERVER_ID_BASE,
            env::GRACE_SECONDS,
        ] {
            assert!(variables.contains(variable), "{name}: {variable}");
        }
        let open: BTreeSet<i32> = container.ports.iter().flatten().map(|port| port.container_port).collect();
        let promised = [ports::MYSQL, ports::ADMIN, ports::AGENT, ports::PROBE].map(i32::from);
        assert_eq!(open, BTreeSet::from(promised), "{name}");
    }
}

#[test]
fn the_agent_is_told_the_grace_that_the_kubelet_grants() {
    let pod = pod(json!({}));
    let told =
        pod.containers[0].env.iter().flatten().find(|variable| variable.name == env::GRACE_SECONDS).unwrap();
    assert_eq!(told.value, pod.termination_grace_period_seconds.map(|seconds| seconds.to_string()));
}

#[test]
fn probes_and_services_name_ports_that_exist() {
    let children = children(json!({}));
    let pod = children.stateful_set.spec.unwrap().template.spec.unwrap();
    let ports: BTreeSet<_> =
        pod.containers[0].ports.iter().flatten().filter_map(|port| port.name.clone()).collect();
    let container = serde_json::to_value(&pod.containers[0]).unwrap();
    for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert!(ports.contains(container[probe]["httpGet"]["port"].as_str().unwrap()), "{probe}");
    }
    assert!(container.get("startupProbe").is_none(), "the agent answers at once, however long MySQL takes");
    for service in [children.headless, children.primary, children.read] {
        for port in serde_json::to_value(service.spec.unwrap().ports).unwrap().as_array().unwrap() {
            assert!(ports.contains(port["targetPort"].as_str().unwrap()), "{port}");
        }
    }
}

#[test]
fn pods_have_the_users_labels_but_no_role_of_the_users() {
    let meta = stateful_set(json!({"podMetadata": {
        "labels": {
            "team": "shop",
            "app.kubernetes.io/name": "other",
            "mysql.mainstay.dev/role": "primary",
            "mysql.mainstay.dev/cluster": "other",
        },
        "annotations": {"example.com/scrape": "true", "mysql.mainstay.dev/template-hash": "0"},
    }}))
    .template
    .metadata
    .unwrap();
    let labels = meta.labels.unwrap();
    assert_eq!(labels["team"], "shop");
    assert_eq!(labels["app.kubernetes.io/name"], "mysql");
    assert_eq!(labels["mysql.mainstay.dev/cluster"], "shop");
    assert!(!labels.contains_key("mysql.mainstay.dev/role"), "every pod would be the primary to clients");
    let annotations = meta.annotations.unwrap();
    assert_eq!(annotations["example.com/scrape"], "true");
    assert_ne!(annotations["mysql.mainstay.dev/template-hash"], "0");
}

#[test]
fn the_selector_has_only_what_never_changes_and_selects_the_pods() {
    let spec = stateful_set(json!({"podMetadata": {"labels": {"team": "shop"}}}));
    let wanted = spec.selector.match_labels.unwrap();
    assert_eq!(
        serde_json::to_value(&wanted).unwrap(),
        json!({"app.kubernetes.io/name": "mysql", "mysql.mainstay.dev/cluster": "shop"})
    );
    let labels = spec.template.metadata.unwrap().labels.unwrap();
    assert!(wanted.iter().all(|(key, value)| labels.get(key) == Some(value)));
    assert_eq!(pod_selector("shop"), "app.kubernetes.io/name=mysql,mysql.mainstay.dev/cluster=shop");
}

#[test]
fn only_the_operator_replaces_pods_and_deletes_claims() {
    let spec = serde_json::to_value(stateful_set(json!({"replicas": 3}))).unwrap();
    assert_eq!(spec["replicas"], 3);
    assert_eq!(spec["serviceName"], "shop");
    assert_eq!(spec["podManagementPolicy"], "Parallel");
    assert_eq!(spec["updateStrategy"], json!({"type": "OnDelete"}));
    let policy = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
    assert_eq!(spec["persistentVolumeClaimRetentionPolicy"], policy);
}

#[test]
fn the_statefulset_has_as_many_pods_as_the_plan_says_not_the_spec() {
    let spec = spec(json!({"replicas": 1}));
    let children = build(&Blueprint { replicas: 3, ..blueprint(&spec) });
    assert_eq!(children.stateful_set.spec.unwrap().replicas, Some(3));
    assert!(children.replica_pdb.is_some());
}

#[test]
fn claims_are_what_the_spec_asks_for_and_do_not_claim_to_hold_data() {
    let claims = stateful_set(json!({"storage": {
        "size": "10Gi",
        "class": "fast",
        "accessModes": ["ReadWriteOncePod"],
        "selector": {"matchLabels": {"disk": "shop"}},
    }}))
    .volume_claim_templates;
    let [claim] = claims.unwrap().try_into().unwrap();
    assert_eq!(claim.metadata.name.as_deref(), Some("data"));
    let labels = claim.metadata.labels.unwrap();
    assert_eq!(labels["mysql.mainstay.dev/cluster"], "shop");
    assert!(!labels.contains_key("mysql.mainstay.dev/cluster-id"));
    assert_eq!(
        serde_json::to_value(claim.spec).unwrap(),
        json!({
            "accessModes": ["ReadWriteOncePod"],
            "resources": {"requests": {"storage": "10Gi"}},
            "selector": {"matchLabels": {"disk": "shop"}},
            "storageClassName": "fast",
        })
    );
}

#[test]
fn the_class_is_left_to_the_cluster_if_the_spec_leaves_it_out() {
    let [claim] = stateful_set(json!({})).volume_claim_templates.unwrap().try_into().unwrap();
    // An empty name would mean "no class", which is something else.
    assert_eq!(claim.spec.unwrap().storage_class_name, None);
}

#[test]
fn the_users_resources_decide_the_class_of_service() {
    let resources =
        json!({"limits": {"cpu": "2", "memory": "4Gi"}, "requests": {"cpu": "2", "memory": "4Gi"}});
    for container in containers(&pod(json!({"resources": resources}))) {
        // Guaranteed asks this of every container, init containers too.
        let resources = container.resources.as_ref().unwrap();
        assert!(resources.limits.is_some(), "{}", container.name);
        assert_eq!(resources.limits, resources.requests, "{}", container.name);
    }
}

#[test]
fn instances_keep_apart_and_the_users_affinity_stays() {
    let ours = json!({
        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "mysql", "mysql.mainstay.dev/cluster": "shop"}},
        "topologyKey": "kubernetes.io/hostname",
    });
    let theirs = json!({
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}},
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "rack"}]},
    });
    let affinity =
        |scheduling: Value| serde_json::to_value(pod(json!({"scheduling": scheduling})).affinity).unwrap();

    let mut merged = theirs.clone();
    merged["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] =
        json!([{"weight": 100, "podAffinityTerm": ours}]);
    assert_eq!(affinity(json!({"affinity": theirs})), merged);

    let mut merged = theirs.clone();
    merged["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
        json!([{"topologyKey": "rack"}, ours]);
    assert_eq!(affinity(json!({"affinity": theirs, "antiAffinity": "Required"})), merged);

    assert_eq!(affinity(json!({"affinity": theirs, "antiAffinity": "Disabled"})), theirs);
    assert_eq!(affinity(json!({"antiAffinity": "Disabled"})), Value::Null);
    assert_eq!(
        affinity(json!({}))["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"],
        ours
    );
}

#[test]
fn scheduling_reaches_the_pod_and_spreading_means_this_cluster() {
    let zone = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
    let mut own = zone.clone();
    own["labelSelector"] = json!({"matchLabels": {"team": "shop"}});
    let pod = serde_json::to_value(pod(json!({
        "imagePullPolicy": "Never",
        "imagePullSecrets": [{"name": "registry"}],
        "scheduling": {
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "database", "operator": "Exists"}],
            "topologySpreadConstraints": [zone, own],
            "priorityClassName": "high",
        },
    })))
    .unwrap();
    assert_eq!(pod["containers"][0]["imagePullPolicy"], "Never");
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["nodeSelector"], json!({"disk": "ssd"}));
    assert_eq!(pod["tolerations"], json!([{"key": "database", "operator": "Exists"}]));
    assert_eq!(pod["priorityClassName"], "high");
    let [first, second] = pod["topologySpreadConstraints"].as_array().unwrap().as_slice() else { panic!() };
    assert_eq!(first["labelSelector"]["matchLabels"]["mysql.mainstay.dev/cluster"], "shop");
    assert_eq!(second["labelSelector"], own["labelSelector"]);
}

#[test]
fn with_the_copy_tool_a_pod_receives_before_it_prepares_and_gives_beside_its_server() {
    let tool = json!({"clone": {"method": "XtraBackup"}, "image": "mysql:8.4.7"});
    let pod = pod(tool);
    let names = |containers: &[Container]| containers.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(pod.init_containers.as_ref().unwrap()), ["agent", "receive", "prepare"]);
    assert_eq!(names(&pod.containers), ["mysql", "donor"]);
    for container in containers(&pod).into_iter().filter(|c| ["receive", "donor"].contains(&c.name.as_str()))
    {
        assert_eq!(container.image.as_deref(), Some("percona/percona-xtrabackup:8.4"));
        let command = container.command.as_ref().unwrap();
        assert_eq!(command, &[paths::AGENT.to_owned(), container.name.clone()]);
        assert_eq!(container.security_context.as_ref().unwrap().read_only_root_filesystem, Some(true));
        let mounts = container.volume_mounts.as_ref().unwrap();
        assert!(mounts.iter().all(|mount| mount.mount_path != paths::CREDENTIALS), "{mounts:?}");
        assert!(mounts.iter().any(|mount| mount.mount_path == paths::TLS), "{mounts:?}");
    }
    let donor = pod.containers.iter().find(|c| c.name == "donor").unwrap();
    let ports = donor.ports.iter().flatten().map(|port| port.container_port).collect::<Vec<_>>();
    assert_eq!(ports, [i32::from(ports::DONOR)]);
}
