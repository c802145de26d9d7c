//! What is done to volumes and claims: replaced, grown, kept, given back.

use mainstay_crd::conditions::Reason;
use mainstay_crd::{Judgement, OperationKind};
use serde_json::json;

use super::{
    Change, away, claim, lost, pending, pod, ready_node, storage_ready, storage_step, volume_of, well,
};
use crate::plan::tests::world::{NAME, NAMESPACE};
use crate::{Agent, Observation, Step, StorageStep, plan};

/// Instance 2 is stranded on a lost node for an hour, and replicas are replaced after half of that.
fn stranded() -> Observation {
    let mut o = lost(None);
    o.now = "1970-01-01T01:00:00Z".parse().unwrap();
    o.cluster.spec.storage.local = serde_json::from_value(json!({"replaceAfter": "30m"})).unwrap();
    let pod = pod(&mut o, 2);
    (pod.node, pod.trouble) = (None, Some("Unschedulable: 0/2 nodes".into()));
    let volume = volume_of(&mut o, 2);
    volume.hosts = Some(vec!["node-2".into()]);
    volume.source = Some("local".into());
    o
}

fn recorded(o: &mut Observation) -> Option<OperationKind> {
    let Some(Step::Record { record, .. }) = plan(o).step else { return None };
    let kind = record.operations.first().map(|o| o.kind);
    o.cluster.status.replication = Some(record);
    kind
}

#[test]
fn a_stranded_replica_gets_a_new_volume_and_the_old_one_is_kept() {
    let mut o = stranded();
    assert_eq!(recorded(&mut o), Some(OperationKind::ReplaceVolume), "announced first");
    let Some(StorageStep::MarkVolume { retain: true, labels, annotations, .. }) =
        storage_step(&plan(&o)).cloned()
    else {
        panic!("{:?}", plan(&o).step)
    };
    let held = &o.cluster.status.instances[2].ledger.as_ref().unwrap().gtid_executed;
    assert_eq!(&annotations["mysql.mainstay.dev/held-gtid-set"], held);
    assert!(!held.is_empty());
    let volume = volume_of(&mut o, 2);
    volume.labels = labels;
    volume.annotations = annotations;
    assert!(matches!(storage_step(&plan(&o)), Some(StorageStep::MarkVolume { .. })), "it is read back");
    volume_of(&mut o, 2).reclaim_policy = Some("Retain".into());
    assert!(matches!(storage_step(&plan(&o)), Some(StorageStep::DeleteStrandedClaim { .. })));
    claim(&mut o, 2).deleting = true;
    assert!(matches!(plan(&o).step, Some(Step::ReplacePod { .. })), "the pod comes last");
    let renewed = claim(&mut o, 2);
    (renewed.uid, renewed.deleting, renewed.volume) = ("new".into(), false, None);
    assert_eq!(recorded(&mut o), None, "it is over");
    assert!(o.cluster.status.replication.as_ref().unwrap().operations.is_empty());
}

#[test]
fn what_may_not_be_replaced_is_not() {
    let never: [(&str, Change); 6] = [
        ("nobody asked for it", |o| o.cluster.spec.storage.local = None),
        ("too early", |o| o.now = "1970-01-01T00:29:59Z".parse().unwrap()),
        ("its node is back", |o| {
            o.surroundings.nodes.insert("node-2".into(), ready_node());
        }),
        ("the last copy", |o| {
            let left = o.cluster.status.instances[2].ledger.as_mut().unwrap();
            left.gtid_executed = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-11".into();
        }),
        ("nobody leads", |o| o.instances.get_mut(&0).unwrap().agent = Agent::Unheard),
        ("nothing can be seen", |o| o.surroundings.known = false),
    ];
    for (name, change) in never {
        let mut o = stranded();
        change(&mut o);
        assert_ne!(recorded(&mut o), Some(OperationKind::ReplaceVolume), "{name}");
    }
    let mut o = stranded();
    o.cluster.status.replication.as_mut().unwrap().primary = Some(2);
    assert_ne!(recorded(&mut o), Some(OperationKind::ReplaceVolume), "the primary");
}

#[test]
fn claims_grow_one_by_one_and_never_shrink() {
    let mut o = well();
    o.cluster.spec.storage.size.0 = "2Gi".into();
    for ordinal in 0..3 {
        let Some(StorageStep::GrowClaim { claim: name, size, .. }) = storage_step(&plan(&o)).cloned() else {
            panic!()
        };
        assert_eq!((name.as_str(), size.as_str()), (format!("data-shop-{ordinal}").as_str(), "2Gi"));
        claim(&mut o, ordinal).requested = Some(2 << 30);
    }
    assert_eq!(plan(&o).step, None);
    o.cluster.spec.storage.size.0 = "1Gi".into();
    assert_eq!(plan(&o).step, None);
}

#[test]
fn claims_grow_while_nothing_runs() {
    let mut o = well();
    o.cluster.spec.storage.size.0 = "2Gi".into();
    for ordinal in 0..3 {
        away(&mut o, ordinal);
        pod(&mut o, ordinal).trouble = Some("mysql: CrashLoopBackOff: No space left on device".into());
    }
    assert!(matches!(storage_step(&plan(&o)), Some(StorageStep::GrowClaim { .. })));
}

#[test]
fn volumes_are_kept_where_the_spec_says_so() {
    let mut o = well();
    o.cluster.spec.storage.reclaim_policy = Some(mainstay_crd::ReclaimPolicy::Retain);
    for _ in 0..3 {
        let Some(StorageStep::MarkVolume { volume, retain: true, .. }) = storage_step(&plan(&o)).cloned()
        else {
            panic!()
        };
        o.surroundings.volumes.get_mut(&volume).unwrap().reclaim_policy = Some("Retain".into());
    }
    assert_eq!(plan(&o).step, None);
}

/// A volume that instance 2 had before, with its older data, and a person who wants it back.
fn asked_back() -> Observation {
    let mut o = well();
    let mut old = volume_of(&mut o, 2).clone();
    old.name = "old".into();
    old.handle = Some("old".into());
    old.phase = Some("Released".into());
    old.claim = Some((NAMESPACE.into(), format!("data-{NAME}-2")));
    old.claim_uid = Some("earlier".into());
    o.surroundings.volumes.insert("old".into(), old);
    o.cluster.annotations.insert("mysql.mainstay.dev/give-back".into(), "old".into());
    o
}

#[test]
fn a_kept_volume_is_given_back_once_its_claim_is_free() {
    let mut o = asked_back();
    let told = storage_ready(&o);
    assert_eq!(told.reason, Reason::GiveBackRefused, "{}", told.message);
    assert_eq!(plan(&o).step, None);
    pending(&mut o);
    assert_eq!(recorded(&mut o), Some(OperationKind::GiveBack), "announced first");
    let Some(StorageStep::ReserveVolume { volume, claim: name, namespace, .. }) =
        storage_step(&plan(&o)).cloned()
    else {
        panic!("{:?}", plan(&o).step)
    };
    assert_eq!((volume.as_str(), namespace.as_str(), name.as_str()), ("old", NAMESPACE, "data-shop-2"));
    o.surroundings.volumes.get_mut("old").unwrap().claim_uid = None;
    assert!(storage_step(&plan(&o)).is_none(), "it is reserved");
    // Bound, with what it held: announced, so that it is no foreign data.
    let agent = well().instances[&2].agent.clone();
    let uid = claim(&mut o, 2).uid.clone();
    let old = o.surroundings.volumes.get_mut("old").unwrap();
    (old.phase, old.claim_uid) = (Some("Bound".into()), Some(uid));
    let back = claim(&mut o, 2);
    (back.phase, back.volume) = (Some("Bound".into()), Some("old".into()));
    o.instances.get_mut(&2).unwrap().agent = agent;
    pod(&mut o, 2).uid = "another".into();
    let Agent::Live { report } = &mut o.instances.get_mut(&2).unwrap().agent else { panic!() };
    report.identity.pod_uid = "another".into();
    let mainstay_proto::Directory::Complete { marker } = &mut report.directory else { panic!() };
    marker.operation = "an earlier clone".into();
    let verdict = plan(&o).instances[2].verdict.clone().unwrap();
    assert_eq!(verdict.judgement, Judgement::SameVolume, "{}", verdict.message);
}

#[test]
fn a_volume_that_is_not_this_clusters_is_not_given_back() {
    let mut o = asked_back();
    pending(&mut o);
    o.surroundings.volumes.get_mut("old").unwrap().labels.clear();
    assert_eq!(recorded(&mut o), None);
    assert_eq!(storage_ready(&o).reason, Reason::GiveBackRefused);
}
