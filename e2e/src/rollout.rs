//! Which pods were replaced, and how many were away at a time: told by a watch that misses nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use mainstay_crd::names::LABEL_CLUSTER;
use tokio::task::JoinHandle;

use crate::database::Database;
use crate::told::is_ready;

/// A watch of a cluster's pods.
pub struct Rollout {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// What was seen since the watch began.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Pods by name: UID, and whether Ready.
    pods: BTreeMap<String, (String, bool)>,
    /// Names of the pods that were replaced, in the order in which their successors appeared.
    pub replaced: Vec<String>,
    /// Most pods that were not Ready, or not there, at the same time.
    pub most_away: usize,
}

impl Rollout {
    /// Watches the pods of a cluster whose pods are all Ready.
    pub fn watch(database: &Database<'_>) -> Rollout {
        let of_cluster =
            watcher::Config::default().labels(&format!("{LABEL_CLUSTER}={}", database.names.cluster));
        let pods = database.scope.api::<Pod>();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut events = watcher(pods, of_cluster).default_backoff().boxed();
            while let Some(event) = events.next().await {
                if let Ok(event) = event {
                    shared.lock().unwrap_or_else(PoisonError::into_inner).take(event);
                }
            }
        });
        Rollout { seen, task }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Rollout {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Apply(pod) | Event::InitApply(pod) => {
                let uid = pod.uid().unwrap_or_default();
                let ready = is_ready(&pod) && pod.metadata.deletion_timestamp.is_none();
                let before = self.pods.insert(pod.name_any(), (uid.clone(), ready));
                if before.is_some_and(|(old, _)| old != uid) {
                    self.replaced.push(pod.name_any());
                }
            }
            Event::Delete(pod) => {
                if let Some((_, ready)) = self.pods.get_mut(&pod.name_any()) {
                    *ready = false;
                }
            }
            Event::Init | Event::InitDone => {}
        }
        let away = self.pods.values().filter(|(_, ready)| !ready).count();
        self.most_away = self.most_away.max(away);
    }
}
