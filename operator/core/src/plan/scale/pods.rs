//! How many pods there are to be.

use crate::facts::Facts;
use crate::guards;
use crate::plan::leaving;

/// Number of pods: what the spec asks for, but never without the primary, nor without what may be the last copy.
pub(in crate::plan) fn replicas(facts: &Facts<'_>) -> u32 {
    let asked = facts.asked();
    let staying = facts.leaving().rev().find(|&i| leaving::must_stay(facts, i));
    // Also while nobody is known to lead.
    let last_copy = facts.observation.instances.range(asked..).rev().find(|&(&i, instance)| {
        instance.pod.as_ref().is_some_and(|pod| !pod.deleting) && guards::may_take(facts, i).is_err()
    });
    let staying = staying.max(last_copy.map(|(&i, _)| i));
    staying.map_or(asked, |i| i + 1)
}
