//! What is asked for beyond what the watches bring, and that an answer calls for a look.

use futures::{FutureExt, StreamExt};
use mainstay_core::Node;
use serde_json::json;

use crate::testing::Rig;

fn claim(rig: &Rig) {
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-shop-0",
        "namespace": "db", "labels": {"mysql.mainstay.dev/cluster": "shop"}, "uid": "claim-uid",
        "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Pending"}});
    rig.api.put("/api/v1/namespaces/db/persistentvolumeclaims/data-shop-0", claim);
}

#[tokio::test]
async fn why_a_claim_is_not_bound_is_told_as_soon_as_it_is_known() {
    let mut rig = Rig::new();
    rig.settle().await;
    claim(&rig);
    let event = json!({"metadata": {"name": "e", "namespace": "db"}, "involvedObject": {"uid": "claim-uid"},
        "reason": "ProvisioningFailed", "message": "no space", "lastTimestamp": "2026-01-01T00:00:02Z"});
    rig.api.put("/api/v1/namespaces/db/events/e", event);
    rig.reconcile().await.unwrap();
    let said = |rig: &Rig| rig.condition("StorageReady")["message"].as_str().unwrap().contains("no space");
    assert!(!said(&rig), "nothing is waited for");
    rig.calls.next().await.unwrap();
    rig.reconcile().await.unwrap();
    assert!(said(&rig), "{}", rig.condition("StorageReady"));
    assert!(rig.calls.next().now_or_never().is_none(), "it is asked once, and says nothing more");
}

#[tokio::test]
async fn when_a_silent_node_renewed_its_lease_calls_for_a_look() {
    let mut rig = Rig::new();
    rig.settle().await;
    let cluster_scope = &rig.context.cluster_scope;
    cluster_scope.volumes.filled([]);
    cluster_scope.classes.filled([]);
    cluster_scope.attachments.filled([]);
    let node = Node { ready: Some("True".into()), ..Node::default() };
    cluster_scope.nodes.filled([("n1".to_owned(), node)]);
    let lease = json!({"metadata": {"name": "n1", "namespace": "kube-node-lease"},
        "spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1";
    rig.api.put(leases, lease);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shop-0", "namespace": "db",
        "labels": {"mysql.mainstay.dev/cluster": "shop"}}, "spec": {"nodeName": "n1"},
        "status": {"phase": "Running", "conditions": [{"type": "Initialized", "status": "True"}],
            "containerStatuses": [{"name": "mysql", "state": {"running": {}}}]}});
    rig.api.put("/api/v1/namespaces/db/pods/shop-0", pod);
    rig.reconcile().await.unwrap();
    rig.calls.next().await.unwrap();
}
