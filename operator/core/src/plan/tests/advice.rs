//! What a person is told to do, done word for word: nothing that was acknowledged is lost by it.

use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::ANNOTATION_LEAD_FROM;
use mainstay_crd::{ClusterPhase, InstanceState, KeepOrDelete, Retention, RetentionPolicy};
use mainstay_proto::Action;

use super::table::blocked;
use super::well::well;
use super::world::{Tampering, World, uuid};
use crate::{Agent, Observation, Plan, Step, plan};

const POLICIES: [RetentionPolicy; 3] =
    [RetentionPolicy::Retain, RetentionPolicy::Delete, RetentionPolicy::Snapshot];
const TAMPERINGS: [Tampering; 5] =
    [Tampering::Wiped, Tampering::Empty, Tampering::Foreign, Tampering::RolledBack, Tampering::Partial];

/// A cluster that has served for a while.
fn served(replicas: i32, policy: RetentionPolicy, protected: bool) -> World {
    let mut world = World::new(replicas);
    let when_deleted = Some(KeepOrDelete { policy, after: None });
    world.spec.storage.retention = Some(Retention { when_scaled: None, when_deleted });
    world.spec.deletion_protection = protected;
    world.settle();
    for _ in 0..6 {
        world.write();
        world.turn();
    }
    world.settle();
    world
}

/// It has, and then its primary's volume is changed.
fn lost(replicas: i32, policy: RetentionPolicy, protected: bool, how: Tampering) -> (World, String) {
    let mut world = served(replicas, policy, protected);
    assert!(world.tamper(0, how));
    let plan = world.settle();
    assert_eq!(plan.phase, ClusterPhase::Lost, "{how:?}: {plan:?}");
    (world, said(&plan))
}

fn said(plan: &Plan) -> String {
    let told = plan.conditions.iter().find(|c| c.type_ == ConditionType::Blocked).unwrap();
    told.message.clone()
}

/// The value that a message says the annotation is to have.
fn command(message: &str) -> Option<String> {
    let command = message.split_once(&format!("{ANNOTATION_LEAD_FROM}="))?.1;
    assert!(message.contains("kubectl annotate --overwrite -n db mysqlcluster shop"), "{message}");
    command.split(|c: char| c.is_whitespace() || c == ')').next().map(String::from)
}

fn ask(world: &mut World, value: &str) {
    world.annotations.insert(ANNOTATION_LEAD_FROM.into(), value.into());
}

/// Deletes the object, waits for its end, and makes it again.
fn delete_and_create(world: &mut World, message: &str) {
    if message.contains("set spec.deletionProtection to false") {
        world.spec.deletion_protection = false;
    }
    if message.contains("whenDeleted.policy to Retain") {
        world.spec.storage.retention = None;
    }
    world.deleting = true;
    for _ in 0..30 {
        world.turn();
    }
    assert!(world.finalizers.is_empty(), "it hangs: {message}");
    world.deleting = false;
    world.recreate();
}

/// Every policy, protected or not, and whatever became of the primary's volume.
fn each(mut test: impl FnMut(World, String, Tampering)) {
    for policy in POLICIES {
        for protected in [false, true] {
            for how in TAMPERINGS {
                let (world, message) = lost(3, policy, protected, how);
                test(world, message, how);
            }
        }
    }
}

#[test]
fn the_request_that_is_spelled_out_brings_back_all_that_a_replica_holds_and_deletes_nothing() {
    each(|mut world, message, how| {
        let all = world.acknowledged.clone();
        let claims: Vec<String> = world.volumes.values().map(|v| v.claim_uid.clone()).collect();
        assert!(message.contains("nothing is given up by it"), "{how:?}: {message}");
        ask(&mut world, &command(&message).unwrap());
        let plan = world.settle();
        let leads = world.recorded_primary().unwrap();
        assert!(leads != 0 && world.pods[&leads].writable, "{how:?}: {plan:?}");
        assert!(world.volumes[&leads].gtids.contains(&all), "{how:?}");
        world.assert_quarantine();
        let record = world.status.replication.clone().unwrap();
        let lost = record.lost.unwrap();
        assert_eq!((lost.from.as_str(), lost.known.as_str()), ("shop-0", ""), "{how:?}");
        assert_eq!(world.volumes.values().map(|v| v.claim_uid.clone()).collect::<Vec<_>>(), claims);
        // What held nothing is copied anew; what holds other data waits for a person.
        let empty = matches!(how, Tampering::Wiped | Tampering::Empty | Tampering::Partial);
        let expected = if empty { ClusterPhase::Healthy } else { ClusterPhase::Degraded };
        assert_eq!((plan.phase, world.initialized), (expected, 1), "{how:?}");
        world.write();
        world.check();
    });
}

#[test]
fn to_delete_the_object_is_said_only_where_that_keeps_all_and_then_serves() {
    let mut told = 0;
    each(|mut world, message, how| {
        if !message.contains("delete the object") {
            return;
        }
        told += 1;
        let claims = world.volumes.len();
        delete_and_create(&mut world, &message);
        assert_eq!(world.volumes.len(), claims, "{how:?}: {message}");
    });
    for policy in POLICIES {
        // Nobody else has it: what is there now is all that there is.
        let (mut world, message) = lost(1, policy, true, Tampering::RolledBack);
        assert!(message.contains("to go on with what is on this volume") && command(&message).is_none());
        delete_and_create(&mut world, &message);
        world.volumes.get_mut(&0).unwrap().original = None;
        world.acknowledged = world.volumes[&0].gtids.clone();
        assert_eq!(world.settle().phase, ClusterPhase::Healthy, "{policy:?}");
        told += 1;
    }
    assert!(told > POLICIES.len(), "nothing was said");
}

#[test]
fn what_is_lost_keeps_every_claim_when_it_is_deleted_and_says_so_before() {
    each(|mut world, message, how| {
        world.spec.deletion_protection = false;
        world.deleting = true;
        let claims = world.volumes.len();
        let mut steps = Vec::new();
        for _ in 0..30 {
            steps.extend(world.turn().step);
        }
        assert_eq!(world.volumes.len(), claims, "{how:?}: {message}");
        let policy = world.spec.storage.retention.clone().unwrap().deleted().policy;
        let said = steps.iter().any(|step| matches!(step, Step::Record { reason: Reason::ClaimKept, .. }));
        assert_eq!(said, policy != RetentionPolicy::Retain, "{steps:?}");
        assert!(world.finalizers.is_empty());
    });
}

#[test]
fn a_claim_goes_with_a_cluster_only_if_its_primary_has_its_data() {
    for (name, change, kept) in [
        ("all is well", (|_| ()) as fn(&mut World), false),
        ("its pods ended first", |world| world.pods.clear(), false),
        ("its claim is new", |world| world.volumes.get_mut(&0).unwrap().claim_uid = "new".into(), true),
        ("its claim is gone", |world| drop(world.volumes.remove(&0)), true),
        ("a replica is set back", |world| assert!(world.tamper(2, Tampering::RolledBack)), true),
        ("status is older", |world| world.status.replication.as_mut().unwrap().revision = 0, true),
    ] {
        let mut world = served(3, RetentionPolicy::Delete, false);
        change(&mut world);
        let gone =
            name == "its claim is new" || name == "its claim is gone" || name == "its pods ended first";
        if gone {
            world.pods.clear();
            world.replicas = 0;
        } else {
            world.settle();
        }
        let claims = world.volumes.len();
        world.deleting = true;
        for _ in 0..30 {
            world.turn();
        }
        assert_eq!(world.volumes.len(), if kept { claims } else { 0 }, "{name}");
    }
}

#[test]
fn a_request_is_tied_to_what_it_costs_and_answered_once() {
    let (mut world, message) = lost(3, RetentionPolicy::Retain, false, Tampering::Wiped);
    let value = command(&message).unwrap();
    for wrong in ["shop-1:00000000", "shop-1", "any", "shop-0:1"] {
        ask(&mut world, wrong);
        let plan = world.turn();
        let Some(Step::Record { reason, message, record, .. }) = plan.step else {
            panic!("{wrong}: {plan:?}")
        };
        assert_eq!((reason, record.primary()), (Reason::LeadFromRefused, Some(0)), "{message}");
        let plan = world.settle();
        assert_eq!((plan.step, plan.phase), (None, ClusterPhase::Lost), "{wrong}: it is answered once");
    }
    // Another could not be asked by now: that is another request.
    world.pods.remove(&1);
    world.replicas = 3;
    world.turn();
    world.pods.get_mut(&1).unwrap().heard = false;
    let plan = world.settle();
    let other = command(&said(&plan)).unwrap();
    assert!(other != value && said(&plan).contains("Not heard: shop-1"), "{}", said(&plan));
    world.pods.get_mut(&1).unwrap().heard = true;
    world.settle();
    ask(&mut world, &value);
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    // Nothing is wrong any more: asked again, it is refused.
    ask(&mut world, "shop-2:11111111");
    let plan = world.turn();
    assert!(matches!(&plan.step, Some(Step::Record { reason: Reason::LeadFromRefused, .. })), "{plan:?}");
    world.annotations.clear();
    world.settle();
    assert_eq!(world.status.replication.clone().unwrap().answered_lead_from, None);
}

#[test]
fn what_would_be_lost_is_spelled_out_and_kept() {
    let mut world = served(3, RetentionPolicy::Retain, false);
    world.stalled.extend([1, 2]);
    for _ in 0..3 {
        world.write();
        world.turn();
    }
    world.settle();
    let before = world.acknowledged.clone();
    assert!(world.tamper(0, Tampering::Wiped));
    let message = said(&world.settle());
    let gone = before.subtract(&world.volumes[&1].gtids).to_string();
    assert!(!gone.is_empty() && message.contains(&format!("for good: {gone}")), "{message}");
    world.acknowledged = world.volumes[&1].gtids.clone();
    world.stalled.clear();
    ask(&mut world, &command(&message).unwrap());
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    assert_eq!(world.status.replication.clone().unwrap().lost.unwrap().known, gone);
}

#[test]
fn who_holds_most_is_to_lead() {
    let mut world = served(3, RetentionPolicy::Retain, false);
    world.stalled.insert(1);
    for _ in 0..3 {
        world.write();
        world.turn();
    }
    world.settle();
    assert!(world.tamper(0, Tampering::Empty));
    let message = said(&world.settle());
    assert!(command(&message).unwrap().starts_with("shop-2:"), "{message}");
}

#[test]
fn a_primary_that_could_commit_still_stands_down_before_another_leads() {
    let mut world = served(3, RetentionPolicy::Retain, false);
    let before = world.volumes[&0].clone();
    world.write();
    world.replicate();
    let original = Some(Box::new(world.volumes[&0].clone()));
    world.volumes.insert(0, super::world::Volume { original, ..before });
    world.pods.remove(&0);
    let plan = world.settle();
    assert_eq!(blocked(&plan), Some(Reason::RolledBack));
    ask(&mut world, &command(&said(&plan)).unwrap());
    let mut steps = Vec::new();
    while world.recorded_primary() == Some(0) {
        steps.extend(world.turn().step);
    }
    let Some(Step::Order { ordinal: 0, order, .. }) = steps.first() else { panic!("{steps:?}") };
    assert_eq!((&order.action, steps.len()), (&Action::StandDown, 2));
    // It lacks nothing that it did not have from the others, so it follows.
    world.volumes.get_mut(&0).unwrap().original = None;
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
}

#[test]
fn without_a_primary_nobody_is_told_to_delete_a_claim_that_may_be_the_last_copy() {
    let mut world = served(3, RetentionPolicy::Retain, false);
    assert!(world.tamper(2, Tampering::RolledBack));
    let third = |plan: &Plan| plan.instances[2].clone();
    let plan = world.settle();
    assert_eq!(third(&plan).state, InstanceState::Quarantined);
    let message = third(&plan).message.unwrap();
    assert!(message.contains("delete data-shop-2 and shop-2 to have it cloned anew"), "{message}");
    assert!(message.contains("to Retain, so that what it holds is kept"), "{message}");
    assert!(world.tamper(0, Tampering::Wiped));
    let message = third(&world.settle()).message.unwrap();
    assert!(
        message.contains("keep the claim data-shop-2") && !message.contains("delete data-shop-2"),
        "{message}"
    );
}

#[test]
fn what_an_older_operator_advised_is_not_repeated() {
    let (mut world, _) = lost(3, RetentionPolicy::Delete, false, Tampering::RolledBack);
    for instance in &mut world.status.instances {
        if let Some(verdict) = &mut instance.verdict {
            verdict.message.push_str(
                " It neither serves nor leads. Or, to lead with what a replica holds, delete data-shop-0 and shop-0, then \
                 the object (claims are kept), and create it again",
            );
        }
    }
    let message = said(&world.settle());
    assert!(!message.contains("(claims are kept)") && message.contains(&uuid(0)), "{message}");
}

#[test]
fn nobody_else_leads_while_the_old_primary_may_serve_on_a_node_that_is_silent() {
    type Change = fn(&mut Observation);
    let silent: Change = |o| o.surroundings.nodes.get_mut("node-0").unwrap().ready = Some("Unknown".into());
    let cases: [(&str, Change, bool); 4] = [
        ("its node is well", |_| (), true),
        ("its Node is gone", |o| drop(o.surroundings.nodes.remove("node-0")), false),
        ("it is silent", silent, false),
        (
            "it is silent, and known to be off",
            |o| {
                let node = o.surroundings.nodes.get_mut("node-0").unwrap();
                (node.ready, node.out_of_service) = (Some("Unknown".into()), true);
            },
            true,
        ),
    ];
    for (name, change, expected) in cases {
        let mut o = well();
        let primary = o.instances.get_mut(&0).unwrap();
        (primary.pod, primary.claim, primary.agent) = (None, None, Agent::Unheard);
        change(&mut o);
        let message = said(&plan(&o));
        o.cluster.annotations.insert(ANNOTATION_LEAD_FROM.into(), command(&message).unwrap());
        let Some(Step::Record { record, message, reason, .. }) = plan(&o).step else { panic!("{name}") };
        let leads = record.primary() != Some(0);
        assert_eq!((leads, reason == Reason::LedFrom), (expected, expected), "{name}: {message}");
        assert_eq!(message.contains("may serve there still"), !expected, "{name}: {message}");
    }
}
