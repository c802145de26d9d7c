//! Volumes made by hand: directories and small disks on the nodes of the local cluster, and the manifests of
//! `examples/storage` with these in place of the disks of a user.
//!
//! All of it carries the name of the test's namespace and goes with it, also if the test was killed.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Resource;
use kube::ResourceExt;
use kube::api::{Api, ListParams, PostParams};
use mainstay_crd::MySQLCluster;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::by_hand::LABEL;
pub use crate::by_hand::Place;
use crate::database::{self, Database};
use crate::faults::on_node;
use crate::namespace::Scope;
use crate::place::root;

/// Volumes made by hand for one test.
pub struct StaticVolumes<'a> {
    scope: &'a Scope,
}

impl<'a> StaticVolumes<'a> {
    /// Those of this test, or `None`, having said so, on a cluster whose nodes can't be written to.
    pub fn of(scope: &'a Scope) -> Option<StaticVolumes<'a>> {
        if scope.env.local {
            return Some(StaticVolumes { scope });
        }
        note!("SKIPPED: this test makes directories on nodes, and this is not the local cluster");
        None
    }

    /// The nodes that instances run on, by name.
    ///
    /// # Errors
    /// If they can't be listed.
    pub async fn workers(&self) -> Result<Vec<String>> {
        let nodes: Api<Node> = Api::all(self.scope.client());
        let workers = ListParams::default().labels("!node-role.kubernetes.io/control-plane");
        Ok(nodes.list(&workers).await?.items.iter().map(ResourceExt::name_any).collect())
    }

    /// Makes an empty directory that belongs to the server's user, and returns its path.
    ///
    /// # Errors
    /// If the node is out of reach.
    pub fn directory(&self, place: Place, node: &str, name: &str) -> Result<String> {
        let path = format!("{}/{name}", place.path(&self.scope.namespace));
        // Parents are searched by the kubelet and the server; the directory is the server's alone.
        let make = r#"set -e; mkdir -p "$(dirname "$1")"; install -d -o 999 -g 999 -m 750 "$1""#;
        on_node(node, make, &[&path]).with_context(|| format!("make {path} on {node}"))?;
        Ok(path)
    }

    /// Makes an ext4 of this size in a file, mounts it on the node, and returns where.
    ///
    /// # Errors
    /// If the node is out of reach, or has no loop device left.
    pub fn disk(&self, node: &str, name: &str, mebibytes: u32) -> Result<String> {
        let path = self.directory(Place::Node, node, name)?;
        // A container's /dev has only the loop devices that there were when it started.
        let make = r#"
            set -e
            for i in {0..63}; do
              [[ -e /dev/loop$i ]] || mknod -m 600 "/dev/loop$i" b 7 "$i"
            done
            truncate --size "$2M" "$1.ext4"
            mkfs.ext4 -q -F -b 4096 -m 0 -E root_owner=999:999 "$1.ext4"
            mount -o loop "$1.ext4" "$1"
            chmod 750 "$1""#;
        on_node(node, make, &[&path, &mebibytes.to_string()])
            .with_context(|| format!("make a disk of {mebibytes} MiB on {node}"))?;
        note!("{path} on {node} is a disk of {mebibytes} MiB");
        Ok(path)
    }

    /// Keeps so much of a disk for root that the server can't use it, or gives it back with 0.
    ///
    /// # Errors
    /// If the node is out of reach, or the disk is none of [`StaticVolumes::disk`].
    pub fn reserve(&self, node: &str, path: &str, mebibytes: u32) -> Result<()> {
        let tune = r#"
            set -e
            device=$(findmnt --noheadings --first-only --output SOURCE --mountpoint "$1")
            tune2fs -r "$2" "$device""#;
        on_node(node, tune, &[path, &(mebibytes * 256).to_string()])?;
        note!("{mebibytes} MiB of {path} on {node} are kept from the server");
        Ok(())
    }

    /// Bytes that are free below a path on a node.
    ///
    /// # Errors
    /// If the node is out of reach.
    pub fn free(&self, node: &str, path: &str) -> Result<u64> {
        let said = on_node(node, r#"stat --file-system --format '%a %S' "$1""#, &[path])?;
        let (blocks, size) = said.split_once(' ').context("stat says something else")?;
        Ok(blocks.parse::<u64>()? * size.parse::<u64>()?)
    }

    /// Creates a volume; its name and class are made this test's own.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn volume(&self, volume: PersistentVolume) -> Result<PersistentVolume> {
        let mut volume = volume;
        self.own(&mut volume);
        if let Some(class) = volume.spec.as_mut().and_then(|spec| spec.storage_class_name.as_mut()) {
            *class = self.name(class);
        }
        let volumes: Api<PersistentVolume> = Api::all(self.scope.client());
        Ok(volumes.create(&PostParams::default(), &volume).await?)
    }

    /// Applies `examples/storage/FILE`, each volume changed by `adapt`, which is told its number.
    ///
    /// # Errors
    /// If there is no such example, or the API server refuses it.
    pub async fn apply_example(
        &self,
        file: &str,
        mut adapt: impl FnMut(usize, &mut PersistentVolume) -> Result<()>,
    ) -> Result<Database<'a>> {
        let path = root().join("examples/storage").join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let (mut volumes, mut cluster) = (0, None);
        for document in serde_norway::Deserializer::from_str(&text) {
            let document = Value::deserialize(document)?;
            match document["kind"].as_str() {
                Some("StorageClass") => self.class(serde_json::from_value(document)?).await?,
                Some("PersistentVolume") => {
                    let mut volume = serde_json::from_value(document)?;
                    adapt(volumes, &mut volume)?;
                    self.volume(volume).await?;
                    volumes += 1;
                }
                _ => cluster = Some(serde_json::from_value::<MySQLCluster>(document)?),
            }
        }
        let mut cluster = cluster.context("an example without a cluster")?;
        cluster.spec.image = database::image();
        cluster.spec.storage.class = cluster.spec.storage.class.map(|class| self.name(&class));
        let database = self.scope.database(&cluster.name_any());
        note!("applying {file}, with {volumes} volumes");
        database.api().create(&PostParams::default(), &cluster).await?;
        Ok(database)
    }

    /// Creates a class, its name made this test's own.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn class(&self, class: StorageClass) -> Result<()> {
        let mut class = class;
        self.own(&mut class);
        Api::all(self.scope.client()).create(&PostParams::default(), &class).await?;
        Ok(())
    }

    /// What a volume or class of this name is called in this test.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.scope.namespace)
    }

    fn own<K: Resource>(&self, object: &mut K) {
        object.meta_mut().name = Some(self.name(&object.name_any()));
        object.labels_mut().insert(LABEL.into(), self.scope.namespace.clone());
    }
}

/// The directory that a volume is.
///
/// # Errors
/// If it is none.
pub fn directory_of(volume: &PersistentVolume) -> Result<String> {
    let spec = volume.spec.as_ref().context("a volume without a spec")?;
    let host_path = spec.host_path.as_ref().map(|source| &source.path);
    let path = host_path.or_else(|| spec.local.as_ref().map(|source| &source.path));
    path.cloned().with_context(|| format!("{} is no directory", volume.name_any()))
}

/// Puts a directory of one node in the place of a volume's source.
///
/// # Errors
/// If the volume has no spec.
pub fn local(volume: &mut PersistentVolume, node: &str, path: &str) -> Result<()> {
    on_only(volume, node)?;
    let spec = volume.spec.as_mut().context("a volume without a spec")?;
    let source = spec.local.as_mut().context("not a local volume")?;
    path.clone_into(&mut source.path);
    Ok(())
}

/// Puts a host path in the place of a volume's source, whatever that was.
///
/// # Errors
/// If the volume has no spec.
pub fn host_path(volume: &mut PersistentVolume, path: &str) -> Result<()> {
    let spec = volume.spec.as_mut().context("a volume without a spec")?;
    spec.csi = None;
    spec.host_path = Some(serde_json::from_value(json!({"path": path, "type": "Directory"}))?);
    Ok(())
}

/// Gives a volume the affinity of a node.
///
/// # Errors
/// If the volume has no spec.
pub fn on_only(volume: &mut PersistentVolume, node: &str) -> Result<()> {
    let host = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    let affinity = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}});
    let spec = volume.spec.as_mut().context("a volume without a spec")?;
    spec.node_affinity = Some(serde_json::from_value(affinity)?);
    Ok(())
}
