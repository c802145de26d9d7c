//! Pods that are taken only while that is safe by what the API server says at that moment.

use axum::http::Method;
use serde_json::json;

use crate::testing::{CLUSTER, Rig};

const POD: &str = "/api/v1/namespaces/db/pods/shop-0";
const CLAIM: &str = "/api/v1/namespaces/db/persistentvolumeclaims/data-shop-0";
const VOLUME: &str = "/api/v1/persistentvolumes/pv-0";

/// A pod that does not serve and was made from an older template, with its claim.
async fn outdated() -> Rig {
    let mut rig = Rig::new();
    rig.settle().await;
    let labels = json!({"mysql.mainstay.dev/cluster": "shop"});
    let annotations = json!({"mysql.mainstay.dev/template-hash": "older"});
    let metadata =
        |name: &str| json!({"name": name, "namespace": "db", "labels": labels, "annotations": annotations});
    rig.api.put(
        CLAIM,
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata("data-shop-0"),
            "spec": {"volumeName": "pv-0"}, "status": {"phase": "Bound"}}),
    );
    rig.api.put(
        VOLUME,
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-0"},
            "spec": {"persistentVolumeReclaimPolicy": "Delete"}}),
    );
    rig.api.put(
        POD,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata("shop-0"), "status": {"phase": "Pending"}}),
    );
    rig
}

fn deleted(rig: &Rig) -> Vec<String> {
    let deletes = rig.api.requests().into_iter().filter(|request| request.method == Method::DELETE);
    deletes.map(|request| request.what).collect()
}

#[tokio::test]
async fn a_pod_goes_while_its_claim_stays() {
    let mut rig = outdated().await;
    rig.reconcile().await.unwrap();
    assert_eq!(deleted(&rig), ["pods/shop-0"]);
}

#[tokio::test]
async fn a_pod_stays_whose_claim_was_deleted_a_moment_ago() {
    let mut rig = outdated().await;
    rig.sync();
    rig.api.edit(CLAIM, |claim| claim["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
    rig.reconcile_stale().await.unwrap();
    assert_eq!(deleted(&rig), [] as [&str; 0]);
    rig.settle().await;
    assert_eq!(deleted(&rig), [] as [&str; 0]);
    assert!(rig.api.get(POD).is_some());
    let told = rig.condition("StorageReady");
    assert_eq!(told["reason"], "ClaimTerminating");
    assert!(told["message"].as_str().unwrap().contains("can't see its volume pv-0"), "{told}");
}

#[tokio::test]
async fn a_pod_stays_that_was_scaled_away_when_its_claim_was_deleted() {
    let mut rig = outdated().await;
    for (path, name) in [(POD, "shop-2"), (CLAIM, "data-shop-2")] {
        let mut object = rig.api.get(path).unwrap();
        object["metadata"]["name"] = json!(name);
        object["metadata"]["uid"] = json!(name);
        let (collection, _) = path.rsplit_once('/').unwrap();
        rig.api.put(&format!("{collection}/{name}"), object);
    }
    rig.api.edit(CLUSTER, |cluster| cluster["spec"]["replicas"] = json!(1));
    rig.sync();
    let claim = "/api/v1/namespaces/db/persistentvolumeclaims/data-shop-2";
    rig.api.edit(claim, |claim| claim["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
    rig.reconcile_stale().await.unwrap();
    let set = rig.api.get("/apis/apps/v1/namespaces/db/statefulsets/shop").unwrap();
    assert_eq!(set["spec"]["replicas"], 3);
}
