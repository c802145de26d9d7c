//! Volumes and nodes: what is said of them, and what is done.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mainstay_crd::conditions::{ConditionType, Reason, Wanted};
use mainstay_crd::{Aside, InstanceState, Judgement, Operation, OperationKind};
use serde_json::json;

use super::world::{NAME, NAMESPACE, World};
use crate::{Agent, Class, Node, Observation, Plan, Step, StorageStep, Volume, plan};

pub(super) fn ready_node() -> Node {
    Node { uid: "n".into(), ready: Some("True".into()), ..Node::default() }
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

pub(super) fn storage_ready(o: &Observation) -> Wanted {
    plan(o).conditions.into_iter().find(|c| c.type_ == ConditionType::StorageReady).unwrap()
}

pub(super) fn volume_of(o: &mut Observation, ordinal: u32) -> &mut Volume {
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

/// What happens in a volume's life, the reason that is given, and what must be in the message.
#[allow(clippy::too_many_lines, reason = "a table")]
fn life() -> Vec<(&'static str, Change, Reason, &'static [&'static str])> {
    let ours = |o: &mut Observation| (NAMESPACE.to_owned(), claim(o, 2).name.clone());
    let _ = ours;
    vec![
        (
            "made",
            |o| pending(o),
            Reason::Provisioning,
            &["data-shop-2", "waits for csi to make a volume of the class fast"],
        ),
        (
            "refused by its provisioner",
            |o| {
                pending(o);
                claim(o, 2).warning = Some("ProvisioningFailed: quota exceeded".into());
            },
            Reason::ProvisioningFailed,
            &["quota exceeded"],
        ),
        (
            "no class",
            |o| {
                pending(o);
                claim(o, 2).class = None;
            },
            Reason::NoDefaultClass,
            &["make a StorageClass the default"],
        ),
        (
            "no such class",
            |o| {
                pending(o);
                claim(o, 2).class = Some("gone".into());
            },
            Reason::NoMatchingVolume,
            &["there is no StorageClass gone", "there is none"],
        ),
        (
            "waits for its pod",
            |o| {
                pending(o);
                o.surroundings.classes.get_mut("fast").unwrap().waits_for_consumer = true;
                pod(o, 2).node = None;
            },
            Reason::WaitsForConsumer,
            &["once shop-2 is scheduled"],
        ),
        (
            "waits for a pod that no node takes",
            |o| {
                pending(o);
                o.surroundings.classes.get_mut("fast").unwrap().waits_for_consumer = true;
                let pod = pod(o, 2);
                (pod.node, pod.trouble) = (None, Some("Unschedulable: 0/3 nodes: insufficient cpu".into()));
            },
            Reason::Unschedulable,
            &["insufficient cpu"],
        ),
        (
            "too small",
            |o| free(o, |volume| volume.capacity = Some(1)),
            Reason::NoMatchingVolume,
            &["pv-free has 1, not 1Gi"],
        ),
        (
            "of another class",
            |o| free(o, |volume| volume.class = Some("slow".into())),
            Reason::NoMatchingVolume,
            &["pv-free has the class 'slow', not 'by-hand'"],
        ),
        (
            "with another mode",
            |o| free(o, |volume| volume.access_modes = vec!["ReadOnlyMany".into()]),
            Reason::NoMatchingVolume,
            &["pv-free can't be mounted ReadWriteOnce"],
        ),
        (
            "reserved for another",
            |o| free(o, |volume| volume.claim = Some(("x".into(), "y".into()))),
            Reason::NoMatchingVolume,
            &["pv-free is reserved for x/y"],
        ),
        (
            "not selected",
            |o| {
                let selector = json!({"matchLabels": {"disk": "fast"}});
                o.cluster.spec.storage.selector = serde_json::from_value(selector).unwrap();
                free(o, |_| ());
            },
            Reason::NoMatchingVolume,
            &["labels that spec.storage.selector asks for"],
        ),
        (
            "wanted by two",
            |o| {
                free(o, |volume| volume.claim = Some(("x".into(), "y".into())));
                claim(o, 2).volume = Some("pv-free".into());
            },
            Reason::VolumeTaken,
            &["claim x/y's", "two claims can't have one volume"],
        ),
        (
            "left by an earlier claim of the name",
            |o| {
                free(o, |volume| {
                    volume.phase = Some("Released".into());
                    volume.claim = Some((NAMESPACE.into(), format!("data-{NAME}-2")));
                    volume.claim_uid = Some("earlier".into());
                });
            },
            Reason::VolumeReleased,
            &["pv-free", "mysql.mainstay.dev/give-back=pv-free"],
        ),
        (
            "vanished",
            |o| {
                away(o, 2);
                claim(o, 2).phase = Some("Lost".into());
            },
            Reason::ClaimLost,
            &["data-shop-2 is Lost", "delete the claim and the pod shop-2"],
        ),
        (
            "vanished, and not noticed yet",
            |o| {
                let name = volume_of(o, 2).name.clone();
                o.surroundings.volumes.remove(&name);
            },
            Reason::ClaimLost,
            &["no longer exists"],
        ),
        (
            "its claim is deleted while it runs",
            |o| claim(o, 2).deleting = true,
            Reason::ClaimTerminating,
            &["goes once the pod shop-2"],
        ),
        (
            "Released",
            |o| volume_of(o, 2).phase = Some("Released".into()),
            Reason::VolumeReleased,
            &["the claim that it was bound to was deleted"],
        ),
        ("Failed", |o| volume_of(o, 2).phase = Some("Failed".into()), Reason::VolumeFailed, &["has Failed"]),
        (
            "being deleted",
            |o| volume_of(o, 2).deleting = true,
            Reason::VolumeTerminating,
            &["goes with the claim"],
        ),
        (
            "still attached",
            |o| {
                away(o, 2);
                volume_of(o, 2).attached_to = vec!["node-0".into()];
            },
            Reason::AttachedElsewhere,
            &["still attached to node node-0", "shop-2 is on node node-2"],
        ),
        (
            "not mounted",
            |o| {
                away(o, 2);
                pod(o, 2).warning = Some("FailedMount: wrong fs type".into());
            },
            Reason::MountFailed,
            &["wrong fs type", "node-2"],
        ),
        (
            "its only node is gone",
            |o| {
                away(o, 2);
                volume_of(o, 2).hosts = Some(vec!["node-9".into()]);
                let pod = pod(o, 2);
                (pod.node, pod.trouble) = (None, Some("Unschedulable: 0/3 nodes".into()));
            },
            Reason::NodeGone,
            &["can only be mounted on node-9, which is gone", "replaceAfter"],
        ),
        (
            "unschedulable for another cause",
            |o| {
                away(o, 2);
                let pod = pod(o, 2);
                (pod.node, pod.trouble) = (None, Some("Unschedulable: 0/3 nodes: taints".into()));
            },
            Reason::Unschedulable,
            &["0/3 nodes: taints"],
        ),
        (
            "its class does not let it grow",
            |o| {
                o.cluster.spec.storage.size.0 = "2Gi".into();
                o.surroundings.classes.get_mut("fast").unwrap().expandable = false;
            },
            Reason::ExpansionRefused,
            &["the class fast, which does not allow it"],
        ),
        (
            "grows",
            |o| {
                o.cluster.spec.storage.size.0 = "2Gi".into();
                for ordinal in 0..3 {
                    claim(o, ordinal).requested = Some(2 << 30);
                }
                claim(o, 0).resizing = Some("FileSystemResizePending: on start".into());
            },
            Reason::Growing,
            &["FileSystemResizePending"],
        ),
        (
            "full",
            |o| {
                let Agent::Live { report } = &mut o.instances.get_mut(&2).unwrap().agent else { panic!() };
                let last_exit = Some("exit status 1: OS errno 28 - No space left on device".into());
                report.server = mainstay_proto::Server::Stopped { last_exit };
            },
            Reason::VolumeFull,
            &["the volume of shop-2 is full", "raise spec.storage.size above 1Gi"],
        ),
    ]
}

#[test]
fn every_turn_in_a_volumes_life_has_its_reason_and_says_what_to_do() {
    for (name, change, reason, fragments) in life() {
        let mut o = well();
        change(&mut o);
        let condition = storage_ready(&o);
        assert_eq!(
            (condition.status, condition.reason),
            (Some(false), reason),
            "{name}: {}",
            condition.message
        );
        for fragment in fragments {
            assert!(
                condition.message.contains(fragment),
                "{name}: '{fragment}' is not in: {}",
                condition.message
            );
        }
    }
}

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

pub(super) fn storage_step(plan: &Plan) -> Option<&StorageStep> {
    match &plan.step {
        Some(Step::Storage { step, .. }) => Some(step),
        _ => None,
    }
}

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

pub(super) fn recorded(o: &mut Observation) -> Option<OperationKind> {
    let Some(Step::Record { record, .. }) = plan(o).step else { return None };
    let kind = record.operations.first().map(|o| o.kind);
    o.cluster.status.replication = Some(record);
    kind
}

#[test]
fn a_stranded_replica_gets_a_new_volume_and_the_old_one_is_kept() {
    let mut o = stranded();
    assert_eq!(recorded(&mut o), Some(OperationKind::ReplaceVolume), "announced first");
    let Some(StorageStep::MarkVolume { retain: true, labels, annotations, .. }) =
        storage_step(&plan(&o)).cloned()
    else {
        panic!("{:?}", plan(&o).step)
    };
    let held = &o.cluster.status.instances[2].ledger.as_ref().unwrap().gtid_executed;
    assert_eq!(&annotations["mysql.mainstay.dev/gtid-set"], held);
    assert!(!held.is_empty());
    let volume = volume_of(&mut o, 2);
    volume.labels = labels;
    volume.annotations = annotations;
    assert!(matches!(storage_step(&plan(&o)), Some(StorageStep::MarkVolume { .. })), "it is read back");
    volume_of(&mut o, 2).reclaim_policy = Some("Retain".into());
    assert!(matches!(storage_step(&plan(&o)), Some(StorageStep::DeleteStrandedClaim { .. })));
    claim(&mut o, 2).deleting = true;
    assert!(matches!(plan(&o).step, Some(Step::ReplacePod { .. })), "the pod comes last");
    let renewed = claim(&mut o, 2);
    (renewed.uid, renewed.deleting, renewed.volume) = ("new".into(), false, None);
    assert_eq!(recorded(&mut o), None, "it is over");
    assert!(o.cluster.status.replication.as_ref().unwrap().operations.is_empty());
}

#[test]
fn what_may_not_be_replaced_is_not() {
    let never: [(&str, Change); 6] = [
        ("nobody asked for it", |o| o.cluster.spec.storage.local = None),
        ("too early", |o| o.now = "1970-01-01T00:29:59Z".parse().unwrap()),
        ("its node is back", |o| {
            o.surroundings.nodes.insert("node-2".into(), ready_node());
        }),
        ("the last copy", |o| {
            let left = o.cluster.status.instances[2].ledger.as_mut().unwrap();
            left.gtid_executed = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-11".into();
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

#[test]
fn claims_grow_one_by_one_and_never_shrink() {
    let mut o = well();
    o.cluster.spec.storage.size.0 = "2Gi".into();
    for ordinal in 0..3 {
        let Some(StorageStep::GrowClaim { claim: name, size, .. }) = storage_step(&plan(&o)).cloned() else {
            panic!()
        };
        assert_eq!((name.as_str(), size.as_str()), (format!("data-shop-{ordinal}").as_str(), "2Gi"));
        claim(&mut o, ordinal).requested = Some(2 << 30);
    }
    assert_eq!(plan(&o).step, None);
    o.cluster.spec.storage.size.0 = "1Gi".into();
    assert_eq!(plan(&o).step, None);
}

#[test]
fn claims_grow_while_nothing_runs() {
    let mut o = well();
    o.cluster.spec.storage.size.0 = "2Gi".into();
    for ordinal in 0..3 {
        away(&mut o, ordinal);
        pod(&mut o, ordinal).trouble = Some("mysql: CrashLoopBackOff: No space left on device".into());
    }
    assert!(matches!(storage_step(&plan(&o)), Some(StorageStep::GrowClaim { .. })));
}

#[test]
fn volumes_are_kept_where_the_spec_says_so() {
    let mut o = well();
    o.cluster.spec.storage.reclaim_policy = Some(mainstay_crd::ReclaimPolicy::Retain);
    for _ in 0..3 {
        let Some(StorageStep::MarkVolume { volume, retain: true, .. }) = storage_step(&plan(&o)).cloned()
        else {
            panic!()
        };
        o.surroundings.volumes.get_mut(&volume).unwrap().reclaim_policy = Some("Retain".into());
    }
    assert_eq!(plan(&o).step, None);
}

/// A volume that instance 2 had before, with its older data, and a person who wants it back.
fn asked_back() -> Observation {
    let mut o = well();
    let mut old = volume_of(&mut o, 2).clone();
    old.name = "old".into();
    old.phase = Some("Released".into());
    old.claim = Some((NAMESPACE.into(), format!("data-{NAME}-2")));
    old.claim_uid = Some("earlier".into());
    o.surroundings.volumes.insert("old".into(), old);
    o.cluster.annotations.insert("mysql.mainstay.dev/give-back".into(), "old".into());
    o
}

#[test]
fn a_kept_volume_is_given_back_once_its_claim_is_free() {
    let mut o = asked_back();
    let told = storage_ready(&o);
    assert_eq!(told.reason, Reason::GiveBackRefused, "{}", told.message);
    assert_eq!(plan(&o).step, None);
    pending(&mut o);
    assert_eq!(recorded(&mut o), Some(OperationKind::GiveBack), "announced first");
    let Some(StorageStep::ReserveVolume { volume, claim: name, namespace, .. }) =
        storage_step(&plan(&o)).cloned()
    else {
        panic!("{:?}", plan(&o).step)
    };
    assert_eq!((volume.as_str(), namespace.as_str(), name.as_str()), ("old", NAMESPACE, "data-shop-2"));
    o.surroundings.volumes.get_mut("old").unwrap().claim_uid = None;
    assert!(storage_step(&plan(&o)).is_none(), "it is reserved");
    // Bound, with what it held: announced, so that it is no foreign data.
    let agent = well().instances[&2].agent.clone();
    let uid = claim(&mut o, 2).uid.clone();
    let old = o.surroundings.volumes.get_mut("old").unwrap();
    (old.phase, old.claim_uid) = (Some("Bound".into()), Some(uid));
    let back = claim(&mut o, 2);
    (back.phase, back.volume) = (Some("Bound".into()), Some("old".into()));
    o.instances.get_mut(&2).unwrap().agent = agent;
    pod(&mut o, 2).uid = "another".into();
    let Agent::Live { report } = &mut o.instances.get_mut(&2).unwrap().agent else { panic!() };
    report.identity.pod_uid = "another".into();
    let mainstay_proto::Directory::Complete { marker } = &mut report.directory else { panic!() };
    marker.operation = "an earlier clone".into();
    let verdict = plan(&o).instances[2].verdict.clone().unwrap();
    assert_eq!(verdict.judgement, Judgement::SameVolume, "{}", verdict.message);
}

#[test]
fn what_is_being_set_aside_is_not_given_back() {
    let mut o = asked_back();
    pending(&mut o);
    let aside = Aside {
        claim_uid: "earlier".into(),
        volume: "old".into(),
        claim: "data-shop-2-aside-0".into(),
        gtid_set: String::new(),
        since: Time(o.now),
    };
    let kind = OperationKind::SetAside;
    let operation = Operation { kind, aside: Some(aside), ..operation("aside") };
    o.cluster.status.replication.as_mut().unwrap().operations.push(operation);
    let told = storage_ready(&o);
    assert_eq!(told.reason, Reason::GiveBackRefused, "{}", told.message);
    assert!(told.message.contains("set aside as data-shop-2-aside-0"), "{}", told.message);
    assert_ne!(recorded(&mut o), Some(OperationKind::GiveBack));
}

fn operation(id: &str) -> Operation {
    let kind = OperationKind::Clone;
    Operation {
        id: id.into(),
        kind,
        ordinal: 2,
        donor: Some(0),
        revision: 1,
        failures: 0,
        aside: None,
        not_before: None,
    }
}

#[test]
fn a_clone_of_what_was_given_back_leaves_the_record() {
    let mut o = well();
    o.cluster.status.replication.as_mut().unwrap().operations.push(operation("not ordered yet"));
    let Some(Step::Record { record, .. }) = plan(&o).step else { panic!() };
    assert!(record.operations.is_empty());
}

#[test]
fn a_volume_that_is_not_this_clusters_is_not_given_back() {
    let mut o = asked_back();
    pending(&mut o);
    o.surroundings.volumes.get_mut("old").unwrap().labels.clear();
    assert_eq!(recorded(&mut o), None);
    assert_eq!(storage_ready(&o).reason, Reason::GiveBackRefused);
}
