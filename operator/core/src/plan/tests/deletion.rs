//! The end of the object.

use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{
    ANNOTATION_GTID_SET, ANNOTATION_SNAPSHOT, FINALIZER_PROTECTION, FINALIZER_RETENTION,
};
use mainstay_crd::{ClusterPhase, KeepOrDelete, Retention, RetentionPolicy};
use serde_json::json;

use super::table::{blocked, healthy};
use super::well::well;
use super::world::{World, uuid};
use crate::{Agent, GtidSet, Observation, Plan, Step, plan};

fn retaining(policy: RetentionPolicy) -> World {
    let mut world = healthy(3);
    let when_deleted = Some(KeepOrDelete { policy, after: None });
    world.spec.storage.retention = Some(Retention { when_scaled: None, when_deleted });
    world.settle();
    world
}

fn delete(world: &mut World) -> Vec<&'static str> {
    world.deleting = true;
    let mut kinds: Vec<&'static str> = Vec::new();
    for _ in 0..30 {
        kinds.extend(world.turn().step.as_ref().map(Step::kind));
    }
    kinds.dedup();
    kinds
}

#[test]
fn a_cluster_whose_claims_are_kept_has_no_finalizer_and_nothing_is_done_at_its_end() {
    let mut world = retaining(RetentionPolicy::Retain);
    assert!(world.finalizers.is_empty());
    assert_eq!(delete(&mut world), Vec::<&str>::new());
    assert_eq!(world.volumes.len(), 3);
}

#[test]
fn delete_takes_pods_first_then_claims_then_lets_the_object_go() {
    let mut world = retaining(RetentionPolicy::Delete);
    assert_eq!(world.finalizers, [FINALIZER_RETENTION]);
    assert_eq!(delete(&mut world), ["Record", "DeleteStatefulSet", "DeleteClaim", "SetFinalizers"]);
    assert!(world.volumes.is_empty() && world.pods.is_empty() && world.finalizers.is_empty());
}

#[test]
fn snapshot_copies_the_primary_before_any_claim_goes() {
    let mut world = retaining(RetentionPolicy::Snapshot);
    let all = world.acknowledged.clone();
    assert_eq!(
        delete(&mut world),
        ["Record", "DeleteStatefulSet", "SnapshotClaim", "DeleteClaim", "SetFinalizers"]
    );
    assert_eq!(world.snapshots.len(), 1);
    assert!(world.snapshots.values().all(|copy| copy.contains(&all)));
}

/// Only instances tell that the record was set back, and an operator that has just started has heard none of them.
#[test]
fn claims_go_only_after_everybody_who_serves_was_asked() {
    let ending = |change: fn(&mut Observation)| {
        let mut o = well();
        let when_deleted = Some(KeepOrDelete { policy: RetentionPolicy::Delete, after: None });
        o.cluster.spec.storage.retention = Some(Retention { when_scaled: None, when_deleted });
        (o.cluster.deleting, o.cluster.finalizers) = (true, vec![FINALIZER_RETENTION.into()]);
        change(&mut o);
        plan(&o)
    };
    let kept = |plan: &Plan| match &plan.step {
        Some(Step::Record { record, .. }) => record.ending().map(|ending| ending.kept.is_some()),
        _ => None,
    };
    assert_eq!(kept(&ending(|_| ())), Some(false));
    let unheard = ending(|o| o.instances.get_mut(&1).unwrap().agent = Agent::Unheard);
    assert_eq!(unheard.step, None, "it may know of a later record");
    let gone = ending(|o| {
        for instance in o.instances.values_mut() {
            (instance.agent, instance.pod) = (Agent::Unheard, None);
        }
    });
    assert_eq!(kept(&gone), Some(false), "nobody is there to be asked");
    let newer = ending(|o| match &mut o.instances.get_mut(&1).unwrap().agent {
        Agent::Live { report, .. } => report.highest.revision = 999,
        other => panic!("{other:?}"),
    });
    assert_eq!(kept(&newer), Some(true));
    let said = ending(|o| {
        let blocked = json!([{
            "type": "Blocked", "status": "True", "reason": "RecordRolledBack", "message": "",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }]);
        o.cluster.status.conditions = serde_json::from_value(blocked).unwrap();
    });
    assert_eq!(kept(&said), Some(true));
}

#[test]
fn a_policy_that_is_taken_back_in_time_keeps_the_claims() {
    let mut world = retaining(RetentionPolicy::Delete);
    world.spec.storage.retention = None;
    assert_eq!(delete(&mut world), ["SetFinalizers"]);
    assert_eq!(world.volumes.len(), 3);
}

#[test]
fn a_protected_cluster_serves_on_until_its_protection_is_taken_away() {
    let mut world = retaining(RetentionPolicy::Delete);
    world.spec.deletion_protection = true;
    world.settle();
    assert!(world.finalizers.iter().any(|f| f == FINALIZER_PROTECTION));
    world.deleting = true;
    world.pods.remove(&0);
    let plan = world.settle();
    assert_eq!((plan.phase, blocked(&plan)), (ClusterPhase::Healthy, Some(Reason::DeletionProtected)));
    let told = plan.conditions.iter().find(|c| c.type_ == ConditionType::Blocked).unwrap();
    assert!(told.message.contains("set spec.deletionProtection to false"), "{}", told.message);
    world.write();
    world.spec.deletion_protection = false;
    delete(&mut world);
    assert!(world.volumes.is_empty() && world.finalizers.is_empty());
}

#[test]
fn a_snapshot_of_an_earlier_stop_is_not_taken_for_one_of_this() {
    let mut world = retaining(RetentionPolicy::Snapshot);
    let earlier = format!("data-shop-0-{}", world.volumes[&0].claim_uid);
    world.volumes.get_mut(&0).unwrap().annotations.insert(ANNOTATION_SNAPSHOT.into(), earlier);
    let all = world.acknowledged.clone();
    delete(&mut world);
    assert!(world.snapshots.values().any(|copy| copy.contains(&all)), "{:?}", world.snapshots);
}

#[test]
fn what_only_an_instance_that_was_scaled_away_holds_is_copied_too() {
    let mut world = retaining(RetentionPolicy::Snapshot);
    world.spec.replicas = 2;
    world.settle();
    world.write();
    world.settle();
    let errant: GtidSet = format!("{}:1", uuid(99)).parse().unwrap();
    let volume = world.volumes.get_mut(&2).unwrap();
    volume.gtids = volume.gtids.union(&errant);
    volume.annotations.insert(ANNOTATION_GTID_SET.into(), volume.gtids.to_string());
    delete(&mut world);
    assert_eq!(world.snapshots.len(), 2);
    assert!(world.snapshots.values().any(|copy| copy.contains(&errant)));
}

#[test]
fn claims_of_another_cluster_are_left_alone() {
    let mut world = retaining(RetentionPolicy::Delete);
    world.spec.replicas = 2;
    world.settle();
    world.volumes.get_mut(&2).unwrap().cluster_id = Some("another".into());
    delete(&mut world);
    assert_eq!(world.volumes.keys().copied().collect::<Vec<_>>(), [2]);
    assert!(world.finalizers.is_empty());
}
