//! What is asked for beyond what the watches bring, and when: each question is a request to the API server, so it is put
//! only of what is in trouble.

use jiff::{SignedDuration, Timestamp};

use crate::{Agent, Claim, Instance, Node, Pod};

/// How long a claim may wait, or a pod not start, before Kubernetes is asked why.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// Whether the events of a claim are to be read: it waits for its volume, or for its size.
pub fn events_of_claim(claim: &Claim, now: Timestamp) -> bool {
    let waits = claim.phase.as_deref() == Some("Pending") || claim.resizing.is_some();
    waits && is_old(claim.created, now)
}

/// Whether the events of a pod are to be read: it has a node, but none of its containers has run yet, since its volumes
/// are not mounted.
pub fn events_of_pod(pod: &Pod, created: Option<Timestamp>, has_begun: bool, now: Timestamp) -> bool {
    pod.node.is_some() && !has_begun && is_old(created, now)
}

/// Whether what was made then should be there by now.
pub fn is_old(created: Option<Timestamp>, now: Timestamp) -> bool {
    created.is_some_and(|at| now.duration_since(at) >= PATIENCE)
}

/// The node whose Lease is to be read: the kubelet last said that the instance runs there, and its agent is silent.
pub fn silent_on(instance: &Instance) -> Option<&str> {
    let pod = instance.pod.as_ref().filter(|pod| pod.started)?;
    let silent = !matches!(instance.agent, Agent::Live { .. });
    pod.node.as_deref().filter(|_| silent)
}

/// Whether a node's Lease is to be read, given that an instance on it is silent: Kubernetes still calls it Ready.
pub fn lease(node: &Node) -> bool {
    node.ready.as_deref() == Some("True") && !node.out_of_service
}
