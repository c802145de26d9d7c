//! Pods and claims as far as the operator looks at them: what is not named here never enters memory.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use kube::Resource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::is_our_entry;

/// A pod.
#[derive(Clone, Debug, Default, Deserialize, Serialize, Resource)]
#[resource(inherit = core::Pod)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pod {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: PodSpec,
    #[serde(default)]
    pub(crate) status: PodStatus,
}

/// `spec` of a pod.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSpec {
    pub(crate) node_name: Option<String>,
    #[serde(default)]
    pub(crate) volumes: Vec<PodVolume>,
}

/// A volume of a pod.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodVolume {
    pub(crate) config_map: Option<Named>,
}

/// What is named.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Named {
    #[serde(default)]
    pub(crate) name: String,
}

/// `status` of a pod.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatus {
    pub(crate) phase: Option<String>,
    #[serde(rename = "podIP")]
    pub(crate) pod_ip: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) conditions: Vec<PodCondition>,
    pub(crate) init_container_statuses: Vec<ContainerStatus>,
    pub(crate) container_statuses: Vec<ContainerStatus>,
}

/// A claim.
#[derive(Clone, Debug, Default, Deserialize, Serialize, Resource)]
#[resource(inherit = core::PersistentVolumeClaim)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Claim {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: ClaimSpec,
    #[serde(default)]
    pub(crate) status: ClaimStatus,
}

/// `spec` of a claim.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClaimSpec {
    pub(crate) volume_name: Option<String>,
    pub(crate) storage_class_name: Option<String>,
    #[serde(default)]
    pub(crate) resources: ClaimResources,
}

/// `spec.resources` of a claim.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct ClaimResources {
    #[serde(default)]
    pub(crate) requests: Bytes,
}

/// The part of a list of resources that a volume has.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Bytes {
    pub(crate) storage: Option<Quantity>,
}

/// `status` of a claim.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClaimStatus {
    pub(crate) phase: Option<String>,
    #[serde(default)]
    pub(crate) capacity: Bytes,
    #[serde(default)]
    pub(crate) conditions: Vec<ClaimCondition>,
}

/// A condition of a claim: what a resize waits for.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct ClaimCondition {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) status: String,
    pub(crate) message: Option<String>,
}

/// Whose metadata is kept how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Labels and owner references too.
    Owners,
    /// The same, and which fields are ours because we applied them.
    Applied,
    /// Labels and those annotations that are Mainstay's own.
    Labels,
}

/// Drops from `meta` what nobody reads.
pub(crate) fn prune(meta: &mut ObjectMeta, keep: Keep) {
    meta.managed_fields = meta.managed_fields.take().filter(|_| keep == Keep::Applied).map(ours_compact);
    if let Some(finalizers) = &mut meta.finalizers {
        finalizers.retain(|finalizer| finalizer.starts_with(mainstay_crd::names::GROUP));
    }
    meta.generate_name = None;
    meta.self_link = None;
    if keep == Keep::Labels {
        meta.owner_references = None;
    }
    // What a pod says of its configuration is large, and read only from the history of templates.
    let ours = |key: &String| {
        key.starts_with(mainstay_crd::names::GROUP) && key != mainstay_crd::names::ANNOTATION_CONFIG
    };
    if let Some(labels) = &mut meta.labels {
        labels.retain(|key, _| ours(key));
    }
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|key, _| ours(key));
    }
}

/// Our own entry alone, as text: parsed it would take many times the room.
fn ours_compact(entries: Vec<ManagedFieldsEntry>) -> Vec<ManagedFieldsEntry> {
    let ours = entries.into_iter().filter(is_our_entry).map(|mut entry| {
        if let Some(fields) = entry.fields_v1.take() {
            let text = match fields.0 {
                Value::String(text) => text,
                parsed => parsed.to_string(),
            };
            entry.fields_v1 = Some(FieldsV1(Value::String(text)));
        }
        entry
    });
    ours.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_crd::names::{ANNOTATION_CONFIG, ANNOTATION_TEMPLATE_HASH, LABEL_CLUSTER};

    #[test]
    fn a_pod_is_read_without_what_it_has_not_yet() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "shop-0", "namespace": "db"},
            "spec": {"containers": [{"name": "mysql"}]},
            "status": {"phase": "Pending", "podIP": "10.0.0.1", "containerStatuses": [
                {"name": "mysql", "image": "mysql:9.7", "imageID": "", "ready": false, "restartCount": 0,
                 "state": {"waiting": {"reason": "PodInitializing"}}}]},
        }))
        .unwrap();
        assert_eq!(pod.spec.node_name, None);
        assert_eq!(pod.status.pod_ip.as_deref(), Some("10.0.0.1"));
        assert_eq!(pod.status.container_statuses.len(), 1);
    }

    #[test]
    fn only_what_is_read_stays_in_memory() {
        let mut meta: ObjectMeta = serde_json::from_value(serde_json::json!({
            "name": "shop-0", "uid": "u", "managedFields": [{"manager": "kubelet"}],
            "labels": {LABEL_CLUSTER: "shop", "team": "a"},
            "annotations": {ANNOTATION_TEMPLATE_HASH: "h", ANNOTATION_CONFIG: "{}", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "y"}],
        }))
        .unwrap();
        let mut with_owners = meta.clone();
        prune(&mut with_owners, Keep::Owners);
        prune(&mut meta, Keep::Labels);
        assert_eq!(with_owners.owner_references.unwrap().len(), 1);
        assert_eq!(meta.owner_references, None);
        assert_eq!(meta.managed_fields, None);
        assert_eq!(meta.labels.unwrap().into_keys().collect::<Vec<_>>(), [LABEL_CLUSTER]);
        assert_eq!(meta.annotations.unwrap().into_keys().collect::<Vec<_>>(), [ANNOTATION_TEMPLATE_HASH]);
    }
}
