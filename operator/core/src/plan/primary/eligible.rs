//! Who could take over.

use crate::Agent;
use crate::facts::{Facts, Seen};

/// A replica further behind than this, in seconds, would keep clients waiting for too long.
const NEAR: u64 = 10;

/// A replica that could lead now: near, not about to end, whose data goes with the primary's, and not on a node
/// that is being drained. Of several, the one that the others can follow, and that lacks least.
pub(in crate::plan) fn best(facts: &Facts<'_>) -> Option<u32> {
    let could = (0..facts.wanted()).filter(|&i| refusal(facts, i).is_none() && !on_drained_node(facts, i));
    could.min_by_key(|&i| (cut_off(facts, i), missing(facts, i), i))
}

/// Replicas that could not follow this one, because it no longer has the binary logs of what they lack.
fn cut_off(facts: &Facts<'_>, ordinal: u32) -> usize {
    let Some(purged) = facts.purged(ordinal) else { return 0 };
    let lacks = |i: u32| facts.executed(i).is_some_and(|own| !own.contains(purged));
    (0..facts.wanted()).filter(|&i| i != ordinal && Some(i) != facts.primary() && lacks(i)).count()
}

/// Why an instance that is to take over no longer can. An agent that has not been heard of yet is no reason.
pub(in crate::plan) fn cannot_take_over(facts: &Facts<'_>, ordinal: u32) -> Option<String> {
    let instance = facts.instance(ordinal);
    let Some(pod) = instance.and_then(|i| i.pod.as_ref()) else { return Some("it has no pod".into()) };
    if pod.deleting {
        return Some("its pod is ending".into());
    }
    if let Some(claim) = claim_that_goes(facts, ordinal) {
        return Some(claim);
    }
    if let Some(trouble) = &pod.trouble {
        return Some(trouble.clone());
    }
    if let Some(verdict) = facts.quarantine_verdict(ordinal) {
        return Some(verdict.message.clone());
    }
    if let Some(diverged) = facts.diverged(ordinal) {
        return Some(diverged.what(facts, ordinal));
    }
    match &instance?.agent {
        Agent::Unheard => None,
        Agent::Broken { error, .. } => Some(format!("its agent can't be reached: {error}")),
        Agent::Live { report, .. } => match report.serving() {
            None => Some("its server is not up".into()),
            Some(state) => match &state.channel {
                None => Some("it does not replicate".into()),
                Some(channel) if !channel.applier_running => {
                    Some(channel.applier_error.clone().unwrap_or_else(|| "its applier does not run".into()))
                }
                Some(_) => None,
            },
        },
    }
}

/// Why an instance can't be begun with.
pub(in crate::plan) fn refusal(facts: &Facts<'_>, ordinal: u32) -> Option<String> {
    if Some(ordinal) == facts.primary() {
        return Some("it leads already".into());
    }
    if let Some(diverged) = facts.diverged(ordinal) {
        return Some(diverged.what(facts, ordinal));
    }
    if let Some(claim) = claim_that_goes(facts, ordinal) {
        return Some(claim);
    }
    if facts.live(ordinal).is_some_and(|report| report.vacant()) {
        return Some("it holds no data yet".into());
    }
    if !facts.ready(ordinal) {
        return Some("it does not follow the primary in time".into());
    }
    if let Some(suspected) = facts.suspected(ordinal) {
        return Some(format!("it holds transactions that the primary has not reported yet ({suspected})"));
    }
    let lag = facts.serving(ordinal)?.channel.as_ref()?.lag_seconds;
    if lag.is_none_or(|lag| lag > NEAR) {
        return Some(format!("it is more than {NEAR} s behind"));
    }
    let gap = facts.gap(ordinal)?;
    Some(format!("the primary no longer keeps the binary logs of {gap}, which it lacks by its last report"))
}

/// It would lead only until its pod ends, and its data is not in its next one.
fn claim_that_goes(facts: &Facts<'_>, ordinal: u32) -> Option<String> {
    let claim = facts.instance(ordinal)?.claim.as_ref().filter(|claim| claim.deleting)?;
    Some(format!("its claim {} is being deleted", claim.name))
}

fn missing(facts: &Facts<'_>, ordinal: u32) -> u64 {
    let sets = facts.primary().and_then(|p| facts.executed(p)).zip(facts.executed(ordinal));
    sets.map_or(u64::MAX, |(leader, own)| leader.subtract(own).count())
}

pub(in crate::plan) fn on_drained_node(facts: &Facts<'_>, ordinal: u32) -> bool {
    let node = facts.instance(ordinal).and_then(|i| i.pod.as_ref()?.node.as_ref());
    node.and_then(|name| facts.observation.surroundings.nodes.get(name))
        .is_some_and(|node| node.cordoned || node.draining.is_some())
}
