//! Why a claim has no volume yet.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use mainstay_crd::AccessMode;
use mainstay_crd::conditions::Reason;

use super::storage::Problem;
use super::view::View;
use crate::{Claim, Pod, Volume};

/// Provisioner of classes whose volumes people make. Source: Kubernetes, "Storage Classes", "Local".
const BY_HAND: &str = "kubernetes.io/no-provisioner";
/// Free volumes that are named, each with what it lacks.
const NAMED: usize = 3;

/// Why `claim` is Pending, and what to do.
pub(super) fn problem(view: &View<'_>, ordinal: u32, claim: &Claim, pod: Option<&Pod>) -> Problem {
    let surroundings = &view.o.surroundings;
    let name = &claim.name;
    if let Some(problem) = taken(view, claim) {
        return problem;
    }
    if let Some(words) = &claim.warning {
        let text = format!("claim {name} gets no volume: {words}");
        return (Reason::ProvisioningFailed, text);
    }
    let class = claim.class.as_deref().filter(|class| !class.is_empty());
    match class.map(|class| (class, surroundings.classes.get(class))) {
        _ if !surroundings.known => {
            let text = format!("claim {name} is Pending; the operator may not read why");
            (Reason::Provisioning, text)
        }
        None if claim.class.is_none() && !surroundings.classes.values().any(|class| class.default) => {
            let text = format!(
                "claim {name} names no class, and there is no default: make a StorageClass the default{}",
                candidates(view, claim)
            );
            (Reason::NoDefaultClass, text)
        }
        None => (Reason::NoMatchingVolume, by_hand(view, claim, "no class makes volumes for it")),
        Some((class, None)) => {
            let why = format!("there is no StorageClass {class}");
            (Reason::NoMatchingVolume, by_hand(view, claim, &why))
        }
        Some((class, Some(found)))
            if found.waits_for_consumer && pod.is_none_or(|pod| pod.node.is_none()) =>
        {
            waits(view, ordinal, claim, pod, class, found.provisioner == BY_HAND)
        }
        Some((class, Some(found))) if found.provisioner == BY_HAND => {
            let why = format!("volumes of the class {class} are made by hand");
            (Reason::NoMatchingVolume, by_hand(view, claim, &why))
        }
        Some((class, Some(found))) => {
            let text =
                format!("claim {name} waits for {} to make a volume of the class {class}", found.provisioner);
            (Reason::Provisioning, text)
        }
    }
}

/// A volume of this claim's name is another's, or was its predecessor's.
fn taken(view: &View<'_>, claim: &Claim) -> Option<Problem> {
    let volumes = &view.o.surroundings.volumes;
    let ours = (view.o.cluster.namespace.clone(), claim.name.clone());
    if let Some(wanted) = claim.volume.as_deref().and_then(|name| volumes.get(name))
        && let Some((namespace, other)) = wanted.claim.as_ref().filter(|other| **other != ours)
    {
        let text = format!(
            "claim {} wants the volume {}, which is claim {namespace}/{other}'s: two claims can't have one volume; \
             delete the one that is not to have it",
            claim.name, wanted.name
        );
        return Some((Reason::VolumeTaken, text));
    }
    let released = volumes.values().find(|volume| {
        volume.claim.as_ref() == Some(&ours)
            && volume.phase.as_deref() == Some("Released")
            && volume.claim_uid.as_deref() != Some(claim.uid.as_str())
    })?;
    // Where a class makes a new one, the old one is nobody's trouble.
    let class = claim.class.as_deref().and_then(|class| view.o.surroundings.classes.get(class));
    class.is_none_or(|class| class.provisioner == BY_HAND).then(|| {
        let text = format!(
            "claim {} is Pending, and the volume {} that an earlier claim of this name had is Released: annotate the \
             MySQLCluster with {}={} to give its data back, or make another volume",
            claim.name,
            released.name,
            mainstay_crd::names::ANNOTATION_GIVE_BACK,
            released.name
        );
        (Reason::VolumeReleased, text)
    })
}

fn waits(
    view: &View<'_>,
    ordinal: u32,
    claim: &Claim,
    pod: Option<&Pod>,
    class: &str,
    by_hand_only: bool,
) -> Problem {
    let name = view.names.pod(ordinal);
    match pod.and_then(|pod| pod.trouble.as_deref()) {
        Some(words) if by_hand_only => {
            let text = format!(
                "claim {} has no volume that {name} could use: {words}{}",
                claim.name,
                candidates(view, claim)
            );
            (Reason::NoMatchingVolume, text)
        }
        Some(words) => (
            Reason::Unschedulable,
            format!("claim {} waits for {name}, which no node takes: {words}", claim.name),
        ),
        None => {
            let text = format!("claim {} of the class {class} is bound once {name} is scheduled", claim.name);
            (Reason::WaitsForConsumer, text)
        }
    }
}

fn by_hand(view: &View<'_>, claim: &Claim, why: &str) -> String {
    format!(
        "claim {} gets no volume: {why}, and none that is free will do{}. Make one",
        claim.name,
        candidates(view, claim)
    )
}

/// The free volumes, each with what it lacks.
fn candidates(view: &View<'_>, claim: &Claim) -> String {
    let ours = (view.o.cluster.namespace.clone(), claim.name.clone());
    let free =
        view.o.surroundings.volumes.values().filter(|volume| volume.phase.as_deref() == Some("Available"));
    let lacks: Vec<String> = free
        .map(|volume| format!("{} {}", volume.name, lacks(view, claim, volume, &ours).join(" and ")))
        .take(NAMED)
        .collect();
    if lacks.is_empty() { " (there is none)".into() } else { format!(" ({})", lacks.join("; ")) }
}

/// In what a free volume does not fit a claim. Source: Kubernetes, "Persistent Volumes", "Binding" and the fields
/// that it names.
fn lacks(view: &View<'_>, claim: &Claim, volume: &Volume, ours: &(String, String)) -> Vec<String> {
    let storage = &view.o.cluster.spec.storage;
    let mut lacks = Vec::new();
    if let Some((namespace, name)) = volume.claim.as_ref().filter(|reserved| *reserved != ours) {
        lacks.push(format!("is reserved for {namespace}/{name}"));
    }
    let (has, wants) =
        (volume.class.as_deref().unwrap_or_default(), claim.class.as_deref().unwrap_or_default());
    if has != wants {
        lacks.push(format!("has the class '{has}', not '{wants}'"));
    }
    if let (Some(has), Some(wants)) = (volume.capacity, claim.requested)
        && has < wants
    {
        lacks.push(format!("has {has} bytes of {wants}"));
    }
    for mode in storage.access_modes.iter().map(|mode| mode_name(*mode)) {
        if !volume.access_modes.iter().any(|has| has == mode) {
            lacks.push(format!("can't be mounted {mode}"));
        }
    }
    if storage.selector.as_ref().is_some_and(|selector| !selects(selector, &volume.labels)) {
        lacks.push("has not the labels that spec.storage.selector asks for".into());
    }
    if lacks.is_empty() {
        lacks.push("fits, and is not bound yet".into());
    }
    lacks
}

fn mode_name(mode: AccessMode) -> &'static str {
    match mode {
        AccessMode::ReadWriteOnce => "ReadWriteOnce",
        AccessMode::ReadWriteOncePod => "ReadWriteOncePod",
        AccessMode::ReadWriteMany => "ReadWriteMany",
    }
}

/// Source: Kubernetes, "Labels and Selectors", "Resources that support set-based requirements".
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let sets = selector.match_expressions.iter().flatten().all(|requirement| {
        let value = labels.get(&requirement.key);
        let listed = value.is_some_and(|v| requirement.values.iter().flatten().any(|wanted| wanted == v));
        match requirement.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    equal && sets
}
