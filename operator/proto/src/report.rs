//! Reports of an agent.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Everything that an agent knows about its instance.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`crate::VERSION`] of the sender.
    pub proto: u32,
    /// Version of the agent's binary.
    pub agent_version: String,
    /// Who speaks.
    pub identity: Identity,
    /// Which of the pod's containers speaks.
    pub stage: Stage,
    /// When this was put together, by the node's clock.
    pub at: Timestamp,
    /// Highest (epoch, revision) that this instance has seen on its volume or in an order.
    #[serde(default)]
    pub highest: Term,
    /// What is on the volume.
    pub directory: Directory,
    /// The order that is being carried out, or the last one that was.
    #[serde(default)]
    pub task: Option<Task>,
    /// The server.
    pub server: Server,
    /// Room on the volume.
    #[serde(default)]
    pub space: Option<Space>,
    /// Since when the volume has not answered, by the node's clock: a look at its room began then and has not come back.
    /// Agents before this did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_silent_since: Option<Timestamp>,
    /// The container was told to end. A primary that has a replica serves on for a moment, so that it can hand over.
    #[serde(default)]
    pub ending: bool,
}

/// Room on a volume, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Space {
    /// Left for the server.
    pub free: u64,
    /// In all.
    pub total: u64,
}

impl Space {
    /// Less is left than a server may want at once: 1 %, at least 16 MiB, at most 1 GiB.
    pub fn is_full(self) -> bool {
        self.free < (self.total / 100).clamp(16 << 20, 1 << 30)
    }
}

/// Who speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the cluster.
    pub cluster: String,
    /// The cluster's id, as the pod was told.
    pub cluster_id: String,
    /// Ordinal of the instance.
    pub ordinal: u32,
    /// Name of the pod.
    pub pod_name: String,
    /// UID of the pod.
    pub pod_uid: String,
    /// The node that it runs on.
    pub node: String,
    /// The kernel's boot id: changes with every boot of the node.
    pub boot_id: String,
}

/// Which of the pod's containers speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Stage {
    /// The init container in the copy tool's image, before [`Stage::Prepare`]: takes [`crate::Action::Receive`], and
    /// lets the next container take all else.
    Receive,
    /// The init container that sees to the data directory.
    Prepare,
    /// The container that runs MySQL.
    Serve,
}

/// Epoch and revision of a record, the epoch first: the later record is the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Term {
    /// Epoch.
    pub epoch: u64,
    /// Revision.
    pub revision: u64,
}

/// What is on the volume.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum Directory {
    /// Neither a marker nor anything that looks like a data directory.
    Empty,
    /// An operation has begun on it and has not ended. It holds nothing of worth.
    Partial {
        /// The operation's id.
        operation: String,
        /// Cluster id in the marker.
        cluster_id: String,
        /// It was to become a copy of another instance's, so that there was one with data. Older agents do not say.
        #[serde(default)]
        copied: bool,
    },
    /// A complete data directory of this cluster and ordinal.
    Complete {
        /// The marker.
        marker: Marker,
    },
    /// Data of another cluster or ordinal, or data without a marker.
    Foreign {
        /// Cluster id in the marker, if there is one.
        cluster_id: Option<String>,
        /// Ordinal in the marker, if there is one.
        ordinal: Option<u32>,
        /// What was found, for people.
        message: String,
    },
    /// Another process holds the directory's lock.
    Locked {
        /// Pod UID, node and boot id that the holder wrote down.
        holder: String,
    },
    /// It can't be read or written.
    Unusable {
        /// The error, and what to do.
        message: String,
    },
}

/// What the marker of a complete directory says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Marker {
    /// The cluster's id.
    pub cluster_id: String,
    /// The ordinal.
    pub ordinal: u32,
    /// The operation that made the directory complete.
    pub operation: String,
    /// The server's UUID.
    pub server_uuid: String,
    /// The role that was last ordered.
    pub grant: Option<Grant>,
}

/// The role that was last ordered, kept on the volume.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The order's epoch and revision.
    #[serde(rename = "fence")]
    pub term: Term,
    /// The role.
    pub role: GrantedRole,
}

/// A role that was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum GrantedRole {
    /// To lead.
    Primary {
        /// There was no other instance.
        alone: bool,
    },
    /// To follow.
    Replica {
        /// The source.
        source: crate::Endpoint,
    },
}

/// An order that is or was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// [`crate::Order::id`]. Empty from older agents.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The order's epoch and revision.
    #[serde(rename = "fence")]
    pub term: Term,
    /// [`crate::Action::kind`].
    pub kind: String,
    /// The operation's id, for orders that have one.
    #[serde(default)]
    pub operation: Option<String>,
    /// How it stands.
    pub state: TaskState,
    /// How far a clone is.
    #[serde(default)]
    pub progress: Option<Progress>,
}

impl Task {
    /// Whether this is `order` being carried out. Of an older agent, what is alike under the same record.
    pub fn is_of(&self, order: &crate::Order) -> bool {
        if !self.id.is_empty() {
            return self.id == order.id;
        }
        let term = Term { epoch: order.epoch, revision: order.revision };
        (self.term, self.kind.as_str(), self.operation.as_deref())
            == (term, order.action.kind(), order.action.operation())
    }
}

/// How an order stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum TaskState {
    /// Being carried out.
    Running,
    /// Carried out.
    Done,
    /// Ended without success; nothing is left half done that the directory's state does not tell.
    Failed {
        /// What went wrong, without secrets.
        error: String,
    },
}

/// How far a clone is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Bytes received.
    pub bytes: u64,
    /// Bytes expected, once known.
    pub total_bytes: Option<u64>,
    /// Bytes a second, lately.
    pub bytes_per_second: Option<u64>,
}

/// The server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum Server {
    /// It does not run.
    Stopped {
        /// How it ended and what its log said last, if it ended by itself.
        last_exit: Option<String>,
    },
    /// Its process runs but does not answer yet.
    Starting,
    /// It is being stopped.
    Stopping,
    /// It answers.
    Running {
        /// What it says.
        state: Box<ServerState>,
    },
    /// It ran, but does not answer now.
    Silent {
        /// The error.
        error: String,
    },
}

/// What a running server says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerState {
    /// When this was read, by the node's clock, and never later than that: what was asked for meanwhile may be newer.
    pub read_at: Option<Timestamp>,
    /// `@@version`.
    pub version: String,
    /// `@@server_uuid`.
    pub server_uuid: String,
    /// `@@super_read_only`.
    pub super_read_only: bool,
    /// `@@gtid_executed`.
    pub gtid_executed: String,
    /// `@@gtid_purged`.
    pub gtid_purged: String,
    /// From which count these sets are. Absent from agents that do not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<crate::History>,
    /// Executed and received GTIDs as the directory held them before this start of the server replicated anything.
    /// A volume that was set back shows here; afterwards its source would have filled the gap.
    pub gtid_at_start: Option<String>,
    /// When this run of the server answered first, by the node's clock: it tells one start from another.
    pub started_at: Option<Timestamp>,
    /// It was to replicate, or to lead alone, but waits to be told so again: its volume was mounted by a new pod, and is
    /// judged first.
    #[serde(rename = "held")]
    pub awaits_operator: bool,
    /// A new pod mounted its volume, and no operator has told it to lead or to follow since: `gtid_at_start` stays what
    /// it first came up with, whatever it wrote or received and however often it was started meanwhile.
    pub unconfirmed: bool,
    /// The default replication channel, if one is configured.
    pub channel: Option<Channel>,
    /// When the agent last started the channel's threads in this run of the server.
    pub channel_started: Option<ChannelStart>,
    /// The scheduled events that are `DISABLED` here. One that was altered elsewhere since is
    /// `REPLICA_SIDE_DISABLED` instead, so what is listed is so. Absent from agents that do not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_events: Option<Vec<crate::EventName>>,
    /// What could not be set for the role, and why. Options that are not dynamic wait for a restart.
    pub setting_errors: Vec<String>,
    /// Options that safety rests on, that are otherwise, and that could not be set back.
    pub unsafe_options: Vec<UnsafeOption>,
    /// Why the agent can't see to its server, though that answers a session of before: it gets no new session, or can't
    /// read the options back that safety rests on. With MySQL's error number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_denied: Option<String>,
}

/// A start of the channel's threads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelStart {
    /// When, by the node's clock.
    pub at: Timestamp,
    /// How many there were shortly before this one, each after the other: how often it did not help.
    pub in_a_row: u32,
}

/// An option that is not what safety asks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnsafeOption {
    /// Its name, as MySQL writes it.
    pub name: String,
    /// What it is.
    pub value: String,
    /// What it must be.
    pub wanted: String,
}

/// A replica's replication channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Channel {
    /// When this was read, by the node's clock: earlier than the rest of the state while a thread that takes long to stop
    /// holds the look at it up. Absent from agents that do not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
    /// Host of the source.
    pub source_host: String,
    /// Port of the source.
    pub source_port: u16,
    /// The receiver (I/O thread) is connected.
    pub receiver_running: bool,
    /// The receiver lost its source, or never had it, and tries to reach it.
    pub receiver_connecting: bool,
    /// The applier (SQL thread) runs.
    pub applier_running: bool,
    /// GTIDs received (`Retrieved_Gtid_Set`).
    pub gtid_received: String,
    /// How far it is behind, in seconds (`Seconds_Behind_Source`). Of a receiver that lost its source: what it was
    /// then, and the time since, for who can tell what was written meanwhile. Unknown if it never had it.
    pub lag_seconds: Option<u64>,
    /// The receiver's last error.
    pub receiver_error: Option<String>,
    /// The applier's last error.
    pub applier_error: Option<String>,
}
