//! What came back differently neither serves nor leads (invariant I9), nor does what the primary never had.

use mainstay_proto::Action;

use crate::facts::{Divergence, Facts, Seen};
use crate::plan::primary;
use crate::plan::{Decision, send};
use crate::state::Broken;

/// Orders every instance to stand down that leads or replicates with data that is not what left, or that holds
/// transactions which the primary never had, or such that can't be compared with the primary's.
pub(in crate::plan) fn decide(facts: &Facts<'_>, why: Option<&Broken<'_>>) -> Option<Decision> {
    let orders = facts.observation.instances.keys().find_map(|&ordinal| stand_down(facts, ordinal));
    orders.or_else(|| blocked(facts, why))
}

fn stand_down(facts: &Facts<'_>, ordinal: u32) -> Option<Decision> {
    let why = why(facts, ordinal)?;
    let report = facts.live(ordinal)?;
    let (marker, state) = (report.marker()?, report.serving()?);
    let receives = state.channel.as_ref().is_some_and(|channel| channel.receiver_running);
    let acts = receives || state.awaits_operator || !state.super_read_only || marker.grant.is_some();
    acts.then(|| send(facts, report, Action::StandDown, why))
}

/// Why an instance may not use its data. Standing down takes its grant back on the volume: no restart resumes it, and
/// only an order to follow or to lead ends that.
fn why(facts: &Facts<'_>, ordinal: u32) -> Option<String> {
    if let Some(verdict) = facts.quarantine_verdict(ordinal) {
        return Some(verdict.message.clone());
    }
    // What only lacks something receives nothing wrong.
    let wrong = |diverged: &&Divergence| !matches!(diverged, Divergence::Purged(_));
    let diverged = facts.diverged(ordinal).filter(wrong)?;
    Some(format!("{}: {}", facts.names.pod(ordinal), diverged.says(facts, ordinal)))
}

/// The record's primary came back with other data: nobody leads before a person has decided.
fn blocked(facts: &Facts<'_>, why: Option<&Broken<'_>>) -> Option<Decision> {
    let broken = why.filter(|broken| matches!(broken, Broken::Distrusted(_)))?;
    Some(primary::blocked(facts, facts.primary()?, broken))
}
