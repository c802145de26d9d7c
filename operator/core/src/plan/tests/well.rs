//! A cluster that is well, as it is observed: tests change what they are about.

use mainstay_crd::conditions::{ConditionType, DesiredCondition};
use mainstay_crd::names::Names;
use mainstay_crd::{ClusterPhase, OperationKind};

use super::world::World;
use crate::facts::Facts;
use crate::{Agent, Class, Node, Observation, Plan, Record, Step, Volume, plan};

pub(super) fn ready_node() -> Node {
    Node { uid: "n".into(), ready: Some("True".into()), ..Node::default() }
}

/// What is worked out of an observation.
pub(super) fn with_facts<T>(o: &Observation, of: impl FnOnce(&Facts<'_>) -> T) -> T {
    let names = Names::new(&o.cluster.namespace, &o.cluster.name);
    let record = Record::of(o.cluster.status.replication.as_ref());
    of(&Facts::of(o, &names, &record))
}

/// A cluster of three that is well, on three nodes; instance 2 is a replica.
pub(super) fn well() -> Observation {
    let mut world = World::new(3);
    world.settle();
    for _ in 0..10 {
        world.write();
        world.turn();
    }
    let mut o = world.observe();
    for (ordinal, instance) in &mut o.instances {
        let node = format!("node-{ordinal}");
        o.surroundings.nodes.insert(node.clone(), ready_node());
        instance.pod.as_mut().unwrap().node = Some(node.clone());
        let claim = instance.claim.as_mut().unwrap();
        claim.class = Some("fast".into());
        (claim.requested, claim.capacity) = (Some(1 << 30), Some(1 << 30));
        let status = &mut o.cluster.status.instances[*ordinal as usize];
        status.node = Some(node.clone());
        status.ledger.as_mut().unwrap().node = Some(node);
    }
    let class = Class { provisioner: "csi".into(), expandable: true, ..Class::default() };
    o.surroundings.classes.insert("fast".into(), class);
    assert_eq!(plan(&o).step, None);
    o
}

pub(super) fn storage_ready(o: &Observation) -> DesiredCondition {
    plan(o).conditions.into_iter().find(|c| c.type_ == ConditionType::StorageReady).unwrap()
}

pub(super) fn volume_of(o: &mut Observation, ordinal: u32) -> &mut Volume {
    let name = o.instances[&ordinal].claim.as_ref().unwrap().volume.clone().unwrap();
    o.surroundings.volumes.get_mut(&name).unwrap()
}

pub(super) fn claim(o: &mut Observation, ordinal: u32) -> &mut crate::Claim {
    o.instances.get_mut(&ordinal).unwrap().claim.as_mut().unwrap()
}

pub(super) fn pod(o: &mut Observation, ordinal: u32) -> &mut crate::Pod {
    o.instances.get_mut(&ordinal).unwrap().pod.as_mut().unwrap()
}

/// Its pod exists, and nothing of it runs.
pub(super) fn away(o: &mut Observation, ordinal: u32) {
    o.instances.get_mut(&ordinal).unwrap().agent = Agent::Unheard;
    let pod = pod(o, ordinal);
    (pod.ready, pod.started, pod.role) = (false, false, None);
}

/// Its claim waits for a volume.
pub(super) fn pending(o: &mut Observation) {
    away(o, 2);
    let claim = claim(o, 2);
    (claim.phase, claim.volume) = (Some("Pending".into()), None);
}

/// What is to be different.
pub(super) type Change = fn(&mut Observation);

/// The kind of the step, if it is on a volume, for one, or on a node.
pub(super) fn storage_step(plan: &Plan) -> Option<&'static str> {
    let kinds = ["MarkVolume", "KeepVolume", "ReserveVolume", "GrowClaim", "DeleteClaim", "ForceDeletePod"];
    plan.step.as_ref().map(Step::kind).filter(|kind| kinds.contains(kind) || *kind == "TaintNode")
}

pub(super) fn recorded(o: &mut Observation) -> Option<OperationKind> {
    let Some(Step::Record { record, .. }) = plan(o).step else { return None };
    let kind = record.operations().first().map(|o| o.kind);
    o.cluster.status.replication = Some(record.into());
    kind
}

/// A cluster that begins, also one that finds its volumes, has not failed before it ever served.
#[test]
fn a_cluster_that_begins_is_never_said_to_have_failed() {
    for replicas in [1, 3] {
        let mut world = World::new(replicas);
        for life in ["new", "recreated"] {
            while world.status.state != Some(ClusterPhase::Healthy) {
                let phase = world.turn().phase;
                assert_ne!(phase, ClusterPhase::Failed, "{life}, {replicas}");
                world.status.state = Some(phase);
            }
            world.recreate();
        }
    }
}

#[test]
fn a_cluster_that_served_and_does_not_any_more_has_failed() {
    let mut o = well();
    o.cluster.status.state = Some(ClusterPhase::Healthy);
    away(&mut o, 0);
    assert_eq!(plan(&o).phase, ClusterPhase::Failed);
}
