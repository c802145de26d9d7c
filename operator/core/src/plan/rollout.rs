//! Pods that were made from an older template.
//!
//! I11: no repair waits for all to be Ready, so a pod that does not serve is replaced at once; one that serves only
//! when everything else does, replicas first.

use std::cmp::Reverse;

use mainstay_crd::conditions::Reason;
use mainstay_proto::{Stage, TaskState};

use super::view::{Seen, View};
use super::{Decision, Step, candidates, guards};
use crate::Pod;

/// A pod that does not serve and would be made differently now.
pub(super) fn replace_broken(view: &View<'_>, hash: &str) -> Option<Decision> {
    view.ordinals().find_map(|ordinal| {
        let pod = outdated(view, view.instance(ordinal)?.pod.as_ref()?, hash)?;
        let cloning = view.live(ordinal).is_some_and(|r| r.stage != Stage::Serve && r.busy());
        let serves = view.ready(ordinal) || (pod.ready && view.live(ordinal).is_none());
        let may = guards::may_renew(view, ordinal).is_ok();
        (!serves && !cloning && may && !joining(view, ordinal))
            .then(|| replace(view, ordinal, pod, "it does not serve and the spec has changed"))
    })
}

/// Its server is up and only waits for a role: the primary's, or whom to follow once there is a primary. That may
/// not be its template's fault, and replacing it would make clients wait.
fn joining(view: &View<'_>, ordinal: u32) -> bool {
    let Some(report) = view.live(ordinal).filter(|report| report.serving().is_some()) else { return false };
    let failed = report.task.as_ref().is_some_and(|task| matches!(task.state, TaskState::Failed { .. }));
    let led = view.primary().is_some_and(|primary| primary != ordinal && view.leads(primary));
    view.primary().is_some() && !failed && !led
}

/// The next of the pods that serve, once all of them do. The primary hands over before it is replaced.
pub(super) fn roll(view: &View<'_>, hash: &str) -> Option<Decision> {
    let mut stale: Vec<(u32, &Pod)> = view
        .ordinals()
        .filter_map(|i| Some((i, outdated(view, view.instance(i)?.pod.as_ref()?, hash)?)))
        .collect();
    stale.sort_by_key(|&(i, _)| (Some(i) == view.primary(), Reverse(i)));
    let awaits_a_person = |i: u32| view.quarantined(i) && Some(i) != view.primary();
    let &(ordinal, pod) = stale.iter().find(|&&(i, _)| !awaits_a_person(i))?;
    // The kubelet must have seen it too: until then, no Service leads to it.
    let served = |i: u32| view.instance(i).and_then(|i| i.pod.as_ref()).is_some_and(|pod| pod.ready);
    // One whose data may not be used comes back only by a person's hand: the others do not wait for that.
    let awaited = |i: &u32| !view.quarantined(*i) && (!view.ready(*i) || !served(*i));
    if let Some(missing) = view.ordinals().find(awaited) {
        let message =
            format!("{} is replaced once {} serves", view.names.pod(ordinal), view.names.pod(missing));
        return Some(Decision::Wait(Reason::Rolling, message));
    }
    let first = (Some(ordinal) == view.primary()).then(|| candidates::before_replacing(view)).flatten();
    if let (None, Err(why)) = (&first, guards::may_renew(view, ordinal)) {
        return Some(Decision::Wait(Reason::ClaimTerminating, why));
    }
    Some(first.unwrap_or_else(|| replace(view, ordinal, pod, "the spec has changed")))
}

/// A pod that would be made differently now. What the spec says is not enough: the API server may have refused it, and
/// the StatefulSet would make the same pod again, for ever.
fn outdated<'a>(view: &View<'_>, pod: &'a Pod, hash: &str) -> Option<&'a Pod> {
    let held = view.o.stateful_set.as_ref().and_then(|set| set.template_hash.as_deref());
    let other = pod.template_hash.as_deref().is_some_and(|of_pod| of_pod != hash);
    (other && held == Some(hash) && !pod.deleting).then_some(pod)
}

fn replace(view: &View<'_>, ordinal: u32, pod: &Pod, why: &str) -> Decision {
    let name = view.names.pod(ordinal);
    Decision::Do(Step::ReplacePod { message: format!("{name}: {why}"), pod: name, uid: pod.uid.clone() })
}
