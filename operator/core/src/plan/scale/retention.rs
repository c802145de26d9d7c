//! Claims of instances that are no longer asked for: kept, or deleted as `spec.storage.retention.whenScaled` says.
//!
//! I5: none is deleted whose GTID set is not known, or not within what another Ready instance of its history has executed.

use jiff::{SignedDuration, Timestamp};
use mainstay_crd::RetentionPolicy;
use mainstay_crd::conditions::{ConditionType, DesiredCondition, Reason};
use mainstay_crd::names::{ANNOTATION_KEPT_SINCE, ANNOTATION_SNAPSHOT};

use crate::facts::Facts;
use crate::plan::leaving::gtids_on_claim;
use crate::plan::{Decision, advice, deletion, pods};
use crate::{Claim, ClaimStep, Object, Step, Unneeded};

/// What becomes of one claim.
enum Fate {
    /// It may go now.
    Delete,
    /// It is kept, for this reason.
    Kept(String),
    /// It is kept until this time.
    Until(Timestamp),
}

/// The next claim to be deleted, or to be copied before.
pub(in crate::plan) fn decide(facts: &Facts<'_>) -> Option<Decision> {
    let policy = policy(facts);
    let object = Object::from(&facts.observation.cluster);
    let mut may_go = unused(facts).filter(|(ordinal, _)| object.may_delete_unused(*ordinal));
    let (ordinal, claim) =
        may_go.find(|(ordinal, claim)| matches!(fate(facts, *ordinal, claim), Fate::Delete))?;
    let name = claim.name.clone();
    // A snapshot of an earlier time at which the instance left is not of what it holds now.
    let left = claim.annotations.get(ANNOTATION_KEPT_SINCE).and_then(|at| at.parse().ok());
    let snapshot = deletion::snapshot_of(claim, left.unwrap_or(Timestamp::UNIX_EPOCH));
    if policy == RetentionPolicy::Snapshot && claim.annotations.get(ANNOTATION_SNAPSHOT) != Some(&snapshot) {
        return Some(deletion::snapshot_step(claim, ordinal, facts.cluster_id?, snapshot));
    }
    let message = format!(
        "claim {name} is deleted: spec.replicas no longer asks for it, and another instance holds all of its \
         transactions; {}",
        volume_fate(facts, claim)
    );
    let (unneeded, resource_version) = (Unneeded::Unused { ordinal }, Some(claim.resource_version.clone()?));
    let step = ClaimStep::Delete { unneeded, resource_version };
    let (uid, reason) = (claim.uid.clone(), Reason::ClaimKept);
    Some(Decision::Do(Step::Claim { claim: name, uid, step, reason, message }))
}

/// What the condition says; `None` where nothing but to keep was ever asked for.
pub(in crate::plan) fn condition(facts: &Facts<'_>) -> Option<DesiredCondition> {
    let type_ = ConditionType::RetentionApplied;
    let told = facts.observation.cluster.status.conditions.iter().any(|c| c.type_ == type_.as_str());
    if policy(facts) == RetentionPolicy::Retain && !told {
        return None;
    }
    let kept = unused(facts).next().map(|(ordinal, claim)| match fate(facts, ordinal, claim) {
        Fate::Delete => format!("{} is being dealt with", claim.name),
        Fate::Kept(why) => format!("{} is kept: {why}", claim.name),
        Fate::Until(at) => format!("{} is kept until {at}", claim.name),
    });
    let done = kept.is_none();
    let message = kept.unwrap_or_else(|| "no claim is to be dealt with".into());
    let reason = if done { Reason::Idle } else { Reason::ClaimKept };
    Some(DesiredCondition { type_, status: Some(done), reason, message })
}

/// When the next claim's time has come.
pub(in crate::plan) fn look_again(facts: &Facts<'_>) -> Option<SignedDuration> {
    let times = unused(facts).filter_map(|(ordinal, claim)| match fate(facts, ordinal, claim) {
        Fate::Until(at) => Some(at.duration_since(facts.observation.now)),
        Fate::Delete | Fate::Kept(_) => None,
    });
    times.min()
}

fn policy(facts: &Facts<'_>) -> RetentionPolicy {
    facts.observation.cluster.spec.storage.retention.as_ref().map(|r| r.scaled().policy).unwrap_or_default()
}

/// Claims that no instance uses, where the policy is not to keep them.
fn unused<'v>(facts: &'v Facts<'_>) -> impl Iterator<Item = (u32, &'v Claim)> + 'v {
    let asked = policy(facts) != RetentionPolicy::Retain && facts.primary().is_some();
    let beyond = facts.observation.instances.range(pods::replicas(facts)..).filter(move |_| asked);
    beyond.filter_map(|(&i, instance)| {
        let claim = instance.claim.as_ref().filter(|claim| !claim.deleting)?;
        instance.pod.is_none().then_some((i, claim))
    })
}

fn fate(facts: &Facts<'_>, ordinal: u32, claim: &Claim) -> Fate {
    if claim.cluster_id.as_deref() != facts.cluster_id {
        return Fate::Kept("it does not say that its data is this cluster's".into());
    }
    let Some(set) = gtids_on_claim(claim) else {
        return Fate::Kept(format!(
            "it is not known which transactions it holds, because its instance did not run when it left. {}",
            advice::unused(facts, ordinal)
        ));
    };
    if let Some(at) = not_before(facts, claim).filter(|at| *at > facts.observation.now) {
        return Fate::Until(at);
    }
    let history = facts.history_left(ordinal);
    let holds = |i: u32| {
        let same = facts.history(i) == history;
        (same && facts.ready(i) && facts.executed(i)?.contains(&set)).then_some(())
    };
    if facts.ordinals().any(|i| holds(i).is_some()) {
        Fate::Delete
    } else {
        Fate::Kept("no instance that is Ready holds all of its transactions, as far as can be told".into())
    }
}

/// For `DeleteAfter`: the end of its time.
fn not_before(facts: &Facts<'_>, claim: &Claim) -> Option<Timestamp> {
    let keep = facts.observation.cluster.spec.storage.retention.as_ref()?.scaled();
    let after: SignedDuration = keep.after?.parse().ok()?;
    let since: Option<Timestamp> = claim.annotations.get(ANNOTATION_KEPT_SINCE)?.parse().ok();
    // A time that can't be read has not passed.
    Some(since.unwrap_or(facts.observation.now).checked_add(after).unwrap_or(Timestamp::MAX))
}

fn volume_fate(facts: &Facts<'_>, claim: &Claim) -> String {
    let Some(name) = &claim.volume else { return "it has no volume".into() };
    let policy =
        facts.observation.surroundings.volumes.get(name).and_then(|volume| volume.reclaim_policy.as_deref());
    match policy {
        Some("Retain") => format!("its volume {name} stays, because its reclaim policy is Retain"),
        Some(_) => format!("its volume {name} goes with it"),
        None => format!("whether its volume {name} goes with it, the volume's reclaim policy says"),
    }
}
