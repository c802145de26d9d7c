//! What a step comes to.

use std::time::Duration;

use mainstay_crd::MySQLCluster;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The record can't be written as JSON.
    #[error("writing JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The record was not written.
    #[error("writing the record: {0}")]
    Record(kube::Error),
    /// Something was not done to a claim.
    #[error("claim {0}: {1}")]
    Claim(String, kube::Error),
    /// Finalizers were not set.
    #[error("finalizers: {0}")]
    Finalizers(kube::Error),
    /// The StatefulSet was not deleted.
    #[error("deleting StatefulSet {0}: {1}")]
    StatefulSet(String, kube::Error),
    /// Something was not done to a volume.
    #[error("volume {0}: {1}")]
    Volume(String, kube::Error),
    /// There is no such API here.
    #[error(
        "claim {0} is kept: its policy is to take a VolumeSnapshot first, but this Kubernetes cluster has no \
         snapshot.storage.k8s.io/v1 API. Install it, or change spec.storage.retention"
    )]
    NoSnapshotApi(String),
    /// The API server did not make or show a snapshot.
    #[error("claim {0} is kept, since its VolumeSnapshot was not taken: {1}")]
    SnapshotApi(String, kube::Error),
    /// A snapshot failed.
    #[error("claim {0} is kept, since its VolumeSnapshot was not taken: {1}")]
    Snapshot(String, String),
    /// A node was not tainted.
    #[error("node {0}: {1}")]
    Node(String, kube::Error),
    /// A pod was not deleted.
    #[error("deleting pod {0}: {1}")]
    Pod(String, kube::Error),
}

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// There was none, or what it does will be told by a watch or by an agent.
    Told,
    /// It is to be done later.
    Later(Duration),
    /// An order is on its way; what else is to be done does not wait for it.
    Submitted,
    /// The record was written; the next step follows from it.
    Recorded(Box<MySQLCluster>),
    /// What it was decided on is no longer so.
    Outdated,
}
