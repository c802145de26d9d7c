//! What the operator does to volumes and claims: marks and keeps volumes, gives data back, and replaces volumes that are
//! stranded on lost nodes.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::{
    ANNOTATION_GIVE_BACK, ANNOTATION_GTID_SET, ANNOTATION_KEPT_SINCE, LABEL_CLUSTER_ID, LABEL_ORDINAL,
};
use mainstay_crd::{OperationKind, ReclaimPolicy};

use super::nodes;
use super::storage::Problem;
use super::{Decision, advice, record};
use crate::facts::{Facts, gtids};
use crate::{Claim, ClaimStep, GtidSet, Operation, PodStep, Step, Unneeded, Volume, VolumeStep, guards};

fn volume_of<'a>(view: &Facts<'a>, claim: &Claim) -> Option<&'a Volume> {
    let volume = view.observation.surroundings.volumes.get(claim.volume.as_deref()?)?;
    (volume.claim_uid.as_deref() == Some(claim.uid.as_str())).then_some(volume)
}

fn step_on(volume: &Volume, step: VolumeStep, reason: Reason, message: String) -> Decision {
    let (volume, uid) = (volume.name.clone(), volume.uid.clone());
    Decision::Do(Step::Volume { volume, uid, step, reason, message })
}

/// Says on volumes whose data they hold, and keeps them where the spec asks for it. One at a time.
pub(super) fn mark(view: &Facts<'_>) -> Option<Decision> {
    let cluster_id = view.cluster_id?;
    let retain = view.observation.cluster.spec.storage.reclaim_policy == Some(ReclaimPolicy::Retain);
    view.observation.instances.iter().find_map(|(&ordinal, instance)| {
        let claim = instance.claim.as_ref()?;
        let volume = volume_of(view, claim).filter(|volume| !volume.deleting)?;
        let labels = labels(cluster_id, ordinal);
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

pub(super) fn labels(cluster_id: &str, ordinal: u32) -> BTreeMap<String, String> {
    let labels = [(LABEL_CLUSTER_ID, cluster_id.to_owned()), (LABEL_ORDINAL, ordinal.to_string())];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The volume that a person wants to give back, with the ordinal that it was of.
fn asked_back<'a>(view: &Facts<'a>) -> Option<Result<(u32, &'a Volume), String>> {
    let name = view.observation.cluster.annotations.get(ANNOTATION_GIVE_BACK)?;
    let Some(volume) = view.observation.surroundings.volumes.get(name) else {
        return Some(Err(format!("volume {name} does not exist, or is not this cluster's")));
    };
    Some(labelled(view, volume).map(|ordinal| (ordinal, volume)).ok_or_else(|| unlabelled(view, volume)))
}

/// The ordinal whose data a volume says that it holds, if it says so for this cluster.
fn labelled(view: &Facts<'_>, volume: &Volume) -> Option<u32> {
    let label = |key| volume.labels.get(key).map(String::as_str);
    let ours = view.cluster_id.is_some() && label(LABEL_CLUSTER_ID) == view.cluster_id;
    label(LABEL_ORDINAL).filter(|_| ours)?.parse().ok()
}

/// A volume says that it holds this instance's data.
pub(super) fn is_of(view: &Facts<'_>, ordinal: u32, volume: &Volume) -> bool {
    labelled(view, volume) == Some(ordinal)
}

/// What to do about a volume that does not say so. Another cluster's is not to be renamed.
fn unlabelled(view: &Facts<'_>, volume: &Volume) -> String {
    let name = &volume.name;
    let said = volume.labels.get(LABEL_CLUSTER_ID).filter(|said| view.cluster_id != Some(said.as_str()));
    if let Some(other) = said {
        return format!("volume {name} is labelled as the data of another cluster, whose id is {other}");
    }
    let of = volume.claim.as_ref().filter(|(namespace, _)| *namespace == view.observation.cluster.namespace);
    let ordinal = of.and_then(|(_, claim)| view.names.ordinal_of_claim(claim));
    let how = match (view.cluster_id, ordinal) {
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
pub(super) fn give_back(view: &Facts<'_>) -> Option<Decision> {
    if let Some(over) = given_back(view) {
        return Some(over);
    }
    let (ordinal, volume) = asked_back(view)?.ok()?;
    if refusal(view, ordinal, volume).is_some() || is_reserved(view, ordinal, volume) {
        return None;
    }
    let name = &volume.name;
    let announced =
        view.record.operations().iter().any(|o| o.kind == OperationKind::GiveBack && o.id == *name);
    let claim = view.names.claim(ordinal);
    let message = format!("volume {name} is given back to claim {claim}, as {ANNOTATION_GIVE_BACK} asks");
    if !announced {
        return Some(announce(view, name.clone(), OperationKind::GiveBack, ordinal, message));
    }
    let step = VolumeStep::Reserve { claim_uid: volume.claim_uid.clone(), claim };
    Some(step_on(volume, step, Reason::GivingBack, message))
}

/// Nobody leads yet, and a volume is to be given back whose claim is not there: were that made first, it would get another.
pub(super) fn must_be_reserved(view: &Facts<'_>) -> bool {
    let Some(Ok((ordinal, volume))) = asked_back(view) else { return false };
    let free = view.instance(ordinal).is_none_or(|i| i.claim.as_ref().is_none_or(|claim| claim.deleting));
    let open = refusal(view, ordinal, volume).is_none() && !is_reserved(view, ordinal, volume);
    view.primary().is_none() && free && open
}

/// Once the ledger has the volume under the claim that there is now, or nobody asks any more and it is not bound, the
/// operation is over. That the ledger has it of an earlier claim says nothing: that is how it left.
fn given_back(view: &Facts<'_>) -> Option<Decision> {
    let over = |operation: &Operation| {
        let ordinal = operation.ordinal;
        let claim = view.instance(ordinal).and_then(|instance| instance.claim.as_ref());
        let entered = view.ledger_entry(ordinal).zip(claim).is_some_and(|(entry, claim)| {
            entry.volume.as_ref() == Some(&operation.id) && entry.claim_uid == claim.uid && !claim.deleting
        });
        let there = view.observation.surroundings.volumes.get(&operation.id);
        let bound = there.is_some_and(|volume| volume.phase.as_deref() == Some("Bound"));
        let asked = view.observation.cluster.annotations.get(ANNOTATION_GIVE_BACK) == Some(&operation.id);
        entered || (view.observation.surroundings.known && !asked && !bound)
    };
    end(view, OperationKind::GiveBack, over, "the volume was given back")
}

/// The claim has it, or gets it: the binder first writes the claim's UID, and the phase later.
fn is_reserved(view: &Facts<'_>, ordinal: u32, volume: &Volume) -> bool {
    let name = (view.observation.cluster.namespace.clone(), view.names.claim(ordinal));
    let settled = matches!(volume.phase.as_deref(), Some("Bound" | "Available"));
    let claim = view.instance(ordinal).and_then(|instance| instance.claim.as_ref());
    let has = claim.is_some_and(|claim| volume.claim_uid.as_ref() == Some(&claim.uid));
    volume.claim.as_ref() == Some(&name) && (settled || has || volume.claim_uid.is_none())
}

fn refusal(view: &Facts<'_>, ordinal: u32, volume: &Volume) -> Option<String> {
    let claim = view.instance(ordinal).and_then(|instance| instance.claim.as_ref());
    let phase = volume.phase.as_deref();
    if is_reserved(view, ordinal, volume) {
        return None;
    }
    if !matches!(phase, Some("Released" | "Available" | "Failed")) {
        return Some(format!("volume {} is {}, not Released", volume.name, phase.unwrap_or("?")));
    }
    let mut asides = view.record.operations().iter().filter_map(|operation| operation.aside.as_ref());
    if let Some(aside) = asides.find(|aside| aside.volume == volume.name) {
        return Some(format!("volume {} is being set aside as {}", volume.name, aside.claim));
    }
    // One that is being deleted makes room: the volume must be reserved before the next of its name comes, or that
    // one gets another.
    claim.filter(|claim| claim.phase.as_deref() != Some("Pending") && !claim.deleting)?;
    Some(advice::make_room(view, ordinal))
}

/// It is its ordinal's still, but the claim is being deleted.
fn goes_with(view: &Facts<'_>, ordinal: u32, volume: &Volume) -> bool {
    let claim = view.instance(ordinal).and_then(|instance| instance.claim.as_ref());
    claim.is_some_and(|claim| claim.deleting && volume.claim_uid.as_deref() == Some(claim.uid.as_str()))
}

/// Why a volume that was asked for is not given back.
pub(super) fn refused(view: &Facts<'_>) -> Option<Problem> {
    if !view.observation.surroundings.known {
        return None;
    }
    let why = match asked_back(view)? {
        Ok((ordinal, volume)) if goes_with(view, ordinal, volume) => {
            let first = advice::held(view)
                .map(|first| format!(". Before that, {first}: else the next claim gets a new volume"));
            let text = format!(
                "volume {} is given back once its claim is gone, which waits for the pod {} to end{}",
                volume.name,
                view.names.pod(ordinal),
                first.unwrap_or_default()
            );
            return Some((Reason::GivingBack, text));
        }
        Ok((ordinal, volume)) => refusal(view, ordinal, volume)?,
        Err(why) => why,
    };
    Some((Reason::GiveBackRefused, format!("{ANNOTATION_GIVE_BACK} can't be followed: {why}")))
}

/// Replaces the volume of a replica that is stranded on a lost node, if the spec says so: the old volume is kept, the
/// ordinal gets a new claim and is cloned anew. Each step follows from what is there, so that any operator can go on.
pub(super) fn replace_stranded(view: &Facts<'_>) -> Option<Decision> {
    let renewed = |operation: &Operation| {
        let ordinal = operation.ordinal;
        let left = view.ledger_entry(ordinal).map(|entry| entry.claim_uid.as_str());
        let claim = view.instance(ordinal).and_then(|instance| instance.claim.as_ref());
        let new = claim.is_some_and(|claim| Some(claim.uid.as_str()) != left && !claim.deleting);
        let back = view.serving(ordinal).is_some();
        new || back || !view.ordinals().contains(&ordinal)
    };
    if let Some(over) = end(view, OperationKind::ReplaceVolume, renewed, "the stranded volume was replaced") {
        return Some(over);
    }
    if let Some(operation) = view.record.announced(OperationKind::ReplaceVolume) {
        return Some(go_on(view, operation.ordinal));
    }
    let ordinal = view.ordinals().find(|&ordinal| may_be_replaced(view, ordinal))?;
    let stranded = nodes::stranded(view, ordinal)?;
    let message = format!("{} gets a new volume: {stranded}", view.names.pod(ordinal));
    Some(announce(view, view.observation.fresh_id.clone(), OperationKind::ReplaceVolume, ordinal, message))
}

/// Never the primary, never before its time, and never the last copy: an instance that serves holds all that it held.
fn may_be_replaced(view: &Facts<'_>, ordinal: u32) -> bool {
    let Some(after) =
        view.observation.cluster.spec.storage.local.as_ref().and_then(|l| l.replace_after.as_deref())
    else {
        return false;
    };
    let (Ok(after), Some(left)) = (after.parse::<SignedDuration>(), view.ledger_entry(ordinal)) else {
        return false;
    };
    let away = left.seen_at.as_ref().is_some_and(|seen| view.observation.now.duration_since(seen.0) >= after);
    let silent = view.live(ordinal).is_none();
    let claim = view.instance(ordinal).and_then(|instance| instance.claim.as_ref());
    let same = claim.is_some_and(|claim| claim.uid == left.claim_uid);
    let primary = view.primary();
    let leads = primary.is_some_and(|primary| primary != ordinal && view.leads(primary));
    let busy = view.target().is_some() || view.record.announced_for(ordinal).is_some();
    let stranded = nodes::stranded(view, ordinal).is_some();
    leads && silent && away && same && stranded && !busy && held_elsewhere(view, ordinal)
}

/// Another instance that serves holds everything that this one was seen to hold.
fn held_elsewhere(view: &Facts<'_>, ordinal: u32) -> bool {
    let Some(left) = last_held(view, ordinal) else { return false };
    view.ordinals()
        .filter(|&other| other != ordinal && view.ready(other) && view.same_history(ordinal, other))
        .any(|other| view.executed(other).is_some_and(|held| held.contains(&left)))
}

/// The most that it was ever heard to hold. The ledger's set can be a minute old, and has nothing of what was heard
/// after the instance was well; what status says of it is from its agent's last word.
fn last_held(view: &Facts<'_>, ordinal: u32) -> Option<GtidSet> {
    let noted = gtids(&view.ledger_entry(ordinal)?.gtid_executed)?;
    let said = view.before(ordinal).and_then(|instance| gtids(instance.gtid_executed.as_deref()?));
    Some(said.map_or_else(|| noted.clone(), |said| noted.union(&said)))
}

/// The next step of a replacement: volume kept and marked, then the claim, then the pod.
fn go_on(view: &Facts<'_>, ordinal: u32) -> Decision {
    let (pod_name, claim_name) = (view.names.pod(ordinal), view.names.claim(ordinal));
    let wait = |text: String| Decision::Wait(Reason::ReplacingVolume, text);
    let Some(instance) = view.instance(ordinal) else { return wait(format!("{pod_name} is gone")) };
    if let Some(claim) = instance.claim.as_ref().filter(|claim| !claim.deleting) {
        let Some(volume) = volume_of(view, claim) else {
            return wait(format!("the volume of {claim_name} can't be seen"));
        };
        if !held_elsewhere(view, ordinal) {
            return wait(format!("{claim_name} is kept: no instance that serves holds all of what it held"));
        }
        if let Some(step) = keep(view, ordinal, claim, volume) {
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
        Some(pod) if pod.node.is_none() && !pod.deleting && guards::may_take(view, ordinal).is_ok() => {
            let message = format!("{pod_name}: its claim is to be made anew");
            let (uid, step) = (pod.uid.clone(), PodStep::Replace);
            Decision::Do(Step::Pod { pod: pod_name, uid, step, message })
        }
        Some(_) => match nodes::proven_gone(view, ordinal) {
            Ok(_) => wait(format!("{pod_name} is being deleted")),
            Err(why) => {
                wait(format!("{pod_name} stands in the way of a new volume, and is left alone: {why}"))
            }
        },
        None => wait(format!("{claim_name} is being made anew")),
    }
}

/// What is still to be written on a volume before its claim may go, if anything: read back, not assumed.
fn keep(view: &Facts<'_>, ordinal: u32, claim: &Claim, volume: &Volume) -> Option<VolumeStep> {
    let left = view.ledger_entry(ordinal)?;
    let seen = left.seen_at.as_ref().map(|at| at.0.to_string()).unwrap_or_default();
    let held = last_held(view, ordinal)?.to_string();
    let annotations = [(ANNOTATION_GTID_SET, held), (ANNOTATION_KEPT_SINCE, seen)];
    let annotations: BTreeMap<String, String> =
        annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let labels = labels(view.cluster_id?, ordinal);
    let has = |there: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>| {
        wanted.iter().all(|(key, value)| there.get(key) == Some(value))
    };
    let retain = volume.reclaim_policy.as_deref() != Some("Retain");
    if !retain && has(&volume.labels, &labels) && has(&volume.annotations, &annotations) {
        return None;
    }
    Some(VolumeStep::Keep { claim_uid: claim.uid.clone(), labels, annotations })
}

fn announce(view: &Facts<'_>, id: String, kind: OperationKind, ordinal: u32, message: String) -> Decision {
    let next = view.record.announce(Operation::new(id, kind, ordinal));
    let reason = if kind == OperationKind::GiveBack { Reason::GivingBack } else { Reason::ReplacingVolume };
    record(view, next, reason, message)
}

/// Takes operations of `kind` that are over out of the record.
fn end(
    view: &Facts<'_>,
    kind: OperationKind,
    over: impl Fn(&Operation) -> bool,
    what: &str,
) -> Option<Decision> {
    let (next, ended) = view.record.end(|operation| operation.kind == kind && over(operation))?;
    let names: Vec<String> = ended.into_iter().map(|ordinal| view.names.pod(ordinal)).collect();
    let reason = if kind == OperationKind::GiveBack { Reason::GivingBack } else { Reason::ReplacingVolume };
    Some(record(view, next, reason, format!("{}: {what}", names.join(", "))))
}
