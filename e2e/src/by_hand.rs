//! What volumes made by hand leave on the nodes and in the API, and how it goes.

use anyhow::Result;
use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DeleteParams, ListParams};
use kube::{Client, ResourceExt};

use crate::faults::on_node;
use crate::wait;

/// Label of volumes and classes made by a test: its namespace.
pub(crate) const LABEL: &str = "mainstay.dev/e2e-namespace";

/// Where a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a disk of one node.
    Node,
    /// On storage that all nodes share: it does not matter which one makes it.
    Network,
    /// On the GlusterFS volume of the add-on `gluster`, which all nodes mount.
    Gluster,
}

impl Place {
    const ALL: [Place; 3] = [Place::Node, Place::Network, Place::Gluster];

    pub(crate) fn root(self) -> &'static str {
        match self {
            Place::Node => "/var/lib/mainstay-e2e",
            Place::Network => "/mnt/network/e2e",
            Place::Gluster => "/mnt/gluster/e2e",
        }
    }

    pub(crate) fn path(self, namespace: &str) -> String {
        format!("{}/{namespace}", self.root())
    }
}

/// Whether a person made the volume: nobody deletes it when its claim goes.
pub(crate) fn is_by_hand(volume: &PersistentVolume) -> bool {
    volume.labels().contains_key(LABEL)
}

/// Deletes the volumes and classes that a test made. Volumes in use stay until their claims are gone.
pub(crate) async fn delete(client: &Client, namespace: &str) -> Result<()> {
    let own = ListParams::default().labels(&format!("{LABEL}={namespace}"));
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    volumes.delete_collection(&DeleteParams::default(), &own).await?;
    let classes: Api<StorageClass> = Api::all(client.clone());
    classes.delete_collection(&DeleteParams::default(), &own).await?;
    Ok(())
}

/// Removes the directories and disks that a test made, once its pods are gone.
pub(crate) async fn clear(client: &Client, namespace: &str) -> Result<()> {
    // A kubelet unmounts a pod's volumes before the pod's object goes; a mount of ours is free by then.
    let remove = r#"
        set -e
        for root in "$@"; do
          [[ -d $root ]] || continue
          findmnt --raw --noheadings --output TARGET | sort --reverse | while read -r mounted; do
            [[ $mounted != "$root"/* ]] || umount --lazy "$mounted"
          done
          rm -rf --one-file-system "$root"
        done"#;
    let roots = Place::ALL.map(|place| place.path(namespace));
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let nodes: Api<Node> = Api::all(client.clone());
    for node in nodes.list(&ListParams::default()).await? {
        let node = node.name_any();
        wait::poll(&format!("{node} to be cleared"), wait::SHORT, || async {
            on_node(&node, remove, &roots).map(Some)
        })
        .await?;
    }
    Ok(())
}
