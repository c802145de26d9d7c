//! Pods that were made from an older template.
//!
//! I11: no repair waits for all to be Ready, so a pod that can't serve is replaced at once; one that serves only when
//! everything else does, replicas first. A pod that does not serve this instant is not a broken pod: its server may be
//! back in a second, as it was.

use mainstay_crd::conditions::Reason;

use crate::facts::Facts;
use crate::plan::canary::{by_weight, is_broken, not_serving, usable};
use crate::plan::template::Templates;
use crate::plan::{Decision, bootstrap, candidates};
use crate::{Pod, PodStep, Step, guards};

/// A pod that can't serve and would be made differently now; the primary's last.
pub(in crate::plan) fn replace_broken(facts: &Facts<'_>) -> Option<Decision> {
    let templates = &Templates::of(facts, facts.template_hash());
    by_weight(facts).into_iter().find_map(|ordinal| {
        let pod = outdated(facts, templates, ordinal)?;
        (is_broken(facts, ordinal, pod) && guards::may_renew(facts, ordinal).is_ok())
            .then(|| replace(facts, ordinal, pod, "it does not serve and the spec has changed"))
    })
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
