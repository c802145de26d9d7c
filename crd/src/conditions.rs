//! Condition types and reasons of a `MySQLCluster`, and how conditions are merged.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;
use serde::{Deserialize, Serialize};

/// Types of conditions, in the order in which people read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// A primary serves and as many replicas as asked for follow it in time.
    Ready,
    /// A primary serves writes.
    Available,
    /// The operator is changing something: initialising, cloning, rolling.
    Progressing,
    /// The spec was understood and can be carried out.
    SpecValid,
    /// The operator is kept from going on and a person must act.
    Blocked,
}

impl ConditionType {
    /// The name in `status.conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            ConditionType::Ready => "Ready",
            ConditionType::Available => "Available",
            ConditionType::Progressing => "Progressing",
            ConditionType::SpecValid => "SpecValid",
            ConditionType::Blocked => "Blocked",
        }
    }
}

/// Every reason that a condition or an event can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
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
    /// A replica is catching up.
    CatchingUp,
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
    /// Data of this cluster exists, but the record of it does not, and it can't be put together safely.
    DataWithoutRecord,
    /// An instance knows a later revision than the record: the record was set back.
    RecordRolledBack,
    /// The primary that the record names has lost its data.
    PrimaryDataLost,
    /// Scaling down would remove the primary.
    PrimaryInTheWay,
    /// A change to the StatefulSet's immutable part was asked for.
    ImmutableStorage,
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
    /// Nothing keeps the operator from going on.
    Unblocked,
}

impl Reason {
    /// The CamelCase name in `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::AllReady => "AllReady",
            Reason::ReplicasMissing => "ReplicasMissing",
            Reason::NoPrimary => "NoPrimary",
            Reason::WaitingForPods => "WaitingForPods",
            Reason::WaitingForAgents => "WaitingForAgents",
            Reason::Initializing => "Initializing",
            Reason::Cloning => "Cloning",
            Reason::Rolling => "Rolling",
            Reason::CatchingUp => "CatchingUp",
            Reason::PrimaryConfirmed => "PrimaryConfirmed",
            Reason::Idle => "Idle",
            Reason::Paused => "Paused",
            Reason::Deleting => "Deleting",
            Reason::Accepted => "Accepted",
            Reason::InvalidSpec => "InvalidSpec",
            Reason::ForeignData => "ForeignData",
            Reason::DataWithoutRecord => "DataWithoutRecord",
            Reason::RecordRolledBack => "RecordRolledBack",
            Reason::PrimaryDataLost => "PrimaryDataLost",
            Reason::PrimaryInTheWay => "PrimaryInTheWay",
            Reason::ImmutableStorage => "ImmutableStorage",
            Reason::OrderFailed => "OrderFailed",
            Reason::ApiError => "ApiError",
            Reason::SwitchingOver => "SwitchingOver",
            Reason::SwitchedOver => "SwitchedOver",
            Reason::SwitchoverGivenUp => "SwitchoverGivenUp",
            Reason::SwitchoverRefused => "SwitchoverRefused",
            Reason::SwitchoverWaiting => "SwitchoverWaiting",
            Reason::Unblocked => "Unblocked",
        }
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
pub struct Wanted {
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
pub fn merge(existing: &[Condition], wanted: &[Wanted], generation: i64, now: &Time) -> Vec<Condition> {
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
