//! Threads of a replica that were stopped, by a person or by an error.

use jiff::SignedDuration;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_proto::{Action, Channel, ChannelStart, Server};

use super::divergence::{ordered, report, state};
use super::well::well;
use crate::{Observation, plan};

fn stopped(change: impl FnOnce(&mut Channel)) -> Observation {
    let mut o = well();
    change(state(&mut o, 2).channel.as_mut().unwrap());
    o
}

fn ready(o: &Observation) -> (Reason, String) {
    let told = plan(o).conditions.into_iter().find(|c| c.type_ == ConditionType::Ready).unwrap();
    (told.reason, told.message)
}

fn follows(o: &Observation) -> bool {
    matches!(ordered(&plan(o)), Some((2, Action::Follow { .. })))
}

#[test]
fn what_was_stopped_is_started_again_and_what_has_failed_is_said() {
    let error = || Some("error 1062: Duplicate entry".to_owned());
    let cases: [(Observation, bool, Reason, &str); 5] = [
        (stopped(|c| c.applier_running = false), true, Reason::CatchingUp, "applier was stopped"),
        (stopped(|c| c.receiver_running = false), true, Reason::CatchingUp, "receiver was stopped"),
        (
            stopped(|c| (c.applier_running, c.applier_error) = (false, error())),
            true,
            Reason::ApplierFailed,
            "error 1062",
        ),
        (
            stopped(|c| {
                (c.receiver_running, c.receiver_connecting) = (false, true);
                (c.receiver_error, c.lag_seconds) = (Some("error 1045: denied".into()), None);
            }),
            false,
            Reason::ReceiverFailed,
            "error 1045",
        ),
        (stopped(|c| c.source_host = "elsewhere".into()), true, Reason::CatchingUp, "catching up"),
    ];
    for (o, expected, reason, words) in cases {
        assert_eq!(follows(&o), expected, "{words}");
        let (told, message) = ready(&o);
        assert_eq!(told, reason, "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn the_pause_between_two_starts_grows_and_keeps_nothing_else_back() {
    for (in_a_row, pause) in [(0, 5), (1, 10), (3, 40), (30, 300)] {
        let mut o = stopped(|c| (c.applier_running, c.applier_error) = (false, Some("error 1062: x".into())));
        let now = report(&mut o, 0).at;
        for (since, expected) in [(pause - 1, false), (pause, true)] {
            let server = state(&mut o, 2);
            server.read_at = Some(now);
            let at = now - SignedDuration::from_secs(since);
            server.channel_started = Some(ChannelStart { at, in_a_row });
            assert_eq!(follows(&o), expected, "{in_a_row}: {since}");
            assert_eq!(ready(&o).0, Reason::ApplierFailed);
            let next = plan(&o).look_again;
            assert!(expected || next.is_some_and(|next| next <= SignedDuration::from_secs(1)), "{next:?}");
        }
    }
}

#[test]
fn a_server_with_an_option_that_would_lose_data_neither_serves_nor_leads() {
    let unsafe_one = |name: &str| {
        vec![mainstay_proto::UnsafeOption { name: name.into(), value: "ON".into(), wanted: "OFF".into() }]
    };
    let mut o = well();
    state(&mut o, 2).unsafe_options = unsafe_one("relay_log_recovery");
    let told = plan(&o);
    assert!(told.roles.contains(&(2, None)) && told.ready == 2, "{told:?}");
    let message = told.instances[2].message.as_ref().unwrap();
    assert!(message.contains("relay_log_recovery is ON and must be OFF"), "{message}");
    let mut o = well();
    state(&mut o, 0).unsafe_options = unsafe_one("relay_log_recovery");
    let told = plan(&o);
    assert_eq!((super::table::blocked(&told), told.primary.as_deref()), (Some(Reason::UnsafeOptions), None));
    assert!(told.roles.contains(&(0, None)));
}

#[test]
fn a_server_that_its_agent_can_not_look_at_serves_on_and_is_not_called_well() {
    for (ordinal, way_out) in [(2, "Delete the pod shop-2"), (0, "Hand over first")] {
        let mut o = well();
        state(&mut o, ordinal).agent_denied = Some("connect: error 1045 (28000): no".into());
        let told = plan(&o);
        let condition = |type_| told.conditions.iter().find(|c| c.type_ == type_).unwrap();
        let ready = condition(ConditionType::Ready);
        assert_eq!((ready.status, ready.reason), (Some(false), Reason::AgentDenied));
        assert!(ready.message.contains("error 1045") && ready.message.contains(way_out), "{}", ready.message);
        assert_eq!(condition(ConditionType::Available).status, Some(true), "it serves");
        assert_eq!((told.phase, told.ready), (mainstay_crd::ClusterPhase::Degraded, 3));
        let said = told.instances[ordinal as usize].message.as_ref().unwrap();
        assert!(said.contains("error 1045"), "{said}");
    }
}

#[test]
fn why_a_server_is_not_up_is_said() {
    for ordinal in [0, 2] {
        for (server, words) in [
            (Server::Silent { error: "error 3118: locked".into() }, "error 3118"),
            (Server::Stopped { last_exit: Some("exit status 1".into()) }, "exit status 1"),
            (Server::Starting, if ordinal == 0 { "not up yet" } else { "" }),
        ] {
            let mut o = well();
            report(&mut o, ordinal).server = server;
            let told = ready(&o).1;
            assert!(told.contains(words), "{ordinal}: {told}");
        }
    }
}
