//! What must be true right before a pod is taken: asked by every question of the plan that takes one, and once more of
//! a fresh look right before it is done.
//!
//! A claim that is being deleted hangs for as long as a pod uses it, and its volume goes with it unless it is `Retain`:
//! to take the pod is to delete the volume.

use mainstay_crd::names::Names;
use mainstay_proto::Directory;

use crate::facts::Facts;
use crate::{Claim, Observation, Record, Volume};

/// Why a pod may be taken without that data is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    /// Its claim stays, or there is nothing on it.
    Untouched,
    /// Its claim goes with it, and another instance that is Ready holds all that it holds.
    Elsewhere,
    /// Its claim goes with it, and the volume is kept.
    Kept,
}

/// Whether the pod of an ordinal may be taken.
///
/// # Errors
/// Why it may not, for people.
pub fn may_take_pod(observation: &Observation, ordinal: u32) -> Result<Safe, String> {
    let names = Names::new(&observation.cluster.namespace, &observation.cluster.name);
    let record = Record::of(observation.cluster.status.replication.as_ref());
    may_take(&Facts::of(observation, &names, &record), ordinal)
}

/// The same, of what was seen already.
pub(crate) fn may_take(facts: &Facts<'_>, ordinal: u32) -> Result<Safe, String> {
    let Some(claim) = facts.instance(ordinal).and_then(|instance| instance.claim.as_ref()) else {
        return Ok(Safe::Untouched);
    };
    let Some(volume) = going(facts, claim) else { return Ok(Safe::Untouched) };
    if holds_nothing(facts, ordinal) {
        return Ok(Safe::Untouched);
    }
    if held_elsewhere(facts, ordinal).is_some() {
        return Ok(Safe::Elsewhere);
    }
    let retained = |volume: &&Volume| volume.reclaim_policy.as_deref() == Some("Retain");
    if facts.observation.surroundings.volumes.get(volume).filter(retained).is_some() {
        // A volume that alone is being deleted is there for as long as its claim has it.
        return Ok(if claim.deleting { Safe::Kept } else { Safe::Untouched });
    }
    Err(format!(
        "claim {} is being deleted, or its volume {volume}, which may hold the last copy of the data and is not known to \
         be kept: the pod {} is not taken",
        claim.name,
        facts.names.pod(ordinal)
    ))
}

/// The same for a step that does without: a pod that would come back with an empty volume is not made anew, even if the
/// old volume is kept.
pub(crate) fn may_renew(facts: &Facts<'_>, ordinal: u32) -> Result<(), String> {
    match may_take(facts, ordinal)? {
        Safe::Untouched | Safe::Elsewhere => Ok(()),
        Safe::Kept => Err(format!(
            "claim {} is being deleted: the pod {} would come back without its data",
            facts.names.claim(ordinal),
            facts.names.pod(ordinal)
        )),
    }
}

/// The volume of a claim, if it or the claim is being deleted.
pub(crate) fn going<'a>(facts: &Facts<'a>, claim: &'a Claim) -> Option<&'a str> {
    let name = claim.volume.as_deref()?;
    let volume = facts.observation.surroundings.volumes.get(name);
    (claim.deleting || volume.is_some_and(|volume| volume.deleting)).then_some(name)
}

/// Its agent says that there is nothing on it.
fn holds_nothing(facts: &Facts<'_>, ordinal: u32) -> bool {
    let directory = facts.live(ordinal).map(|report| &report.directory);
    matches!(directory, Some(Directory::Empty | Directory::Partial { .. }))
}

/// Another instance that is Ready and holds all that this one holds, executed and received, by its agent's own last
/// word: of sets of two histories nobody can tell. Never of the primary: it may have committed since.
pub(crate) fn held_elsewhere(facts: &Facts<'_>, ordinal: u32) -> Option<u32> {
    if facts.primary().is_none_or(|primary| primary == ordinal) || facts.target() == Some(ordinal) {
        return None;
    }
    let own = facts.received_or_executed(ordinal)?;
    let holds = |&other: &u32| {
        facts.same_history(ordinal, other) && facts.executed(other).is_some_and(|set| set.contains(own))
    };
    // One whose own claim is being deleted is no place to rely on.
    let stays = |&other: &u32| {
        let claim = facts.instance(other).and_then(|instance| instance.claim.as_ref());
        claim.is_some_and(|claim| going(facts, claim).is_none())
    };
    facts.ordinals().filter(|&other| other != ordinal && facts.ready(other)).filter(stays).find(holds)
}
