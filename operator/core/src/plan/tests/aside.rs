//! Data that can't be used any more: kept under another claim, and the instance cloned anew.

use mainstay_crd::conditions::Reason;
use mainstay_crd::names::ANNOTATION_GTID_SET;
use mainstay_crd::{ClusterPhase, InstanceState};

use super::table::healthy;
use super::world::{World, uuid};
use crate::{GtidSet, Step};

/// Scaled down to two, written to, and asked for three again.
fn wanted_again(change: impl FnOnce(&mut World)) -> World {
    let mut world = healthy(3);
    world.spec.replicas = 2;
    world.settle();
    world.write();
    world.replicate();
    change(&mut world);
    world.spec.replicas = 3;
    world
}

fn purge(world: &mut World) {
    let primary = world.volumes.get_mut(&0).unwrap();
    primary.purged = primary.gtids.clone();
}

/// The object goes with its record at any moment of setting aside, and is made again: what was taken did not lead last, so
/// that nobody has to give it back.
#[test]
fn an_object_that_is_made_again_while_a_volume_is_set_aside_goes_on_without_a_person() {
    for turns in 0..30 {
        let mut world = World::new(3);
        let go_on = |world: &mut World, turns| (0..turns).for_each(|_| drop(world.turn()));
        // While the last one is copied its source's logs go; another is told to stand down, and can't tell who led.
        go_on(&mut world, 9);
        world.write();
        world.purge(0);
        go_on(&mut world, 7);
        world.ask(None);
        world.write();
        go_on(&mut world, 3);
        world.write();
        go_on(&mut world, 1);
        world.pods.remove(&2);
        for _ in 0..turns {
            world.turn();
        }
        world.recreate();
        let plan = world.settle();
        assert_eq!(plan.phase, ClusterPhase::Healthy, "after {turns} turns: {plan:?}");
        assert!(world.nothing_is_lost() && world.initialized == 1, "after {turns} turns");
    }
}

#[test]
fn a_kept_volume_that_can_no_longer_catch_up_is_set_aside_and_its_instance_cloned() {
    let mut world = wanted_again(purge);
    let held = world.volumes[&2].gtids.clone();
    let plan = world.settle();
    assert_eq!((plan.phase, world.cloned), (ClusterPhase::Healthy, 3));
    let aside = &world.aside["data-shop-2-aside-0"];
    let told = aside.marks.get(ANNOTATION_GTID_SET).cloned();
    assert_eq!((aside.gtids.clone(), told), (held.clone(), Some(held.to_string())));
    assert!(world.status.replication.as_ref().unwrap().operations.is_empty());
    // And again: under the next name.
    world.spec.replicas = 2;
    world.settle();
    world.write();
    world.replicate();
    purge(&mut world);
    world.spec.replicas = 3;
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    assert!(world.aside.contains_key("data-shop-2-aside-1"));
}

#[test]
fn a_kept_volume_with_transactions_of_its_own_is_set_aside_with_them() {
    let errant: GtidSet = format!("{}:1", uuid(99)).parse().unwrap();
    let mut world = wanted_again(|world| {
        let volume = world.volumes.get_mut(&2).unwrap();
        volume.gtids = volume.gtids.union(&errant);
    });
    let (reason, message) = loop {
        if let Some(Step::Record { reason, message, .. }) = world.turn().step {
            break (reason, message);
        }
    };
    assert_eq!(reason, Reason::SettingAside);
    assert!(message.contains(&uuid(99)) && message.contains("data-shop-2-aside-0"), "{message}");
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    assert!(world.aside["data-shop-2-aside-0"].gtids.contains(&errant));
}

#[test]
fn where_volumes_cannot_be_read_nothing_is_set_aside() {
    let mut world = wanted_again(purge);
    world.blind = true;
    let plan = world.settle();
    let third = plan.instances.iter().find(|i| i.ordinal == 2).unwrap();
    assert_eq!((third.state, world.aside.len()), (InstanceState::Quarantined, 0));
    assert!(third.message.as_ref().unwrap().contains("may not read volumes"), "{third:?}");
    world.blind = false;
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
}

#[test]
fn what_is_set_aside_keeps_a_new_object_from_initialising_anything() {
    let mut world = wanted_again(purge);
    world.settle();
    world.recreate();
    world.volumes.clear();
    let plan = world.settle();
    assert_eq!(super::table::blocked(&plan), Some(Reason::DataWithoutRecord));
    assert_eq!(world.initialized, 1);
}
