//! Of volumes, nodes and classes, those that concern one cluster.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use mainstay_core::{Instance, Node, Surroundings, Volume, on_demand};
use mainstay_crd::names::{ANNOTATION_GIVE_BACK, LABEL_CLUSTER_ID, Names};
use mainstay_crd::{MySQLCluster, WhenProven};

use crate::context::Context;
use crate::watch::Caller;

/// Free volumes that are looked at when a claim waits for one.
const FREE: usize = 20;

/// What concerns `cluster`.
pub(super) fn of(
    context: &Context,
    caller: &Caller,
    cluster: &MySQLCluster,
    names: &Names,
    instances: &BTreeMap<u32, Instance>,
    secrets_id: Option<&str>,
    now: Timestamp,
) -> Surroundings {
    let cluster_scope = &context.cluster_scope;
    let unseen = cluster_scope.unseen();
    let volumes = volumes(context, cluster, names, instances, secrets_id);
    let classes = classes(context, cluster, instances, &volumes);
    let mut nodes = nodes(context, caller, cluster, instances, &volumes);
    for name in instances.values().filter_map(on_demand::silent_on) {
        if let Some(node) = nodes.get_mut(name).filter(|node| on_demand::lease(node)) {
            node.lease_unrenewed_since = context.leases.unrenewed_since(caller, name, now);
        }
    }
    let refused = BTreeMap::new();
    Surroundings { known: unseen.is_empty(), unseen, volumes, refused, nodes, classes }
}

/// An instance's claim, or one that keeps what was set aside, by its name.
fn is_of(names: &Names, claim: &str) -> bool {
    names.ordinal_of_claim(claim).or_else(|| names.ordinal_of_aside_claim(claim)).is_some()
}

fn volumes(
    context: &Context,
    cluster: &MySQLCluster,
    names: &Names,
    instances: &BTreeMap<u32, Instance>,
    secrets_id: Option<&str>,
) -> BTreeMap<String, Volume> {
    let claims = || instances.values().filter_map(|instance| instance.claim.as_ref());
    let status = cluster.status.as_ref();
    let noted = status.iter().flat_map(|s| &s.instances).filter_map(|i| i.volume.clone());
    let asked = cluster.annotations().get(ANNOTATION_GIVE_BACK).cloned();
    let named = claims().filter_map(|claim| claim.volume.clone()).chain(noted).chain(asked);
    let named: BTreeSet<String> = named.collect();
    let waiting: Vec<&str> = claims()
        .filter(|claim| claim.phase.as_deref() == Some("Pending"))
        .map(|claim| claim.class.as_deref().unwrap_or_default())
        .collect();
    // Before there is an id, those that tell of data which an earlier object of this name had.
    let known = status.and_then(|status| status.cluster_id.as_deref());
    let ids: BTreeSet<&str> =
        known.into_iter().chain(cluster.spec.adopt.as_deref()).chain(secrets_id).collect();
    let (mut found, mut free) = (BTreeMap::new(), BTreeMap::new());
    let mut take = |name: &str, volume: &Volume| {
        let attached_to = context.cluster_scope.attached_to(name);
        found.insert(name.to_owned(), Volume { attached_to, ..volume.clone() });
    };
    context.cluster_scope.volumes.each(|name, volume| {
        let for_us =
            volume.claim.as_ref().is_some_and(|(ns, claim)| *ns == names.namespace && is_of(names, claim));
        let labelled = volume.labels.get(LABEL_CLUSTER_ID).is_some_and(|id| ids.contains(id.as_str()));
        if for_us || labelled || named.contains(name) {
            take(name, volume);
        } else if !waiting.is_empty() && volume.phase.as_deref() == Some("Available") {
            let other = !waiting.contains(&volume.class.as_deref().unwrap_or_default());
            free.insert((other, name.to_owned()), volume.clone());
        }
    });
    // What a claim waits for is most likely of its class; but that may be what is wrong with it.
    free.iter().take(FREE).for_each(|((_, name), volume)| take(name, volume));
    found
}

fn classes(
    context: &Context,
    cluster: &MySQLCluster,
    instances: &BTreeMap<u32, Instance>,
    volumes: &BTreeMap<String, Volume>,
) -> BTreeMap<String, mainstay_core::Class> {
    let of_claims = instances.values().filter_map(|i| i.claim.as_ref()?.class.as_deref());
    let of_volumes = volumes.values().filter_map(|volume| volume.class.as_deref());
    let asked: BTreeSet<&str> =
        of_claims.chain(of_volumes).chain(cluster.spec.storage.class.as_deref()).collect();
    let mut found = BTreeMap::new();
    context.cluster_scope.classes.each(|name, class| {
        if class.default || asked.contains(name) {
            found.insert(name.to_owned(), (**class).clone());
        }
    });
    found
}

fn nodes(
    context: &Context,
    caller: &Caller,
    cluster: &MySQLCluster,
    instances: &BTreeMap<u32, Instance>,
    volumes: &BTreeMap<String, Volume>,
) -> BTreeMap<String, Node> {
    let of_pods = instances.values().filter_map(|i| i.pod.as_ref()?.node.as_deref());
    let noted = cluster.status.iter().flat_map(|s| &s.instances).filter_map(|i| i.node.as_deref());
    let attached = volumes.values().flat_map(|v| v.attached_to.iter().map(String::as_str));
    let asked: BTreeSet<&str> = of_pods.chain(noted).chain(attached).collect();
    let hosts: BTreeSet<&str> =
        volumes.values().flat_map(|v| v.hosts.iter().flatten()).map(String::as_str).collect();
    let mut found = BTreeMap::new();
    context.cluster_scope.nodes.each(|name, node| {
        let host = node.host.as_deref().unwrap_or(name);
        if asked.contains(name) || hosts.contains(name) || hosts.contains(host) {
            found.insert(name.to_owned(), (**node).clone());
        }
    });
    let proof = cluster.spec.node_loss.as_ref().and_then(|loss| loss.when_proven.as_ref());
    if let Some((annotation, _)) = proof.and_then(WhenProven::annotation) {
        for (name, node) in found.iter_mut().filter(|(_, node)| node.ready.as_deref() != Some("True")) {
            node.proof = context.object_events.of_node(caller, name, annotation);
        }
    }
    found
}
