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

use super::candidates::cannot_take_over;
use super::{Decision, order, record, send};
use crate::facts::{Facts, Seen, gtids};
use crate::{Step, moments};

/// From the announcement to a candidate that holds everything. Nobody can write meanwhile.
pub(super) const BOUND: SignedDuration = SignedDuration::from_secs(30);
/// After one that was given up, the operator begins none by itself for this long.
pub(super) const PAUSE: SignedDuration = SignedDuration::from_mins(5);

/// The next step of the switchover that the record announces.
pub(super) fn under_way(view: &Facts<'_>, from: Option<u32>, target: u32) -> Decision {
    let Some(from) = from.filter(|&p| p != target) else {
        return give_up(view, "the record names no other instance as primary".into());
    };
    if let Some(why) = cannot_take_over(view, target) {
        return give_up(view, format!("{} can't take over: {why}", view.names.pod(target)));
    }
    let stands = stands(view, from);
    let recorded = view.record.switchover().and_then(|s| s.final_gtid_set.as_deref());
    match stands.as_deref().or(recorded) {
        Some(set) => catch_up(view, from, target, set, recorded.is_none()),
        None if late(view) => {
            give_up(view, format!("{} did not become read-only in time", view.names.pod(from)))
        }
        None => stand_down(view, from, target),
    }
}

/// Announces that `target` is to lead.
pub(super) fn announce(
    view: &Facts<'_>,
    target: u32,
    reason: SwitchoverReason,
    answered: Option<String>,
) -> Option<Decision> {
    let from = view.names.pod(view.primary()?);
    let why = match reason {
        SwitchoverReason::Requested => "a person asked for it",
        SwitchoverReason::ScalingDown => "spec.replicas no longer asks for its instance",
        SwitchoverReason::Rolling => "its pod is to be replaced, because the spec has changed",
        SwitchoverReason::NodeDrain => "its node takes no new pods",
        SwitchoverReason::PodEnding => "its pod is ending",
    };
    let next = view.record.hand_over(target, reason, Time(view.observation.now), answered);
    let message = format!("{from} hands over to {}: {why}", view.names.pod(target));
    Some(record(view, next, Reason::SwitchingOver, message))
}

/// Whether the operator may begin one by itself: not soon after one that was given up.
pub(super) fn rested(view: &Facts<'_>) -> bool {
    let Some(last) = view.record.switchover().filter(|last| last.given_up.is_some()) else {
        return true;
    };
    moments::ended(last).is_none_or(|ended| view.seen_for(&ended) >= PAUSE)
}

/// When [`rested`] will be true.
pub(super) fn rested_in(view: &Facts<'_>) -> Option<SignedDuration> {
    let last = view.record.switchover().filter(|last| last.given_up.is_some())?;
    Some(PAUSE - view.seen_for(&moments::ended(last)?)).filter(|left| left.is_positive())
}

/// What is said while one is under way.
pub(super) fn telling(view: &Facts<'_>) -> Option<(Reason, String)> {
    let (from, target) = (view.primary()?, view.target()?);
    let message = format!("{} is handing over to {}", view.names.pod(from), view.names.pod(target));
    Some((Reason::SwitchingOver, message))
}

/// How long the switchover that the record announces has been under way, as far as this operator saw.
pub(super) fn lasts(view: &Facts<'_>) -> Option<SignedDuration> {
    view.record.switchover().map(|switchover| view.seen_for(&moments::announced(switchover)))
}

fn late(view: &Facts<'_>) -> bool {
    lasts(view).is_none_or(|time| time >= BOUND)
}

/// The set that the old primary held, as it reported after it was read-only for good: its agent has carried out
/// this record's order to stand down. While `SET GLOBAL super_read_only` still waits for writes, the variable
/// reads 1 already; only the order's outcome tells.
fn stands(view: &Facts<'_>, from: u32) -> Option<String> {
    let report = view.live(from)?;
    let state = report.serving()?;
    let done = under_this_record(view, report, Action::StandDown) == Some(&TaskState::Done);
    let withdrawn = report.marker()?.grant.is_none();
    (done && withdrawn && state.super_read_only).then(|| state.gtid_executed.clone())
}

fn stand_down(view: &Facts<'_>, from: u32, target: u32) -> Decision {
    let waiting = |why: &str| {
        let message =
            format!("{} is handing over to {}: {why}", view.names.pod(from), view.names.pod(target));
        Decision::Wait(Reason::SwitchingOver, message)
    };
    let Some(report) = view.live(from) else { return waiting("its agent has not reported") };
    if report.serving().is_none() {
        return waiting("its server is not up");
    }
    if under_this_record(view, report, Action::StandDown) == Some(&TaskState::Running) {
        return waiting("it is becoming read-only");
    }
    send(view, report, Action::StandDown, format!("it hands over to {}", view.names.pod(target)))
}

/// The old primary stands; `final_gtid_set` is all that it has.
fn catch_up(view: &Facts<'_>, from: u32, target: u32, final_gtid_set: &str, keep: bool) -> Decision {
    let (Some(all), Some(has)) = (gtids(final_gtid_set), view.executed(target)) else {
        return if late(view) {
            give_up(view, format!("what {} holds can't be read", view.names.pod(target)))
        } else {
            Decision::Wait(Reason::SwitchingOver, format!("{} has not reported", view.names.pod(target)))
        };
    };
    // What it has received it would execute when it leads.
    let errant = view.received_or_executed(target).unwrap_or(has).subtract(&all);
    if !errant.is_empty() {
        let (target, from) = (view.names.pod(target), view.names.pod(from));
        return give_up(view, format!("{target} holds transactions that {from} does not have ({errant})"));
    }
    if has.contains(&all) {
        return outcome(view, from, target);
    }
    if late(view) {
        return give_up(view, format!("{} did not catch up in time", view.names.pod(target)));
    }
    if keep {
        return write_down(view, from, final_gtid_set);
    }
    refresh(view, target)
}

/// Should the old primary die from now on, it is known what must not be missing.
fn write_down(view: &Facts<'_>, from: u32, final_gtid_set: &str) -> Decision {
    let next = view.record.stands(final_gtid_set.to_owned());
    record(view, next, Reason::SwitchingOver, format!("{} is read-only", view.names.pod(from)))
}

/// The candidate's sets come with its next heartbeat only: it is asked for them.
fn refresh(view: &Facts<'_>, target: u32) -> Decision {
    let (reason, message) =
        (Reason::SwitchingOver, format!("{} is catching up, to take over", view.names.pod(target)));
    match view.live(target) {
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
fn under_this_record<'r>(view: &Facts<'_>, report: &'r Report, action: Action) -> Option<&'r TaskState> {
    let order = order(view, report, action);
    let task = report.task.as_ref().filter(|task| task.is_of(&order) && view.record.counts(task.fence))?;
    Some(&task.state)
}

fn outcome(view: &Facts<'_>, from: u32, target: u32) -> Decision {
    let next = view.record.promote(target, Time(view.observation.now));
    let message =
        format!("{} holds all that {} held and is to lead", view.names.pod(target), view.names.pod(from));
    record(view, next, Reason::SwitchedOver, message)
}

fn give_up(view: &Facts<'_>, why: String) -> Decision {
    let next = view.record.give_up(why.clone(), Time(view.observation.now));
    let stays = view.primary().map(|p| format!("; {} leads again", view.names.pod(p))).unwrap_or_default();
    record(view, next, Reason::SwitchoverGivenUp, format!("{why}{stays}"))
}
