//! Volumes that grow, are kept, and are given back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mainstay_crd::conditions::Reason;
use mainstay_crd::{Aside, Judgement, Operation, OperationKind};

use super::well::{
    away, claim, pending, pod, recorded, storage_ready, storage_step, volume_of, well, with_facts,
};
use super::world::{NAME, NAMESPACE};
use crate::{
    Agent, ClaimStep, ObjectStep, Observation, StatefulSetSeen, Step, VolumeStep, plan, storage_status,
};

#[test]
fn claims_grow_one_by_one_and_never_shrink() {
    let mut o = well();
    o.cluster.spec.storage.size.0 = "2Gi".into();
    for ordinal in 0..3 {
        let Some(Step::Claim { claim: name, step: ClaimStep::Grow { size }, .. }) = plan(&o).step else {
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
    assert_eq!(storage_step(&plan(&o)), Some("GrowClaim"));
}

/// New claims are of another size or class only if another StatefulSet makes them.
#[test]
fn a_statefulset_that_can_t_be_changed_is_replaced_if_only_its_claims_differ() {
    let mut o = well();
    let held = with_facts(&o, |facts| facts.fixed_fields());
    let replaces = |o: &Observation| matches!(plan(o).step, Some(Step::Object(ObjectStep::ReplaceStatefulSet { ref uid, .. })) if uid == "s");
    o.stateful_set = Some(StatefulSetSeen { uid: "s".into(), refused: held.clone(), ..Default::default() });
    assert!(!replaces(&o), "it is as the spec asks for");
    o.cluster.spec.storage.size.0 = "2Gi".into();
    assert!(replaces(&o));
    o.cluster.spec.storage.size.0 = "1024Mi".into();
    assert!(!replaces(&o), "the same, written otherwise");
    o.cluster.spec.storage.class = Some("other".into());
    assert!(replaces(&o));
    o.cluster.spec.paused = true;
    assert!(!replaces(&o), "paused");
    o.cluster.spec.paused = false;
    o.cluster.deleting = true;
    assert!(!replaces(&o), "its pods would outlive the object");
    o.cluster.deleting = false;
    // What the API server refused for another reason is not mended by that.
    o.cluster.spec.storage.access_modes = vec![mainstay_crd::AccessMode::ReadWriteMany];
    assert!(!replaces(&o), "more differs");
    o.stateful_set.as_mut().unwrap().refused = None;
    assert!(!replaces(&o), "nothing was refused");
}

/// What is told to the rules of the CRD.
fn told(o: &Observation) -> (Option<String>, Option<String>) {
    let told = storage_status(o, plan(o).step.as_ref());
    (told.largest, told.class)
}

#[test]
fn a_size_can_be_set_back_to_what_claims_have_until_one_is_about_to_grow() {
    let mut o = well();
    assert_eq!(told(&o).0.as_deref(), Some("1Gi"));
    o.cluster.spec.storage.size.0 = "2Gi".into();
    assert_eq!(told(&o).0.as_deref(), Some("2Gi"), "told with the step, not after it");
    claim(&mut o, 2).requested = Some(3 << 30);
    assert_eq!(told(&o).0.as_deref(), Some("3Gi"));
    // What has no volume holds nothing.
    (claim(&mut o, 2).volume, claim(&mut o, 2).phase) = (None, Some("Pending".into()));
    o.cluster.spec.storage.size.0 = "1Gi".into();
    assert_eq!(told(&o).0.as_deref(), Some("1Gi"));
    // A volume may be larger than what its claim asked for.
    claim(&mut o, 1).capacity = Some(9 << 30);
    assert_eq!(told(&o).0.as_deref(), Some("1Gi"));
}

#[test]
fn the_class_can_be_named_that_all_claims_have() {
    let mut o = well();
    assert_eq!(told(&o).1.as_deref(), Some("fast"));
    for ordinal in 0..3 {
        claim(&mut o, ordinal).class = None;
        assert_eq!(told(&o).1, None);
    }
    for ordinal in 0..3 {
        claim(&mut o, ordinal).class = Some("standard".into());
    }
    assert_eq!(told(&o).1.as_deref(), Some("standard"));
    claim(&mut o, 1).class = Some("other".into());
    assert_eq!(told(&o).1, None);
}

#[test]
fn to_set_the_size_back_is_said_where_the_api_takes_it() {
    let mut o = well();
    for ordinal in 0..3 {
        claim(&mut o, ordinal).class = Some("fixed".into());
    }
    o.surroundings.classes.insert("fixed".into(), crate::Class::default());
    o.cluster.spec.storage.size.0 = "2Gi".into();
    let said = storage_ready(&o);
    assert_eq!(said.reason, Reason::ExpansionRefused);
    assert!(said.message.contains("set spec.storage.size back to 1Gi"), "{}", said.message);
    assert_eq!(told(&o).0.as_deref(), Some("1Gi"));
    claim(&mut o, 2).requested = Some(2 << 30);
    let said = storage_ready(&o);
    assert!(!said.message.contains("set spec.storage.size back"), "{}", said.message);
    assert_eq!(told(&o).0.as_deref(), Some("2Gi"));
}

#[test]
fn volumes_are_kept_where_the_spec_says_so() {
    let mut o = well();
    o.cluster.spec.storage.reclaim_policy = Some(mainstay_crd::ReclaimPolicy::Retain);
    for _ in 0..3 {
        let Some(Step::Volume { volume, step: VolumeStep::Keep { .. }, .. }) = plan(&o).step else {
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
    let Some(Step::Volume { volume, step: VolumeStep::Reserve { claim_uid, claim: name }, .. }) =
        plan(&o).step
    else {
        panic!("{:?}", plan(&o).step)
    };
    assert_eq!((volume.as_str(), name.as_str()), ("old", "data-shop-2"));
    assert_eq!(claim_uid.as_deref(), Some("earlier"));
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
    let Agent::Live { report, .. } = &mut o.instances.get_mut(&2).unwrap().agent else { panic!() };
    report.identity.pod_uid = "another".into();
    let mainstay_proto::Directory::Complete { marker } = &mut report.directory else { panic!() };
    marker.operation = "an earlier clone".into();
    let verdict = plan(&o).instances[2].verdict.clone().unwrap();
    assert_eq!(verdict.judgement, Judgement::SameVolume, "{}", verdict.message);
}

#[test]
fn what_is_being_set_aside_is_not_given_back() {
    let mut o = asked_back();
    pending(&mut o);
    let aside = Aside {
        claim_uid: "earlier".into(),
        volume: "old".into(),
        claim: "data-shop-2-aside-0".into(),
        gtid_set: String::new(),
        since: Time(o.now),
    };
    let kind = OperationKind::SetAside;
    let operation = Operation { kind, aside: Some(aside), ..operation("aside") };
    o.cluster.status.replication.as_mut().unwrap().operations.push(operation);
    let told = storage_ready(&o);
    assert_eq!(told.reason, Reason::GiveBackRefused, "{}", told.message);
    assert!(told.message.contains("set aside as data-shop-2-aside-0"), "{}", told.message);
    assert_ne!(recorded(&mut o), Some(OperationKind::GiveBack));
}

fn operation(id: &str) -> Operation {
    let kind = OperationKind::Clone;
    Operation {
        id: id.into(),
        kind,
        ordinal: 2,
        donor: Some(0),
        revision: 1,
        failures: 0,
        aside: None,
        claim_uid: None,
        not_before: None,
    }
}

#[test]
fn a_clone_of_what_was_given_back_leaves_the_record() {
    let mut o = well();
    o.cluster.status.replication.as_mut().unwrap().operations.push(operation("not ordered yet"));
    let Some(Step::Record { record, .. }) = plan(&o).step else { panic!() };
    assert!(record.operations().is_empty());
}

#[test]
fn a_volume_that_is_not_this_clusters_is_not_given_back() {
    let mut o = asked_back();
    pending(&mut o);
    o.surroundings.volumes.get_mut("old").unwrap().labels.clear();
    assert_eq!(recorded(&mut o), None);
    assert_eq!(storage_ready(&o).reason, Reason::GiveBackRefused);
}
