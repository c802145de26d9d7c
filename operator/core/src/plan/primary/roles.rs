//! The role labels, by which the Services find the instances.
//!
//! Kubernetes tells its proxies of a change of a Service's endpoints at most once a second or so (kube-proxy,
//! `minSyncPeriod`). So a planned switchover changes them once: the old primary keeps its label until the new one leads, and
//! then both labels change in one go. At no time does the primary's Service select a server that could commit beside
//! another. Before the outcome is in the record nobody else is told to lead. The outcome is written only once the old one
//! is read-only and its right to lead was taken back, on its volume too, so that no restart makes it writable. Who connects
//! to it meanwhile is refused at once (error 1290 or 1836), and does not wait.
//!
//! That holds for an old primary that is heard, and says so. One that is silent may be dead, and connections to it would
//! hang: it loses its label, as does one whose successor is silent.

use mainstay_crd::names::{ROLE_PRIMARY, ROLE_REPLICA};
use mainstay_proto::GrantedRole;

use crate::facts::Facts;

/// The role label that each pod is to have. An agent that is silent keeps its pod's label, so that an operator
/// that has just started takes nothing from the Services; but nobody but the record's primary keeps `primary`, nor does it
/// while it hands over.
pub(in crate::plan) fn roles(facts: &Facts<'_>) -> Vec<(u32, Option<&'static str>)> {
    let mut roles: Vec<_> = facts
        .observation
        .instances
        .iter()
        .filter_map(|(&i, instance)| Some((i, role(facts, i, instance.pod.as_ref()?.role.as_deref()))))
        .collect();
    roles.sort_by_key(|(i, role)| (role.is_some(), *i));
    roles
}

fn role(facts: &Facts<'_>, ordinal: u32, current: Option<&str>) -> Option<&'static str> {
    let (primary, heard) = (facts.primary() == Some(ordinal), facts.live(ordinal).is_some());
    let leaving = facts.leaving().any(|i| i == ordinal);
    match current {
        _ if facts.leads(ordinal) => Some(ROLE_PRIMARY),
        Some(ROLE_PRIMARY) if hands_over(facts, ordinal) => Some(ROLE_PRIMARY),
        _ if leaving => None,
        Some(ROLE_REPLICA) if takes_over(facts, ordinal) => Some(ROLE_REPLICA),
        _ if facts.in_time(ordinal) => Some(ROLE_REPLICA),
        Some(ROLE_PRIMARY) if !heard && primary && facts.target().is_none() => Some(ROLE_PRIMARY),
        Some(ROLE_REPLICA) if !heard && !primary => Some(ROLE_REPLICA),
        _ => None,
    }
}

/// It led until now and is read-only for the next, which does not lead yet; or it is about to lead again, since that was
/// given up.
fn hands_over(facts: &Facts<'_>, ordinal: u32) -> bool {
    if !read_only(facts, ordinal) {
        return false;
    }
    let may_lead = facts.marker(ordinal).is_none_or(
        |marker| matches!(&marker.grant, Some(grant) if matches!(grant.role, GrantedRole::Primary { .. })),
    );
    let given_up = facts.record.switchover().is_some_and(|last| last.given_up.is_some());
    match facts.primary() {
        Some(primary) if primary == ordinal => facts.target().is_some() || (given_up && !may_lead),
        Some(primary) => !may_lead && !facts.leads(primary) && facts.live(primary).is_some(),
        None => false,
    }
}

/// It is to lead, and does not yet. It holds all that was committed, so who reads from it goes on.
fn takes_over(facts: &Facts<'_>, ordinal: u32) -> bool {
    facts.primary() == Some(ordinal) && read_only(facts, ordinal)
}

/// It is heard, its server answers and takes no writes, and its data may be used.
fn read_only(facts: &Facts<'_>, ordinal: u32) -> bool {
    let state = facts.serving(ordinal);
    state.is_some_and(|state| state.super_read_only)
        && facts.may_serve(ordinal)
        && !facts.quarantined(ordinal)
}
