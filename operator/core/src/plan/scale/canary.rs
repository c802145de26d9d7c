//! Which pod is the first that a template is tried on, and which can't serve whatever is done.

use std::cmp::Reverse;

use jiff::SignedDuration;
use mainstay_crd::OperationKind;
use mainstay_proto::{Stage, TaskState};

use crate::facts::{Facts, Seen};
use crate::plan::bootstrap;
use crate::{Pod, guards, moments};

/// A server that was up in its pod and has not come back for this long is not only restarting. mysqld's restart with its
/// recovery takes seconds.
const AWAY: SignedDuration = SignedDuration::from_secs(60);

/// Copies that fail in a row before others no longer wait for their instance: the second is from another donor.
const FAILED_COPIES: u32 = 2;

/// The pod that is to be the first of a template that was not tried yet: one that can't serve, or else, once all serve,
/// the next that is rolled. Never a primary that has replicas and can serve, or only comes back as it was.
pub(in crate::plan) fn first(facts: &Facts<'_>, wanted: &str) -> Option<u32> {
    let older = |ordinal: u32| {
        let pod = facts.instance(ordinal)?.pod.as_ref().filter(|pod| !pod.deleting)?;
        let other = pod.template_hash.as_deref().is_some_and(|hash| hash != wanted);
        (other && guards::may_renew(facts, ordinal).is_ok()).then_some(pod)
    };
    let mut ordinals = usable(facts);
    // It could not serve whatever it is made of, and would hold up what may mend it.
    if ordinals.iter().any(|&i| !waits_for_a_copy(facts, i)) {
        ordinals.retain(|&i| !waits_for_a_copy(facts, i));
    }
    let spared = |i: u32| facts.ordinals().len() > 1 && Some(i) == facts.primary();
    let broken = |i: u32| {
        let hopeless = |pod: &Pod| pod.trouble.is_some() || is_away(facts, i);
        older(i).is_some_and(|pod| is_broken(facts, i, pod) && (!spared(i) || hopeless(pod)))
    };
    let broken = ordinals.iter().find(|&&i| broken(i));
    let next = ordinals.iter().find(|&&i| older(i).is_some() && !spared(i));
    broken.or(next.filter(|_| not_serving(facts).is_none())).copied()
}

/// Replicas first, from the highest ordinal.
pub(in crate::plan) fn by_weight(facts: &Facts<'_>) -> Vec<u32> {
    let mut ordinals: Vec<u32> = facts.ordinals().collect();
    ordinals.sort_by_key(|&i| (Some(i) == facts.primary(), Reverse(i)));
    ordinals
}

/// The same without those whose data may not be used: they do not serve whatever they are made of.
pub(in crate::plan) fn usable(facts: &Facts<'_>) -> Vec<u32> {
    let ordinals = by_weight(facts).into_iter();
    ordinals.filter(|&i| !facts.quarantined(i) || Some(i) == facts.primary()).collect()
}

pub(in crate::plan) fn is_broken(facts: &Facts<'_>, ordinal: u32, pod: &Pod) -> bool {
    let cloning = facts.live(ordinal).is_some_and(|r| r.stage != Stage::Serve && r.busy());
    let serves = facts.ready(ordinal) || (pod.ready && facts.live(ordinal).is_none());
    if serves || cloning || joining(facts, ordinal) {
        return false;
    }
    let came_up = facts.verdict(ordinal).is_some_and(|v| v.pod_uid == pod.uid && v.started_at.is_some());
    let idle = facts.quarantined(ordinal) && Some(ordinal) != facts.primary();
    pod.trouble.is_some() || failed(facts, ordinal) || !came_up || idle || is_away(facts, ordinal)
}

fn is_away(facts: &Facts<'_>, ordinal: u32) -> bool {
    facts.seen_for(&moments::not_ready(&facts.names.pod(ordinal))) >= AWAY
}

fn failed(facts: &Facts<'_>, ordinal: u32) -> bool {
    let task = facts.live(ordinal).and_then(|report| report.task.as_ref());
    task.is_some_and(|task| matches!(task.state, TaskState::Failed { .. }))
}

/// Its server is up and only waits for a role: the primary's, or whom to follow once there is a primary. That may
/// not be its template's fault, and replacing it would make clients wait.
fn joining(facts: &Facts<'_>, ordinal: u32) -> bool {
    if facts.live(ordinal).is_none_or(|report| report.serving().is_none()) {
        return false;
    }
    let led = facts.primary().is_some_and(|primary| primary != ordinal && facts.leads(primary));
    facts.primary().is_some() && !failed(facts, ordinal) && !led
}

/// It holds nothing, and copies for it fail again and again. That may be the fault of what it or its donor is made of: an
/// empty instance of a newer server can't be cloned from an older one, nor with options that CLONE refuses. So it waits for
/// the others, and not they for it.
fn waits_for_a_copy(facts: &Facts<'_>, ordinal: u32) -> bool {
    let vacant = facts.live(ordinal).is_some_and(|report| report.vacant() && !report.busy());
    let mut operations = facts.record.operations().iter();
    let failed = operations
        .any(|o| o.kind == OperationKind::Clone && o.ordinal == ordinal && o.failures >= FAILED_COPIES);
    vacant && failed
}

/// The first that does not serve. The kubelet must have seen it too: until then, no Service leads to it.
pub(in crate::plan) fn not_serving(facts: &Facts<'_>) -> Option<u32> {
    let served = |i: u32| facts.instance(i).and_then(|i| i.pod.as_ref()).is_some_and(|pod| pod.ready);
    // One whose data may not be used comes back only by a person's hand: the others do not wait for that. Nor for one that
    // no node takes: it may be they that keep it out, by an anti-affinity that the change takes back.
    let awaited = |i: u32| {
        !facts.quarantined(i) && !waits_for_a_copy(facts, i) && !bootstrap::was_never_anywhere(facts, i)
    };
    facts.ordinals().find(|&i| awaited(i) && (!facts.ready(i) || !served(i)))
}
