//! More instances than nodes that take them.

use std::collections::BTreeSet;

use mainstay_crd::{ClusterPhase, TryingTemplate};

use super::well::{well, with_facts};
use super::world::World;
use crate::{Claim, Observation, Volume, plan};

/// Three are asked for, and no node takes the last: its claim was never bound.
fn short() -> World {
    let mut world = World::new(3);
    world.unbound.insert(2);
    while world.pods.is_empty() {
        world.turn();
    }
    world
}

#[test]
fn the_others_start_without_one_that_no_node_takes() {
    let mut world = short();
    let plan = world.settle();
    assert_eq!(
        (plan.primary.as_deref(), plan.phase, plan.ready),
        (Some("shop-0"), ClusterPhase::Degraded, 2)
    );
    assert_eq!(world.initialized, 1);
    world.write();
    // A node comes.
    world.unbound.clear();
    world.pods.remove(&2);
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    assert_eq!(world.initialized, 1);
    assert_eq!(world.volumes[&2].gtids, world.volumes[&0].gtids);
}

#[test]
fn one_that_may_hold_data_is_waited_for() {
    let waits = |change: fn(&mut Observation)| {
        let mut world = short();
        let mut observation = world.observe();
        change(&mut observation);
        assert_eq!(plan(&observation).step, None);
    };
    let begins = short().turn().step;
    assert!(matches!(begins, Some(crate::Step::Record { .. })), "{begins:?}");
    waits(|o| claim_of(o).cluster_id = o.cluster.status.cluster_id.clone());
    waits(|o| claim_of(o).volume = Some("pv".into()));
    waits(|o| claim_of(o).phase = None);
    waits(|o| o.instances.get_mut(&2).unwrap().claim = None);
    waits(|o| o.instances.get_mut(&2).unwrap().pod.as_mut().unwrap().node = Some("node".into()));
    waits(|o| {
        let claim = Some(("db".to_owned(), "data-shop-2".to_owned()));
        o.surroundings.volumes.insert("kept".into(), Volume { claim, ..Volume::default() });
    });
}

#[test]
fn the_others_start_without_one_of_which_no_pod_can_be_made() {
    let begins = |refused: Option<&str>, with_claim: bool| {
        let mut world = short();
        let mut observation = world.observe();
        let instance = observation.instances.get_mut(&2).unwrap();
        instance.pod = None;
        instance.agent = crate::Agent::Unheard;
        instance.claim = instance.claim.take().filter(|_| with_claim);
        observation.pods_refused = refused.map(String::from);
        plan(&observation).step.is_some()
    };
    assert!(begins(Some("exceeded quota"), true));
    assert!(begins(Some("exceeded quota"), false));
    assert!(!begins(None, true), "its pod may be about to be made");
}

fn claim_of(observation: &mut Observation) -> &mut Claim {
    observation.instances.get_mut(&2).unwrap().claim.as_mut().unwrap()
}

/// An anti-affinity keeps others out for as long as one pod that asks for it is there, whatever the new pod asks for.
#[test]
fn a_change_that_makes_room_is_not_kept_back_by_who_needs_it() {
    let mut world = short();
    world.settle();
    let before = world.template.clone().unwrap();
    world.spec.image = "mysql:9.8".into();
    let mut firsts = BTreeSet::new();
    while world.pods.get(&1).is_none_or(|pod| pod.hash == before || pod.channel.is_none()) {
        firsts.extend(world.pods.get(&2).map(|pod| pod.uid.clone()));
        world.turn();
        assert!(world.pods.contains_key(&0) && world.pods[&0].hash == before);
    }
    assert_eq!(firsts.len(), 2, "it is tried on the one that serves nobody first, once");
    world.unbound.clear();
    world.pods.remove(&2);
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    assert!(world.pods.values().all(|pod| pod.hash != before));
}

#[test]
fn a_change_that_makes_no_room_is_rolled_out_all_the_same() {
    let mut world = short();
    world.settle();
    let before = world.template.clone().unwrap();
    world.spec.image = "mysql:9.8".into();
    let plan = world.settle();
    assert_eq!((plan.phase, plan.ready), (ClusterPhase::Degraded, 2));
    assert!(world.pods.values().all(|pod| pod.hash != before));
}

/// A change whose first pod no node takes: who is the first then, and who is waited for?
#[test]
fn one_that_has_a_volume_is_still_waited_for() {
    let mut o = well();
    o.cluster.spec.image = "mysql:9.8".into();
    let wanted = with_facts(&o, |facts| facts.template_hash().to_owned());
    let status = o.cluster.status.template.as_mut().unwrap();
    status.trying = Some(TryingTemplate { hash: wanted.clone(), ordinal: 2, given_up: false });
    let instance = o.instances.get_mut(&2).unwrap();
    instance.agent = crate::Agent::Unheard;
    let pod = instance.pod.as_mut().unwrap();
    (pod.node, pod.ready, pod.started, pod.template_hash) = (None, false, false, Some(wanted));
    pod.trouble = Some("Unschedulable: no room".into());
    let first = |o: &Observation| plan(o).template.unwrap().trying.map(|trying| trying.ordinal);
    assert_eq!(first(&o), Some(2), "its data may be needed");
    let claim = claim_of(&mut o);
    let volume = claim.volume.take().unwrap();
    (claim.phase, claim.cluster_id) = (Some("Pending".into()), None);
    claim.annotations.clear();
    o.surroundings.volumes.remove(&volume);
    assert_eq!(first(&o), Some(2), "it had a volume once");
    o.cluster.status.instances.retain(|instance| instance.ordinal != 2);
    assert_eq!(first(&o), Some(1));
}
