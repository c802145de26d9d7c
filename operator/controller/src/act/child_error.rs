//! Why a child was not applied.

/// Why a child was not applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChildError {
    /// The API server refused or did not answer.
    #[error("{kind} {name}: {source}")]
    Api {
        /// Kind of the child.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The error.
        source: kube::Error,
    },
    /// The API server would refuse a template that the spec asks for.
    #[error("the API server refuses the {kind} that the spec asks for, so that nothing is changed: {words}")]
    Refused {
        /// Of what.
        kind: &'static str,
        /// Its words, or an admission webhook's.
        words: String,
    },
    /// It is not the cluster's.
    #[error(
        "{kind} {name} exists and is not this cluster's ({whose}): it is left as it is. Delete or rename it if it is \
         not needed, and the cluster goes on by itself; or create the cluster under another name"
    )]
    Foreign {
        /// Kind of the child.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Whose it is.
        whose: String,
    },
    /// It was deleted, and nothing tells what was in it.
    #[error(
        "ConfigMap {name}, which a pod mounts, was deleted, and nothing tells what was in it: a pod that runs goes on, and \
         one that starts waits for it. Set spec.config and spec.resources to what they were when that pod was made: it is \
         made again then. Should the pod still wait, delete it"
    )]
    Lost {
        /// Its name.
        name: String,
    },
    /// It belongs to a deleted object of the same name.
    #[error(
        "{kind} {name} is left from a deleted MySQLCluster of this name, and Kubernetes is removing it: once it is gone, \
         it is made anew"
    )]
    Leftover {
        /// Kind of the child.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It can't be written as JSON.
    #[error("{kind} {name}: {source}")]
    Json {
        /// Kind of the child.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The error.
        source: serde_json::Error,
    },
}
