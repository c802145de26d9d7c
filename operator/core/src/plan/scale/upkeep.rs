//! What of the children is made or changed.
//!
//! What keeps that alive which runs goes on whatever the spec says: certificates are renewed, and what somebody deleted is
//! made again. What changes it waits while the spec is paused or invalid.

use serde::{Deserialize, Serialize};

use crate::Object;
use crate::facts::Facts;
use crate::plan::volumes;

/// What is done with the children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Upkeep {
    /// They are made, and changed to what the spec asks for.
    #[default]
    Full,
    /// Secrets are seen to and what is missing is made, but for the StatefulSet; what is there stays as it is.
    Missing,
}

/// `None`: nothing is made.
pub(in crate::plan) fn decide(facts: &Facts<'_>) -> Option<Upkeep> {
    let object = Object::from(&facts.observation.cluster);
    if !object.may_make_children() || volumes::must_be_reserved(facts) {
        return None;
    }
    let set = facts.observation.stateful_set.is_some();
    if !object.may_change_children() {
        let runs = set || facts.observation.instances.values().any(|instance| instance.pod.is_some());
        return runs.then_some(Upkeep::Missing);
    }
    Some(if set && facts.invalid().is_some() { Upkeep::Missing } else { Upkeep::Full })
}
