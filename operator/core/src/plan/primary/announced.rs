//! What the record announces goes on, whatever the spec says by now: who hands over has given up writing already, and
//! who leads by the record must be able to lead again after a restart. `spec.paused` and an invalid spec stop only what
//! would begin.

use crate::facts::Facts;
use crate::plan::{Decision, primary, quarantine, replicas};
use crate::state::ClusterState;

/// The roles that the record gives, while `held` keeps back all else. An initialisation or a copy that was ordered is
/// carried on by its agent; one that was only announced waits, as does a volume that is to be set aside: no client waits
/// for any of them.
pub(in crate::plan) fn roles(facts: &Facts<'_>, state: &ClusterState<'_>, held: Decision) -> Decision {
    let (primary, why) = match state {
        ClusterState::Led { primary } => (*primary, None),
        ClusterState::Leaderless { primary, why } => (*primary, why.as_ref()),
        _ => return held,
    };
    let decisions =
        [quarantine::decide(facts, why), primary::decide(facts, primary, why), replicas::turn(facts)];
    let mut decisions = decisions.into_iter().flatten();
    decisions.find(|d| matches!(d, Decision::Do(_))).unwrap_or(held)
}
