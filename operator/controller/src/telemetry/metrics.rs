//! Metrics, all of them, with their names. Labels have few values each: no cluster's or pod's name is one, but for
//! the state of each cluster, without which nobody could be paged, and for what lasts only a while.

use mainstay_crd::{ClusterPhase, InstanceStatus, Judgement};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::clones::Clones;
use crate::watch::ClusterKey;

/// What is counted, as a bounded name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Kind {
    pub(crate) kind: &'static str,
}

/// A cluster and its state in one word.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ClusterState {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) state: String,
}

impl ClusterState {
    fn new(cluster: &ClusterKey, state: ClusterPhase) -> Self {
        ClusterState {
            namespace: cluster.namespace.clone(),
            name: cluster.name.clone(),
            state: format!("{state:?}"),
        }
    }
}

/// What was said of instances of a cluster that came back with other data.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ClusterVerdict {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) judgement: String,
}

/// Every judgement that keeps an instance out.
const BAD: [Judgement; 5] = [
    Judgement::NewVolumeEmpty,
    Judgement::NewVolumeForeign,
    Judgement::RolledBack,
    Judgement::Wiped,
    Judgement::Partial,
];

/// Every state.
const PHASES: [ClusterPhase; 7] = [
    ClusterPhase::Incomplete,
    ClusterPhase::Initializing,
    ClusterPhase::Cloning,
    ClusterPhase::Healthy,
    ClusterPhase::Degraded,
    ClusterPhase::Failed,
    ClusterPhase::Lost,
];

/// The operator's metrics.
pub(crate) struct Metrics {
    registry: Registry,
    /// Reconciliations that were begun.
    pub(crate) reconciles: Counter,
    /// Reconciliations that failed, by the kind of error.
    pub(crate) errors: Family<Kind, Counter>,
    /// How long reconciliations took.
    pub(crate) duration: Histogram,
    /// 1 for the state that a cluster is in.
    pub(crate) states: Family<ClusterState, Gauge>,
    /// Instances of a cluster that came back with other data than left, by judgement. None of the others.
    pub(crate) verdicts: Family<ClusterVerdict, Gauge>,
    /// Clones under way.
    clones: Clones,
    /// Open streams of agents.
    pub(crate) streams: Gauge,
    /// Streams that ended, by why.
    pub(crate) stream_ends: Family<Kind, Counter>,
    /// TLS handshakes with agents, by whether a session was resumed.
    pub(crate) handshakes: Family<Kind, Counter>,
    /// Steps that were carried out, by kind.
    pub(crate) steps: Family<Kind, Counter>,
    /// Writes to the API server, by what was written.
    pub(crate) writes: Family<Kind, Counter>,
    /// Events that could not be published.
    pub(crate) events_lost: Counter,
    /// Objects that could not be read.
    pub(crate) malformed: Counter,
    /// 1 while this operator leads.
    pub(crate) leading: Gauge,
    /// Restarts of watches, by kind of object.
    pub(crate) watch_errors: Family<Kind, Counter>,
}

impl Metrics {
    /// All metrics, at nought.
    pub(crate) fn new() -> Self {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("mainstay"),
            reconciles: Counter::default(),
            errors: Family::default(),
            duration: Histogram::new(exponential_buckets(0.001, 3.0, 10)),
            states: Family::default(),
            verdicts: Family::default(),
            clones: Clones::default(),
            streams: Gauge::default(),
            stream_ends: Family::default(),
            handshakes: Family::default(),
            steps: Family::default(),
            writes: Family::default(),
            events_lost: Counter::default(),
            malformed: Counter::default(),
            leading: Gauge::default(),
            watch_errors: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let to = &mut self.registry;
        to.register("reconciles", "Reconciliations that were begun", self.reconciles.clone());
        to.register("reconcile_errors", "Reconciliations that failed, by kind of error", self.errors.clone());
        to.register_with_unit(
            "reconcile_duration",
            "How long reconciliations took",
            Unit::Seconds,
            self.duration.clone(),
        );
        to.register("cluster_state", "1 for the state that a cluster is in", self.states.clone());
        to.register(
            "instance_verdict",
            "Instances that came back with other data than left, by judgement",
            self.verdicts.clone(),
        );
        self.clones.register(to);
        to.register("agent_streams", "Open streams of agents", self.streams.clone());
        to.register("agent_stream_ends", "Streams of agents that ended, by why", self.stream_ends.clone());
        to.register("agent_handshakes", "TLS handshakes with agents", self.handshakes.clone());
        to.register("steps", "Steps that were carried out, by kind", self.steps.clone());
        to.register("api_writes", "Writes to the API server, by what was written", self.writes.clone());
        to.register("events_lost", "Events that could not be published", self.events_lost.clone());
        to.register("malformed_objects", "Objects that could not be read", self.malformed.clone());
        to.register("leading", "1 while this operator leads", self.leading.clone());
        to.register("watch_errors", "Failures of watches, by kind of object", self.watch_errors.clone());
    }

    /// Counts one more of `kind` in `family`.
    pub(crate) fn count(family: &Family<Kind, Counter>, kind: &'static str) {
        family.get_or_create(&Kind { kind }).inc();
    }

    /// Shows that `cluster` is in `state`, and no longer in `before`.
    pub(crate) fn show(&self, cluster: &ClusterKey, before: Option<ClusterPhase>, state: ClusterPhase) {
        if before == Some(state) {
            return;
        }
        if let Some(before) = before {
            self.states.remove(&ClusterState::new(cluster, before));
        }
        self.states.get_or_create(&ClusterState::new(cluster, state)).set(1);
    }

    /// Shows how many of `cluster`'s instances came back with other data than left.
    pub(crate) fn judged(&self, cluster: &ClusterKey, instances: &[InstanceStatus]) {
        for judgement in BAD {
            let of_kind = |i: &&InstanceStatus| i.verdict.as_ref().is_some_and(|v| v.judgement == judgement);
            let count = i64::try_from(instances.iter().filter(of_kind).count()).unwrap_or(i64::MAX);
            let labels = ClusterVerdict {
                namespace: cluster.namespace.clone(),
                name: cluster.name.clone(),
                judgement: format!("{judgement:?}"),
            };
            if count > 0 {
                self.verdicts.get_or_create(&labels).set(count);
            } else {
                self.verdicts.remove(&labels);
            }
        }
    }

    /// Shows how far the clones of `cluster`'s instances are.
    pub(crate) fn cloned(&self, cluster: &ClusterKey, instances: &[InstanceStatus]) {
        self.clones.show(cluster, instances);
    }

    /// Shows no state of `cluster`, whose object is gone.
    pub(crate) fn forget(&self, cluster: &ClusterKey) {
        self.judged(cluster, &[]);
        self.cloned(cluster, &[]);
        for state in PHASES {
            self.states.remove(&ClusterState::new(cluster, state));
        }
    }

    /// In the format that Prometheus reads.
    ///
    /// # Errors
    /// None is known: writing to a string does not fail.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown_under_its_name() {
        let metrics = Metrics::new();
        Metrics::count(&metrics.errors, "Order");
        let instance = serde_json::json!({"name": "shop-1", "ordinal": 1, "ready": false, "state": "Waiting",
            "verdict": {"judgement": "Wiped", "message": "", "podUID": "", "at": "2026-01-01T00:00:00Z"}});
        let cluster = ClusterKey::named("db", "shop");
        metrics.judged(&cluster, &[serde_json::from_value(instance).unwrap()]);
        metrics.duration.observe(0.01);
        let text = metrics.text().unwrap();
        assert!(text.contains("mainstay_reconcile_errors_total{kind=\"Order\"} 1"), "{text}");
        assert!(text.contains("mainstay_reconcile_duration_seconds_count 1"), "{text}");
        let wiped = "mainstay_instance_verdict{namespace=\"db\",name=\"shop\",judgement=\"Wiped\"} 1";
        assert!(text.contains(wiped), "{text}");
        metrics.forget(&cluster);
        assert!(!metrics.text().unwrap().contains("judgement="));
    }
}
