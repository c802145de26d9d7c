//! Orders that were given, and of which nothing has come yet.

use jiff::SignedDuration;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_proto::{Order, Refusal};

use super::divergence::state;
use super::well::well;
use crate::{Dispatch, Dispatched, Observation, Plan, Step, plan};

/// Both replicas are to be told to follow.
fn both_stopped() -> Observation {
    let mut o = well();
    for ordinal in [1, 2] {
        state(&mut o, ordinal).channel.as_mut().unwrap().applier_running = false;
    }
    o
}

fn ordered(o: &Observation) -> Option<Order> {
    match plan(o).step {
        Some(Step::Order { order, .. }) => Some(order),
        None => None,
        other => panic!("{other:?}"),
    }
}

fn give(o: &mut Observation, order: &Order, state: Dispatch, rests: i64) {
    let (order, rests) = (order.clone(), SignedDuration::from_secs(rests));
    let instance = o.instances.get_mut(&order.ordinal).unwrap();
    instance.dispatched = Some(Dispatched { order, state, rests, failed_before: None });
}

fn progressing(plan: &Plan) -> (Option<bool>, Reason, String) {
    let told = plan.conditions.iter().find(|c| c.type_ == ConditionType::Progressing).unwrap();
    (told.status, told.reason, told.message.clone())
}

#[test]
fn an_order_on_its_way_is_given_once_and_keeps_no_other_back() {
    for on_its_way in [Dispatch::Queued, Dispatch::Sent] {
        let mut o = both_stopped();
        let first = ordered(&o).unwrap();
        let said = progressing(&plan(&o));
        give(&mut o, &first, on_its_way.clone(), 0);
        let second = ordered(&o).unwrap();
        assert_ne!(first.ordinal, second.ordinal);
        give(&mut o, &second, on_its_way, 0);
        assert_eq!(ordered(&o), None);
        assert_eq!(progressing(&plan(&o)), said, "the words stay the same");
    }
}

#[test]
fn another_order_takes_the_place_of_one_that_was_not_sent() {
    let mut o = both_stopped();
    let order = ordered(&o).unwrap();
    let stale = Order { revision: order.revision - 1, ..order.clone() };
    give(&mut o, &stale, Dispatch::Queued, 0);
    assert_eq!(ordered(&o), Some(order));
}

#[test]
fn an_order_that_failed_rests_and_is_told_meanwhile() {
    let silent = Dispatch::Failed { why: "the agent was silent for 5 s".into() };
    let busy = Dispatch::Refused { reason: Refusal::Busy, why: "Clone is being carried out".into() };
    for (state, told) in [(silent, true), (busy, false), (Dispatch::Accepted, false)] {
        let mut o = both_stopped();
        let first = ordered(&o).unwrap();
        give(&mut o, &first, state.clone(), 1);
        let second = ordered(&o).unwrap();
        assert_ne!(first.ordinal, second.ordinal, "{state:?}");
        give(&mut o, &second, Dispatch::Accepted, 1);
        let (progresses, reason, message) = progressing(&plan(&o));
        assert_eq!((progresses, reason == Reason::OrderFailed), (Some(!told), told), "{message}");
        assert_eq!(message.contains("to Follow: the agent was silent"), told, "{message}");
        give(&mut o, &first, state, 0);
        assert_eq!(ordered(&o), Some(first), "it is given again");
    }
}
