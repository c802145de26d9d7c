//! Paused, or given a spec that breaks a rule, in the middle of something.

use jiff::SignedDuration;
use mainstay_crd::ClusterPhase;
use mainstay_crd::conditions::{ConditionType, Reason};

use super::table::healthy;
use super::world::World;
use crate::{Plan, Step, Upkeep};

/// What keeps anything from being begun.
const HOLDS: [fn(&mut World); 2] = [
    |world| world.spec.paused = true,
    |world| world.spec.storage.size = serde_json::from_str("\"1\"").unwrap(),
];

fn status(plan: &Plan, type_: ConditionType) -> (Option<bool>, Reason) {
    let condition = plan.conditions.iter().find(|c| c.type_ == type_).unwrap();
    (condition.status, condition.reason)
}

fn turns(world: &mut World, count: usize) -> Plan {
    for _ in 1..count {
        world.turn();
    }
    world.turn()
}

#[test]
fn a_hand_over_that_was_announced_is_ended() {
    for hold in HOLDS {
        for turns_before in 1..8 {
            let mut world = healthy(3);
            world.ask(Some(1));
            turns(&mut world, turns_before);
            if world.status.replication.as_ref().unwrap().target.is_none()
                && world.recorded_primary() == Some(0)
            {
                continue;
            }
            hold(&mut world);
            let plan = turns(&mut world, 20);
            assert_eq!(plan.primary.as_deref(), Some("shop-1"), "held after {turns_before}");
            assert_eq!(plan.phase, ClusterPhase::Healthy, "the others follow: held after {turns_before}");
            let before = world.acknowledged.count();
            world.write();
            assert_eq!(world.acknowledged.count(), before + 1);
            let labelled: Vec<_> = world.pods.values().map(|pod| pod.role.as_deref()).collect();
            assert_eq!(labelled, [Some("replica"), Some("primary"), Some("replica")]);
        }
    }
}

#[test]
fn a_primary_that_restarts_leads_again() {
    for hold in HOLDS {
        for lost in [0, 1] {
            let mut world = healthy(3);
            hold(&mut world);
            world.turn();
            world.pods.remove(&lost);
            let plan = turns(&mut world, 20);
            assert_eq!((plan.primary.as_deref(), plan.phase), (Some("shop-0"), ClusterPhase::Healthy));
            assert!(world.pods.values().all(|pod| pod.role.is_some()));
        }
    }
}

#[test]
fn nothing_is_begun_and_the_condition_says_so() {
    let mut world = healthy(3);
    world.spec.paused = true;
    world.ask(Some(1));
    world.spec.replicas = 5;
    world.spec.image = "mysql:8.4".into();
    world.drained.insert(0);
    for _ in 0..20 {
        let plan = world.turn();
        assert_eq!(plan.step, None);
        assert_eq!(status(&plan, ConditionType::Progressing), (Some(false), Reason::Paused));
        assert_eq!(status(&plan, ConditionType::Available), (Some(true), Reason::PrimaryConfirmed));
    }
    assert_eq!(world.pods.len(), 3);
}

#[test]
fn nobody_is_called_available_while_nobody_can_write() {
    let mut world = healthy(3);
    world.status.state = Some(ClusterPhase::Healthy);
    world.spec.paused = true;
    world.pods.get_mut(&0).unwrap().trouble = Some("CrashLoopBackOff".into());
    let plan = turns(&mut world, 3);
    assert_eq!(status(&plan, ConditionType::Progressing), (Some(false), Reason::Paused));
    assert_eq!(status(&plan, ConditionType::Available).0, Some(false));
    assert_eq!((plan.phase, plan.primary), (ClusterPhase::Failed, None));
}

#[test]
fn a_hand_over_that_takes_long_is_told_as_what_it_is() {
    let mut world = healthy(3);
    world.status.state = Some(ClusterPhase::Healthy);
    world.stalled.insert(1);
    world.write();
    world.ask(Some(1));
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..25 {
        let plan = world.turn();
        let writable = world.pods.values().any(|pod| pod.writable);
        if !writable {
            told.insert(status(&plan, ConditionType::Available).0);
        }
    }
    assert!(told.contains(&Some(false)), "{told:?}");
}

#[test]
fn an_operator_with_another_clock_gives_up_neither_at_once_nor_never() {
    for hours in [-5, 5] {
        let mut world = healthy(3);
        world.stalled.insert(1);
        world.write();
        world.ask(Some(1));
        turns(&mut world, 4);
        let given_up = |world: &World| {
            world.status.replication.as_ref().unwrap().switchover.as_ref().unwrap().given_up.clone()
        };
        // Another operator takes over: it has seen nothing yet.
        world.now += SignedDuration::from_hours(hours);
        world.seen.clear();
        let plan = turns(&mut world, 5);
        assert_eq!(given_up(&world), None, "{plan:?}");
        turns(&mut world, 40);
        assert!(given_up(&world).is_some(), "nobody could write for {hours} h");
        assert!(world.pods[&0].writable);
        // What was given up is not begun again at once by the next one.
        world.drained.insert(0);
        world.now += SignedDuration::from_hours(hours);
        world.seen.clear();
        let begun = |plan: &Plan| matches!(&plan.step, Some(Step::Record { record, .. }) if record.target().is_some());
        assert!((0..20).all(|_| !begun(&world.turn())), "{hours}");
    }
}

#[test]
fn what_is_missing_is_made_and_nothing_is_changed() {
    let mut world = healthy(3);
    assert_eq!(world.turn().upkeep, Upkeep::Full);
    for hold in HOLDS {
        let mut world = healthy(3);
        let (template, id) = (world.template.clone(), world.status.cluster_id.clone());
        hold(&mut world);
        world.spec.replicas = 5;
        world.spec.image = "mysql:8.4".into();
        let plan = turns(&mut world, 20);
        assert_eq!((plan.upkeep, plan.cluster_id), (Upkeep::Missing, id));
        assert_eq!((world.pods.len(), &world.template), (3, &template));
        world.pods.remove(&2);
        turns(&mut world, 20);
        assert_eq!(world.pods[&2].hash, template.unwrap(), "it comes back as it was");
    }
    let mut world = healthy(3);
    world.spec.paused = true;
    world.pods.clear();
    world.replicas = 0;
    assert_eq!(world.turn().cluster_id, None, "nothing of it runs");
}
