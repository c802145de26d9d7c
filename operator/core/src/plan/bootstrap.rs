//! From nothing to a first primary, or from kept volumes to the primary that they had.
//!
//! I4: an empty directory is initialised only in a cluster of which nothing says that it ever was: see [`evidence`]. So
//! every instance is heard before anything is decided.

use mainstay_crd::OperationKind;
use mainstay_crd::conditions::Reason;
use mainstay_proto::{Action, Directory, Report, TaskState};

use super::{Decision, advice, evidence, rebuild, record, send};
use crate::facts::{Facts, Seen};
use crate::{Claim, Operation};

/// The record names no primary.
pub(super) fn decide(view: &Facts<'_>) -> Option<Decision> {
    Some(match view.record.announced(OperationKind::Initialize) {
        Some(operation) => carry_out(view, operation),
        None => first_look(view),
    })
}

/// Nothing was announced: look at every instance, then announce.
fn first_look(view: &Facts<'_>) -> Decision {
    let mut reports = Vec::new();
    for ordinal in view.ordinals() {
        match view.live(ordinal) {
            Some(report) => reports.push((ordinal, report)),
            None if was_never_anywhere(view, ordinal) => {}
            None => return wait_for(view, ordinal),
        }
    }
    if reports.is_empty() {
        return wait_for(view, 0);
    }
    if let Some(blocked) = reports.iter().find_map(|(i, report)| unusable(view, *i, report)) {
        return blocked;
    }
    let complete: Vec<(u32, &Report)> =
        reports.iter().filter(|(_, r)| matches!(r.directory, Directory::Complete { .. })).copied().collect();
    if !complete.is_empty() {
        return rebuild::decide(view, &complete);
    }
    evidence::blocks(view).unwrap_or_else(|| announce(view, &reports))
}

/// No data can be where no volume ever was: no node takes the pod, or none can be made, and its claim was never bound,
/// carries nothing of an instance, and has no volume reserved for it. Such an instance need not be heard before the others
/// can start, nor do they wait for it to change. A claim that is missing while there is a pod may have been deleted; without
/// a pod, it could not be made.
pub(super) fn was_never_anywhere(view: &Facts<'_>, ordinal: u32) -> bool {
    let Some(instance) = view.instance(ordinal) else { return false };
    let refused = match &instance.pod {
        Some(pod) => pod.node.is_none() && pod.trouble.as_ref().is_some_and(|t| t.contains("Unschedulable")),
        None => view.observation.pods_refused.is_some(),
    };
    let bare = |claim: &Claim| {
        let unbound = claim.phase.as_deref() == Some("Pending") && claim.volume.is_none();
        unbound && claim.cluster_id.is_none() && claim.annotations.is_empty()
    };
    let (namespace, name) = (&view.observation.cluster.namespace, view.names.claim(ordinal));
    let reserved = view
        .observation
        .surroundings
        .volumes
        .values()
        .any(|volume| volume.claim.as_ref().is_some_and(|(of, claim)| of == namespace && *claim == name));
    let claim = instance.claim.as_ref().map_or(instance.pod.is_none(), bare);
    refused && claim && view.ledger_entry(ordinal).is_none() && !reserved
}

fn wait_for(view: &Facts<'_>, ordinal: u32) -> Decision {
    let there = view.has_pod(ordinal);
    match view.pod_trouble(ordinal) {
        Some(trouble) => {
            let reason = if there { Reason::WaitingForPods } else { Reason::PodRefused };
            Decision::Wait(reason, format!("{}: {trouble}", view.names.pod(ordinal)))
        }
        None => {
            let reason = if there { Reason::WaitingForAgents } else { Reason::WaitingForPods };
            Decision::Wait(reason, view.silence(ordinal))
        }
    }
}

/// What keeps everybody waiting, because the directory could hold what the others lack.
fn unusable(view: &Facts<'_>, ordinal: u32, report: &Report) -> Option<Decision> {
    let name = view.names.pod(ordinal);
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
        Directory::Empty | Directory::Partial { .. } | Directory::Complete { .. } => None,
    }
}

/// Every directory is empty: announce who is initialised. One that an earlier try left partial keeps its operation.
fn announce(view: &Facts<'_>, reports: &[(u32, &Report)]) -> Decision {
    let empty = reports.iter().find(|(_, r)| r.directory == Directory::Empty);
    let Some((ordinal, report)) = empty.or(reports.first()) else {
        return Decision::Wait(Reason::WaitingForPods, "there is no instance yet".into());
    };
    let id = match &report.directory {
        Directory::Partial { operation, .. } => operation.clone(),
        _ => view.observation.fresh_id.clone(),
    };
    let operation = Operation::new(id, OperationKind::Initialize, *ordinal);
    let next = view.record.initialize(Operation { claim_uid: claim_uid(view, *ordinal), ..operation });
    let message = format!(
        "all data directories are empty: {} is initialised{}",
        view.names.pod(*ordinal),
        evidence::looked_at(view)
    );
    record(view, next, Reason::Initializing, message)
}

fn claim_uid(view: &Facts<'_>, ordinal: u32) -> Option<String> {
    let claim = view.instance(ordinal)?.claim.as_ref()?;
    Some(claim.uid.clone()).filter(|uid| !uid.is_empty())
}

/// It was done, or begun, on something else than what is there now: what was made may be elsewhere.
fn another(view: &Facts<'_>, operation: &Operation, report: &Report) -> Option<Decision> {
    let ordinal = operation.ordinal;
    let name = view.names.pod(ordinal);
    let present = claim_uid(view, ordinal);
    let replaced = operation.claim_uid.is_some() && present.is_some() && operation.claim_uid != present;
    let emptied = report.directory == Directory::Empty
        && report.task(INITIALIZE, Some(&operation.id)).is_some_and(|task| task.state == TaskState::Done);
    let what = match (replaced, emptied) {
        (true, _) => format!("{name} was being initialised on a claim that has been replaced since"),
        (_, true) => format!("{name} was initialised, and its directory is empty again"),
        (false, false) => return None,
    };
    let message = format!("{what}: that is not done twice. {}", advice::initialized_elsewhere(view, ordinal));
    Some(Decision::Blocked(Reason::DataWithoutRecord, message))
}

/// [`Action::kind`] of the order to initialise.
const INITIALIZE: &str = "Initialize";

/// The announced initialisation is ordered, and its outcome written down. Nobody was told of a commit before that,
/// so a try that was interrupted may be repeated, on the same volume.
fn carry_out(view: &Facts<'_>, operation: &Operation) -> Decision {
    let ordinal = operation.ordinal;
    let Some(report) = view.live(ordinal) else { return wait_for(view, ordinal) };
    match &report.directory {
        Directory::Complete { marker } if marker.operation == operation.id => {
            let message = format!("{} was initialised and is to lead", view.names.pod(ordinal));
            record(view, view.record.initialized(ordinal), Reason::PrimaryConfirmed, message)
        }
        Directory::Empty | Directory::Partial { .. } if report.vacant() => {
            if let Some(blocked) = another(view, operation, report) {
                return blocked;
            }
            let action = Action::Initialize { operation: operation.id.clone() };
            let running = report.task(action.kind(), Some(&operation.id));
            if running.is_some_and(|task| task.state == TaskState::Running) {
                let message = format!("{} is being initialised", view.names.pod(ordinal));
                return Decision::Wait(Reason::Initializing, message);
            }
            send(view, report, action, "the record announces it".into())
        }
        Directory::Complete { .. } => Decision::Blocked(
            Reason::DataWithoutRecord,
            format!(
                "{} holds data that was not made by the announced operation. {}",
                view.names.pod(ordinal),
                advice::not_new(view, ordinal)
            ),
        ),
        _ => unusable(view, ordinal, report).unwrap_or_else(|| wait_for(view, ordinal)),
    }
}
