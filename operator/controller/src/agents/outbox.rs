//! What is to be said to one pod's agent, and what has come of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use mainstay_core::{Dispatch, Dispatched};
use mainstay_proto::{Order, Report, TaskState};
use tokio::sync::Notify;
use tokio::time::Instant as Moment;

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
    pub(super) newest: Option<Given>,
    /// A report is to be asked for, not before this.
    pub(super) question: Option<Moment>,
    /// When one may be asked for again.
    pub(super) again: Option<Moment>,
    pub(super) wake: Arc<Notify>,
    /// Somebody delivers.
    pub(super) is_served: bool,
}

/// An order that was handed over.
pub(super) struct Given {
    pub(super) dispatched: Dispatched,
    /// When it came to its present state.
    at: Instant,
    /// Changes that the agent had reported when it was sent.
    pub(super) changes: u64,
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

    pub(super) fn becomes(&mut self, state: Dispatch, now: Instant) {
        (self.dispatched.state, self.at) = (state, now);
    }
}

/// What is to be done next for a pod.
pub(super) enum Due {
    Order,
    Question,
    /// Nothing, until then if something waits.
    Nothing(Option<Moment>),
}

impl Outbox {
    /// A newer order says more than an answer to an older question.
    pub(super) fn due(&mut self, now: Moment) -> Due {
        if self.queued().is_some() {
            return Due::Order;
        }
        match self.question {
            Some(at) if at <= now => Due::Question,
            later => Due::Nothing(later),
        }
    }

    /// Puts `order` in the place of one that was handed over before, unless it is that very one.
    pub(super) fn put(&mut self, order: &Order, changes: u64, now: Instant) {
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

    pub(super) fn queued(&mut self) -> Option<&mut Given> {
        self.newest.as_mut().filter(|given| given.dispatched.state == Dispatch::Queued)
    }

    /// The order, if nothing newer has taken its place.
    pub(super) fn sent(&mut self, order: &Order) -> Option<&mut Given> {
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

#[cfg(test)]
mod tests {
    use mainstay_proto::{Action, History, Refusal};

    use super::*;

    fn order(revision: u64) -> Order {
        Order {
            proto: 1,
            id: revision.to_string(),
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
        Order { id: operation.to_string(), action, ..order(1) }
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
