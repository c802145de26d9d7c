//! What a person can do about a primary that can't lead: give back the volume that left, or lead with what another holds.
//! As all advice, it is true for this cluster's settings and state.

use mainstay_crd::names::{ANNOTATION_KEPT_SINCE, ANNOTATION_LEAD_FROM};
use mainstay_proto::Directory;

use super::{advice, lead_from};
use crate::Volume;
use crate::facts::Facts;
use crate::state::Broken;

/// What to do about a primary that can't lead.
pub(super) fn ways_back(facts: &Facts<'_>, primary: u32, broken: &Broken<'_>) -> String {
    let pod = facts.names.pod(primary);
    let back = match broken {
        Broken::Directory(_) | Broken::Gone => {
            format!("Give {pod} back its volume{}", given_back(facts, primary))
        }
        Broken::Distrusted(_) | Broken::SetBack(..) => {
            format!("Put back the volume that left and delete the pod {pod}")
        }
    };
    let mut ways = vec![back];
    ways.extend(led_from(facts, primary));
    ways.extend(as_it_is(facts, primary, broken));
    ways.extend(begin_anew(facts, primary, broken));
    ways.join(". Or, ")
}

/// Volumes that the claim of an instance had before, and that are free now.
fn free_volumes<'v>(facts: &'v Facts<'_>, ordinal: u32) -> Vec<&'v Volume> {
    let claim = (facts.observation.cluster.namespace.clone(), facts.names.claim(ordinal));
    let present = facts.instance(ordinal).and_then(|i| i.claim.as_ref()).map(|claim| claim.uid.as_str());
    let free = |volume: &&Volume| {
        let loose = matches!(volume.phase.as_deref(), Some("Released" | "Failed"));
        loose && volume.claim.as_ref() == Some(&claim) && volume.claim_uid.as_deref() != present
    };
    facts.observation.surroundings.volumes.values().filter(free).collect()
}

/// How the volume that left is given back, if it is there. An older one may be there too, and lacks what was written since:
/// in a cluster of one, nobody else could tell that.
fn given_back(facts: &Facts<'_>, primary: u32) -> String {
    let free = free_volumes(facts, primary);
    let left = facts.ledger_entry(primary).and_then(|entry| entry.volume.as_deref());
    let claim = facts.instance(primary).and_then(|instance| instance.claim.as_ref());
    let here = left.is_some() && claim.and_then(|claim| claim.volume.as_deref()) == left;
    let found = free.iter().find(|volume| Some(volume.name.as_str()) == left);
    let give = |volume: &Volume| {
        let (command, then) =
            (advice::give_back_command(facts, primary, volume), advice::vacate(facts, primary));
        format!("{}: {command}, then {then}", volume.name)
    };
    match (found, left, free.as_slice()) {
        (Some(volume), ..) => format!(" {}", give(volume)),
        (None, _, []) => left.filter(|_| !here).map(|left| format!(" {left}")).unwrap_or_default(),
        (None, None, [volume]) => format!(" {}", give(volume)),
        (None, _, several) => {
            let left = left.map_or_else(
                || "which of them left last is not known".to_owned(),
                |left| {
                    format!(
                        "the one that had its data last {} {left}",
                        if here { "is there:" } else { "was" }
                    )
                },
            );
            let older: Vec<String> = several.iter().map(|volume| with_date(volume)).collect();
            format!(
                ": {left}. There are also {}; what was written since one of them left is not on it. Only if the last one is \
                 gone for good, {}",
                older.join(" and "),
                several.first().map(|volume| give(volume)).unwrap_or_default()
            )
        }
    }
}

/// Its name, and since when it is kept, where that was noted.
fn with_date(volume: &Volume) -> String {
    let since = volume.annotations.get(ANNOTATION_KEPT_SINCE);
    since.map_or_else(|| volume.name.clone(), |since| format!("{} (kept since {since})", volume.name))
}

/// The request to lead from another, with what it costs; none where there is no other.
fn led_from(facts: &Facts<'_>, primary: u32) -> Option<String> {
    let Some(offer) = lead_from::offer(facts) else {
        let text = "to lead with what another instance holds: none with data that may be used is heard at the moment";
        return (!advice::is_only(facts, primary)).then(|| text.into());
    };
    Some(format!(
        "to lead with what {} holds, which deletes nothing: {} ({})",
        facts.names.pod(offer.candidate),
        advice::annotate(facts, ANNOTATION_LEAD_FROM, &offer.value),
        lead_from::loss(facts, &offer)
    ))
}

/// For a cluster of one whose volume is gone for good: nobody else has the data, so all that is left is to begin with none.
/// Not where a volume is there that could be given back.
fn begin_anew(facts: &Facts<'_>, primary: u32, broken: &Broken<'_>) -> Option<String> {
    let gone =
        matches!(broken, Broken::Gone | Broken::Directory(Directory::Empty | Directory::Partial { .. }));
    let may_be_there = !facts.observation.surroundings.known || !free_volumes(facts, primary).is_empty();
    (gone && !may_be_there && advice::is_only(facts, primary)).then(|| {
        format!(
            "only if that volume is gone for good, and all data with it, begin with nothing: {}delete the object, then the \
             claim {} and the Secrets {}, and create it again",
            advice::unprotect(facts),
            facts.names.claim(primary),
            advice::secrets(facts)
        )
    })
}

/// A new object takes what volumes hold for what it is; where another holds more, it would only say the same again.
fn as_it_is(facts: &Facts<'_>, primary: u32, broken: &Broken<'_>) -> Option<String> {
    let Broken::Distrusted(_) = broken else { return None };
    facts.marker(primary)?;
    facts
        .ahead_of(primary)
        .is_none()
        .then(|| format!("to go on with what is on this volume, {}", advice::recreate(facts)))
}
