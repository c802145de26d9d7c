//! From what an agent says to the order that follows: how many looks, writes and handshakes lie between.

use std::time::Instant;

use axum::http::Method;
use futures::{FutureExt, StreamExt};
use mainstay_core::{Dispatch, Dispatched};
use mainstay_proto::{Action, Report, Server, ServerState};

use crate::telemetry::Kind;
use crate::testing::{Manner, Rig};

/// A cluster of three that is well, and quiet.
async fn healthy() -> Rig {
    let mut rig = Rig::new();
    rig.work(|rig| rig.status()["state"] == "Healthy").await;
    for _ in 0..10 {
        rig.reconcile().await.unwrap();
        rig.calls.next().now_or_never();
    }
    while rig.calls.next().now_or_never().is_some() {}
    rig.api.requests();
    rig
}

fn server(report: &mut Report) -> &mut ServerState {
    match &mut report.server {
        Server::Running { state } => state,
        other => panic!("{other:?}"),
    }
}

/// What lies between a report and the order that follows.
#[derive(Debug, PartialEq, Eq)]
struct Path {
    looks: u32,
    /// Requests to the API server, without the reads of single objects.
    requests: Vec<String>,
    handshakes: u64,
}

fn handshakes(rig: &Rig) -> u64 {
    let of = |kind| rig.context.metrics.handshakes.get_or_create(&Kind { kind }).get();
    of("Full") + of("Resumed")
}

/// The order that was handed over last for the instance.
fn given(rig: &Rig, ordinal: u32) -> Option<Dispatched> {
    rig.context.agents.dispatched(&rig.agent(ordinal).report().identity.pod_uid, Instant::now())
}

/// From a change of what the instance reports to the next order that is handed over for it, and reaches it.
async fn to_the_order(rig: &mut Rig, ordinal: u32, change: impl FnOnce(&mut Report)) -> (Path, Action) {
    rig.api.requests();
    let (orders, before) = (|rig: &Rig| rig.agent(ordinal).orders().len(), handshakes(rig));
    let order = |rig: &Rig| given(rig, ordinal).map(|given| given.order);
    let (ordered, last) = (orders(rig), order(rig));
    rig.agent(ordinal).says(change);
    rig.calls.next().await.unwrap();
    let looks = rig.work(|rig| order(rig) != last).await;
    let requests = rig.api.requests().into_iter().filter(|request| request.method != Method::GET);
    let requests = requests.map(|request| format!("{} {}", request.method, request.what)).collect();
    rig.work(|rig| orders(rig) > ordered).await;
    let order = rig.agent(ordinal).orders().into_iter().nth(ordered).unwrap();
    (Path { looks, requests, handshakes: handshakes(rig) - before }, order.action)
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_is_told_to_end_is_ordered_to_stand_down_after_one_write() {
    let mut rig = healthy().await;
    let (path, action) = to_the_order(&mut rig, 0, |report| report.ending = true).await;
    println!("ending → {action:?}: {path:?}");
    assert_eq!(action, Action::StandDown);
    // The intention. Clients find it until the next leads.
    assert_eq!(path.requests, ["PATCH mysqlclusters/shop/status"]);
    assert_eq!(path.handshakes, 0, "the connection was kept");
}

#[tokio::test(start_paused = true)]
async fn a_primary_whose_server_came_back_is_ordered_to_lead_at_once() {
    let mut rig = healthy().await;
    let mut state = server(&mut rig.agent(0).report()).clone();
    rig.agent(0).says(|report| report.server = Server::Stopped { last_exit: Some("signal: 9".into()) });
    rig.calls.next().await.unwrap();
    rig.work(|rig| rig.condition("Available")["status"] == "False").await;
    println!("mysqld is gone: {:?}", rig.api.requests());
    state.super_read_only = true;
    let back = |report: &mut Report| report.server = Server::Running { state: Box::new(state) };
    let (path, action) = to_the_order(&mut rig, 0, back).await;
    println!("mysqld is back → {action:?}: {path:?}");
    assert_eq!(action, Action::Lead { alone: false });
    assert_eq!((path.requests, path.handshakes), (Vec::new(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_agent_is_hung_keeps_no_order_from_another() {
    let mut rig = healthy().await;
    rig.agent(1).will(Manner::Hangs);
    let ordered = |rig: &Rig, ordinal| rig.agent(ordinal).orders().len();
    let before = [ordered(&rig, 1), ordered(&rig, 2)];
    for ordinal in [1, 2] {
        rig.agent(ordinal).says(|report| {
            server(report).channel.as_mut().unwrap().applier_running = false;
        });
    }
    rig.work(|rig| ordered(rig, 2) > before[1]).await;
    assert!(ordered(&rig, 1) > before[0], "it was told first");
    assert_eq!(given(&rig, 1).unwrap().state, Dispatch::Sent, "it has not answered when the other has");
    rig.work(|rig| rig.condition("Progressing")["reason"] == "OrderFailed").await;
    assert!(rig.condition("Progressing")["message"].as_str().unwrap().contains("silent"));
}
