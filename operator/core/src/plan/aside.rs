//! Data that can't be used any more is set aside, not destroyed: its volume is kept under a claim of another name, and
//! its instance gets a new one and is cloned anew.
//!
//! A StatefulSet's ordinal always mounts `data-NAME-i`, and claims can't be renamed; what is kept is the volume. The
//! path, each state of it observable: announced in the record → the volume is `Retain` and says what it is → the claim
//! is deleted, and the pod that holds it → the volume is reserved for the new claim → that claim is made → outcome.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::ANNOTATION_GTID_SET;
use mainstay_crd::{Aside, Operation, OperationKind, ReplicationRecord};

use super::divergence::{self, Divergence};
use super::leaving::noted;
use super::view::{Seen, View};
use super::{Decision, Step, guards, record};
use crate::Volume;

/// The announced operation on an ordinal.
pub(super) fn operation<'v>(view: &'v View<'_>, ordinal: u32) -> Option<&'v Operation> {
    let aside = |o: &&Operation| o.kind == OperationKind::SetAside && o.ordinal.unsigned_abs() == ordinal;
    view.record.operations.iter().find(aside)
}

/// The instance's volume, if it may be set aside: it holds nothing that a person did not agree to lose from view.
/// Errant transactions of an instance that was not scaled down are for a person to judge.
pub(super) fn allowed<'v>(
    view: &View<'v>,
    ordinal: u32,
    divergence: &Divergence,
) -> Result<&'v Volume, &'static str> {
    let claim = view.instance(ordinal).and_then(|i| i.claim.as_ref()).ok_or("it has no claim")?;
    if matches!(divergence, Divergence::Errant(_)) && noted(claim).is_none() {
        return Err("it was not scaled down");
    }
    if !view.o.surroundings.known {
        return Err("the operator may not read volumes, and so can't keep this one aside");
    }
    let volume = claim.volume.as_ref().and_then(|name| view.o.surroundings.volumes.get(name));
    let volume = volume.ok_or("its volume is not known")?;
    let bound = volume.claim_uid.as_ref() == Some(&claim.uid) && !claim.deleting && !claim.uid.is_empty();
    bound.then_some(volume).ok_or("its volume is not bound to its claim")
}

/// Announces that an instance's volume is set aside.
pub(super) fn announce(view: &View<'_>, ordinal: u32, divergence: &Divergence) -> Option<Decision> {
    let volume = allowed(view, ordinal, divergence).ok()?;
    let report = view.live(ordinal).filter(|report| !report.busy())?;
    let state = report.serving()?;
    let revision = view.record.revision + 1;
    let aside = Aside {
        claim_uid: volume.claim_uid.clone()?,
        volume: volume.name.clone(),
        claim: free_name(view, ordinal)?,
        gtid_set: divergence::held(state)?.to_string(),
        since: Time(view.o.now),
    };
    let message =
        format!("{}: {}, as {}", view.names.pod(ordinal), divergence.says(view, ordinal), aside.claim);
    let mut operations: Vec<Operation> = view.record.operations.clone();
    operations.retain(|o| o.ordinal.unsigned_abs() != ordinal);
    operations.push(Operation {
        id: view.o.fresh_id.clone(),
        kind: OperationKind::SetAside,
        ordinal: i32::try_from(ordinal).ok()?,
        donor: None,
        revision,
        failures: 0,
        not_before: None,
        aside: Some(aside),
        claim_uid: None,
    });
    let next = ReplicationRecord { revision, operations, ..view.record.clone() };
    Some(record(view, next, Reason::SettingAside, message))
}

/// The first name that neither a claim has nor a volume is reserved for.
fn free_name(view: &View<'_>, ordinal: u32) -> Option<String> {
    let volumes = &view.o.surroundings.volumes;
    let reserved = |name: &str| volumes.values().any(|v| v.claim.as_ref().is_some_and(|(_, of)| of == name));
    let names = (0..u32::MAX).map(|n| view.names.aside_claim(ordinal, n));
    let mut free = names.filter(|name| !view.o.aside.contains_key(name) && !reserved(name));
    free.next()
}

/// The next step of what is announced.
pub(super) fn decide(view: &View<'_>) -> Option<Decision> {
    let operation = view.record.operations.iter().find(|o| o.kind == OperationKind::SetAside)?;
    let Some(aside) = &operation.aside else { return Some(end(view, operation, "nothing is named".into())) };
    let ordinal = operation.ordinal.unsigned_abs();
    let waits = || {
        let (reason, message) = telling(aside);
        Some(Decision::Wait(reason, message))
    };
    if !view.o.surroundings.known {
        return waits();
    }
    let Some(volume) = view.o.surroundings.volumes.get(&aside.volume) else {
        return Some(end(view, operation, format!("volume {} is gone", aside.volume)));
    };
    if view.o.aside.contains_key(&aside.claim) {
        let message = format!("volume {} is kept as claim {}", aside.volume, aside.claim);
        return Some(end(view, operation, message));
    }
    let cluster_id = view.cluster_id?.to_owned();
    let told = volume.annotations.get(ANNOTATION_GTID_SET) == Some(&aside.gtid_set);
    if volume.reclaim_policy.as_deref() != Some("Retain") || !told {
        let former_policy = volume.reclaim_policy.clone();
        return Some(Decision::Do(Step::KeepVolume {
            aside: aside.clone(),
            ordinal,
            cluster_id,
            former_policy,
        }));
    }
    if let Some(decision) = release(view, ordinal, aside) {
        return Some(decision);
    }
    let reserved = volume.claim.as_ref().is_some_and(|(_, name)| *name == aside.claim);
    if !reserved && volume.claim_uid.as_ref() != Some(&aside.claim_uid) {
        return Some(end(view, operation, format!("volume {} has become another's", aside.volume)));
    }
    Some(Decision::Do(if reserved {
        Step::CreateAsideClaim {
            aside: aside.clone(),
            ordinal,
            cluster_id,
            class: volume.class.clone(),
            capacity: volume.capacity.unwrap_or(1),
            access_modes: volume.access_modes.clone(),
        }
    } else {
        Step::ReserveVolume { aside: aside.clone() }
    }))
}

/// The claim goes, and then the pod that still holds it. `None`: it is gone.
fn release(view: &View<'_>, ordinal: u32, aside: &Aside) -> Option<Decision> {
    let instance = view.instance(ordinal)?;
    let claim = instance.claim.as_ref().filter(|claim| claim.uid == aside.claim_uid)?;
    if !claim.deleting {
        return Some(Decision::Do(Step::ReleaseClaim { aside: aside.clone(), claim: claim.name.clone() }));
    }
    let (reason, message) = telling(aside);
    match &instance.pod {
        Some(pod) if !pod.deleting && guards::may_take(view, ordinal).is_ok() => {
            Some(Decision::Do(Step::ReplacePod {
                pod: view.names.pod(ordinal),
                uid: pod.uid.clone(),
                message,
            }))
        }
        _ => Some(Decision::Wait(reason, message)),
    }
}

/// In words that are the same from the announcement to the end.
pub(super) fn telling(aside: &Aside) -> (Reason, String) {
    let message = format!("volume {} is being set aside as {}", aside.volume, aside.claim);
    (Reason::SettingAside, message)
}

fn end(view: &View<'_>, operation: &Operation, message: String) -> Decision {
    let mut operations = view.record.operations.clone();
    operations.retain(|o| o.id != operation.id);
    let next = ReplicationRecord { revision: view.record.revision + 1, operations, ..view.record.clone() };
    record(view, next, Reason::SettingAside, message)
}
