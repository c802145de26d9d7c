//! What is remembered of a cluster between two reconciliations. All of it can be lost: it saves requests, and no
//! decision hangs on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use kube::ResourceExt;
use mainstay_crd::{ClusterPhase, MySQLCluster};
use tokio::sync::Mutex;

use crate::act::ActMemory;
use crate::backoff::Backoff;
use crate::watch::ClusterKey;

/// What is remembered of all clusters.
#[derive(Default)]
pub(crate) struct Memory(SyncMutex<HashMap<ClusterKey, Entry>>);

struct Entry {
    memory: Arc<Mutex<ClusterMemory>>,
    backoff: Backoff,
}

/// What is remembered of one cluster.
#[derive(Default)]
pub(crate) struct ClusterMemory {
    /// The object as our last write returned it: the watch may not have brought it yet.
    pub(crate) written: Option<MySQLCluster>,
    /// What saves requests when things are written.
    pub(crate) act: ActMemory,
    /// Since when what the record says is known.
    pub(crate) first_sights: FirstSights,
    /// The state of the object in which it was told to be malformed.
    pub(crate) malformed: Option<String>,
    /// The state that metrics show.
    pub(crate) shown: Option<ClusterPhase>,
}

/// When each of some moments was seen first, by a clock that only goes forward.
#[derive(Debug, Default)]
pub(crate) struct FirstSights(HashMap<String, Instant>);

impl FirstSights {
    /// How long each of `moments` is known. Others are forgotten.
    pub(crate) fn seen_for(
        &mut self,
        moments: Vec<String>,
        now: Instant,
    ) -> BTreeMap<String, SignedDuration> {
        let before = std::mem::take(&mut self.0);
        let first = |moment: &String| before.get(moment).copied().unwrap_or(now);
        self.0 = moments.into_iter().map(|moment| (first(&moment), moment)).map(|(at, m)| (m, at)).collect();
        let age =
            |at: &Instant| SignedDuration::try_from(now.duration_since(*at)).unwrap_or(SignedDuration::MAX);
        self.0.iter().map(|(moment, at)| (moment.clone(), age(at))).collect()
    }
}

impl Memory {
    /// What is remembered of `cluster`. Reconciliations of one cluster never overlap, so the lock is free.
    pub(crate) fn of(&self, cluster: &ClusterKey) -> Arc<Mutex<ClusterMemory>> {
        self.entry(cluster, |entry| entry.memory.clone())
    }

    /// How long to wait after another failure.
    pub(crate) fn failed(&self, cluster: &ClusterKey) -> Duration {
        self.entry(cluster, |entry| entry.backoff.next())
    }

    /// The next wait after a failure is the first again.
    pub(crate) fn succeeded(&self, cluster: &ClusterKey) {
        self.entry(cluster, |entry| entry.backoff.reset());
    }

    /// The cluster is gone.
    pub(crate) fn forget(&self, cluster: &ClusterKey) {
        self.lock().remove(cluster);
    }

    fn entry<T>(&self, cluster: &ClusterKey, of: impl FnOnce(&mut Entry) -> T) -> T {
        let mut all = self.lock();
        let new = || Entry { memory: Arc::default(), backoff: Backoff::for_objects() };
        of(all.entry(cluster.clone()).or_insert_with(new))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterKey, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClusterMemory {
    /// The newer of what the watch brought and what our last write returned. A plan made from an object that lacks
    /// our own last record would announce the same intention twice.
    pub(crate) fn newest(&mut self, watched: &MySQLCluster) -> MySQLCluster {
        match &self.written {
            Some(written) if is_newer(written, watched) => written.clone(),
            _ => {
                self.written = None;
                watched.clone()
            }
        }
    }
}

/// Whether `a` is a later state of the same object than `b`.
fn is_newer(a: &MySQLCluster, b: &MySQLCluster) -> bool {
    if a.uid() != b.uid() {
        return false;
    }
    let version = |object: &MySQLCluster| object.resource_version()?.parse::<u128>().ok();
    match (version(a), version(b)) {
        (Some(a), Some(b)) => a > b,
        // Not the numbers that every API server gives: the record's own order is left.
        _ => revision(a) > revision(b),
    }
}

fn revision(cluster: &MySQLCluster) -> Option<i64> {
    Some(cluster.status.as_ref()?.replication.as_ref()?.revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(uid: &str, version: &str, revision: i64) -> MySQLCluster {
        let cluster = serde_json::json!({
            "apiVersion": "mysql.mainstay.dev/v1alpha1", "kind": "MySQLCluster",
            "metadata": {"name": "shop", "namespace": "db", "uid": uid, "resourceVersion": version},
            "spec": {"image": "mysql:9.7", "storage": {"size": "1Gi"}},
            "status": {"replication": {"revision": revision}},
        });
        serde_json::from_value(cluster).unwrap()
    }

    #[test]
    fn our_own_write_counts_until_the_watch_has_brought_it() {
        let mut memory = ClusterMemory { written: Some(cluster("u", "100", 2)), ..ClusterMemory::default() };
        assert_eq!(revision(&memory.newest(&cluster("u", "99", 1))), Some(2));
        assert_eq!(revision(&memory.newest(&cluster("u", "101", 3))), Some(3));
        assert!(memory.written.is_none());
    }

    #[test]
    fn what_is_known_is_measured_from_its_first_sight_and_anew_by_who_takes_over() {
        let (mut one, mut other) = (FirstSights::default(), FirstSights::default());
        let begun = Instant::now();
        let moments = || vec!["a".to_owned()];
        assert_eq!(one.seen_for(moments(), begun)["a"], SignedDuration::ZERO);
        let later = begun + Duration::from_secs(7);
        assert_eq!(one.seen_for(moments(), later)["a"], SignedDuration::from_secs(7));
        assert_eq!(other.seen_for(moments(), later)["a"], SignedDuration::ZERO);
        assert!(one.seen_for(Vec::new(), later).is_empty());
        assert_eq!(
            one.seen_for(moments(), later)["a"],
            SignedDuration::ZERO,
            "gone and come back, it is new"
        );
    }

    #[test]
    fn a_record_that_was_set_back_by_others_is_seen() {
        let mut memory = ClusterMemory { written: Some(cluster("u", "100", 7)), ..ClusterMemory::default() };
        assert_eq!(revision(&memory.newest(&cluster("u", "101", 1))), Some(1));
    }

    #[test]
    fn another_object_of_the_same_name_inherits_nothing() {
        let mut memory =
            ClusterMemory { written: Some(cluster("old", "100", 7)), ..ClusterMemory::default() };
        assert_eq!(revision(&memory.newest(&cluster("new", "90", 0))), Some(0));
    }
}
