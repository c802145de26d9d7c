//! The end of the object: what is done before it goes, and what keeps it.
//!
//! A finalizer is only on an object whose end has something to be done first (`whenDeleted` is not `Retain`), or that
//! is protected. With neither, Kubernetes removes it and its children at once and the claims stay.

use mainstay_crd::RetentionPolicy;
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::{ANNOTATION_SNAPSHOT, FINALIZER_PROTECTION, FINALIZER_RETENTION};

use super::view::View;
use super::{Decision, Step};
use crate::{Claim, Observation};

/// It is being deleted, but `spec.deletionProtection` keeps it: everything goes on as if it were not.
pub fn protected(observation: &Observation) -> bool {
    observation.cluster.deleting && observation.cluster.spec.deletion_protection
}

/// What is said of [`protected`].
pub(super) fn protection() -> (Reason, String) {
    (
        Reason::DeletionProtected,
        "the cluster is being deleted, but spec.deletionProtection is set: nothing is torn down and it serves on. \
         Kubernetes can't take a deletion back: set spec.deletionProtection to false to let it proceed, or move the \
         data to a new cluster"
            .into(),
    )
}

/// Keeps the finalizers as the spec needs them. `None`: they are.
pub(super) fn finalizers(view: &View<'_>) -> Option<Decision> {
    let cluster = &view.o.cluster;
    let retains = policy(view) == RetentionPolicy::Retain;
    let wanted = [
        cluster.spec.deletion_protection.then_some(FINALIZER_PROTECTION),
        (!retains).then_some(FINALIZER_RETENTION),
    ];
    let wanted: Vec<String> = wanted.into_iter().flatten().map(String::from).collect();
    // None can be added to what is being deleted already.
    let allowed = wanted.into_iter().filter(|f| !cluster.deleting || cluster.finalizers.contains(f));
    set(view, allowed.collect())
}

fn set(view: &View<'_>, wanted: Vec<String>) -> Option<Decision> {
    let mut present = view.o.cluster.finalizers.clone();
    let mut sorted = wanted.clone();
    present.sort();
    sorted.sort();
    (present != sorted).then_some(Decision::Do(Step::SetFinalizers { finalizers: wanted }))
}

/// The next step towards the end of an object that is being deleted and not protected.
pub(super) fn tear_down(view: &View<'_>) -> Decision {
    let waits =
        |what: &str| Decision::Wait(Reason::Deleting, format!("the cluster is being deleted; {what}"));
    if policy(view) == RetentionPolicy::Retain {
        return set(view, Vec::new()).unwrap_or_else(|| waits("its claims are kept"));
    }
    if !view.o.cluster.finalizers.iter().any(|f| f == FINALIZER_RETENTION) {
        // The policy was changed too late, or it is all done.
        return set(view, Vec::new()).unwrap_or_else(|| waits("nothing is left to do"));
    }
    if view.o.stateful_set.is_some() {
        return Decision::Do(Step::DeleteStatefulSet { name: view.names.base() });
    }
    if let Some((ordinal, _)) = view.o.instances.iter().find(|(_, instance)| instance.pod.is_some()) {
        return waits(&format!("{} is ending", view.names.pod(*ordinal)));
    }
    if let Some(decision) = copy(view) {
        return decision;
    }
    let mut left = claims(view).peekable();
    if left.peek().is_none() {
        return set(view, Vec::new()).unwrap_or_else(|| waits("its claims are gone"));
    }
    let next = left.find(|(_, claim)| !claim.deleting);
    next.and_then(|(_, claim)| drop_claim(claim)).unwrap_or_else(|| waits("its claims are going"))
}

fn drop_claim(claim: &Claim) -> Option<Decision> {
    Some(Decision::Do(Step::DropClaim {
        claim: claim.name.clone(),
        uid: claim.uid.clone(),
        resource_version: claim.resource_version.clone()?,
    }))
}

/// With the policy `Snapshot`: the primary's claim first, and what was set aside; all, if there is no primary's.
fn copy(view: &View<'_>) -> Option<Decision> {
    if policy(view) != RetentionPolicy::Snapshot {
        return None;
    }
    let leads = |i: &u32| view.primary() == Some(*i);
    let led = view.o.instances.iter().any(|(i, instance)| leads(i) && instance.claim.is_some());
    let is_copy = |ordinal: Option<u32>| ordinal.is_none_or(|i| !led || leads(&i));
    let mut wanted = claims(view).filter(|(ordinal, claim)| is_copy(*ordinal) && claim.cluster_id.is_some());
    let (ordinal, claim) = wanted.find(|(_, claim)| {
        // What is going was copied before.
        !claim.deleting && !claim.annotations.contains_key(ANNOTATION_SNAPSHOT)
    })?;
    Some(Decision::Do(Step::SnapshotClaim {
        snapshot: format!("{}-{}", claim.name, claim.uid.split('-').next().unwrap_or_default()),
        claim: claim.name.clone(),
        uid: claim.uid.clone(),
        ordinal: ordinal.unwrap_or_default(),
        cluster_id: view.cluster_id.unwrap_or_default().into(),
    }))
}

/// All claims of the cluster: its instances', and those that keep what was set aside. The primary's comes last.
fn claims<'v>(view: &'v View<'_>) -> impl Iterator<Item = (Option<u32>, &'v Claim)> + 'v {
    let aside = view.o.aside.values().map(|claim| (None, claim));
    let of = |(&i, instance): (&u32, &'v crate::Instance)| Some((Some(i), instance.claim.as_ref()?));
    let others = view.o.instances.iter().filter(|(i, _)| view.primary() != Some(**i)).filter_map(of);
    let primary = view.o.instances.iter().filter(|(i, _)| view.primary() == Some(**i)).filter_map(of);
    aside.chain(others).chain(primary)
}

fn policy(view: &View<'_>) -> RetentionPolicy {
    view.o.cluster.spec.storage.retention.as_ref().map(|r| r.deleted().policy).unwrap_or_default()
}
