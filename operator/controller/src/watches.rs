//! The watches that fill the stores.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use mainstay_crd::names::LABEL_CLUSTER;
use serde::de::DeserializeOwned;

use crate::agents::{Agents, Target};
use crate::context::Context;
use crate::memory::Memory;
use crate::watch::pump::{Change, pump};
use crate::watch::{Claim, ClusterKey, Guarded, Keep, Meta, Pod, Stores, Trigger};

/// Objects fetched in one request of a list.
const PAGE: u32 = 100;

/// The watches of one namespace, or of all, to be run.
pub(crate) struct Watches {
    client: Client,
    namespace: Option<String>,
    context: Arc<Context>,
    memory: Arc<Memory>,
    trigger: Trigger,
    running: Vec<BoxFuture<'static, ()>>,
}

impl Watches {
    /// Prepares the watches of `namespace` (of all, if `None`).
    pub(crate) fn new(
        context: Arc<Context>,
        memory: Arc<Memory>,
        namespace: Option<String>,
        trigger: Trigger,
    ) -> (Self, Stores) {
        let client = context.client.clone();
        let mut watches = Watches { client, namespace, context, memory, trigger, running: Vec::new() };
        let stores = Stores {
            clusters: watches.clusters(),
            pods: watches.pods(),
            claims: watches.claims(),
            secrets: watches.secrets(),
            stateful_sets: watches.children(),
            services: watches.children(),
            config_maps: watches.children(),
            accounts: watches.children(),
            budgets: watches.children(),
        };
        (watches, stores)
    }

    /// Runs them for ever.
    pub(crate) fn run(self) -> impl Future<Output = ()> + Send {
        futures::future::join_all(self.running).map(|_| ())
    }

    fn clusters(&mut self) -> Store<Guarded> {
        let (context, memory, trigger) = (self.context.clone(), self.memory.clone(), self.trigger.clone());
        let events = watcher(self.api::<Guarded>(), watcher::Config::default().page_size(PAGE));
        self.start(events, Keep::Labels, move |change: Change<'_, Guarded>| match change {
            Change::Is(object) => {
                if let Some(key) = ClusterKey::of(object.meta()) {
                    trigger.pull(&key);
                }
            }
            Change::Gone(object) => {
                if let Some(key) = ClusterKey::of(object.meta()) {
                    context.forget(&key);
                    memory.forget(&key);
                }
            }
        })
    }

    fn pods(&mut self) -> Store<Pod> {
        let (agents, trigger) = (self.context.agents.clone(), self.trigger.clone());
        let events = watcher(self.api::<Pod>(), labelled());
        self.start(events, Keep::Labels, move |change| see_pod(&agents, &trigger, change))
    }

    fn claims(&mut self) -> Store<Claim> {
        let trigger = self.trigger.clone();
        let events = watcher(self.api::<Claim>(), labelled());
        self.start(events, Keep::Labels, move |change| pull(&trigger, &change))
    }

    fn secrets(&mut self) -> Store<Meta<Secret>> {
        let (context, trigger) = (self.context.clone(), self.trigger.clone());
        let events = watcher(self.api::<Meta<Secret>>(), labelled());
        self.start(events, Keep::Owners, move |change| {
            if let Some(key) = ClusterKey::of_child(change.object().meta()) {
                context.agents.trust().forget(&key);
            }
            pull(&trigger, &change);
        })
    }

    fn children<K>(&mut self) -> Store<Meta<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let trigger = self.trigger.clone();
        let events = watcher(self.api::<Meta<K>>(), labelled());
        self.start(events, Keep::Applied, move |change| pull(&trigger, &change))
    }

    fn start<K>(
        &mut self,
        events: impl futures::Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static,
        keep: Keep,
        see: impl FnMut(Change<'_, K>) + Send + 'static,
    ) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    {
        let writer = Writer::<K>::default();
        let store = writer.as_reader();
        self.running.push(pump(events, writer, keep, self.context.metrics.clone(), see).boxed());
        store
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

/// Only what says that it belongs to a cluster: nothing else enters memory.
fn labelled() -> watcher::Config {
    watcher::Config::default().labels(LABEL_CLUSTER).page_size(PAGE)
}

fn pull<K: Resource>(trigger: &Trigger, change: &Change<'_, K>) {
    if let Some(key) = ClusterKey::of_child(change.object().meta()) {
        trigger.pull(&key);
    }
}

/// Follows the agents of pods that have an address, and leaves those of pods that are gone or have ended.
fn see_pod(agents: &Agents, trigger: &Trigger, change: Change<'_, Pod>) {
    match &change {
        Change::Is(pod) => match Target::of(pod) {
            Some(target) => agents.follow(target, trigger.clone()),
            None => agents.leave(pod.metadata.uid.as_deref().unwrap_or_default()),
        },
        Change::Gone(pod) => agents.leave(pod.metadata.uid.as_deref().unwrap_or_default()),
    }
    pull(trigger, &change);
}
