//! The condition StorageReady: why an instance has no volume, or can't mount the one that it has, and what to do.
//!
//! Asked of claims and volumes in the order of a volume's life: made, bound, attached, mounted, grown, lost.
pub(super) mod aside;
pub(super) mod growth;
pub(super) mod labels;
pub(super) mod last_copy;
pub(super) mod nodes;
mod pending;
pub(super) mod volumes;

use mainstay_crd::conditions::{ConditionType, DesiredCondition, Reason};
use mainstay_proto::{Server, Space};

use super::advice;
use crate::facts::Facts;
use crate::{Claim, Instance, Pod, Volume};

/// Problems that the message names; more are counted.
const NAMED: usize = 3;

/// What is wrong, and what to do.
pub(super) type Problem = (Reason, String);

/// The condition.
pub(super) fn condition(facts: &Facts<'_>) -> DesiredCondition {
    let type_ = ConditionType::StorageReady;
    let ordinals =
        facts.observation.instances.iter().filter(|(i, o)| facts.ordinals().contains(i) || o.pod.is_some());
    let mut problems: Vec<Problem> = volumes::refused(facts).into_iter().collect();
    problems.extend(ordinals.filter_map(|(&ordinal, instance)| problem(facts, ordinal, instance)));
    let Some((reason, _)) = problems.first() else {
        return DesiredCondition {
            type_,
            status: Some(true),
            reason: Reason::AsExpected,
            message: well(facts),
        };
    };
    let mut message =
        problems.iter().take(NAMED).map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; ");
    if problems.len() > NAMED {
        message.push_str(&format!("; and {} more", problems.len() - NAMED));
    }
    DesiredCondition { type_, status: Some(false), reason: *reason, message }
}

fn well(facts: &Facts<'_>) -> String {
    let unseen = &facts.observation.surroundings.unseen;
    if unseen.is_empty() {
        return "every instance has its volume".into();
    }
    format!(
        "as far as claims and pods show; the operator may not read {}, so that it can't say why a volume is missing, \
         nor keep one (the chart's storage.clusterRole grants it)",
        unseen.join(", ")
    )
}

fn problem(facts: &Facts<'_>, ordinal: u32, instance: &Instance) -> Option<Problem> {
    let claim = instance.claim.as_ref();
    if claim.is_none() && !facts.observation.cluster.deleting {
        let why = facts.pod_trouble(ordinal).map(|why| format!(": {why}")).unwrap_or_default();
        let text =
            format!("{} has no claim {} yet{why}", facts.names.pod(ordinal), facts.names.claim(ordinal));
        return Some((Reason::ClaimMissing, text));
    }
    claim
        .and_then(|claim| of_claim(facts, ordinal, claim, instance.pod.as_ref()))
        .or_else(|| of_pod(facts, ordinal, instance))
        .or_else(|| silent(facts, ordinal, instance))
        .or_else(|| full(facts, ordinal, instance))
        .or_else(|| claim.and_then(|claim| growth::growth_problem(facts, claim)))
}

fn of_claim(facts: &Facts<'_>, ordinal: u32, claim: &Claim, pod: Option<&Pod>) -> Option<Problem> {
    let name = &claim.name;
    if claim.phase.as_deref() == Some("Lost") {
        let volume = claim.volume.as_deref().unwrap_or("?");
        return Some((
            Reason::ClaimLost,
            format!(
                "claim {name} is Lost: its volume, the PersistentVolume {volume}, no longer exists: {}",
                advice::without_volume(facts, ordinal)
            ),
        ));
    }
    if claim.deleting && pod.is_some() {
        return Some(last_copy::of_claim(facts, ordinal, claim));
    }
    if claim.deleting {
        let text = format!("claim {name} is being deleted and is not gone yet; look at its finalizers");
        return Some((Reason::ClaimTerminating, text));
    }
    if claim.phase.as_deref() == Some("Pending") {
        return Some(pending::problem(facts, ordinal, claim, pod));
    }
    let name = claim.volume.as_deref()?;
    match facts.observation.surroundings.volumes.get(name) {
        Some(volume) => of_volume(facts, ordinal, claim, volume),
        None => (facts.observation.surroundings.known && claim.phase.is_some()).then(|| {
            let text = format!(
                "the volume {name} of claim {} no longer exists: {}",
                claim.name,
                advice::without_volume(facts, ordinal)
            );
            (Reason::ClaimLost, text)
        }),
    }
}

fn of_volume(facts: &Facts<'_>, ordinal: u32, claim: &Claim, volume: &Volume) -> Option<Problem> {
    let name = &volume.name;
    if volume.claim_uid.as_deref().is_some_and(|uid| uid != claim.uid) {
        let (namespace, other) = volume.claim.clone().unwrap_or_default();
        let text = format!(
            "claim {} wants the volume {name}, which claim {namespace}/{other} has: {}",
            claim.name,
            advice::without_volume(facts, ordinal)
        );
        return Some((Reason::VolumeTaken, text));
    }
    if volume.deleting {
        let text = format!(
            "the volume {name} of claim {} is being deleted, and goes with the claim. {}",
            claim.name,
            last_copy::deleted_volume(facts, ordinal, volume)
        );
        return Some((Reason::VolumeTerminating, text));
    }
    let (reason, what) = match volume.phase.as_deref() {
        Some("Released") => {
            (Reason::VolumeReleased, "is Released: the claim that it was bound to was deleted")
        }
        Some("Failed") => (Reason::VolumeFailed, "has Failed: it could not be reclaimed"),
        _ => return None,
    };
    Some((
        reason,
        format!(
            "the volume {name} of claim {} {what}; {}",
            claim.name,
            advice::without_volume(facts, ordinal)
        ),
    ))
}

fn of_pod(facts: &Facts<'_>, ordinal: u32, instance: &Instance) -> Option<Problem> {
    let pod = instance.pod.as_ref()?;
    if let Some(problem) = nodes::problem(facts, ordinal) {
        return Some(problem);
    }
    if instance.agent.live().is_some() {
        return None;
    }
    let name = facts.names.pod(ordinal);
    let volume = instance
        .claim
        .as_ref()
        .and_then(|c| facts.observation.surroundings.volumes.get(c.volume.as_deref()?));
    if let (Some(node), Some(volume)) = (&pod.node, volume)
        && !pod.started
        && let Some(other) = volume.attached_to.iter().find(|attached| *attached != node)
    {
        let text = format!(
            "{name} is on node {node}, but its volume {} is still attached to node {other}: {}",
            volume.name,
            nodes::attached(facts, other)
        );
        return Some((Reason::AttachedElsewhere, text));
    }
    if let Some(words) = &pod.warning {
        let text = format!(
            "a volume of {name} can't be mounted on node {}: {words}. It is tried again: mend what these words name",
            node_of(pod)
        );
        return Some((Reason::MountFailed, text));
    }
    let words =
        pod.trouble.as_deref().filter(|words| pod.node.is_none() && words.contains("Unschedulable"))?;
    Some((Reason::Unschedulable, pending::unschedulable(&format!("no node takes {name}: {words}"))))
}

fn node_of(pod: &Pod) -> &str {
    pod.node.as_deref().unwrap_or("?")
}

/// A volume that hangs stops its server without an error. When it began is told, not for how long: that changes with
/// every look.
fn silent(facts: &Facts<'_>, ordinal: u32, instance: &Instance) -> Option<Problem> {
    let since = instance.agent.live()?.volume_silent_since?;
    let node = instance.pod.as_ref().map_or("?", node_of);
    let text = format!(
        "the volume of {} has not answered since {since:.0}: its server waits for it. See to what provides the volume, \
         and to its mount on node {node}",
        facts.names.pod(ordinal)
    );
    Some((Reason::VolumeSilent, text))
}

/// What MySQL and the system say of a file system without room. Source: `strerror(ENOSPC)`, and MySQL's
/// `EE_DISK_FULL` and `ER_DISK_FULL`.
const FULL: [&str; 4] = ["No space left on device", "errno: 28", "OS errno 28", "Disk is full"];

pub(super) fn full(facts: &Facts<'_>, ordinal: u32, instance: &Instance) -> Option<Problem> {
    let report = instance.agent.live()?;
    if report.space.is_some_and(Space::is_full) {
        return Some((Reason::VolumeFull, no_room(facts, ordinal)));
    }
    let said: Vec<&str> = match (&report.server, &report.directory) {
        (_, mainstay_proto::Directory::Unusable { message }) => vec![message],
        (Server::Stopped { last_exit: Some(exit) }, _) => vec![exit],
        (Server::Running { state }, _) => {
            let channel = state.channel.iter();
            channel
                .flat_map(|c| [&c.receiver_error, &c.applier_error])
                .flatten()
                .map(String::as_str)
                .collect()
        }
        _ => return None,
    };
    let words = said.into_iter().find(|text| FULL.iter().any(|full| text.contains(full)))?;
    Some((Reason::VolumeFull, format!("{} ({words})", no_room(facts, ordinal))))
}

fn no_room(facts: &Facts<'_>, ordinal: u32) -> String {
    let size = &facts.observation.cluster.spec.storage.size.0;
    format!(
        "the volume of {} is full: raise spec.storage.size above {size}, or free some of it",
        facts.names.pod(ordinal)
    )
}
