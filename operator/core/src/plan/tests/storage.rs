//! Volumes and nodes: what is said of them, and what is done.

mod life;
mod volumes;

use mainstay_crd::InstanceState;
use mainstay_crd::conditions::{ConditionType, Reason, Wanted};
use serde_json::json;

use super::world::World;
use crate::{Agent, Class, Node, Observation, Plan, Step, StorageStep, Volume, plan};

fn ready_node() -> Node {
    Node { uid: "n".into(), ready: Some("True".into()), ..Node::default() }
}

/// A cluster of three that is well, on three nodes; instance 2 is a replica.
fn well() -> Observation {
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

fn storage_ready(o: &Observation) -> Wanted {
    plan(o).conditions.into_iter().find(|c| c.type_ == ConditionType::StorageReady).unwrap()
}

fn volume_of(o: &mut Observation, ordinal: u32) -> &mut Volume {
    let name = o.instances[&ordinal].claim.as_ref().unwrap().volume.clone().unwrap();
    o.surroundings.volumes.get_mut(&name).unwrap()
}

fn claim(o: &mut Observation, ordinal: u32) -> &mut crate::Claim {
    o.instances.get_mut(&ordinal).unwrap().claim.as_mut().unwrap()
}

fn pod(o: &mut Observation, ordinal: u32) -> &mut crate::Pod {
    o.instances.get_mut(&ordinal).unwrap().pod.as_mut().unwrap()
}

/// Its pod exists, and nothing of it runs.
fn away(o: &mut Observation, ordinal: u32) {
    o.instances.get_mut(&ordinal).unwrap().agent = Agent::Unheard;
    let pod = pod(o, ordinal);
    (pod.ready, pod.started, pod.role) = (false, false, None);
}

/// Its claim waits for a volume.
fn pending(o: &mut Observation) {
    away(o, 2);
    let claim = claim(o, 2);
    (claim.phase, claim.volume) = (Some("Pending".into()), None);
}

fn free(o: &mut Observation, change: impl FnOnce(&mut Volume)) {
    let mut volume = Volume {
        name: "pv-free".into(),
        phase: Some("Available".into()),
        class: Some("by-hand".into()),
        capacity: Some(2 << 30),
        access_modes: vec!["ReadWriteOnce".into()],
        ..Volume::default()
    };
    change(&mut volume);
    let class = Class { provisioner: "kubernetes.io/no-provisioner".into(), ..Class::default() };
    o.surroundings.classes.insert("by-hand".into(), class);
    o.surroundings.volumes.insert(volume.name.clone(), volume);
    pending(o);
    claim(o, 2).class = Some("by-hand".into());
}

type Change = fn(&mut Observation);

#[test]
fn when_all_is_well_that_is_said_and_what_cannot_be_seen_too() {
    let mut o = well();
    let condition = storage_ready(&o);
    assert_eq!((condition.status, condition.reason), (Some(true), Reason::AsExpected));
    o.surroundings = crate::Surroundings { unseen: vec!["nodes".into()], ..crate::Surroundings::default() };
    let condition = storage_ready(&o);
    assert_eq!(condition.status, Some(true));
    assert!(condition.message.contains("may not read nodes"), "{}", condition.message);
    assert_eq!(plan(&o).step, None, "what can't be seen is no reason to act");
}

fn storage_step(plan: &Plan) -> Option<&StorageStep> {
    match &plan.step {
        Some(Step::Storage { step, .. }) => Some(step),
        _ => None,
    }
}

/// Instance 2 is away, and its node as `node` says.
fn lost(node: Option<Node>) -> Observation {
    let mut o = well();
    away(&mut o, 2);
    match node {
        Some(node) => o.surroundings.nodes.insert("node-2".into(), node),
        None => o.surroundings.nodes.remove("node-2"),
    };
    o
}

fn silent_node() -> Node {
    Node { ready: Some("Unknown".into()), ready_since: Some(jiff::Timestamp::UNIX_EPOCH), ..ready_node() }
}

fn forced(o: &Observation) -> bool {
    matches!(storage_step(&plan(o)), Some(StorageStep::ForceDeletePod { pod, .. }) if pod == "shop-2")
}

#[test]
fn a_pod_is_deleted_by_force_only_when_its_node_is_proven_gone() {
    let silent = lost(Some(silent_node()));
    assert!(!forced(&silent));
    let told = storage_ready(&silent);
    assert_eq!(told.reason, Reason::NodeNotReady);
    assert!(told.message.contains("out-of-service=nodeshutdown:NoExecute"), "{}", told.message);
    let instance = &plan(&silent).instances[2];
    assert_eq!(instance.state, InstanceState::Offline);
    assert!(instance.message.as_ref().unwrap().contains("node-2, which is not Ready"));

    assert!(forced(&lost(Some(Node { out_of_service: true, ..silent_node() }))));
    let mut speaking = lost(Some(Node { out_of_service: true, ..silent_node() }));
    speaking.instances.get_mut(&2).unwrap().agent = well().instances[&2].agent.clone();
    assert!(!forced(&speaking), "its agent speaks");
}

#[test]
fn a_deleted_node_proves_something_only_where_a_volume_cannot_be_mounted_twice() {
    let gone = |change: fn(&mut Volume), attached: bool| {
        let mut o = lost(None);
        change(volume_of(&mut o, 2));
        o.cluster.status.instances[2].ledger.as_mut().unwrap().attached = attached;
        o
    };
    assert!(forced(&gone(|_| (), true)), "detached");
    assert!(!forced(&gone(|_| (), false)), "never seen attached");
    assert!(!forced(&gone(|v| v.attached_to = vec!["node-2".into()], true)), "still attached");
    assert!(!forced(&gone(|v| v.access_modes = vec!["ReadWriteMany".into()], true)));
    assert!(forced(&gone(|v| v.access_modes = vec!["ReadWriteOncePod".into()], false)));
    for source in ["nfs", "hostPath", "local"] {
        let mut o = gone(|_| (), true);
        volume_of(&mut o, 2).source = Some(source.into());
        assert!(!forced(&o), "{source}");
        let told = storage_ready(&o);
        assert!(told.message.contains("could be mounted twice"), "{source}: {}", told.message);
    }
    let mut unknown = gone(|_| (), true);
    unknown.surroundings.known = false;
    assert!(!forced(&unknown), "what can't be seen is not gone");
}

#[test]
fn a_node_is_tainted_only_with_the_proof_that_the_user_named_and_after_its_time() {
    let proof = json!({"whenProven": {"nodeAnnotation": "fencing.example.com/state=off", "after": "5m"}});
    let tainted = |node: Node, asked: bool, now: &str| {
        let mut o = lost(Some(node));
        o.now = now.parse().unwrap();
        if asked {
            o.cluster.spec.node_loss = serde_json::from_value(proof.clone()).unwrap();
        }
        matches!(storage_step(&plan(&o)), Some(StorageStep::TaintNode { node, .. }) if node == "node-2")
    };
    let (soon, late) = ("1970-01-01T00:04:59Z", "1970-01-01T00:05:00Z");
    let proven = || Node { proof: Some("off".into()), ..silent_node() };
    assert!(tainted(proven(), true, late));
    assert!(!tainted(proven(), true, soon));
    assert!(!tainted(proven(), false, late));
    assert!(!tainted(silent_node(), true, late));
    assert!(!tainted(Node { proof: Some("on".into()), ..silent_node() }, true, late));
    assert!(!tainted(Node { proof: Some("off".into()), ..ready_node() }, true, late));
    assert!(!tainted(Node { out_of_service: true, ..proven() }, true, late), "once");
}
