//! Templates of which no pod has served yet: whoever dies meanwhile comes back as it was.

use mainstay_crd::ClusterPhase;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_proto::{Directory, Server, Stage};

use super::table::{blocked, healthy};
use super::well::{well, with_facts};
use super::world::World;
use crate::{Agent, Hold, Observation, Plan, Step, plan};

/// A cluster of `replicas` whose change can't start and stopped at its first pod.
fn stuck(replicas: i32) -> (World, String) {
    let mut world = healthy(replicas);
    let before = world.template.clone().unwrap();
    world.spec.image = "bad:1".into();
    world.settle();
    (world, before)
}

fn on(world: &World, hash: &str) -> usize {
    world.pods.values().filter(|pod| pod.hash == hash).count()
}

#[test]
fn a_primary_that_dies_while_a_change_can_not_start_comes_back_as_it_was() {
    let (mut world, before) = stuck(3);
    assert_eq!((on(&world, &before), world.template.as_ref()), (2, Some(&before)));
    world.pods.remove(&0);
    let plan = world.settle();
    assert_eq!((plan.primary.as_deref(), plan.ready), (Some("shop-0"), 2));
    assert_eq!(world.pods[&0].hash, before);
    // All the others too, and more than once.
    world.pods.remove(&1);
    world.settle();
    world.pods.remove(&0);
    assert_eq!(world.settle().ready, 2);
    world.spec.image = "mysql:9.7".into();
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    assert_eq!(on(&world, &before), 3);
}

#[test]
fn a_fix_of_what_can_not_start_is_tried_by_the_same_instance_and_rolled_out() {
    let (mut world, before) = stuck(3);
    world.spec.image = "mysql:9.8".into();
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    assert_eq!(on(&world, &before), 0);
    assert_eq!(world.status.template.as_ref().map(|t| &t.proven), world.template.as_ref());
}

#[test]
fn a_primary_that_dies_before_the_first_pod_of_a_change_serves_comes_back_as_it_was() {
    let mut world = healthy(3);
    let before = world.template.clone().unwrap();
    world.spec.image = "mysql:9.8".into();
    while on(&world, &before) == 3 || !world.pods.contains_key(&2) {
        world.turn();
    }
    world.pods.get_mut(&2).unwrap().heard = false;
    world.pods.get_mut(&2).unwrap().channel = None;
    world.turn();
    world.pods.remove(&0);
    world.turn();
    assert_eq!(world.pods[&0].hash, before);
    world.pods.get_mut(&2).unwrap().heard = true;
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    assert_eq!(on(&world, &before), 0);
}

#[test]
fn an_only_instance_tries_by_itself_and_comes_back_as_it_was() {
    let (mut world, before) = stuck(1);
    assert_eq!(on(&world, &before), 0);
    world.pods.remove(&0);
    world.turn();
    assert_eq!(world.pods[&0].hash, before);
}

#[test]
fn what_no_pod_can_be_made_of_is_put_back_and_said() {
    let mut world = healthy(3);
    let before = world.template.clone().unwrap();
    world.spec.image = "mysql:9.8".into();
    world.no_room = true;
    for _ in 0..250 {
        world.turn();
    }
    let plan = world.settle();
    assert_eq!((on(&world, &before), blocked(&plan)), (3, Some(Reason::InvalidSpec)));
    assert_eq!(plan.phase, ClusterPhase::Healthy, "all serve as before");
    world.no_room = false;
    world.spec.image = "mysql:9.9".into();
    let plan = world.settle();
    assert_eq!((on(&world, &before), blocked(&plan)), (0, None));
}

/// Of a cluster whose image was changed.
fn changed() -> Observation {
    let mut o = well();
    o.cluster.spec.image = "mysql:9.8".into();
    o
}

/// Its mysqld was killed a moment ago.
fn killed(o: &mut Observation, ordinal: u32) {
    let instance = o.instances.get_mut(&ordinal).unwrap();
    let Agent::Live { report, .. } = &mut instance.agent else { panic!() };
    report.server = Server::Stopped { last_exit: Some("signal 9".into()) };
    instance.pod.as_mut().unwrap().ready = false;
}

fn takes(plan: &Plan) -> Option<&str> {
    plan.step.as_ref().and_then(Step::takes_pod)
}

#[test]
fn a_pod_that_does_not_serve_this_instant_is_not_replaced() {
    for ordinal in 0..3 {
        let mut o = changed();
        killed(&mut o, ordinal);
        let next = plan(&o);
        assert_eq!(takes(&next), None, "{ordinal}");
        assert!(matches!(next.hold, Hold::Proven(_)), "{ordinal}: the change would reach whoever dies");
        // Proven or not.
        let wanted = with_facts(&o, |facts| facts.template_hash().to_owned());
        o.stateful_set.as_mut().unwrap().template_hash = Some(wanted.clone());
        o.cluster.status.template.as_mut().unwrap().proven = wanted;
        assert_eq!(takes(&plan(&o)), None, "{ordinal}");
    }
}

#[test]
fn a_primary_that_can_not_start_as_it_is_gets_the_fix() {
    let mut o = changed();
    killed(&mut o, 0);
    o.instances.get_mut(&0).unwrap().pod.as_mut().unwrap().trouble = Some("CrashLoopBackOff".into());
    let first = plan(&o);
    assert_eq!(first.hold, Hold::Wanted);
    let wanted = with_facts(&o, |facts| facts.template_hash().to_owned());
    o.stateful_set.as_mut().unwrap().template_hash = Some(wanted);
    o.cluster.status.template = first.template;
    assert_eq!(takes(&plan(&o)), Some("shop-0"));
}

/// Instance 2 lost its volume, and no copy for it succeeds.
fn without_a_copy(o: &mut Observation) {
    let Agent::Live { report, .. } = &mut o.instances.get_mut(&2).unwrap().agent else { panic!() };
    (report.stage, report.directory) = (Stage::Prepare, Directory::Empty);
    (report.server, report.task) = (Server::Stopped { last_exit: None }, None);
    let pod = o.instances.get_mut(&2).unwrap().pod.as_mut().unwrap();
    (pod.ready, pod.started) = (false, false);
    let record = o.cluster.status.replication.as_mut().unwrap();
    let operation = serde_json::json!({"id": "o", "kind": "Clone", "ordinal": 2, "donor": 1, "revision": 1, "failures": 2});
    record.operations.push(serde_json::from_value(operation).unwrap());
}

/// An empty instance of a newer server can't be cloned from an older one; and what CLONE refuses is mended on its donor.
#[test]
fn an_instance_that_can_not_be_cloned_waits_for_a_change_of_the_others_and_not_they_for_it() {
    let mut o = changed();
    without_a_copy(&mut o);
    let first = plan(&o);
    let trying = first.template.as_ref().and_then(|template| template.trying.as_ref());
    assert_eq!((first.hold.clone(), trying.map(|trying| trying.ordinal)), (Hold::Wanted, Some(1)));
    let wanted = with_facts(&o, |facts| facts.template_hash().to_owned());
    o.stateful_set.as_mut().unwrap().template_hash = Some(wanted);
    o.cluster.status.template = first.template;
    // Whatever is tried for it meanwhile.
    let Some(super::super::Decision::Do(step)) = with_facts(&o, super::super::rollout::roll) else {
        panic!()
    };
    assert_eq!(step.takes_pod(), Some("shop-1"));
}

#[test]
fn what_is_said_of_a_change_that_can_not_start_is_the_changes() {
    let (mut world, _) = stuck(3);
    let told = |plan: &Plan| {
        let ready = plan.conditions.iter().find(|c| c.type_ == ConditionType::Ready).unwrap().clone();
        (ready.reason, ready.message)
    };
    for (trouble, reason) in
        [(Some("CrashLoopBackOff: banana"), Reason::ChangeFailed), (None, Reason::Rolling)]
    {
        let pod = world.pods.get_mut(&2).unwrap();
        (pod.trouble, pod.heard) = (trouble.map(String::from), false);
        let mut observation = world.observe();
        observation.instances.get_mut(&2).unwrap().agent = Agent::Unheard;
        observation.instances.get_mut(&2).unwrap().pod.as_mut().unwrap().trouble = trouble.map(String::from);
        let (said, message) = told(&plan(&observation));
        assert_eq!(said, reason, "{message}");
        assert!(
            message.contains("2 of 3 instances serve: the change of the spec is tried on shop-2"),
            "{message}"
        );
        assert_eq!(message.contains("banana"), trouble.is_some());
    }
    // One that is missing for another reason is told as that.
    let mut observation = healthy(3).observe();
    let instance = observation.instances.get_mut(&2).unwrap();
    instance.agent = Agent::Unheard;
    instance.pod.as_mut().unwrap().ready = false;
    assert_eq!(told(&plan(&observation)).0, Reason::ReplicasMissing);
}
