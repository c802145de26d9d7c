//! All that says that data of this cluster ever was. Anything of it stops an initialisation: to serve an empty database in
//! the name of a full one is the worst that could be done, and the only cure is that a person looks.

use mainstay_crd::names::{ANNOTATION_GIVE_BACK, LABEL_CLUSTER_ID, LABEL_ORDINAL};
use mainstay_crd::{OperationKind, conditions::Reason};
use mainstay_proto::Directory;

use crate::Volume;
use crate::facts::Facts;
use crate::plan::{Decision, advice, volumes};

/// Items that a message names; more are counted.
const NAMED: usize = 4;

/// One thing that says that there was data: where it is, and what to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plan) struct Evidence {
    /// Who says so, and where.
    pub(in crate::plan) what: String,
    /// What a person can do.
    pub(in crate::plan) way_out: String,
}

/// Everything that says that there was data, of which no instance that was heard has any. The gravest first.
pub(in crate::plan) fn evidence(facts: &Facts<'_>) -> Vec<Evidence> {
    let mut found: Vec<Evidence> = giving_back(facts).into_iter().collect();
    found.extend(record(facts));
    found.extend(claims(facts));
    found.extend(on_volumes(facts));
    found.extend(adopt(facts));
    found.extend(copies(facts));
    found
}

/// Stops what would begin with an empty directory. `None`: nothing says that there was data.
pub(in crate::plan) fn blocks(facts: &Facts<'_>) -> Option<Decision> {
    said(facts, &evidence(facts))
}

fn said(facts: &Facts<'_>, found: &[Evidence]) -> Option<Decision> {
    let first = found.first()?;
    let what: Vec<&str> = found.iter().take(NAMED).map(|evidence| evidence.what.as_str()).collect();
    let more = found.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    let text = format!(
        "there was data of this cluster, but no instance finds any: nothing is initialised. {}{more}{}. {}",
        what.join("; "),
        looked_at(facts),
        first.way_out
    );
    Some(Decision::Blocked(Reason::DataWithoutRecord, text))
}

/// What stops a cluster before it has an id, and so before anything of it is made: its name was another's, whose data is
/// on no claim that is there. With `spec.adopt` and a volume to be given back, a person has said what is to be used: it
/// must be bound before a claim is made, which would get another.
pub(in crate::plan) fn before_an_id(facts: &Facts<'_>) -> Option<Decision> {
    let labelled = facts
        .observation
        .instances
        .values()
        .filter_map(|i| i.claim.as_ref())
        .chain(facts.observation.aside.values());
    let adopts = facts.observation.cluster.spec.adopt.is_some();
    let asked = facts.observation.cluster.annotations.contains_key(ANNOTATION_GIVE_BACK);
    if labelled.filter_map(|claim| claim.cluster_id.as_ref()).count() > 0 || (adopts && asked) {
        return None;
    }
    let mut found = on_volumes(facts);
    found.extend(secrets(facts).filter(|_| !adopts));
    said(facts, &found)
}

/// A volume is to be given back, and its data is not there yet.
fn giving_back(facts: &Facts<'_>) -> Option<Evidence> {
    let name = facts.observation.cluster.annotations.get(ANNOTATION_GIVE_BACK)?;
    let why = volumes::refused(facts).map(|(_, why)| why);
    let unseen = is_blind(facts).then(|| {
        format!(
            "The operator may not read volumes, so it can't: grant it that (the chart's storage.clusterRole), or take the \
             annotation {ANNOTATION_GIVE_BACK} away"
        )
    });
    Some(Evidence {
        what: format!("the volume {name} is to be given back ({ANNOTATION_GIVE_BACK})"),
        way_out: why.or(unseen).unwrap_or_else(|| {
            format!("If that is not wanted any more, take the annotation {ANNOTATION_GIVE_BACK} away")
        }),
    })
}

/// It was initialised before, and who led is not known any more.
fn record(facts: &Facts<'_>) -> Option<Evidence> {
    let initializing = facts.record.announced(OperationKind::Initialize).is_some();
    (facts.record.is_initialized() && !initializing).then(|| Evidence {
        what: "status.replication says that it was initialised".into(),
        way_out: "Put back the claims or volumes of its instances".into(),
    })
}

/// Claims that were labelled because their directory was complete once, and those that keep what was set aside.
fn claims(facts: &Facts<'_>) -> Vec<Evidence> {
    let instances = facts.observation.instances.iter().filter_map(|(&i, instance)| {
        let claim = instance.claim.as_ref().filter(|claim| claim.cluster_id.is_some())?;
        Some(Evidence {
            what: format!("claim {} held data", claim.name),
            way_out: format!("Of {}: {}", claim.name, advice::restore(facts, i)),
        })
    });
    let aside = facts.observation.aside.iter().map(|(name, claim)| Evidence {
        what: format!("claim {name} keeps data that was set aside"),
        way_out: advice::set_aside(facts, claim),
    });
    instances.chain(aside).collect()
}

/// What [`left`] finds.
fn on_volumes(facts: &Facts<'_>) -> Vec<Evidence> {
    let mut found: Vec<Evidence> = left(facts).map(|volume| of_volume(facts, volume)).collect();
    let several = found.len() > 1;
    if let Some(first) = found.first_mut().filter(|_| several) {
        first.way_out += ". Begin with the volume of the instance that led last, if you know which that is";
    }
    found
}

/// Volumes that were of a claim of this cluster's, and are not of one that is there.
pub(in crate::plan) fn left<'v>(facts: &'v Facts<'_>) -> impl Iterator<Item = &'v Volume> {
    facts.observation.surroundings.volumes.values().filter(|volume| is_left(facts, volume))
}

/// It is nobody's now, and was of an instance of this name or id. One that is only reserved, and was never bound, is
/// made for a new cluster as often as kept of an old one: what tells them apart is the label.
fn is_left(facts: &Facts<'_>, volume: &Volume) -> bool {
    let present = facts
        .observation
        .instances
        .values()
        .filter_map(|i| i.claim.as_ref())
        .chain(facts.observation.aside.values());
    let bound = present.clone().any(|claim| volume.claim_uid.as_deref() == Some(claim.uid.as_str()));
    let named = present.filter(|claim| claim.volume.as_deref() == Some(volume.name.as_str())).count() > 0;
    let ours = volume.claim.as_ref().is_some_and(|(namespace, claim)| {
        let names = &facts.names;
        let of_ours = names.ordinal_of_claim(claim).or_else(|| names.ordinal_of_aside_claim(claim)).is_some();
        *namespace == facts.observation.cluster.namespace && of_ours
    });
    // A claim made by hand is seen only once a pod uses it and it was labelled; then its directory is looked at.
    let unseen = volume.phase.as_deref() == Some("Bound")
        && volume.claim.as_ref().is_some_and(|(_, claim)| {
            let ordinal = facts.names.ordinal_of_claim(claim);
            ordinal.is_some_and(|i| facts.instance(i).is_none_or(|instance| instance.claim.is_none()))
        });
    let label = volume.labels.get(LABEL_CLUSTER_ID).map(String::as_str);
    let known = [
        facts.cluster_id,
        facts.observation.cluster.spec.adopt.as_deref(),
        facts.observation.secrets_cluster_id.as_deref(),
    ];
    let labelled = label.is_some() && known.contains(&label);
    let was_bound = volume.claim_uid.is_some() || label.is_some();
    let used = bound || named || (ours && unseen);
    !used && ((ours && was_bound) || labelled)
}

fn of_volume(facts: &Facts<'_>, volume: &Volume) -> Evidence {
    let name = &volume.name;
    let phase = volume.phase.as_deref().unwrap_or("there");
    let claim = volume.claim.as_ref().map(|(_, claim)| format!(" of claim {claim}")).unwrap_or_default();
    let id = volume.labels.get(LABEL_CLUSTER_ID);
    let of_id = id.map(|id| format!(", of the cluster with the id {id}")).unwrap_or_default();
    let adopts = id.filter(|id| {
        facts.cluster_id != Some(id.as_str()) && facts.observation.cluster.spec.adopt.as_ref() != Some(id)
    });
    let way_out = match (id, volume.labels.get(LABEL_ORDINAL)) {
        (Some(_), Some(ordinal)) => {
            let adopt = adopts.map(|id| format!("set spec.adopt to {id} and ")).unwrap_or_default();
            let back = match ordinal.parse() {
                Ok(ordinal) => advice::give_back_to(facts, ordinal, name),
                Err(_) => advice::give_back(facts, name),
            };
            format!("To serve what is on {name}, {adopt}{back}")
        }
        _ => format!(
            "To serve what is on {name}, label it {LABEL_CLUSTER_ID}=ID and {LABEL_ORDINAL}=ORDINAL, as its file \
             mainstay.json says, set spec.adopt to that id, and {}",
            advice::give_back(facts, name)
        ),
    };
    let none = format!("If its data is not wanted, {}, or choose another name", advice::forget(name));
    Evidence {
        what: format!("volume {name}{claim} is {phase}{of_id}"),
        way_out: format!("{way_out}. {none}"),
    }
}

/// A person said that there is data.
fn adopt(facts: &Facts<'_>) -> Option<Evidence> {
    let id = facts.observation.cluster.spec.adopt.as_deref()?;
    Some(Evidence {
        what: format!("spec.adopt says that the data of {id} is to be used"),
        way_out: format!(
            "Put its claims back, or {}; or take spec.adopt away to begin with nothing",
            advice::give_back(facts, "VOLUME")
        ),
    })
}

/// What an earlier object began to copy: there was somebody to copy from.
fn copies(facts: &Facts<'_>) -> Vec<Evidence> {
    let copy = |i: u32| {
        let report = facts.live(i)?;
        matches!(&report.directory, Directory::Partial { copied: true, .. }).then(|| Evidence {
            what: format!("{} holds an unfinished copy of another instance's data", facts.names.pod(i)),
            way_out:
                "Put back the claim or the volume of the instance that it was copied from; or, to begin with \
                      nothing, delete the claims of unfinished copies with their pods"
                    .into(),
        })
    };
    facts.ordinals().filter_map(copy).collect()
}

/// Secrets were kept or put back, and no claim: those of a cluster that never held data go with it.
fn secrets(facts: &Facts<'_>) -> Option<Evidence> {
    let id = facts.observation.secrets_cluster_id.as_deref()?;
    let any = facts.observation.instances.values().any(|instance| instance.claim.is_some());
    (!any).then(|| Evidence {
        what: format!("Secrets of this name are of the cluster with the id {id}, and none of its claims is there"),
        way_out: format!(
            "To use its data, set spec.adopt to {id} and put back its claims or {}. To begin anew, delete the Secrets {}{}",
            advice::give_back(facts, "VOLUME"),
            advice::secrets(facts),
            if is_blind(facts) { ", if no volume of it is there (kubectl get pv)" } else { "" }
        ),
    })
}

/// What was looked at before an initialisation, for people.
pub(in crate::plan) fn looked_at(facts: &Facts<'_>) -> &'static str {
    if is_blind(facts) {
        "; volumes without a claim were not looked at, because the operator may not read them"
    } else {
        ""
    }
}

/// Volumes that no claim has can't be seen.
fn is_blind(facts: &Facts<'_>) -> bool {
    facts.observation.surroundings.unseen.iter().any(|kind| kind == "persistentvolumes")
}
