//! What every reconciliation needs.

use std::sync::Arc;

use kube::Client;

use crate::agents::Agents;
use crate::cluster_scope::{ClusterScope, Leases, ObjectEvents};
use crate::events::Events;
use crate::settings::Settings;
use crate::telemetry::Metrics;
use crate::watch::{ClusterKey, Stores, Trigger};

/// What the process has once.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) agents: Agents,
    pub(crate) events: Events,
    /// Volumes and nodes.
    pub(crate) cluster_scope: Arc<ClusterScope>,
    /// What Kubernetes says of a claim or a pod that is in trouble.
    pub(crate) object_events: ObjectEvents,
    /// When nodes renewed their Leases.
    pub(crate) leases: Leases,
}

impl Context {
    /// Forgets a cluster whose object is gone.
    pub(crate) fn forget(&self, cluster: &ClusterKey) {
        self.metrics.forget(cluster);
        self.agents.forget(cluster);
    }
}

/// What there is in one namespace, or in all, and the hands for it.
pub(crate) struct Scope {
    pub(crate) context: Arc<Context>,
    pub(crate) stores: Stores,
    /// Calls for a look at one of its clusters.
    pub(crate) trigger: Trigger,
}
