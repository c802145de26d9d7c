//! What to do next: a chain of questions, in the order of their weight. The first that has something to do is
//! the plan's step.

mod bootstrap;
mod candidates;
mod identity;
mod instances;
mod outlook;
mod primary;
mod replicas;
mod rollout;
mod switchover;
#[cfg(test)]
mod tests;
mod view;

use jiff::SignedDuration;
use mainstay_crd::conditions::{Reason, Wanted};
use mainstay_crd::{ClusterPhase, InstanceStatus, ReplicationRecord, rules};
use mainstay_proto::{Action, Order, Report};
use serde::Serialize;

use crate::Observation;
use crate::children::{self, Blueprint};
use view::View;

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
    /// When to look again at the latest, because time alone will change what is to be done.
    pub look_again: Option<SignedDuration>,
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

    /// It only writes down what is so: nobody waits for it, and nothing changes by it.
    pub(crate) fn is_note(&self) -> bool {
        matches!(self, Step::LabelClaim { .. })
    }
}

/// What one question comes to.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there are a handful at a time")]
enum Decision {
    /// Something is to be done.
    Do(Step),
    /// It goes on by itself.
    Wait(Reason, String),
    /// A person must act.
    Blocked(Reason, String),
}

/// Decides what to do next.
pub fn plan(observation: &Observation) -> Plan {
    let view = View::of(observation);
    let decision = decide(&view);
    outlook::of(&view, decision)
}

fn decide(view: &View<'_>) -> Option<Decision> {
    let cluster = &view.o.cluster;
    if cluster.deleting {
        return Some(Decision::Wait(
            Reason::Deleting,
            "the cluster is being deleted; its claims are kept".into(),
        ));
    }
    if cluster.spec.paused {
        return Some(Decision::Wait(Reason::Paused, "spec.paused is set: nothing is changed".into()));
    }
    if let Some(violation) = rules::validate(&cluster.spec).first() {
        let message = format!("{}: {}", violation.field, violation.message);
        return Some(Decision::Blocked(Reason::InvalidSpec, message));
    }
    if let Some(decision) = identity::decide(view) {
        return Some(decision);
    }
    let hash = template_hash(view);
    if let Some(decision) = hand_over(view) {
        return Some(decision);
    }
    if let Some(decision) = rollout::replace_broken(view, &hash) {
        return Some(decision);
    }
    if let Some(decision) = bootstrap::decide(view) {
        return Some(decision);
    }
    if let Some(decision) = primary::record_is_current(view) {
        return Some(decision);
    }
    let decisions = [
        replicas::label_claims(view),
        primary::decide(view),
        candidates::decide(view),
        replicas::decide(view),
        rollout::roll(view, &hash),
    ];
    weigh(decisions)
}

/// A switchover that the record announces goes before all else: nobody can write until it ends.
fn hand_over(view: &View<'_>) -> Option<Decision> {
    view.target()?;
    primary::record_is_current(view).or_else(|| switchover::under_way(view))
}

/// What can be done is done, even if a weightier question waits or is blocked; what is said is the weightiest.
fn weigh<const N: usize>(decisions: [Option<Decision>; N]) -> Option<Decision> {
    let decisions: Vec<Decision> = decisions.into_iter().flatten().collect();
    let doing = decisions.iter().find(|d| matches!(d, Decision::Do(_)));
    let blocked = decisions.iter().find(|d| matches!(d, Decision::Blocked(..)));
    doing.or(blocked).or(decisions.first()).cloned()
}

fn template_hash(view: &View<'_>) -> String {
    let cluster = &view.o.cluster;
    children::template_hash(&Blueprint {
        namespace: &cluster.namespace,
        name: &cluster.name,
        uid: &cluster.uid,
        cluster_id: view.cluster_id.unwrap_or_default(),
        spec: &cluster.spec,
        replicas: view.stateful_set_replicas(),
        sees_drains: false,
        agent_image: "",
    })
}

/// A step that writes the record.
fn record(view: &View<'_>, record: ReplicationRecord, reason: Reason, message: String) -> Decision {
    let cluster_id = view.cluster_id.unwrap_or_default().into();
    Decision::Do(Step::Record { cluster_id, record, reason, message })
}

/// A step that sends an order to the instance that `report` came from, under the record's epoch and revision.
fn send(view: &View<'_>, report: &Report, action: Action, message: String) -> Decision {
    let fence = view.fence();
    Decision::Do(Step::Order {
        ordinal: report.identity.ordinal,
        order: Order {
            proto: mainstay_proto::VERSION,
            cluster_id: view.cluster_id.unwrap_or_default().into(),
            pod_uid: report.identity.pod_uid.clone(),
            ordinal: report.identity.ordinal,
            epoch: fence.epoch,
            revision: fence.revision,
            action,
        },
        message,
    })
}
