//! What was observed: plain data that can be printed, and read back for a replay.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mainstay_crd::{MySQLClusterSpec, MySQLClusterStatus};
use mainstay_proto::Report;
use serde::{Deserialize, Serialize};

/// Everything that the next step may depend on.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// When it was put together.
    pub now: Timestamp,
    /// The object.
    pub cluster: ClusterObject,
    /// A fresh id, to be used should the plan need one.
    pub fresh_id: String,
    /// The cluster id that the Secrets carry, if they exist.
    pub secrets_cluster_id: Option<String>,
    /// Instances by ordinal: every ordinal below `spec.replicas`, and any beyond that has a pod or a claim.
    pub instances: BTreeMap<u32, Instance>,
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
    /// It is being deleted.
    pub deleting: bool,
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
    /// Its address.
    pub ip: Option<String>,
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
            Agent::Live { report } => Some(report),
            _ => None,
        }
    }
    /// The last report, even if the stream is broken.
    pub fn last(&self) -> Option<&Report> {
        match self {
            Agent::Live { report } | Agent::Broken { report, .. } => Some(report),
            Agent::Unheard => None,
        }
    }
}
