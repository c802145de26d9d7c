//! What asks for a change of the primary.

use mainstay_crd::SwitchoverReason;
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::{ANNOTATION_SWITCHOVER_TO, SWITCHOVER_TO_ANY};

use crate::facts::Facts;
use crate::plan::eligible::{best, on_drained_node, refusal};
use crate::plan::{Decision, record, switchover};

/// What asks for a switchover, if anything does.
pub(in crate::plan) fn decide(facts: &Facts<'_>) -> Option<Decision> {
    let primary = facts.primary().filter(|&p| facts.leads(p))?;
    requested(facts, primary).or_else(|| unasked(facts, primary))
}

/// A replica to which the primary hands over before its pod is replaced; `None` if there is nobody to wait for.
/// `Some(Err)` says why not yet.
pub(in crate::plan) fn before_replacing(facts: &Facts<'_>) -> Option<Decision> {
    let others = (0..facts.wanted()).any(|i| Some(i) != facts.primary());
    if !others {
        return None;
    }
    if let Some(paused) = paused(facts) {
        return Some(paused);
    }
    match best(facts) {
        Some(target) => switchover::announce(facts, target, SwitchoverReason::Rolling, None),
        None => {
            let mut each = (0..facts.wanted()).filter(|&i| Some(i) != facts.primary());
            let why = each.find_map(|i| Some(format!(": {}: {}", facts.names.pod(i), refusal(facts, i)?)));
            let message = "the primary's pod is replaced once a replica can take over".to_owned();
            Some(Decision::Wait(Reason::SwitchoverWaiting, message + &why.unwrap_or_default()))
        }
    }
}

/// After one that was given up.
fn paused(facts: &Facts<'_>) -> Option<Decision> {
    let last = facts.record.switchover()?.given_up.as_ref().filter(|_| !switchover::rested(facts))?;
    Some(Decision::Wait(
        Reason::SwitchoverGivenUp,
        format!("the last switchover was given up: {last}. Another is tried later"),
    ))
}

/// What a person asks for with the annotation: each value is answered once.
fn requested(facts: &Facts<'_>, primary: u32) -> Option<Decision> {
    let asked = facts.observation.cluster.annotations.get(ANNOTATION_SWITCHOVER_TO);
    let answered = facts.record.answered_request();
    let asked = match (asked, answered) {
        (None, None) => return None,
        (None, Some(_)) => return Some(answer(facts, None, Reason::Idle, "a request was withdrawn".into())),
        (Some(asked), Some(answered)) if asked == answered => return None,
        (Some(asked), _) => asked,
    };
    if asked == SWITCHOVER_TO_ANY {
        return Some(match best(facts) {
            Some(target) => begin_requested(facts, target, asked)?,
            None => waits(format!("a switchover to {asked} was asked for; no replica can take over now")),
        });
    }
    let target = facts.names.ordinal_of_pod(asked).filter(|&i| i < facts.wanted());
    let Some(target) = target else {
        let message =
            format!("no switchover to {asked}: it is not the name of a pod that spec.replicas asks for");
        return Some(answer(facts, Some(asked), Reason::SwitchoverRefused, message));
    };
    if target == primary {
        let message = format!("no switchover to {asked}: it leads already");
        return Some(answer(facts, Some(asked), Reason::SwitchoverRefused, message));
    }
    if let Some(diverged) = facts.diverged(target) {
        let message = format!("no switchover to {asked}: {}", diverged.what(facts, target));
        return Some(answer(facts, Some(asked), Reason::SwitchoverRefused, message));
    }
    Some(match refusal(facts, target) {
        None => begin_requested(facts, target, asked)?,
        Some(why) => waits(format!("a switchover to {asked} was asked for, but {why}")),
    })
}

fn waits(message: String) -> Decision {
    Decision::Wait(Reason::SwitchoverWaiting, message)
}

fn begin_requested(facts: &Facts<'_>, target: u32, asked: &str) -> Option<Decision> {
    switchover::announce(facts, target, SwitchoverReason::Requested, Some(asked.into()))
}

/// Writes down that a request was answered.
fn answer(facts: &Facts<'_>, asked: Option<&str>, reason: Reason, message: String) -> Decision {
    record(facts, facts.record.answer(asked), reason, message)
}

/// The primary's pod is ending, its ordinal is to go, or its node is being drained.
fn unasked(facts: &Facts<'_>, primary: u32) -> Option<Decision> {
    let reason = if ending(facts, primary) {
        SwitchoverReason::PodEnding
    } else if primary >= facts.wanted() {
        SwitchoverReason::ScalingDown
    } else if on_drained_node(facts, primary) {
        SwitchoverReason::NodeDrain
    } else {
        return None;
    };
    let rests = || match reason {
        // It ends anyway: that another was given up before is no reason to let clients wait, unless it was for this.
        SwitchoverReason::PodEnding => {
            let last = facts.record.switchover();
            last.filter(|last| last.reason == reason).and_then(|_| paused(facts))
        }
        _ => paused(facts),
    };
    match best(facts) {
        Some(target) => rests().or_else(|| switchover::announce(facts, target, reason, None)),
        None if reason == SwitchoverReason::ScalingDown => Some(waits(format!(
            "{} leads, but spec.replicas no longer asks for it: it stays until a replica can take over",
            facts.names.pod(primary)
        ))),
        // A drain that nobody can answer is the budget's to hold up, and a pod that ends does not wait.
        None => None,
    }
}

/// The instance was told to end: its pod is being deleted, or its agent says so before that is known here.
fn ending(facts: &Facts<'_>, ordinal: u32) -> bool {
    let deleting = facts.instance(ordinal).and_then(|i| i.pod.as_ref()).is_some_and(|pod| pod.deleting);
    deleting || facts.live(ordinal).is_some_and(|report| report.ending)
}
