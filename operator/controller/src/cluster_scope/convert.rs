//! What is kept of each object.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, VolumeNodeAffinity};
use mainstay_core::{Class, Node, Volume};
use mainstay_crd::names::{GROUP, Names};
use mainstay_crd::quantity;

use super::api_types;
use crate::watch::ClusterKey;

/// Label of a node by which volumes name it.
/// Source: Kubernetes, "Well-Known Labels, Annotations and Taints".
const HOST_NAME: &str = "kubernetes.io/hostname";
/// Taint by which an administrator vouches that a node is shut down. Source: KEP-2268.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// Annotation of the class that claims get which name none. Source: Kubernetes, "Storage Classes".
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// Labels that drivers of local volumes give their nodes, each with the node's name.
const DRIVERS_HOST_NAMES: [&str; 4] = [
    "topology.hostpath.csi/node",
    "topology.topolvm.io/node",
    "openebs.io/nodename",
    "local.csi.openebs.io/nodename",
];

/// A volume that is attached, or being attached, to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// The volume's name.
    pub(crate) volume: String,
    /// The node's name.
    pub(crate) node: String,
}

/// Of a volume that another's claim is bound to, nothing is kept.
pub(super) fn volume(object: api_types::Volume) -> Option<Volume> {
    let api_types::Volume { metadata, spec, status } = object;
    let reference = spec
        .claim_ref
        .map(|claim| ((claim.namespace.unwrap_or_default(), claim.name.unwrap_or_default()), claim.uid));
    let bound = status.phase.as_deref() == Some("Bound");
    let ours = |map: &BTreeMap<String, String>| map.keys().any(|key| key.starts_with(GROUP));
    let labelled = metadata.labels.as_ref().is_some_and(ours);
    let could_be_ours =
        reference.as_ref().is_none_or(|((namespace, name), _)| cluster_of_claim(namespace, name).is_some());
    if bound && !labelled && !could_be_ours {
        return None;
    }
    let (source, handle) = match (spec.csi, spec.nfs, spec.local, spec.host_path) {
        (Some(csi), ..) => ("csi", Some(format!("{}/{}", csi.driver, csi.volume_handle))),
        (_, Some(nfs), ..) => ("nfs", Some(format!("{}:{}", nfs.server, nfs.path))),
        (.., Some(local), _) => ("local", Some(local.path)),
        (.., Some(path)) => ("hostPath", Some(path.path)),
        _ => ("other", None),
    };
    let (claim, claim_uid) = reference.map_or((None, None), |(claim, uid)| (Some(claim), uid));
    let mut labels = metadata.labels.unwrap_or_default();
    if claim.is_some() {
        labels.retain(|key, _| key.starts_with(GROUP));
    }
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.retain(|key, _| key.starts_with(GROUP));
    Some(Volume {
        name: metadata.name.unwrap_or_default(),
        uid: metadata.uid.unwrap_or_default(),
        deleting: metadata.deletion_timestamp.is_some(),
        phase: status.phase,
        class: spec.storage_class_name,
        reclaim_policy: spec.persistent_volume_reclaim_policy,
        source: Some(source.to_owned()),
        handle,
        claim,
        claim_uid,
        hosts: spec.node_affinity.as_ref().and_then(hosts),
        access_modes: spec.access_modes,
        capacity: spec.capacity.get("storage").and_then(quantity::whole),
        attached_to: Vec::new(),
        labels,
        annotations,
    })
}

/// The nodes that an affinity names, if all of its terms name some: any of them will do.
fn hosts(affinity: &VolumeNodeAffinity) -> Option<Vec<String>> {
    let terms = &affinity.required.as_ref()?.node_selector_terms;
    let named: Option<Vec<Vec<String>>> = terms.iter().map(hosts_of).collect();
    let mut hosts: Vec<String> = named?.into_iter().flatten().collect();
    hosts.sort();
    hosts.dedup();
    (!hosts.is_empty()).then_some(hosts)
}

fn hosts_of(term: &NodeSelectorTerm) -> Option<Vec<String>> {
    let by_label = term.match_expressions.iter().flatten().find(|r| names_a_node(r, false));
    let by_field = term.match_fields.iter().flatten().find(|r| names_a_node(r, true));
    by_label.or(by_field)?.values.clone()
}

fn names_a_node(requirement: &NodeSelectorRequirement, field: bool) -> bool {
    let key = requirement.key.as_str();
    let right =
        if field { key == "metadata.name" } else { key == HOST_NAME || DRIVERS_HOST_NAMES.contains(&key) };
    right && requirement.operator == "In"
}

/// A node without what moves all the time. `drains` are the keys of taints by which it is being drained.
pub(super) fn node(object: api_types::Node, drains: &[String]) -> Option<Node> {
    let api_types::Node { metadata, spec, status } = object;
    let ready = status.conditions.into_iter().find(|condition| condition.type_ == "Ready");
    Some(Node {
        uid: metadata.uid.unwrap_or_default(),
        host: metadata.labels.and_then(|mut labels| labels.remove(HOST_NAME)),
        ready_since: ready.as_ref().and_then(|condition| condition.last_transition_time),
        ready: ready.map(|condition| condition.status),
        out_of_service: spec.taints.iter().any(|taint| taint.key == OUT_OF_SERVICE),
        cordoned: spec.unschedulable,
        draining: spec.taints.iter().find(|taint| drains.contains(&taint.key)).map(|taint| taint.key.clone()),
        lease_unrenewed_since: None,
        proof: None,
    })
}

/// A storage class.
pub(super) fn class(object: api_types::Class) -> Option<Class> {
    let default = object.metadata.annotations.and_then(|mut map| map.remove(DEFAULT_CLASS));
    Some(Class {
        provisioner: object.provisioner,
        expandable: object.allow_volume_expansion,
        waits_for_consumer: object.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
        default: default.as_deref() == Some("true"),
    })
}

/// An attachment of a volume that has a name.
pub(super) fn attachment(object: api_types::Attachment) -> Option<Attachment> {
    let volume = object.spec.source.persistent_volume_name?;
    Some(Attachment { volume, node: object.spec.node_name })
}

/// The cluster whose claim `namespace/name` is, by its name: `data-NAME-i`. Other people's claims can have such
/// names too; then no such cluster exists.
pub(super) fn cluster_of_claim(namespace: &str, name: &str) -> Option<ClusterKey> {
    let name = name.rsplit_once("-aside-").map_or(name, |(of, _)| of);
    let (cluster, _) = name.strip_prefix("data-")?.rsplit_once('-')?;
    Names::new(namespace, cluster).ordinal_of_claim(name)?;
    Some(ClusterKey::named(namespace, cluster))
}
