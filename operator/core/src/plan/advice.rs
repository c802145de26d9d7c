//! Every sentence that tells a person what to do to data: each is true for this cluster's settings and state.
//!
//! Played word for word, none of them loses an acknowledged write that another volume still holds. What would be lost is
//! said; what could be the last copy is never to be deleted; and that claims are kept is said only where they are.

use mainstay_crd::names::{
    ANNOTATION_GIVE_BACK, ANNOTATION_SWITCHOVER_TO, LABEL_CLUSTER_ID, LABEL_ORDINAL, SWITCHOVER_TO_ANY,
};
use mainstay_crd::{RetentionPolicy, quantity};
use mainstay_proto::Directory;

use super::storage::labels;
use crate::facts::{Divergence, Facts};
use crate::guards::Object;
use crate::state;
use crate::{Claim, Volume};

/// How operators before this one began what they advised, within what they said of data that came back.
const FORMER: [&str; 2] = [" It neither serves nor leads. ", " It stays out. "];

/// What was found, without the advice that an older operator put behind it: that held for no state but its own.
pub(super) fn evidence(message: &str) -> &str {
    let cut = FORMER.iter().filter_map(|former| message.find(former)).min();
    cut.map_or(message, |at| &message[..at])
}

/// The question behind all advice to use another instance: whether there is one.
pub(super) fn is_only(facts: &Facts<'_>, ordinal: u32) -> bool {
    facts.ordinals().all(|other| other == ordinal)
}

/// The Secrets of a cluster, which tell whose data there was.
pub(super) fn secrets(facts: &Facts<'_>) -> String {
    format!(
        "{}, {}, {} and {}",
        facts.names.credentials_secret(),
        facts.names.ca_secret(),
        facts.names.tls_secret(),
        facts.names.operator_tls_secret()
    )
}

/// What to do about a record that is older than what the instances know.
pub(super) fn record_set_back(facts: &Facts<'_>) -> String {
    format!(
        "Put back the newer status; or {}: the record is then rebuilt from the instances",
        recreate(facts)
    )
}

/// What comes before an object may be deleted.
pub(super) fn unprotect(facts: &Facts<'_>) -> &'static str {
    if facts.observation.cluster.spec.deletion_protection {
        "set spec.deletionProtection to false, "
    } else {
        ""
    }
}

/// To delete the object and make it again, with what is to be set before. That claims are kept because the data is lost is
/// not built upon: who is asked at that moment may not answer.
pub(super) fn recreate(facts: &Facts<'_>) -> String {
    let first = unprotect(facts);
    let kept = Object::from(&facts.observation.cluster).when_deleted() == RetentionPolicy::Retain;
    match kept {
        true => format!("{first}delete the object (every claim and Secret is kept) and create it again"),
        false => format!(
            "{first}set spec.storage.retention.whenDeleted.policy to Retain, so that claims and Secrets are kept, delete \
             the object and create it again"
        ),
    }
}

/// What must be done before any request is answered, if the cluster is held back.
pub(super) fn held(facts: &Facts<'_>) -> Option<&'static str> {
    if facts.observation.cluster.spec.paused {
        return Some("take spec.paused back");
    }
    facts.invalid().map(|_| "mend the spec, as SpecValid says")
}

/// The same, before a command.
fn first_of_all(facts: &Facts<'_>) -> String {
    held(facts).map(|first| format!("first {first}, then ")).unwrap_or_default()
}

/// A request to the operator, as a command: nobody answers it while the cluster is held back.
pub(super) fn annotate(facts: &Facts<'_>, annotation: &str, value: &str) -> String {
    let cluster = &facts.observation.cluster;
    format!(
        "{}kubectl annotate --overwrite -n {} mysqlcluster {} {annotation}={value}",
        first_of_all(facts),
        cluster.namespace,
        cluster.name
    )
}

/// Has a volume given back. One that does not say whose it is would be refused.
pub(super) fn give_back_command(facts: &Facts<'_>, ordinal: u32, volume: &Volume) -> String {
    let command = annotate(facts, ANNOTATION_GIVE_BACK, &volume.name);
    match facts.cluster_id {
        Some(id) if !labels::is_of(facts, ordinal, volume) => {
            format!("{}, then {command}", label(id, ordinal, &volume.name))
        }
        _ => command,
    }
}

/// Says on a volume whose data it holds, as a command.
pub(super) fn label(cluster_id: &str, ordinal: u32, volume: &str) -> String {
    let labels = labels::of(cluster_id, ordinal);
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("kubectl label --overwrite pv {volume} {}", labels.join(" "))
}

/// What to do about an instance that is not the primary and whose data may not be used.
pub(super) fn stays_out(facts: &Facts<'_>, ordinal: u32) -> String {
    let pod = facts.names.pod(ordinal);
    format!(
        "It stays out. Put back the volume that left and delete the pod {pod}; or {}",
        clone_anew(facts, ordinal)
    )
}

/// How an instance gets new data: by deleting its claim, unless what is on it may be the last copy.
pub(super) fn clone_anew(facts: &Facts<'_>, ordinal: u32) -> String {
    let (claim, pod) = (facts.names.claim(ordinal), facts.names.pod(ordinal));
    if !facts.primary().is_some_and(|p| p != ordinal && facts.leads(p)) {
        return format!("keep the claim {claim}: no other instance leads, and it may hold the last copy");
    }
    format!("{} to have it cloned anew", delete(facts, ordinal, &format!("{claim} and {pod}")))
}

/// What to do about a claim that no instance uses, and of which nobody knows what it holds.
pub(super) fn unused(facts: &Facts<'_>, ordinal: u32) -> String {
    format!(
        "Raise spec.replicas to have it used again; or, if nothing on it is wanted, {}",
        delete(facts, ordinal, &facts.names.claim(ordinal))
    )
}

/// To delete a claim, and its pod if there is one, without losing the volume. `what` names them.
fn delete(facts: &Facts<'_>, ordinal: u32, what: &str) -> String {
    let volume = facts.instance(ordinal).and_then(|i| i.claim.as_ref()?.volume.as_ref());
    let known = volume.and_then(|name| facts.observation.surroundings.volumes.get(name));
    let volume = volume.filter(|_| known.is_some() || !facts.observation.surroundings.known);
    match (known.and_then(|volume| volume.reclaim_policy.as_deref()), volume) {
        (Some("Retain"), Some(name)) => {
            format!("delete {what} (the volume {name} stays: its reclaim policy is Retain)")
        }
        (_, Some(name)) => format!(
            "set the reclaim policy of the volume {name} to Retain, so that what it holds is kept, and delete {what}"
        ),
        (_, None) => format!("delete {what}"),
    }
}

/// What to do about an instance whose claim has no volume that could be mounted, while that volume may still be found.
pub(super) fn without_volume(facts: &Facts<'_>, ordinal: u32) -> String {
    let (claim, pod) = (facts.names.claim(ordinal), facts.names.pod(ordinal));
    if facts.primary() == Some(ordinal) {
        let then = if is_only(facts, ordinal) { "what can be done" } else { "how another instance can lead" };
        return format!(
            "put it back if its data still exists, for {pod} is the primary. If not, {}: nothing is initialised then, and the \
             condition Blocked says {then}",
            delete(facts, ordinal, &format!("{claim} and {pod}"))
        );
    }
    format!("put it back if its data still exists; if not, {}", clone_anew(facts, ordinal))
}

/// What to do about a primary whose volume no node that is there can mount.
pub(super) fn never_back(facts: &Facts<'_>, ordinal: u32) -> String {
    let (claim, pod) = (facts.names.claim(ordinal), facts.names.pod(ordinal));
    if is_only(facts, ordinal) {
        return "bring the node back".into();
    }
    format!(
        "bring the node back. If it will never come back, {}: nothing is initialised then, and the condition Blocked says \
         how another instance can lead",
        delete(facts, ordinal, &format!("{claim} and {pod}"))
    )
}

/// What to do about a claim that can't grow to the size that the spec asks for. Where no claim has that size, it can be set
/// back: that is also what the CRD's rule says.
pub(super) fn too_small(facts: &Facts<'_>, wanted: u64) -> String {
    let back =
        facts.observation.largest_request().filter(|largest| *largest < wanted).map(quantity::of_bytes);
    let back = back.map(|size| format!(" set spec.storage.size back to {size},")).unwrap_or_default();
    format!("Allow it there,{back} or move the data to a new cluster")
}

/// What to do about a claim that was never bound and asks for more than the spec does by now.
pub(super) fn asks_for_too_much(facts: &Facts<'_>, claim: &Claim) -> Option<String> {
    let wanted = quantity::whole(&facts.observation.cluster.spec.storage.size)?;
    let asked = claim.requested.filter(|asked| *asked > wanted && claim.volume.is_none())?;
    Some(format!(
        "It asks for {}, and spec.storage.size for {} by now: nothing is on it, so delete the claim {}, and it is made anew",
        quantity::of_bytes(asked),
        facts.observation.cluster.spec.storage.size.0,
        claim.name
    ))
}

/// What to do about a claim that was never bound and is of another class than the spec asks for by now; none if a volume is
/// reserved for it.
pub(super) fn is_of_another_class(facts: &Facts<'_>, claim: &Claim) -> Option<String> {
    let storage = &facts.observation.cluster.spec.storage;
    let default = || {
        let mut defaults = facts.observation.surroundings.classes.iter().filter(|(_, class)| class.default);
        Some(defaults.next()?.0.as_str()).filter(|_| defaults.next().is_none())
    };
    let wanted = storage.class.as_deref().or_else(default)?;
    let ours = (facts.observation.cluster.namespace.clone(), claim.name.clone());
    let reserved =
        facts.observation.surroundings.volumes.values().any(|volume| volume.claim.as_ref() == Some(&ours));
    let other = claim.class.as_deref().filter(|class| *class != wanted);
    let other = other.filter(|_| claim.volume.is_none() && !reserved)?;
    Some(format!(
        "claim {name} was never bound to a volume, so that nothing is on it. It is of the class '{other}', and the spec asks for \
         '{wanted}' by now: delete it, and it is made anew of that (kubectl delete pvc {name} -n {})",
        facts.observation.cluster.namespace,
        name = claim.name,
    ))
}

/// What is wrong with passwords in the Secret, and what to do.
pub(super) fn unfit_passwords(facts: &Facts<'_>) -> String {
    let each = facts.observation.unfit.iter().map(|unfit| format!("{} {}", unfit.key, unfit.why));
    format!(
        "Secret {} holds passwords that no instance can take up: {}. Those that run keep the ones that they have. Put \
         others there, or take the keys out: the operator then makes these passwords",
        facts.names.credentials_secret(),
        each.collect::<Vec<_>>().join("; ")
    )
}

/// What is to be free before a volume can be given back to an instance that has another.
pub(super) fn make_room(facts: &Facts<'_>, ordinal: u32) -> String {
    let (claim, pod) = (facts.names.claim(ordinal), facts.names.pod(ordinal));
    if facts.leads(ordinal) && is_only(facts, ordinal) {
        return format!(
            "{pod} leads with another volume, and what was written since is on that alone: {}{}",
            first_of_all(facts),
            delete(facts, ordinal, &format!("{claim} and {pod}"))
        );
    }
    if facts.leads(ordinal) {
        let over = annotate(facts, ANNOTATION_SWITCHOVER_TO, SWITCHOVER_TO_ANY);
        return format!("{pod} leads with another volume: hand over first ({over})");
    }
    match held(facts) {
        Some(first) => {
            format!("claim {claim} has another volume: first {first}, then {}", vacate(facts, ordinal))
        }
        None => format!("claim {claim} has another volume: {} first", vacate(facts, ordinal)),
    }
}

/// To delete a claim whose volume is to be replaced by another.
pub(super) fn vacate(facts: &Facts<'_>, ordinal: u32) -> String {
    let what = format!("{} and {}", facts.names.claim(ordinal), facts.names.pod(ordinal));
    let empty = facts
        .live(ordinal)
        .is_some_and(|report| matches!(report.directory, Directory::Empty | Directory::Partial { .. }));
    if empty { format!("delete {what}") } else { delete(facts, ordinal, &what) }
}

/// The statement after which a server counts its transactions from 1 again (MySQL manual, "RESET BINARY LOGS AND GTIDS").
pub(super) const RESET: &str = "RESET BINARY LOGS AND GTIDS";

/// What is done, or can be, about a replica that can't follow with what it has.
pub(super) fn divergence(
    facts: &Facts<'_>,
    ordinal: u32,
    divergence: &Divergence,
    kept_back: &str,
    lost_by: Option<&str>,
) -> String {
    match (divergence, lost_by) {
        (Divergence::Errant(_), Some(primary)) => format!(
            ", though it was the first to commit them: the volume of {primary} was set back, and this is what it lost; or \
             {RESET} was run there, and GTIDs say nothing since. It stays out; keep its claim. Only if it was the latter, \
             and {primary} has all rows: {}",
            clone_anew(facts, ordinal)
        ),
        (Divergence::Errant(_), None) => {
            format!("; it stays out. Only this volume may hold them: {}", clone_anew(facts, ordinal))
        }
        (Divergence::Purged(_), _) => format!("; {} ({kept_back})", clone_anew(facts, ordinal)),
        (Divergence::History, _) => {
            format!("; it stays out ({kept_back}). Once that is seen to: {}", clone_anew(facts, ordinal))
        }
    }
}

/// How a volume that was kept is given back.
pub(super) fn give_back(facts: &Facts<'_>, volume: &str) -> String {
    format!("have it given back: {}", annotate(facts, ANNOTATION_GIVE_BACK, volume))
}

/// The same for the instance that it was of, which may have another by now: first the annotation, or the next claim gets a
/// new one again.
pub(super) fn give_back_to(facts: &Facts<'_>, ordinal: u32, volume: &str) -> String {
    let claim = facts.instance(ordinal).and_then(|instance| instance.claim.as_ref());
    let how = give_back(facts, volume);
    match claim.filter(|claim| claim.phase.as_deref() != Some("Pending") && !claim.deleting) {
        Some(claim) => {
            format!("{how}. Then {}: {} has another volume", vacate(facts, ordinal), claim.name)
        }
        None => how,
    }
}

/// What to do about a claim that keeps a volume that was set aside. Of a volume that is bound, nothing can be given back.
pub(super) fn set_aside(facts: &Facts<'_>, claim: &Claim) -> String {
    let name = &claim.name;
    let volume = claim.volume.as_ref().and_then(|volume| facts.observation.surroundings.volumes.get(volume));
    let Some(volume) = volume else {
        return format!("Look at what is on {name}, and delete the claim only if that is not wanted");
    };
    let of = &volume.name;
    let keep = match volume.reclaim_policy.as_deref() {
        Some("Retain") => {
            format!("delete the claim, whose volume {of} stays, because its reclaim policy is Retain")
        }
        _ => format!("set the reclaim policy of its volume {of} to Retain, delete the claim"),
    };
    let ordinal = volume.labels.get(LABEL_ORDINAL).and_then(|ordinal| ordinal.parse().ok());
    let back = ordinal.map_or_else(|| give_back(facts, of), |ordinal| give_back_to(facts, ordinal, of));
    format!(
        "Look at what is on {name}. If it is wanted, {keep}, and {back}. If it is not wanted, delete the claim, and {}",
        forget(of)
    )
}

/// To have a volume that no claim has say no more whose data it holds.
pub(super) fn forget(volume: &str) -> String {
    format!("take claimRef and the labels {LABEL_CLUSTER_ID} and {LABEL_ORDINAL} off {volume}")
}

/// What is being initialised has other data by now, which is kept: it serves once the record no longer says that it is new.
pub(super) fn not_new(facts: &Facts<'_>, ordinal: u32) -> String {
    format!(
        "Nothing is initialised over it. Put back the volume of {} as it was; or, to serve what is there, {}: the record is \
         then rebuilt from it",
        facts.names.claim(ordinal),
        recreate(facts)
    )
}

/// What was being initialised is not there any more.
pub(super) fn initialized_elsewhere(facts: &Facts<'_>, ordinal: u32) -> String {
    format!(
        "Nothing was committed yet. Put back the volume of {}; or, to begin anew, {}",
        facts.names.claim(ordinal),
        recreate(facts)
    )
}

/// Before there is a record: data diverges, and nobody says that it led last.
pub(super) fn diverged() -> &'static str {
    "set the reclaim policy of every volume to Retain. Then keep the claim of the instance whose data is right and delete \
     the others' claims and pods: they are cloned from it, and what is to be had of their volumes stays"
}

/// Before there is a record: the last primary was set back, and another holds what it lacks.
pub(super) fn last_was_set_back(facts: &Facts<'_>, ordinal: u32, other: u32) -> String {
    let (claim, pod) = (facts.names.claim(ordinal), facts.names.pod(ordinal));
    format!(
        "Put back the volume that left and delete the pod {pod}; or, to go on with what {} holds, {}",
        facts.names.pod(other),
        delete(facts, ordinal, &format!("{claim} and {pod}"))
    )
}

/// Before there is a record: what came back is not what left.
pub(super) fn before_a_record(facts: &Facts<'_>, ordinal: u32) -> String {
    let (claim, pod) = (facts.names.claim(ordinal), facts.names.pod(ordinal));
    format!(
        "It neither serves nor leads. Put back the volume that left and delete the pod {pod}; or, to go on without it, {}",
        delete(facts, ordinal, &format!("{claim} and {pod}"))
    )
}

/// Before there is a record: a claim that held data has none to show.
pub(super) fn restore(facts: &Facts<'_>, ordinal: u32) -> String {
    let (claim, pod) = (facts.names.claim(ordinal), facts.names.pod(ordinal));
    if ordinal >= facts.wanted() {
        return format!("set spec.replicas to at least {}, so that it gets an instance", ordinal + 1);
    }
    let what = format!("{claim} and {pod}");
    format!("restore its volume; or, if its data is not wanted, {}", delete(facts, ordinal, &what))
}

/// Whether the record's primary is known to have no data to lead with, or the record itself was set back.
pub(super) fn is_lost(facts: &Facts<'_>) -> bool {
    state::broken(facts).is_some() || state::newer_than_the_record(facts).is_some()
}
