//! Claims on an API server in memory.

use mainstay_core::Step;
use mainstay_crd::MySQLCluster;
use mainstay_crd::names::Names;
use serde_json::{Value, json};

use super::ActError;
use super::step::{Outcome, StepError, carry_out};
use crate::testing::{CLUSTER, Rig};

const CLAIM: &str = "/api/v1/namespaces/db/persistentvolumeclaims/data-shop-2";
const SNAPSHOT: &str = "/apis/snapshot.storage.k8s.io/v1/namespaces/db/volumesnapshots/data-shop-2-u";

/// A cluster of two that was one of three, and the claim that is left.
fn rig() -> Rig {
    let rig = Rig::new();
    rig.api.edit(CLUSTER, |cluster| {
        cluster["spec"]["replicas"] = json!(2);
        cluster["spec"]["storage"]["retention"] = json!({"whenScaled": {"policy": "Delete"}});
        cluster["status"] = json!({"replication": {"primary": 0}});
    });
    let labels = json!({"mysql.mainstay.dev/cluster": "shop"});
    let metadata = json!({"name": "data-shop-2", "namespace": "db", "uid": "u", "labels": labels});
    rig.api.put(CLAIM, json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}));
    rig
}

async fn take(rig: &Rig, cluster: Value, step: &Step) -> Result<Outcome, StepError> {
    let cluster: MySQLCluster = serde_json::from_value(cluster).unwrap();
    let names = Names::new("db", "shop");
    carry_out(&rig.context, &names, &cluster, step, &mut Default::default()).await
}

fn delete(rig: &Rig) -> Step {
    let version = rig.api.get(CLAIM).unwrap()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    Step::DeleteClaim {
        claim: "data-shop-2".into(),
        uid: "u".into(),
        resource_version: version,
        ordinal: 2,
        message: String::new(),
    }
}

#[tokio::test]
async fn a_claim_is_deleted_when_a_fresh_look_agrees() {
    let rig = rig();
    let cluster = rig.api.get(CLUSTER).unwrap();
    assert!(matches!(take(&rig, cluster, &delete(&rig)).await, Ok(Outcome::Told)));
    assert_eq!(rig.api.get(CLAIM), None);
}

#[tokio::test]
async fn a_claim_stays_when_anything_is_no_longer_as_it_was() {
    type Change = fn(&Rig);
    let changes: [(&str, Change); 7] = [
        ("wanted again", |rig| rig.api.edit(CLUSTER, |c| c["spec"]["replicas"] = json!(3))),
        ("another policy", |rig| rig.api.edit(CLUSTER, |c| c["spec"]["storage"]["retention"] = json!(null))),
        ("it leads", |rig| rig.api.edit(CLUSTER, |c| c["status"]["replication"]["primary"] = json!(2))),
        ("paused", |rig| rig.api.edit(CLUSTER, |c| c["spec"]["paused"] = json!(true))),
        ("another object", |rig| rig.api.edit(CLUSTER, |c| c["metadata"]["uid"] = json!("other"))),
        ("a pod", |rig| {
            let pod =
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shop-2", "namespace": "db"}});
            rig.api.put("/api/v1/namespaces/db/pods/shop-2", pod);
        }),
        ("a changed claim", |rig| rig.api.edit(CLAIM, |c| c["metadata"]["labels"]["x"] = json!("y"))),
    ];
    for (name, change) in changes {
        let rig = rig();
        let (cluster, step) = (rig.api.get(CLUSTER).unwrap(), delete(&rig));
        change(&rig);
        assert!(matches!(take(&rig, cluster, &step).await, Ok(Outcome::Outdated)), "{name}");
        assert!(rig.api.get(CLAIM).is_some(), "{name}");
    }
}

fn snapshot() -> Step {
    Step::SnapshotClaim {
        claim: "data-shop-2".into(),
        uid: "u".into(),
        snapshot: "data-shop-2-u".into(),
        ordinal: 2,
        cluster_id: "id".into(),
    }
}

#[tokio::test]
async fn a_snapshot_counts_once_it_is_ready_to_use() {
    let rig = rig();
    let cluster = || rig.api.get(CLUSTER).unwrap();
    for _ in 0..2 {
        assert!(matches!(take(&rig, cluster(), &snapshot()).await, Ok(Outcome::Later(_))));
    }
    let taken = rig.api.get(SNAPSHOT).unwrap();
    assert_eq!(taken["spec"]["source"]["persistentVolumeClaimName"], "data-shop-2");
    assert_eq!(taken["metadata"]["labels"]["mysql.mainstay.dev/ordinal"], "2");
    assert_eq!(taken["metadata"]["ownerReferences"], Value::Null, "it outlives the cluster");
    rig.api.edit(SNAPSHOT, |snapshot| snapshot["status"] = json!({"readyToUse": true}));
    assert!(matches!(take(&rig, cluster(), &snapshot()).await, Ok(Outcome::Told)));
    let annotations = rig.api.get(CLAIM).unwrap()["metadata"]["annotations"].clone();
    assert_eq!(annotations["mysql.mainstay.dev/snapshot-ready"], "data-shop-2-u");
}

#[tokio::test]
async fn a_cluster_without_snapshots_is_told_so() {
    let (group, kind) = (rig(), rig());
    group.api.without("snapshot.storage.k8s.io");
    kind.api.refuse("volumesnapshots", 404);
    for rig in [group, kind] {
        let error = take(&rig, rig.api.get(CLUSTER).unwrap(), &snapshot()).await.unwrap_err();
        let error = ActError::from(error);
        assert!(
            error.is_final() && error.said().contains("no snapshot.storage.k8s.io/v1 API"),
            "{}",
            error.said()
        );
        assert!(rig.api.get(CLAIM).is_some());
    }
}

#[tokio::test]
async fn a_snapshot_that_failed_or_is_another_claims_is_never_taken_for_a_copy() {
    let rig = rig();
    let cluster = rig.api.get(CLUSTER).unwrap();
    take(&rig, cluster.clone(), &snapshot()).await.unwrap();
    let failed = json!({"readyToUse": false, "error": {"message": "quota"}});
    rig.api.edit(SNAPSHOT, |snapshot| snapshot["status"] = failed);
    let error = take(&rig, cluster.clone(), &snapshot()).await.unwrap_err();
    assert!(error.to_string().contains("quota"), "{error}");
    rig.api.edit(SNAPSHOT, |snapshot| {
        snapshot["status"] = json!({"readyToUse": true});
        snapshot["metadata"]["annotations"]["mysql.mainstay.dev/claim-uid"] = json!("other");
    });
    assert!(take(&rig, cluster, &snapshot()).await.is_err());
    assert_eq!(rig.api.get(CLAIM).unwrap()["metadata"]["annotations"], Value::Null);
}
