//! From nothing to a first primary, or from kept volumes to the primary that they had.
//!
//! I4: an empty directory is initialised only in a cluster of which nothing says that it ever was: see [`evidence`]. So
//! every instance is heard before anything is decided.
pub(super) mod evidence;
pub(super) mod identity;
mod rebuild;
pub(super) mod rivals;

use mainstay_crd::OperationKind;
use mainstay_crd::conditions::Reason;
use mainstay_proto::{Action, Directory, Report, TaskState};

use super::{Decision, advice, record, send};
use crate::facts::{Facts, Seen};
use crate::{Claim, Operation};

/// The record names no primary.
pub(super) fn decide(facts: &Facts<'_>) -> Option<Decision> {
    Some(match facts.record.announced(OperationKind::Initialize) {
        Some(operation) => carry_out(facts, operation),
        None => first_look(facts),
    })
}

/// Nothing was announced: look at every instance, then announce.
fn first_look(facts: &Facts<'_>) -> Decision {
    let mut reports = Vec::new();
    for ordinal in facts.ordinals() {
        match facts.live(ordinal) {
            Some(report) => reports.push((ordinal, report)),
            None if was_never_anywhere(facts, ordinal) => {}
            None => return wait_for(facts, ordinal),
        }
    }
    if reports.is_empty() {
        return wait_for(facts, 0);
    }
    if let Some(blocked) = reports.iter().find_map(|(i, report)| unusable(facts, *i, report)) {
        return blocked;
    }
    let complete: Vec<(u32, &Report)> =
        reports.iter().filter(|(_, r)| matches!(r.directory, Directory::Complete { .. })).copied().collect();
    if !complete.is_empty() {
        return rebuild::decide(facts, &complete);
    }
    evidence::blocks(facts).unwrap_or_else(|| announce(facts, &reports))
}

/// No data can be where no volume ever was: no node takes the pod, or none can be made, and its claim was never bound,
/// carries nothing of an instance, and has no volume reserved for it. Such an instance need not be heard before the others
/// can start, nor do they wait for it to change. A claim that is missing while there is a pod may have been deleted; without
/// a pod, it could not be made.
pub(super) fn was_never_anywhere(facts: &Facts<'_>, ordinal: u32) -> bool {
    let Some(instance) = facts.instance(ordinal) else { return false };
    let refused = match &instance.pod {
        Some(pod) => pod.node.is_none() && pod.trouble.as_ref().is_some_and(|t| t.contains("Unschedulable")),
        None => facts.observation.pods_refused.is_some(),
    };
    let bare = |claim: &Claim| {
        let unbound = claim.phase.as_deref() == Some("Pending") && claim.volume.is_none();
        unbound && claim.cluster_id.is_none() && claim.annotations.is_empty()
    };
    let (namespace, name) = (&facts.observation.cluster.namespace, facts.names.claim(ordinal));
    let reserved = facts
        .observation
        .surroundings
        .volumes
        .values()
        .any(|volume| volume.claim.as_ref().is_some_and(|(of, claim)| of == namespace && *claim == name));
    let claim = instance.claim.as_ref().map_or(instance.pod.is_none(), bare);
    refused && claim && facts.ledger_entry(ordinal).is_none() && !reserved
}

fn wait_for(facts: &Facts<'_>, ordinal: u32) -> Decision {
    let there = facts.has_pod(ordinal);
    match facts.pod_trouble(ordinal) {
        Some(trouble) => {
            let reason = if there { Reason::WaitingForPods } else { Reason::PodRefused };
            Decision::Wait(reason, format!("{}: {trouble}", facts.names.pod(ordinal)))
        }
        None => {
            let reason = if there { Reason::WaitingForAgents } else { Reason::WaitingForPods };
            Decision::Wait(reason, facts.silence(ordinal))
        }
    }
}

/// What keeps everybody waiting, because the directory could hold what the others lack.
fn unusable(facts: &Facts<'_>, ordinal: u32, report: &Report) -> Option<Decision> {
    let name = facts.names.pod(ordinal);
    match &report.directory {
        Directory::Foreign { message, .. } => {
            Some(Decision::Blocked(Reason::ForeignData, format!("{name}: {message}")))
        }
        Directory::Unusable { message } => {
            Some(Decision::Blocked(Reason::DirectoryUnusable, format!("{name}: {message}")))
        }
        Directory::Locked { holder } => Some(Decision::Wait(
            Reason::WaitingForPods,
            format!("{name}: its data directory is in use by {holder}"),
        )),
        Directory::Partial { .. } => begun_by_another(facts, ordinal)
            .map(|text| Decision::Blocked(Reason::ForeignData, format!("{name}: {text}"))),
        Directory::Empty | Directory::Complete { .. } => None,
    }
}

/// What another cluster began on an instance's volume and never finished, and what to do: agents neither wipe it nor go on
/// with it, because it is not theirs.
pub(super) fn begun_by_another(facts: &Facts<'_>, ordinal: u32) -> Option<String> {
    let id = facts.begun_by_another(ordinal)?;
    Some(format!(
        "its data directory holds what the cluster with the id {id} began to make and never finished. It is left alone, and \
         nothing can be served from it: {}",
        advice::vacate(facts, ordinal)
    ))
}

/// Every directory is empty: announce who is initialised. One that an earlier try left partial keeps its operation.
fn announce(facts: &Facts<'_>, reports: &[(u32, &Report)]) -> Decision {
    let empty = reports.iter().find(|(_, r)| r.directory == Directory::Empty);
    let Some((ordinal, report)) = empty.or(reports.first()) else {
        return Decision::Wait(Reason::WaitingForPods, "there is no instance yet".into());
    };
    let id = match &report.directory {
        Directory::Partial { operation, .. } => operation.clone(),
        _ => facts.observation.fresh_id.clone(),
    };
    let operation = Operation::new(id, OperationKind::Initialize, *ordinal);
    let next = facts.record.initialize(Operation { claim_uid: claim_uid(facts, *ordinal), ..operation });
    let message = format!(
        "all data directories are empty: {} is initialised{}",
        facts.names.pod(*ordinal),
        evidence::looked_at(facts)
    );
    record(facts, next, Reason::Initializing, message)
}

fn claim_uid(facts: &Facts<'_>, ordinal: u32) -> Option<String> {
    let claim = facts.instance(ordinal)?.claim.as_ref()?;
    Some(claim.uid.clone()).filter(|uid| !uid.is_empty())
}

/// It was done, or begun, on something else than what is there now: what was made may be elsewhere.
fn another(facts: &Facts<'_>, operation: &Operation, report: &Report) -> Option<Decision> {
    let ordinal = operation.ordinal;
    let name = facts.names.pod(ordinal);
    let present = claim_uid(facts, ordinal);
    let replaced = operation.claim_uid.is_some() && present.is_some() && operation.claim_uid != present;
    let emptied = report.directory == Directory::Empty
        && report.task(INITIALIZE, Some(&operation.id)).is_some_and(|task| task.state == TaskState::Done);
    let what = match (replaced, emptied) {
        (true, _) => format!("{name} was being initialised on a claim that has been replaced since"),
        (_, true) => format!("{name} was initialised, and its directory is empty again"),
        (false, false) => return None,
    };
    let message =
        format!("{what}: that is not done twice. {}", advice::initialized_elsewhere(facts, ordinal));
    Some(Decision::Blocked(Reason::DataWithoutRecord, message))
}

/// [`Action::kind`] of the order to initialise.
const INITIALIZE: &str = "Initialize";

/// The announced initialisation is ordered, and its outcome written down. Nobody was told of a commit before that,
/// so a try that was interrupted may be repeated, on the same volume.
fn carry_out(facts: &Facts<'_>, operation: &Operation) -> Decision {
    let ordinal = operation.ordinal;
    let Some(report) = facts.live(ordinal) else { return wait_for(facts, ordinal) };
    match &report.directory {
        Directory::Complete { marker } if marker.operation == operation.id => {
            let message = format!("{} was initialised and is to lead", facts.names.pod(ordinal));
            record(facts, facts.record.initialized(ordinal), Reason::PrimaryConfirmed, message)
        }
        Directory::Empty | Directory::Partial { .. } if report.vacant() => {
            if let Some(blocked) =
                unusable(facts, ordinal, report).or_else(|| another(facts, operation, report))
            {
                return blocked;
            }
            let action = Action::Initialize { operation: operation.id.clone() };
            let running = report.task(action.kind(), Some(&operation.id));
            if running.is_some_and(|task| task.state == TaskState::Running) {
                let message = format!("{} is being initialised", facts.names.pod(ordinal));
                return Decision::Wait(Reason::Initializing, message);
            }
            send(facts, report, action, "the record announces it".into())
        }
        Directory::Complete { .. } => Decision::Blocked(
            Reason::DataWithoutRecord,
            format!(
                "{} holds data that was not made by the announced operation. {}",
                facts.names.pod(ordinal),
                advice::not_new(facts, ordinal)
            ),
        ),
        _ => unusable(facts, ordinal, report).unwrap_or_else(|| wait_for(facts, ordinal)),
    }
}
