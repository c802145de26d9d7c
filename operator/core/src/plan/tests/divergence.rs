//! Replicas that hold what the primary never had, and those that only seem to.

use jiff::SignedDuration;
use mainstay_crd::conditions::{ConditionType, DesiredCondition, Reason};
use mainstay_crd::names::ANNOTATION_SWITCHOVER_TO;
use mainstay_crd::{ClusterPhase, InstanceState};
use mainstay_proto::{Action, Directory, Report, Server, ServerState};

use super::table::healthy;
use super::well::well;
use super::world::uuid;
use crate::{Agent, EARLIER, Heard, Observation, Plan, Step, plan};

pub(super) fn report(o: &mut Observation, ordinal: u32) -> &mut Report {
    match &mut o.instances.get_mut(&ordinal).unwrap().agent {
        Agent::Live { report, .. } => report,
        other => panic!("{other:?}"),
    }
}

pub(super) fn state(o: &mut Observation, ordinal: u32) -> &mut ServerState {
    match &mut report(o, ordinal).server {
        Server::Running { state } => state,
        other => panic!("{other:?}"),
    }
}

/// What the plan orders, and to whom.
pub(super) fn ordered(plan: &Plan) -> Option<(u32, &Action)> {
    match &plan.step {
        Some(Step::Order { ordinal, order, .. }) => Some((*ordinal, &order.action)),
        _ => None,
    }
}

fn quarantined(plan: &Plan) -> bool {
    plan.instances[2].state == InstanceState::Quarantined
}

fn role(plan: &Plan) -> Option<&'static str> {
    plan.roles.iter().find(|(i, _)| *i == 2).unwrap().1
}

/// It holds these besides what all hold; seen `ago` before.
fn holds(o: &mut Observation, more: &str, received: bool, ago: Option<SignedDuration>) {
    let now = o.now;
    let state = state(o, 2);
    if received {
        state.channel.as_mut().unwrap().gtid_received = more.to_owned();
    } else {
        state.gtid_executed = format!("{},{more}", state.gtid_executed);
    }
    let earlier = ago.map(|ago| Heard {
        at: now - ago,
        gtid_executed: state.gtid_executed.clone(),
        gtid_received: state.channel.as_ref().unwrap().gtid_received.clone(),
        gtid_purged: state.gtid_purged.clone(),
    });
    o.instances.get_mut(&2).unwrap().earlier = earlier;
}

/// The operator stood it down, and it said so.
fn stood_down(o: &mut Observation) {
    let Directory::Complete { marker } = &mut report(o, 2).directory else { panic!() };
    marker.grant = None;
    state(o, 2).channel.as_mut().unwrap().receiver_running = false;
}

#[test]
fn a_row_of_its_own_is_told_at_once_received_or_executed_and_it_is_kept_out() {
    for received in [false, true] {
        let mut o = well();
        let own = format!("{}:1", state(&mut o, 2).server_uuid);
        holds(&mut o, &own, received, None);
        let told = plan(&o);
        assert!(quarantined(&told) && role(&told).is_none(), "{told:?}");
        assert_eq!(ordered(&told), Some((2, &Action::StandDown)));
        assert_eq!((told.phase, told.primary.as_deref()), (ClusterPhase::Degraded, Some("shop-0")));
        stood_down(&mut o);
        let told = plan(&o);
        assert_eq!((ordered(&told), role(&told)), (None, None), "it is not told to follow again");
        let ready = told.conditions.iter().find(|c| c.type_ == ConditionType::Ready).unwrap();
        assert_eq!(ready.reason, Reason::Quarantined);
        assert!(
            ready.message.contains(&own) && ready.message.contains("delete data-shop-2 and shop-2"),
            "{ready:?}"
        );
    }
}

#[test]
fn any_other_transaction_is_errant_only_once_the_primary_was_read_later() {
    let foreign = format!("{}:7", uuid(99));
    for (ago, expected) in [(None, false), (Some(EARLIER / 2), false), (Some(EARLIER), true)] {
        let mut o = well();
        holds(&mut o, &foreign, false, ago);
        let told = plan(&o);
        assert_eq!((quarantined(&told), role(&told).is_none()), (expected, expected), "{ago:?}");
        assert!(expected || told.look_again.is_some(), "time alone tells");
    }
    // What the primary's agent read long ago proves nothing.
    let mut o = well();
    holds(&mut o, &foreign, false, Some(EARLIER));
    let at = report(&mut o, 0).at;
    state(&mut o, 0).read_at = Some(at - SignedDuration::from_secs(9));
    assert!(!quarantined(&plan(&o)));
}

#[test]
fn what_is_newer_than_the_primarys_last_report_is_not_errant() {
    let mut o = well();
    let of_primary = format!("{}:1-50", state(&mut o, 0).server_uuid);
    for running in [true, false] {
        holds(&mut o, &of_primary, false, None);
        let channel = state(&mut o, 2).channel.as_mut().unwrap();
        channel.receiver_running = running;
        let told = plan(&o);
        assert!(!quarantined(&told), "running: {running}: {told:?}");
        assert_eq!(ordered(&told), None, "nothing is done before it is certain");
    }
    // The primary's next report has them: its receiver is started again.
    state(&mut o, 0).gtid_executed = of_primary;
    assert!(matches!(ordered(&plan(&o)), Some((2, Action::Follow { .. }))));
}

/// Under writes, it receives more of the primary's than that has told of, until it is stood down.
#[test]
fn what_it_received_right_before_it_was_kept_out_is_not_said_to_be_errant() {
    let mut o = well();
    let own = format!("{}:1", uuid(2));
    let newer = format!("{}:1-50", state(&mut o, 0).server_uuid);
    holds(&mut o, &own, false, None);
    o.cluster.status.instances = plan(&o).instances;
    holds(&mut o, &newer, false, None);
    stood_down(&mut o);
    let told = plan(&o);
    assert!(quarantined(&told));
    let message = told.instances[2].message.as_deref().unwrap();
    assert!(
        message.contains(&own) && !message.contains("set back") && !message.contains("1-50"),
        "{message}"
    );
}

#[test]
fn a_quarantine_lasts_over_a_restart_of_pod_and_operator_until_the_sets_agree() {
    let mut o = well();
    let foreign = format!("{}:7", uuid(99));
    holds(&mut o, &foreign, false, Some(EARLIER));
    stood_down(&mut o);
    o.cluster.status.instances = plan(&o).instances;
    o.instances.get_mut(&2).unwrap().earlier = None;
    assert!(quarantined(&plan(&o)), "nobody remembers, but status does");
    // While nobody leads, it can't be judged anew.
    state(&mut o, 0).super_read_only = true;
    assert!(quarantined(&plan(&o)));
    let leader = state(&mut o, 0);
    (leader.super_read_only, leader.gtid_executed) = (false, format!("{},{foreign}", leader.gtid_executed));
    assert!(matches!(ordered(&plan(&o)), Some((2, Action::Follow { .. }))));
}

#[test]
fn a_switchover_to_it_is_refused_and_one_to_another_and_a_roll_go_on() {
    let errant = || {
        let mut world = healthy(3);
        let own = format!("{}:1", uuid(2));
        let volume = world.volumes.get_mut(&2).unwrap();
        let Some(Directory::Complete { marker }) = &volume.directory else { panic!() };
        assert_eq!(marker.server_uuid, uuid(2));
        volume.gtids = volume.gtids.union(&own.parse().unwrap());
        world.settle();
        world
    };
    let mut world = errant();
    world.ask(Some(2));
    world.settle();
    assert_eq!(world.recorded_primary(), Some(0));
    world.ask(None);
    world.settle();
    assert_eq!(world.recorded_primary(), Some(1));
    let mut world = errant();
    world.spec.image = "mysql:9.8".into();
    let before = world.pods[&0].hash.clone();
    world.settle();
    assert!(world.pods.values().all(|pod| pod.hash != before), "every pod was replaced");
    assert!(quarantined(&world.turn()));
}

/// A dump was read into the primary with its GTIDs, while all receive.
#[test]
fn what_the_primary_purged_and_never_sent_is_lacking_also_while_the_replica_receives() {
    let dump = format!("{}:1-997", uuid(99));
    let read_in = |ago: SignedDuration| {
        let mut o = well();
        let leads = state(&mut o, 0);
        leads.gtid_executed = format!("{},{dump}", leads.gtid_executed);
        leads.gtid_purged = dump.clone();
        let earlier = Heard {
            at: o.now - ago,
            gtid_executed: state(&mut o, 0).gtid_executed.clone(),
            gtid_received: String::new(),
            gtid_purged: dump.clone(),
        };
        o.instances.get_mut(&0).unwrap().earlier = Some(earlier);
        o
    };
    let told = plan(&read_in(EARLIER));
    assert!(quarantined(&told) && role(&told).is_none(), "{told:?}");
    assert_eq!(told.phase, ClusterPhase::Degraded);
    assert!(told.instances[2].message.as_deref().unwrap().contains(&dump), "{told:?}");
    assert!(matches!(told.step, Some(Step::Record { reason: Reason::SettingAside, .. })), "{:?}", told.step);
    // Not certain yet; but nobody is handed over to.
    let mut o = read_in(EARLIER / 2);
    let told = plan(&o);
    assert!(!quarantined(&told) && told.look_again.is_some());
    o.cluster.annotations.insert(ANNOTATION_SWITCHOVER_TO.into(), "shop-2".into());
    let said = |c: &DesiredCondition| c.message.contains(&dump);
    let told = plan(&o);
    assert!(told.step.is_none() && told.conditions.iter().any(said), "{told:?}");
    // It may be on its way: something else of then has not come yet.
    let mut o = read_in(EARLIER);
    let heard = o.instances.get_mut(&0).unwrap().earlier.as_mut().unwrap();
    heard.gtid_executed = format!("{},{}:1-900", heard.gtid_executed, uuid(0));
    assert!(!quarantined(&plan(&o)));
    // It was purged since, and may have been sent before.
    let mut o = read_in(EARLIER);
    o.instances.get_mut(&0).unwrap().earlier.as_mut().unwrap().gtid_purged = String::new();
    assert!(!quarantined(&plan(&o)));
}

#[test]
fn a_dump_with_its_gtids_comes_to_every_replica_by_a_new_copy() {
    let mut world = healthy(3);
    let dump = format!("{}:1-997", uuid(99)).parse().unwrap();
    let primary = world.volumes.get_mut(&0).unwrap();
    (primary.gtids, primary.purged) = (primary.gtids.union(&dump), primary.purged.union(&dump));
    assert_eq!(world.settle().phase, ClusterPhase::Healthy);
    assert!(world.volumes.values().all(|volume| volume.gtids.contains(&dump)));
}
