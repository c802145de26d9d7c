//! The record's primary: it leads, or it is said why it can't.

use mainstay_crd::conditions::Reason;
use mainstay_proto::{Action, Directory, GrantedRole, Report};

use super::view::{Seen, View};
use super::{Decision, advice, quarantine, rebuild, send};
use crate::GtidSet;

/// The record must not be older than what the instances know: it would promote by what is no longer true.
pub(super) fn record_is_current(view: &View<'_>) -> Option<Decision> {
    let (ordinal, highest) = newer_than_the_record(view)?;
    let known = view.fence();
    Some(Decision::Blocked(
        Reason::RecordRolledBack,
        format!(
            "{} knows epoch {} revision {}, but status.replication says epoch {} revision {}: status was set back. {}",
            view.names.pod(ordinal),
            highest.epoch,
            highest.revision,
            known.epoch,
            known.revision,
            advice::record_set_back(view)
        ),
    ))
}

/// The instance that knows a later record than there is.
pub(super) fn newer_than_the_record(view: &View<'_>) -> Option<(u32, mainstay_proto::Fence)> {
    let (ordinal, highest) = view
        .o
        .instances
        .iter()
        .filter_map(|(&i, instance)| Some((i, instance.agent.live()?)))
        .filter(|(_, report)| report.marker().is_some())
        .map(|(i, report)| (i, report.highest))
        .max_by_key(|(_, highest)| *highest)?;
    (highest > view.fence()).then_some((ordinal, highest))
}

/// Why the record's primary can't lead, and will not by itself.
pub(super) enum Broken<'v> {
    /// Its directory holds nothing that it could lead with.
    Directory(&'v Directory),
    /// Its claim, or the volume of that, is gone, and nothing of it runs.
    Gone,
    /// What it came back with is not what left.
    Distrusted(&'v mainstay_crd::Verdict),
    /// Another holds transactions that it was the first to commit and lacks.
    SetBack(u32, GtidSet),
}

/// Why the record's primary can't lead, if that is known.
pub(super) fn broken<'v>(view: &'v View<'_>) -> Option<Broken<'v>> {
    let primary = view.primary()?;
    let Some(report) = view.live(primary) else { return gone(view, primary).then_some(Broken::Gone) };
    match &report.directory {
        Directory::Complete { .. } => {}
        Directory::Locked { .. } => return None,
        other => return Some(Broken::Directory(other)),
    }
    if let Some(verdict) = view.distrusted(primary) {
        return Some(Broken::Distrusted(verdict));
    }
    set_back(view, primary, report).map(|(other, own)| Broken::SetBack(other, own))
}

/// Its data is not to be had by waiting: without a claim, or with one whose volume no longer exists.
fn gone(view: &View<'_>, primary: u32) -> bool {
    let Some(instance) = view.instance(primary) else { return true };
    let idle = instance.pod.as_ref().is_none_or(|pod| !pod.ready && !pod.started);
    let unheard = instance.agent.last().is_none();
    let lost = instance.claim.as_ref().is_none_or(|claim| claim.phase.as_deref() == Some("Lost"));
    idle && unheard && lost
}

/// Orders the primary to lead where it does not. `None`: it leads.
pub(super) fn decide(view: &View<'_>) -> Option<Decision> {
    let primary = view.primary()?;
    let name = view.names.pod(primary);
    match broken(view) {
        // Whoever holds other data than left stands down first; `quarantine` says why.
        Some(Broken::Distrusted(_)) | None => {}
        Some(broken) => return Some(blocked(view, primary, &broken)),
    }
    let Some(report) = view.live(primary) else {
        let message = view
            .pod_trouble(primary)
            .map_or_else(|| format!("{name} has not reported"), |why| format!("{name}: {why}"));
        return Some(Decision::Wait(Reason::NoPrimary, message));
    };
    if let Directory::Locked { holder } = &report.directory {
        let message = format!("{name}: its data directory is in use by {holder}");
        return Some(Decision::Wait(Reason::NoPrimary, message));
    }
    let Some(state) = report.serving() else {
        return Some(Decision::Wait(Reason::NoPrimary, format!("{name}: its server is not up yet")));
    };
    if !view.trusted(primary) {
        return Some(Decision::Wait(Reason::NoPrimary, format!("{name}: its data is not what left")));
    }
    let alone = view.alone(primary);
    if is_granted(view, report, alone) && !state.super_read_only && !state.unconfirmed {
        return None;
    }
    let action = Action::Lead { alone };
    if report.busy() {
        return Some(Decision::Wait(Reason::NoPrimary, format!("{name} is being made to lead")));
    }
    Some(send(view, report, action, format!("the record names {name} as primary")))
}

fn is_granted(view: &View<'_>, report: &Report, alone: bool) -> bool {
    let granted = report.marker().and_then(|m| m.grant.as_ref());
    granted.is_some_and(|grant| {
        grant.role == GrantedRole::Primary { alone } && grant.fence.epoch == view.fence().epoch
    })
}

/// What is said of a primary that can't lead.
pub(super) fn blocked(view: &View<'_>, primary: u32, broken: &Broken<'_>) -> Decision {
    let name = view.names.pod(primary);
    let (reason, what) = match broken {
        Broken::Directory(directory) => {
            let what = match directory {
                Directory::Empty => "is empty".to_string(),
                Directory::Partial { .. } => "is partial".to_string(),
                Directory::Foreign { message, .. } | Directory::Unusable { message } => {
                    format!("can't be used ({message})")
                }
                Directory::Complete { .. } | Directory::Locked { .. } => "is in use".to_string(),
            };
            let what = format!("{name} is the primary, but its data directory {what}");
            (Reason::PrimaryDataLost, format!("{what}: nothing is initialised and nobody is promoted"))
        }
        Broken::Gone => (
            Reason::PrimaryDataLost,
            format!("{name} is the primary, but its claim or its volume is gone: nobody is promoted"),
        ),
        Broken::Distrusted(verdict) => {
            (quarantine::reason(verdict.judgement), advice::evidence(&verdict.message).to_owned())
        }
        Broken::SetBack(other, own) => (
            Reason::RolledBack,
            format!(
                "{name} is the primary, but its volume was set back: {} holds transactions of it that it lacks itself \
                 ({own})",
                view.names.pod(*other)
            ),
        ),
    };
    let what = what.trim_end_matches('.');
    Decision::Blocked(reason, format!("{what}. {}", advice::primary(view, primary, broken)))
}

/// A primary that restarted lacks what it was the first to commit and another holds: its volume was set back to a time
/// that the ledger, which moves on in steps, does not tell. To lead it would give the same numbers to other transactions,
/// and those that it lacks may have been acknowledged. Asked before it leads again; while one is being stood down it may
/// commit still, though its variable says that it is read-only.
fn set_back(view: &View<'_>, primary: u32, report: &Report) -> Option<(u32, GtidSet)> {
    report.serving().filter(|state| state.super_read_only)?;
    let stood = report.marker()?.grant.is_none() && !report.busy();
    let waits = is_granted(view, report, view.alone(primary));
    if !(stood || waits) || !view.trusted(primary) {
        return None;
    }
    rebuild::ahead_of(view, primary, report)
}
