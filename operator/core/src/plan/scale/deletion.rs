//! The end of the object: what is done before it goes, and what keeps it.
//!
//! A finalizer is only on an object whose end has something to be done first (`whenDeleted` is not `Retain`), or that
//! is protected. With neither, Kubernetes removes it and its children at once and the claims stay.
//!
//! What becomes of the claims is decided once, while the instances can still be asked, and written down before anything
//! goes. Where the data is lost or was set back, all are kept, whatever the policy says: one of them may hold the last
//! copy of what is missing.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{ANNOTATION_SNAPSHOT, FINALIZER_PROTECTION, FINALIZER_RETENTION};
use mainstay_crd::{ClusterPhase, Judgement, OperationKind, RetentionPolicy};

use crate::facts::{Facts, Seen, gtids};
use crate::plan::leaving::gtids_on_claim;
use crate::plan::{Decision, advice, record};
use crate::{Claim, ClaimStep, ClaimsFate, Ending, GtidSet, Object, ObjectStep, Step, Unneeded};

/// What is said of an object that [`Object::is_protected`].
pub(in crate::plan) fn protection() -> (Reason, String) {
    (
        Reason::DeletionProtected,
        "the cluster is being deleted, but spec.deletionProtection is set: nothing is torn down and it serves on. \
         Kubernetes can't take a deletion back: set spec.deletionProtection to false to let it proceed, or move the \
         data to a new cluster"
            .into(),
    )
}

/// Keeps the finalizers as the spec needs them. `None`: they are.
pub(in crate::plan) fn finalizers(facts: &Facts<'_>) -> Option<Decision> {
    let cluster = &facts.observation.cluster;
    let wanted = [
        cluster.spec.deletion_protection.then_some(FINALIZER_PROTECTION),
        (policy(facts) != RetentionPolicy::Retain).then_some(FINALIZER_RETENTION),
    ];
    let wanted: Vec<String> = wanted.into_iter().flatten().map(String::from).collect();
    // None can be added to what is being deleted already.
    let allowed = wanted.into_iter().filter(|f| !cluster.deleting || cluster.finalizers.contains(f));
    set(facts, allowed.collect())
}

fn set(facts: &Facts<'_>, wanted: Vec<String>) -> Option<Decision> {
    let mut present = facts.observation.cluster.finalizers.clone();
    let mut sorted = wanted.clone();
    present.sort();
    sorted.sort();
    (present != sorted)
        .then_some(Decision::Do(Step::Object(ObjectStep::SetFinalizers { finalizers: wanted })))
}

/// The next step towards the end of an object that is being deleted and not protected.
pub(in crate::plan) fn tear_down(facts: &Facts<'_>) -> Decision {
    let waits =
        |what: &str| Decision::Wait(Reason::Deleting, format!("the cluster is being deleted; {what}"));
    let over = |why: &str| set(facts, Vec::new()).unwrap_or_else(|| waits(why));
    let fate = Object::from(&facts.observation.cluster).claims_fate();
    if let ClaimsFate::Stay(why) = &fate {
        return over(why);
    }
    if !facts.observation.cluster.finalizers.iter().any(|f| f == FINALIZER_RETENTION) {
        // The policy was changed too late, or it is all done.
        return over("nothing is left to do");
    }
    if facts.cluster_id.is_none() {
        // Nothing here was made by this object, or it is not known whose it is.
        return over("its claims are kept");
    }
    let (ClaimsFate::Go, Some(ending)) = (fate, facts.record.ending()) else { return decide_end(facts) };
    if facts.observation.stateful_set.is_some() {
        return Decision::Do(Step::Object(ObjectStep::DeleteStatefulSet { name: facts.names.base() }));
    }
    if let Some((ordinal, _)) =
        facts.observation.instances.iter().find(|(_, instance)| instance.pod.is_some())
    {
        return waits(&format!("{} is ending", facts.names.pod(*ordinal)));
    }
    if let Some(decision) = copy(facts, ending) {
        return decision;
    }
    let mut left = claims(facts).peekable();
    if left.peek().is_none() {
        return over("its claims are gone");
    }
    let next = left.find(|(_, claim)| !claim.deleting);
    next.and_then(|(_, claim)| drop_claim(claim)).unwrap_or_else(|| waits("its claims are going"))
}

fn drop_claim(claim: &Claim) -> Option<Decision> {
    let resource_version = Some(claim.resource_version.clone()?);
    let (claim, uid) = (claim.name.clone(), claim.uid.clone());
    let message = format!("claim {claim} is deleted with its cluster");
    let step = ClaimStep::Delete { unneeded: Unneeded::WithCluster, resource_version };
    Some(Decision::Do(Step::Claim { claim, uid, step, reason: Reason::Deleting, message }))
}

/// An instance that serves, and was not asked yet what it holds: an operator that has just started hears everybody in a
/// moment, and only they tell a record that was set back.
fn unasked(facts: &Facts<'_>) -> Option<Decision> {
    let serves =
        |instance: &crate::Instance| instance.pod.as_ref().is_some_and(|pod| pod.ready && !pod.deleting);
    let mut silent =
        facts.observation.instances.iter().filter(|(_, i)| serves(i) && i.agent.live().is_none());
    let (&ordinal, _) = silent.next()?;
    let message = format!(
        "the cluster is being deleted, with its claims, once {} was asked what it holds; it is not heard. If \
         spec.storage.retention.whenDeleted.policy is set to Retain, nobody is asked and every claim stays",
        facts.names.pod(ordinal)
    );
    Some(Decision::Wait(Reason::Deleting, message))
}

/// Decides what becomes of the claims, and writes that down.
fn decide_end(facts: &Facts<'_>) -> Decision {
    if let Some(waits) = unasked(facts) {
        return waits;
    }
    let kept = why_kept(facts).map(|why| {
        format!("every claim and Secret is kept, whatever spec.storage.retention.whenDeleted says: {why}")
    });
    let (reason, message) = match &kept {
        Some(why) => (Reason::ClaimKept, why.clone()),
        None => (Reason::Deleting, "the cluster is being deleted, with its claims".into()),
    };
    let ending = Ending { since: Time(facts.observation.now), copies: copies(facts), kept };
    record(facts, facts.record.ends(ending), reason, message)
}

/// Why claims may not go with the object: the data is not where it is to be, and any of them may hold the last of it.
fn why_kept(facts: &Facts<'_>) -> Option<String> {
    if advice::is_lost(facts) {
        return Some("the primary's data is lost or was set back".into());
    }
    if facts.observation.cluster.status.state == Some(ClusterPhase::Lost) {
        return Some("the cluster was Lost when it was seen last".into());
    }
    let blocked = ConditionType::Blocked.as_str();
    let set_back = |c: &Condition| c.type_ == blocked && c.reason == Reason::RecordRolledBack.as_str();
    if facts.observation.cluster.status.conditions.iter().any(set_back) {
        return Some("the record was older than what the instances know when it was seen last".into());
    }
    let bad = |i: &u32| {
        let judged = facts.verdict(*i).map(|verdict| verdict.judgement);
        matches!(judged, Some(Judgement::NewVolumeForeign | Judgement::RolledBack))
    };
    if let Some(ordinal) = facts.observation.instances.keys().copied().find(bad) {
        return Some(format!("{} has other data than it left with", facts.names.pod(ordinal)));
    }
    let Some(primary) = facts.primary() else {
        let initializing = facts.record.announced(OperationKind::Initialize).is_some();
        let holds = |claim: &Claim| claim.cluster_id.is_some();
        let any = claims(facts).any(|(_, claim)| holds(claim));
        return (any || (facts.record.is_initialized() && !initializing))
            .then(|| "no primary is known".into());
    };
    has_its_data(facts, primary).err()
}

/// The primary's data is on its claim, as far as can be told: by its agent, or by what was written down of it.
fn has_its_data(facts: &Facts<'_>, primary: u32) -> Result<(), String> {
    let name = facts.names.pod(primary);
    let claim = facts.instance(primary).and_then(|instance| instance.claim.as_ref());
    let claim = claim.ok_or_else(|| format!("{name} is the primary and has no claim"))?;
    if facts.live(primary).is_some_and(|report| report.marker().is_some()) {
        return Ok(());
    }
    let renewed = facts.ledger_entry(primary).is_some_and(|entry| entry.claim_uid != claim.uid);
    let labelled = claim.cluster_id.as_deref() == facts.cluster_id;
    match labelled && !renewed && claim.phase.as_deref() != Some("Lost") {
        true => Ok(()),
        false => Err(format!("{name} is the primary, and its claim does not say that it has its data")),
    }
}

/// The instances whose claims hold, together, all that is known of: the one with most, and whoever holds anything
/// besides, or of whom it is not known.
fn copies(facts: &Facts<'_>) -> Vec<u32> {
    let of = |(&i, instance): (&u32, &crate::Instance)| {
        let claim = instance.claim.as_ref().filter(|claim| claim.cluster_id.is_some())?;
        Some((i, held(facts, i, claim)))
    };
    let all: Vec<(u32, Option<GtidSet>)> = facts.observation.instances.iter().filter_map(of).collect();
    let rank = |(i, set): &&(u32, Option<GtidSet>)| {
        (set.as_ref().map(GtidSet::count), facts.primary() == Some(*i), std::cmp::Reverse(*i))
    };
    let Some((most, Some(has))) = all.iter().max_by_key(rank) else {
        return all.iter().map(|(i, _)| *i).collect();
    };
    let adds = |i: u32, set: &Option<GtidSet>| {
        !facts.same_history(i, *most) || set.as_ref().is_none_or(|set| !has.contains(set))
    };
    all.iter().filter(|(i, set)| i == most || adds(*i, set)).map(|(i, _)| *i).collect()
}

/// What is on an instance's claim: as it says itself, or as was noted when it left, or last written down.
fn held(facts: &Facts<'_>, ordinal: u32, claim: &Claim) -> Option<GtidSet> {
    if facts.serving(ordinal).is_some() {
        return facts.received_or_executed(ordinal).cloned();
    }
    gtids_on_claim(claim).or_else(|| gtids(&facts.ledger_entry(ordinal)?.gtid_executed))
}

/// With the policy `Snapshot`: a copy of each claim that was chosen, and of what was set aside, before any goes.
fn copy(facts: &Facts<'_>, ending: &Ending) -> Option<Decision> {
    if policy(facts) != RetentionPolicy::Snapshot {
        return None;
    }
    let chosen = |ordinal: Option<u32>| ordinal.is_none_or(|i| ending.copies.contains(&i));
    let mut wanted = claims(facts).filter(|(ordinal, claim)| chosen(*ordinal) && claim.cluster_id.is_some());
    let (ordinal, claim, snapshot) = wanted.find_map(|(ordinal, claim)| {
        let snapshot = snapshot_of(claim, ending.since.0);
        // What is going was copied before. One that was taken for an earlier stop is not a copy of this one.
        let copied = claim.annotations.get(ANNOTATION_SNAPSHOT) == Some(&snapshot);
        (!claim.deleting && !copied).then_some((ordinal, claim, snapshot))
    })?;
    Some(snapshot_step(claim, ordinal.unwrap_or_default(), facts.cluster_id.unwrap_or_default(), snapshot))
}

/// Has a VolumeSnapshot of a claim taken.
pub(in crate::plan) fn snapshot_step(
    claim: &Claim,
    ordinal: u32,
    cluster_id: &str,
    snapshot: String,
) -> Decision {
    let step = ClaimStep::Snapshot { ordinal, cluster_id: cluster_id.to_owned(), snapshot };
    let (claim, uid) = (claim.name.clone(), claim.uid.clone());
    let message = format!("a snapshot of claim {claim} is taken before it goes");
    Decision::Do(Step::Claim { claim, uid, step, reason: Reason::ClaimKept, message })
}

/// The name of the VolumeSnapshot of a claim that is taken for a stop at that time.
pub(in crate::plan) fn snapshot_of(claim: &Claim, stopped: Timestamp) -> String {
    let uid = claim.uid.split('-').next().unwrap_or_default();
    format!("{}-{uid}-{}", claim.name, stopped.as_second())
}

/// All claims of the cluster: its instances', and those that keep what was set aside. The primary's comes last. One that
/// says that it holds another cluster's data is not this one's to delete.
fn claims<'v>(facts: &'v Facts<'_>) -> impl Iterator<Item = (Option<u32>, &'v Claim)> + 'v {
    let aside = facts.observation.aside.values().map(|claim| (None, claim));
    let of = |(&i, instance): (&u32, &'v crate::Instance)| Some((Some(i), instance.claim.as_ref()?));
    let others =
        facts.observation.instances.iter().filter(|(i, _)| facts.primary() != Some(**i)).filter_map(of);
    let primary =
        facts.observation.instances.iter().filter(|(i, _)| facts.primary() == Some(**i)).filter_map(of);
    let ours = |claim: &Claim| claim.cluster_id.is_none() || claim.cluster_id.as_deref() == facts.cluster_id;
    aside.chain(others).chain(primary).filter(move |(_, claim)| ours(claim))
}

fn policy(facts: &Facts<'_>) -> RetentionPolicy {
    Object::from(&facts.observation.cluster).when_deleted()
}
