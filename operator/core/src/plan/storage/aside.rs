//! Data that can't be used any more is set aside, not destroyed: its volume is kept under a claim of another name, and
//! its instance gets a new one and is cloned anew.
//!
//! A StatefulSet's ordinal always mounts `data-NAME-i`, and claims can't be renamed; what is kept is the volume. The
//! path, each state of it observable: announced in the record → the volume is `Retain` and says what it is → the claim
//! is deleted, and the pod that holds it → the volume is reserved for the new claim → that claim is made → outcome.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::{
    ANNOTATION_ASIDE_OF, ANNOTATION_FORMER_POLICY, ANNOTATION_GTID_SET, ANNOTATION_KEPT_SINCE, LABEL_CLUSTER,
};
use mainstay_crd::{Aside, OperationKind};

use crate::facts::{Divergence, Facts, Seen};
use crate::plan::leaving::gtids_on_claim;
use crate::plan::storage::labels;
use crate::plan::{Decision, record};
use crate::{ClaimStep, Operation, PodStep, Step, Unneeded, Volume, VolumeStep, guards};

const RETAIN: &str = "Retain";

/// The announced operation on an ordinal.
pub(in crate::plan) fn operation<'v>(facts: &'v Facts<'_>, ordinal: u32) -> Option<&'v Operation> {
    let aside = |o: &&Operation| o.kind == OperationKind::SetAside && o.ordinal == ordinal;
    facts.record.operations().iter().find(aside)
}

/// The instance's volume, if it may be set aside: it holds nothing that a person did not agree to lose from view.
/// Errant transactions of an instance that was not scaled down are for a person to judge.
pub(in crate::plan) fn allowed<'v>(
    facts: &Facts<'v>,
    ordinal: u32,
    divergence: &Divergence,
) -> Result<&'v Volume, &'static str> {
    let claim = facts.instance(ordinal).and_then(|i| i.claim.as_ref()).ok_or("it has no claim")?;
    if matches!(divergence, Divergence::Errant(_)) && gtids_on_claim(claim).is_none() {
        return Err("it was not scaled down");
    }
    if *divergence == Divergence::History {
        history_allows(facts, ordinal)?;
    }
    if !facts.observation.surroundings.known {
        return Err(
            "the operator may not read volumes, or what tells about them, and so can't keep this one aside",
        );
    }
    let volume = claim.volume.as_ref().and_then(|name| facts.observation.surroundings.volumes.get(name));
    let volume = volume.ok_or("its volume is not known")?;
    let bound = volume.claim_uid.as_ref() == Some(&claim.uid) && !claim.deleting && !claim.uid.is_empty();
    bound.then_some(volume).ok_or("its volume is not bound to its claim")
}

/// What can't be compared was once a copy of what the primary has, as far as is known: it was well in the primary's
/// history before it was reset itself, or the primary was reset since. Of one that led when it was reset, only a person can
/// say so.
fn history_allows(facts: &Facts<'_>, ordinal: u32) -> Result<(), &'static str> {
    let primary = facts.primary().filter(|&p| p != ordinal && facts.leads(p)).ok_or("nobody leads")?;
    if facts.serving(ordinal).is_none_or(|state| state.history.is_none()) {
        return Err("its agent is older and does not tell such things: a new pod does");
    }
    let (own, leads) = (facts.history(ordinal), facts.history(primary));
    let followed = facts.history_left(ordinal) == leads;
    (own.resets < leads.resets || followed).then_some(()).ok_or("it may hold rows that no other has")
}

/// Another's volume is being set aside, or it is being cloned: one after the other, so that not all are away at once.
fn another(facts: &Facts<'_>, ordinal: u32) -> bool {
    let kinds = [OperationKind::SetAside, OperationKind::Clone];
    let others = || facts.ordinals().filter(|&i| i != ordinal && Some(i) != facts.primary());
    let announced =
        |o: &Operation| kinds.contains(&o.kind) && o.failures < 2 && others().any(|i| i == o.ordinal);
    // Between the two, its next pod is on its way.
    let starts = |i: u32| match facts.instance(i).and_then(|instance| instance.pod.as_ref()) {
        Some(pod) => !pod.started && pod.trouble.is_none() && pod.warning.is_none(),
        None => facts.observation.pods_refused.is_none(),
    };
    facts.record.operations().iter().any(announced) || others().any(starts)
}

/// Announces that an instance's volume is set aside.
pub(in crate::plan) fn announce(
    facts: &Facts<'_>,
    ordinal: u32,
    divergence: &Divergence,
) -> Option<Decision> {
    let volume = allowed(facts, ordinal, divergence).ok().filter(|_| !another(facts, ordinal))?;
    facts.live(ordinal).filter(|report| !report.busy())?;
    let aside = Aside {
        claim_uid: volume.claim_uid.clone()?,
        volume: volume.name.clone(),
        claim: free_name(facts, ordinal)?,
        gtid_set: facts.received_or_executed(ordinal)?.to_string(),
        since: Time(facts.observation.now),
    };
    let message =
        format!("{}: {}, as {}", facts.names.pod(ordinal), divergence.says(facts, ordinal), aside.claim);
    let operation = Operation::new(facts.observation.fresh_id.clone(), OperationKind::SetAside, ordinal);
    let next = facts.record.announce_instead(Operation { aside: Some(aside), ..operation });
    Some(record(facts, next, Reason::SettingAside, message))
}

/// It was taken from an instance, also if nobody knows that any more: the record went with its object. Only what another
/// led past is set aside, and nothing is written to it after.
pub(in crate::plan) fn was_taken(facts: &Facts<'_>, volume: &Volume) -> bool {
    let reserved =
        volume.claim.as_ref().is_some_and(|(_, claim)| facts.names.ordinal_of_aside_claim(claim).is_some());
    let of = volume.annotations.get(ANNOTATION_ASIDE_OF);
    reserved || (of.is_some() && of == volume.claim_uid.as_ref())
}

/// The first name that neither a claim has nor a volume is reserved for.
fn free_name(facts: &Facts<'_>, ordinal: u32) -> Option<String> {
    let volumes = &facts.observation.surroundings.volumes;
    let reserved = |name: &str| volumes.values().any(|v| v.claim.as_ref().is_some_and(|(_, of)| of == name));
    let names = (0..u32::MAX).map(|n| facts.names.aside_claim(ordinal, n));
    let mut free = names.filter(|name| !facts.observation.aside.contains_key(name) && !reserved(name));
    free.next()
}

/// The next step of what is announced.
pub(in crate::plan) fn decide(facts: &Facts<'_>) -> Option<Decision> {
    let operation = facts.record.announced(OperationKind::SetAside)?;
    let Some(aside) = &operation.aside else { return end(facts, operation, "nothing is named".into()) };
    let ordinal = operation.ordinal;
    let waits = || {
        let (reason, message) = telling(aside);
        Some(Decision::Wait(reason, message))
    };
    if !facts.observation.surroundings.known {
        return waits();
    }
    let Some(volume) = facts.observation.surroundings.volumes.get(&aside.volume) else {
        return end(facts, operation, format!("volume {} is gone", aside.volume));
    };
    if facts.observation.aside.contains_key(&aside.claim) {
        let message = format!("volume {} is kept as claim {}", aside.volume, aside.claim);
        return end(facts, operation, message);
    }
    let cluster_id = facts.cluster_id?.to_owned();
    let told = volume.annotations.get(ANNOTATION_GTID_SET) == Some(&aside.gtid_set);
    if volume.reclaim_policy.as_deref() != Some(RETAIN) || !told {
        return Some(step_on(volume, aside, keep(facts, ordinal, &cluster_id, aside, volume)));
    }
    if let Some(decision) = release(facts, ordinal, aside) {
        return Some(decision);
    }
    let reserved = volume.claim.as_ref().is_some_and(|(_, name)| *name == aside.claim);
    if !reserved && volume.claim_uid.as_ref() != Some(&aside.claim_uid) {
        return end(facts, operation, format!("volume {} has become another's", aside.volume));
    }
    let step = if reserved {
        VolumeStep::ClaimAside {
            aside: aside.clone(),
            ordinal,
            cluster_id,
            class: volume.class.clone(),
            capacity: volume.capacity.unwrap_or(1),
            access_modes: volume.access_modes.clone(),
        }
    } else {
        VolumeStep::Reserve { claim_uid: Some(aside.claim_uid.clone()), claim: aside.claim.clone() }
    };
    Some(step_on(volume, aside, step))
}

fn step_on(volume: &Volume, aside: &Aside, step: VolumeStep) -> Decision {
    let (reason, message) = telling(aside);
    let (volume, uid) = (volume.name.clone(), volume.uid.clone());
    Decision::Do(Step::Volume { volume, uid, step, reason, message })
}

/// Sets it to `Retain` and says on it what it is.
fn keep(facts: &Facts<'_>, ordinal: u32, cluster_id: &str, aside: &Aside, volume: &Volume) -> VolumeStep {
    let mut labels = labels::of(cluster_id, ordinal);
    labels.insert(LABEL_CLUSTER.into(), facts.observation.cluster.name.clone());
    let former = volume.reclaim_policy.clone().filter(|policy| policy != RETAIN);
    let annotations = [
        (ANNOTATION_ASIDE_OF, Some(aside.claim_uid.clone())),
        (ANNOTATION_GTID_SET, Some(aside.gtid_set.clone())),
        (ANNOTATION_KEPT_SINCE, Some(aside.since.0.to_string())),
        (ANNOTATION_FORMER_POLICY, former),
    ];
    let annotations = annotations.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    VolumeStep::Keep { claim_uid: aside.claim_uid.clone(), labels, annotations: annotations.collect() }
}

/// The claim goes, and then the pod that still holds it. `None`: it is gone.
fn release(facts: &Facts<'_>, ordinal: u32, aside: &Aside) -> Option<Decision> {
    let instance = facts.instance(ordinal)?;
    let claim = instance.claim.as_ref().filter(|claim| claim.uid == aside.claim_uid)?;
    let (reason, message) = telling(aside);
    if !claim.deleting {
        let unneeded = Unneeded::VolumeKept { volume: aside.volume.clone() };
        let step = ClaimStep::Delete { unneeded, resource_version: None };
        let (claim, uid) = (claim.name.clone(), claim.uid.clone());
        return Some(Decision::Do(Step::Claim { claim, uid, step, reason, message }));
    }
    match &instance.pod {
        Some(pod) if !pod.deleting && guards::may_take(facts, ordinal).is_ok() => {
            let (uid, step) = (pod.uid.clone(), PodStep::Replace);
            Some(Decision::Do(Step::Pod { pod: facts.names.pod(ordinal), uid, step, message }))
        }
        _ => Some(Decision::Wait(reason, message)),
    }
}

/// In words that are the same from the announcement to the end.
pub(in crate::plan) fn telling(aside: &Aside) -> (Reason, String) {
    let message = format!("volume {} is being set aside as {}", aside.volume, aside.claim);
    (Reason::SettingAside, message)
}

fn end(facts: &Facts<'_>, operation: &Operation, message: String) -> Option<Decision> {
    let (next, _) = facts.record.end(|o| o.id == operation.id)?;
    Some(record(facts, next, Reason::SettingAside, message))
}
