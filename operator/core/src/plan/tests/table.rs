//! Situations, and what is to come of them.

use mainstay_crd::ClusterPhase;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_proto::{Action, Directory, GrantedRole, Term};

use super::world::{Volume, World};
use crate::{Plan, Step};

pub(super) fn blocked(plan: &Plan) -> Option<Reason> {
    plan.conditions
        .iter()
        .find(|c| c.type_ == ConditionType::Blocked && c.status == Some(true))
        .map(|c| c.reason)
}

pub(super) fn healthy(replicas: i32) -> World {
    let mut world = World::new(replicas);
    let plan = world.settle();
    assert_eq!(plan.phase, ClusterPhase::Healthy, "{plan:?}");
    world.write();
    world.replicate();
    world
}

fn leader_says(world: &World) -> Option<GrantedRole> {
    match &world.volumes[&0].directory {
        Some(Directory::Complete { marker }) => marker.grant.as_ref().map(|g| g.role.clone()),
        _ => None,
    }
}

#[test]
fn a_new_cluster_is_initialised_once_and_the_rest_is_cloned() {
    for replicas in [1, 3, 9] {
        let world = healthy(replicas);
        assert_eq!(world.initialized, 1);
        assert_eq!(leader_says(&world), Some(GrantedRole::Primary { alone: replicas == 1 }));
        assert!(world.volumes.values().all(|v| v.cluster_id == world.status.cluster_id));
        assert!(world.status.replication.unwrap().operations.is_empty());
    }
}

#[test]
fn when_all_is_well_nothing_is_done() {
    let mut world = healthy(3);
    world.turn();
    // Only when it was seen moves on.
    let status = |world: &World| {
        let mut status = world.status.clone();
        for instance in &mut status.instances {
            instance.seen_at = None;
            instance.ledger.as_mut().unwrap().seen_at = None;
        }
        status
    };
    let before = status(&world);
    for _ in 0..5 {
        assert_eq!(world.turn().step, None);
    }
    assert_eq!(status(&world), before);
}

#[test]
fn nothing_is_initialised_before_every_instance_was_heard() {
    let mut world = World::new(3);
    while world.pods.is_empty() {
        world.turn();
    }
    world.pods.get_mut(&2).unwrap().heard = false;
    let plan = world.settle();
    assert_eq!((plan.step, world.initialized), (None, 0));
}

#[test]
fn a_recreated_object_finds_its_data_with_and_without_its_secrets() {
    for secrets_kept in [true, false] {
        let mut world = healthy(3);
        let id = world.status.cluster_id.clone();
        world.recreate();
        world.secrets = world.secrets.filter(|_| secrets_kept);
        let plan = world.settle();
        assert_eq!(plan.phase, ClusterPhase::Healthy, "{plan:?}");
        assert_eq!((world.initialized, &world.status.cluster_id), (1, &id));
    }
}

#[test]
fn a_recreated_object_clones_what_is_missing_even_where_the_primary_was() {
    for lost in [0, 1, 2] {
        let mut world = healthy(3);
        world.recreate();
        world.volumes.remove(&lost);
        let plan = world.settle();
        assert_eq!(plan.phase, ClusterPhase::Healthy, "{plan:?}");
        assert_eq!(world.initialized, 1);
        assert!(world.volumes.values().all(|v| v.gtids.count() == 1));
        assert_eq!(plan.primary.as_deref(), Some(if lost == 0 { "shop-1" } else { "shop-0" }));
    }
}

#[test]
fn a_kept_claim_whose_data_is_gone_stops_initialisation() {
    let mut world = healthy(3);
    world.recreate();
    for volume in world.volumes.values_mut() {
        *volume =
            Volume { claim_uid: "c".into(), cluster_id: volume.cluster_id.clone(), ..Volume::default() };
    }
    let plan = world.settle();
    assert_eq!((blocked(&plan), world.initialized), (Some(Reason::DataWithoutRecord), 1));
}

#[test]
fn a_last_primary_beyond_the_new_size_is_waited_for() {
    let mut world = healthy(3);
    world.recreate();
    let away = mainstay_proto::Endpoint { host: "shop-2.shop.db.svc".into(), port: 3306 };
    for i in [0, 1] {
        let Some(Directory::Complete { marker }) = &mut world.volumes.get_mut(&i).unwrap().directory else {
            panic!()
        };
        let grant = marker.grant.as_mut().unwrap();
        grant.role = GrantedRole::Replica { source: away.clone() };
        grant.term.epoch = 9;
    }
    world.spec.replicas = 2;
    assert_eq!(blocked(&world.settle()), Some(Reason::DataWithoutRecord));
}

#[test]
fn data_of_another_cluster_is_not_taken_unasked() {
    let mut world = healthy(1);
    world.recreate();
    world.secrets = Some("other".into());
    assert_eq!(blocked(&world.settle()), Some(Reason::ForeignData));
    world.spec.adopt = world.volumes[&0].cluster_id.clone();
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    assert_eq!(world.initialized, 1);
}

#[test]
fn a_primary_that_lost_its_data_is_never_initialised_again() {
    let mut world = healthy(3);
    let claim_uid = "new".to_string();
    world.volumes.insert(0, Volume { claim_uid, ..Volume::default() });
    let pod = world.pods.get_mut(&0).unwrap();
    pod.writable = false;
    let plan = world.settle();
    assert_eq!((plan.phase, blocked(&plan)), (ClusterPhase::Lost, Some(Reason::PrimaryDataLost)));
    assert_eq!((world.initialized, plan.primary), (1, None));
    assert!(world.pods.values().all(|p| !p.writable));
}

#[test]
fn a_record_that_was_set_back_promotes_nobody() {
    let mut world = healthy(3);
    world.volumes.get_mut(&1).unwrap().highest = Term { epoch: 1, revision: 999 };
    world.pods.get_mut(&0).unwrap().writable = false;
    let plan = world.settle();
    assert_eq!((blocked(&plan), plan.step), (Some(Reason::RecordRolledBack), None));
}

#[test]
fn a_primary_that_restarted_is_confirmed_under_its_epoch() {
    let mut world = healthy(3);
    world.pods.remove(&0);
    let epoch = world.status.replication.as_ref().unwrap().epoch;
    let plan = world.turn();
    assert!(plan.primary.is_none());
    let plan = world.settle();
    assert_eq!(plan.phase, ClusterPhase::Healthy);
    assert_eq!(world.status.replication.unwrap().epoch, epoch);
}

#[test]
fn growing_from_one_takes_the_right_to_go_on_alone_before_there_is_a_second() {
    let mut world = healthy(1);
    world.spec.replicas = 3;
    let mut seen = false;
    for _ in 0..50 {
        world.turn();
        if world.pods.len() > 1 {
            assert_eq!(leader_says(&world), Some(GrantedRole::Primary { alone: false }));
            seen = true;
        }
    }
    assert!(seen);
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
}

#[test]
fn an_errant_replica_stays_out_and_the_others_go_on() {
    let mut world = healthy(3);
    world.volumes.get_mut(&2).unwrap().gtids = "4f22fa47-71ca-11e1-9e33-c80aa9429562:1".parse().unwrap();
    let Some(Directory::Complete { marker }) = &mut world.volumes.get_mut(&2).unwrap().directory else {
        panic!()
    };
    marker.grant = None;
    world.pods.get_mut(&2).unwrap().channel = None;
    let plan = world.settle();
    let third = plan.instances.iter().find(|i| i.ordinal == 2).unwrap();
    assert_eq!(third.state, mainstay_crd::InstanceState::Quarantined);
    assert!(third.message.as_ref().unwrap().contains("4f22fa47"));
    assert_eq!((plan.ready, plan.phase), (2, ClusterPhase::Degraded));
}

#[test]
fn a_change_rolls_one_at_a_time_and_the_primary_hands_over_before_its_turn() {
    let mut world = healthy(3);
    world.spec.image = "mysql:9.8".into();
    let mut order = Vec::new();
    for _ in 0..50 {
        let missing = world.pods.values().filter(|p| !p.writable && p.channel.is_none()).count();
        assert!(missing <= 1);
        if let Some(Step::Pod { pod, .. }) = world.turn().step {
            let ordinal: u32 = pod.rsplit('-').next().unwrap().parse().unwrap();
            assert_ne!(world.recorded_primary(), Some(ordinal));
            order.push(pod);
        }
    }
    assert_eq!(order, ["shop-2", "shop-1", "shop-0"]);
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
}

#[test]
fn while_a_pod_is_ending_no_other_is_replaced() {
    let mut world = healthy(3);
    world.spec.image = "mysql:9.8".into();
    let mut observation = world.observe();
    observation.instances.get_mut(&2).unwrap().pod.as_mut().unwrap().deleting = true;
    assert_eq!(crate::plan(&observation).step, None);
}

#[test]
fn a_change_that_cannot_start_stops_at_the_first_and_its_fix_goes_on() {
    let mut world = healthy(3);
    world.spec.image = "bad:1".into();
    let plan = world.settle();
    assert_eq!((plan.ready, plan.primary.as_deref()), (2, Some("shop-0")));
    world.spec.image = "mysql:9.8".into();
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
}

#[test]
fn no_pod_is_taken_for_a_template_that_the_api_server_does_not_hold() {
    let mut world = healthy(3);
    let uids = |world: &World| world.pods.values().map(|pod| pod.uid.clone()).collect::<Vec<_>>();
    let before = uids(&world);
    world.refused = true;
    world.spec.image = "mysql:9.8".into();
    // Neither one that serves nor one that does not.
    world.pods.get_mut(&2).unwrap().channel = None;
    let plan = world.settle();
    assert_eq!((uids(&world), plan.phase), (before, ClusterPhase::Healthy));
    world.refused = false;
    world.settle();
    assert!(world.pods.values().all(|pod| Some(&pod.hash) == world.template.as_ref()));
}

#[test]
fn a_cluster_that_never_could_start_starts_once_it_can() {
    let mut world = World::new(3);
    world.spec.image = "bad:1".into();
    let plan = world.settle();
    let ready = plan.conditions.iter().find(|c| c.type_ == ConditionType::Ready).unwrap();
    assert!(ready.message.contains("ImagePullBackOff"), "{}", ready.message);
    world.spec.image = "mysql:9.7".into();
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
}

#[test]
fn paused_means_that_nothing_is_done() {
    let mut world = World::new(3);
    world.spec.paused = true;
    for _ in 0..5 {
        assert_eq!(world.turn().step, None);
    }
    assert!(world.pods.is_empty());
}

#[test]
fn an_agent_that_is_silent_keeps_its_label_but_a_reported_standstill_takes_it() {
    let mut world = healthy(3);
    for pod in world.pods.values_mut() {
        pod.heard = false;
    }
    world.turn();
    let roles: Vec<_> = world.pods.values().map(|p| p.role.clone()).collect();
    assert_eq!(roles, [Some("primary".into()), Some("replica".into()), Some("replica".into())]);
    let replica = world.pods.get_mut(&1).unwrap();
    replica.heard = true;
    replica.channel.as_mut().unwrap().receiver_running = false;
    world.turn();
    assert_eq!(world.pods[&1].role, None);
}

#[test]
fn a_clone_that_failed_is_announced_again_from_another_donor_under_a_new_id() {
    use mainstay_proto::{Task, TaskState};
    let mut world = healthy(3);
    world.spec.replicas = 4;
    let (id, donor) = loop {
        if let Some(Step::Record { record, .. }) = world.turn().step
            && let Some(operation) = record.operations().first()
        {
            break (operation.id.clone(), operation.donor);
        }
    };
    world.pods.get_mut(&3).unwrap().task = Some(Task {
        id: String::new(),
        term: Term::default(),
        kind: "Clone".into(),
        operation: Some(id.clone()),
        state: TaskState::Failed { error: "the donor died".into() },
        progress: None,
    });
    let Some(Step::Record { record, .. }) = world.turn().step else { panic!() };
    let again = &record.operations()[0];
    assert_ne!(again.id, id);
    assert_ne!(again.donor, donor);
    assert_eq!(again.failures, 1);
    assert!(matches!(
        world.turn().step,
        Some(Step::Order { order, .. }) if matches!(order.action, Action::Clone { .. })
    ));
}
