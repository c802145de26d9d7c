//! What comes back after its instance was scaled away, or after the object was made anew.

use mainstay_crd::conditions::Reason;
use mainstay_crd::{ClusterPhase, InstanceState, Judgement};

use super::table::{blocked, healthy};
use super::world::{Tampering, Volume, World, uuid};
use crate::{ClaimStep, Plan, Step};

/// Some transactions, on all three.
fn written() -> World {
    let mut world = healthy(3);
    for _ in 0..6 {
        world.write();
        world.turn();
    }
    world
}

/// Scaled down to two, and its volume changed meanwhile.
fn scaled_away(how: Tampering) -> World {
    let mut world = written();
    world.spec.replicas = 2;
    world.settle();
    assert!(!world.status.instances.iter().any(|i| i.ordinal == 2), "status has forgotten it");
    assert!(world.tamper(2, how));
    world
}

fn judgement(plan: &Plan) -> Option<Judgement> {
    plan.instances.iter().find(|i| i.ordinal == 2)?.verdict.as_ref().map(|verdict| verdict.judgement)
}

fn state(plan: &Plan) -> Option<InstanceState> {
    plan.instances.iter().find(|i| i.ordinal == 2).map(|i| i.state)
}

#[test]
fn what_was_changed_while_its_instance_was_scaled_away_stays_out() {
    for (how, expected) in
        [(Tampering::RolledBack, Judgement::RolledBack), (Tampering::Foreign, Judgement::NewVolumeForeign)]
    {
        let mut world = scaled_away(how);
        world.spec.replicas = 3;
        let plan = world.settle();
        assert_eq!((judgement(&plan), state(&plan)), (Some(expected), Some(InstanceState::Quarantined)));
        world.time_passes();
        world.settle();
        world.assert_quarantine();
        // And once more: it is still held against what left, not against what came back.
        world.spec.replicas = 2;
        world.settle();
        world.spec.replicas = 3;
        assert_eq!(judgement(&world.settle()), Some(expected));
        world.put_back();
        assert_eq!(world.settle().phase, ClusterPhase::Healthy);
        assert!(world.volumes[&2].annotations.is_empty(), "in use again");
    }
}

#[test]
fn what_was_emptied_while_its_instance_was_scaled_away_is_said_to_be_and_cloned_anew() {
    for (how, expected) in
        [(Tampering::Wiped, Judgement::Wiped), (Tampering::Empty, Judgement::NewVolumeEmpty)]
    {
        let mut world = scaled_away(how);
        world.spec.replicas = 3;
        let said = (0..40).map(|_| judgement(&world.turn())).find(|j| *j == Some(expected));
        assert_eq!(said, Some(Some(expected)));
        assert_eq!(world.settle().phase, ClusterPhase::Healthy);
        assert_eq!(world.cloned, 3);
    }
}

#[test]
fn what_was_changed_before_its_claim_could_be_told_stays_out() {
    let mut world = written();
    world.spec.replicas = 1;
    assert!(world.tamper(1, Tampering::Foreign));
    world.turn();
    // Instance 2 has not left yet, so 1 is made once more.
    assert!(world.pods.contains_key(&1));
    world.settle();
    world.spec.replicas = 3;
    let plan = world.settle();
    assert_eq!(plan.instances[1].state, InstanceState::Quarantined, "{plan:?}");
    world.assert_quarantine();
}

#[test]
fn a_new_object_holds_it_against_what_left_too() {
    let mut world = scaled_away(Tampering::RolledBack);
    world.recreate();
    world.spec.replicas = 3;
    let plan = world.settle();
    assert_eq!((judgement(&plan), plan.phase), (Some(Judgement::RolledBack), ClusterPhase::Degraded));
    world.assert_quarantine();
    world.put_back();
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
}

#[test]
fn the_note_stays_until_the_status_has_what_left() {
    let mut world = written();
    world.spec.replicas = 2;
    world.settle();
    world.spec.replicas = 3;
    for _ in 0..40 {
        let plan = world.turn();
        if let Some(Step::Claim { step: ClaimStep::Note { note: None, ordinal, .. }, .. }) = plan.step {
            let entry = &world.status.instances[ordinal as usize].ledger;
            assert_eq!(entry.as_ref().unwrap().claim_uid, world.volumes[&ordinal].claim_uid);
            return;
        }
    }
    panic!("it was never taken back");
}

#[test]
fn a_last_primary_that_was_set_back_does_not_lead_a_new_object() {
    let mut world = written();
    world.recreate();
    let whole = world.volumes[&0].clone();
    let volume = world.volumes.get_mut(&0).unwrap();
    volume.gtids = format!("{}:1-3", uuid(0)).parse().unwrap();
    volume.original = Some(Box::new(whole));
    let plan = world.settle();
    assert_eq!(blocked(&plan), Some(Reason::RolledBack), "{plan:?}");
    assert!(world.pods.values().all(|pod| !pod.writable));
    world.put_back();
    let plan = world.settle();
    assert_eq!((plan.phase, plan.primary.as_deref()), (ClusterPhase::Healthy, Some("shop-0")));
}

#[test]
fn a_last_primary_whose_volume_was_emptied_is_missed_by_a_new_object() {
    let mut world = written();
    world.recreate();
    let (claim_uid, pv) = (world.volumes[&0].claim_uid.clone(), world.volumes[&0].pv.clone());
    let cluster_id = world.volumes[&0].cluster_id.clone();
    let whole = Some(Box::new(world.volumes[&0].clone()));
    let empty = Volume { claim_uid, pv, cluster_id, original: whole, ..Volume::default() };
    world.volumes.insert(0, empty);
    let plan = world.settle();
    assert_eq!(blocked(&plan), Some(Reason::DataWithoutRecord), "{plan:?}");
    assert!(world.pods.values().all(|pod| !pod.writable));
    world.put_back();
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
}

/// One alone, with some transactions, whose volume is about to be mounted by a new pod that nobody speaks to in time.
fn alone(change: impl FnOnce(&mut World)) -> World {
    let mut world = healthy(1);
    for _ in 0..6 {
        world.write();
        world.turn();
    }
    change(&mut world);
    world.pods.remove(&0);
    // The StatefulSet makes it.
    world.turn();
    assert!(!world.pods[&0].writable, "it waits for the operator");
    world.time_passes();
    assert!(world.pods[&0].writable, "but not for ever");
    for _ in 0..20 {
        world.write();
    }
    world
}

#[test]
fn one_alone_that_was_set_back_is_told_even_after_it_wrote_more_than_it_lost() {
    for restarts in 0..3 {
        let mut world = alone(|world| assert!(world.tamper(0, Tampering::RolledBack)));
        for _ in 0..restarts {
            world.pods.remove(&0);
            world.turn();
            world.time_passes();
            world.write();
        }
        let plan = world.settle();
        let verdict = plan.instances[0].verdict.as_ref().map(|verdict| verdict.judgement);
        assert_eq!((verdict, plan.phase), (Some(Judgement::RolledBack), ClusterPhase::Lost), "{restarts}");
        assert!(!world.pods[&0].writable);
    }
}

#[test]
fn one_alone_that_went_on_by_itself_is_confirmed_and_judged_anew_from_then_on() {
    let mut world = alone(|_| ());
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    assert_eq!(world.volumes[&0].unjudged, None);
    let entry = world.status.instances[0].ledger.clone().unwrap();
    assert_eq!(entry.gtid_executed, world.volumes[&0].gtids.to_string(), "the entry has moved on");
    world.pods.remove(&0);
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
}
