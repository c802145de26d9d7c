//! Why a claim has no volume yet.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use mainstay_crd::conditions::Reason;
use mainstay_crd::{AccessMode, quantity};

use crate::facts::Facts;
use crate::plan::storage::Problem;
use crate::plan::{advice, nodes};
use crate::{Claim, Pod, Volume};

/// Provisioner of classes whose volumes people make. Source: Kubernetes, "Storage Classes", "Local".
const BY_HAND: &str = "kubernetes.io/no-provisioner";
/// Free volumes that are named, each with what it lacks.
const NAMED: usize = 3;

/// Why `claim` is Pending, and what to do.
pub(in crate::plan) fn problem(facts: &Facts<'_>, ordinal: u32, claim: &Claim, pod: Option<&Pod>) -> Problem {
    let (reason, why) = unbound(facts, ordinal, claim, pod);
    match advice::asks_for_too_much(facts, claim) {
        Some(way) => (reason, format!("{}. {way}", why.trim_end_matches('.'))),
        None => (reason, why),
    }
}

fn unbound(facts: &Facts<'_>, ordinal: u32, claim: &Claim, pod: Option<&Pod>) -> Problem {
    let surroundings = &facts.observation.surroundings;
    let name = &claim.name;
    if let Some(problem) = taken(facts, ordinal, claim) {
        return problem;
    }
    if let Some(way) = advice::is_of_another_class(facts, claim) {
        return (Reason::OtherClass, way);
    }
    let class = claim.class.as_deref().filter(|class| !class.is_empty());
    match class.map(|class| (class, surroundings.classes.get(class))) {
        _ if !surroundings.known => match &claim.warning {
            Some(words) => failed(claim, words),
            None => {
                let text = format!("claim {name} is Pending; the operator may not read why");
                (Reason::Provisioning, text)
            }
        },
        None if claim.class.is_none() && !surroundings.classes.values().any(|class| class.default) => {
            let text = format!(
                "claim {name} names no class, and there is no default: make a StorageClass the default{}",
                candidates(facts, claim)
            );
            (Reason::NoDefaultClass, text)
        }
        None => (Reason::NoMatchingVolume, by_hand(facts, claim, "no class makes volumes for it")),
        Some((class, None)) => {
            let why = format!("there is no StorageClass {class}");
            (Reason::NoMatchingVolume, by_hand(facts, claim, &why))
        }
        // Of a class that nobody makes volumes of, the words are only that nobody does.
        Some((_, Some(found))) if found.provisioner != BY_HAND && claim.warning.is_some() => {
            failed(claim, claim.warning.as_deref().unwrap_or_default())
        }
        Some((class, Some(found)))
            if found.waits_for_consumer && pod.is_none_or(|pod| pod.node.is_none()) =>
        {
            waits(facts, ordinal, claim, pod, class, found.provisioner == BY_HAND)
        }
        Some((class, Some(found))) if found.provisioner == BY_HAND => {
            let why = format!("volumes of the class {class} are made by hand");
            (Reason::NoMatchingVolume, by_hand(facts, claim, &why))
        }
        Some((class, Some(found))) => {
            let text = format!(
                "claim {name} waits for {provisioner} to make a volume of the class {class}; should that last, see \
                 whether {provisioner} runs",
                provisioner = found.provisioner
            );
            (Reason::Provisioning, text)
        }
    }
}

fn failed(claim: &Claim, words: &str) -> Problem {
    let text = format!(
        "claim {} gets no volume: {words}. It is tried again: mend what these words name",
        claim.name
    );
    (Reason::ProvisioningFailed, text)
}

/// A volume of this claim's name is another's, or was its predecessor's.
fn taken(facts: &Facts<'_>, ordinal: u32, claim: &Claim) -> Option<Problem> {
    let volumes = &facts.observation.surroundings.volumes;
    let ours = (facts.observation.cluster.namespace.clone(), claim.name.clone());
    if let Some(wanted) = claim.volume.as_deref().and_then(|name| volumes.get(name))
        && let Some((namespace, other)) = wanted.claim.as_ref().filter(|other| **other != ours)
    {
        let text = format!(
            "claim {} wants the volume {}, which is claim {namespace}/{other}'s: two claims can't have one volume. \
             Nothing is on this one: delete it and its pod to have it made anew",
            claim.name, wanted.name
        );
        return Some((Reason::VolumeTaken, text));
    }
    let left = volumes.values().find(|volume| {
        volume.claim.as_ref() == Some(&ours)
            && matches!(volume.phase.as_deref(), Some("Released" | "Failed"))
            && volume.claim_uid.as_deref() != Some(claim.uid.as_str())
    })?;
    // Where a class makes a new one, the old one is nobody's trouble.
    let class = claim.class.as_deref().and_then(|class| facts.observation.surroundings.classes.get(class));
    class.is_none_or(|class| class.provisioner == BY_HAND).then(|| earlier(facts, ordinal, claim, left))
}

fn earlier(facts: &Facts<'_>, ordinal: u32, claim: &Claim, left: &Volume) -> Problem {
    let (reason, what) = match left.phase.as_deref() {
        Some("Failed") => {
            (Reason::VolumeFailed, "has Failed: it was to be reclaimed, and could not be. To keep it, and")
        }
        _ => (Reason::VolumeReleased, "is Released. To"),
    };
    let text = format!(
        "claim {} is Pending, and the volume {} that an earlier claim of this name had {what} have its data given back: {}; or \
         make another volume",
        claim.name,
        left.name,
        advice::give_back_command(facts, ordinal, left)
    );
    (reason, text)
}

fn waits(
    facts: &Facts<'_>,
    ordinal: u32,
    claim: &Claim,
    pod: Option<&Pod>,
    class: &str,
    by_hand_only: bool,
) -> Problem {
    let name = facts.names.pod(ordinal);
    let Some(pod) = pod else {
        let text = format!(
            "claim {} of the class {class} is bound once {name} is scheduled, and that is not there: should that last, \
             the events of StatefulSet {} say why",
            claim.name,
            facts.names.base()
        );
        return (Reason::WaitsForConsumer, text);
    };
    let one_fits = || free(facts, claim).iter().any(|(_, lacks)| lacks.is_empty());
    match &pod.trouble {
        Some(words) if by_hand_only && !one_fits() => {
            let text = format!(
                "claim {} has no volume that {name} could use: {words}{}. Make one",
                claim.name,
                candidates(facts, claim)
            );
            (Reason::NoMatchingVolume, text)
        }
        Some(words) => {
            let why = format!("claim {} waits for {name}, which no node takes: {words}", claim.name);
            (Reason::Unschedulable, unschedulable(&why))
        }
        None => {
            let text = format!("claim {} of the class {class} is bound once {name} is scheduled", claim.name);
            (Reason::WaitsForConsumer, text)
        }
    }
}

/// What is to be done about a pod that no node takes.
pub(in crate::plan) fn unschedulable(why: &str) -> String {
    let why = why.trim_end_matches('.');
    format!("{why}. It is tried again: make room, or change spec.scheduling or spec.resources")
}

fn by_hand(facts: &Facts<'_>, claim: &Claim, why: &str) -> String {
    format!(
        "claim {} gets no volume: {why}, and none that is free will do{}. Make one",
        claim.name,
        candidates(facts, claim)
    )
}

/// The free volumes, each with what it lacks; the nearest first.
fn candidates(facts: &Facts<'_>, claim: &Claim) -> String {
    let said = |(name, lacks): &(&str, Vec<String>)| match lacks.is_empty() {
        true => format!("{name} fits, and is not bound yet"),
        false => format!("{name} {}", lacks.join(" and ")),
    };
    let nearest: Vec<String> = free(facts, claim).iter().take(NAMED).map(said).collect();
    if nearest.is_empty() { " (there is none)".into() } else { format!(" ({})", nearest.join("; ")) }
}

/// The free volumes with what each lacks; the nearest first, and of two as near the one of its class.
fn free<'v>(facts: &'v Facts<'_>, claim: &Claim) -> Vec<(&'v str, Vec<String>)> {
    let ours = (facts.observation.cluster.namespace.clone(), claim.name.clone());
    let wants = claim.class.as_deref().unwrap_or_default();
    let other_class = |volume: &Volume| volume.class.as_deref().unwrap_or_default() != wants;
    let volumes = facts.observation.surroundings.volumes.values();
    let free = volumes.filter(|volume| volume.phase.as_deref() == Some("Available"));
    let mut free: Vec<_> = free.map(|volume| (lacks(facts, claim, volume, &ours), volume)).collect();
    free.sort_by_key(|(lacks, volume)| (lacks.len(), other_class(volume)));
    free.into_iter().map(|(lacks, volume)| (volume.name.as_str(), lacks)).collect()
}

/// In what a free volume does not fit a claim. Source: Kubernetes, "Persistent Volumes", "Binding" and the fields
/// that it names.
fn lacks(facts: &Facts<'_>, claim: &Claim, volume: &Volume, ours: &(String, String)) -> Vec<String> {
    let storage = &facts.observation.cluster.spec.storage;
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
        lacks.push(format!("has {}, not {}", quantity::of_bytes(has), quantity::of_bytes(wants)));
    }
    for mode in storage.access_modes.iter().map(|mode| mode_name(*mode)) {
        if !volume.access_modes.iter().any(|has| has == mode) {
            lacks.push(format!("can't be mounted {mode}"));
        }
    }
    // The labels of one that is reserved are not kept, and not asked for either.
    let selects = |selector: &LabelSelector| volume.claim.is_some() || selects(selector, &volume.labels);
    if !storage.selector.as_ref().is_none_or(selects) {
        lacks.push("has not the labels that spec.storage.selector asks for".into());
    }
    lacks.extend(nodes::out_of_reach(facts, volume));
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
