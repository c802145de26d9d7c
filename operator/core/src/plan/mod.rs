//! What to do next: a chain of questions, in the order of their weight. The first that has something to do is
//! the plan's step.

mod advice;
mod announced;
mod aside;
mod bootstrap;
mod candidates;
mod deletion;
mod divergence;
mod evidence;
mod guards;
mod identity;
mod instances;
mod last_copy;
mod lead_from;
mod leaving;
mod nodes;
mod options;
mod outlook;
mod pending;
mod primary;
mod quarantine;
mod rebuild;
mod replicas;
mod retention;
mod rivals;
mod rollout;
mod scheduled;
mod storage;
mod switchover;
mod template;
#[cfg(test)]
mod tests;
mod threads;
mod view;
mod volumes;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use mainstay_crd::conditions::{Reason, Wanted};
use mainstay_crd::{
    Aside, ClusterPhase, InstanceStatus, LedgerEntry, ReplicationRecord, TemplateStatus, rules,
};
use mainstay_proto::{Action, Order, Report};
use serde::Serialize;

use crate::children::{self, Blueprint};
use crate::{Dispatched, Observation};
pub use deletion::protected;
pub use divergence::EARLIER;
pub use guards::{Safe, may_take_pod};
pub use template::Hold;
use template::Templates;
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
    /// The template that the StatefulSet is to hold.
    pub hold: Hold,
    /// `status.template`.
    pub template: Option<TemplateStatus>,
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
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
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
    /// Write on a claim what its instance holds as it leaves, or take that back.
    NoteClaim {
        /// The claim.
        claim: String,
        /// Its UID; another one is left alone.
        uid: String,
        /// The ordinal.
        ordinal: u32,
        /// The cluster id.
        cluster_id: String,
        /// What it holds; `None` takes a note back.
        note: Option<Note>,
    },
    /// See to it that a VolumeSnapshot of a claim is there and ready to use, and write its name on the claim then.
    SnapshotClaim {
        /// The claim.
        claim: String,
        /// Its UID; another one is left alone.
        uid: String,
        /// The snapshot's name, the same for the same claim.
        snapshot: String,
        /// The ordinal.
        ordinal: u32,
        /// The cluster id.
        cluster_id: String,
    },
    /// Delete the claim of an instance that the spec no longer asks for, after a fresh look agrees.
    DeleteClaim {
        /// The claim.
        claim: String,
        /// Its UID, as a precondition.
        uid: String,
        /// Its `metadata.resourceVersion`, as a precondition.
        resource_version: String,
        /// The ordinal, which must have no pod and must not be asked for.
        ordinal: u32,
        /// Why, and what becomes of the volume, for the event and the log.
        message: String,
    },
    /// Set a volume to `Retain` and write on it what it holds.
    KeepVolume {
        /// What is set aside.
        aside: Aside,
        /// The ordinal.
        ordinal: u32,
        /// The cluster id.
        cluster_id: String,
        /// The reclaim policy that it has, to be told.
        former_policy: Option<String>,
    },
    /// Delete an instance's claim whose volume was seen to be kept, and is seen again right before.
    ReleaseClaim {
        /// What is set aside.
        aside: Aside,
        /// The claim.
        claim: String,
    },
    /// Reserve a volume whose claim is gone for the claim that is to keep it.
    ReserveVolume {
        /// What is set aside.
        aside: Aside,
    },
    /// Make the claim that keeps a reserved volume.
    CreateAsideClaim {
        /// What is set aside.
        aside: Aside,
        /// The ordinal.
        ordinal: u32,
        /// The cluster id.
        cluster_id: String,
        /// The volume's storage class.
        class: Option<String>,
        /// The volume's size in bytes.
        capacity: u64,
        /// The volume's access modes.
        access_modes: Vec<String>,
    },
    /// Put these of Mainstay's finalizers on the object, and no other of Mainstay's.
    SetFinalizers {
        /// The finalizers.
        finalizers: Vec<String>,
    },
    /// Delete the StatefulSet, and with it the pods, of a cluster that is being deleted with its claims.
    DeleteStatefulSet {
        /// Its name.
        name: String,
    },
    /// Delete a claim of a cluster that is being deleted with its claims, after a fresh look agrees.
    DropClaim {
        /// The claim.
        claim: String,
        /// Its UID, as a precondition.
        uid: String,
        /// Its `metadata.resourceVersion`, as a precondition.
        resource_version: String,
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
    /// Do something to a volume, or for one.
    Storage {
        /// What.
        step: StorageStep,
        /// Why, for the event and the log.
        message: String,
    },
}

/// Everything that the operator may ever do to a volume, or for one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum StorageStep {
    /// Write labels and annotations on a volume, and keep it when its claim goes.
    MarkVolume {
        /// The volume.
        volume: String,
        /// Its UID, as a precondition.
        uid: String,
        /// Labels to be added.
        labels: BTreeMap<String, String>,
        /// Annotations to be added.
        annotations: BTreeMap<String, String>,
        /// Set its reclaim policy to `Retain`.
        retain: bool,
    },
    /// Reserve a Released volume for a claim.
    ReserveVolume {
        /// The volume.
        volume: String,
        /// Its UID, as a precondition.
        uid: String,
        /// Namespace of the claim.
        namespace: String,
        /// The claim, which may not exist yet.
        claim: String,
    },
    /// Ask for more room. A claim is never made smaller.
    GrowClaim {
        /// The claim.
        claim: String,
        /// Its UID; another one is left alone.
        uid: String,
        /// The size, as in `spec.storage.size`.
        size: String,
    },
    /// Delete a claim whose volume no node can mount. The volume is kept: its policy was read back before.
    DeleteStrandedClaim {
        /// The claim.
        claim: String,
        /// Its UID, as a precondition.
        uid: String,
    },
    /// Delete a pod at once, without asking its kubelet: its node is proven gone.
    ForceDeletePod {
        /// The pod.
        pod: String,
        /// Its UID, as a precondition.
        uid: String,
    },
    /// Set the taint `node.kubernetes.io/out-of-service`.
    TaintNode {
        /// The node.
        node: String,
        /// Its UID, as a precondition.
        uid: String,
    },
}

impl StorageStep {
    /// A bounded name, for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            StorageStep::MarkVolume { .. } => "MarkVolume",
            StorageStep::ReserveVolume { .. } => "ReserveVolume",
            StorageStep::GrowClaim { .. } => "GrowClaim",
            StorageStep::DeleteStrandedClaim { .. } => "DeleteStrandedClaim",
            StorageStep::ForceDeletePod { .. } => "ForceDeletePod",
            StorageStep::TaintNode { .. } => "TaintNode",
        }
    }

    /// It only writes down what is so.
    pub fn is_note(&self) -> bool {
        matches!(self, StorageStep::MarkVolume { retain: false, .. })
    }

    /// The reason that events and conditions give.
    pub fn reason(&self) -> Reason {
        match self {
            StorageStep::MarkVolume { .. } => Reason::AsExpected,
            StorageStep::ReserveVolume { .. } => Reason::GivingBack,
            StorageStep::GrowClaim { .. } => Reason::Growing,
            StorageStep::DeleteStrandedClaim { .. } => Reason::ReplacingVolume,
            StorageStep::ForceDeletePod { .. } | StorageStep::TaintNode { .. } => Reason::NodeGone,
        }
    }
}

/// What a claim is told of what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// GTIDs, executed and received.
    pub gtid_set: String,
    /// Since when it is kept without an instance.
    pub since: Timestamp,
    /// What its instance was: what comes back is held against it.
    pub ledger: Option<Box<LedgerEntry>>,
}

impl Step {
    /// A bounded name, for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Step::Record { .. } => "Record",
            Step::Order { .. } => "Order",
            Step::LabelClaim { .. } => "LabelClaim",
            Step::NoteClaim { .. } => "NoteClaim",
            Step::SnapshotClaim { .. } => "SnapshotClaim",
            Step::DeleteClaim { .. } => "DeleteClaim",
            Step::KeepVolume { .. } => "KeepVolume",
            Step::ReleaseClaim { .. } => "ReleaseClaim",
            Step::ReserveVolume { .. } => "ReserveVolume",
            Step::CreateAsideClaim { .. } => "CreateAsideClaim",
            Step::SetFinalizers { .. } => "SetFinalizers",
            Step::DeleteStatefulSet { .. } => "DeleteStatefulSet",
            Step::DropClaim { .. } => "DropClaim",
            Step::ReplacePod { .. } => "ReplacePod",
            Step::Storage { step, .. } => step.kind(),
        }
    }

    /// The pod that it takes, if it takes one.
    pub fn takes_pod(&self) -> Option<&str> {
        match self {
            Step::ReplacePod { pod, .. }
            | Step::Storage { step: StorageStep::ForceDeletePod { pod, .. }, .. } => Some(pod),
            _ => None,
        }
    }

    /// The volume that it sets to `Retain` without doing more, if that is what it does.
    pub fn keeps_volume(&self) -> Option<&str> {
        match self {
            Step::Storage { step: StorageStep::MarkVolume { volume, retain: true, .. }, .. } => Some(volume),
            _ => None,
        }
    }

    /// It only writes down what is so: nobody waits for it, and nothing changes by it.
    pub(crate) fn is_note(&self) -> bool {
        match self {
            Step::LabelClaim { .. } | Step::NoteClaim { .. } | Step::SetFinalizers { .. } => true,
            Step::Storage { step, .. } => step.is_note(),
            _ => false,
        }
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

/// What is decided, and, where something is done all the same, what a person must act on.
#[derive(Clone, Debug, Default)]
struct Decided {
    decision: Option<Decision>,
    blocked: Option<Decision>,
}

impl From<Decision> for Decided {
    fn from(decision: Decision) -> Self {
        let blocked = Some(decision.clone()).filter(|d| matches!(d, Decision::Blocked(..)));
        Decided { decision: Some(decision), blocked }
    }
}

/// The questions in their order: the answer that keeps all later ones back, else all that remain, weighed.
fn decide(view: &View<'_>) -> Decided {
    let cluster = &view.o.cluster;
    if cluster.deleting && !deletion::protected(view.o) {
        return deletion::tear_down(view).into();
    }
    if let Some(decision) = announced::under_way(view) {
        return decision.into();
    }
    // A spec that is wrong is no reason to lose a copy.
    if !cluster.spec.paused
        && let Some(decision) = last_copy::keep(view)
    {
        return decision.into();
    }
    if let Some(held) = held(view) {
        return held_back(view, held);
    }
    // Before anything of it is made.
    if let Some(decision) = rivals::decide(view) {
        return decision.into();
    }
    if let Some(decision) = deletion::finalizers(view) {
        return decision.into();
    }
    if let Some(decision) = identity::decide(view) {
        return decision.into();
    }
    let hash = template_hash(view);
    let templates = Templates::of(view, &hash);
    if let Some(decision) = rollout::replace_broken(view, &templates) {
        return decision.into();
    }
    if let Some(decision) = bootstrap::decide(view) {
        // What a person gives back comes before anything is begun anew.
        return weigh([volumes::give_back(view), volumes::grow(view), Some(decision)]);
    }
    if let Some(decision) = primary::record_is_current(view) {
        return decision.into();
    }
    if let Some(decision) = lead_from::decide(view) {
        return decision.into();
    }
    let decisions = [
        quarantine::decide(view),
        replicas::label_claims(view),
        volumes::give_back(view),
        options::of_primary(view),
        primary::decide(view),
        candidates::decide(view),
        volumes::replace_stranded(view),
        leaving::decide(view),
        aside::decide(view),
        leaving::forget_notes(view),
        replicas::decide(view),
        nodes::taint(view),
        // What a class or a missing right may refuse comes late: it is tried again and again, and keeps back only
        // what stands behind it.
        volumes::grow(view),
        rollout::roll(view, &templates),
        retention::decide(view),
        volumes::mark(view),
    ];
    weigh(decisions)
}

/// What in the spec keeps anything from being begun.
fn held(view: &View<'_>) -> Option<Decision> {
    if view.o.cluster.spec.paused {
        return Some(Decision::Wait(Reason::Paused, PAUSED.into()));
    }
    invalid(view).map(|message| Decision::Blocked(Reason::InvalidSpec, message))
}

/// Only who the record says leads or follows does so. That the primary's data is lost is said all the same.
fn held_back(view: &View<'_>, held: Decision) -> Decided {
    let first = match view.o.cluster.spec.paused {
        true => "First take spec.paused back",
        false => "First mend the spec, as SpecValid says",
    };
    let lost = match primary::decide(view) {
        Some(Decision::Blocked(reason, message)) if LOST.contains(&reason) => {
            Some(Decision::Blocked(reason, format!("{message}. {first}: until then nothing is done")))
        }
        _ => None,
    };
    let held_blocks = Some(held.clone()).filter(|held| matches!(held, Decision::Blocked(..)));
    Decided { decision: Some(announced::roles(view, held)), blocked: lost.or(held_blocks) }
}

/// Nobody serves, and the primary's data will not come back by itself.
const LOST: [Reason; 3] = [Reason::PrimaryDataLost, Reason::RolledBack, Reason::ForeignVolume];

/// What is said of a cluster that is paused.
const PAUSED: &str =
    "spec.paused is set: nothing is changed, but who the record says leads or follows does so";

/// The first rule that the spec breaks.
fn invalid(view: &View<'_>) -> Option<String> {
    let broken = rules::validate(&view.o.cluster.spec);
    broken.first().map(|violation| format!("{}: {}", violation.field, violation.message))
}

/// What can be done is done, even if a weightier question waits or is blocked; what is said is the weightiest.
fn weigh<const N: usize>(decisions: [Option<Decision>; N]) -> Decided {
    let decisions: Vec<Decision> = decisions.into_iter().flatten().collect();
    let doing = decisions.iter().find(|d| matches!(d, Decision::Do(_)));
    let blocked = decisions.iter().find(|d| matches!(d, Decision::Blocked(..)));
    Decided { decision: doing.or(blocked).or(decisions.first()).cloned(), blocked: blocked.cloned() }
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

/// A step that sends an order to the instance that `report` came from, under the record's epoch and revision. One that is
/// on its way already is waited for, and keeps nothing else back.
fn send(view: &View<'_>, report: &Report, action: Action, message: String) -> Decision {
    let (fence, ordinal) = (view.fence(), report.identity.ordinal);
    let order = Order {
        proto: mainstay_proto::VERSION,
        cluster_id: view.cluster_id.unwrap_or_default().into(),
        disabled_events: scheduled::disabled(view, ordinal, &action),
        pod_uid: report.identity.pod_uid.clone(),
        ordinal,
        epoch: fence.epoch,
        revision: fence.revision,
        action,
    };
    let given = view.instance(ordinal).and_then(|instance| instance.dispatched.as_ref());
    match given.filter(|given| given.holds_back(&order)) {
        Some(given) => on_its_way(view, given, &order),
        None => Decision::Do(Step::Order { ordinal, order, message }),
    }
}

fn on_its_way(view: &View<'_>, given: &Dispatched, order: &Order) -> Decision {
    let (reason, message) = match given.trouble() {
        Some(why) => {
            let pod = view.names.pod(order.ordinal);
            (Reason::OrderFailed, format!("ordering {pod} to {}: {why}", order.action.kind()))
        }
        None => outlook::ordering(view, order.ordinal, &order.action),
    };
    Decision::Wait(reason, message)
}
