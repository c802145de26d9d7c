//! What says that data ever was, and what follows from it.

use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{ANNOTATION_GIVE_BACK, LABEL_CLUSTER_ID, LABEL_ORDINAL};
use mainstay_crd::{ClusterPhase, InstanceState};
use mainstay_proto::{Directory, Task, TaskState, Term};

use super::table::{blocked, healthy};
use super::world::World;
use crate::{Plan, Step};

fn said(plan: &Plan) -> String {
    let told = plan.conditions.iter().find(|c| c.type_ == ConditionType::Blocked).unwrap();
    told.message.clone()
}

/// The object and its claims are gone, and the volumes were kept; the object is there again.
fn released(replicas: i32) -> (World, String) {
    let mut world = healthy(replicas);
    world.write();
    world.settle();
    let id = world.status.cluster_id.clone().unwrap();
    for (ordinal, volume) in &mut world.volumes {
        let labels = [(LABEL_CLUSTER_ID, id.clone()), (LABEL_ORDINAL, ordinal.to_string())];
        volume.labels.extend(labels.map(|(key, value)| (key.to_owned(), value)));
    }
    world.lose_claims();
    world.recreate();
    world.secrets = None;
    (world, id)
}

#[test]
fn volumes_that_are_left_stop_all_before_anything_is_made_and_are_named() {
    for replicas in [1, 3] {
        let (mut world, id) = released(replicas);
        let plan = world.settle();
        assert_eq!((blocked(&plan), plan.cluster_id.clone()), (Some(Reason::DataWithoutRecord), None));
        let message = said(&plan);
        for part in [&id, &world.released[0].pv, "data-shop-0", "spec.adopt", ANNOTATION_GIVE_BACK] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(world.pods.is_empty() && world.volumes.is_empty() && world.initialized == 1);
    }
}

#[test]
fn adopted_and_given_back_the_data_serves() {
    for replicas in [1, 3] {
        for before in ["nothing", "the object", "the object with adopt"] {
            let (mut world, id) = released(replicas);
            if before != "nothing" {
                world.settle();
            }
            world.spec.adopt = Some(id.clone());
            if before == "the object with adopt" {
                assert_eq!(blocked(&world.settle()), Some(Reason::DataWithoutRecord));
                assert!(world.pods.is_empty(), "a claim that is made now would get another volume");
            }
            let volume = world.released[0].pv.clone();
            world.annotations.insert(ANNOTATION_GIVE_BACK.into(), volume.clone());
            let plan = world.settle();
            assert_eq!(plan.phase, ClusterPhase::Healthy, "{replicas}: {plan:?}");
            assert_eq!((world.initialized, &world.volumes[&0].pv), (1, &volume));
            assert!(world.volumes.values().all(|v| v.gtids.contains(&world.acknowledged)));
            assert_eq!(world.status.cluster_id, Some(id));
        }
    }
}

#[test]
fn what_is_to_be_adopted_and_is_not_there_is_waited_for() {
    for blind in [false, true] {
        let mut world = World::new(3);
        world.blind = blind;
        world.spec.adopt = Some("lost".into());
        let plan = world.settle();
        assert_eq!((blocked(&plan), world.initialized), (Some(Reason::DataWithoutRecord), 0));
        assert_eq!(
            said(&plan).contains("volumes without a claim were not looked at"),
            blind,
            "{}",
            said(&plan)
        );
        // The way out that is named.
        world.spec.adopt = None;
        assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    }
}

#[test]
fn a_volume_that_is_still_to_be_given_back_is_waited_for() {
    let (mut world, id) = released(1);
    world.blind = true;
    world.spec.adopt = Some(id);
    world.annotations.insert(ANNOTATION_GIVE_BACK.into(), world.released[0].pv.clone());
    let plan = world.settle();
    assert_eq!((blocked(&plan), world.initialized), (Some(Reason::DataWithoutRecord), 1));
    // Once volumes may be read, it is said what to delete: an empty claim.
    world.blind = false;
    let plan = world.settle();
    assert!(said(&plan).contains("delete data-shop-0 and shop-0 first"), "{}", said(&plan));
    world.volumes.clear();
    world.pods.clear();
    assert_eq!((world.settle().phase, world.initialized), (ClusterPhase::Healthy, 1));
}

/// One that followed is given back first: it says whom it followed, and that one's volume is there.
#[test]
fn a_replicas_volume_leads_not_while_the_last_primarys_is_there_and_the_way_out_works() {
    let (mut world, id) = released(3);
    world.spec.adopt = Some(id);
    let pv = |world: &World, i: &str| {
        let volume = world.released.iter().find(|volume| volume.labels[LABEL_ORDINAL] == i);
        volume.map(|volume| volume.pv.clone()).unwrap()
    };
    let (of_primary, of_replica) = (pv(&world, "0"), pv(&world, "1"));
    world.annotations.insert(ANNOTATION_GIVE_BACK.into(), of_replica);
    let plan = world.settle();
    assert_eq!(blocked(&plan), Some(Reason::DataWithoutRecord));
    let message = said(&plan);
    assert!(message.contains("shop-0") && message.contains(&of_primary), "{message}");
    assert_eq!((world.initialized, plan.primary), (1, None));
    // In this order: were the claim made first, it would get another volume again.
    let (annotation, delete) =
        (format!("{ANNOTATION_GIVE_BACK}={of_primary}"), "Then delete data-shop-0 and shop-0");
    let at = |words: &str| message.find(words);
    assert!(at(&annotation).is_some() && at(&annotation) < at(delete), "{message}");
    world.annotations.insert(ANNOTATION_GIVE_BACK.into(), of_primary);
    world.volumes.remove(&0);
    world.pods.remove(&0);
    let plan = world.settle();
    assert_eq!(
        (plan.phase, plan.primary.clone(), world.initialized),
        (ClusterPhase::Healthy, Some("shop-0".into()), 1),
        "{plan:?}"
    );
}

#[test]
fn secrets_without_any_claim_are_asked_about_and_the_way_out_works() {
    let mut world = World::new(3);
    world.secrets = Some("earlier".into());
    let plan = world.settle();
    assert_eq!((blocked(&plan), plan.cluster_id.clone()), (Some(Reason::DataWithoutRecord), None));
    assert!(
        said(&plan).contains("delete the Secrets shop-credentials, shop-ca, shop-tls and shop-operator-tls"),
        "{}",
        said(&plan)
    );
    world.secrets = None;
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
}

#[test]
fn a_cluster_that_never_held_data_begins_again_with_its_claims_and_secrets() {
    let mut world = World::new(3);
    while world.pods.is_empty() {
        world.turn();
    }
    let id = world.status.cluster_id.clone();
    world.recreate();
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    assert_eq!((world.initialized, &world.status.cluster_id), (1, &id));
}

#[test]
fn where_volumes_may_not_be_read_that_is_said() {
    let mut world = World::new(1);
    world.blind = true;
    let announced = (0..20).find_map(|_| match world.turn().step {
        Some(Step::Record { reason: Reason::Initializing, message, .. }) => Some(message),
        _ => None,
    });
    let announced = announced.unwrap();
    assert!(announced.contains("volumes without a claim were not looked at"), "{announced}");
}

/// A cluster of one whose initialisation is announced.
fn announced() -> (World, String) {
    let mut world = World::new(1);
    loop {
        if let Some(Step::Record { reason: Reason::Initializing, record, .. }) = world.turn().step {
            return (world, record.operations()[0].id.clone());
        }
    }
}

#[test]
fn what_was_begun_on_one_claim_is_not_done_again_on_another() {
    let (mut world, _) = announced();
    world.volumes.get_mut(&0).unwrap().claim_uid = "another".into();
    let plan = world.settle();
    assert_eq!((blocked(&plan), world.initialized), (Some(Reason::DataWithoutRecord), 0));
    assert!(said(&plan).contains("a claim that has been replaced"), "{}", said(&plan));
    // The way out that is named.
    world.deleting = true;
    world.settle();
    world.deleting = false;
    world.recreate();
    assert_eq!((world.settle().phase, world.initialized), (ClusterPhase::Healthy, 1));
}

#[test]
fn what_was_initialised_and_is_empty_again_is_not_initialised_again() {
    let (mut world, id) = announced();
    world.pods.get_mut(&0).unwrap().task = Some(Task {
        id: String::new(),
        term: Term::default(),
        kind: "Initialize".into(),
        operation: Some(id),
        state: TaskState::Done,
        progress: None,
    });
    let plan = world.settle();
    assert_eq!((blocked(&plan), world.initialized), (Some(Reason::DataWithoutRecord), 0));
}

#[test]
fn an_unfinished_copy_says_that_there_was_a_donor() {
    for (copied, expected) in [(true, Some(Reason::DataWithoutRecord)), (false, None)] {
        let mut world = World::new(2);
        while world.pods.is_empty() {
            world.turn();
        }
        let cluster_id = world.status.cluster_id.clone().unwrap();
        let partial = Directory::Partial { operation: "earlier".into(), cluster_id, copied };
        world.volumes.get_mut(&1).unwrap().directory = Some(partial);
        let plan = world.settle();
        assert_eq!(blocked(&plan), expected, "{}", said(&plan));
        assert_eq!(world.initialized, u32::from(!copied));
    }
}

/// Its agent would neither wipe it nor go on with it.
#[test]
fn what_another_cluster_began_is_left_alone_and_said() {
    let partial =
        || Directory::Partial { operation: "its".into(), cluster_id: "other".into(), copied: false };
    let way = "the cluster with the id other began to make and never finished. It is left alone, and nothing can be served \
               from it: delete data-shop-1 and shop-1";
    let mut world = World::new(2);
    world.reclaim = Some("Delete".into());
    while world.pods.is_empty() {
        world.turn();
    }
    world.volumes.get_mut(&1).unwrap().directory = Some(partial());
    let plan = world.settle();
    assert_eq!((blocked(&plan), world.initialized), (Some(Reason::ForeignData), 0));
    assert!(said(&plan).contains(way), "{}", said(&plan));
    world.give_up_partial(1);
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    // The same where others serve.
    world.volumes.get_mut(&1).unwrap().directory = Some(partial());
    world.end_pod(1);
    let plan = world.settle();
    assert_eq!((blocked(&plan), plan.phase), (None, ClusterPhase::Degraded));
    assert_eq!(plan.instances[1].state, InstanceState::Quarantined);
    assert!(plan.instances[1].message.as_ref().unwrap().contains(way), "{plan:?}");
    world.give_up_partial(1);
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
}

#[test]
fn a_claim_that_was_made_by_hand_and_is_not_seen_yet_keeps_nothing_from_being_made() {
    let (mut world, id) = released(1);
    world.spec.adopt = Some(id);
    let mut o = world.observe();
    assert_eq!(blocked(&crate::plan(&o)), Some(Reason::DataWithoutRecord));
    let volume = o.surroundings.volumes.values_mut().next().unwrap();
    volume.phase = Some("Bound".into());
    let plan = crate::plan(&o);
    assert!(matches!(plan.step, Some(Step::Record { reason: Reason::Accepted, .. })), "{plan:?}");
}
