//! What becomes of the claims of instances that are no longer asked for.

use jiff::SignedDuration;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{ANNOTATION_GTID_SET, ANNOTATION_KEPT_SINCE};
use mainstay_crd::{ClusterPhase, RetentionPolicy};
use mainstay_proto::Action;

use super::table::healthy;
use super::world::World;
use crate::{ClaimStep, Plan, Step};

fn kept_because(plan: &Plan) -> Option<String> {
    let condition = plan.conditions.iter().find(|c| c.type_ == ConditionType::RetentionApplied)?;
    (condition.status == Some(false)).then(|| condition.message.clone())
}

fn scaled_down(policy: RetentionPolicy) -> World {
    let mut world = healthy(3);
    world.retain(policy);
    world.spec.replicas = 2;
    world
}

#[test]
fn an_instance_that_leaves_receives_nothing_more_before_its_claim_is_told_what_it_holds() {
    let mut world = scaled_down(RetentionPolicy::Retain);
    let mut steps = Vec::new();
    while world.pods.contains_key(&2) {
        world.write();
        let plan = world.turn();
        assert!(!plan.roles.contains(&(2, Some("replica"))));
        steps.extend(plan.step);
    }
    assert!(matches!(&steps[0], Step::Order { order, .. } if order.action == Action::StandDown), "{steps:?}");
    let noted = matches!(&steps[1], Step::Claim { step: ClaimStep::Note { note: Some(_), .. }, .. });
    assert!(noted, "{steps:?}");
    let volume = &world.volumes[&2];
    assert_eq!(volume.annotations[ANNOTATION_GTID_SET], volume.gtids.to_string());
    let plan = world.settle();
    assert_eq!((plan.phase, kept_because(&plan)), (ClusterPhase::Healthy, None));
    assert!(world.volumes.contains_key(&2), "Retain is the default");
}

/// As one that led before, and was told nothing since by an operator that was killed.
#[test]
fn one_that_runs_is_heard_before_it_leaves_also_if_it_is_not_ready() {
    let mut world = scaled_down(RetentionPolicy::Retain);
    let mut stays = |change: fn(&mut crate::Pod)| {
        let mut observation = world.observe();
        let instance = observation.instances.get_mut(&2).unwrap();
        instance.agent = crate::Agent::Unheard;
        change(instance.pod.as_mut().unwrap());
        crate::plan(&observation).stateful_set_replicas == 3
    };
    assert!(stays(|pod| pod.ready = true));
    assert!(stays(|pod| pod.ready = false));
    assert!(!stays(|pod| (pod.ready, pod.started) = (false, false)), "nothing runs that could say anything");
    assert!(!stays(|pod| (pod.ready, pod.trouble) = (false, Some("CrashLoopBackOff".into()))));
    assert!(!stays(|pod| (pod.ready, pod.node) = (false, Some("gone".into()))), "its node no longer exists");
}

#[test]
fn one_that_is_wanted_again_goes_on_where_it_was_and_loses_its_note() {
    let mut world = scaled_down(RetentionPolicy::Retain);
    world.settle();
    world.write();
    world.spec.replicas = 3;
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    let volume = &world.volumes[&2];
    assert!(volume.annotations.is_empty() && volume.gtids.contains(&world.acknowledged));
    assert_eq!(world.cloned, 2, "it was not cloned again");
}

#[test]
fn delete_deletes_once_another_holds_all_of_it() {
    let mut world = scaled_down(RetentionPolicy::Delete);
    world.settle();
    assert_eq!((world.deleted, world.volumes.len()), (1, 2));

    let mut world = scaled_down(RetentionPolicy::Delete);
    while world.pods.contains_key(&2) {
        world.turn();
    }
    // It holds what nobody else has.
    let errant = "4f22fa47-71ca-11e1-9e33-c80aa9429562:1".to_owned();
    world.volumes.get_mut(&2).unwrap().annotations.insert(ANNOTATION_GTID_SET.into(), errant);
    let plan = world.settle();
    assert_eq!(world.deleted, 0);
    assert!(kept_because(&plan).unwrap().contains("no instance that is Ready holds all"));
}

#[test]
fn a_claim_of_which_nothing_is_known_is_kept_and_named() {
    let mut world = scaled_down(RetentionPolicy::Delete);
    world.pods.get_mut(&2).unwrap().trouble = Some("CrashLoopBackOff".into());
    let plan = world.settle();
    assert_eq!((world.deleted, plan.phase), (0, ClusterPhase::Healthy));
    assert!(kept_because(&plan).unwrap().contains("it is not known which transactions"));
}

#[test]
fn delete_after_waits_from_the_time_that_is_on_the_claim() {
    let mut world = scaled_down(RetentionPolicy::DeleteAfter);
    while world.pods.contains_key(&2) {
        world.turn();
    }
    for _ in 0..60 {
        world.turn();
    }
    assert_eq!(world.deleted, 0);
    let plan = world.turn();
    assert!(plan.look_again.unwrap() <= SignedDuration::from_secs(60), "{:?}", plan.look_again);
    let since = world.volumes[&2].annotations[ANNOTATION_KEPT_SINCE].parse().unwrap();
    world.now = world.now.max(since) + SignedDuration::from_secs(120);
    world.settle();
    assert_eq!(world.deleted, 1);
}

#[test]
fn snapshot_deletes_only_what_was_copied() {
    let mut world = scaled_down(RetentionPolicy::Snapshot);
    world.settle();
    assert_eq!((world.deleted, world.snapshots.len()), (1, 1));
}

#[test]
fn a_volume_that_stays_is_said_to_stay() {
    let mut world = scaled_down(RetentionPolicy::Delete);
    world.reclaim = Some("Retain".into());
    let message = loop {
        if let Some(Step::Claim { step: ClaimStep::Delete { .. }, message, .. }) = world.turn().step {
            break message;
        }
    };
    assert!(message.contains("stays, because its reclaim policy is Retain"), "{message}");
}

#[test]
fn an_operator_that_has_just_started_lets_no_pod_go_unheard() {
    let mut world = scaled_down(RetentionPolicy::Retain);
    world.pods.get_mut(&2).unwrap().heard = false;
    for _ in 0..5 {
        let plan = world.turn();
        assert_eq!(plan.stateful_set_replicas, 3);
    }
    world.pods.get_mut(&2).unwrap().heard = true;
    world.settle();
    assert!(!world.pods.contains_key(&2) && world.volumes[&2].annotations.contains_key(ANNOTATION_GTID_SET));
}

#[test]
fn what_the_condition_says_goes_when_nothing_is_left_to_say() {
    let mut world = scaled_down(RetentionPolicy::Delete);
    let plan = world.settle();
    let told = plan.conditions.iter().find(|c| c.type_ == ConditionType::RetentionApplied).unwrap();
    assert_eq!((told.status, told.reason), (Some(true), Reason::Idle));
}

#[test]
fn the_time_of_one_that_came_back_is_counted_from_its_last_leave() {
    // It leaves as soon as it is there; when all is well; when it can't start; and while its agent is not heard.
    let returns: [fn(&mut World); 4] = [
        |world| {
            while !world.pods.contains_key(&2) {
                world.turn();
            }
        },
        |world| (0..20).for_each(|_| drop(world.turn())),
        |world| {
            while !world.pods.contains_key(&2) {
                world.turn();
            }
            world.pods.get_mut(&2).unwrap().trouble = Some("CrashLoopBackOff".into());
        },
        |world| {
            while !world.pods.contains_key(&2) {
                world.turn();
            }
            world.pods.get_mut(&2).unwrap().heard = false;
        },
    ];
    for (at, returns) in returns.into_iter().enumerate() {
        let mut world = scaled_down(RetentionPolicy::DeleteAfter);
        let leave = |world: &mut World| {
            while world.pods.contains_key(&2) {
                world.turn();
            }
        };
        leave(&mut world);
        let first = world.volumes[&2].annotations[ANNOTATION_KEPT_SINCE].clone();
        world.spec.replicas = 3;
        returns(&mut world);
        world.now += SignedDuration::from_secs(100);
        world.spec.replicas = 2;
        leave(&mut world);
        (0..60).for_each(|_| drop(world.turn()));
        assert_eq!(world.deleted, 0, "{at}: deleted by the time of the first leave, {first}");
        world.now += SignedDuration::from_secs(120);
        world.settle();
        assert_eq!(world.deleted, 1, "{at}");
    }
}
