//! `RESET BINARY LOGS AND GTIDS`: the same numbers are of other transactions from then on, and no GTID set tells.

use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::{ClusterPhase, InstanceState, OperationKind, RetentionPolicy};
use mainstay_proto::{Directory, History};

use super::divergence::{ordered, state};
use super::table::{blocked, healthy};
use super::well::{well, with_facts};
use super::world::World;
use crate::plan::advice::RESET;
use crate::{Observation, Plan, guards, plan};

/// A healthy cluster with rows, of which an instance is reset; a primary then gives its numbers anew, past the old ones.
fn reset(ordinal: u32, change: impl FnOnce(&mut World)) -> World {
    let mut world = healthy(3);
    world.settle();
    change(&mut world);
    world.reset(ordinal);
    for _ in 0..3 {
        world.write();
    }
    world.replicate();
    world
}

fn quarantined(plan: &Plan) -> Vec<u32> {
    let kept_out = plan.instances.iter().filter(|i| i.state == InstanceState::Quarantined && !i.ready);
    kept_out.map(|i| i.ordinal.unsigned_abs()).collect()
}

/// How many directories hold the primary's history.
fn copies(world: &World) -> usize {
    world.volumes.values().filter(|volume| volume.history == world.history).count()
}

#[test]
fn after_a_reset_of_the_primary_every_replica_is_kept_out_and_cloned_anew_one_after_the_other() {
    let mut world = reset(0, |_| ());
    let told = world.turn();
    assert_eq!((quarantined(&told), told.phase), (vec![1, 2], ClusterPhase::Degraded));
    assert!(told.roles.iter().all(|(i, role)| role.is_some() == (*i == 0)), "nobody reads there");
    let message = told.instances[1].message.as_deref().unwrap();
    assert!(message.contains("shop-0") && message.contains(RESET), "{message}");
    assert_eq!(copies(&world), 1);
    for _ in 0..200 {
        let plan = world.turn();
        let operations = &world.status.replication.as_ref().unwrap().operations;
        assert!(operations.len() <= 1, "{operations:?}");
        if plan.phase == ClusterPhase::Healthy {
            break;
        }
    }
    let plan = world.settle();
    assert_eq!((plan.phase, copies(&world)), (ClusterPhase::Healthy, 3));
    assert_eq!(world.aside.len(), 2, "what the others held is kept");
    world.ask(Some(1));
    world.settle();
    assert_eq!(world.recorded_primary(), Some(1));
}

#[test]
fn a_replica_that_was_reset_is_cloned_anew_and_the_primary_and_the_other_go_on() {
    let mut world = reset(2, |_| ());
    let told = world.turn();
    assert_eq!(quarantined(&told), [2]);
    assert!(told.instances[2].message.as_deref().unwrap().contains("this server counts"), "{told:?}");
    let plan = world.settle();
    assert_eq!((plan.phase, copies(&world), world.aside.len()), (ClusterPhase::Healthy, 3, 1));
}

/// Where nothing may be set aside, the primary is and stays the only one.
#[test]
fn while_no_other_has_its_history_nothing_takes_the_primarys_pod_or_lead() {
    let alone = || {
        let mut world = reset(0, |world| world.blind = true);
        let plan = world.settle();
        assert_eq!(quarantined(&plan), [1, 2]);
        (world.pods[&0].uid.clone(), world)
    };
    let (uid, mut world) = alone();
    world.ask(Some(1));
    let refused = world.turn();
    let told = refused.step.map(|step| format!("{step:?}")).unwrap_or_default();
    assert!(told.contains("SwitchoverRefused") && told.contains(RESET), "{told}");
    world.ask(None);
    world.settle();
    world.drained.insert(0);
    world.settle();
    world.spec.image = "mysql:9.8".into();
    let plan = world.settle();
    assert_eq!(quarantined(&plan), [1, 2]);
    assert_eq!((world.recorded_primary(), &world.pods[&0].uid), (Some(0), &uid));
    let o = world.observe();
    for ordinal in [1, 2] {
        assert_eq!(with_facts(&o, |facts| guards::held_elsewhere(facts, ordinal)), None, "{ordinal}");
    }
}

#[test]
fn a_primary_that_was_reset_leads_again_after_its_restart_and_with_a_new_object() {
    let mut world = reset(0, |world| world.blind = true);
    world.settle();
    world.pods.remove(&0);
    let plan = world.settle();
    assert_eq!((plan.primary.as_deref(), blocked(&plan)), (Some("shop-0"), None), "{plan:?}");
    world.recreate();
    let plan = world.settle();
    assert_eq!(plan.primary.as_deref(), Some("shop-0"), "{plan:?}");
    assert_eq!(quarantined(&plan), [1, 2]);
}

/// The agent died before it noticed; or the volume is of a time before the reset.
#[test]
fn what_nobody_noticed_and_what_was_set_back_to_before_it_does_not_lead() {
    for noticed in [false, true] {
        let mut world = healthy(3);
        world.settle();
        let before = world.volumes[&0].clone();
        if noticed {
            world.reset(0);
            world.settle();
            world.write();
            world.settle();
        }
        let volume = world.volumes.get_mut(&0).unwrap();
        match noticed {
            true => (volume.gtids, volume.history) = (before.gtids.clone(), before.history),
            false => volume.gtids = crate::GtidSet::default(),
        }
        volume.original = Some(Box::new(before));
        world.pods.remove(&0);
        let plan = world.settle();
        assert_eq!((blocked(&plan), plan.primary), (Some(Reason::RolledBack), None), "{noticed}");
    }
}

/// The claim of one that was scaled away has the numbers of others, and other rows.
#[test]
fn what_was_noted_before_a_reset_is_within_nobodys_set() {
    for anew in [false, true] {
        let mut world = healthy(3);
        world.settle();
        world.spec.replicas = 2;
        world.settle();
        if anew {
            world.reset(0);
            (0..20).for_each(|_| world.write());
        }
        world.settle();
        world.retain(RetentionPolicy::Delete);
        world.settle();
        assert_eq!(world.volumes.contains_key(&2), anew);
    }
}

fn histories(o: &mut Observation, of: [Option<History>; 3]) {
    for (ordinal, history) in (0..).zip(of) {
        state(o, ordinal).history = history;
    }
}

#[test]
fn what_an_older_agent_does_not_tell_and_what_led_when_it_was_reset_is_kept_but_never_set_aside() {
    let first = History::default();
    let anew = |ordinal| Some(first.reset(ordinal, 7));
    let mut o = well();
    histories(&mut o, [None, Some(first), None]);
    assert!(quarantined(&plan(&o)).is_empty(), "nobody was reset");
    histories(&mut o, [anew(0), anew(0), None]);
    let told = plan(&o);
    assert_eq!(quarantined(&told), [2]);
    assert!(told.instances[2].message.as_deref().unwrap().contains("agent is older"), "{told:?}");
    assert!(ordered(&told).is_some_and(|(ordinal, _)| ordinal == 2), "it stands down");
    let announced = |o: &Observation| {
        let Some(crate::Step::Record { record, .. }) = plan(o).step else { return false };
        record.operations().iter().any(|o| o.kind == OperationKind::SetAside)
    };
    // It followed in the primary's history until it was reset; or it led in its own, and is not the primary any more.
    for led in [false, true] {
        histories(&mut o, [Some(first), Some(first), anew(2)]);
        let ledger = o.cluster.status.instances[2].ledger.as_mut().unwrap();
        ledger.history = led.then(|| first.reset(2, 7).to_string());
        let Directory::Complete { marker } = &mut super::divergence::report(&mut o, 2).directory else {
            panic!()
        };
        marker.grant = None;
        let channel = state(&mut o, 2).channel.as_mut().unwrap();
        channel.receiver_running = false;
        assert_eq!((quarantined(&plan(&o)), announced(&o)), (vec![2], !led), "{led}");
        let ready = plan(&o).conditions.into_iter().find(|c| c.type_ == ConditionType::Ready).unwrap();
        assert!(led != (ready.reason != Reason::Quarantined), "{ready:?}");
    }
}
