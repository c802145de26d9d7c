//! Orders on their way. Who decides waits for no agent: an order is handed over, and what comes of it is observed.
//!
//! Each pod has one connection, which is kept for a while, and one order under way. A newer order replaces one that was
//! not sent yet; and one that was decided by another record than the present one is never sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use mainstay_core::{Dispatch, Dispatched};
use mainstay_proto::{Answer, Fence, Order, Refusal, Report, TaskState};
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::connection::Connection;
use super::{AgentError, Agents, Target};
use crate::telemetry::Metrics;
use crate::watch::{ClusterKey, Trigger};

/// How long an agent may take to answer an order. It only takes it; the work shows in reports.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a connection is kept that nobody uses.
const KEPT: Duration = Duration::from_secs(300);
/// How long a report may take after an order was accepted, before the order is sent again.
const REPORT_DELAY: Duration = Duration::from_secs(10);
/// The wait after an order was refused or not answered, if it was given for the first time.
const RETRY: Duration = Duration::from_secs(1);
/// The first wait before an order that was carried out in vain is given again; each is twice the one before.
const FIRST_REPEAT: Duration = Duration::from_secs(2);
/// The longest such wait.
const LAST_REPEAT: Duration = Duration::from_secs(60);
/// An order that was not given for this long is a new one.
const FORGET: Duration = Duration::from_secs(300);

/// The orders of one pod.
#[derive(Default)]
pub(super) struct Outbox {
    newest: Option<Given>,
    wake: Arc<Notify>,
    /// Somebody delivers.
    is_served: bool,
}

/// An order that was handed over.
struct Given {
    dispatched: Dispatched,
    /// When it came to its present state.
    at: Instant,
    /// Changes that the agent had reported when it was sent.
    changes: u64,
    /// How long to wait before it is given once more, should the plan still ask for it.
    patience: Duration,
}

impl Given {
    /// How long the same is not to be given again.
    fn rests(&self, changes: u64, now: Instant) -> Duration {
        let heard = self.changes != changes;
        let wait = match self.dispatched.state {
            Dispatch::Queued | Dispatch::Sent => Duration::ZERO,
            Dispatch::Accepted | Dispatch::Done if heard => self.patience,
            Dispatch::Accepted | Dispatch::Done => REPORT_DELAY.max(self.patience),
            // What it refused for may be over.
            Dispatch::Refused { .. } | Dispatch::Failed { .. } if heard => Duration::ZERO,
            Dispatch::Refused { .. } | Dispatch::Failed { .. } => RETRY.max(self.patience),
        };
        wait.saturating_sub(now.duration_since(self.at))
    }

    fn becomes(&mut self, state: Dispatch, now: Instant) {
        (self.dispatched.state, self.at) = (state, now);
    }
}

impl Outbox {
    /// Puts `order` in the place of one that was handed over before, unless it is that very one.
    fn put(&mut self, order: &Order, changes: u64, now: Instant) {
        let again = self.newest.take().filter(|given| given.dispatched.is_like(order));
        if let Some(given) = &again
            && given.dispatched.order == *order
            && matches!(given.dispatched.state, Dispatch::Queued | Dispatch::Sent)
        {
            self.newest = again;
            return;
        }
        let again = again.filter(|given| now.duration_since(given.at) < given.patience + FORGET);
        let longer = |given: &Given| (given.patience * 2).clamp(FIRST_REPEAT, LAST_REPEAT);
        self.newest = Some(Given {
            patience: again.as_ref().map_or(Duration::ZERO, longer),
            dispatched: Dispatched {
                order: order.clone(),
                state: Dispatch::Queued,
                rests: SignedDuration::ZERO,
                failed_before: again.and_then(|given| given.dispatched.trouble().map(String::from)),
            },
            at: now,
            changes,
        });
    }

    fn queued(&mut self) -> Option<&mut Given> {
        self.newest.as_mut().filter(|given| given.dispatched.state == Dispatch::Queued)
    }

    /// The order, if nothing newer has taken its place.
    fn sent(&mut self, order: &Order) -> Option<&mut Given> {
        let sent = |given: &&mut Given| given.dispatched.state == Dispatch::Sent;
        self.newest.as_mut().filter(sent).filter(|given| given.dispatched.order == *order)
    }

    /// What is known of the newest order; `last` is the agent's last word, and `changes` counts those before.
    pub(super) fn observe(&self, last: Option<&Report>, changes: u64, now: Instant) -> Option<Dispatched> {
        let given = self.newest.as_ref()?;
        let mut dispatched = given.dispatched.clone();
        let done = |report: &Report| {
            let task = report.task.as_ref().filter(|task| task.is_of(&dispatched.order));
            task.is_some_and(|task| task.state == TaskState::Done)
        };
        if dispatched.state == Dispatch::Accepted && last.is_some_and(done) {
            dispatched.state = Dispatch::Done;
        }
        dispatched.rests = SignedDuration::try_from(given.rests(changes, now)).unwrap_or(SignedDuration::MAX);
        Some(dispatched)
    }
}

impl Agents {
    /// Notes by which record of `cluster` orders may be sent from now on: those of another are not sent any more.
    pub(crate) fn announce(&self, cluster: &ClusterKey, term: Fence) {
        self.terms().insert(cluster.clone(), term);
    }

    /// Hands `order` over, and comes back at once. What comes of it is in [`Agents::dispatched`], and calls for a look at
    /// the cluster. False if the pod has no address (any more).
    pub(crate) fn submit(&self, order: &Order) -> bool {
        let mut followed = self.followed();
        let Some(entry) = followed.get_mut(&order.pod_uid) else { return false };
        entry.outbox.put(order, entry.changes, Instant::now());
        entry.outbox.wake.notify_one();
        if !std::mem::replace(&mut entry.outbox.is_served, true) {
            let courier = Courier {
                agents: self.clone(),
                target: entry.target.clone(),
                trigger: entry.trigger.clone(),
                wake: entry.outbox.wake.clone(),
                kept: None,
            };
            let stop = entry.stop.child_token();
            tokio::spawn(async move { stop.run_until_cancelled(courier.run()).await });
        }
        true
    }

    /// The order that was handed over last for a pod, and what has come of it.
    pub(crate) fn dispatched(&self, uid: &str, now: Instant) -> Option<Dispatched> {
        let followed = self.followed();
        let entry = followed.get(uid)?;
        entry.outbox.observe(entry.word.live(), entry.changes, now)
    }
}

/// Delivers the orders of one pod.
struct Courier {
    agents: Agents,
    target: Target,
    trigger: Trigger,
    wake: Arc<Notify>,
    kept: Option<Connection>,
}

impl Courier {
    async fn run(mut self) {
        loop {
            if self.with(|outbox| outbox.queued().is_some()) == Some(true) {
                self.deliver().await;
                continue;
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = closed(&mut self.kept) => self.kept = None,
                () = sleep(KEPT) => if self.leave() { return },
            }
        }
    }

    async fn deliver(&mut self) {
        let reused = self.kept.is_some();
        let mut connection = match self.kept.take() {
            Some(kept) => kept,
            None => match Connection::open(&self.agents, &self.target).await {
                Ok(connection) => connection,
                Err(error) => return self.note_unsent(&error),
            },
        };
        // At the last moment: what is newer by now goes instead.
        if let Some(order) = self.take() {
            let answer = connection.order(&order, ANSWER).await;
            let broke = matches!(answer, Err(AgentError::Http(_)));
            if broke && reused {
                // It may have been closed just then. Whoever gets an order twice answers and changes nothing.
                return self.put_back(&order);
            }
            let broken = answer.is_err();
            self.note_answer(&order, answer);
            if broken {
                return;
            }
        }
        self.kept = Some(connection).filter(Connection::is_open);
    }

    /// The order to be sent now. One of another record is dropped.
    fn take(&self) -> Option<Order> {
        let mut followed = self.agents.followed();
        let entry = followed.get_mut(&self.target.uid)?;
        let given = entry.outbox.queued()?;
        let order = given.dispatched.order.clone();
        let decided_by = Fence { epoch: order.epoch, revision: order.revision };
        if self.agents.terms().get(&self.target.cluster) != Some(&decided_by) {
            debug!(cluster = %self.target.cluster, pod = self.target.pod, ?decided_by, "an order is outdated");
            entry.outbox.newest = None;
            return None;
        }
        given.changes = entry.changes;
        given.becomes(Dispatch::Sent, Instant::now());
        Some(order)
    }

    fn put_back(&self, order: &Order) {
        self.with(|outbox| {
            if let Some(given) = outbox.sent(order) {
                given.becomes(Dispatch::Queued, Instant::now());
            }
        });
    }

    fn note_answer(&self, order: &Order, answer: Result<Answer, AgentError>) {
        let (cluster, pod, action) = (&self.target.cluster, &self.target.pod, order.action.kind());
        let state = match answer {
            Ok(Answer::Accepted) => Dispatch::Accepted,
            Ok(Answer::Refused { reason, message }) => Dispatch::Refused { reason, why: message },
            Err(error) => self.failed(&error),
        };
        info!(%cluster, pod, action, revision = order.revision, ?state, "order");
        if let Dispatch::Refused { reason: Refusal::WrongDirectory | Refusal::Unknown, why } = &state {
            Metrics::count(&self.agents.0.metrics.errors, "Refused");
            warn!(%cluster, pod, action, why, "an order was refused");
        }
        self.with(|outbox| {
            if let Some(given) = outbox.sent(order) {
                given.becomes(state, Instant::now());
            }
        });
        self.trigger.pull(cluster);
    }

    /// There is no connection by which the order that waits could be sent.
    fn note_unsent(&self, error: &AgentError) {
        let state = self.failed(error);
        self.with(|outbox| {
            if let Some(given) = outbox.queued() {
                given.becomes(state, Instant::now());
            }
        });
        self.trigger.pull(&self.target.cluster);
    }

    fn failed(&self, error: &AgentError) -> Dispatch {
        Metrics::count(&self.agents.0.metrics.errors, error.kind());
        warn!(cluster = %self.target.cluster, pod = self.target.pod, %error, "an order was not answered");
        Dispatch::Failed { why: error.to_string() }
    }

    /// Whether nobody wants anything: then the next order has another deliver it.
    fn leave(&self) -> bool {
        self.with(|outbox| {
            let idle = outbox.queued().is_none();
            outbox.is_served = !idle;
            idle
        })
        .unwrap_or(true)
    }

    fn with<T>(&self, what: impl FnOnce(&mut Outbox) -> T) -> Option<T> {
        Some(what(&mut self.agents.followed().get_mut(&self.target.uid)?.outbox))
    }
}

async fn closed(kept: &mut Option<Connection>) {
    match kept {
        Some(connection) => connection.closed().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use mainstay_proto::{Action, History};

    use super::*;

    fn order(revision: u64) -> Order {
        Order {
            proto: 1,
            cluster_id: "id".into(),
            pod_uid: "u".into(),
            ordinal: 0,
            epoch: 1,
            revision,
            action: Action::StandDown,
            disabled_events: None,
        }
    }

    fn clone(operation: u64) -> Order {
        let donor = mainstay_proto::Endpoint { host: "h".into(), port: 1 };
        let action = Action::Clone {
            operation: operation.to_string(),
            donor,
            max_mib_per_second: None,
            history: History::default(),
        };
        Order { action, ..order(1) }
    }

    /// Gives `order`, to which the agent says this.
    fn given(outbox: &mut Outbox, order: &Order, changes: u64, answer: Dispatch, now: Instant) {
        outbox.put(order, changes, now);
        outbox.queued().unwrap().becomes(Dispatch::Sent, now);
        outbox.sent(order).unwrap().becomes(answer, now);
    }

    fn holds(outbox: &Outbox, order: &Order, changes: u64, now: Instant) -> bool {
        outbox.observe(None, changes, now).unwrap().holds_back(order)
    }

    #[test]
    fn an_accepted_order_is_not_repeated_before_its_agent_has_reported() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        given(&mut outbox, &order(1), 5, Dispatch::Accepted, now);
        assert!(holds(&outbox, &order(1), 5, now));
        assert!(!holds(&outbox, &order(1), 6, now), "the agent has reported");
        assert!(!holds(&outbox, &order(2), 5, now), "another order");
        assert!(!holds(&outbox, &order(1), 5, now + REPORT_DELAY), "no report in time");
    }

    #[test]
    fn an_order_that_is_carried_out_in_vain_is_repeated_ever_more_slowly() {
        let (mut outbox, mut now) = (Outbox::default(), Instant::now());
        let mut waits = Vec::new();
        for changes in 0..8 {
            given(&mut outbox, &clone(changes), changes, Dispatch::Accepted, now);
            let rests = outbox.observe(None, changes + 1, now).unwrap().rests;
            waits.push(rests.as_secs());
            now += Duration::try_from(rests).unwrap();
        }
        assert_eq!(waits, [0, 2, 4, 8, 16, 32, 60, 60]);
        given(&mut outbox, &order(2), 9, Dispatch::Accepted, now);
        assert!(!holds(&outbox, &order(2), 10, now), "another order starts over");
    }

    #[test]
    fn what_was_refused_or_not_answered_is_given_again_after_a_while_or_once_the_agent_says_more() {
        let busy = Dispatch::Refused { reason: Refusal::Busy, why: "it clones".into() };
        let silent = Dispatch::Failed { why: "silent".into() };
        for (answer, trouble) in [(busy, None), (silent, Some("silent"))] {
            let (mut outbox, now) = (Outbox::default(), Instant::now());
            given(&mut outbox, &order(1), 5, answer, now);
            assert!(holds(&outbox, &order(1), 5, now));
            assert!(!holds(&outbox, &order(1), 6, now));
            assert!(!holds(&outbox, &order(1), 5, now + RETRY));
            assert_eq!(outbox.observe(None, 5, now).unwrap().trouble(), trouble);
            outbox.put(&order(1), 5, now + RETRY);
            let again = outbox.observe(None, 5, now + RETRY).unwrap();
            assert_eq!(
                (&again.state, again.trouble()),
                (&Dispatch::Queued, trouble),
                "what went wrong stays said"
            );
        }
    }

    #[test]
    fn an_order_that_was_not_sent_makes_way_for_a_newer_one() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.put(&order(1), 5, now);
        outbox.put(&order(2), 5, now);
        assert_eq!(outbox.queued().unwrap().dispatched.order, order(2));
        outbox.queued().unwrap().becomes(Dispatch::Sent, now);
        outbox.put(&order(3), 5, now);
        assert!(outbox.sent(&order(2)).is_none(), "its answer is of no interest");
        assert!(outbox.queued().is_some());
    }
}
