//! Condition types and reasons of a `MySQLCluster`, and how conditions are merged.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;
use serde::{Deserialize, Serialize};

/// Types of conditions, in the order in which people read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
pub enum ConditionType {
    /// A primary serves and as many replicas as asked for follow it in time.
    Ready,
    /// A primary serves writes.
    Available,
    /// The operator is changing something: initialising, cloning, rolling.
    Progressing,
    /// The spec was understood and can be carried out.
    SpecValid,
    /// Every instance has its volume, mounted and as large as asked for.
    StorageReady,
    /// The operator is kept from going on and a person must act.
    Blocked,
    /// Claims of instances that are no longer asked for were dealt with as `spec.storage.retention.whenScaled` says.
    RetentionApplied,
}

impl ConditionType {
    /// The name in `status.conditions[].type`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Every reason that a condition or an event can carry.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, strum::IntoStaticStr,
)]
pub enum Reason {
    /// All is as the spec asks.
    AllReady,
    /// The primary serves, some replicas do not.
    ReplicasMissing,
    /// No primary serves writes.
    NoPrimary,
    /// Pods are not running yet; the message says why.
    WaitingForPods,
    /// Agents have not reported yet.
    WaitingForAgents,
    /// The first instance's data directory is being initialised.
    Initializing,
    /// A replica is being cloned.
    Cloning,
    /// An instance is being replaced to take up a change.
    Rolling,
    /// The first pod of a change does not serve, so that the others stay as they were; the message says why.
    ChangeFailed,
    /// A replica is catching up.
    CatchingUp,
    /// A replica's applier stops with an error again and again; the message has it.
    ApplierFailed,
    /// A replica's receiver has no source; the message has the error.
    ReceiverFailed,
    /// An instance's data may not be used; the message says why, and what to do.
    Quarantined,
    /// A server runs with options by which what was committed could be lost.
    UnsafeOptions,
    /// An agent is not let into its server, or can't read the options that safety rests on; the message says why, and what
    /// to do.
    AgentDenied,
    /// A primary was confirmed.
    PrimaryConfirmed,
    /// Nothing is being changed.
    Idle,
    /// `spec.paused` is set.
    Paused,
    /// The cluster is being deleted.
    Deleting,
    /// The spec was accepted.
    Accepted,
    /// The spec can't be carried out; the message says what to change.
    InvalidSpec,
    /// A data directory belongs to another cluster or ordinal.
    ForeignData,
    /// A data directory can't be read or written.
    DirectoryUnusable,
    /// An instance has no pod, and none can be made; the message has Kubernetes' words.
    PodRefused,
    /// An instance has no claim yet.
    ClaimMissing,
    /// Data of this cluster exists, but the record of it does not, and it can't be put together safely.
    DataWithoutRecord,
    /// An instance knows a later revision than the record: the record was set back.
    RecordRolledBack,
    /// The primary that the record names has lost its data.
    PrimaryDataLost,
    /// Scaling down would remove the primary.
    PrimaryInTheWay,
    /// The primary came back with less than it left with: its volume was set back.
    RolledBack,
    /// The primary came back with data that is not its own, or on another volume.
    ForeignVolume,
    /// A password in the cluster's Secret can't be taken up; the message says which and why.
    InvalidCredentials,
    /// An order to an agent failed.
    OrderFailed,
    /// A call to the API server failed.
    ApiError,
    /// The primary is handing over to a replica.
    SwitchingOver,
    /// The primary was changed as planned.
    SwitchedOver,
    /// A switchover was given up: the old primary leads again; the message says why.
    SwitchoverGivenUp,
    /// A switchover that a person asked for is impossible; the message says why.
    SwitchoverRefused,
    /// A switchover is wanted, but nobody can take over at the moment.
    SwitchoverWaiting,
    /// An instance is leaving, because it is no longer asked for.
    ScalingDown,
    /// A claim is kept for now; the message says why, and until when.
    ClaimKept,
    /// A claim was deleted, as the spec says.
    ClaimDeleted,
    /// The Kubernetes cluster has no VolumeSnapshot API, which the spec asks for.
    NoSnapshotApi,
    /// A VolumeSnapshot was not taken; the message says why.
    SnapshotFailed,
    /// A volume that can no longer be used is being kept under another claim, and its instance cloned anew.
    SettingAside,
    /// A kept claim is in use again.
    ClaimReused,
    /// The cluster is being deleted, but protected: nothing is torn down.
    DeletionProtected,
    /// A request to lead from an instance was carried out: the primary's data was gone.
    LedFrom,
    /// A request to lead from an instance was refused; the message says why.
    LeadFromRefused,
    /// Nothing is wrong.
    AsExpected,
    /// A claim waits for its volume to be made.
    Provisioning,
    /// A claim's volume could not be made; the message has the provisioner's words.
    ProvisioningFailed,
    /// A claim is bound once its pod is scheduled.
    WaitsForConsumer,
    /// A claim names no storage class and there is no default.
    NoDefaultClass,
    /// A claim's volume is to be made by hand, and none that is free fits.
    NoMatchingVolume,
    /// A claim that was never bound is of another class than the spec asks for.
    OtherClass,
    /// A claim wants a volume that another claim has.
    VolumeTaken,
    /// A claim's volume no longer exists.
    ClaimLost,
    /// A claim is being deleted while it is used.
    ClaimTerminating,
    /// The claim that a volume was bound to was deleted.
    VolumeReleased,
    /// A volume could not be reclaimed.
    VolumeFailed,
    /// A volume is being deleted.
    VolumeTerminating,
    /// A volume is still attached to another node.
    AttachedElsewhere,
    /// A volume can't be mounted; the message has the kubelet's words.
    MountFailed,
    /// No node takes a pod; the message has the scheduler's words.
    Unschedulable,
    /// An instance's node is silent or not Ready.
    NodeNotReady,
    /// An instance's node has stopped renewing its Lease, and no agent on it answers: it is probably lost.
    NodeSuspected,
    /// An instance's node, or the only one that can mount its volume, no longer exists.
    NodeGone,
    /// A volume has no room left.
    VolumeFull,
    /// A volume does not answer; the message says since when.
    VolumeSilent,
    /// A claim can't grow: its storage class does not allow it.
    ExpansionRefused,
    /// A claim is growing.
    Growing,
    /// A volume that is stranded on a lost node is being replaced.
    ReplacingVolume,
    /// A kept volume is being given back.
    GivingBack,
    /// A volume that was asked for can't be given back.
    GiveBackRefused,
    /// An object of a child's name is not the cluster's.
    ForeignObject,
    /// A child of a deleted object of this name is still being removed.
    LeftoverObject,
    /// The ConfigMap that a pod mounts was deleted, and nothing tells what was in it.
    ConfigMapLost,
    /// Another cluster has the name of a child of this one.
    NameTaken,
    /// Nothing keeps the operator from going on.
    Unblocked,
}

impl Reason {
    /// The CamelCase name in `reason`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Reason {
    /// The reason of this name; `None` for those of other versions.
    pub fn parse(name: &str) -> Option<Self> {
        let name: StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
        Reason::deserialize(name).ok()
    }
}

/// A condition as the plan wants it: without times, which depend on what was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredCondition {
    /// Which condition.
    pub type_: ConditionType,
    /// `Some(true)` is `True`, `Some(false)` is `False`, `None` is `Unknown`.
    pub status: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// For people: what is, and what to do.
    pub message: String,
}

/// Merges `wanted` into `existing` by type: others stay, and `lastTransitionTime` moves only with `status`.
pub fn merge(
    existing: &[Condition],
    wanted: &[DesiredCondition],
    generation: i64,
    now: &Time,
) -> Vec<Condition> {
    let mut merged: Vec<Condition> = existing.to_vec();
    for want in wanted {
        let status = match want.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let old = merged.iter().position(|c| c.type_ == want.type_.as_str());
        let since = old
            .map(|at| &merged[at])
            .filter(|c| c.status == status)
            .map_or_else(|| now.clone(), |c| c.last_transition_time.clone());
        let condition = Condition {
            type_: want.type_.as_str().into(),
            status: status.into(),
            reason: want.reason.as_str().into(),
            message: want.message.clone(),
            observed_generation: Some(generation),
            last_transition_time: since,
        };
        match old {
            Some(at) => merged[at] = condition,
            None => merged.push(condition),
        }
    }
    merged
}
