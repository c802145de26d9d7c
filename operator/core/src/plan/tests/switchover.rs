//! Planned changes of the primary, cut off and disturbed at every step.

use jiff::SignedDuration;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::{ClusterPhase, SwitchoverReason};
use mainstay_proto::Action;

use super::table::healthy;
use super::world::{World, uuid};
use crate::{Plan, Step};

fn condition(plan: &Plan, type_: ConditionType) -> (Option<bool>, Reason) {
    let condition = plan.conditions.iter().find(|c| c.type_ == type_).unwrap();
    (condition.status, condition.reason)
}

fn given_up(world: &World) -> Option<String> {
    world.status.replication.as_ref()?.switchover.as_ref()?.given_up.clone()
}

/// Turns until the record announces a switchover; whose is it?
fn announced(world: &mut World) -> SwitchoverReason {
    for _ in 0..20 {
        world.turn();
        let record = world.status.replication.as_ref().unwrap();
        if record.target.is_some() {
            return record.switchover.as_ref().unwrap().reason;
        }
    }
    panic!("no switchover: {:?}", world.turn());
}

#[test]
fn who_is_asked_for_leads_and_is_asked_for_once() {
    let mut world = healthy(3);
    let epoch = world.status.replication.as_ref().unwrap().epoch;
    world.ask(Some(2));
    let plan = world.settle();
    assert_eq!((plan.phase, plan.primary.as_deref()), (ClusterPhase::Healthy, Some("shop-2")));
    assert_eq!(world.status.replication.as_ref().unwrap().epoch, epoch + 1);
    world.write();
    world.ask(Some(0));
    assert_eq!(world.settle().primary.as_deref(), Some("shop-0"));
    // The annotation still stands when something else makes another the primary.
    world.drained.insert(0);
    assert_eq!(world.settle().primary.as_deref(), Some("shop-1"));
    world.drained.clear();
    assert_eq!(world.settle().primary.as_deref(), Some("shop-1"));
    // Taken away and put back, it is a new request.
    world.annotations.clear();
    world.settle();
    world.ask(Some(0));
    assert_eq!(world.settle().primary.as_deref(), Some("shop-0"));
}

fn labels(world: &World) -> Vec<Option<&str>> {
    world.pods.values().map(|pod| pod.role.as_deref()).collect()
}

const BEFORE: [Option<&str>; 3] = [Some("primary"), Some("replica"), Some("replica")];

#[test]
fn clients_are_led_to_the_new_primary_in_one_go() {
    let mut world = healthy(3);
    world.ask(Some(1));
    announced(&mut world);
    assert!(world.pods[&0].writable, "the announcement alone changes nothing");
    let plan = world.turn();
    assert!(
        matches!(&plan.step, Some(Step::Order { ordinal: 0, order, .. }) if order.action == Action::StandDown)
    );
    while !world.pods[&1].writable {
        assert_eq!(labels(&world)[..2], BEFORE[..2]);
        world.turn();
    }
    // Who has the label of a primary is read-only until the swap.
    assert!(!world.pods[&0].writable);
    assert_eq!(labels(&world)[..2], BEFORE[..2]);
    world.turn();
    let [old, new] = [labels(&world)[0], labels(&world)[1]];
    assert!(old != Some("primary") && new == Some("primary"), "{:?}", labels(&world));
    world.settle();
    assert_eq!(labels(&world), [Some("replica"), Some("primary"), Some("replica")]);
}

#[test]
fn an_old_primary_that_is_silent_while_it_hands_over_loses_its_label() {
    for turns in 0..6 {
        let mut world = healthy(3);
        world.ask(Some(1));
        announced(&mut world);
        (0..turns).for_each(|_| drop(world.turn()));
        if world.pods[&1].role.as_deref() == Some("primary") {
            return;
        }
        world.pods.get_mut(&0).unwrap().heard = false;
        world.turn();
        assert_eq!(labels(&world)[0], None, "{turns}");
    }
    panic!("nobody ever led");
}

#[test]
fn an_old_primary_loses_its_label_if_its_successor_is_silent() {
    let mut world = healthy(3);
    world.ask(Some(1));
    announced(&mut world);
    while world.recorded_primary() == Some(0) {
        world.turn();
    }
    world.pods.get_mut(&1).unwrap().heard = false;
    world.turn();
    assert!(!labels(&world).contains(&Some("primary")), "{:?}", labels(&world));
}

#[test]
fn a_switchover_that_is_given_up_changes_no_label() {
    let mut world = healthy(2);
    world.stalled.insert(1);
    world.write();
    world.ask(Some(1));
    announced(&mut world);
    while given_up(&world).is_none() || !world.pods[&0].writable {
        world.turn();
        assert_eq!(labels(&world)[0], BEFORE[0]);
    }
    world.settle();
    assert_eq!(labels(&world)[0], BEFORE[0]);
}

#[test]
fn a_request_that_can_never_be_met_is_refused_with_its_reason() {
    let mut world = healthy(3);
    for (to, why) in
        [("shop-7", "not the name of a pod"), ("other-1", "not the name"), ("shop-0", "leads already")]
    {
        world.annotations.insert(mainstay_crd::names::ANNOTATION_SWITCHOVER_TO.into(), to.into());
        let Some(Step::Record { reason, message, record, .. }) = world.turn().step else { panic!() };
        assert_eq!((reason, record.target()), (Reason::SwitchoverRefused, None));
        assert!(message.contains(why), "{message}");
        assert_eq!(world.turn().step, None, "it is said once");
    }
    world.volumes.get_mut(&1).unwrap().gtids = format!("{}:1-5,{}:1", uuid(0), uuid(99)).parse().unwrap();
    world.ask(Some(1));
    assert!(matches!(world.turn().step, Some(Step::Order { ordinal: 1, .. })), "it is kept out first");
    let Some(Step::Record { reason, message, .. }) = world.turn().step else { panic!() };
    assert_eq!(reason, Reason::SwitchoverRefused);
    assert!(message.contains(&uuid(99)), "{message}");
}

/// The claim of one whose pod runs goes with the pod, and so does the instance's hold on its data.
#[test]
fn nobody_hands_over_to_an_instance_whose_claim_is_being_deleted() {
    let mut world = healthy(3);
    world.volumes.get_mut(&1).unwrap().deleting = true;
    world.ask(Some(1));
    for _ in 0..5 {
        let plan = world.turn();
        assert_eq!(world.status.replication.as_ref().unwrap().target, None);
        let (_, reason) = condition(&plan, ConditionType::Progressing);
        assert_eq!(reason, Reason::SwitchoverWaiting, "{plan:?}");
    }
    world.ask(None);
    assert_eq!(world.settle().primary.as_deref(), Some("shop-2"));
    // One that was to take over when somebody deleted its claim is given up.
    world.ask(Some(0));
    announced(&mut world);
    world.volumes.get_mut(&0).unwrap().deleting = true;
    world.settle();
    assert_eq!(
        given_up(&world).as_deref(),
        Some("shop-0 can't take over: its claim data-shop-0 is being deleted")
    );
    assert_eq!(world.recorded_primary(), Some(2));
}

#[test]
fn a_candidate_that_does_not_catch_up_is_given_up_and_the_operator_rests() {
    let mut world = healthy(2);
    world.stalled.insert(1);
    world.write();
    world.drained.insert(0);
    assert_eq!(announced(&mut world), SwitchoverReason::NodeDrain);
    for _ in 0..40 {
        world.turn();
    }
    assert!(given_up(&world).unwrap().contains("did not catch up"), "{:?}", given_up(&world));
    assert!(world.pods[&0].writable, "the old primary leads again");
    let before = world.status.replication.clone();
    for _ in 0..100 {
        world.turn();
    }
    assert_eq!(world.status.replication, before, "no second attempt at once");
    world.stalled.clear();
    world.now += SignedDuration::from_mins(5);
    assert_eq!(world.settle().primary.as_deref(), Some("shop-1"));
}

#[test]
fn a_candidate_that_dies_is_given_up_and_the_old_primary_leads_again() {
    for turns in 0..3 {
        let mut world = healthy(3);
        world.stalled.insert(2);
        world.write();
        world.ask(Some(2));
        announced(&mut world);
        for _ in 0..turns {
            world.turn();
        }
        world.pods.remove(&2);
        let plan = world.settle();
        assert_eq!(plan.primary.as_deref(), Some("shop-0"), "{turns}");
        assert!(given_up(&world).is_some());
    }
}

#[test]
fn an_old_primary_that_dies_after_it_stood_is_not_waited_for() {
    let mut world = healthy(3);
    world.stalled.insert(2);
    world.write();
    world.ask(Some(2));
    announced(&mut world);
    while world.status.replication.as_ref().unwrap().switchover.as_ref().unwrap().final_gtid_set.is_none() {
        world.turn();
    }
    world.volumes.get_mut(&2).unwrap().gtids = world.volumes[&0].gtids.clone();
    world.pods.get_mut(&0).unwrap().trouble = Some("CrashLoopBackOff".into());
    for _ in 0..5 {
        world.turn();
    }
    assert_eq!(world.recorded_primary(), Some(2));
    assert!(world.pods[&2].writable);
}

#[test]
fn an_old_primary_that_was_never_seen_read_only_is_not_replaced() {
    let mut world = healthy(3);
    world.ask(Some(1));
    announced(&mut world);
    world.pods.get_mut(&0).unwrap().heard = false;
    for _ in 0..40 {
        world.turn();
    }
    assert!(given_up(&world).unwrap().contains("did not become read-only"));
    assert_eq!(world.recorded_primary(), Some(0));
    world.pods.get_mut(&0).unwrap().heard = true;
    assert_eq!(world.settle().primary.as_deref(), Some("shop-0"));
}

#[test]
fn scaling_below_the_primarys_ordinal_hands_over_first() {
    let mut world = healthy(3);
    world.ask(Some(2));
    world.settle();
    world.write();
    world.spec.replicas = 1;
    let plan = world.settle();
    assert_eq!((plan.primary.as_deref(), plan.stateful_set_replicas), (Some("shop-0"), 1));
    assert_eq!(plan.phase, ClusterPhase::Healthy);
}

#[test]
fn the_primary_stays_while_nobody_that_stays_can_take_over() {
    let mut world = healthy(3);
    world.ask(Some(2));
    world.settle();
    for i in [0, 1] {
        world.pods.get_mut(&i).unwrap().channel.as_mut().unwrap().lag_seconds = Some(11);
    }
    world.spec.replicas = 1;
    let plan = world.turn();
    assert_eq!((plan.primary.as_deref(), plan.stateful_set_replicas), (Some("shop-2"), 3));
    assert_eq!(condition(&plan, ConditionType::SpecValid), (Some(false), Reason::PrimaryInTheWay));
}

#[test]
fn a_switchover_is_no_failure_in_words() {
    let mut world = healthy(3);
    world.status.state = Some(ClusterPhase::Healthy);
    let before = world.turn();
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now);
    world.status.conditions = mainstay_crd::conditions::merge(&[], &before.conditions, 1, &now);
    world.ask(Some(1));
    let mut changed = std::collections::BTreeSet::new();
    for _ in 0..15 {
        let plan = world.turn();
        let ready = [ConditionType::Ready, ConditionType::Available].map(|type_| condition(&plan, type_));
        assert_eq!(ready, [(Some(true), Reason::AllReady), (Some(true), Reason::PrimaryConfirmed)]);
        assert_eq!(plan.phase, ClusterPhase::Healthy);
        changed.insert(condition(&plan, ConditionType::Progressing));
    }
    let told: Vec<Reason> = changed.into_iter().map(|(_, reason)| reason).collect();
    assert!(
        told.iter().all(|r| matches!(r, Reason::SwitchingOver | Reason::CatchingUp | Reason::Idle)),
        "{told:?}"
    );
}
