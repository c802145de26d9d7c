//! The Kubernetes objects that a cluster consists of.
//!
//! [`build`] is deterministic: the same blueprint gives the same objects, byte for byte, so that nothing is written
//! when nothing differs (invariant I13). Fields that the API server would fill in are left out.

mod account;
mod authority;
mod budgets;
mod config;
mod digest;
mod fixed;
mod hash;
mod memory;
mod meta;
mod pod;
mod scheduling;
mod services;
mod stateful_set;
#[cfg(test)]
mod tests;

pub use authority::ca_config_map;
pub use config::{config_map_told, missing_config_maps, unused_config_maps};
pub(crate) use digest::content as digest;
pub use fixed::FixedFields;
pub use hash::{server_id_base, template_hash};
pub use meta::pod_selector;
pub use stateful_set::set_template;
pub(crate) use stateful_set::stateful_set;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use mainstay_crd::MySQLClusterSpec;
use mainstay_crd::names::Names;

/// What the children are made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Blueprint<'a> {
    /// Namespace of all children.
    pub namespace: &'a str,
    /// The cluster's name.
    pub name: &'a str,
    /// UID of the `MySQLCluster`, for owner references.
    pub uid: &'a str,
    /// The cluster's id.
    pub cluster_id: &'a str,
    /// The spec.
    pub spec: &'a MySQLClusterSpec,
    /// Number of pods that the StatefulSet is to have.
    pub replicas: u32,
    /// The operator may read nodes, and so answers a drain with a switchover.
    pub sees_drains: bool,
    /// Image with the agent's binary.
    pub agent_image: &'a str,
}

impl Blueprint<'_> {
    /// Names of the children.
    pub fn names(&self) -> Names {
        Names::new(self.namespace, self.name)
    }
}

/// All children but the Secrets and the authority's certificate, in the order in which they are applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// The pods' account; it can do nothing and its token is not mounted.
    pub service_account: ServiceAccount,
    /// The configuration.
    pub config_map: ConfigMap,
    /// `NAME`, headless.
    pub headless: Service,
    /// `NAME-primary`.
    pub primary: Service,
    /// `NAME-read`.
    pub read: Service,
    /// For the primary's pod; none for a cluster of one.
    pub primary_pdb: Option<PodDisruptionBudget>,
    /// For the replicas' pods; none for a cluster of one.
    pub replica_pdb: Option<PodDisruptionBudget>,
    /// The instances.
    pub stateful_set: StatefulSet,
}

/// The children of a cluster.
pub fn build(blueprint: &Blueprint<'_>) -> Children {
    Children {
        service_account: account::service_account(blueprint),
        config_map: config::config_map(blueprint),
        headless: services::headless(blueprint),
        primary: services::primary(blueprint),
        read: services::read(blueprint),
        primary_pdb: budgets::primary(blueprint),
        replica_pdb: budgets::replica(blueprint),
        stateful_set: stateful_set::stateful_set(blueprint),
    }
}
