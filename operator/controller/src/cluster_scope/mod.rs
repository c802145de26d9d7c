//! Volumes, nodes, storage classes and attachments: what belongs to no namespace. One watch of each for the process,
//! and of each object only what a decision may rest on: a node's heartbeat changes nothing here, and calls nobody.
//!
//! An operator without the right to read them goes on without: [`ClusterScope::unseen`] says so.

mod api_types;
mod concerns;
mod convert;
mod leases;
mod object_events;
mod table;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use futures::Stream;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use mainstay_core::{Class, Node, Volume};
use serde::de::DeserializeOwned;

use crate::telemetry::Metrics;
use crate::watch::{Stores, Trigger};
pub(crate) use convert::Attachment;
pub(crate) use leases::Leases;
pub(crate) use object_events::ObjectEvents;
pub(crate) use table::Table;
use table::fill;

/// Objects fetched in one request of a list.
const PAGE: u32 = 100;

/// What is known of the surroundings of all clusters.
#[derive(Default)]
pub(crate) struct ClusterScope {
    /// Volumes by name: those that could be a cluster's, and those that nobody has.
    pub(crate) volumes: Table<Volume>,
    /// Nodes by name.
    pub(crate) nodes: Table<Node>,
    /// Storage classes by name.
    pub(crate) classes: Table<Class>,
    /// Attachments by their own name.
    pub(crate) attachments: Table<Attachment>,
    /// Keys of taints by which nodes are drained.
    drains: Vec<String>,
    scopes: Mutex<Vec<(Stores, Trigger)>>,
}

impl ClusterScope {
    /// Of nothing yet; `drains` are the keys of taints by which nodes are drained.
    pub(crate) fn new(drains: Vec<String>) -> Self {
        ClusterScope { drains, ..ClusterScope::default() }
    }

    /// Clusters of `stores` are called through `trigger` when what concerns them changes.
    pub(crate) fn join(&self, stores: Stores, trigger: Trigger) {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner).push((stores, trigger));
    }

    /// Kinds that can't be read. If there are none, what is not in the tables does not exist.
    pub(crate) fn unseen(&self) -> Vec<String> {
        let kinds = [
            ("persistentvolumes", self.volumes.is_read()),
            ("nodes", self.nodes.is_read()),
            ("storageclasses", self.classes.is_read()),
            ("volumeattachments", self.attachments.is_read()),
        ];
        kinds.into_iter().filter(|(_, read)| !read).map(|(kind, _)| kind.to_owned()).collect()
    }

    /// Comes back once each kind was read, or was found to be unreadable.
    pub(crate) async fn settled(&self) {
        self.volumes.settled().await;
        self.nodes.settled().await;
        self.classes.settled().await;
        self.attachments.settled().await;
    }

    /// Watches all four for ever.
    pub(crate) async fn run(&self, client: Client, metrics: &Metrics) {
        futures::join!(
            fill(all(&client), &self.volumes, metrics, convert::volume, |_, old, new| {
                self.volume_changed(old, new);
            }),
            fill(
                all(&client),
                &self.nodes,
                metrics,
                |node| convert::node(node, &self.drains),
                |name, old, new| {
                    self.node_changed(name, old, new);
                }
            ),
            fill(all(&client), &self.classes, metrics, convert::class, |name, _, _| self.class_changed(name)),
            fill(all(&client), &self.attachments, metrics, convert::attachment, |_, old, new| {
                self.attachment_changed(old, new);
            }),
        );
    }

    /// The nodes that `volume` is attached to.
    pub(crate) fn attached_to(&self, volume: &str) -> Vec<String> {
        let mut nodes = Vec::new();
        self.attachments.each(|_, attachment: &Arc<Attachment>| {
            if attachment.volume == volume {
                nodes.push(attachment.node.clone());
            }
        });
        nodes.sort();
        nodes
    }
}

/// Every object of a kind.
fn all<K>(client: &Client) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watcher(Api::all(client.clone()), watcher::Config::default().page_size(PAGE))
}

#[cfg(test)]
mod tests;
