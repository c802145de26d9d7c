//! What to do next.

use mainstay_crd::conditions::{Reason, Wanted};
use mainstay_crd::{ClusterPhase, InstanceStatus, ReplicationRecord};
use mainstay_proto::Order;
use serde::Serialize;

/// The outcome of planning.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The cluster's state in one word.
    pub phase: ClusterPhase,
    /// Cluster id to be used for the children; none while it can't be told, then no child may be applied.
    pub cluster_id: Option<String>,
    /// Number of pods that the StatefulSet is to have; at least as many as hold data that must stay.
    pub stateful_set_replicas: u32,
    /// Role labels that pods are to have: `None` is none. Applied before the step, demotions first.
    pub roles: Vec<(u32, Option<&'static str>)>,
    /// The one thing to do.
    pub step: Option<Step>,
    /// Conditions.
    pub conditions: Vec<Wanted>,
    /// `status.instances`.
    pub instances: Vec<InstanceStatus>,
    /// The pod that serves writes.
    pub primary: Option<String>,
    /// Version of the primary's server.
    pub version: Option<String>,
    /// Instances that serve in their role.
    pub ready: u32,
}

/// Everything that the operator may ever do to MySQL, a pod, a claim or the record.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Step {
    /// Write the record: an intention before it is carried out, or the outcome after. Carries `resourceVersion`.
    Record {
        /// The cluster id.
        cluster_id: String,
        /// The record as it is to be.
        record: ReplicationRecord,
        /// Why, for the event and the log.
        reason: Reason,
        /// The same, for people.
        message: String,
    },
    /// Send an order to an instance's agent.
    Order {
        /// The instance.
        ordinal: u32,
        /// The order.
        order: Order,
        /// Why, for the log.
        message: String,
    },
    /// Say on a claim that its directory holds this cluster's data.
    LabelClaim {
        /// The claim.
        claim: String,
        /// Its UID; another one is left alone.
        uid: String,
        /// The ordinal.
        ordinal: u32,
        /// The cluster id.
        cluster_id: String,
    },
    /// Delete a pod, so that the StatefulSet makes it anew.
    ReplacePod {
        /// The pod.
        pod: String,
        /// Its UID, as a precondition.
        uid: String,
        /// Why, for the event and the log.
        message: String,
    },
}

impl Step {
    /// A bounded name, for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Step::Record { .. } => "Record",
            Step::Order { .. } => "Order",
            Step::LabelClaim { .. } => "LabelClaim",
            Step::ReplacePod { .. } => "ReplacePod",
        }
    }
}
