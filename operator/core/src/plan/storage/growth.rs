//! The size that the spec asks for beside those that claims have: claims grow, and never shrink.

use std::collections::BTreeSet;

use mainstay_crd::conditions::Reason;
use mainstay_crd::{StorageStatus, quantity};

use crate::facts::Facts;
use crate::guards::Object;
use crate::plan::storage::Problem;
use crate::plan::{Decision, advice};
use crate::{Claim, ClaimStep, ObjectStep, Observation, Step};

/// What the claims have, for the CRD's rules about a change of the size or the class.
///
/// A claim that is about to grow counts as grown: the status that allows to set the size back is written with the step. One
/// that was never bound to a volume holds nothing, and does not count.
pub fn storage_status(observation: &Observation, step: Option<&Step>) -> StorageStatus {
    let grows = match step {
        Some(Step::Claim { step: ClaimStep::Grow { size }, .. }) => parsed(size),
        _ => None,
    };
    let classes: BTreeSet<Option<&str>> =
        observation.bound_claims().map(|claim| claim.class.as_deref()).collect();
    let class = match classes.first() {
        Some(Some(class)) if classes.len() == 1 => Some((*class).to_owned()),
        _ => None,
    };
    StorageStatus { largest: observation.largest_request().max(grows).map(quantity::of_bytes), class }
}

fn parsed(size: &str) -> Option<u64> {
    quantity::whole(&k8s_openapi::apimachinery::pkg::api::resource::Quantity(size.to_owned()))
}

/// Makes room for a StatefulSet whose claims are of the size and class that the spec asks for, once the API server has
/// refused to change the one that is there. No pod and no claim is touched by it. Of a cluster that ends it stays: its pods
/// end with it.
pub(in crate::plan) fn replace_stateful_set(facts: &Facts<'_>) -> Option<Decision> {
    if Object::from(&facts.observation.cluster).ends() {
        return None;
    }
    let set = facts.observation.stateful_set.as_ref()?;
    let held = set.refused.as_ref()?;
    held.differs_in_claims_only(&facts.fixed_fields()?).then(|| {
        let name = facts.names.base();
        let message = format!(
            "StatefulSet {name} is replaced, without its pods: new claims are to be of another size or class"
        );
        Decision::Do(Step::Object(ObjectStep::ReplaceStatefulSet { name, uid: set.uid.clone(), message }))
    })
}

/// Lets the claims grow that are smaller than the spec asks for, one at a time, whether or not their instances run.
pub(in crate::plan) fn grow(facts: &Facts<'_>) -> Option<Decision> {
    let size = &facts.observation.cluster.spec.storage.size;
    let wanted = quantity::whole(size)?;
    facts.observation.instances.values().find_map(|instance| {
        let claim = instance.claim.as_ref()?;
        let bound = claim.phase.as_deref() == Some("Bound") && !claim.deleting;
        let small = claim.requested.is_some_and(|requested| requested < wanted);
        if !bound || !small || !may_grow(facts, claim) {
            return None;
        }
        let message = format!("claim {} grows to {}", claim.name, size.0);
        let (claim, uid) = (claim.name.clone(), claim.uid.clone());
        let step = ClaimStep::Grow { size: size.0.clone() };
        Some(Decision::Do(Step::Claim { claim, uid, step, reason: Reason::Growing, message }))
    })
}

/// A class that can't be seen is left to the API server to refuse.
fn may_grow(facts: &Facts<'_>, claim: &Claim) -> bool {
    let class = claim.class.as_deref().and_then(|class| facts.observation.surroundings.classes.get(class));
    class.map_or(!facts.observation.surroundings.known, |class| class.expandable)
}

/// Why a claim has not the size that the spec asks for.
pub(in crate::plan) fn growth_problem(facts: &Facts<'_>, claim: &Claim) -> Option<Problem> {
    let size = &facts.observation.cluster.spec.storage.size;
    let wanted = quantity::whole(size)?;
    let name = &claim.name;
    if claim.phase.as_deref() != Some("Bound") {
        return None;
    }
    let small = claim.requested.is_some_and(|requested| requested < wanted);
    if small && may_grow(facts, claim) {
        return Some((Reason::Growing, format!("claim {name} is to grow to {}", size.0)));
    }
    if small {
        let class = claim.class.as_deref().filter(|class| !class.is_empty());
        let class = class.map_or("no class".to_owned(), |class| format!("the class {class}"));
        let text = format!(
            "claim {name} can't grow to {}: it has {class}, which does not allow it (allowVolumeExpansion). {}",
            size.0,
            advice::too_small(facts, wanted)
        );
        return Some((Reason::ExpansionRefused, text));
    }
    let (requested, capacity) = (claim.requested?, claim.capacity?);
    if capacity >= requested {
        return None;
    }
    let state = claim.resizing.as_deref().unwrap_or("the provisioner has not begun");
    let words = claim.warning.as_deref().map(|words| format!("; {words}")).unwrap_or_default();
    let text = format!("claim {name} grows to {requested} bytes and has {capacity}: {state}{words}");
    Some((Reason::Growing, text))
}
