//! Every sentence that tells a person what to do to data: each is true for this cluster's settings and state.
//!
//! Played word for word, none of them loses an acknowledged write that another volume still holds. What would be lost is
//! said; what could be the last copy is never to be deleted; and that claims are kept is said only where they are.

use mainstay_crd::names::{
    ANNOTATION_GIVE_BACK, ANNOTATION_LEAD_FROM, ANNOTATION_SWITCHOVER_TO, SWITCHOVER_TO_ANY,
};
use mainstay_crd::quantity;
use mainstay_proto::Directory;

use super::lead_from;
use super::{deletion, growth};
use crate::facts::{Divergence, Facts};
use crate::state::{self, Broken};
use crate::{Claim, Volume};

/// How operators before this one began what they advised, within what they said of data that came back.
const FORMER: [&str; 2] = [" It neither serves nor leads. ", " It stays out. "];

/// What was found, without the advice that an older operator put behind it: that held for no state but its own.
pub(super) fn evidence(message: &str) -> &str {
    let cut = FORMER.iter().filter_map(|former| message.find(former)).min();
    cut.map_or(message, |at| &message[..at])
}

/// What to do about a primary that can't lead.
pub(super) fn primary(view: &Facts<'_>, primary: u32, broken: &Broken<'_>) -> String {
    let pod = view.names.pod(primary);
    let back = match broken {
        Broken::Directory(_) | Broken::Gone => {
            format!("Give {pod} back its volume{}", given_back(view, primary))
        }
        Broken::Distrusted(_) | Broken::SetBack(..) => {
            format!("Put back the volume that left and delete the pod {pod}")
        }
    };
    let mut ways = vec![back, lead_from(view)];
    ways.extend(as_it_is(view, primary, broken));
    ways.join(". Or, ")
}

/// How a volume that is there is given back, if one is.
fn given_back(view: &Facts<'_>, primary: u32) -> String {
    let claim = (view.o.cluster.namespace.clone(), view.names.claim(primary));
    let present = view.instance(primary).and_then(|i| i.claim.as_ref()).map(|claim| claim.uid.as_str());
    let free = |volume: &&Volume| {
        let loose = matches!(volume.phase.as_deref(), Some("Released" | "Failed"));
        loose && volume.claim.as_ref() == Some(&claim) && volume.claim_uid.as_deref() != present
    };
    let found = view.o.surroundings.volumes.values().find(free);
    found.map_or_else(String::new, |volume| {
        let command = annotate(view, ANNOTATION_GIVE_BACK, &volume.name);
        format!(" {}: {command}, then {}", volume.name, vacate(view, primary))
    })
}

/// The request to lead from another, with what it costs.
fn lead_from(view: &Facts<'_>) -> String {
    let Some(offer) = lead_from::offer(view) else {
        return "to lead with what another instance holds: none with data that may be used is heard at the moment".into();
    };
    format!(
        "to lead with what {} holds, which deletes nothing: {} ({})",
        view.names.pod(offer.candidate),
        annotate(view, ANNOTATION_LEAD_FROM, &offer.value),
        lead_from::loss(view, &offer)
    )
}

/// A new object takes what volumes hold for what it is; where another holds more, it would only say the same again.
fn as_it_is(view: &Facts<'_>, primary: u32, broken: &Broken<'_>) -> Option<String> {
    let Broken::Distrusted(_) = broken else { return None };
    view.marker(primary)?;
    view.ahead_of(primary)
        .is_none()
        .then(|| format!("to go on with what is on this volume, {}", recreate(view)))
}

/// What to do about a record that is older than what the instances know.
pub(super) fn record_set_back(view: &Facts<'_>) -> String {
    format!("Put back the newer status; or {}: the record is then rebuilt from the instances", recreate(view))
}

/// To delete the object and make it again: only where that keeps all claims, and what is to be set before.
fn recreate(view: &Facts<'_>) -> String {
    let protected = view.o.cluster.spec.deletion_protection;
    let first = if protected { "set spec.deletionProtection to false, " } else { "" };
    match deletion::keeps(view) {
        true => format!("{first}delete the object (every claim and Secret is kept) and create it again"),
        false => format!(
            "{first}set spec.storage.retention.whenDeleted.policy to Retain, so that claims and Secrets are kept, delete \
             the object and create it again"
        ),
    }
}

pub(super) fn annotate(view: &Facts<'_>, annotation: &str, value: &str) -> String {
    let cluster = &view.o.cluster;
    format!(
        "kubectl annotate --overwrite -n {} mysqlcluster {} {annotation}={value}",
        cluster.namespace, cluster.name
    )
}

/// What to do about an instance that is not the primary and whose data may not be used.
pub(super) fn stays_out(view: &Facts<'_>, ordinal: u32) -> String {
    let pod = view.names.pod(ordinal);
    format!(
        "It stays out. Put back the volume that left and delete the pod {pod}; or {}",
        clone_anew(view, ordinal)
    )
}

/// How an instance gets new data: by deleting its claim, unless what is on it may be the last copy.
pub(super) fn clone_anew(view: &Facts<'_>, ordinal: u32) -> String {
    let (claim, pod) = (view.names.claim(ordinal), view.names.pod(ordinal));
    if !view.primary().is_some_and(|p| p != ordinal && view.leads(p)) {
        return format!("keep the claim {claim}: no other instance leads, and it may hold the last copy");
    }
    format!("{} to have it cloned anew", delete(view, ordinal, &claim, &pod))
}

/// To delete a claim with its pod, without losing the volume.
fn delete(view: &Facts<'_>, ordinal: u32, claim: &str, pod: &str) -> String {
    let volume = view.instance(ordinal).and_then(|i| i.claim.as_ref()?.volume.as_ref());
    let known = volume.and_then(|name| view.o.surroundings.volumes.get(name));
    let volume = volume.filter(|_| known.is_some() || !view.o.surroundings.known);
    match (known.and_then(|volume| volume.reclaim_policy.as_deref()), volume) {
        (Some("Retain"), Some(name)) => {
            format!("delete {claim} and {pod} (the volume {name} stays: its reclaim policy is Retain)")
        }
        (_, Some(name)) => format!(
            "set the reclaim policy of the volume {name} to Retain, so that what it holds is kept, and delete {claim} and \
             {pod}"
        ),
        (_, None) => format!("delete {claim} and {pod}"),
    }
}

/// What to do about an instance whose claim has no volume that could be mounted, while that volume may still be found.
pub(super) fn without_volume(view: &Facts<'_>, ordinal: u32) -> String {
    let (claim, pod) = (view.names.claim(ordinal), view.names.pod(ordinal));
    if view.primary() == Some(ordinal) {
        return format!(
            "put it back if its data still exists, for {pod} is the primary. If not, {}: nothing is initialised then, and the condition \
             Blocked says how another instance can lead",
            delete(view, ordinal, &claim, &pod)
        );
    }
    format!("put it back if its data still exists; if not, {}", clone_anew(view, ordinal))
}

/// What to do about a claim that can't grow to the size that the spec asks for. Where no claim has that size, it can be set
/// back: that is also what the CRD's rule says.
pub(super) fn too_small(view: &Facts<'_>, wanted: u64) -> String {
    let back = growth::largest(view.o).filter(|largest| *largest < wanted).map(quantity::of_bytes);
    let back = back.map(|size| format!(" set spec.storage.size back to {size},")).unwrap_or_default();
    format!("Allow it there,{back} or move the data to a new cluster")
}

/// What to do about a claim that was never bound and asks for more than the spec does by now.
pub(super) fn asks_for_too_much(view: &Facts<'_>, claim: &Claim) -> Option<String> {
    let wanted = quantity::whole(&view.o.cluster.spec.storage.size)?;
    let asked = claim.requested.filter(|asked| *asked > wanted && claim.volume.is_none())?;
    Some(format!(
        "It asks for {}, and spec.storage.size for {} by now: nothing is on it, so delete the claim {}, and it is made anew",
        quantity::of_bytes(asked),
        view.o.cluster.spec.storage.size.0,
        claim.name
    ))
}

/// What to do about a claim that was never bound and is of another class than the spec asks for by now; none if a volume is
/// reserved for it.
pub(super) fn is_of_another_class(view: &Facts<'_>, claim: &Claim) -> Option<String> {
    let storage = &view.o.cluster.spec.storage;
    let default = || {
        let mut defaults = view.o.surroundings.classes.iter().filter(|(_, class)| class.default);
        Some(defaults.next()?.0.as_str()).filter(|_| defaults.next().is_none())
    };
    let wanted = storage.class.as_deref().or_else(default)?;
    let ours = (view.o.cluster.namespace.clone(), claim.name.clone());
    let reserved = view.o.surroundings.volumes.values().any(|volume| volume.claim.as_ref() == Some(&ours));
    let other = claim.class.as_deref().filter(|class| *class != wanted);
    let other = other.filter(|_| claim.volume.is_none() && !reserved)?;
    Some(format!(
        "claim {name} was never bound to a volume, so that nothing is on it. It is of the class '{other}', and the spec asks for \
         '{wanted}' by now: delete it, and it is made anew of that (kubectl delete pvc {name} -n {})",
        view.o.cluster.namespace,
        name = claim.name,
    ))
}

/// What is wrong with passwords in the Secret, and what to do.
pub(super) fn unfit_passwords(view: &Facts<'_>) -> String {
    let each = view.o.unfit.iter().map(|unfit| format!("{} {}", unfit.key, unfit.why));
    format!(
        "Secret {} holds passwords that no instance can take up: {}. Those that run keep the ones that they have. Put \
         others there, or take the keys out: the operator then makes these passwords",
        view.names.credentials_secret(),
        each.collect::<Vec<_>>().join("; ")
    )
}

/// What is to be free before a volume can be given back to an instance that has another.
pub(super) fn make_room(view: &Facts<'_>, ordinal: u32) -> String {
    let (claim, pod) = (view.names.claim(ordinal), view.names.pod(ordinal));
    if view.leads(ordinal) {
        let over = annotate(view, ANNOTATION_SWITCHOVER_TO, SWITCHOVER_TO_ANY);
        return format!("{pod} leads with another volume: hand over first ({over})");
    }
    format!("claim {claim} has another volume: {} first", vacate(view, ordinal))
}

/// To delete a claim whose volume is to be replaced by another.
fn vacate(view: &Facts<'_>, ordinal: u32) -> String {
    let (claim, pod) = (view.names.claim(ordinal), view.names.pod(ordinal));
    let empty = view
        .live(ordinal)
        .is_some_and(|report| matches!(report.directory, Directory::Empty | Directory::Partial { .. }));
    if empty { format!("delete {claim} and {pod}") } else { delete(view, ordinal, &claim, &pod) }
}

/// The statement after which a server counts its transactions from 1 again (MySQL manual, "RESET BINARY LOGS AND GTIDS").
pub(super) const RESET: &str = "RESET BINARY LOGS AND GTIDS";

/// What is done, or can be, about a replica that can't follow with what it has.
pub(super) fn divergence(
    view: &Facts<'_>,
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
            clone_anew(view, ordinal)
        ),
        (Divergence::Errant(_), None) => {
            format!("; it stays out. Only this volume may hold them: {}", clone_anew(view, ordinal))
        }
        (Divergence::Purged(_), _) => format!("; {} ({kept_back})", clone_anew(view, ordinal)),
        (Divergence::History, _) => {
            format!("; it stays out ({kept_back}). Once that is seen to: {}", clone_anew(view, ordinal))
        }
    }
}

/// How a volume that was kept is given back.
pub(super) fn give_back(view: &Facts<'_>, volume: &str) -> String {
    format!("have it given back: {}", annotate(view, ANNOTATION_GIVE_BACK, volume))
}

/// The same for the instance that it was of, which may have another by now: first the annotation, or the next claim gets a
/// new one again.
pub(super) fn give_back_to(view: &Facts<'_>, ordinal: u32, volume: &str) -> String {
    let claim = view.instance(ordinal).and_then(|instance| instance.claim.as_ref());
    let how = give_back(view, volume);
    match claim.filter(|claim| claim.phase.as_deref() != Some("Pending") && !claim.deleting) {
        Some(claim) => {
            format!("{how}. Then {}: {} has another volume", vacate(view, ordinal), claim.name)
        }
        None => how,
    }
}

/// What was being initialised is not there any more.
pub(super) fn initialized_elsewhere(view: &Facts<'_>, ordinal: u32) -> String {
    format!(
        "Nothing was committed yet. Put back the volume of {}; or, to begin anew, {}",
        view.names.claim(ordinal),
        recreate(view)
    )
}

/// Before there is a record: data diverges, and nobody says that it led last.
pub(super) fn diverged() -> &'static str {
    "set the reclaim policy of every volume to Retain. Then keep the claim of the instance whose data is right and delete \
     the others' claims and pods: they are cloned from it, and what is to be had of their volumes stays"
}

/// Before there is a record: the last primary was set back, and another holds what it lacks.
pub(super) fn last_was_set_back(view: &Facts<'_>, ordinal: u32, other: u32) -> String {
    let (claim, pod) = (view.names.claim(ordinal), view.names.pod(ordinal));
    format!(
        "Put back the volume that left and delete the pod {pod}; or, to go on with what {} holds, {}",
        view.names.pod(other),
        delete(view, ordinal, &claim, &pod)
    )
}

/// Before there is a record: what came back is not what left.
pub(super) fn before_a_record(view: &Facts<'_>, ordinal: u32) -> String {
    let (claim, pod) = (view.names.claim(ordinal), view.names.pod(ordinal));
    format!(
        "It neither serves nor leads. Put back the volume that left and delete the pod {pod}; or, to go on without it, {}",
        delete(view, ordinal, &claim, &pod)
    )
}

/// Before there is a record: a claim that held data has none to show.
pub(super) fn restore(view: &Facts<'_>, ordinal: u32) -> String {
    let (claim, pod) = (view.names.claim(ordinal), view.names.pod(ordinal));
    if ordinal >= view.wanted() {
        return format!("set spec.replicas to at least {}, so that it gets an instance", ordinal + 1);
    }
    format!("restore its volume; or, if its data is not wanted, {}", delete(view, ordinal, &claim, &pod))
}

/// Whether the record's primary is known to have no data to lead with, or the record itself was set back.
pub(super) fn is_lost(view: &Facts<'_>) -> bool {
    state::broken(view).is_some() || state::newer_than_the_record(view).is_some()
}
