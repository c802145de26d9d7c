//! The primary's pod is deleted, evicted, or shut down with its node, and is given time to end.

use mainstay_crd::{ClusterPhase, SwitchoverReason};

use super::table::healthy;
use super::world::World;
use crate::{Plan, Step};

const TOLD: [fn(&mut World, u32); 2] = [
    |world, i| world.pods.get_mut(&i).unwrap().deleting = true,
    |world, i| world.pods.get_mut(&i).unwrap().ending = true,
];

fn announced(plan: &Plan) -> Option<SwitchoverReason> {
    let Some(Step::Record { record, .. }) = &plan.step else { return None };
    let switchover = record.switchover().filter(|switchover| switchover.final_gtid_set.is_none());
    record.target().and(switchover).map(|switchover| switchover.reason)
}

#[test]
fn a_replica_takes_over_and_the_pod_comes_back_as_a_replica() {
    for told in TOLD {
        let mut world = healthy(3);
        told(&mut world, 0);
        assert_eq!(announced(&world.turn()), Some(SwitchoverReason::PodEnding), "in the first look");
        let mut turns = 0;
        while !world.pods[&1].writable {
            world.turn();
            turns += 1;
            assert!(turns < 10);
        }
        for _ in 0..5 {
            world.turn();
        }
        let channel =
            world.pods[&0].channel.clone().expect("by that its agent knows that it has handed over");
        assert!(channel.source_host.starts_with("shop-1."));
        world.write();
        world.pods.remove(&0);
        let plan = world.settle();
        assert_eq!((plan.primary.as_deref(), plan.phase), (Some("shop-1"), ClusterPhase::Healthy));
    }
}

#[test]
fn who_ends_too_does_not_take_over() {
    for told in TOLD {
        let mut world = healthy(3);
        [0, 1].into_iter().for_each(|i| told(&mut world, i));
        assert_eq!(announced(&world.turn()), Some(SwitchoverReason::PodEnding));
        assert_eq!(world.status.replication.as_ref().unwrap().target, Some(2));
        let mut world = healthy(3);
        [0, 1, 2].into_iter().for_each(|i| told(&mut world, i));
        for _ in 0..5 {
            assert_eq!(announced(&world.turn()), None, "there is nobody");
        }
        assert!(world.pods[&0].writable);
    }
}

#[test]
fn one_that_was_given_up_is_not_begun_again_and_again() {
    let mut world = healthy(2);
    world.stalled.insert(1);
    world.write();
    world.pods.get_mut(&0).unwrap().deleting = true;
    let begun = (0..120).filter(|_| announced(&world.turn()).is_some()).count();
    assert_eq!(begun, 1);
}

#[test]
fn a_cluster_that_is_paused_begins_none() {
    let mut world = healthy(3);
    world.spec.paused = true;
    world.pods.get_mut(&0).unwrap().deleting = true;
    for _ in 0..5 {
        assert_eq!(world.turn().step, None);
    }
}
