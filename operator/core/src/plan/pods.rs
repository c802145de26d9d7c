//! How many pods there are to be.

use super::leaving;
use crate::facts::Facts;
use crate::guards;

/// Number of pods: what the spec asks for, but never without the primary, nor without what may be the last copy.
pub(super) fn replicas(view: &Facts<'_>) -> u32 {
    let asked = view.asked();
    let staying = view.leaving().rev().find(|&i| leaving::must_stay(view, i));
    // Also while nobody is known to lead.
    let last_copy = view.observation.instances.range(asked..).rev().find(|&(&i, instance)| {
        instance.pod.as_ref().is_some_and(|pod| !pod.deleting) && guards::may_take(view, i).is_err()
    });
    let staying = staying.max(last_copy.map(|(&i, _)| i));
    staying.map_or(asked, |i| i + 1)
}
