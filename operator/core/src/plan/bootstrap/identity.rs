//! Whose data this is: the cluster id, which outlives the object.

use std::collections::BTreeSet;

use mainstay_crd::conditions::Reason;
use mainstay_proto::Directory;

use crate::Step;
use crate::facts::Facts;
use crate::plan::{Decision, evidence};

/// Finds the cluster id before anything else is done. `None`: it is known and nothing contradicts it.
pub(in crate::plan) fn decide(facts: &Facts<'_>) -> Option<Decision> {
    match facts.cluster_id {
        None => Some(find(facts)),
        Some(known) if !facts.record.is_initialized() => adopt(facts, known),
        Some(_) => None,
    }
}

/// Kept claims and Secrets of the same name say who they were; if they agree, it is the same cluster.
fn find(facts: &Facts<'_>) -> Decision {
    if let Some(blocked) = evidence::before_an_id(facts) {
        return blocked;
    }
    let found: BTreeSet<&str> =
        labelled(facts).chain(facts.observation.secrets_cluster_id.as_deref()).collect();
    let record = facts.record.clone();
    let adopt = facts.observation.cluster.spec.adopt.as_deref();
    let (id, message) = match (adopt, found.len()) {
        (Some(id), _) => (id, format!("the cluster takes over the data of {id}, as spec.adopt says")),
        (None, 0) => (facts.observation.fresh_id.as_str(), "the cluster is new".into()),
        (None, 1) => {
            let id = found.first().copied().unwrap_or_default();
            (id, format!("claims or Secrets of this name were kept: the cluster is {id} again"))
        }
        (None, _) => {
            let ids = found.into_iter().collect::<Vec<_>>().join(", ");
            return Decision::Blocked(
                Reason::ForeignData,
                format!(
                    "claims and Secrets of this name belong to different clusters ({ids}): set spec.adopt to the \
                     one whose data is to be used"
                ),
            );
        }
    };
    Decision::Do(Step::Record { cluster_id: id.into(), record, reason: Reason::Accepted, message })
}

fn labelled<'a>(facts: &Facts<'a>) -> impl Iterator<Item = &'a str> {
    let instances = facts.observation.instances.values().filter_map(|i| i.claim.as_ref());
    instances.chain(facts.observation.aside.values()).filter_map(|claim| claim.cluster_id.as_deref())
}

/// Nothing is initialised yet, and what the volumes hold is another cluster's: a person may say that it is ours.
fn adopt(facts: &Facts<'_>, known: &str) -> Option<Decision> {
    let foreign: BTreeSet<&str> = facts
        .ordinals()
        .filter_map(|i| match &facts.live(i)?.directory {
            Directory::Foreign { cluster_id: Some(id), .. } if id != known => Some(id.as_str()),
            _ => None,
        })
        .collect();
    let asked = facts.observation.cluster.spec.adopt.as_deref();
    let unused = facts.primary().is_none() && !labelled(facts).any(|id| id == known);
    if let Some(id) = asked.filter(|&id| id != known && foreign.is_empty() && unused) {
        return Some(takes_over(facts, id));
    }
    let found = foreign.first()?;
    if asked == Some(found) && foreign.len() == 1 {
        return Some(takes_over(facts, found));
    }
    Some(Decision::Blocked(
        Reason::ForeignData,
        format!(
            "volumes of this name hold the data of another cluster ({found}): set spec.adopt to its id to take it over; to \
             begin anew, choose another name for this cluster"
        ),
    ))
}

fn takes_over(facts: &Facts<'_>, id: &str) -> Decision {
    Decision::Do(Step::Record {
        cluster_id: id.into(),
        record: facts.record.clone(),
        reason: Reason::Accepted,
        message: format!("the cluster takes over the data of {id}, as spec.adopt says"),
    })
}
