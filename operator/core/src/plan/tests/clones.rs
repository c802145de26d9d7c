//! Copies by the copy tool, and what is told of copies.

use mainstay_crd::CloneProgress;
use mainstay_crd::conditions::Reason;
use mainstay_proto::{Action, Progress, Task, TaskState, Term};
use serde_json::json;

use super::world::World;
use crate::{Plan, Step};

/// A cluster that copies by the tool, compressed, with a fourth instance that has just been told to receive: which
/// operation it is.
fn receiving() -> (World, String) {
    let mut world = World::new(3);
    world.spec.clone =
        Some(serde_json::from_value(json!({"method": "XtraBackup", "compress": "Zstd"})).unwrap());
    world.settle();
    world.spec.replicas = 4;
    let id = loop {
        let plan = world.turn();
        if let Some(Step::Record { record, .. }) = &plan.step
            && let Some(operation) = record.operations().first()
        {
            break operation.id.clone();
        }
    };
    (world, id)
}

fn report(world: &mut World, operation: &str, state: TaskState) -> Plan {
    let progress = Some(Progress { bytes: 300, total_bytes: Some(1000), bytes_per_second: Some(200) });
    let (kind, operation) = ("Receive".into(), Some(operation.into()));
    let task = Task { id: String::new(), term: Term::default(), kind, operation, state, progress };
    world.pods.get_mut(&3).unwrap().task = Some(task);
    world.turn()
}

fn shown(plan: &Plan) -> CloneProgress {
    plan.instances.iter().find(|i| i.ordinal == 3).unwrap().clone.clone().unwrap()
}

fn progressing(plan: &Plan) -> Reason {
    plan.conditions
        .iter()
        .find(|c| c.type_ == mainstay_crd::conditions::ConditionType::Progressing)
        .unwrap()
        .reason
}

#[test]
fn how_far_a_copy_is_is_told_and_what_the_last_failed_try_said_stays_during_the_next() {
    let (mut world, id) = receiving();
    let plan = report(&mut world, &id, TaskState::Running);
    let CloneProgress { bytes, total_bytes, remaining_seconds, failures, last_error, .. } = shown(&plan);
    assert_eq!((bytes, total_bytes, remaining_seconds), (300, Some(1000), Some(4)));
    assert_eq!((failures, last_error, progressing(&plan)), (0, None, Reason::Cloning));
    let error = || "the stream ended without a verdict".to_owned();
    let plan = report(&mut world, &id, TaskState::Failed { error: error() });
    let Some(Step::Record { record, .. }) = &plan.step else { panic!("{plan:?}") };
    let next = record.operations()[0].clone();
    assert_ne!(next.id, id);
    let ordered = world.turn();
    assert_eq!(shown(&ordered).last_error, Some(error()));
    let Some(Step::Order { order, .. }) = &ordered.step else { panic!("{ordered:?}") };
    assert!(matches!(order.action, Action::Receive { compress: true, .. }), "{order:?}");
    world.pods.get_mut(&3).unwrap().passed = false;
    world.volumes.get_mut(&3).unwrap().directory = None;
    let clone = shown(&report(&mut world, &next.id, TaskState::Running));
    assert_eq!((clone.failures, clone.last_error), (1, Some(error())));
}

#[test]
fn copies_that_fail_in_a_row_are_tried_at_longer_and_longer_intervals() {
    let (mut world, mut id) = receiving();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let failed = report(&mut world, &id, TaskState::Failed { error: "no tool".into() });
        let Some(Step::Record { record, .. }) = &failed.step else { panic!("{failed:?}") };
        id = record.operations()[0].id.clone();
        let since = world.now;
        let ordered = loop {
            let plan = world.turn();
            if let Some(Step::Order { ordinal: 3, .. }) = plan.step {
                break world.now;
            }
            assert!(plan.look_again.is_some() && progressing(&plan) == Reason::Cloning, "{plan:?}");
        };
        pauses.push(ordered.duration_since(since).as_secs());
        world.pods.get_mut(&3).unwrap().passed = false;
        world.volumes.get_mut(&3).unwrap().directory = None;
    }
    assert!(pauses[0] <= 1 && pauses[1] >= 5 && pauses[2] >= 10, "{pauses:?}");
    assert!(pauses.is_sorted() && pauses[9] >= 299 && pauses[9] <= 302, "{pauses:?}");
}

#[test]
fn a_copy_that_waits_for_its_first_start_is_not_announced_anew_when_its_donor_can_give_no_more() {
    let (mut world, id) = receiving();
    let donor = world.status.replication.as_ref().unwrap().operations[0].donor.unwrap().unsigned_abs();
    // Its donor stands still from now on: nobody would be sent there.
    world.pods.get_mut(&donor).unwrap().channel.as_mut().unwrap().receiver_running = false;
    for _ in 0..5 {
        let plan = report(&mut world, &id, TaskState::Done);
        let Some(Step::Record { record, .. }) = &plan.step else { continue };
        assert_eq!(record.operations()[0].id, id, "another copy is announced: {plan:?}");
    }
}

#[test]
fn with_the_copy_tool_replicas_receive_and_a_pod_without_its_container_is_cloned_by_the_plugin() {
    use mainstay_proto::pod::ports;
    let mut world = World::new(3);
    world.spec.clone = Some(serde_json::from_value(serde_json::json!({"method": "XtraBackup"})).unwrap());
    let (mut received, mut cloned) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        // The pod of instance 2 is older than the spec.
        if let Some(process) = world.pods.get_mut(&2) {
            process.passed = true;
        }
        let Some(Step::Order { ordinal, order, .. }) = world.turn().step else { continue };
        match order.action {
            Action::Receive { donor, donor_ordinal, from_primary, .. } => {
                assert_eq!((donor.port, donor_ordinal, from_primary), (ports::DONOR, 0, true));
                received.push(ordinal);
            }
            Action::Clone { .. } => cloned.push(ordinal),
            _ => {}
        }
    }
    assert_eq!(world.initialized, 1, "an order for the next container reaches it");
    assert_eq!((received, cloned), (vec![1], vec![2]));
}

/// A dump was read into the primary with the GTIDs of where it comes from: the replicas never get those transactions.
#[test]
fn who_lacks_what_the_primary_no_longer_logs_gives_no_copy() {
    let mut world = World::new(3);
    world.settle();
    world.stalled.extend([1, 2]);
    let elsewhere = format!("{}:1-997", super::world::uuid(99)).parse().unwrap();
    let primary = world.volumes.get_mut(&0).unwrap();
    primary.gtids = primary.gtids.union(&elsewhere);
    primary.purged = primary.purged.union(&elsewhere);
    world.spec.replicas = 4;
    let donor = (0..20).find_map(|_| match world.turn().step {
        Some(Step::Record { record, .. }) => record.operations().first().and_then(|copy| copy.donor),
        _ => None,
    });
    assert_eq!(donor, Some(0));
}
