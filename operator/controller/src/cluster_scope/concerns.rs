//! Whom a change concerns.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use mainstay_core::{Node, Volume};

use super::convert::cluster_of_claim;
use super::{Attachment, ClusterScope};
use crate::watch::{ClusterKey, ClusterRef};

fn cluster_of(volume: &Volume) -> Option<ClusterKey> {
    let (namespace, name) = volume.claim.as_ref()?;
    cluster_of_claim(namespace, name)
}

impl ClusterScope {
    pub(super) fn volume_changed(&self, old: Option<&Volume>, new: Option<&Volume>) {
        let clusters: BTreeSet<ClusterKey> =
            [old, new].into_iter().flatten().filter_map(cluster_of).collect();
        self.call(&clusters);
    }

    /// Calls the clusters with pods on the node, and those with volumes that only it can mount.
    pub(super) fn node_changed(&self, name: &str, old: Option<&Node>, new: Option<&Node>) {
        let host = new.or(old).and_then(|node| node.host.as_deref()).unwrap_or(name);
        let mut clusters = BTreeSet::new();
        self.volumes.each(|_, volume| {
            let pinned = volume.hosts.iter().flatten().any(|named| named == host || named == name);
            clusters.extend(cluster_of(volume).filter(|_| pinned));
        });
        for (stores, _) in self.scopes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let pods = stores.pods.state();
            let there = pods.iter().filter(|pod| pod.spec.node_name.as_deref() == Some(name));
            clusters.extend(there.filter_map(|pod| ClusterKey::of_child(&pod.metadata)));
        }
        self.call(&clusters);
    }

    /// Calls the clusters that ask for the class, or for the default.
    pub(super) fn class_changed(&self, name: &str) {
        let mut clusters = BTreeSet::new();
        for (stores, _) in self.scopes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let asking = stores.clusters.state().into_iter().filter(|object| {
                let class = object.0.as_ref().ok().map(|cluster| cluster.spec.storage.class.as_deref());
                class.is_some_and(|class| class.is_none_or(|class| class == name))
            });
            clusters.extend(asking.filter_map(|object| ClusterKey::of(kube::Resource::meta(&*object))));
        }
        self.call(&clusters);
    }

    pub(super) fn attachment_changed(&self, old: Option<&Attachment>, new: Option<&Attachment>) {
        let volumes = [old, new].into_iter().flatten().filter_map(|a| self.volumes.get(&a.volume));
        let clusters: BTreeSet<ClusterKey> = volumes.filter_map(|volume| cluster_of(&volume)).collect();
        self.call(&clusters);
    }

    fn call(&self, clusters: &BTreeSet<ClusterKey>) {
        if clusters.is_empty() {
            return;
        }
        for (stores, trigger) in self.scopes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let is_there = |cluster: &&ClusterKey| {
                let object: ClusterRef = cluster.object_ref();
                stores.clusters.get(&object).is_some()
            };
            clusters.iter().filter(is_there).for_each(|cluster| trigger.pull(cluster));
        }
    }
}
