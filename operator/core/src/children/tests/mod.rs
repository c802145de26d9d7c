//! What users of the children rely on.

mod clients;
mod config;
mod pods;
mod template_hash;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mainstay_crd::MySQLClusterSpec;
use serde_json::{Value, json};

use super::*;

const CLUSTER_ID: &str = "6f1c2a9e-7b1d-4c55-9d3e-0b7f0c1d2e3f";

/// The least that a user must write, with `more` on top.
fn spec(more: Value) -> MySQLClusterSpec {
    let mut spec = json!({"image": "mysql:9.7", "storage": {"size": "10Gi"}});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn blueprint(spec: &MySQLClusterSpec) -> Blueprint<'_> {
    Blueprint {
        namespace: "db",
        name: "shop",
        uid: "0c1d2e3f-0000-4000-8000-000000000001",
        cluster_id: CLUSTER_ID,
        spec,
        replicas: u32::try_from(spec.replicas).unwrap(),
        sees_drains: true,
        agent_image: "mainstay/agent:1",
    }
}

fn children(more: Value) -> Children {
    build(&blueprint(&spec(more)))
}

/// Every child's metadata, taken apart without `..`: a child forgotten here does not compile.
fn metadata(children: Children) -> Vec<ObjectMeta> {
    let Children {
        service_account,
        config_map,
        headless,
        primary,
        read,
        primary_pdb,
        replica_pdb,
        stateful_set,
    } = children;
    let mut all = vec![
        service_account.metadata,
        config_map.metadata,
        headless.metadata,
        primary.metadata,
        read.metadata,
        stateful_set.metadata,
    ];
    all.extend([primary_pdb, replica_pdb].into_iter().flatten().map(|budget| budget.metadata));
    all
}

#[test]
fn every_child_is_labelled_and_goes_with_its_cluster() {
    let cluster = mainstay_crd::MySQLCluster::new("shop", spec(json!({})));
    let owner = serde_json::to_value(&cluster).unwrap();
    for meta in metadata(children(json!({}))) {
        let name = meta.name.unwrap();
        assert_eq!(meta.namespace.as_deref(), Some("db"), "{name}");
        let labels = meta.labels.unwrap();
        for (key, value) in [
            ("app.kubernetes.io/name", "mysql"),
            ("app.kubernetes.io/instance", "shop"),
            ("app.kubernetes.io/managed-by", "mainstay"),
            ("app.kubernetes.io/component", "database"),
            ("mysql.mainstay.dev/cluster", "shop"),
        ] {
            assert_eq!(labels[key], value, "{name}");
        }
        let [reference] = meta.owner_references.unwrap().try_into().unwrap();
        assert_eq!(reference.api_version, owner["apiVersion"], "{name}");
        assert_eq!(reference.kind, owner["kind"], "{name}");
        assert_eq!(reference.uid, "0c1d2e3f-0000-4000-8000-000000000001", "{name}");
        assert_eq!(
            (reference.controller, reference.block_owner_deletion),
            (Some(true), Some(true)),
            "{name}"
        );
    }
}

#[test]
fn nothing_differs_when_nothing_changed() {
    let more = json!({
        "config": {"common": {"b": "1", "a": "2"}},
        "resources": {"limits": {"memory": "4Gi", "cpu": "2"}},
    });
    assert_eq!(children(more.clone()), children(more));
}
