//! Claims on an API server in memory.

use mainstay_core::{ClaimStep, LeaveNote, Step, Unneeded, VolumeStep};
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::Names;
use mainstay_crd::{LedgerEntry, MySQLCluster};
use serde_json::{Value, json};

use super::ActError;
use super::outcome::{Outcome, StepError};
use super::step::carry_out;
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
    carry_out(&rig.context, &names, &cluster, step).await
}

fn delete(rig: &Rig) -> Step {
    let version = rig.api.get(CLAIM).unwrap()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let unneeded = Unneeded::Unused { ordinal: 2 };
    on_claim(ClaimStep::Delete { unneeded, resource_version: Some(version) })
}

fn on_claim(step: ClaimStep) -> Step {
    let (claim, uid, reason) = ("data-shop-2".into(), "u".into(), Reason::ClaimKept);
    Step::Claim { claim, uid, step, reason, message: String::new() }
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

#[tokio::test]
async fn what_an_instance_left_is_on_its_claim_and_is_taken_back() {
    let rig = rig();
    let cluster = || rig.api.get(CLUSTER).unwrap();
    let ledger = LedgerEntry { claim_uid: "u".into(), server_uuid: "s".into(), ..LedgerEntry::default() };
    let since = "2026-01-01T00:00:00Z".parse().unwrap();
    let kept = LeaveNote {
        gtid_set: String::new(),
        since,
        pod_uid: "p".into(),
        ledger: Some(Box::new(ledger.clone())),
    };
    let note =
        |note: Option<LeaveNote>| on_claim(ClaimStep::Note { ordinal: 2, cluster_id: "id".into(), note });
    take(&rig, cluster(), &note(Some(kept))).await.unwrap();
    let annotation =
        || rig.api.get(CLAIM).unwrap()["metadata"]["annotations"]["mysql.mainstay.dev/ledger"].clone();
    let read: LedgerEntry = serde_json::from_str(annotation().as_str().unwrap()).unwrap();
    assert_eq!(read, ledger);
    take(&rig, cluster(), &note(None)).await.unwrap();
    assert_eq!(annotation(), Value::Null);
}

fn snapshot() -> Step {
    let (snapshot, cluster_id) = ("data-shop-2-u".into(), "id".into());
    on_claim(ClaimStep::Snapshot { ordinal: 2, cluster_id, snapshot })
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

const VOLUME: &str = "/api/v1/persistentvolumes/pv";

#[tokio::test]
async fn a_volume_is_reserved_unless_its_next_claim_is_being_bound_to_it() {
    let step = |seen: &str| Step::Volume {
        volume: "pv".into(),
        uid: "v".into(),
        step: VolumeStep::Reserve { claim_uid: Some(seen.into()), claim: "data-shop-2".into() },
        reason: Reason::GivingBack,
        message: String::new(),
    };
    let of = |rig: &Rig, claim: &str| rig.api.put(VOLUME, volume("Retain", claim));
    let rig = rig();
    let cluster = || rig.api.get(CLUSTER).unwrap();
    let uid = || rig.api.get(VOLUME).unwrap()["spec"]["claimRef"]["uid"].clone();
    of(&rig, "u");
    assert!(matches!(take(&rig, cluster(), &step("u")).await, Ok(Outcome::Outdated)));
    assert_eq!(uid(), json!("u"));
    of(&rig, "an earlier one");
    let of_another = take(&rig, cluster(), &step("one before that")).await;
    assert!(matches!(of_another, Ok(Outcome::Outdated)), "another has it by now");
    assert!(matches!(take(&rig, cluster(), &step("an earlier one")).await, Ok(Outcome::Told)));
    assert_eq!(uid(), json!(null));
}

fn volume(policy: &str, claim: &str) -> Value {
    let reference = json!({"namespace": "db", "name": "data-shop-2", "uid": claim});
    json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv", "uid": "v"},
        "spec": {"claimRef": reference, "persistentVolumeReclaimPolicy": policy}})
}

#[tokio::test]
async fn a_claim_whose_volume_is_to_stay_goes_only_if_that_is_still_so() {
    let unneeded = Unneeded::VolumeKept { volume: "pv".into() };
    let step = on_claim(ClaimStep::Delete { unneeded, resource_version: None });
    let stays = [("its policy", volume("Delete", "u")), ("its claim", volume("Retain", "another"))];
    for (name, volume) in stays {
        let rig = rig();
        rig.api.put(VOLUME, volume);
        let outcome = take(&rig, rig.api.get(CLUSTER).unwrap(), &step).await;
        assert!(matches!(outcome, Ok(Outcome::Outdated)), "{name}");
        assert!(rig.api.get(CLAIM).is_some(), "{name}");
    }
    let rig = rig();
    assert!(matches!(take(&rig, rig.api.get(CLUSTER).unwrap(), &step).await, Ok(Outcome::Outdated)), "gone");
    rig.api.put(VOLUME, volume("Retain", "u"));
    assert!(matches!(take(&rig, rig.api.get(CLUSTER).unwrap(), &step).await, Ok(Outcome::Told)));
    assert_eq!(rig.api.get(CLAIM), None);
}

#[tokio::test]
async fn a_volume_is_kept_for_the_claim_that_has_it_and_no_other() {
    let rig = rig();
    let keep = |claim_uid: &str| Step::Volume {
        volume: "pv".into(),
        uid: "v".into(),
        step: VolumeStep::Keep {
            claim_uid: claim_uid.into(),
            labels: [("x".to_owned(), "y".to_owned())].into(),
            annotations: Default::default(),
        },
        reason: Reason::SettingAside,
        message: String::new(),
    };
    rig.api.put(VOLUME, volume("Delete", "u"));
    let policy = || rig.api.get(VOLUME).unwrap()["spec"]["persistentVolumeReclaimPolicy"].clone();
    let cluster = || rig.api.get(CLUSTER).unwrap();
    assert!(matches!(take(&rig, cluster(), &keep("another")).await, Ok(Outcome::Outdated)));
    assert_eq!(policy(), json!("Delete"));
    assert!(matches!(take(&rig, cluster(), &keep("u")).await, Ok(Outcome::Told)));
    assert_eq!(policy(), json!("Retain"));
    assert_eq!(rig.api.get(VOLUME).unwrap()["metadata"]["labels"]["x"], "y");
}
