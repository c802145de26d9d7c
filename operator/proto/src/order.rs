//! Orders of the operator.

use serde::{Deserialize, Serialize};

/// An order to one instance's agent.
///
/// The agent refuses an order that names another cluster, ordinal or pod, and one whose
/// (`epoch`, `revision`) is below the highest that it has seen on its volume: it comes from a leader that has
/// been replaced.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// [`crate::VERSION`] of the sender.
    pub proto: u32,
    /// Which order this is: the same again has the same. [`crate::Task::id`] in reports. Empty from older operators, and
    /// in what an agent orders itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The cluster's id.
    pub cluster_id: String,
    /// UID of the pod for which the order was decided.
    pub pod_uid: String,
    /// Ordinal of the instance.
    pub ordinal: u32,
    /// Epoch of the record.
    pub epoch: u64,
    /// Revision of the record.
    pub revision: u64,
    /// What to do.
    pub action: Action,
    /// With [`Action::Lead`]: the scheduled events that are disabled where they were enabled or disabled last. On a
    /// replica all are alike (`REPLICA_SIDE_DISABLED`), so it can't tell which of them to enable when it leads.
    /// Absent: nobody knows, and they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_events: Option<Vec<EventName>>,
}

/// Name of a scheduled event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventName {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

/// What an agent can be ordered to do. Each is idempotent: an order repeated is answered and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum Action {
    /// Initialise the data directory. Carried out only on an empty one, or on one that a crash of the same
    /// operation left partial.
    Initialize {
        /// The operation's id in the record.
        operation: String,
    },
    /// Replace an empty or partial data directory by a copy of a donor's, with MySQL's CLONE plugin.
    Clone {
        /// The operation's id in the record.
        operation: String,
        /// The donor.
        donor: Endpoint,
        /// Most MiB a second that the copy may take; no bound if absent. `clone_max_data_bandwidth`.
        #[serde(default)]
        max_mib_per_second: Option<u64>,
        /// From which count the donor's transactions are: the copy's are from the same.
        #[serde(default, skip_serializing_if = "crate::History::is_first")]
        history: crate::History,
    },
    /// Replace an empty or partial data directory by a copy of a donor's, streamed by a copy tool (XtraBackup).
    /// Carried out by the init container `receive`; the one after it finishes what that one received.
    Receive {
        /// The operation's id in the record.
        operation: String,
        /// The donor's host and the port of its container `donor`.
        donor: Endpoint,
        /// The donor's ordinal.
        donor_ordinal: u32,
        /// Compress on the way.
        #[serde(default)]
        compress: bool,
        /// Most MiB a second that the donor may read; no bound if absent.
        #[serde(default)]
        max_mib_per_second: Option<u64>,
        /// Also if the donor leads by then.
        #[serde(default)]
        from_primary: bool,
        /// From which count the donor's transactions are: the copy's are from the same.
        #[serde(default, skip_serializing_if = "crate::History::is_first")]
        history: crate::History,
    },
    /// Lead: stop replicating, become writable, take the primary's settings.
    Lead {
        /// There is no other instance: after a restart the agent may go on by itself.
        alone: bool,
    },
    /// Follow a source: read-only, replicate from it, take a replica's settings.
    Follow {
        /// The source.
        source: Endpoint,
    },
    /// Become read-only and stop replicating.
    StandDown,
}

impl Action {
    /// A bounded name, for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Action::Initialize { .. } => "Initialize",
            Action::Clone { .. } => "Clone",
            Action::Receive { .. } => "Receive",
            Action::Lead { .. } => "Lead",
            Action::Follow { .. } => "Follow",
            Action::StandDown => "StandDown",
        }
    }

    /// The operation's id in the record, for orders that have one.
    pub fn operation(&self) -> Option<&str> {
        match self {
            Action::Initialize { operation }
            | Action::Clone { operation, .. }
            | Action::Receive { operation, .. } => Some(operation),
            Action::Lead { .. } | Action::Follow { .. } | Action::StandDown => None,
        }
    }
}

/// Where a server is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// DNS name, which its certificate covers.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// What an agent says to an order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum Answer {
    /// It was begun, goes on, or was done before. Reports tell the rest.
    Accepted,
    /// It was not begun and will not be.
    Refused {
        /// Why, as one of a closed list.
        reason: Refusal,
        /// Why, for people.
        message: String,
    },
}

/// Why an order was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Refusal {
    /// It names another cluster, ordinal or pod.
    NotMe,
    /// A later epoch or revision was seen.
    Outdated,
    /// Another order is being carried out.
    Busy,
    /// The data directory's state does not allow it.
    WrongDirectory,
    /// The server does not run.
    NoServer,
    /// The agent does not know this order.
    Unknown,
}
