//! More instances than nodes that take them.

use mainstay_crd::ClusterPhase;

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
