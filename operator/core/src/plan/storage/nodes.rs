//! Nodes that are lost: said early, acted upon only when they are proven gone.
//!
//! A node that is silent may still run its mysqld, and so may one whose Node object was deleted. A pod is deleted by
//! force, which lets another take its place, only where that can't put two mysqld on one directory.

use jiff::{SignedDuration, Timestamp};
use mainstay_crd::conditions::Reason;

use crate::facts::Facts;
use crate::plan::storage::Problem;
use crate::plan::{Decision, advice};
use crate::{Instance, Node, NodeStep, PodStep, Step, Volume, guards, on_demand};

/// The taint by which an administrator says that nothing runs on a node any more.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// How it stands with a node.
enum Away<'a> {
    /// Its Node object does not exist.
    Gone,
    /// It is there, and not Ready.
    NotReady(&'a Node),
}

fn away<'a>(facts: &Facts<'a>, name: &str) -> Option<Away<'a>> {
    if !facts.observation.surroundings.known {
        return None;
    }
    match facts.observation.surroundings.nodes.get(name) {
        None => Some(Away::Gone),
        Some(node) if node.out_of_service || node.ready.as_deref() != Some("True") => {
            Some(Away::NotReady(node))
        }
        Some(_) => None,
    }
}

/// What is wrong with the node of an instance's pod, or with the nodes that its volume is bound to, and what to do.
pub(in crate::plan) fn problem(facts: &Facts<'_>, ordinal: u32) -> Option<Problem> {
    let name = facts.names.pod(ordinal);
    let pod = facts.instance(ordinal)?.pod.as_ref()?;
    if let Some(node) = pod.node.as_deref()
        && let Some(away) = away(facts, node)
    {
        let what = match &away {
            Away::Gone => format!("{name} is bound to node {node}, which no longer exists"),
            Away::NotReady(found) => format!("{name} is on node {node}, which is not Ready{}", since(found)),
        };
        let reason = if matches!(away, Away::Gone) { Reason::NodeGone } else { Reason::NodeNotReady };
        let proof = proven_gone(facts, ordinal);
        let then = match proof.and_then(|proof| guards::may_take(facts, ordinal).map(|_| proof)) {
            Ok(proof) => format!("it is deleted by force: {proof}"),
            Err(why) => format!("its pod is left alone: {why}"),
        };
        return Some((reason, format!("{what}; {then}{}", pinned(facts, ordinal))));
    }
    if let Some(node) = pod.node.as_deref()
        && let Some(since) = suspected(facts, ordinal, node)
    {
        let text = format!(
            "{name} is on node {node}, which is probably lost: no agent on it answers, and its Lease was not renewed \
             since {since}. Its pod is left alone until the node is proven gone{}",
            pinned(facts, ordinal)
        );
        return Some((Reason::NodeSuspected, text));
    }
    // Its pod waits for a node that does not come.
    let bound = stranded(facts, ordinal)?;
    (pod.node.is_none())
        .then_some((Reason::NodeGone, format!("{name} has no node: {bound}{}", choice(facts, ordinal))))
}

/// A Lease that was not renewed for this long. Kubelets renew theirs every 10 s, a quarter of the 40 s that it is good
/// for (Kubernetes, "Nodes", "Node heartbeats"; `nodeLeaseDurationSeconds` of the kubelet's configuration), so one was
/// missed and the next is not in time. Kubernetes itself waits for 50 s (`--node-monitor-grace-period`).
const UNRENEWED: SignedDuration = SignedDuration::from_secs(15);
/// Time between two looks while an instance is silent.
const LOOK: SignedDuration = SignedDuration::from_secs(5);

/// Since when a node that Kubernetes still calls Ready has not renewed its Lease, if no instance on it is heard either.
/// A suspicion is only said: nothing is forced for it.
fn suspected(facts: &Facts<'_>, ordinal: u32, name: &str) -> Option<Timestamp> {
    on_demand::silent_on(facts.instance(ordinal)?)?;
    let node = facts.observation.surroundings.nodes.get(name).filter(|node| on_demand::lease(node))?;
    let there =
        |instance: &&Instance| instance.pod.as_ref().is_some_and(|pod| pod.node.as_deref() == Some(name));
    let heard =
        facts.observation.instances.values().filter(there).any(|instance| instance.agent.live().is_some());
    let since = node
        .lease_unrenewed_since
        .filter(|since| facts.observation.now.duration_since(*since) >= UNRENEWED)?;
    (!heard).then_some(since)
}

/// While an instance is silent on a node that is called Ready, time alone may show that the node is lost.
pub(in crate::plan) fn look_again(facts: &Facts<'_>) -> Option<SignedDuration> {
    let mut silent = facts.observation.instances.values().filter_map(on_demand::silent_on);
    let nodes = &facts.observation.surroundings.nodes;
    silent.any(|name| nodes.get(name).is_some_and(on_demand::lease)).then_some(LOOK)
}

fn since(node: &Node) -> String {
    node.ready_since.map(|since| format!(" since {since}")).unwrap_or_default()
}

fn pinned(facts: &Facts<'_>, ordinal: u32) -> String {
    stranded(facts, ordinal).map(|bound| format!("; {bound}{}", choice(facts, ordinal))).unwrap_or_default()
}

fn choice(facts: &Facts<'_>, ordinal: u32) -> String {
    if facts.primary() == Some(ordinal) {
        return format!("; it leads, so it gets no other volume: {}", advice::never_back(facts, ordinal));
    }
    let local = facts.observation.cluster.spec.storage.local.as_ref();
    match local.and_then(|local| local.replace_after.as_deref()) {
        Some(after) => format!("; a replica gets a new volume {after} after it was seen last"),
        None => "; bring the node back, or set spec.storage.local.replaceAfter to have replicas cloned anew"
            .into(),
    }
}

fn volume<'a>(facts: &Facts<'a>, ordinal: u32) -> Option<&'a Volume> {
    let claim = facts.instance(ordinal)?.claim.as_ref()?;
    facts.observation.surroundings.volumes.get(claim.volume.as_deref()?)
}

/// The volume and the nodes that alone can mount it, if all of them are gone or not Ready.
pub(in crate::plan) fn stranded(facts: &Facts<'_>, ordinal: u32) -> Option<String> {
    let volume = volume(facts, ordinal)?;
    Some(format!("its volume {} {}", volume.name, out_of_reach(facts, volume)?))
}

/// Which nodes alone can mount a volume, if all of them are gone or not Ready.
pub(in crate::plan) fn out_of_reach(facts: &Facts<'_>, volume: &Volume) -> Option<String> {
    let hosts = volume.hosts.as_ref()?;
    let nodes = &facts.observation.surroundings.nodes;
    let node_of = |host: &String| {
        nodes
            .iter()
            .find(|(name, node)| node.host.as_deref().unwrap_or(name.as_str()) == host || *name == host)
    };
    let usable = |host: &String| node_of(host).is_some_and(|(_, node)| node.ready.as_deref() == Some("True"));
    if !facts.observation.surroundings.known || hosts.is_empty() || hosts.iter().any(usable) {
        return None;
    }
    let there = if hosts.iter().any(|host| node_of(host).is_some()) { "is not Ready" } else { "is gone" };
    Some(format!("can only be mounted on {}, which {there}", hosts.join(", ")))
}

/// Why the pod's node can no longer run its mysqld, or why that is not proven and what would prove it.
pub(in crate::plan) fn proven_gone(facts: &Facts<'_>, ordinal: u32) -> Result<String, String> {
    let node = facts.instance(ordinal).and_then(|i| i.pod.as_ref()?.node.as_deref()).unwrap_or("?");
    match away(facts, node) {
        Some(Away::NotReady(found)) if found.out_of_service => {
            Ok(format!("node {node} has the taint node.kubernetes.io/out-of-service"))
        }
        Some(Away::Gone) => object_gone(facts, ordinal, node),
        _ => Err(unproven(facts, node)),
    }
}

fn unproven(facts: &Facts<'_>, node: &str) -> String {
    let mut text = format!("that nothing runs there any more is not proven. {}", vouch(node));
    let proof = facts.observation.cluster.spec.node_loss.as_ref().and_then(|loss| loss.when_proven.as_ref());
    if let Some((proof, (key, value))) = proof.and_then(|proof| Some((proof, proof.annotation()?))) {
        let says = facts.observation.surroundings.nodes.get(node).and_then(|node| node.proof.as_deref());
        let says = match says {
            Some(says) if says == value => format!("counts once it was silent for {}", proof.after),
            Some(says) => format!("would prove it, but it says '{says}'"),
            None => "would prove it, but is not there".into(),
        };
        text.push_str(&format!("; its annotation {key}={value} {says}"));
    }
    text
}

/// How a person says that a machine is off. The taint ends every pod of the node and detaches its volumes, whether
/// something runs there or not (KEP-2268).
fn vouch(node: &str) -> String {
    format!("Only if the machine is off: kubectl taint nodes {node} {OUT_OF_SERVICE}=nodeshutdown:NoExecute")
}

/// What to do about a volume that is attached to another node still: no taint for one that is Ready.
pub(in crate::plan) fn attached(facts: &Facts<'_>, node: &str) -> String {
    let waits = format!("it is detached once {node} has unmounted it");
    let node_object = facts.observation.surroundings.nodes.get(node);
    if node_object.is_some_and(|found| found.ready.as_deref() == Some("True")) {
        return waits;
    }
    if facts.observation.surroundings.known && node_object.is_none() {
        return format!("{waits}. {}", vouch_again(node));
    }
    format!("{waits}. {}", vouch(node))
}

/// The same of a machine whose Node object is gone.
fn vouch_again(node: &str) -> String {
    format!(
        "Only if the machine is off, make the Node {node} again with the taint {OUT_OF_SERVICE}=nodeshutdown:NoExecute"
    )
}

/// A deleted Node object stops no container: only where a volume can't be mounted twice is it proof enough.
fn object_gone(facts: &Facts<'_>, ordinal: u32, node: &str) -> Result<String, String> {
    let again = vouch_again(node);
    let Some(volume) = volume(facts, ordinal) else {
        return Err(format!("its volume can't be seen. {again}"));
    };
    // `ReadWriteOncePod` is no proof: scheduler and kubelet count pods for it (KEP-2485), and the pod that is deleted by
    // force no longer counts, whether its containers ended or not. An attachment is counted by the storage.
    let csi = volume.source.as_deref() == Some("csi");
    let was_attached = facts.ledger_entry(ordinal).is_some_and(|entry| entry.attached);
    let shared = volume.access_modes.iter().any(|mode| mode == "ReadWriteMany");
    match (csi && was_attached && !shared, volume.attached_to.first()) {
        (true, None) => Ok(format!("node {node} no longer exists, and {} was detached from it", volume.name)),
        (true, Some(other)) => Err(format!("its volume {} is still attached to {other}", volume.name)),
        (false, _) => Err(format!(
            "its volume {} ({}) could be mounted twice, so that a deleted Node proves nothing. {again}",
            volume.name,
            volume.source.as_deref().unwrap_or("other")
        )),
    }
}

/// Deletes a pod by force whose node is proven gone.
pub(in crate::plan) fn force(facts: &Facts<'_>) -> Option<Decision> {
    facts.observation.instances.keys().find_map(|&ordinal| force_one(facts, ordinal))
}

fn force_one(facts: &Facts<'_>, ordinal: u32) -> Option<Decision> {
    let instance = facts.instance(ordinal)?;
    let pod = instance.pod.as_ref()?;
    // An agent that speaks is no proof of anything but its own life.
    if pod.node.is_none() || instance.agent.live().is_some() {
        return None;
    }
    let proof = proven_gone(facts, ordinal).ok()?;
    guards::may_take(facts, ordinal).ok()?;
    let name = facts.names.pod(ordinal);
    let message = format!("{name} is deleted by force: {proof}");
    let (uid, step) = (pod.uid.clone(), PodStep::ForceDelete);
    Some(Decision::Do(Step::Pod { pod: name, uid, step, message }))
}

/// Taints a node of which something outside of Kubernetes says that the machine is off, and of which Kubernetes has not
/// heard for long.
pub(in crate::plan) fn taint(facts: &Facts<'_>) -> Option<Decision> {
    let proof = facts.observation.cluster.spec.node_loss.as_ref()?.when_proven.as_ref()?;
    let (key, value) = proof.annotation()?;
    let after: SignedDuration = proof.after.parse().ok()?;
    let of_pods = facts.observation.instances.values().filter_map(|i| i.pod.as_ref()?.node.as_deref());
    of_pods.filter_map(|name| Some((name, facts.observation.surroundings.nodes.get(name)?))).find_map(
        |(name, node)| {
            let silent = matches!(node.ready.as_deref(), Some("False" | "Unknown"));
            let long =
                node.ready_since.is_some_and(|since| facts.observation.now.duration_since(since) >= after);
            let proven = node.proof.as_deref() == Some(value);
            (silent && long && proven && !node.out_of_service).then(|| {
                let message = format!(
                    "node {name} is tainted out of service: not Ready{} and {key}={value}",
                    since(node)
                );
                let (uid, step) = (node.uid.clone(), NodeStep::TaintOutOfService);
                Decision::Do(Step::Node { node: name.to_owned(), uid, step, message })
            })
        },
    )
}
