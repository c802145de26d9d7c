//! The objects as far as they are read from the API server's answers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::storage::v1 as storage;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

/// A persistent volume.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = core::PersistentVolume)]
pub(super) struct Volume {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: VolumeSpec,
    #[serde(default)]
    pub(super) status: VolumeStatus,
}

/// `spec` of a volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct VolumeSpec {
    pub(super) storage_class_name: Option<String>,
    pub(super) persistent_volume_reclaim_policy: Option<String>,
    pub(super) access_modes: Vec<String>,
    pub(super) capacity: BTreeMap<String, Quantity>,
    pub(super) claim_ref: Option<ClaimRef>,
    pub(super) csi: Option<Csi>,
    pub(super) nfs: Option<Nfs>,
    pub(super) local: Option<Path>,
    pub(super) host_path: Option<Path>,
    pub(super) node_affinity: Option<core::VolumeNodeAffinity>,
}

/// `status` of a volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct VolumeStatus {
    pub(super) phase: Option<String>,
}

/// The claim that a volume is bound to or reserved for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClaimRef {
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) uid: Option<String>,
}

/// A CSI driver's volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Csi {
    pub(super) driver: String,
    pub(super) volume_handle: String,
}

/// An NFS export.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Nfs {
    pub(super) server: String,
    pub(super) path: String,
}

/// A directory of a node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Path {
    pub(super) path: String,
}

/// A node.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = core::Node)]
pub(super) struct Node {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: NodeSpec,
    #[serde(default)]
    pub(super) status: NodeStatus,
}

/// `spec` of a node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeSpec {
    pub(super) unschedulable: bool,
    pub(super) taints: Vec<Taint>,
}

/// A taint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Taint {
    pub(super) key: String,
}

/// `status` of a node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NodeStatus {
    pub(super) conditions: Vec<NodeCondition>,
}

/// A condition of a node, without its heartbeat.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NodeCondition {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) status: String,
    pub(super) last_transition_time: Option<Timestamp>,
}

/// A storage class.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = storage::StorageClass)]
#[serde(rename_all = "camelCase")]
pub(super) struct Class {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) provisioner: String,
    #[serde(default)]
    pub(super) allow_volume_expansion: bool,
    #[serde(default)]
    pub(super) volume_binding_mode: Option<String>,
}

/// A volume attached, or being attached, to a node.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = storage::VolumeAttachment)]
pub(super) struct Attachment {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: AttachmentSpec,
}

/// `spec` of an attachment.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AttachmentSpec {
    pub(super) node_name: String,
    pub(super) source: AttachmentSource,
}

/// What is attached.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AttachmentSource {
    pub(super) persistent_volume_name: Option<String>,
}
