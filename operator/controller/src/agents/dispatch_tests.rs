//! Orders to agents of which some are dead, over a network in memory: time stands still while anybody has anything to do.

use std::net::Ipv4Addr;
use std::time::Instant;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use mainstay_core::Dispatch;
use mainstay_proto::{Action, Answer, Order, Refusal, Report, TaskState, Term};

use super::change::tests::report;
use super::tests::Keys;
use super::*;
use crate::testing::{FakeAgent, Manner, Net};
use crate::watch::{ClusterKey, ClusterRef};

/// The record by which orders are decided, and the one after it.
const NOW: Term = Term { epoch: 1, revision: 7 };
const LATER: Term = Term { epoch: 1, revision: 8 };

/// An operator, and agents of pods of the clusters `shop` and `other`.
struct Rig {
    keys: Keys,
    net: Net,
    agents: Agents,
    metrics: Arc<Metrics>,
    trigger: Trigger,
    calls: UnboundedReceiver<ClusterRef>,
}

impl Rig {
    fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let nowhere =
            kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let (metrics, trust, keys, net) =
            (Arc::new(Metrics::new()), Trust::new(nowhere), Keys::new(), Net::default());
        for cluster in [shop(), other()] {
            trust.know(&cluster, keys.client());
        }
        let agents = Agents::new(Dialer::Memory(net.clone()), trust, metrics.clone());
        agents.announce(&shop(), NOW);
        agents.announce(&other(), NOW);
        let (to, calls) = futures::channel::mpsc::unbounded();
        Rig { keys, net, agents, metrics, trigger: Trigger::new(to), calls }
    }

    /// The agent of an instance, which is followed from now on.
    fn instance(&self, cluster: &ClusterKey, ordinal: u32) -> FakeAgent {
        let ip = Ipv4Addr::new(10, 0, u8::from(*cluster == other()), ordinal as u8).into();
        let mut says = report();
        let uid = uid(cluster, ordinal);
        (says.identity.pod_uid, says.identity.ordinal) = (uid.clone(), ordinal);
        (says.identity.namespace, says.identity.cluster) = (cluster.namespace.clone(), cluster.name.clone());
        let keys = self.keys.server(&[&format!("*.{}.db.svc", cluster.name)]);
        let agent = self.net.host(ip, keys, says);
        agent.will(Manner::Accepts);
        let pod = format!("{}-{ordinal}", cluster.name);
        let target = Target { cluster: cluster.clone(), ordinal, pod, uid, ip };
        self.agents.follow(target, self.trigger.clone());
        agent
    }

    fn state(&self, cluster: &ClusterKey, ordinal: u32) -> Option<Dispatch> {
        Some(self.agents.dispatched(&uid(cluster, ordinal), Instant::now())?.state)
    }

    /// Comes back once the order to this instance is in another state than on its way.
    async fn answered(&mut self, cluster: &ClusterKey, ordinal: u32) -> Dispatch {
        loop {
            match self.state(cluster, ordinal).unwrap() {
                Dispatch::Queued | Dispatch::Sent => self.calls.next().await.unwrap(),
                state => return state,
            };
        }
    }

    /// TLS handshakes that orders took: each stream took one.
    fn handshakes(&self, kind: &'static str) -> u64 {
        self.metrics.handshakes.get_or_create(&crate::telemetry::Kind { kind }).get()
    }
}

fn shop() -> ClusterKey {
    ClusterKey::named("db", "shop")
}

fn other() -> ClusterKey {
    ClusterKey::named("db", "other")
}

fn uid(cluster: &ClusterKey, ordinal: u32) -> String {
    format!("{}-{ordinal}-uid", cluster.name)
}

fn order(cluster: &ClusterKey, ordinal: u32, term: Term) -> Order {
    Order {
        proto: mainstay_proto::VERSION,
        id: format!("{}.{}", term.epoch, term.revision),
        cluster_id: "id".into(),
        pod_uid: uid(cluster, ordinal),
        ordinal,
        epoch: term.epoch,
        revision: term.revision,
        action: Action::StandDown,
        disabled_events: None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_answers_costs_nobody_else_any_time() {
    let mut rig = Rig::new();
    let hung = rig.instance(&shop(), 0);
    hung.will(Manner::Hangs);
    let others = [(shop(), 1), (shop(), 2), (other(), 0)];
    let agents: Vec<FakeAgent> = others.iter().map(|(cluster, i)| rig.instance(cluster, *i)).collect();
    assert!(rig.agents.submit(&order(&shop(), 0, NOW)));
    while hung.orders().is_empty() {
        tokio::task::yield_now().await;
    }
    for (cluster, ordinal) in &others {
        assert!(rig.agents.submit(&order(cluster, *ordinal, NOW)));
    }
    for ((cluster, ordinal), agent) in others.iter().zip(&agents) {
        assert_eq!(rig.answered(cluster, *ordinal).await, Dispatch::Accepted);
        assert_eq!(agent.orders(), [order(cluster, *ordinal, NOW)]);
        assert_eq!(rig.state(&shop(), 0), Some(Dispatch::Sent), "it has not answered, and is not given up");
    }
    let given_up = rig.answered(&shop(), 0).await;
    assert!(matches!(given_up, Dispatch::Failed { .. }), "{given_up:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_accepts_and_is_mute_costs_nobody_else_any_time() {
    let mut rig = Rig::new();
    rig.instance(&shop(), 0);
    let _mute = rig.net.mute(Ipv4Addr::new(10, 0, 0, 0).into());
    rig.instance(&shop(), 1);
    rig.agents.submit(&order(&shop(), 0, NOW));
    rig.agents.submit(&order(&shop(), 1, NOW));
    assert_eq!(rig.answered(&shop(), 1).await, Dispatch::Accepted);
    assert_eq!(rig.state(&shop(), 0), Some(Dispatch::Queued));
    assert!(matches!(rig.answered(&shop(), 0).await, Dispatch::Failed { .. }));
}

#[tokio::test(start_paused = true)]
async fn orders_follow_each_other_on_one_connection_and_another_takes_up_its_session() {
    let mut rig = Rig::new();
    let agent = rig.instance(&shop(), 1);
    // Its stream is open.
    rig.calls.next().await.unwrap();
    let streams = rig.handshakes("Full");
    for revision in 0..3 {
        let term = Term { epoch: 1, revision };
        rig.agents.announce(&shop(), term);
        rig.agents.submit(&order(&shop(), 1, term));
        assert_eq!(rig.answered(&shop(), 1).await, Dispatch::Accepted);
    }
    assert_eq!((rig.handshakes("Full") - streams, rig.handshakes("Resumed")), (1, 0));
    agent.will(Manner::Closes);
    for revision in 3..5 {
        let term = Term { epoch: 1, revision };
        rig.agents.announce(&shop(), term);
        rig.agents.submit(&order(&shop(), 1, term));
        assert_eq!(rig.answered(&shop(), 1).await, Dispatch::Accepted);
    }
    assert_eq!((rig.handshakes("Full") - streams, rig.handshakes("Resumed")), (1, 1));
    assert_eq!(agent.orders().len(), 5, "each reached it once");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_makes_way_and_what_another_record_asked_for_is_never_sent() {
    let mut rig = Rig::new();
    let agent = rig.instance(&shop(), 0);
    agent.will(Manner::Hangs);
    rig.agents.submit(&order(&shop(), 0, NOW));
    while agent.orders().is_empty() {
        tokio::task::yield_now().await;
    }
    // While that is under way.
    rig.agents.submit(&Order { action: Action::Lead { alone: true }, ..order(&shop(), 0, NOW) });
    rig.agents.submit(&Order { action: Action::Lead { alone: false }, ..order(&shop(), 0, NOW) });
    agent.will(Manner::Accepts);
    assert_eq!(rig.answered(&shop(), 0).await, Dispatch::Accepted);
    let actions: Vec<Action> = agent.orders().into_iter().map(|order| order.action).collect();
    assert_eq!(actions, [Action::StandDown, Action::Lead { alone: false }]);

    let other = rig.instance(&shop(), 1);
    rig.agents.submit(&order(&shop(), 1, NOW));
    rig.agents.announce(&shop(), LATER);
    rig.agents.submit(&order(&shop(), 0, LATER));
    assert_eq!(rig.answered(&shop(), 0).await, Dispatch::Accepted);
    while rig.state(&shop(), 1).is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(other.orders(), []);
}

#[tokio::test(start_paused = true)]
async fn once_another_leads_nothing_is_sent() {
    let rig = Rig::new();
    let agent = rig.instance(&shop(), 0);
    assert!(rig.agents.submit(&order(&shop(), 0, NOW)));
    rig.agents.close();
    assert!(!rig.agents.submit(&order(&shop(), 0, NOW)));
    rig.instance(&shop(), 0);
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(agent.orders(), []);
    assert_eq!(rig.state(&shop(), 0), None);
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_says_to_an_order_is_observed_until_it_is_done() {
    let mut rig = Rig::new();
    let agent = rig.instance(&shop(), 0);
    let message = "it is being cloned".to_owned();
    agent.will(Manner::Answers(Answer::Refused { reason: Refusal::Busy, message: message.clone() }));
    rig.agents.submit(&order(&shop(), 0, NOW));
    let refused = Dispatch::Refused { reason: Refusal::Busy, why: message };
    assert_eq!(rig.answered(&shop(), 0).await, refused);
    agent.will(Manner::Accepts);
    rig.agents.submit(&order(&shop(), 0, NOW));
    assert_eq!(rig.answered(&shop(), 0).await, Dispatch::Accepted);
    let done = mainstay_proto::Task {
        id: order(&shop(), 0, NOW).id,
        term: NOW,
        kind: Action::StandDown.kind().into(),
        operation: None,
        state: TaskState::Done,
        progress: None,
    };
    agent.says(|report: &mut Report| report.task = Some(done));
    while rig.state(&shop(), 0) != Some(Dispatch::Done) {
        rig.calls.next().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_that_is_asked_for_is_heard_at_once_and_asked_for_no_faster_than_it_can_change() {
    let mut rig = Rig::new();
    let agent = rig.instance(&shop(), 0);
    rig.calls.next().await.unwrap();
    // What moves all the time calls for no look by itself.
    let executed = |rig: &Rig| match rig.agents.heard(&uid(&shop(), 0)).live().unwrap().server.clone() {
        mainstay_proto::Server::Running { state } => state.gtid_executed,
        other => panic!("{other:?}"),
    };
    for last in 10..20 {
        agent.moves(&format!("u:1-{last}"));
        assert_ne!(executed(&rig), format!("u:1-{last}"));
        assert!(rig.agents.ask(&uid(&shop(), 0)));
        assert!(rig.agents.ask(&uid(&shop(), 0)), "asking twice before the answer is asking once");
        rig.calls.next().await.unwrap();
        assert_eq!(executed(&rig), format!("u:1-{last}"));
    }
    assert_eq!(agent.looks(), 10);
    assert_eq!(rig.state(&shop(), 0), None, "no order was given for it");
}
