//! The record's primary: it leads, or it is said why it can't.
pub(super) mod announced;
pub(super) mod candidates;
pub(super) mod eligible;
pub(super) mod lead_from;
pub(super) mod options;
pub(super) mod roles;
pub(super) mod scheduled;
pub(super) mod switchover;

use mainstay_crd::conditions::Reason;
use mainstay_proto::{Action, Directory};

use super::{Decision, advice, send, ways_back};
use crate::facts::{Facts, Seen};
use crate::state::{self, Broken};
use crate::{Term, ledger};

/// The record must not be older than what the instances know.
pub(super) fn set_back(facts: &Facts<'_>, by: u32, knows: Term) -> Decision {
    let known = facts.record.term();
    Decision::Blocked(
        Reason::RecordRolledBack,
        format!(
            "{} knows epoch {} revision {}, but status.replication says epoch {} revision {}: status was set back. {}",
            facts.names.pod(by),
            knows.epoch,
            knows.revision,
            known.epoch,
            known.revision,
            advice::record_set_back(facts)
        ),
    )
}

/// Orders the primary to lead where it does not. `None`: it leads.
pub(super) fn decide(facts: &Facts<'_>, primary: u32, why: Option<&Broken<'_>>) -> Option<Decision> {
    let name = facts.names.pod(primary);
    match why {
        // Whoever holds other data than left stands down first; `quarantine` says why.
        Some(Broken::Distrusted(_)) | None => {}
        Some(broken) => return Some(blocked(facts, primary, broken)),
    }
    let Some(report) = facts.live(primary) else {
        let why = facts.pod_trouble(primary);
        let message = why.map_or_else(|| facts.silence(primary), |why| format!("{name}: {why}"));
        return Some(Decision::Wait(Reason::NoPrimary, message));
    };
    if let Directory::Locked { holder } = &report.directory {
        let message = format!("{name}: its data directory is in use by {holder}");
        return Some(Decision::Wait(Reason::NoPrimary, message));
    }
    let Some(state) = report.serving() else {
        return Some(Decision::Wait(Reason::NoPrimary, format!("{name}: {}", options::not_up(report))));
    };
    if !facts.may_serve(primary) {
        return Some(Decision::Wait(Reason::NoPrimary, format!("{name}: its data is not what left")));
    }
    if state::is_granted(facts, primary) && !state.super_read_only && !state.unconfirmed {
        return None;
    }
    let action = Action::Lead { alone: facts.alone(primary) };
    if report.busy() {
        return Some(Decision::Wait(Reason::NoPrimary, format!("{name} is being made to lead")));
    }
    Some(send(facts, report, action, format!("the record names {name} as primary")))
}

/// What is said of a primary that can't lead.
pub(super) fn blocked(facts: &Facts<'_>, primary: u32, broken: &Broken<'_>) -> Decision {
    let name = facts.names.pod(primary);
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
            (ledger::reason(verdict.judgement), advice::evidence(&verdict.message).to_owned())
        }
        Broken::SetBack(other, own) => (
            Reason::RolledBack,
            format!(
                "{name} is the primary, but its volume was set back: {} holds transactions of it that it lacks itself \
                 ({own})",
                facts.names.pod(*other)
            ),
        ),
    };
    let what = what.trim_end_matches('.');
    Decision::Blocked(reason, format!("{what}. {}", ways_back::ways_back(facts, primary, broken)))
}
