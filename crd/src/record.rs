//! `status.replication` of a `MySQLCluster`: the record.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who leads, since when, and which intentions are under way. Written before what it announces is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicationRecord {
    /// Rises with every change of primary.
    pub epoch: i64,
    /// Rises with every intention.
    pub revision: i64,
    /// Whether a data directory of this cluster was ever initialised (or is announced to be).
    pub initialized: bool,
    /// Ordinal of the instance that leads in this epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<i32>,
    /// Ordinal of the instance that is to lead, while that is being changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<i32>,
    /// Intentions that have no outcome yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// The switchover under way, while `target` is set; else the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switchover: Option<Switchover>,
    /// The value of the annotation `mysql.mainstay.dev/switchover-to` that was carried out or refused last: each is
    /// answered once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_request: Option<String>,
    /// The value of the annotation `mysql.mainstay.dev/lead-from` that was carried out or refused last: each is answered
    /// once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_lead_from: Option<String>,
    /// What was given up when an instance last was made to lead with what it held, because a person asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
    /// What was decided of the claims once the object was being deleted: it stands, whatever comes after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

/// What was given up, because a person asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// The instance that led before, whose data could not be used.
    pub from: String,
    /// The instance that leads since.
    pub to: String,
    /// When it was decided.
    pub at: Time,
    /// GTIDs that were known to have been committed, and that the new primary does not hold.
    pub known: String,
    /// Transactions of the old primary that nobody was told of may be lost besides: when it was last seen well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Time>,
    /// Instances that could not be asked what they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unheard: Vec<String>,
}

/// What becomes of the claims of a cluster that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// When that was decided: a VolumeSnapshot counts only if it was taken for it.
    pub since: Time,
    /// Why all claims are kept, whatever `spec.storage.retention.whenDeleted` says; absent if they go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// The instances whose claims hold, together, all that is known of: with the policy `Snapshot` these are copied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<i32>,
}

/// A planned change of the primary.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Switchover {
    /// Why.
    pub reason: SwitchoverReason,
    /// When it was announced.
    pub since: Time,
    /// The GTID set that the old primary held once it was read-only and its right to lead was taken back.
    #[serde(rename = "held", skip_serializing_if = "Option::is_none")]
    pub final_gtid_set: Option<String>,
    /// When it ended, one way or the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// Why it was given up; absent while it is under way and after it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_up: Option<String>,
}

/// What a switchover is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum SwitchoverReason {
    /// A person asked for it, with the annotation `mysql.mainstay.dev/switchover-to`.
    Requested,
    /// `spec.replicas` no longer asks for the primary's instance.
    ScalingDown,
    /// The primary's pod is to be replaced, to take up a change of the spec.
    Rolling,
    /// The primary's node takes no new pods: it is being drained.
    NodeDrain,
    /// The primary's pod is ending: it was deleted or evicted, or its node is being shut down.
    PodEnding,
}

/// An announced change to an instance's data directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Unique id; the directory's marker carries it afterwards.
    pub id: String,
    /// What is to be done.
    pub kind: OperationKind,
    /// The instance to which it is done.
    pub ordinal: i32,
    /// Where a clone comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub donor: Option<i32>,
    /// The revision that announced it.
    pub revision: i64,
    /// Tries that failed before this one.
    #[serde(default)]
    pub failures: i32,
    /// When this try may begin; at once if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// What is kept, of a volume that is set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside: Option<Aside>,
    /// UID of the claim on whose directory it is done, where it may be done on no other: an initialisation.
    #[serde(default, rename = "claimUID", skip_serializing_if = "Option::is_none")]
    pub claim_uid: Option<String>,
}

/// A volume that is kept under a claim of another name, so that its instance gets a new one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Aside {
    /// UID of the instance's claim, which goes.
    #[serde(rename = "claimUID")]
    pub claim_uid: String,
    /// The volume, which stays.
    pub volume: String,
    /// The claim that it is kept under.
    pub claim: String,
    /// The GTID set on it, executed and received.
    pub gtid_set: String,
    /// When that was seen.
    pub since: Time,
}

/// Kinds of operations on a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OperationKind {
    /// An empty directory becomes the cluster's first.
    Initialize,
    /// An empty or partial directory becomes a copy of a donor's.
    Clone,
    /// A volume whose data can't be used any more is kept under a claim of another name.
    SetAside,
    /// A volume that no node can mount any more is kept, and its claim made anew.
    ReplaceVolume,
    /// A volume that was kept is bound to its ordinal's claim again; the operation's id is the volume's name.
    GiveBack,
}
