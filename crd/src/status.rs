//! `status` of a `MySQLCluster`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ReplicationRecord;

/// What the operator observed, what it recorded, and what it is doing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MySQLClusterStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The cluster's state in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ClusterPhase>,
    /// Conditions by type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Instances that have a pod.
    pub replicas: i32,
    /// Instances that serve in their role.
    pub ready_replicas: i32,
    /// `READY/WANTED`, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// The label selector of the instances' pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The pod of the instance that serves writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// Version of the primary's server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Identity of the data, made once. It outlives this object: volumes and Secrets carry it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The record by which the operator may change who leads. See the documentation of the design.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication: Option<ReplicationRecord>,
    /// Which template of the pods is proven, and which is being tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateStatus>,
    /// What the instances' claims have: a size is set back, and a class named, by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageStatus>,
    /// One entry for each instance, by ordinal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub instances: Vec<InstanceStatus>,
    /// For the operator: in which state it has looked into the Secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretsStatus>,
}

/// What the instances' claims have, as far as they are bound to volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageStatus {
    /// The largest size that one of them asks for; absent while none is bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub largest: Option<String>,
    /// The storage class that all of them have; absent if they have none, or not the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub class: Option<String>,
}

/// In which state the cluster's Secrets were looked into: an operator that takes over need not read them again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretsStatus {
    /// When they are to be looked into again at the latest: a certificate is to be renewed then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_at: Option<Time>,
    /// By name: a digest of what was asked of it (no secret is in it), its UID, and its `resourceVersion`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<String, String>,
}

/// Templates of the pods, by what their annotation `mysql.mainstay.dev/template-hash` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateStatus {
    /// The last one of which a pod has served. Pods that die by themselves are made from it while another is tried.
    pub proven: String,
    /// The one that is being tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trying: Option<TryingTemplate>,
}

/// A template of which no pod has served yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TryingTemplate {
    /// Its hash.
    pub hash: String,
    /// The instance whose pod is the first to be made from it.
    pub ordinal: i32,
    /// That pod could not be made.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
}

/// The cluster's state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ClusterPhase {
    /// Objects are being made, nothing holds data yet.
    Incomplete,
    /// The first data directory is being initialised.
    Initializing,
    /// A primary serves; replicas are being cloned for the first time.
    Cloning,
    /// A primary serves and every replica follows in time.
    Healthy,
    /// A primary serves, but not all replicas follow in time.
    Degraded,
    /// No primary serves writes, but the recorded one can come back.
    Failed,
    /// The recorded primary's data is gone or can't be told: a person must decide.
    Lost,
}

/// What an instance is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum InstanceRole {
    /// Serves writes.
    Primary,
    /// Follows the primary.
    Replica,
}

/// An instance's state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum InstanceState {
    /// It has no running pod.
    Offline,
    /// Its pod runs, its agent has not been heard.
    Unknown,
    /// Its data directory waits for an order.
    Waiting,
    /// Its data directory is being initialised.
    Initializing,
    /// Its data directory is being cloned.
    Cloning,
    /// Its server is starting.
    Starting,
    /// Its server runs, but does not serve in its role yet.
    Joining,
    /// It serves in its role.
    Ready,
    /// It follows, but is behind or its replication has an error.
    Lagging,
    /// Its data may not be used; the message says why and what to do.
    Quarantined,
}

/// One instance: a server with its pod and its volume.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// The pod's name.
    pub name: String,
    /// The ordinal.
    pub ordinal: i32,
    /// The role, once it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<InstanceRole>,
    /// Whether it serves in its role.
    pub ready: bool,
    /// Its state in one word.
    pub state: InstanceState,
    /// Why it is not Ready, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The node that it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// The claim's UID.
    #[serde(rename = "claimUID", skip_serializing_if = "Option::is_none")]
    pub claim_uid: Option<String>,
    /// The volume bound to its claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The server's UUID.
    #[serde(rename = "serverUUID", skip_serializing_if = "Option::is_none")]
    pub server_uuid: Option<String>,
    /// The GTID set that it has executed, as last written here: at transitions and at most once a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gtid_executed: Option<String>,
    /// When `gtidExecuted` was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Time>,
    /// How far it is behind its source, in seconds; as last written here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<i64>,
    /// The clone under way, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clone: Option<CloneProgress>,
    /// What the instance was when it was last well. Not changed while `verdict` is bad: what comes back is held
    /// against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerEntry>,
    /// What was said of the data that came back with the last start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// What an instance was when it was last well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LedgerEntry {
    /// UID of its claim.
    #[serde(rename = "claimUID")]
    pub claim_uid: String,
    /// Name of its volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// UID of its volume.
    #[serde(rename = "volumeUID", skip_serializing_if = "Option::is_none")]
    pub volume_uid: Option<String>,
    /// What tells the volume's data from all others: kind of the volume and its handle, as in
    /// `csi:ebs.csi.aws.com/vol-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// The volume's storage class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The volume's reclaim policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaim_policy: Option<String>,
    /// The only nodes that can mount the volume, by host name; empty if others can too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pinned_to: Vec<String>,
    /// A VolumeAttachment said that the volume was attached to that node.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attached: bool,
    /// The node that it ran on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The operation that made the data directory.
    pub operation: String,
    /// The server's UUID.
    #[serde(rename = "serverUUID")]
    pub server_uuid: String,
    /// The GTID set that it had executed.
    pub gtid_executed: String,
    /// From which count that set is: `RESETS.ORDINAL.MILLISECONDS` of the last time that a server began to count its
    /// transactions anew; absent if none ever did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    /// When that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Time>,
}

/// What was said of the data that came back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// In one word.
    pub judgement: Judgement,
    /// What differs. What to do about it depends on how the cluster stands: the conditions and the instance's message
    /// say it.
    pub message: String,
    /// When it was said.
    pub at: Time,
    /// The pod that it is about.
    #[serde(rename = "podUID")]
    pub pod_uid: String,
    /// The start of the server in this pod that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
}

/// What came back, held against what left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum Judgement {
    /// The same volume with the same data: the only one that may serve or lead.
    SameVolume,
    /// Another volume, and nothing on it.
    NewVolumeEmpty,
    /// Data that is not this instance's.
    NewVolumeForeign,
    /// The same data, but less of it: the volume was set back.
    RolledBack,
    /// The same volume, but its data is gone.
    Wiped,
    /// An unfinished copy that nobody announced.
    Partial,
}

/// How far a clone is.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloneProgress {
    /// The pod of the donor.
    pub donor: String,
    /// Bytes received.
    pub bytes: i64,
    /// Bytes expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<i64>,
    /// Bytes a second, lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<i64>,
    /// Seconds until the expected bytes are here, at the rate of lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_seconds: Option<i64>,
    /// Tries that failed before this one.
    pub failures: i32,
    /// What the last failed try said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}
