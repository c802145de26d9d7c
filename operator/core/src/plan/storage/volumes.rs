//! What the operator does to volumes and claims: marks and keeps volumes, gives data back, and replaces volumes that are
//! stranded on lost nodes.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::{
    ANNOTATION_GIVE_BACK, ANNOTATION_GTID_SET, ANNOTATION_KEPT_SINCE, LABEL_CLUSTER_ID, LABEL_ORDINAL,
};
use mainstay_crd::{OperationKind, ReclaimPolicy};

use crate::facts::{Facts, gtids};
use crate::plan::nodes;
use crate::plan::storage::{Problem, labels};
use crate::plan::{Decision, advice, record};
use crate::{Claim, ClaimStep, GtidSet, Operation, PodStep, Step, Unneeded, Volume, VolumeStep, guards};

fn volume_of<'a>(facts: &Facts<'a>, claim: &Claim) -> Option<&'a Volume> {
    let volume = facts.observation.surroundings.volumes.get(claim.volume.as_deref()?)?;
    (volume.claim_uid.as_deref() == Some(claim.uid.as_str())).then_some(volume)
}

fn step_on(volume: &Volume, step: VolumeStep, reason: Reason, message: String) -> Decision {
    let (volume, uid) = (volume.name.clone(), volume.uid.clone());
    Decision::Do(Step::Volume { volume, uid, step, reason, message })
}

/// Says on volumes whose data they hold, and keeps them where the spec asks for it. One at a time.
pub(in crate::plan) fn mark(facts: &Facts<'_>) -> Option<Decision> {
    let cluster_id = facts.cluster_id?;
    let retain = facts.observation.cluster.spec.storage.reclaim_policy == Some(ReclaimPolicy::Retain);
    facts.observation.instances.iter().find_map(|(&ordinal, instance)| {
        let claim = instance.claim.as_ref()?;
        let volume = volume_of(facts, claim).filter(|volume| !volume.deleting)?;
        let labels = labels::of(cluster_id, ordinal);
        let unmarked = claim.cluster_id.as_deref() == Some(cluster_id)
            && labels.iter().any(|(key, value)| volume.labels.get(key) != Some(value));
        let unkept = retain && volume.reclaim_policy.as_deref() != Some("Retain");
        (unmarked || unkept).then(|| {
            let name = format!("volume {} of claim {}", volume.name, claim.name);
            if !unkept {
                let message = format!("{name} is marked with its cluster and ordinal");
                return step_on(volume, VolumeStep::Mark { labels }, Reason::AsExpected, message);
            }
            let labels = if unmarked { labels } else { BTreeMap::new() };
            let step =
                VolumeStep::Keep { claim_uid: claim.uid.clone(), labels, annotations: BTreeMap::new() };
            let message = format!("{name} is kept from now on: its reclaim policy is Retain");
            step_on(volume, step, Reason::AsExpected, message)
        })
    })
}

/// The volume that a person wants to give back, with the ordinal that it was of.
fn asked_back<'a>(facts: &Facts<'a>) -> Option<Result<(u32, &'a Volume), String>> {
    let name = facts.observation.cluster.annotations.get(ANNOTATION_GIVE_BACK)?;
    let Some(volume) = facts.observation.surroundings.volumes.get(name) else {
        return Some(Err(format!("volume {name} does not exist, or is not this cluster's")));
    };
    Some(
        labels::labelled(facts, volume)
            .map(|ordinal| (ordinal, volume))
            .ok_or_else(|| unlabelled(facts, volume)),
    )
}

/// What to do about a volume that does not say so. Another cluster's is not to be renamed.
fn unlabelled(facts: &Facts<'_>, volume: &Volume) -> String {
    let name = &volume.name;
    let said = volume.labels.get(LABEL_CLUSTER_ID).filter(|said| facts.cluster_id != Some(said.as_str()));
    if let Some(other) = said {
        return format!("volume {name} is labelled as the data of another cluster, whose id is {other}");
    }
    let of = volume.claim.as_ref().filter(|(namespace, _)| *namespace == facts.observation.cluster.namespace);
    let ordinal = of.and_then(|(_, claim)| facts.names.ordinal_of_claim(claim));
    let how = match (facts.cluster_id, ordinal) {
        (Some(id), Some(ordinal)) => advice::label(id, ordinal, name),
        (id, _) => format!(
            "kubectl label --overwrite pv {name} {LABEL_CLUSTER_ID}={} {LABEL_ORDINAL}=ORDINAL",
            id.unwrap_or("ID")
        ),
    };
    format!(
        "volume {name} is not labelled as this cluster's. If it is, as the file mainstay.json on it says: {how}"
    )
}

/// Gives a Released volume back to its ordinal's claim, as the annotation asks: announced first, because what is on
/// it is not what left last.
pub(in crate::plan) fn give_back(facts: &Facts<'_>) -> Option<Decision> {
    if let Some(over) = given_back(facts) {
        return Some(over);
    }
    let (ordinal, volume) = asked_back(facts)?.ok()?;
    if refusal(facts, ordinal, volume).is_some() || is_reserved(facts, ordinal, volume) {
        return None;
    }
    let name = &volume.name;
    let announced =
        facts.record.operations().iter().any(|o| o.kind == OperationKind::GiveBack && o.id == *name);
    let claim = facts.names.claim(ordinal);
    let message = format!("volume {name} is given back to claim {claim}, as {ANNOTATION_GIVE_BACK} asks");
    if !announced {
        return Some(announce(facts, name.clone(), OperationKind::GiveBack, ordinal, message));
    }
    let step = VolumeStep::Reserve { claim_uid: volume.claim_uid.clone(), claim };
    Some(step_on(volume, step, Reason::GivingBack, message))
}

/// Nobody leads yet, and a volume is to be given back whose claim is not there: were that made first, it would get another.
pub(in crate::plan) fn must_be_reserved(facts: &Facts<'_>) -> bool {
    let Some(Ok((ordinal, volume))) = asked_back(facts) else { return false };
    let free = facts.instance(ordinal).is_none_or(|i| i.claim.as_ref().is_none_or(|claim| claim.deleting));
    let open = refusal(facts, ordinal, volume).is_none() && !is_reserved(facts, ordinal, volume);
    facts.primary().is_none() && free && open
}

/// Once the ledger has the volume under the claim that there is now, or nobody asks any more and it is not bound, the
/// operation is over. That the ledger has it of an earlier claim says nothing: that is how it left.
fn given_back(facts: &Facts<'_>) -> Option<Decision> {
    let over = |operation: &Operation| {
        let ordinal = operation.ordinal;
        let claim = facts.instance(ordinal).and_then(|instance| instance.claim.as_ref());
        let entered = facts.ledger_entry(ordinal).zip(claim).is_some_and(|(entry, claim)| {
            entry.volume.as_ref() == Some(&operation.id) && entry.claim_uid == claim.uid && !claim.deleting
        });
        let there = facts.observation.surroundings.volumes.get(&operation.id);
        let bound = there.is_some_and(|volume| volume.phase.as_deref() == Some("Bound"));
        let asked = facts.observation.cluster.annotations.get(ANNOTATION_GIVE_BACK) == Some(&operation.id);
        entered || (facts.observation.surroundings.known && !asked && !bound)
    };
    end(facts, OperationKind::GiveBack, over, "the volume was given back")
}

/// The claim has it, or gets it: the binder first writes the claim's UID, and the phase later.
fn is_reserved(facts: &Facts<'_>, ordinal: u32, volume: &Volume) -> bool {
    let name = (facts.observation.cluster.namespace.clone(), facts.names.claim(ordinal));
    let settled = matches!(volume.phase.as_deref(), Some("Bound" | "Available"));
    let claim = facts.instance(ordinal).and_then(|instance| instance.claim.as_ref());
    let has = claim.is_some_and(|claim| volume.claim_uid.as_ref() == Some(&claim.uid));
    volume.claim.as_ref() == Some(&name) && (settled || has || volume.claim_uid.is_none())
}

fn refusal(facts: &Facts<'_>, ordinal: u32, volume: &Volume) -> Option<String> {
    let claim = facts.instance(ordinal).and_then(|instance| instance.claim.as_ref());
    let phase = volume.phase.as_deref();
    if is_reserved(facts, ordinal, volume) {
        return None;
    }
    if !matches!(phase, Some("Released" | "Available" | "Failed")) {
        return Some(format!("volume {} is {}, not Released", volume.name, phase.unwrap_or("?")));
    }
    let mut asides = facts.record.operations().iter().filter_map(|operation| operation.aside.as_ref());
    if let Some(aside) = asides.find(|aside| aside.volume == volume.name) {
        return Some(format!("volume {} is being set aside as {}", volume.name, aside.claim));
    }
    // One that is being deleted makes room: the volume must be reserved before the next of its name comes, or that
    // one gets another.
    claim.filter(|claim| claim.phase.as_deref() != Some("Pending") && !claim.deleting)?;
    Some(advice::make_room(facts, ordinal))
}

/// It is its ordinal's still, but the claim is being deleted.
fn goes_with(facts: &Facts<'_>, ordinal: u32, volume: &Volume) -> bool {
    let claim = facts.instance(ordinal).and_then(|instance| instance.claim.as_ref());
    claim.is_some_and(|claim| claim.deleting && volume.claim_uid.as_deref() == Some(claim.uid.as_str()))
}

/// Why a volume that was asked for is not given back.
pub(in crate::plan) fn refused(facts: &Facts<'_>) -> Option<Problem> {
    if !facts.observation.surroundings.known {
        return None;
    }
    let why = match asked_back(facts)? {
        Ok((ordinal, volume)) if goes_with(facts, ordinal, volume) => {
            let first = advice::held(facts)
                .map(|first| format!(". Before that, {first}: else the next claim gets a new volume"));
            let text = format!(
                "volume {} is given back once its claim is gone, which waits for the pod {} to end{}",
                volume.name,
                facts.names.pod(ordinal),
                first.unwrap_or_default()
            );
            return Some((Reason::GivingBack, text));
        }
        Ok((ordinal, volume)) => refusal(facts, ordinal, volume)?,
        Err(why) => why,
    };
    Some((Reason::GiveBackRefused, format!("{ANNOTATION_GIVE_BACK} can't be followed: {why}")))
}

/// Replaces the volume of a replica that is stranded on a lost node, if the spec says so: the old volume is kept, the
/// ordinal gets a new claim and is cloned anew. Each step follows from what is there, so that any operator can go on.
pub(in crate::plan) fn replace_stranded(facts: &Facts<'_>) -> Option<Decision> {
    let renewed = |operation: &Operation| {
        let ordinal = operation.ordinal;
        let left = facts.ledger_entry(ordinal).map(|entry| entry.claim_uid.as_str());
        let claim = facts.instance(ordinal).and_then(|instance| instance.claim.as_ref());
        let new = claim.is_some_and(|claim| Some(claim.uid.as_str()) != left && !claim.deleting);
        let back = facts.serving(ordinal).is_some();
        new || back || !facts.ordinals().contains(&ordinal)
    };
    if let Some(over) = end(facts, OperationKind::ReplaceVolume, renewed, "the stranded volume was replaced")
    {
        return Some(over);
    }
    if let Some(operation) = facts.record.announced(OperationKind::ReplaceVolume) {
        return Some(go_on(facts, operation.ordinal));
    }
    let ordinal = facts.ordinals().find(|&ordinal| may_be_replaced(facts, ordinal))?;
    let stranded = nodes::stranded(facts, ordinal)?;
    let message = format!("{} gets a new volume: {stranded}", facts.names.pod(ordinal));
    Some(announce(facts, facts.observation.fresh_id.clone(), OperationKind::ReplaceVolume, ordinal, message))
}

/// Never the primary, never before its time, and never the last copy: an instance that serves holds all that it held.
fn may_be_replaced(facts: &Facts<'_>, ordinal: u32) -> bool {
    let Some(after) =
        facts.observation.cluster.spec.storage.local.as_ref().and_then(|l| l.replace_after.as_deref())
    else {
        return false;
    };
    let (Ok(after), Some(left)) = (after.parse::<SignedDuration>(), facts.ledger_entry(ordinal)) else {
        return false;
    };
    let away =
        left.seen_at.as_ref().is_some_and(|seen| facts.observation.now.duration_since(seen.0) >= after);
    let silent = facts.live(ordinal).is_none();
    let claim = facts.instance(ordinal).and_then(|instance| instance.claim.as_ref());
    let same = claim.is_some_and(|claim| claim.uid == left.claim_uid);
    let primary = facts.primary();
    let leads = primary.is_some_and(|primary| primary != ordinal && facts.leads(primary));
    let busy = facts.target().is_some() || facts.record.announced_for(ordinal).is_some();
    let stranded = nodes::stranded(facts, ordinal).is_some();
    leads && silent && away && same && stranded && !busy && held_elsewhere(facts, ordinal)
}

/// Another instance that serves holds everything that this one was seen to hold.
fn held_elsewhere(facts: &Facts<'_>, ordinal: u32) -> bool {
    let Some(left) = last_held(facts, ordinal) else { return false };
    facts
        .ordinals()
        .filter(|&other| other != ordinal && facts.ready(other) && facts.same_history(ordinal, other))
        .any(|other| facts.executed(other).is_some_and(|held| held.contains(&left)))
}

/// The most that it was ever heard to hold. The ledger's set can be a minute old, and has nothing of what was heard
/// after the instance was well; what status says of it is from its agent's last word.
fn last_held(facts: &Facts<'_>, ordinal: u32) -> Option<GtidSet> {
    let noted = gtids(&facts.ledger_entry(ordinal)?.gtid_executed)?;
    let said = facts.before(ordinal).and_then(|instance| gtids(instance.gtid_executed.as_deref()?));
    Some(said.map_or_else(|| noted.clone(), |said| noted.union(&said)))
}

/// The next step of a replacement: volume kept and marked, then the claim, then the pod.
fn go_on(facts: &Facts<'_>, ordinal: u32) -> Decision {
    let (pod_name, claim_name) = (facts.names.pod(ordinal), facts.names.claim(ordinal));
    let wait = |text: String| Decision::Wait(Reason::ReplacingVolume, text);
    let Some(instance) = facts.instance(ordinal) else { return wait(format!("{pod_name} is gone")) };
    if let Some(claim) = instance.claim.as_ref().filter(|claim| !claim.deleting) {
        let Some(volume) = volume_of(facts, claim) else {
            return wait(format!("the volume of {claim_name} can't be seen"));
        };
        if !held_elsewhere(facts, ordinal) {
            return wait(format!("{claim_name} is kept: no instance that serves holds all of what it held"));
        }
        if let Some(step) = keep(facts, ordinal, claim, volume) {
            let message = format!("volume {} of {claim_name} is kept before its claim goes", volume.name);
            return step_on(volume, step, Reason::ReplacingVolume, message);
        }
        let message = format!("claim {claim_name} is deleted; its volume {} is kept", volume.name);
        let unneeded = Unneeded::VolumeKept { volume: volume.name.clone() };
        let (uid, step) = (claim.uid.clone(), ClaimStep::Delete { unneeded, resource_version: None });
        let reason = Reason::ReplacingVolume;
        return Decision::Do(Step::Claim { claim: claim_name, uid, step, reason, message });
    }
    match &instance.pod {
        Some(pod) if pod.node.is_none() && !pod.deleting && guards::may_take(facts, ordinal).is_ok() => {
            let message = format!("{pod_name}: its claim is to be made anew");
            let (uid, step) = (pod.uid.clone(), PodStep::Replace);
            Decision::Do(Step::Pod { pod: pod_name, uid, step, message })
        }
        Some(_) => match nodes::proven_gone(facts, ordinal) {
            Ok(_) => wait(format!("{pod_name} is being deleted")),
            Err(why) => {
                wait(format!("{pod_name} stands in the way of a new volume, and is left alone: {why}"))
            }
        },
        None => wait(format!("{claim_name} is being made anew")),
    }
}

/// What is still to be written on a volume before its claim may go, if anything: read back, not assumed.
fn keep(facts: &Facts<'_>, ordinal: u32, claim: &Claim, volume: &Volume) -> Option<VolumeStep> {
    let left = facts.ledger_entry(ordinal)?;
    let seen = left.seen_at.as_ref().map(|at| at.0.to_string()).unwrap_or_default();
    let held = last_held(facts, ordinal)?.to_string();
    let annotations = [(ANNOTATION_GTID_SET, held), (ANNOTATION_KEPT_SINCE, seen)];
    let annotations: BTreeMap<String, String> =
        annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let labels = labels::of(facts.cluster_id?, ordinal);
    let has = |there: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>| {
        wanted.iter().all(|(key, value)| there.get(key) == Some(value))
    };
    let retain = volume.reclaim_policy.as_deref() != Some("Retain");
    if !retain && has(&volume.labels, &labels) && has(&volume.annotations, &annotations) {
        return None;
    }
    Some(VolumeStep::Keep { claim_uid: claim.uid.clone(), labels, annotations })
}

fn announce(facts: &Facts<'_>, id: String, kind: OperationKind, ordinal: u32, message: String) -> Decision {
    let next = facts.record.announce(Operation::new(id, kind, ordinal));
    let reason = if kind == OperationKind::GiveBack { Reason::GivingBack } else { Reason::ReplacingVolume };
    record(facts, next, reason, message)
}

/// Takes operations of `kind` that are over out of the record.
fn end(
    facts: &Facts<'_>,
    kind: OperationKind,
    over: impl Fn(&Operation) -> bool,
    what: &str,
) -> Option<Decision> {
    let (next, ended) = facts.record.end(|operation| operation.kind == kind && over(operation))?;
    let names: Vec<String> = ended.into_iter().map(|ordinal| facts.names.pod(ordinal)).collect();
    let reason = if kind == OperationKind::GiveBack { Reason::GivingBack } else { Reason::ReplacingVolume };
    Some(record(facts, next, reason, format!("{}: {what}", names.join(", "))))
}
