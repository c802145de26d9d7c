//! A volume whose claim is being deleted while it may be the last copy: it is kept at once, because evictions, drains
//! and people ask no guard of ours before they take the pod.

use mainstay_crd::conditions::Reason;
use mainstay_crd::names::ANNOTATION_FORMER_POLICY;

use crate::facts::Facts;
use crate::guards::{Object, going, held_elsewhere};
use crate::plan::storage::{Problem, labels};
use crate::plan::{Decision, advice};
use crate::{Claim, Instance, Step, Volume, VolumeStep};

const RETAIN: &str = "Retain";

/// Sets such a volume to `Retain`, also if the spec is wrong, but not while paused. One that may not be patched keeps nothing else from being done: that is said.
pub(in crate::plan) fn keep(facts: &Facts<'_>) -> Option<Decision> {
    if facts.observation.cluster.spec.paused {
        return None;
    }
    facts.observation.instances.iter().find_map(|(&ordinal, instance)| keep_one(facts, ordinal, instance))
}

/// The same of one instance.
fn keep_one(facts: &Facts<'_>, ordinal: u32, instance: &Instance) -> Option<Decision> {
    let claim = instance.claim.as_ref()?;
    let used = instance.pod.is_some() || facts.ordinals().contains(&ordinal);
    let name = going(facts, claim).filter(|_| used)?;
    let volume = facts.observation.surroundings.volumes.get(name)?;
    let ours = volume.claim_uid.as_deref() == Some(claim.uid.as_str());
    let refused = facts.observation.surroundings.refused.contains_key(name);
    if !ours || refused || is_kept(volume) || held_elsewhere(facts, ordinal).is_some() {
        return None;
    }
    let former = volume.reclaim_policy.iter().map(|policy| (ANNOTATION_FORMER_POLICY.into(), policy.clone()));
    let step = VolumeStep::Keep {
        claim_uid: claim.uid.clone(),
        labels: facts.cluster_id.map(|id| labels::of(id, ordinal)).unwrap_or_default(),
        annotations: former.collect(),
    };
    let message = format!(
        "volume {name} of claim {} is kept from now on: {} being deleted, and it may hold the last copy of the data",
        claim.name,
        if claim.deleting { "the claim is" } else { "it is" }
    );
    let (volume, uid, reason) = (volume.name.clone(), volume.uid.clone(), Reason::AsExpected);
    Some(Decision::Do(Step::Volume { volume, uid, step, reason, message }))
}

fn is_kept(volume: &Volume) -> bool {
    volume.reclaim_policy.as_deref() == Some(RETAIN)
}

/// What is said of a claim that is being deleted while a pod uses it, and what undoes it.
pub(in crate::plan) fn of_claim(facts: &Facts<'_>, ordinal: u32, claim: &Claim) -> Problem {
    let (name, pod) = (&claim.name, facts.names.pod(ordinal));
    let going = format!(
        "claim {name} is being deleted, which can't be taken back: it goes once the pod {pod} has ended"
    );
    let text = match claim.volume.as_deref() {
        None => format!("{going}. It has no volume, so nothing is lost with it"),
        Some(volume) => format!("{going}. {}", of_volume(facts, ordinal, volume)),
    };
    (Reason::ClaimTerminating, text)
}

/// What becomes of the volume, and what to do.
pub(in crate::plan) fn of_volume(facts: &Facts<'_>, ordinal: u32, name: &str) -> String {
    let pod = facts.names.pod(ordinal);
    let volume = facts.observation.surroundings.volumes.get(name);
    if let Some(volume) = volume.filter(|volume| is_kept(volume)) {
        return format!(
            "Its volume {name} is set to Retain, so that nothing on it is lost. To have it back: {}, and then delete the \
             pod {pod}",
            advice::give_back_command(facts, ordinal, volume)
        );
    }
    if let Some(other) = held_elsewhere(facts, ordinal) {
        return format!(
            "Its volume {name} goes with it, and {} holds all that is on it: delete the pod {pod} to have the instance \
             cloned anew. Should that not be certain when the pod ends, the volume is set to Retain and stays",
            facts.names.pod(other)
        );
    }
    let command =
        format!("kubectl patch pv {name} -p '{{\"spec\":{{\"persistentVolumeReclaimPolicy\":\"Retain\"}}}}'");
    let by_hand = format!("Do not let the pod {pod} end before this has been done: {command}");
    if Object::from(&facts.observation.cluster).ends() {
        return format!(
            "Its volume {name} goes with it, because the MySQLCluster is being deleted. To keep it all the same: {command}"
        );
    }
    if facts.observation.cluster.spec.paused {
        return format!(
            "While spec.paused is set, the operator does not keep its volume {name}, which goes with it. {by_hand}"
        );
    }
    if let Some(words) = facts.observation.surroundings.refused.get(name) {
        return format!("Its volume {name} could not be set to Retain ({words}) and goes with it. {by_hand}");
    }
    if volume.is_none() {
        return format!("The operator can't see its volume {name}, and so can't keep it. {by_hand}");
    }
    match facts.instance(ordinal).and_then(|instance| keep_one(facts, ordinal, instance)) {
        Some(_) => format!("Its volume {name} is being set to Retain"),
        None => format!(
            "The operator leaves its volume {name} alone, which is not bound to this claim. {by_hand}"
        ),
    }
}

/// The same of a volume that is being deleted while its claim stays.
pub(in crate::plan) fn deleted_volume(facts: &Facts<'_>, ordinal: u32, volume: &Volume) -> String {
    if is_kept(volume) {
        return format!(
            "It is set to Retain, so that its storage stays when the object goes. Before claim {} is deleted, write down \
             where that is: kubectl get pv {} -o yaml",
            facts.names.claim(ordinal),
            volume.name
        );
    }
    of_volume(facts, ordinal, &volume.name)
}
