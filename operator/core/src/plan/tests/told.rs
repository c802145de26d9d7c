//! What a person is told holds in the state in which it is told: held back or not, one instance or several, and whatever
//! else lies about.

use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{ANNOTATION_GIVE_BACK, LABEL_CLUSTER_ID, LABEL_ORDINAL};
use mainstay_crd::{ClusterPhase, OperationKind};
use mainstay_proto::{Directory, Server};

use super::table::{blocked, healthy};
use super::well::{Change, claim, pending, recorded, storage_ready, volume_of, well};
use super::world::Tampering;
use super::world::{NAME, NAMESPACE, World, uuid};
use crate::{Agent, Claim, Class, Instance, Node, Observation, Plan, Volume, plan};

/// Everything that is told.
pub(super) fn all(plan: &Plan) -> Vec<String> {
    let conditions = plan.conditions.iter().map(|condition| condition.message.clone());
    conditions.chain(plan.instances.iter().filter_map(|instance| instance.message.clone())).collect()
}

pub(super) fn told(plan: &Plan, type_: ConditionType) -> String {
    plan.conditions.iter().find(|c| c.type_ == type_).unwrap().message.clone()
}

/// A volume that an instance had before.
pub(super) fn earlier(o: &mut Observation, ordinal: u32, name: &str) {
    let cluster_id = o.cluster.status.cluster_id.clone().unwrap();
    let volume = Volume {
        name: name.into(),
        phase: Some("Released".into()),
        claim: Some((NAMESPACE.into(), format!("data-{NAME}-{ordinal}"))),
        claim_uid: Some("earlier".into()),
        labels: [(LABEL_CLUSTER_ID, cluster_id), (LABEL_ORDINAL, ordinal.to_string())]
            .map(|(key, value)| (key.to_owned(), value))
            .into(),
        ..Volume::default()
    };
    o.surroundings.volumes.insert(name.into(), volume);
}

/// Its claim is new, and so is the volume, on which there is nothing.
pub(super) fn empty(o: &mut Observation, ordinal: u32) {
    let (claim, uid) = (claim(o, ordinal), "new".to_owned());
    (claim.uid, claim.volume, claim.cluster_id) = (uid.clone(), Some("pv-new".into()), None);
    let volume = Volume {
        name: "pv-new".into(),
        claim: Some((NAMESPACE.into(), format!("data-{NAME}-{ordinal}"))),
        claim_uid: Some(uid),
        phase: Some("Bound".into()),
        ..Volume::default()
    };
    o.surroundings.volumes.insert("pv-new".into(), volume);
    let Agent::Live { report, .. } = &mut o.instances.get_mut(&ordinal).unwrap().agent else { panic!() };
    (report.directory, report.server) = (Directory::Empty, Server::Stopped { last_exit: None });
}

/// A cluster of one that has served.
pub(super) fn only() -> Observation {
    let mut o = healthy(1).observe();
    assert_eq!(plan(&o).step, None);
    let instance = o.instances.get_mut(&0).unwrap();
    instance.claim.as_mut().unwrap().class = Some("fast".into());
    o
}

/// States in which a person is told to ask for something.
fn asking() -> Vec<(&'static str, Change)> {
    vec![
        ("the primary's data is gone", |o| empty(o, 0)),
        ("and its volume is there", |o| {
            empty(o, 0);
            earlier(o, 0, "old");
        }),
        ("a claim goes whose volume stays", |o| {
            claim(o, 0).deleting = true;
            volume_of(o, 0).reclaim_policy = Some("Retain".into());
        }),
        ("the leader has another volume than is given back", |o| {
            earlier(o, 0, "old");
            o.cluster.annotations.insert(ANNOTATION_GIVE_BACK.into(), "old".into());
        }),
        ("the volume of an earlier claim could be given back", |o| {
            pending(o);
            earlier(o, 2, "old");
            let by_hand = "kubernetes.io/no-provisioner".into();
            o.surroundings.classes.insert("fast".into(), Class { provisioner: by_hand, ..Class::default() });
        }),
        ("the primary's agent is not let in", |o| {
            let Agent::Live { report, .. } = &mut o.instances.get_mut(&0).unwrap().agent else { panic!() };
            let Server::Running { state } = &mut report.server else { panic!() };
            state.agent_denied = Some("connect: error 1045".into());
        }),
    ]
}

#[test]
fn where_nobody_answers_a_request_what_comes_before_it_is_said() {
    let holds: [(&str, Change, &str); 3] = [
        ("nothing holds it back", |_| (), ""),
        ("paused", |o| o.cluster.spec.paused = true, "first take spec.paused back, then "),
        ("invalid", |o| o.cluster.spec.replicas = 99, "first mend the spec, as SpecValid says, then "),
    ];
    for (state, change) in asking() {
        for (held, hold, first) in holds {
            let mut o = well();
            change(&mut o);
            hold(&mut o);
            let messages = all(&plan(&o));
            let commands = messages.iter().flat_map(|message| {
                message.match_indices("kubectl annotate").map(move |(at, _)| &message[..at])
            });
            let before: Vec<&str> = commands.collect();
            assert!(!before.is_empty(), "{state}, {held}: no command in {messages:?}");
            assert!(before.iter().all(|before| before.ends_with(first)), "{state}, {held}: {messages:?}");
            let says = messages
                .iter()
                .any(|message| message.contains("first take") || message.contains("first mend"));
            assert_eq!(says, !first.is_empty(), "{state}, {held}: {messages:?}");
        }
    }
}

#[test]
fn that_a_volume_is_being_kept_is_said_only_where_the_operator_keeps_it() {
    let states: [(&str, Change, bool); 6] = [
        ("it may be kept", |_| (), true),
        ("paused", |o| o.cluster.spec.paused = true, false),
        (
            "it is refused",
            |o| {
                let name = volume_of(o, 0).name.clone();
                o.surroundings.refused.insert(name, "forbidden".into());
            },
            false,
        ),
        ("it is bound to another", |o| volume_of(o, 0).claim_uid = None, false),
        ("it can't be seen", |o| o.surroundings.volumes.clear(), false),
        (
            "the object goes",
            |o| {
                o.cluster.deleting = true;
                o.cluster.finalizers = vec![mainstay_crd::names::FINALIZER_RETENTION.into()];
            },
            false,
        ),
    ];
    for (state, change, kept) in states {
        let mut o = well();
        claim(&mut o, 0).deleting = true;
        change(&mut o);
        let plan = plan(&o);
        assert_eq!(plan.step.as_ref().is_some_and(|step| step.keeps_volume().is_some()), kept, "{state}");
        let message = told(&plan, ConditionType::StorageReady);
        assert_eq!(message.contains("is being set to Retain"), kept, "{state}: {message}");
        assert_eq!(message.contains("kubectl patch pv"), !kept, "{state}: {message}");
    }
}

#[test]
fn a_cluster_of_one_is_never_told_to_use_another_instance() {
    for (state, change) in asking() {
        let mut o = only();
        if state.contains("an earlier claim") {
            continue;
        }
        o.surroundings.classes.clear();
        change(&mut o);
        for message in all(&plan(&o)) {
            for words in ["switchover-to", "another instance", "lead-from"] {
                assert!(!message.contains(words), "{state}: {message}");
            }
        }
    }
    for how in [Tampering::Wiped, Tampering::Empty, Tampering::Partial, Tampering::RolledBack] {
        let mut world = healthy(1);
        for _ in 0..6 {
            world.write();
            world.turn();
        }
        world.settle();
        assert!(world.tamper(0, how));
        let message = told(&world.settle(), ConditionType::Blocked);
        assert!(!message.contains("another instance"), "{how:?}: {message}");
        let anew = message.contains("begin with nothing");
        assert_eq!(anew, !matches!(how, Tampering::RolledBack), "{how:?}: {message}");
        if !anew {
            continue;
        }
        // As it is said: the object, then the claim and the Secrets, and the object again.
        world.deleting = true;
        for _ in 0..30 {
            world.turn();
        }
        assert!(world.finalizers.is_empty() && world.volumes.len() == 1, "{how:?}");
        world.deleting = false;
        world.volumes.clear();
        world.acknowledged = crate::GtidSet::default();
        world.recreate();
        world.secrets = None;
        assert_eq!((world.settle().phase, world.initialized), (ClusterPhase::Healthy, 2), "{how:?}");
    }
}

#[test]
fn the_leader_of_one_makes_room_with_its_volume_kept() {
    let mut o = only();
    earlier(&mut o, 0, "old");
    o.cluster.annotations.insert(ANNOTATION_GIVE_BACK.into(), "old".into());
    let refused = storage_ready(&o);
    assert_eq!(refused.reason, Reason::GiveBackRefused);
    let way = "to Retain, so that what it holds is kept, and delete data-shop-0 and shop-0";
    assert!(refused.message.contains(way), "{}", refused.message);
    // Done: what it has is kept, and the older volume is reserved before the next claim comes.
    volume_of(&mut o, 0).reclaim_policy = Some("Retain".into());
    claim(&mut o, 0).deleting = true;
    assert_eq!(recorded(&mut o), Some(OperationKind::GiveBack));
}

#[test]
fn nobody_is_told_to_vouch_for_a_node_or_to_force_a_pod_unless_the_machine_is_off() {
    type State = fn() -> Option<Node>;
    let nodes: [(&str, State); 3] = [
        ("Ready", || Some(super::well::ready_node())),
        ("silent", || Some(super::nodes::silent_node())),
        ("gone", || None),
    ];
    let set = |o: &mut Observation, name: &str, node: Option<Node>| match node {
        Some(node) => drop(o.surroundings.nodes.insert(name.into(), node)),
        None => drop(o.surroundings.nodes.remove(name)),
    };
    let mut vouched = 0;
    for source in ["csi", "nfs", "hostPath", "local"] {
        for (own, own_node) in nodes {
            for (other, other_node) in nodes {
                let mut o = super::nodes::lost(own_node());
                volume_of(&mut o, 2).source = Some(source.into());
                volume_of(&mut o, 2).attached_to = vec!["node-9".into()];
                set(&mut o, "node-9", other_node());
                let message = storage_ready(&o).message;
                let state = format!("{source}, {own}, {other}: {message}");
                assert!(!message.contains("by force yourself"), "{state}");
                for (at, _) in message.match_indices("out-of-service") {
                    let sentence = message[..at].rsplit_once(". ").map_or(&message[..at], |(_, last)| last);
                    assert!(sentence.starts_with("Only if the machine is off"), "{state}");
                    vouched += 1;
                }
                if own == "Ready" {
                    assert!(message.contains("still attached to node node-9"), "{state}");
                    assert_eq!(message.contains("out-of-service"), other != "Ready", "{state}");
                }
            }
        }
    }
    assert!(vouched > 0);
}

#[test]
fn a_claim_of_which_nobody_knows_what_it_holds_goes_only_with_its_volume_kept() {
    for (policy, words) in [
        ("Delete", "to Retain, so that what it holds is kept, and delete data-shop-2"),
        ("Retain", "delete data-shop-2 (the volume"),
    ] {
        let mut world = healthy(3);
        world.retain(mainstay_crd::RetentionPolicy::Delete);
        world.reclaim = Some(policy.into());
        world.pods.remove(&2);
        world.spec.replicas = 2;
        world.settle();
        let mut o = world.observe();
        claim(&mut o, 2).annotations.clear();
        let message = told(&plan(&o), ConditionType::RetentionApplied);
        assert!(message.contains("it is not known which transactions it holds"), "{message}");
        assert!(message.contains(words) && !message.contains("shop-2 and shop-2"), "{message}");
    }
}

#[test]
fn where_volumes_were_not_looked_at_every_way_to_begin_anew_says_so() {
    for blind in [false, true] {
        let mut world = World::new(3);
        world.secrets = Some("earlier".into());
        world.blind = blind;
        let plan = world.settle();
        assert_eq!(blocked(&plan), Some(Reason::DataWithoutRecord));
        let message = told(&plan, ConditionType::Blocked);
        assert_eq!(message.contains("volumes without a claim were not looked at"), blind, "{message}");
        assert_eq!(message.contains("if no volume of it is there"), blind, "{message}");
    }
    // That something else can't be read is not the same.
    let mut world = World::new(3);
    world.secrets = Some("earlier".into());
    let mut o = world.observe();
    (o.surroundings.known, o.surroundings.unseen) = (false, vec!["volumeattachments".into()]);
    let message = told(&plan(&o), ConditionType::Blocked);
    assert!(!message.contains("not looked at"), "{message}");
}

#[test]
fn what_was_set_aside_is_served_by_what_is_said_of_it() {
    let mut world = World::new(1);
    while world.pods.is_empty() {
        world.turn();
    }
    let mut o = world.observe();
    o.cluster.status.cluster_id = world.status.cluster_id.clone();
    let aside = "data-shop-0-aside-0";
    earlier(&mut o, 0, "kept");
    let kept = o.surroundings.volumes.get_mut("kept").unwrap();
    (kept.phase, kept.claim) = (Some("Bound".into()), Some((NAMESPACE.into(), aside.into())));
    (kept.claim_uid, kept.reclaim_policy) = (Some("aside".into()), Some("Retain".into()));
    let of =
        Claim { name: aside.into(), uid: "aside".into(), volume: Some("kept".into()), ..Claim::default() };
    o.aside.insert(aside.into(), of);
    let plan = plan(&o);
    assert_eq!(blocked(&plan), Some(Reason::DataWithoutRecord), "{plan:?}");
    let message = told(&plan, ConditionType::Blocked);
    let order = ["delete the claim, whose volume kept stays", "give-back=kept", "Then delete data-shop-0"];
    let at: Vec<_> = order.iter().map(|words| message.find(words)).collect();
    assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{message}");
    for words in [LABEL_CLUSTER_ID, LABEL_ORDINAL] {
        assert!(message.contains(words), "{words}: {message}");
    }
    // Done in this order.
    o.aside.clear();
    o.surroundings.volumes.get_mut("kept").unwrap().phase = Some("Released".into());
    o.cluster.annotations.insert(ANNOTATION_GIVE_BACK.into(), "kept".into());
    o.instances.insert(0, Instance::default());
    assert_eq!(recorded(&mut o), Some(OperationKind::GiveBack));
}

#[test]
fn data_that_was_put_where_one_is_initialised_is_kept_and_serves_as_it_is_said() {
    let mut world = World::new(1);
    while world.status.replication.as_ref().is_none_or(|record| record.operations.is_empty()) {
        world.turn();
    }
    let mut earlier = healthy(1);
    let volume = earlier.volumes.remove(&0).unwrap();
    let Some(Directory::Complete { mut marker }) = volume.directory else { panic!() };
    (marker.cluster_id, marker.operation) = (world.status.cluster_id.clone().unwrap(), "earlier".into());
    let held = volume.gtids.clone();
    let there = world.volumes.get_mut(&0).unwrap();
    (there.directory, there.gtids) = (Some(Directory::Complete { marker }), held.clone());
    let plan = world.settle();
    assert_eq!(blocked(&plan), Some(Reason::DataWithoutRecord), "{plan:?}");
    let message = told(&plan, ConditionType::Blocked);
    assert!(message.contains("delete the object") && message.contains("rebuilt from it"), "{message}");
    assert!(!held.to_string().is_empty() && held.to_string().contains(&uuid(0)));
    world.deleting = true;
    for _ in 0..30 {
        world.turn();
    }
    assert!(world.finalizers.is_empty() && world.volumes.len() == 1, "{message}");
    world.deleting = false;
    world.recreate();
    assert_eq!((world.settle().phase, world.initialized), (ClusterPhase::Healthy, 0));
    assert!(world.volumes[&0].gtids.contains(&held));
}
