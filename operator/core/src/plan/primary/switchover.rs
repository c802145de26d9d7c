//! A planned change of the primary. It loses nothing, whatever the replication: the old primary is read-only and
//! its right to lead taken back before its set is read, and nobody is promoted who lacks any of it.
//!
//! The path, each state of it observable: *announced* (`target` in the record) → the old primary *stands*, read-only and
//! without its grant → the candidate holds all that it held → *outcome* (the candidate is `primary` in a new epoch, from
//! where it is ordered to lead and the others to follow it; once it leads, both labels change). Until the outcome it can be
//! given up at any point: the record without `target`, and the old primary is ordered to lead again.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mainstay_crd::SwitchoverReason;
use mainstay_crd::conditions::Reason;
use mainstay_proto::{Action, Report, TaskState};

use crate::facts::{Facts, Seen, gtids};
use crate::plan::eligible::cannot_take_over;
use crate::plan::{Decision, order, record, send};
use crate::{Step, moments};

/// From the announcement to a candidate that holds everything. Nobody can write meanwhile.
pub(in crate::plan) const BOUND: SignedDuration = SignedDuration::from_secs(30);
/// After one that was given up, the operator begins none by itself for this long.
pub(in crate::plan) const PAUSE: SignedDuration = SignedDuration::from_mins(5);

/// The next step of the switchover that the record announces.
pub(in crate::plan) fn under_way(facts: &Facts<'_>, from: Option<u32>, target: u32) -> Decision {
    let Some(from) = from.filter(|&p| p != target) else {
        return give_up(facts, "the record names no other instance as primary".into());
    };
    if let Some(why) = cannot_take_over(facts, target) {
        return give_up(facts, format!("{} can't take over: {why}", facts.names.pod(target)));
    }
    let stands = stands(facts, from);
    let recorded = facts.record.switchover().and_then(|s| s.final_gtid_set.as_deref());
    match stands.as_deref().or(recorded) {
        Some(set) => catch_up(facts, from, target, set, recorded.is_none()),
        None if late(facts) => {
            give_up(facts, format!("{} did not become read-only in time", facts.names.pod(from)))
        }
        None => stand_down(facts, from, target),
    }
}

/// Announces that `target` is to lead.
pub(in crate::plan) fn announce(
    facts: &Facts<'_>,
    target: u32,
    reason: SwitchoverReason,
    answered: Option<String>,
) -> Option<Decision> {
    let from = facts.names.pod(facts.primary()?);
    let why = match reason {
        SwitchoverReason::Requested => "a person asked for it",
        SwitchoverReason::ScalingDown => "spec.replicas no longer asks for its instance",
        SwitchoverReason::Rolling => "its pod is to be replaced, because the spec has changed",
        SwitchoverReason::NodeDrain => "its node takes no new pods",
        SwitchoverReason::PodEnding => "its pod is ending",
    };
    let next = facts.record.hand_over(target, reason, Time(facts.observation.now), answered);
    let message = format!("{from} hands over to {}: {why}", facts.names.pod(target));
    Some(record(facts, next, Reason::SwitchingOver, message))
}

/// Whether the operator may begin one by itself: not soon after one that was given up.
pub(in crate::plan) fn rested(facts: &Facts<'_>) -> bool {
    let Some(last) = facts.record.switchover().filter(|last| last.given_up.is_some()) else {
        return true;
    };
    moments::ended(last).is_none_or(|ended| facts.seen_for(&ended) >= PAUSE)
}

/// When [`rested`] will be true.
pub(in crate::plan) fn rested_in(facts: &Facts<'_>) -> Option<SignedDuration> {
    let last = facts.record.switchover().filter(|last| last.given_up.is_some())?;
    Some(PAUSE - facts.seen_for(&moments::ended(last)?)).filter(|left| left.is_positive())
}

/// What is said while one is under way.
pub(in crate::plan) fn telling(facts: &Facts<'_>) -> Option<(Reason, String)> {
    let (from, target) = (facts.primary()?, facts.target()?);
    let message = format!("{} is handing over to {}", facts.names.pod(from), facts.names.pod(target));
    Some((Reason::SwitchingOver, message))
}

/// How long the switchover that the record announces has been under way, as far as this operator saw.
pub(in crate::plan) fn lasts(facts: &Facts<'_>) -> Option<SignedDuration> {
    facts.record.switchover().map(|switchover| facts.seen_for(&moments::announced(switchover)))
}

fn late(facts: &Facts<'_>) -> bool {
    lasts(facts).is_none_or(|time| time >= BOUND)
}

/// The set that the old primary held, as it reported after it was read-only for good: its agent has carried out
/// this record's order to stand down. While `SET GLOBAL super_read_only` still waits for writes, the variable
/// reads 1 already; only the order's outcome tells.
fn stands(facts: &Facts<'_>, from: u32) -> Option<String> {
    let report = facts.live(from)?;
    let state = report.serving()?;
    let done = under_this_record(facts, report, Action::StandDown) == Some(&TaskState::Done);
    let withdrawn = report.marker()?.grant.is_none();
    (done && withdrawn && state.super_read_only).then(|| state.gtid_executed.clone())
}

fn stand_down(facts: &Facts<'_>, from: u32, target: u32) -> Decision {
    let waiting = |why: &str| {
        let message =
            format!("{} is handing over to {}: {why}", facts.names.pod(from), facts.names.pod(target));
        Decision::Wait(Reason::SwitchingOver, message)
    };
    let Some(report) = facts.live(from) else { return waiting("its agent has not reported") };
    if report.serving().is_none() {
        return waiting("its server is not up");
    }
    if under_this_record(facts, report, Action::StandDown) == Some(&TaskState::Running) {
        return waiting("it is becoming read-only");
    }
    send(facts, report, Action::StandDown, format!("it hands over to {}", facts.names.pod(target)))
}

/// The old primary stands; `final_gtid_set` is all that it has.
fn catch_up(facts: &Facts<'_>, from: u32, target: u32, final_gtid_set: &str, keep: bool) -> Decision {
    let (Some(all), Some(has)) = (gtids(final_gtid_set), facts.executed(target)) else {
        return if late(facts) {
            give_up(facts, format!("what {} holds can't be read", facts.names.pod(target)))
        } else {
            Decision::Wait(Reason::SwitchingOver, format!("{} has not reported", facts.names.pod(target)))
        };
    };
    // What it has received it would execute when it leads.
    let errant = facts.received_or_executed(target).unwrap_or(has).subtract(&all);
    if !errant.is_empty() {
        let (target, from) = (facts.names.pod(target), facts.names.pod(from));
        return give_up(facts, format!("{target} holds transactions that {from} does not have ({errant})"));
    }
    if has.contains(&all) {
        return outcome(facts, from, target);
    }
    if late(facts) {
        return give_up(facts, format!("{} did not catch up in time", facts.names.pod(target)));
    }
    if keep {
        return write_down(facts, from, final_gtid_set);
    }
    refresh(facts, target)
}

/// Should the old primary die from now on, it is known what must not be missing.
fn write_down(facts: &Facts<'_>, from: u32, final_gtid_set: &str) -> Decision {
    let next = facts.record.stands(final_gtid_set.to_owned());
    record(facts, next, Reason::SwitchingOver, format!("{} is read-only", facts.names.pod(from)))
}

/// The candidate's sets come with its next heartbeat only: it is asked for them.
fn refresh(facts: &Facts<'_>, target: u32) -> Decision {
    let (reason, message) =
        (Reason::SwitchingOver, format!("{} is catching up, to take over", facts.names.pod(target)));
    match facts.live(target) {
        Some(report) => Decision::Do(Step::AskReport {
            ordinal: target,
            pod_uid: report.identity.pod_uid.clone(),
            reason,
            message,
        }),
        None => Decision::Wait(reason, message),
    }
}

/// How this order under this very record stands.
fn under_this_record<'r>(facts: &Facts<'_>, report: &'r Report, action: Action) -> Option<&'r TaskState> {
    let order = order(facts, report, action);
    let task = report.task.as_ref().filter(|task| task.is_of(&order) && facts.record.counts(task.term))?;
    Some(&task.state)
}

fn outcome(facts: &Facts<'_>, from: u32, target: u32) -> Decision {
    let next = facts.record.promote(target, Time(facts.observation.now));
    let message =
        format!("{} holds all that {} held and is to lead", facts.names.pod(target), facts.names.pod(from));
    record(facts, next, Reason::SwitchedOver, message)
}

fn give_up(facts: &Facts<'_>, why: String) -> Decision {
    let next = facts.record.give_up(why.clone(), Time(facts.observation.now));
    let stays = facts.primary().map(|p| format!("; {} leads again", facts.names.pod(p))).unwrap_or_default();
    record(facts, next, Reason::SwitchoverGivenUp, format!("{why}{stays}"))
}
