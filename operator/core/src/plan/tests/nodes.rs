//! Lost nodes: what is said of them, what is done to pods on them, and to volumes that only they can mount.

use mainstay_crd::conditions::Reason;
use mainstay_crd::{InstanceState, OperationKind};
use serde_json::json;

use super::well::{
    Change, away, claim, pod, ready_node, recorded, storage_ready, storage_step, volume_of, well,
};
use super::world::uuid;
use crate::{Agent, Node, Observation, PodStep, Step, Volume, VolumeStep, plan};

/// Instance 2 is away, and its node as `node` says.
pub(super) fn lost(node: Option<Node>) -> Observation {
    let mut o = well();
    away(&mut o, 2);
    match node {
        Some(node) => o.surroundings.nodes.insert("node-2".into(), node),
        None => o.surroundings.nodes.remove("node-2"),
    };
    o
}

pub(super) fn silent_node() -> Node {
    Node { ready: Some("Unknown".into()), ready_since: Some(jiff::Timestamp::UNIX_EPOCH), ..ready_node() }
}

fn forced(o: &Observation) -> bool {
    let step = plan(o).step;
    matches!(step, Some(Step::Pod { pod, step: PodStep::ForceDelete, .. }) if pod == "shop-2")
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

/// Instance 2 has been silent since the node's Lease was last renewed, 15 s ago.
fn suspect() -> Observation {
    let mut o = well();
    o.now = "1970-01-01T01:00:15Z".parse().unwrap();
    let Agent::Live { report, .. } = o.instances[&2].agent.clone() else { panic!() };
    let broken = Agent::Broken { report, since: o.now, error: "timed out".into() };
    o.instances.get_mut(&2).unwrap().agent = broken;
    let unrenewed = "1970-01-01T01:00:00Z".parse().ok();
    o.surroundings.nodes.get_mut("node-2").unwrap().lease_unrenewed_since = unrenewed;
    o
}

#[test]
fn a_node_that_falls_silent_is_suspected_before_kubernetes_calls_it_lost() {
    let o = suspect();
    let told = storage_ready(&o);
    assert_eq!(told.reason, Reason::NodeSuspected, "{}", told.message);
    assert!(told.message.contains("since 1970-01-01T01:00:00Z"), "{}", told.message);
    let plan = plan(&o);
    let instance = &plan.instances[2];
    assert_eq!(instance.state, InstanceState::Offline);
    assert!(instance.message.as_ref().unwrap().contains("node-2, which is probably lost"));
    assert!(!forced(&o) && plan.look_again.is_some_and(|wait| wait.as_secs() <= 5));
}

#[test]
fn a_node_is_not_suspected_for_less() {
    let less: [(&str, Change); 6] = [
        ("too early", |o| o.now = "1970-01-01T01:00:14Z".parse().unwrap()),
        ("its Lease can't be read", |o| {
            o.surroundings.nodes.get_mut("node-2").unwrap().lease_unrenewed_since = None;
        }),
        ("its agent answers", |o| {
            let agent = well().instances[&2].agent.clone();
            o.instances.get_mut(&2).unwrap().agent = agent;
        }),
        ("another on it answers", |o| pod(o, 1).node = Some("node-2".into())),
        ("its container does not run", |o| pod(o, 2).started = false),
        ("Kubernetes knows already", |o| {
            o.surroundings.nodes.get_mut("node-2").unwrap().ready = Some("Unknown".into());
        }),
    ];
    for (name, change) in less {
        let mut o = suspect();
        change(&mut o);
        assert_ne!(storage_ready(&o).reason, Reason::NodeSuspected, "{name}");
    }
    assert_eq!(plan(&well()).look_again, None, "nobody looks at Leases while all is well");
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
    assert!(
        !forced(&gone(|v| v.access_modes = vec!["ReadWriteOncePod".into()], false)),
        "nothing is attached"
    );
    assert!(forced(&gone(|v| v.access_modes = vec!["ReadWriteOncePod".into()], true)), "detached");
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
        matches!(plan(&o).step, Some(Step::Node { node, .. }) if node == "node-2")
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

/// Instance 2 is stranded on a lost node for an hour, and replicas are replaced after half of that.
pub(super) fn stranded() -> Observation {
    let mut o = lost(None);
    o.now = "1970-01-01T01:00:00Z".parse().unwrap();
    o.cluster.spec.storage.local = serde_json::from_value(json!({"replaceAfter": "30m"})).unwrap();
    let pod = pod(&mut o, 2);
    (pod.node, pod.trouble) = (None, Some("Unschedulable: 0/2 nodes".into()));
    let volume = volume_of(&mut o, 2);
    volume.hosts = Some(vec!["node-2".into()]);
    volume.source = Some("local".into());
    o
}

#[test]
fn a_stranded_replica_gets_a_new_volume_and_the_old_one_is_kept() {
    let mut o = stranded();
    assert_eq!(recorded(&mut o), Some(OperationKind::ReplaceVolume), "announced first");
    let Some(Step::Volume { step: VolumeStep::Keep { labels, annotations, .. }, .. }) = plan(&o).step else {
        panic!("{:?}", plan(&o).step)
    };
    let held = &o.cluster.status.instances[2].ledger.as_ref().unwrap().gtid_executed;
    assert_eq!(&annotations["mysql.mainstay.dev/gtid-set"], held);
    assert!(!held.is_empty());
    let volume = volume_of(&mut o, 2);
    volume.labels = labels;
    volume.annotations = annotations;
    assert_eq!(storage_step(&plan(&o)), Some("KeepVolume"), "it is read back");
    volume_of(&mut o, 2).reclaim_policy = Some("Retain".into());
    assert_eq!(storage_step(&plan(&o)), Some("DeleteClaim"));
    claim(&mut o, 2).deleting = true;
    let step = plan(&o).step;
    assert!(matches!(step, Some(Step::Pod { step: PodStep::Replace, .. })), "the pod comes last");
    let renewed = claim(&mut o, 2);
    (renewed.uid, renewed.deleting, renewed.volume) = ("new".into(), false, None);
    assert_eq!(recorded(&mut o), None, "it is over");
    assert!(o.cluster.status.replication.as_ref().unwrap().operations.is_empty());
}

#[test]
fn what_may_not_be_replaced_is_not() {
    let never: [(&str, Change); 7] = [
        ("those that hold as much have counted anew since", |o| {
            for other in [0, 1] {
                let Agent::Live { report, .. } = &mut o.instances.get_mut(&other).unwrap().agent else {
                    panic!()
                };
                let mainstay_proto::Server::Running { state } = &mut report.server else { panic!() };
                state.history = Some(mainstay_proto::History::default().reset(0, 1));
            }
        }),
        ("nobody asked for it", |o| o.cluster.spec.storage.local = None),
        ("too early", |o| o.now = "1970-01-01T00:29:59Z".parse().unwrap()),
        ("its node is back", |o| {
            o.surroundings.nodes.insert("node-2".into(), ready_node());
        }),
        ("the last copy", |o| {
            let left = o.cluster.status.instances[2].ledger.as_mut().unwrap();
            left.gtid_executed = format!("{}:1-11", uuid(0));
        }),
        ("nobody leads", |o| o.instances.get_mut(&0).unwrap().agent = Agent::Unheard),
        ("nothing can be seen", |o| o.surroundings.known = false),
    ];
    for (name, change) in never {
        let mut o = stranded();
        change(&mut o);
        assert_ne!(recorded(&mut o), Some(OperationKind::ReplaceVolume), "{name}");
    }
    let mut o = stranded();
    o.cluster.status.replication.as_mut().unwrap().primary = Some(2);
    assert_ne!(recorded(&mut o), Some(OperationKind::ReplaceVolume), "the primary");
}
