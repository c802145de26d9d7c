//! Everything that the operator may ever do to MySQL, a pod, a claim, a volume, a node, its object or its own record,
//! grouped by what it is done to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mainstay_crd::conditions::Reason;
use mainstay_crd::{Aside, LedgerEntry};
use mainstay_proto::Order;
use serde::Serialize;

use crate::Record;

/// One step. Names come with UIDs as preconditions: another object of the name is left alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "on", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Step {
    /// Write the record: an intention before it is carried out, or the outcome after. Carries `resourceVersion`.
    Record {
        /// The cluster id.
        cluster_id: String,
        /// The record as it is to be.
        record: Record,
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
    /// Have an instance's agent look at MySQL now and report. It changes nothing.
    AskReport {
        /// The instance.
        ordinal: u32,
        /// UID of its pod.
        pod_uid: String,
        /// What it is part of, for conditions.
        reason: Reason,
        /// Why, for conditions.
        message: String,
    },
    /// Take a pod.
    Pod {
        /// Its name.
        pod: String,
        /// Its UID.
        uid: String,
        /// How.
        step: PodStep,
        /// Why, for the event and the log.
        message: String,
    },
    /// Do something to a claim.
    Claim {
        /// Its name.
        claim: String,
        /// Its UID.
        uid: String,
        /// What.
        step: ClaimStep,
        /// What it is part of, for conditions.
        reason: Reason,
        /// Why, for the event and the log.
        message: String,
    },
    /// Do something to a volume.
    Volume {
        /// Its name.
        volume: String,
        /// Its UID.
        uid: String,
        /// What.
        step: VolumeStep,
        /// What it is part of, for conditions.
        reason: Reason,
        /// Why, for the event and the log.
        message: String,
    },
    /// Do something to a node.
    Node {
        /// Its name.
        node: String,
        /// Its UID.
        uid: String,
        /// What.
        step: NodeStep,
        /// Why, for the event and the log.
        message: String,
    },
    /// Do something to the object, or to what is its alone.
    Object(ObjectStep),
}

/// How a pod is taken. Guarded by [`crate::may_take_pod`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PodStep {
    /// It is deleted, so that the StatefulSet makes it anew.
    Replace,
    /// It is deleted at once, without asking its kubelet: its node is proven gone.
    ForceDelete,
}

/// What is done to a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum ClaimStep {
    /// Say on it that its directory holds this cluster's data.
    Label {
        /// The ordinal.
        ordinal: u32,
        /// The cluster id.
        cluster_id: String,
    },
    /// Write on it what its instance holds as it leaves, or take that back.
    Note {
        /// The ordinal.
        ordinal: u32,
        /// The cluster id.
        cluster_id: String,
        /// What it holds; `None` takes a note back.
        note: Option<LeaveNote>,
    },
    /// See to it that a VolumeSnapshot of it is there and ready to use, and write its name on it then.
    Snapshot {
        /// The ordinal.
        ordinal: u32,
        /// The cluster id.
        cluster_id: String,
        /// The snapshot's name, the same for the same claim.
        snapshot: String,
    },
    /// Ask for more room. A claim is never made smaller.
    Grow {
        /// The size, as in `spec.storage.size`.
        size: String,
    },
    /// Delete it, after a fresh look agrees that it may go.
    Delete {
        /// Why it may go.
        unneeded: Unneeded,
        /// Its `metadata.resourceVersion`, as a precondition.
        resource_version: Option<String>,
    },
}

/// Why a claim may be deleted: what a fresh look must agree to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr, strum::VariantNames)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Unneeded {
    /// The spec no longer asks for its instance, and lets it go: [`crate::Object::may_delete_unused`]. It has no pod.
    Unused {
        /// The ordinal.
        ordinal: u32,
    },
    /// Its volume is `Retain` and bound to it still ([`crate::is_kept`]), so that nothing on it goes.
    VolumeKept {
        /// The volume.
        volume: String,
    },
    /// The cluster is being deleted with its claims: [`crate::Object::takes_its_claims`]. Nothing makes pods any more.
    WithCluster,
}

/// What a claim is told of what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaveNote {
    /// GTIDs, executed and received.
    pub gtid_set: String,
    /// Since when it is kept without an instance.
    pub since: Timestamp,
    /// UID of the pod that it leaves with.
    pub pod_uid: String,
    /// What its instance was: what comes back is held against it.
    pub ledger: Option<Box<LedgerEntry>>,
}

/// What is done to a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum VolumeStep {
    /// Write labels on it.
    Mark {
        /// Labels to be added.
        labels: BTreeMap<String, String>,
    },
    /// Set it to `Retain`, so that it stays when its claim goes, and say on it what it is. Not if another claim has it
    /// by now.
    Keep {
        /// UID of the claim that has it.
        claim_uid: String,
        /// Labels to be added.
        labels: BTreeMap<String, String>,
        /// Annotations to be added.
        annotations: BTreeMap<String, String>,
    },
    /// Reserve it for a claim that may not exist yet, once the one that had it is gone.
    Reserve {
        /// UID of the claim that it says it is bound to, as it was seen; another has taken it since if it differs.
        claim_uid: Option<String>,
        /// The claim.
        claim: String,
    },
    /// Make the claim that keeps it: it is reserved for that.
    ClaimAside {
        /// What is set aside.
        aside: Aside,
        /// The ordinal.
        ordinal: u32,
        /// The cluster id.
        cluster_id: String,
        /// Its storage class.
        class: Option<String>,
        /// Its size in bytes.
        capacity: u64,
        /// Its access modes.
        access_modes: Vec<String>,
    },
}

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum NodeStep {
    /// Set the taint `node.kubernetes.io/out-of-service`.
    TaintOutOfService,
}

/// What is done to the object, or to what is its alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum ObjectStep {
    /// Put these of Mainstay's finalizers on it, and no other of Mainstay's.
    SetFinalizers {
        /// The finalizers.
        finalizers: Vec<String>,
    },
    /// Delete the StatefulSet, without its pods: the one that is made in its place takes them up, and its claims may be of
    /// another size or class, which can't be changed ([`crate::children::FixedFields`]).
    ReplaceStatefulSet {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// Why, for the log and conditions.
        message: String,
    },
    /// Delete the StatefulSet, and with it the pods, of a cluster that is being deleted with its claims
    /// ([`crate::Object::takes_its_claims`]).
    DeleteStatefulSet {
        /// Its name.
        name: String,
    },
}

/// The name of each step. `docs/design.md` tells of each what guards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
pub(crate) enum StepKind {
    Record,
    Order,
    AskReport,
    ReplacePod,
    ForceDeletePod,
    LabelClaim,
    NoteClaim,
    SnapshotClaim,
    GrowClaim,
    DeleteClaim,
    MarkVolume,
    KeepVolume,
    ReserveVolume,
    CreateAsideClaim,
    TaintNode,
    SetFinalizers,
    ReplaceStatefulSet,
    DeleteStatefulSet,
}

impl Step {
    /// A bounded name, for logs and metrics.
    pub fn kind(&self) -> &'static str {
        self.step_kind().into()
    }

    fn step_kind(&self) -> StepKind {
        match self {
            Step::Record { .. } => StepKind::Record,
            Step::Order { .. } => StepKind::Order,
            Step::AskReport { .. } => StepKind::AskReport,
            Step::Pod { step, .. } => match step {
                PodStep::Replace => StepKind::ReplacePod,
                PodStep::ForceDelete => StepKind::ForceDeletePod,
            },
            Step::Claim { step, .. } => match step {
                ClaimStep::Label { .. } => StepKind::LabelClaim,
                ClaimStep::Note { .. } => StepKind::NoteClaim,
                ClaimStep::Snapshot { .. } => StepKind::SnapshotClaim,
                ClaimStep::Grow { .. } => StepKind::GrowClaim,
                ClaimStep::Delete { .. } => StepKind::DeleteClaim,
            },
            Step::Volume { step, .. } => match step {
                VolumeStep::Mark { .. } => StepKind::MarkVolume,
                VolumeStep::Keep { .. } => StepKind::KeepVolume,
                VolumeStep::Reserve { .. } => StepKind::ReserveVolume,
                VolumeStep::ClaimAside { .. } => StepKind::CreateAsideClaim,
            },
            Step::Node { step: NodeStep::TaintOutOfService, .. } => StepKind::TaintNode,
            Step::Object(ObjectStep::SetFinalizers { .. }) => StepKind::SetFinalizers,
            Step::Object(ObjectStep::ReplaceStatefulSet { .. }) => StepKind::ReplaceStatefulSet,
            Step::Object(ObjectStep::DeleteStatefulSet { .. }) => StepKind::DeleteStatefulSet,
        }
    }

    /// The pod that it takes, if it takes one.
    pub fn takes_pod(&self) -> Option<&str> {
        match self {
            Step::Pod { pod, .. } => Some(pod),
            _ => None,
        }
    }

    /// The volume that it keeps, if that is what it does.
    pub fn keeps_volume(&self) -> Option<&str> {
        match self {
            Step::Volume { volume, step: VolumeStep::Keep { .. }, .. } => Some(volume),
            _ => None,
        }
    }

    /// It only writes down what is so: nobody waits for it, and nothing changes by it.
    pub fn is_bookkeeping(&self) -> bool {
        match self {
            Step::Claim { step, .. } => matches!(step, ClaimStep::Label { .. } | ClaimStep::Note { .. }),
            Step::Volume { step, .. } => matches!(step, VolumeStep::Mark { .. }),
            Step::Object(step) => matches!(step, ObjectStep::SetFinalizers { .. }),
            Step::AskReport { .. }
            | Step::Record { .. }
            | Step::Order { .. }
            | Step::Pod { .. }
            | Step::Node { .. } => false,
        }
    }
}
