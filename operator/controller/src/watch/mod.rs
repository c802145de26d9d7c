//! What there is: one watch for each kind of object, the stores that they fill, and whom a change concerns.

pub(crate) mod pump;
mod slim;
mod stores;

use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use mainstay_crd::MySQLCluster;
use mainstay_crd::names::LABEL_CLUSTER;

pub(crate) use slim::Keep;
#[cfg(test)]
pub(crate) use slim::prune;
pub(crate) use slim::{Claim, Pod};
pub(crate) use stores::{Meta, Stores, find};

/// A `MySQLCluster`, or what is known of one that can't be read: one malformed object does not stop the rest.
pub(crate) type Guarded = DeserializeGuard<MySQLCluster>;
/// Names a `MySQLCluster`.
pub(crate) type ClusterRef = ObjectRef<Guarded>;

/// Namespace and name of a `MySQLCluster`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClusterKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl ClusterKey {
    /// The key of `namespace/name`.
    pub(crate) fn named(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        ClusterKey { namespace: namespace.into(), name: name.into() }
    }
    /// The key of the object with this metadata.
    pub(crate) fn of(meta: &ObjectMeta) -> Option<Self> {
        Some(ClusterKey { namespace: meta.namespace.clone()?, name: meta.name.clone()? })
    }
    /// The key of the cluster to which the object with this metadata belongs, by its label.
    pub(crate) fn of_child(meta: &ObjectMeta) -> Option<Self> {
        let name = meta.labels.as_ref()?.get(LABEL_CLUSTER)?.clone();
        Some(ClusterKey { namespace: meta.namespace.clone()?, name })
    }
    /// The same, in the words of the controller's runtime.
    pub(crate) fn object_ref(&self) -> ClusterRef {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl std::fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A cluster that is to be looked at once something is known.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) cluster: ClusterKey,
    trigger: Trigger,
}

impl Caller {
    /// `cluster`, which is called by `trigger`.
    pub(crate) fn new(cluster: ClusterKey, trigger: Trigger) -> Self {
        Caller { cluster, trigger }
    }

    /// Asks for a look at it.
    pub(crate) fn call(&self) {
        self.trigger.pull(&self.cluster);
    }

    /// Notes it among those that wait for the same answer.
    pub(crate) fn join(&self, waiting: &mut Vec<Caller>) {
        if waiting.iter().all(|other| other.cluster != self.cluster) {
            waiting.push(self.clone());
        }
    }
}

/// Asks for a cluster to be reconciled. Asking twice before it was is asking once.
#[derive(Clone, Debug)]
pub(crate) struct Trigger(UnboundedSender<ClusterRef>);

impl Trigger {
    pub(crate) fn new(to: UnboundedSender<ClusterRef>) -> Self {
        Trigger(to)
    }
    /// Asks for `cluster` to be reconciled.
    pub(crate) fn pull(&self, cluster: &ClusterKey) {
        // Fails only once the controller has stopped, and then nobody waits for it.
        let _ = self.0.unbounded_send(cluster.object_ref());
    }
}
