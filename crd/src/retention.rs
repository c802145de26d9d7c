//! `spec.storage.retention`: what becomes of claims that nobody uses any more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of claims, and with them of volumes and data, that no instance uses any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Retention {
    /// The claims of instances that `replicas` no longer asks for. None is deleted before another instance that is
    /// Ready holds all of its transactions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_scaled: Option<KeepOrDelete>,
    /// All claims, when the `MySQLCluster` is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_deleted: Option<KeepOrDelete>,
}

impl Retention {
    /// What becomes of the claim of an instance that is no longer asked for.
    pub fn scaled(&self) -> KeepOrDelete {
        self.when_scaled.clone().unwrap_or_default()
    }
    /// What becomes of all claims when the cluster is deleted.
    pub fn deleted(&self) -> KeepOrDelete {
        self.when_deleted.clone().unwrap_or_default()
    }
}

/// Whether a claim is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeepOrDelete {
    /// What is done with it.
    pub policy: RetentionPolicy,
    /// How long it is kept, with `DeleteAfter` only: hours, minutes and seconds, such as `24h` or `1h30m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What is done with a claim that no instance uses any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum RetentionPolicy {
    /// It is kept; it is used again when its instance is wanted again.
    #[default]
    Retain,
    /// It is deleted. Its volume goes with it, unless the volume's own reclaim policy is `Retain`.
    Delete,
    /// It is kept for the time in `after`, then deleted.
    DeleteAfter,
    /// A VolumeSnapshot is taken of it; it is deleted once that is ready to use.
    Snapshot,
}
