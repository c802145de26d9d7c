//! How a cluster stands, worked out before anything is decided: it chooses which questions the plan asks.

use mainstay_crd::Verdict;
use mainstay_proto::{Directory, GrantedRole, Report};

use crate::facts::{Facts, Seen};
use crate::{GtidSet, Object, Term};

/// How a cluster stands, with what says so. `docs/design.md` tells of each what is asked, and which steps come of that.
#[derive(strum::IntoStaticStr, strum::VariantNames)]
pub(crate) enum ClusterState<'f> {
    /// It is being deleted, and nothing keeps it.
    TornDown,
    /// The record is older than what an instance knows: it would promote by what is no longer true.
    SetBack {
        /// The instance that knows more.
        by: u32,
        /// What it knows.
        knows: Term,
    },
    /// The record announces that another instance is to lead. Nobody can write until that ends.
    HandingOver {
        /// The record's primary.
        from: Option<u32>,
        /// Who is to lead.
        to: u32,
    },
    /// The record names no primary: nothing was initialised yet, or who led is to be found out.
    Beginning,
    /// The record's primary serves writes.
    Led {
        /// The primary.
        primary: u32,
    },
    /// The record's primary does not serve writes.
    Leaderless {
        /// The primary.
        primary: u32,
        /// Why it can't, if it will not be able to by itself.
        why: Option<Broken<'f>>,
    },
}

/// Why the record's primary can't lead, and will not by itself.
pub(crate) enum Broken<'f> {
    /// Its directory holds nothing that it could lead with.
    Directory(&'f Directory),
    /// Its claim, or the volume of that, is gone, and nothing of it runs.
    Gone,
    /// What it came back with is not what left.
    Distrusted(&'f Verdict),
    /// Another holds transactions that it was the first to commit and lacks.
    SetBack(u32, GtidSet),
}

/// How the cluster stands.
pub(crate) fn classify<'f>(facts: &'f Facts<'_>) -> ClusterState<'f> {
    if Object::from(&facts.observation.cluster).ends() {
        return ClusterState::TornDown;
    }
    let (primary, target) = (facts.primary(), facts.target());
    if primary.is_none() && target.is_none() {
        return ClusterState::Beginning;
    }
    if let Some((by, knows)) = newer_than_the_record(facts) {
        return ClusterState::SetBack { by, knows };
    }
    match (primary, target) {
        (from, Some(to)) => ClusterState::HandingOver { from, to },
        (Some(primary), None) => match broken(facts) {
            None if facts.leads(primary) => ClusterState::Led { primary },
            why => ClusterState::Leaderless { primary, why },
        },
        (None, None) => ClusterState::Beginning,
    }
}

/// The instance that knows a later record than there is.
pub(crate) fn newer_than_the_record(facts: &Facts<'_>) -> Option<(u32, Term)> {
    let all = facts.observation.instances.keys().filter_map(|&i| Some((i, facts.live(i)?)));
    let known = all.filter(|(i, _)| facts.marker(*i).is_some()).map(|(i, report)| (i, report.highest));
    let (ordinal, highest) = known.max_by_key(|(_, highest)| *highest)?;
    (highest > facts.record.term()).then_some((ordinal, highest))
}

/// Why the record's primary can't lead, if that is known.
pub(crate) fn broken<'f>(facts: &'f Facts<'_>) -> Option<Broken<'f>> {
    let primary = facts.primary()?;
    let Some(report) = facts.live(primary) else { return gone(facts, primary).then_some(Broken::Gone) };
    match &report.directory {
        Directory::Complete { .. } => {}
        Directory::Locked { .. } => return None,
        other => return Some(Broken::Directory(other)),
    }
    if let Some(verdict) = facts.quarantine_verdict(primary) {
        return Some(Broken::Distrusted(verdict));
    }
    set_back(facts, primary, report).map(|(other, own)| Broken::SetBack(other, own))
}

/// Its data is not to be had by waiting: without a claim, with one whose volume no longer exists, or with one that was made
/// in the place of the one that it had, and never got a volume.
fn gone(facts: &Facts<'_>, primary: u32) -> bool {
    let Some(instance) = facts.instance(primary) else { return true };
    let idle = instance.pod.as_ref().is_none_or(|pod| !pod.ready && !pod.started);
    let unheard = instance.agent.last().is_none();
    let had = facts.ledger_entry(primary).map(|entry| entry.claim_uid.as_str());
    let lost = instance.claim.as_ref().is_none_or(|claim| {
        let ours = (facts.observation.cluster.namespace.clone(), claim.name.clone());
        let mut volumes = facts.observation.surroundings.volumes.values();
        // What is given back to it is about to be bound.
        let comes = volumes.any(|volume| volume.claim.as_ref() == Some(&ours) && volume.claim_uid.is_none());
        let anew = claim.volume.is_none() && had.is_some_and(|had| had != claim.uid) && !comes;
        anew || claim.phase.as_deref() == Some("Lost")
    });
    idle && unheard && lost
}

/// A primary that restarted lacks what it was the first to commit and another holds: its volume was set back to a time
/// that the ledger, which moves on in steps, does not tell. To lead it would give the same numbers to other transactions,
/// and those that it lacks may have been acknowledged. Asked before it leads again; while one is being stood down it may
/// commit still, though its variable says that it is read-only.
fn set_back(facts: &Facts<'_>, primary: u32, report: &Report) -> Option<(u32, GtidSet)> {
    report.serving().filter(|state| state.super_read_only)?;
    let stood = report.marker()?.grant.is_none() && !report.busy();
    let waits = is_granted(facts, primary);
    if !(stood || waits) || !facts.may_serve(primary) {
        return None;
    }
    facts.ahead_of(primary)
}

/// It was told to lead in the record's epoch, in the way in which it is to lead now.
pub(crate) fn is_granted(facts: &Facts<'_>, ordinal: u32) -> bool {
    let role = GrantedRole::Primary { alone: facts.alone(ordinal) };
    let granted = facts.marker(ordinal).and_then(|marker| marker.grant.as_ref());
    granted.is_some_and(|grant| grant.role == role && grant.term.epoch == facts.record.term().epoch)
}
