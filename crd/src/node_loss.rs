//! What is done about nodes and volumes that are lost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done about a node that is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeLoss {
    /// Lets the operator taint a node as out of service, once something outside of Kubernetes says that the machine
    /// is gone. It needs the right to patch nodes (`storage.taintNodes` of the chart).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_proven: Option<WhenProven>,
}

/// The proof that a node is gone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhenProven {
    /// Key and value of an annotation of the Node that a fencing tool or a cloud's controller writes once the machine
    /// is off, and at no other time: `fencing.example.com/state=off`.
    pub node_annotation: String,
    /// How long the node must have been not Ready besides: hours, minutes and seconds, such as `5m`.
    pub after: String,
}

impl WhenProven {
    /// Key and value of the annotation.
    pub fn annotation(&self) -> Option<(&str, &str)> {
        self.node_annotation.split_once('=')
    }
}

/// What is done about volumes that only one node can mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalVolumes {
    /// How long a replica may be away with its node before it gets a new volume, and is cloned anew on it: hours,
    /// minutes and seconds, such as `30m`. The old volume is kept. Never, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_after: Option<String>,
}

/// What becomes of volumes whose claims are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ReclaimPolicy {
    /// They are kept with their data, and a person deletes them.
    Retain,
}
