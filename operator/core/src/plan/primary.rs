//! The record's primary: it leads, or it is said why it can't.

use mainstay_crd::conditions::Reason;
use mainstay_proto::{Action, Directory, GrantedRole, Report};

use super::view::{Seen, View};
use super::{Decision, rebuild, send};

/// The record must not be older than what the instances know: it would promote by what is no longer true.
pub(super) fn record_is_current(view: &View<'_>) -> Option<Decision> {
    let known = view.fence();
    let (ordinal, highest) = view
        .o
        .instances
        .iter()
        .filter_map(|(&i, instance)| Some((i, instance.agent.live()?)))
        .filter(|(_, report)| report.marker().is_some())
        .map(|(i, report)| (i, report.highest))
        .max_by_key(|(_, highest)| *highest)?;
    (highest > known).then(|| {
        Decision::Blocked(
            Reason::RecordRolledBack,
            format!(
                "{} knows epoch {} revision {}, but status.replication says epoch {} revision {}: status was set \
                 back. Put back the newer status, or delete the object (claims are kept) and create it again: \
                 the record is then rebuilt from the instances",
                view.names.pod(ordinal),
                highest.epoch,
                highest.revision,
                known.epoch,
                known.revision
            ),
        )
    })
}

/// Orders the primary to lead where it does not. `None`: it leads.
pub(super) fn decide(view: &View<'_>) -> Option<Decision> {
    let primary = view.primary()?;
    let name = view.names.pod(primary);
    let Some(report) = view.live(primary) else {
        let trouble = view.instance(primary).and_then(|i| i.pod.as_ref()?.trouble.clone());
        let message = trouble.map_or_else(|| format!("{name} has not reported"), |t| format!("{name}: {t}"));
        return Some(Decision::Wait(Reason::NoPrimary, message));
    };
    if let Some(lost) = lost(&name, &report.directory) {
        return Some(lost);
    }
    let Some(state) = report.serving() else {
        return Some(Decision::Wait(Reason::NoPrimary, format!("{name}: its server is not up yet")));
    };
    if !view.trusted(primary) {
        return Some(Decision::Wait(Reason::NoPrimary, format!("{name}: its data is not what left")));
    }
    let alone = view.alone(primary);
    let granted = report.marker().and_then(|m| m.grant.as_ref());
    let current = granted.is_some_and(|grant| {
        grant.role == GrantedRole::Primary { alone } && grant.fence.epoch == view.fence().epoch
    });
    if current && !state.super_read_only && !state.unconfirmed {
        return None;
    }
    if let Some(blocked) = set_back(view, primary, report).filter(|_| current && state.super_read_only) {
        return Some(blocked);
    }
    let action = Action::Lead { alone };
    if report.busy() {
        return Some(Decision::Wait(Reason::NoPrimary, format!("{name} is being made to lead")));
    }
    Some(send(view, report, action, format!("the record names {name} as primary")))
}

/// A primary that restarted lacks what it was the first to commit and another holds: its volume was set back to a time
/// that the ledger, which moves on in steps, does not tell. To lead it would give the same numbers to other transactions,
/// and those that it lacks may have been acknowledged. Asked before it leads again; one that was stood down by an order
/// may commit still when its variable says that it is read-only.
fn set_back(view: &View<'_>, primary: u32, report: &Report) -> Option<Decision> {
    let (other, own) = rebuild::ahead_of(view, primary, report)?;
    let (name, other) = (view.names.pod(primary), view.names.pod(other));
    Some(Decision::Blocked(
        Reason::RolledBack,
        format!(
            "{name} is the primary, but its volume was set back: {other} holds transactions of it that it lacks itself \
             ({own}). Put back the volume that left and delete the pod {name}; or, to lead with what {other} holds, \
             delete the object (claims are kept) and the claim {}, and create the object again",
            view.names.claim(primary)
        ),
    ))
}

fn lost(name: &str, directory: &Directory) -> Option<Decision> {
    let what = match directory {
        Directory::Complete { .. } => return None,
        Directory::Locked { holder } => {
            let message = format!("{name}: its data directory is in use by {holder}");
            return Some(Decision::Wait(Reason::NoPrimary, message));
        }
        Directory::Empty => "is empty".to_string(),
        Directory::Partial { .. } => "is partial".to_string(),
        Directory::Foreign { message, .. } | Directory::Unusable { message } => {
            format!("can't be used ({message})")
        }
    };
    Some(Decision::Blocked(
        Reason::PrimaryDataLost,
        format!(
            "{name} is the primary, but its data directory {what}: nothing is initialised and nobody is promoted. \
             Give it back its volume; or, to lead with what a replica holds, delete the object (claims are kept) \
             and create it again"
        ),
    ))
}
