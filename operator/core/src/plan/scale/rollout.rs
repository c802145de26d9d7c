//! Pods that were made from an older template.
//!
//! I11: no repair waits for all to be Ready, so a pod that can't serve is replaced at once; one that serves only when
//! everything else does, replicas first. A pod that does not serve this instant is not a broken pod: its server may be
//! back in a second, as it was.

use std::cmp::Reverse;

use jiff::SignedDuration;
use mainstay_crd::OperationKind;
use mainstay_crd::conditions::Reason;
use mainstay_proto::{Stage, TaskState};

use crate::facts::{Facts, Seen};
use crate::plan::template::Templates;
use crate::plan::{Decision, bootstrap, candidates};
use crate::{Pod, PodStep, Step, guards, moments};

/// A server that was up in its pod and has not come back for this long is not only restarting. mysqld's restart with its
/// recovery takes seconds.
const AWAY: SignedDuration = SignedDuration::from_secs(60);

/// Copies that fail in a row before others no longer wait for their instance: the second is from another donor.
const FAILED_COPIES: u32 = 2;

/// A pod that can't serve and would be made differently now; the primary's last.
pub(in crate::plan) fn replace_broken(facts: &Facts<'_>) -> Option<Decision> {
    let templates = &Templates::of(facts, facts.template_hash());
    by_weight(facts).into_iter().find_map(|ordinal| {
        let pod = outdated(facts, templates, ordinal)?;
        (is_broken(facts, ordinal, pod) && guards::may_renew(facts, ordinal).is_ok())
            .then(|| replace(facts, ordinal, pod, "it does not serve and the spec has changed"))
    })
}

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
fn by_weight(facts: &Facts<'_>) -> Vec<u32> {
    let mut ordinals: Vec<u32> = facts.ordinals().collect();
    ordinals.sort_by_key(|&i| (Some(i) == facts.primary(), Reverse(i)));
    ordinals
}

/// The same without those whose data may not be used: they do not serve whatever they are made of.
fn usable(facts: &Facts<'_>) -> Vec<u32> {
    let ordinals = by_weight(facts).into_iter();
    ordinals.filter(|&i| !facts.quarantined(i) || Some(i) == facts.primary()).collect()
}

fn is_broken(facts: &Facts<'_>, ordinal: u32, pod: &Pod) -> bool {
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
fn not_serving(facts: &Facts<'_>) -> Option<u32> {
    let served = |i: u32| facts.instance(i).and_then(|i| i.pod.as_ref()).is_some_and(|pod| pod.ready);
    // One whose data may not be used comes back only by a person's hand: the others do not wait for that. Nor for one that
    // no node takes: it may be they that keep it out, by an anti-affinity that the change takes back.
    let awaited = |i: u32| {
        !facts.quarantined(i) && !waits_for_a_copy(facts, i) && !bootstrap::was_never_anywhere(facts, i)
    };
    facts.ordinals().find(|&i| awaited(i) && (!facts.ready(i) || !served(i)))
}

/// The next of the pods that serve, once all of them do. The primary hands over before it is replaced.
pub(in crate::plan) fn roll(facts: &Facts<'_>) -> Option<Decision> {
    let templates = &Templates::of(facts, facts.template_hash());
    if templates.given_up {
        return Some(given_up(facts, templates));
    }
    let ordinals = usable(facts);
    let next = ordinals.iter().find(|&&i| outdated(facts, templates, i).is_some());
    let older =
        |i: u32| facts.instance(i)?.pod.as_ref()?.template_hash.as_deref().map(|h| h != templates.wanted);
    // While the change is tried, those that are to follow wait as they are.
    let &ordinal =
        next.or_else(|| ordinals.iter().find(|&&i| templates.untried() && older(i) == Some(true)))?;
    let name = facts.names.pod(ordinal);
    if let Some(missing) = not_serving(facts) {
        let message = format!("{name} is replaced once {} serves", facts.names.pod(missing));
        return Some(Decision::Wait(Reason::Rolling, message));
    }
    let Some(pod) = outdated(facts, templates, ordinal) else {
        // It is not even tried on a pod that must stay.
        if let Err(why) = guards::may_renew(facts, ordinal)
            && Some(ordinal) == facts.primary()
            && ordinals.len() == 1
        {
            return Some(Decision::Wait(Reason::ClaimTerminating, why));
        }
        return Some(Decision::Wait(Reason::Rolling, format!("{name} is to take up the change of the spec")));
    };
    let first = (Some(ordinal) == facts.primary()).then(|| candidates::before_replacing(facts)).flatten();
    if let (None, Err(why)) = (&first, guards::may_renew(facts, ordinal)) {
        return Some(Decision::Wait(Reason::ClaimTerminating, why));
    }
    Some(first.unwrap_or_else(|| replace(facts, ordinal, pod, "the spec has changed")))
}

fn given_up(facts: &Facts<'_>, templates: &Templates<'_>) -> Decision {
    let canary = templates.canary.map(|canary| facts.names.pod(canary)).unwrap_or_default();
    let message = format!(
        "the change is not carried out: its first pod {canary} could not be made, so that the pods are made as they were \
         before. What is in the way is in the events of StatefulSet {} (kubectl describe statefulset {} -n {}). Change the \
         spec to have it tried again; if it is right, and that is mended, change an annotation in spec.podMetadata",
        facts.names.base(),
        facts.names.base(),
        facts.observation.cluster.namespace
    );
    Decision::Blocked(Reason::InvalidSpec, message)
}

/// A pod that would be made differently now. What the spec says is not enough: the API server may have refused it, and
/// the StatefulSet would make the same pod again, for ever.
fn outdated<'v>(facts: &Facts<'v>, templates: &Templates<'_>, ordinal: u32) -> Option<&'v Pod> {
    let pod = facts.instance(ordinal)?.pod.as_ref().filter(|pod| !pod.deleting)?;
    let wanted = templates.of_pod(ordinal);
    let held = facts.observation.stateful_set.as_ref().and_then(|set| set.template_hash.as_deref());
    let other = pod.template_hash.as_deref().is_some_and(|of_pod| of_pod != wanted);
    // It was the first of the change and no node took it: it is not put back, and waits for the others to change.
    let ahead = is_of(pod, templates.wanted) && bootstrap::was_never_anywhere(facts, ordinal);
    (other && !ahead && held == Some(wanted)).then_some(pod)
}

fn is_of(pod: &Pod, hash: &str) -> bool {
    pod.template_hash.as_deref() == Some(hash)
}

fn replace(facts: &Facts<'_>, ordinal: u32, pod: &Pod, why: &str) -> Decision {
    let name = facts.names.pod(ordinal);
    let (message, uid) = (format!("{name}: {why}"), pod.uid.clone());
    Decision::Do(Step::Pod { pod: name, uid, step: PodStep::Replace, message })
}
