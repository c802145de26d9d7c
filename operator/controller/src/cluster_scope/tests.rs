//! What is kept of the surroundings, and whom a change calls.

use kube::runtime::watcher::{Error, Event};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::telemetry::Metrics;

fn from<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn node(heartbeat: &str, ready: &str) -> api_types::Node {
    from(json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "uid": "u", "resourceVersion": heartbeat,
            "labels": {"kubernetes.io/hostname": "host-1", "team": "a"}},
        "status": {"images": [{"names": ["mysql"]}], "conditions": [
            {"type": "Ready", "status": ready, "lastHeartbeatTime": format!("2026-01-01T00:00:{heartbeat}Z"),
             "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}))
}

async fn seen<T, K>(
    table: &Table<T>,
    events: Vec<Result<Event<K>, Error>>,
    read: fn(K) -> Option<T>,
) -> Vec<String>
where
    T: PartialEq,
    K: Resource<DynamicType = ()>,
{
    let mut seen = Vec::new();
    let see = |name: &str, _: Option<&T>, new: Option<&T>| {
        seen.push(format!("{}{name}", if new.is_some() { '+' } else { '-' }));
    };
    fill(futures::stream::iter(events), table, &Metrics::new(), read, see).await;
    seen
}

#[tokio::test]
async fn a_heartbeat_calls_nobody_and_a_node_that_goes_silent_does() {
    let table = Table::default();
    let first = vec![Ok(Event::Init), Ok(Event::InitApply(node("10", "True"))), Ok(Event::InitDone)];
    assert_eq!(seen(&table, first, |node| convert::node(node, &[])).await, ["+n1"]);
    assert!(table.is_read());
    assert_eq!(table.get("n1").unwrap().host.as_deref(), Some("host-1"));
    assert!(
        seen(&table, vec![Ok(Event::Apply(node("20", "True")))], |node| convert::node(node, &[]))
            .await
            .is_empty()
    );
    assert_eq!(
        seen(&table, vec![Ok(Event::Apply(node("30", "Unknown")))], |node| convert::node(node, &[])).await,
        ["+n1"]
    );
    let gone = vec![Ok(Event::Init), Ok(Event::InitDone)];
    assert_eq!(
        seen(&table, gone, |node| convert::node(node, &[])).await,
        ["-n1"],
        "it went while no watch was open"
    );
}

#[tokio::test]
async fn without_the_right_to_read_it_is_known_that_nothing_is_known() {
    let table: Table<Node> = Table::default();
    let status = from(json!({"status": "Failure", "message": "no", "reason": "Forbidden", "code": 403}));
    let refused = vec![Err(Error::WatchError(Box::new(status)))];
    seen::<_, api_types::Node>(&table, refused, |node| convert::node(node, &[])).await;
    table.settled().await;
    assert!(!table.is_read());
    let granted = vec![Ok(Event::Init), Ok(Event::InitDone)];
    seen::<_, api_types::Node>(&table, granted, |node| convert::node(node, &[])).await;
    assert!(table.is_read());
}

fn volume(patch: Value) -> Option<Volume> {
    let mut object = json!({"apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": "v", "uid": "u", "labels": {"disk": "fast"}},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "c",
            "persistentVolumeReclaimPolicy": "Delete"}, "status": {"phase": "Bound"}});
    for (key, value) in patch.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    convert::volume(from(object))
}

#[test]
fn of_other_peoples_volumes_nothing_is_kept() {
    let theirs = json!({"claimRef": {"namespace": "x", "name": "files", "uid": "c"}});
    assert_eq!(volume(theirs), None);
    let ours = volume(json!({"claimRef": {"namespace": "db", "name": "data-shop-0", "uid": "c"},
        "csi": {"driver": "d", "volumeHandle": "h"}}))
    .unwrap();
    assert_eq!((ours.source.as_deref(), ours.handle.as_deref()), (Some("csi"), Some("d/h")));
    assert_eq!((ours.capacity, ours.claim_uid.as_deref()), (Some(1 << 30), Some("c")));
    assert!(ours.labels.is_empty(), "nobody selects a volume that is bound");
}

#[test]
fn a_volume_that_only_some_nodes_can_mount_names_them() {
    let pinned = |key: &str, operator: &str| {
        let term = json!({"matchExpressions": [{"key": key, "operator": operator, "values": ["n1"]}]});
        let spec = json!({"local": {"path": "/disk"},
            "claimRef": {"namespace": "db", "name": "data-shop-0"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}});
        volume(spec).unwrap().hosts
    };
    assert_eq!(pinned("kubernetes.io/hostname", "In"), Some(vec!["n1".to_owned()]));
    assert_eq!(pinned("topology.hostpath.csi/node", "In"), Some(vec!["n1".to_owned()]));
    assert_eq!(pinned("kubernetes.io/hostname", "NotIn"), None);
    assert_eq!(pinned("topology.kubernetes.io/zone", "In"), None);
}

#[test]
fn a_claims_name_says_whose_it_is() {
    let key = |name| convert::cluster_of_claim("db", name).map(|key| key.to_string());
    assert_eq!(key("data-my-shop-2").as_deref(), Some("db/my-shop"));
    assert_eq!(key("data-my-shop-2-aside-0").as_deref(), Some("db/my-shop"), "what was set aside too");
    for other in ["data-shop", "data-shop-x", "data-shop-01", "shop-0", "data-"] {
        assert_eq!(key(other), None, "{other}");
    }
}

#[test]
fn a_node_is_drained_by_the_taints_that_the_operator_was_told() {
    let drained = |key: &str| {
        let taints = serde_json::json!([{"key": "other", "effect": "NoSchedule"}, {"key": key, "effect": "NoSchedule"}]);
        let node = serde_json::json!({"metadata": {"name": "n1"}, "spec": {"taints": taints}});
        let node: api_types::Node = serde_json::from_value(node).unwrap();
        convert::node(node, &["karpenter.sh/disrupted".to_owned()]).unwrap().draining
    };
    assert_eq!(drained("karpenter.sh/disrupted").as_deref(), Some("karpenter.sh/disrupted"));
    // One that may go, but need not.
    assert_eq!(drained("DeletionCandidateOfClusterAutoscaler"), None);
}
