//! A primary that restarted with less than it had acknowledged, and with no less than was noted of it.

use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::{ClusterPhase, InstanceState};
use mainstay_proto::{Action, Directory, Report, Server, ServerState, TaskState};

use super::table::{blocked, healthy};
use super::well::{Change, well};
use super::world::{Volume, uuid};
use crate::{Agent, Observation, Step, plan};

fn report(o: &mut Observation, ordinal: u32) -> &mut Report {
    match &mut o.instances.get_mut(&ordinal).unwrap().agent {
        Agent::Live { report, .. } => report,
        other => panic!("{other:?}"),
    }
}

fn state(o: &mut Observation, ordinal: u32) -> &mut ServerState {
    match &mut report(o, ordinal).server {
        Server::Running { state } => state,
        other => panic!("{other:?}"),
    }
}

/// Instance 0 led, and is up again, read-only, with three transactions; the others hold more of it.
fn restarted() -> Observation {
    let mut o = well();
    let server = state(&mut o, 0);
    let less = format!("{}:1-3", server.server_uuid);
    assert_ne!(server.gtid_executed, less);
    (server.super_read_only, server.gtid_executed) = (true, less);
    o
}

/// The others hold no more than it does.
fn level(o: &mut Observation) {
    let less = state(o, 0).gtid_executed.clone();
    for i in [1, 2] {
        let state = state(o, i);
        state.gtid_executed.clone_from(&less);
        state.channel.as_mut().unwrap().gtid_received.clone_from(&less);
    }
}

#[test]
fn a_primary_that_lacks_what_it_committed_does_not_lead() {
    let cases: [(&str, Change, bool); 6] = [
        ("a replica has executed it", |_| (), true),
        (
            "a replica has received it, and not executed it yet",
            |o| {
                let all = state(o, 2).gtid_executed.clone();
                level(o);
                state(o, 2).channel.as_mut().unwrap().gtid_received = all;
            },
            true,
        ),
        ("nobody has it", level, false),
        (
            "a replica has what another committed",
            |o| {
                level(o);
                state(o, 2).gtid_executed.push_str(&format!(",{}:1-9", uuid(99)));
            },
            false,
        ),
        ("it has stood down, as before a request is met", without_grant, true),
        ("who has it is out of reach", unheard, false),
    ];
    for (name, change, expected) in cases {
        let mut o = restarted();
        change(&mut o);
        let plan = plan(&o);
        let leads = matches!(&plan.step, Some(Step::Order { order, .. }) if matches!(order.action, Action::Lead { .. }));
        assert_eq!((blocked(&plan) == Some(Reason::RolledBack), leads), (expected, !expected), "{name}");
        let told = plan.conditions.iter().find(|c| c.type_ == ConditionType::Blocked).unwrap();
        let says =
            ["shop-0 is the primary", "lead-from=shop-"].iter().all(|words| told.message.contains(words));
        assert_eq!(says, expected, "{name}: {}", told.message);
    }
}

fn without_grant(o: &mut Observation) {
    let report = report(o, 0);
    let Directory::Complete { marker } = &mut report.directory else { panic!() };
    marker.grant = None;
    assert_eq!(report.task.as_ref().unwrap().state, TaskState::Done);
}

#[test]
fn while_it_stands_down_it_may_commit_still_and_nothing_is_said_of_it() {
    let mut o = restarted();
    without_grant(&mut o);
    report(&mut o, 0).task.as_mut().unwrap().state = TaskState::Running;
    let plan = plan(&o);
    assert_eq!((blocked(&plan), plan.step), (None, None));
}

fn unheard(o: &mut Observation) {
    for i in [1, 2] {
        o.instances.get_mut(&i).unwrap().agent = Agent::Unheard;
    }
}

#[test]
fn it_leads_again_once_its_volume_is_put_back() {
    let mut world = healthy(3);
    world.settle();
    let before = world.volumes[&0].clone();
    // Acknowledged, and not noted yet.
    world.write();
    world.replicate();
    let acknowledged = Some(Box::new(world.volumes[&0].clone()));
    world.volumes.insert(0, Volume { original: acknowledged, ..before });
    world.pods.remove(&0);
    let plan = world.settle();
    assert_eq!((blocked(&plan), plan.phase), (Some(Reason::RolledBack), ClusterPhase::Lost), "{plan:?}");
    assert!(world.pods.values().all(|pod| !pod.writable));
    world.put_back();
    let plan = world.settle();
    assert_eq!((plan.phase, plan.primary.as_deref()), (ClusterPhase::Healthy, Some("shop-0")));
}

#[test]
fn nobody_is_told_to_delete_what_it_lost() {
    let mut o = restarted();
    // Who had more was out of reach when it was confirmed.
    state(&mut o, 0).super_read_only = false;
    state(&mut o, 2).channel.as_mut().unwrap().receiver_running = false;
    let instance = &plan(&o).instances[2];
    let told = instance.message.as_deref().unwrap();
    assert_eq!(instance.state, InstanceState::Quarantined, "{told}");
    assert!(told.contains("the volume of shop-0 was set back") && told.contains("keep its claim"), "{told}");
    assert!(!told.contains("Delete its claim"), "{told}");
}
