//! From one watch into its store.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::{Stream, StreamExt, pin_mut};
use kube::Resource;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use tracing::warn;

use super::slim::{Keep, prune};
use crate::telemetry::Metrics;

/// What became of an object.
pub(crate) enum Change<'a, K> {
    /// It is there, perhaps changed. Also said of everything after a watch was begun anew.
    Is(&'a K),
    /// It is gone. Also said of what went while no watch was open.
    Gone(&'a K),
}

impl<K> Change<'_, K> {
    /// The object, as it is or last was.
    pub(crate) fn object(&self) -> &K {
        match self {
            Change::Is(object) | Change::Gone(object) => object,
        }
    }
}

/// Fills `writer`'s store from `events` for ever, and says each change to `see` once the store has it.
pub(crate) async fn pump<K>(
    events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    mut writer: Writer<K>,
    keep: Keep,
    metrics: Arc<Metrics>,
    mut see: impl FnMut(Change<'_, K>) + Send,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    let kind = kind_name::<K>();
    let store = writer.as_reader();
    let events = events.modify(|object| prune(object.meta_mut(), keep)).default_backoff();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => take(&event, &mut writer, &store, &mut see),
            Err(error) => {
                Metrics::count(&metrics.watch_errors, kind);
                warn!(kind, error = %error, "watch failed; it is begun anew");
            }
        }
    }
}

fn take<K>(event: &Event<K>, writer: &mut Writer<K>, store: &Store<K>, see: &mut impl FnMut(Change<'_, K>))
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let before = matches!(event, Event::InitDone).then(|| by_uid(store));
    writer.apply_watcher_event(event);
    match event {
        Event::Apply(object) => see(Change::Is(object)),
        Event::Delete(object) => see(Change::Gone(object)),
        Event::Init | Event::InitApply(_) => {}
        Event::InitDone => {
            let now = by_uid(store);
            for (uid, object) in before.unwrap_or_default() {
                if !now.contains_key(&uid) {
                    see(Change::Gone(&object));
                }
            }
            now.values().for_each(|object| see(Change::Is(object)));
        }
    }
}

fn by_uid<K>(store: &Store<K>) -> HashMap<Option<String>, Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    store.state().into_iter().map(|object| (object.meta().uid.clone(), object)).collect()
}

/// The kind's name for logs and metrics.
fn kind_name<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::kind(&()).as_ref() {
        "MySQLCluster" => "MySQLCluster",
        "Pod" => "Pod",
        "PersistentVolumeClaim" => "PersistentVolumeClaim",
        "Secret" => "Secret",
        "StatefulSet" => "StatefulSet",
        "Service" => "Service",
        "ConfigMap" => "ConfigMap",
        "ServiceAccount" => "ServiceAccount",
        "PodDisruptionBudget" => "PodDisruptionBudget",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Pod;

    fn pod(name: &str, uid: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some("db".into());
        pod.metadata.name = Some(name.into());
        pod.metadata.uid = Some(uid.into());
        pod
    }

    async fn seen(events: Vec<Event<Pod>>) -> (Vec<String>, Vec<String>) {
        let writer = Writer::<Pod>::default();
        let store = writer.as_reader();
        let mut said = Vec::new();
        let stream = futures::stream::iter(events.into_iter().map(Ok));
        pump(stream, writer, Keep::Labels, Arc::new(Metrics::new()), |change| {
            said.push(match change {
                Change::Is(pod) => format!("+{}", pod.metadata.uid.as_deref().unwrap()),
                Change::Gone(pod) => format!("-{}", pod.metadata.uid.as_deref().unwrap()),
            });
        })
        .await;
        said.sort();
        let mut kept: Vec<String> = store.state().iter().filter_map(|p| p.metadata.uid.clone()).collect();
        kept.sort();
        (said, kept)
    }

    #[tokio::test]
    async fn a_pod_that_went_while_no_watch_was_open_is_told_as_gone() {
        let list = |pods: Vec<Pod>| {
            [vec![Event::Init], pods.into_iter().map(Event::InitApply).collect(), vec![Event::InitDone]]
                .concat()
        };
        let first = list(vec![pod("shop-0", "a"), pod("shop-1", "b")]);
        // shop-0 was replaced by another pod of its name, shop-1 stayed.
        let second = list(vec![pod("shop-0", "c"), pod("shop-1", "b")]);
        let (said, kept) = seen([first, second].concat()).await;
        assert_eq!(said, ["+a", "+b", "+b", "+c", "-a"]);
        assert_eq!(kept, ["b", "c"]);
    }

    #[tokio::test]
    async fn nothing_is_told_before_a_list_is_whole() {
        let (said, kept) = seen(vec![Event::Init, Event::InitApply(pod("shop-0", "a"))]).await;
        assert!(said.is_empty() && kept.is_empty());
    }
}
