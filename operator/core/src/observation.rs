//! What was observed: plain data that can be printed, and read back for a replay.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use mainstay_crd::{MySQLClusterSpec, MySQLClusterStatus};
use mainstay_proto::Report;
use serde::{Deserialize, Serialize};

use crate::Dispatched;
use crate::children::FixedFields;

/// Everything that the next step may depend on.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// When it was put together.
    pub now: Timestamp,
    /// How long each of [`crate::moments::of`] has been so, by the operator's own clock; nothing of what it sees for the
    /// first time.
    #[serde(default)]
    pub seen_for: BTreeMap<String, SignedDuration>,
    /// The object.
    pub cluster: ClusterObject,
    /// A fresh id, to be used should the plan need one.
    pub fresh_id: String,
    /// The cluster id that the Secrets carry, if they exist.
    pub secrets_cluster_id: Option<String>,
    /// Instances by ordinal: every ordinal below `spec.replicas`, and any beyond that has a pod or a claim.
    pub instances: BTreeMap<u32, Instance>,
    /// The StatefulSet as the API server holds it, if there is one.
    #[serde(default)]
    pub stateful_set: Option<StatefulSetSeen>,
    /// The latest event that says why it can't make a pod that is missing: `FailedCreate: …`.
    #[serde(default)]
    pub pods_refused: Option<String>,
    /// Claims that keep volumes which were set aside, by name.
    #[serde(default)]
    pub aside: BTreeMap<String, Claim>,
    /// Clusters whose children would have names of this one's, while it has no id yet.
    #[serde(default)]
    pub rivals: Vec<Rival>,
    /// Passwords in the cluster's Secret that no instance can take up, when it was last looked into.
    #[serde(default)]
    pub unfit: Vec<UnfitPassword>,
    /// What is known of storage and nodes.
    #[serde(default)]
    pub surroundings: Surroundings,
}

impl Observation {
    /// The claims of instances, of those that are scaled away too, that have or had a volume.
    pub(crate) fn bound_claims(&self) -> impl Iterator<Item = &Claim> {
        let claims = self.instances.values().filter_map(|instance| instance.claim.as_ref());
        claims.filter(|claim| claim.volume.is_some())
    }

    /// The most bytes that one of them asks for. What it has may be more, as its provisioner rounded it or a person made it:
    /// a size of less than that shrinks nothing.
    pub(crate) fn largest_request(&self) -> Option<u64> {
        self.bound_claims().filter_map(|claim| claim.requested).max()
    }
}

/// A password that no instance can take up. The password itself is not here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnfitPassword {
    /// Its key in the Secret.
    pub key: String,
    /// What is wrong with it, in words that follow the key.
    pub why: String,
}

/// What matters of the StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetSeen {
    /// The hash of the template that it holds, which was written together with it; `None` if an older operator wrote it.
    pub template_hash: Option<String>,
    /// Its UID.
    pub uid: String,
    /// What of it can't be changed, once the API server has refused to.
    pub refused: Option<FixedFields>,
}

/// A cluster that would have a child of another's name.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rival {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// It has a cluster id, so it may have children.
    pub begun: bool,
    /// The child that both would have: `Service shop-read`.
    pub object: String,
}

/// What matters of the `MySQLCluster` object.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterObject {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID of the object, which is not the identity of its data.
    pub uid: String,
    /// Generation of the spec.
    pub generation: i64,
    /// When it was made.
    #[serde(default)]
    pub created: Option<Timestamp>,
    /// It is being deleted.
    pub deleting: bool,
    /// Mainstay's own annotations, by full key.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Mainstay's own finalizers.
    #[serde(default)]
    pub finalizers: Vec<String>,
    /// The spec.
    pub spec: MySQLClusterSpec,
    /// The status as last written, with the record in it.
    pub status: MySQLClusterStatus,
}

/// One ordinal.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Instance {
    /// Its pod, if there is one.
    pub pod: Option<Pod>,
    /// Its claim, if there is one.
    pub claim: Option<Claim>,
    /// What its agent says.
    pub agent: Agent,
    /// What it held a while ago: whoever is heard now has read his own later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Heard>,
    /// The order that was handed over last for its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispatched: Option<Dispatched>,
}

/// GTID sets that an agent reported.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Heard {
    /// When they arrived, by the operator's clock.
    pub at: Timestamp,
    /// Executed.
    pub gtid_executed: String,
    /// Received.
    pub gtid_received: String,
    /// Purged.
    pub gtid_purged: String,
}

/// What matters of a pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// UID.
    pub uid: String,
    /// It is being deleted.
    pub deleting: bool,
    /// The node that it was bound to.
    pub node: Option<String>,
    /// The Ready condition.
    pub ready: bool,
    /// All init containers ended well and the `mysql` container runs.
    pub started: bool,
    /// The role label that it has.
    pub role: Option<String>,
    /// The hash of the template that it was made from.
    pub template_hash: Option<String>,
    /// Why it is not running, in Kubernetes' words: `ImagePullBackOff: …`, `Unschedulable: …`.
    pub trouble: Option<String>,
    /// The latest event about a volume that can't be mounted or attached, while none of its containers has run:
    /// `FailedMount: …`.
    pub warning: Option<String>,
}

/// What matters of a claim.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Claim {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// It is being deleted.
    pub deleting: bool,
    /// The volume that it is bound to.
    pub volume: Option<String>,
    /// Phase: `Pending`, `Bound` or `Lost`.
    pub phase: Option<String>,
    /// The cluster id that the operator labelled it with once its directory was complete.
    pub cluster_id: Option<String>,
    /// `metadata.resourceVersion`, for a precondition.
    pub resource_version: Option<String>,
    /// Storage class asked for; `None` if the claim names none.
    pub class: Option<String>,
    /// Bytes asked for.
    pub requested: Option<u64>,
    /// Bytes that it has, once bound.
    pub capacity: Option<u64>,
    /// Mainstay's own annotations, by full key.
    pub annotations: BTreeMap<String, String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// What a resize of it waits for: the type of its condition (`Resizing`, `FileSystemResizePending`,
    /// `ControllerResizeError`…), with its message.
    pub resizing: Option<String>,
    /// The latest event that says why it is not bound, or not resized, while it is: `ProvisioningFailed: …`.
    pub warning: Option<String>,
}

/// What is known from an instance's agent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum Agent {
    /// Nothing was heard from the pod that exists now.
    #[default]
    Unheard,
    /// Its stream is open; this is its last word.
    Live {
        /// The report.
        report: Box<Report>,
        /// When it arrived, by the operator's clock.
        #[serde(default)]
        heard_at: Timestamp,
    },
    /// Its stream broke; this was its last word.
    Broken {
        /// The report.
        report: Box<Report>,
        /// Since when.
        since: Timestamp,
        /// The error.
        error: String,
    },
}

impl Agent {
    /// The report of an open stream.
    pub fn live(&self) -> Option<&Report> {
        match self {
            Agent::Live { report, .. } => Some(report),
            _ => None,
        }
    }
    /// The last report, even if the stream is broken.
    pub fn last(&self) -> Option<&Report> {
        match self {
            Agent::Live { report, .. } | Agent::Broken { report, .. } => Some(report),
            Agent::Unheard => None,
        }
    }
}

/// Storage and nodes, as far as they concern the cluster.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Surroundings {
    /// The operator may read volumes, nodes, classes and attachments, and has read them. If not, what is missing
    /// here proves nothing.
    pub known: bool,
    /// Kinds of objects that the operator may not read: what `known` lacks.
    pub unseen: Vec<String>,
    /// Volumes by name: bound to or reserved for a claim of this cluster, named by its ledger, or labelled as its;
    /// and, while a claim waits for one, some of those that are free.
    pub volumes: BTreeMap<String, Volume>,
    /// Volumes that the API server did not let be kept, by name, with its words. They are tried again after a while.
    pub refused: BTreeMap<String, String>,
    /// Nodes by name: of its pods, its ledger, and its volumes' affinity. One that is not here does not exist.
    pub nodes: BTreeMap<String, Node>,
    /// Storage classes by name: of its claims and volumes, and the default.
    pub classes: BTreeMap<String, Class>,
}

/// What matters of a storage class.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Class {
    /// Who makes its volumes; `kubernetes.io/no-provisioner` if people do.
    pub provisioner: String,
    /// Its claims may grow.
    pub expandable: bool,
    /// A claim is bound only once a pod that uses it is scheduled.
    pub waits_for_consumer: bool,
    /// Claims that name no class get it.
    pub default: bool,
}

/// What matters of a volume.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// It is being deleted.
    pub deleting: bool,
    /// `Available`, `Bound`, `Released` or `Failed`.
    pub phase: Option<String>,
    /// Name of its storage class.
    pub class: Option<String>,
    /// `Retain`, `Delete` or `Recycle`.
    pub reclaim_policy: Option<String>,
    /// Where its data is: `csi`, `nfs`, `local`, `hostPath`; `other` if it is none of these.
    pub source: Option<String>,
    /// What tells it from others of its source: a CSI volume handle, a server and path, a path.
    pub handle: Option<String>,
    /// Namespace and name of the claim that it is bound to or reserved for.
    pub claim: Option<(String, String)>,
    /// UID of that claim; a reservation has none.
    pub claim_uid: Option<String>,
    /// The only nodes that can mount it, where its affinity names them by host name; `None` if any can, or if its
    /// affinity is by anything else.
    pub hosts: Option<Vec<String>>,
    /// Access modes, as Kubernetes writes them.
    pub access_modes: Vec<String>,
    /// Bytes.
    pub capacity: Option<u64>,
    /// The nodes that it is attached to, or being attached to, if it is of a kind that is attached.
    pub attached_to: Vec<String>,
    /// Mainstay's own labels; all of them while no claim has it.
    pub labels: BTreeMap<String, String>,
    /// Mainstay's own annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What matters of a node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// UID.
    pub uid: String,
    /// Its label `kubernetes.io/hostname`, by which local volumes name it; mostly its name.
    pub host: Option<String>,
    /// The Ready condition: `True`, `False`, or `Unknown` when the node has gone silent.
    pub ready: Option<String>,
    /// Since when the Ready condition says so.
    pub ready_since: Option<Timestamp>,
    /// It has the taint `node.kubernetes.io/out-of-service`: an administrator vouches that nothing runs on it.
    pub out_of_service: bool,
    /// It takes no new pods.
    pub cordoned: bool,
    /// The taint by which it is being drained, of those that the operator was told.
    pub draining: Option<String>,
    /// Since when, by the operator's own clock, its Lease is as it is; read only while [`crate::on_demand::lease`] asks
    /// for it, and `None` while it can't be read.
    pub lease_unrenewed_since: Option<Timestamp>,
    /// The value of the annotation that `spec.nodeLoss.whenProven` names; read only while the node is not Ready.
    pub proof: Option<String>,
}
