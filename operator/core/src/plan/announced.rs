//! What the record announces goes on, whatever the spec says by now: who hands over has given up writing already, and
//! who leads by the record must be able to lead again after a restart. `spec.paused` and an invalid spec stop only what
//! would begin.

use super::view::View;
use super::{Decision, nodes, primary, quarantine, replicas, switchover};

/// Before everything else: nobody can write until a switchover ends, and what was on a node that is proven gone comes
/// back only once its pod is gone.
pub(super) fn under_way(view: &View<'_>) -> Option<Decision> {
    nodes::force(view).or_else(|| hand_over(view))
}

/// A switchover that the record announces.
fn hand_over(view: &View<'_>) -> Option<Decision> {
    view.target()?;
    primary::record_is_current(view).or_else(|| switchover::under_way(view))
}

/// The roles that the record gives, while `held` keeps back all else. An initialisation or a copy that was ordered is
/// carried on by its agent; one that was only announced waits, as does a volume that is to be set aside: no client waits
/// for any of them.
pub(super) fn roles(view: &View<'_>, held: Decision) -> Decision {
    if view.primary().is_none() || primary::record_is_current(view).is_some() {
        return held;
    }
    let decisions = [quarantine::decide(view), primary::decide(view), replicas::turn(view)];
    let mut decisions = decisions.into_iter().flatten();
    decisions.find(|d| matches!(d, Decision::Do(_))).unwrap_or(held)
}
