//! Labels, selectors and owner references.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use mainstay_crd::names::{GROUP, LABEL_CLUSTER, LABEL_ROLE};

use super::Blueprint;

/// Name of the claim template, which `names::Names::claim` repeats.
pub(super) const CLAIM: &str = "data";
/// Well-known label: the name of the application.
const LABEL_APP: &str = "app.kubernetes.io/name";
/// The name of the application.
const APP: &str = "mysql";
/// Kind of the owner.
const KIND: &str = "MySQLCluster";
/// Version of the API that owner references name.
const VERSION: &str = "v1alpha1";

/// Labels of every child.
pub(super) fn labels(blueprint: &Blueprint<'_>) -> BTreeMap<String, String> {
    let mut labels = selector_labels(blueprint);
    for (key, value) in [
        ("app.kubernetes.io/instance", blueprint.name),
        ("app.kubernetes.io/managed-by", "mainstay"),
        ("app.kubernetes.io/component", "database"),
    ] {
        labels.insert(key.into(), value.into());
    }
    labels
}

/// The labels by which a cluster's pods are known. A StatefulSet's selector can't be changed, so there are no more.
pub(super) fn selector_labels(blueprint: &Blueprint<'_>) -> BTreeMap<String, String> {
    BTreeMap::from([(LABEL_APP.into(), APP.into()), (LABEL_CLUSTER.into(), blueprint.name.into())])
}

/// Selects a cluster's pods, whatever their role.
pub(super) fn selector(blueprint: &Blueprint<'_>) -> LabelSelector {
    LabelSelector { match_labels: Some(selector_labels(blueprint)), ..Default::default() }
}

/// The labels of a cluster's pods that have a role.
pub(super) fn role_labels(blueprint: &Blueprint<'_>, role: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(LABEL_CLUSTER.into(), blueprint.name.into()), (LABEL_ROLE.into(), role.into())])
}

/// A cluster's pods as a selector in text, for `status.selector` of the scale subresource.
pub fn pod_selector(cluster: &str) -> String {
    format!("{LABEL_APP}={APP},{LABEL_CLUSTER}={cluster}")
}

/// Metadata of a child.
pub(super) fn metadata(blueprint: &Blueprint<'_>, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(blueprint.namespace.into()),
        labels: Some(labels(blueprint)),
        owner_references: Some(vec![OwnerReference {
            api_version: format!("{GROUP}/{VERSION}"),
            kind: KIND.into(),
            name: blueprint.name.into(),
            uid: blueprint.uid.into(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..Default::default()
    }
}

/// `theirs` with `ours` on top.
///
/// Keys of the project's own domain are left out of `theirs`: a role given by a pod template would make every
/// instance the primary's Service's.
pub(super) fn merged(
    theirs: Option<&BTreeMap<String, String>>,
    ours: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = theirs
        .into_iter()
        .flatten()
        .filter(|(key, _)| !is_ours(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    all.extend(ours);
    all
}

fn is_ours(key: &str) -> bool {
    key.split_once('/').is_some_and(|(prefix, _)| prefix == GROUP)
}
