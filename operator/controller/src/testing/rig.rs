//! The operator, all of it but for its watches, on an API server in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Parser;
use futures::channel::mpsc::UnboundedReceiver;
use kube::runtime::controller::Action;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use mainstay_crd::names::LABEL_CLUSTER;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Api, FakeAgent, Net};
use crate::agents::{Agents, Dialer, Trust};
use crate::cluster_scope::{Leases, ObjectEvents};
use crate::context::{Context, Scope};
use crate::events::Events;
use crate::memory::Memory;
use crate::reconcile::{Error, Reconciler, reconcile};
use crate::settings::Settings;
use crate::telemetry::Metrics;
use crate::watch::{ClusterRef, Keep, Stores, Trigger, prune};

/// The cluster `shop` in `db`.
pub(crate) const CLUSTER: &str = "/apis/mysql.mainstay.dev/v1alpha1/namespaces/db/mysqlclusters/shop";

/// An operator.
pub(crate) struct Rig {
    pub(crate) api: Api,
    pub(crate) context: Arc<Context>,
    memory: Arc<Memory>,
    stores: Option<Stores>,
    pub(crate) trigger: Trigger,
    /// Looks at a cluster that were asked for.
    pub(crate) calls: UnboundedReceiver<ClusterRef>,
    /// The pods' network, and the agents by ordinal.
    pub(super) net: Net,
    pub(super) instances: BTreeMap<u32, FakeAgent>,
}

impl Rig {
    /// An operator and a new cluster of three.
    pub(crate) fn new() -> Self {
        let api = Api::default();
        api.put(
            CLUSTER,
            json!({
                "apiVersion": "mysql.mainstay.dev/v1alpha1", "kind": "MySQLCluster",
                "metadata": {"name": "shop", "namespace": "db"},
                "spec": {"replicas": 3, "image": "mysql:9.7", "storage": {"size": "1Gi"}},
            }),
        );
        Rig::started(api)
    }

    /// An operator that was just started.
    pub(crate) fn started(api: Api) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let args = ["mainstay-controller", "--namespace", "db", "--agent-image", "mainstay:1"];
        let (client, metrics, net) = (api.client(), Arc::new(Metrics::new()), Net::default());
        let context = Context {
            agents: Agents::new(Dialer::Memory(net.clone()), Trust::new(client.clone()), metrics.clone()),
            events: Events::start(client.clone(), "test", metrics.events_lost.clone()),
            cluster_scope: Arc::default(),
            object_events: ObjectEvents::new(client.clone()),
            leases: Leases::new(client.clone()),
            settings: Settings::parse_from(args),
            client,
            metrics,
        };
        let instances = BTreeMap::new();
        let (to, calls) = futures::channel::mpsc::unbounded();
        Rig {
            api,
            context: Arc::new(context),
            memory: Arc::default(),
            stores: None,
            trigger: Trigger::new(to),
            calls,
            net,
            instances,
        }
    }

    /// Lets the watches bring everything.
    pub(crate) fn sync(&mut self) {
        self.stores = Some(Stores {
            clusters: filled(self.api.list("mysqlclusters"), Keep::Labels),
            pods: filled(self.labelled("pods"), Keep::Labels),
            claims: filled(self.labelled("persistentvolumeclaims"), Keep::Labels),
            secrets: filled(self.labelled("secrets"), Keep::Owners),
            stateful_sets: filled(self.labelled("statefulsets"), Keep::Applied),
            services: filled(self.labelled("services"), Keep::Applied),
            config_maps: filled(self.labelled("configmaps"), Keep::Applied),
            accounts: filled(self.labelled("serviceaccounts"), Keep::Applied),
            budgets: filled(self.labelled("poddisruptionbudgets"), Keep::Applied),
        });
    }

    /// What the watches select.
    fn labelled(&self, plural: &str) -> Vec<Value> {
        let mut objects = self.api.list(plural);
        objects.retain(|object| object["metadata"]["labels"][LABEL_CLUSTER].is_string());
        objects
    }

    /// One reconciliation of what the watches have brought.
    pub(crate) async fn reconcile_stale(&mut self) -> Result<Action, Error> {
        let stores = self.stores.clone().unwrap();
        let object = stores.clusters.state().into_iter().find(|c| c.name_any() == "shop").unwrap();
        let scope = Scope { context: self.context.clone(), stores, trigger: self.trigger.clone() };
        reconcile(object, Arc::new(Reconciler { scope, memory: self.memory.clone() })).await
    }

    /// One reconciliation of what there is.
    pub(crate) async fn reconcile(&mut self) -> Result<Action, Error> {
        self.sync();
        self.reconcile_stale().await
    }

    /// Reconciles until nothing is written any more.
    pub(crate) async fn settle(&mut self) {
        let mut before = None;
        while before != Some(self.api.version()) {
            before = Some(self.api.version());
            self.reconcile().await.unwrap();
        }
        self.api.requests();
    }

    /// The cluster's status.
    pub(crate) fn status(&self) -> Value {
        self.api.get(CLUSTER).unwrap()["status"].clone()
    }

    /// A condition of the cluster.
    pub(crate) fn condition(&self, type_: &str) -> Value {
        let conditions = self.status()["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == type_).unwrap_or_default()
    }
}

fn filled<K>(objects: Vec<Value>, keep: Keep) -> kube::runtime::reflector::Store<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + 'static,
{
    let mut writer = Writer::<K>::default();
    writer.apply_watcher_event(&Event::Init);
    for object in objects {
        let mut object: K = serde_json::from_value(object).unwrap();
        prune(object.meta_mut(), keep);
        writer.apply_watcher_event(&Event::InitApply(object));
    }
    writer.apply_watcher_event(&Event::InitDone);
    writer.as_reader()
}
