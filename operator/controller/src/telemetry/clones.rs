//! Metrics of clones under way. They have an instance's name as a label, and are there only while it is cloned.

use mainstay_crd::names::MAX_REPLICAS;
use mainstay_crd::{CloneProgress, InstanceStatus};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::watch::ClusterKey;

/// An instance of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterInstance {
    namespace: String,
    name: String,
    ordinal: u32,
}

/// Names of the metrics and what they tell, in the order of [`values`].
const METRICS: [(&str, &str); 4] = [
    ("clone_received_bytes", "Bytes that a clone under way has received"),
    ("clone_expected_bytes", "Bytes that a clone under way is expected to receive"),
    ("clone_bytes_per_second", "Bytes a second that a clone under way receives, lately"),
    ("clone_failed_tries", "Tries that failed before the clone under way"),
];

/// What is shown of one clone; nothing where nothing is known.
fn values(clone: &CloneProgress) -> [Option<i64>; 4] {
    [Some(clone.bytes), clone.total_bytes, clone.bytes_per_second, Some(i64::from(clone.failures))]
}

/// Clones under way.
#[derive(Default)]
pub(super) struct Clones([Family<ClusterInstance, Gauge>; 4]);

impl Clones {
    pub(super) fn register(&self, to: &mut Registry) {
        for ((name, help), family) in METRICS.iter().zip(&self.0) {
            to.register(*name, *help, family.clone());
        }
    }

    /// Shows the clones of `instances`, and no others of `cluster`.
    pub(super) fn show(&self, cluster: &ClusterKey, instances: &[InstanceStatus]) {
        for ordinal in 0..MAX_REPLICAS {
            let instance = instances.iter().find(|i| i.ordinal.unsigned_abs() == ordinal);
            let shown = instance.and_then(|i| i.clone.as_ref()).map_or([None; 4], values);
            let labels =
                ClusterInstance { namespace: cluster.namespace.clone(), name: cluster.name.clone(), ordinal };
            for (family, value) in self.0.iter().zip(shown) {
                match value {
                    Some(value) => {
                        family.get_or_create(&labels).set(value);
                    }
                    None => {
                        family.remove(&labels);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_shown_while_it_is_under_way() {
        let mut registry = Registry::default();
        let clones = Clones::default();
        clones.register(&mut registry);
        let cluster = ClusterKey::named("db", "shop");
        let instance = serde_json::json!({"name": "shop-1", "ordinal": 1, "ready": false, "state": "Cloning",
            "clone": {"donor": "shop-0", "bytes": 7, "totalBytes": 9, "failures": 2}});
        let text = |instances: &[InstanceStatus]| {
            clones.show(&cluster, instances);
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        let during = text(&[serde_json::from_value(instance).unwrap()]);
        let labels = "{namespace=\"db\",name=\"shop\",ordinal=\"1\"}";
        for line in ["clone_received_bytes", "clone_expected_bytes", "clone_failed_tries"]
            .into_iter()
            .zip([7, 9, 2])
            .map(|(name, value)| format!("{name}{labels} {value}\n"))
        {
            assert!(during.contains(&line), "{line}: {during}");
        }
        assert!(!during.contains("clone_bytes_per_second{"), "{during}");
        assert!(!text(&[]).contains("shop"));
    }
}
