//! A claim or volume that is being deleted while a pod uses it: whoever takes the pod deletes the data.

use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_proto::{Directory, Server};

use super::table::healthy;
use super::well::{claim, pod, storage_ready, volume_of, well};
use super::world::World;
use crate::{Agent, Observation, Safe, Step, VolumeStep, may_take_pod, plan};

/// A cluster on volumes that go with their claims.
fn on_delete(replicas: i32) -> World {
    let mut world = healthy(replicas);
    world.reclaim = Some("Delete".into());
    world
}

#[test]
fn the_volume_of_a_claim_that_is_deleted_under_its_primary_is_kept_at_once_and_its_pod_stays() {
    for replicas in [1, 3] {
        let mut world = on_delete(replicas);
        world.volumes.get_mut(&0).unwrap().deleting = true;
        let step = world.turn().step;
        assert!(step.as_ref().is_some_and(|step| step.keeps_volume().is_some()), "{step:?}");
        world.spec.image = "mysql:9.8".into();
        world.settle();
        assert!(world.nothing_is_lost(), "{replicas}: the last copy went with its claim");
        // An only instance goes on as it is; the primary of three hands over, and is cloned anew.
        assert_eq!(world.volumes[&0].deleting, replicas == 1);
        assert_eq!(world.recorded_primary() == Some(0), replicas == 1);
    }
}

#[test]
fn a_copy_that_another_holds_is_not_kept_and_its_pod_may_go() {
    let mut o = well();
    claim(&mut o, 2).deleting = true;
    assert_eq!(may_take_pod(&o, 2), Ok(Safe::Elsewhere));
    assert_eq!(plan(&o).step, None);
    let message = storage_ready(&o).message;
    assert!(message.contains("shop-0 holds all that is on it: delete the pod shop-2"), "{message}");
}

/// What makes a claim of which the rest is well the last copy, or not known to be another.
type Change = fn(&mut Observation);

fn last_copies() -> Vec<(&'static str, u32, Change)> {
    vec![
        ("the primary's", 0, |_| ()),
        ("a replica's that holds more than the others", 2, |o| {
            let Agent::Live { report, .. } = &mut o.instances.get_mut(&2).unwrap().agent else { panic!() };
            let Server::Running { state } = &mut report.server else { panic!() };
            state.channel.as_mut().unwrap().gtid_received =
                "3e11fa47-71ca-11e1-9e33-000000000000:1-900".into();
        }),
        ("one that is not heard", 2, |o| o.instances.get_mut(&2).unwrap().agent = Agent::Unheard),
        ("a replica's while no other is Ready", 2, |o| {
            for other in [0, 1] {
                pod(o, other).deleting = true;
            }
        }),
        ("a replica's while those of the others go too", 2, |o| {
            for other in [0, 1] {
                claim(o, other).deleting = true;
            }
        }),
    ]
}

#[test]
fn no_pod_is_taken_while_its_claim_goes_and_its_volume_with_it() {
    for (name, ordinal, change) in last_copies() {
        let mut o = well();
        volume_of(&mut o, ordinal).reclaim_policy = Some("Delete".into());
        claim(&mut o, ordinal).deleting = true;
        change(&mut o);
        assert!(may_take_pod(&o, ordinal).is_err(), "{name}");
        let Some(Step::Volume { step: VolumeStep::Keep { labels, .. }, .. }) = plan(&o).step else {
            panic!("{name}: {:?}", plan(&o).step)
        };
        assert_eq!(labels.len(), 2, "{name}: without them it can't be given back");
        volume_of(&mut o, ordinal).reclaim_policy = Some("Retain".into());
        assert_eq!(may_take_pod(&o, ordinal), Ok(Safe::Kept), "{name}");
    }
}

#[test]
fn a_volume_that_is_deleted_itself_is_kept_too() {
    let mut o = well();
    volume_of(&mut o, 0).deleting = true;
    assert!(may_take_pod(&o, 0).is_err());
    assert!(plan(&o).step.is_some_and(|step| step.keeps_volume().is_some()));
    volume_of(&mut o, 0).reclaim_policy = Some("Retain".into());
    assert_eq!(may_take_pod(&o, 0), Ok(Safe::Untouched), "its claim stays");
    let told = storage_ready(&o);
    assert_eq!(told.reason, Reason::VolumeTerminating);
    assert!(told.message.contains("It is set to Retain"), "{}", told.message);
}

#[test]
fn what_holds_nothing_may_go() {
    let mut o = well();
    claim(&mut o, 2).deleting = true;
    let Agent::Live { report, .. } = &mut o.instances.get_mut(&2).unwrap().agent else { panic!() };
    (report.directory, report.server) = (Directory::Empty, Server::Stopped { last_exit: None });
    assert_eq!(may_take_pod(&o, 2), Ok(Safe::Untouched));
}

/// What a person is told of the primary's claim, and the command in it.
#[test]
fn what_is_told_of_a_claim_that_goes_is_true_of_its_volume() {
    let mut o = well();
    claim(&mut o, 0).deleting = true;
    let volume = volume_of(&mut o, 0).name.clone();
    let told = |o: &Observation| storage_ready(o).message;
    assert!(told(&o).contains(&format!("{volume} is being set to Retain")), "{}", told(&o));

    o.surroundings.refused.insert(volume.clone(), "forbidden".into());
    assert_eq!(plan(&o).step, None, "what is refused keeps nothing else from being done");
    assert!(told(&o).contains("(forbidden)") && told(&o).contains("kubectl patch pv"), "{}", told(&o));
    o.surroundings.refused.clear();

    volume_of(&mut o, 0).reclaim_policy = Some("Retain".into());
    let give_back =
        format!("kubectl annotate --overwrite -n db mysqlcluster shop mysql.mainstay.dev/give-back={volume}");
    assert!(told(&o).contains(&give_back), "{}", told(&o));
    // Followed before the pod has ended.
    o.cluster.annotations.insert("mysql.mainstay.dev/give-back".into(), volume);
    let waits = storage_ready(&o);
    assert_eq!(waits.reason, Reason::GivingBack, "{}", waits.message);

    o.surroundings.volumes.clear();
    assert!(told(&o).contains("can't see its volume"), "{}", told(&o));
    assert!(!told(&o).contains("delete the pod"), "{}", told(&o));
}

#[test]
fn an_instance_that_leaves_with_the_last_copy_stays_until_that_is_kept() {
    let mut o = well();
    o.cluster.spec.replicas = 2;
    claim(&mut o, 2).deleting = true;
    o.instances.get_mut(&2).unwrap().agent = Agent::Unheard;
    pod(&mut o, 2).ready = false;
    assert_eq!(plan(&o).stateful_set_replicas, 3);
    o.cluster.status.replication.as_mut().unwrap().primary = None;
    assert_eq!(plan(&o).stateful_set_replicas, 3, "also while nobody is known to lead");
    volume_of(&mut o, 2).reclaim_policy = Some("Retain".into());
    assert_eq!(plan(&o).stateful_set_replicas, 2);
}

#[test]
fn a_pod_on_a_node_that_is_gone_is_not_forced_away_from_its_last_copy() {
    let mut o = well();
    claim(&mut o, 0).deleting = true;
    let volume = volume_of(&mut o, 0).name.clone();
    o.surroundings.refused.insert(volume, "forbidden".into());
    o.instances.get_mut(&0).unwrap().agent = Agent::Unheard;
    o.surroundings.nodes.get_mut("node-0").unwrap().out_of_service = true;
    assert_eq!(plan(&o).step.as_ref().and_then(Step::takes_pod), None);
    assert!(storage_ready(&o).message.contains("could not be set to Retain"));
    o.surroundings.refused.clear();
    volume_of(&mut o, 0).reclaim_policy = Some("Retain".into());
    assert_eq!(plan(&o).step.as_ref().and_then(Step::takes_pod), Some("shop-0"));
}

#[test]
fn a_spec_that_is_wrong_is_no_reason_to_lose_a_copy() {
    let mut o = well();
    claim(&mut o, 0).deleting = true;
    o.cluster.spec.replicas = 99;
    assert!(plan(&o).step.is_some_and(|step| step.keeps_volume().is_some()));
    let progressing =
        plan(&o).conditions.into_iter().find(|c| c.type_ == ConditionType::Progressing).unwrap();
    assert!(progressing.message.contains("is kept from now on"), "{}", progressing.message);
}
