//! A person asks that an instance lead with what it holds, because the data of the record's primary is gone: the way out
//! that deletes nothing.
//!
//! The condition spells the request out, with what would be lost. Its value is tied to that: one that does not fit the
//! present state is refused, and each is answered once. It is carried out only once the old primary is fenced or proven
//! unable to lead, in one write of the record; all else follows from the record as after any other change of primary.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mainstay_crd::Lost;
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::ANNOTATION_LEAD_FROM;
use mainstay_proto::{Action, Directory, Server};
use sha2::{Digest, Sha256};

use crate::facts::{Facts, Seen, gtids};
use crate::plan::advice::RESET;
use crate::plan::{Decision, aside, nodes, record, send};
use crate::state::{self, Broken};
use crate::{Agent, GtidSet, ledger};

/// What a request would bring about.
pub(in crate::plan) struct Offer {
    /// Who would lead.
    pub(in crate::plan) candidate: u32,
    /// What is known to have been committed and would be gone; `None`: what the primary held was never noted.
    pub(in crate::plan) known: Option<GtidSet>,
    /// When the old primary was last seen well.
    pub(in crate::plan) seen_at: Option<Time>,
    /// Instances that were not asked what they hold.
    pub(in crate::plan) unheard: Vec<String>,
    /// Not all count their transactions alike, so that GTIDs do not tell what would be lost.
    pub(in crate::plan) counted_anew: bool,
    /// The annotation's value.
    pub(in crate::plan) value: String,
}

/// All that an instance has executed and received, if its data may be used.
fn held<'v>(facts: &'v Facts<'_>, ordinal: u32) -> Option<&'v GtidSet> {
    let usable = facts.may_serve(ordinal) && facts.quarantine_verdict(ordinal).is_none();
    facts.received_or_executed(ordinal).filter(|_| usable && facts.marker(ordinal).is_some())
}

/// What an instance was last known to hold, by its entry in the ledger.
fn left(facts: &Facts<'_>, ordinal: u32) -> Option<GtidSet> {
    gtids(&facts.left(ordinal)?.gtid_executed)
}

/// What an instance holds, as far as is known, and whether it could be asked. What is quarantined or has no data is no copy
/// of this cluster's; who can't be asked may be, and was seen to hold what the ledger says.
fn known_of(facts: &Facts<'_>, ordinal: u32) -> (Option<GtidSet>, bool) {
    if let Some(set) = held(facts, ordinal) {
        return (Some(set.clone()), true);
    }
    let none = facts.live(ordinal).is_some_and(|report| {
        facts.quarantine_verdict(ordinal).is_some() || !matches!(report.directory, Directory::Complete { .. })
    });
    let claim = facts.instance(ordinal).is_some_and(|instance| instance.claim.is_some());
    (left(facts, ordinal).filter(|_| !none), none || !claim)
}

/// The one that holds most and can apply what it received, with what would be lost by its leading. `None`: nobody could.
pub(in crate::plan) fn offer(facts: &Facts<'_>) -> Option<Offer> {
    let primary = facts.primary()?;
    let others: Vec<u32> = facts.observation.instances.keys().copied().filter(|&i| i != primary).collect();
    let applies = |i: u32| {
        let channel = facts.serving(i)?.channel.as_ref()?;
        channel.applier_error.as_ref().map(|_| ())
    };
    let could =
        others.iter().filter(|&&i| facts.ordinals().contains(&i) && aside::operation(facts, i).is_none());
    let candidates = could.filter_map(|&i| Some((i, held(facts, i)?)));
    let (candidate, has) = candidates.max_by_key(|(i, set)| {
        let comparable = facts.same_history(*i, primary);
        (applies(*i).is_none(), comparable, set.count(), std::cmp::Reverse(*i))
    })?;
    let same = |other: &u32| facts.same_history(candidate, *other);
    let counted_anew = !same(&primary) || others.iter().any(|i| held(facts, *i).is_some() && !same(i));
    let mut all = left(facts, primary).filter(|_| !counted_anew);
    let mut unheard = Vec::new();
    for &other in &others {
        let (set, asked) = known_of(facts, other);
        if !asked {
            unheard.push(facts.names.pod(other));
        }
        if let Some(set) = set {
            all = all.map(|all| all.union(&set));
        }
    }
    let known = all.map(|all| all.subtract(has));
    let seen_at = facts.ledger_entry(primary).and_then(|entry| entry.seen_at.clone());
    let name = facts.names.pod(candidate);
    let told = known.as_ref().map(ToString::to_string).unwrap_or_else(|| "?".into());
    let bound = format!("{}|{primary}|{name}|{told}|{}", facts.record.term().epoch, unheard.join(","));
    let token: String =
        Sha256::digest(bound.as_bytes())[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Offer { candidate, known, seen_at, unheard, counted_anew, value: format!("{name}:{token}") })
}

/// Answers the request, if there is one that was not answered.
pub(in crate::plan) fn decide(facts: &Facts<'_>) -> Option<Decision> {
    let asked = facts.observation.cluster.annotations.get(ANNOTATION_LEAD_FROM);
    let answered = facts.record.answered_lead_from();
    let asked = match (asked, answered) {
        (None, None) => return None,
        (None, Some(_)) => return Some(answer(facts, None, Reason::Idle, "a request was withdrawn".into())),
        (Some(asked), Some(answered)) if asked == answered => return None,
        (Some(asked), _) => asked,
    };
    let primary = facts.primary()?;
    let refuse = |why: String| {
        let message = format!("{ANNOTATION_LEAD_FROM}={asked} is refused: {why}");
        Some(answer(facts, Some(asked), Reason::LeadFromRefused, message))
    };
    let name = facts.names.pod(primary);
    if facts.leads(primary) {
        return refuse(format!("{name} leads"));
    }
    // An operator that has just started hears everybody in a moment.
    let unheard = facts
        .ordinals()
        .find(|&i| facts.instance(i).is_some_and(|i| i.pod.is_some() && matches!(i.agent, Agent::Unheard)));
    let waits = |why: String| Some(Decision::Wait(Reason::NoPrimary, why));
    let Some(broken) = state::broken(facts) else {
        return match (unheard, facts.live(primary)) {
            (None, Some(report)) if report.serving().is_some() => {
                refuse(format!("nothing is known to be wrong with the data of {name}"))
            }
            // What is there instead says why it waits.
            _ => None,
        };
    };
    match offer(facts).filter(|offer| offer.value == *asked) {
        Some(offer) => fence(facts, primary, &broken)
            .unwrap_or_else(refuse)
            .or_else(|| Some(carry_out(facts, primary, &offer, asked))),
        None if unheard.is_some() => {
            let other = unheard.map(|i| facts.names.pod(i)).unwrap_or_default();
            waits(format!("{ANNOTATION_LEAD_FROM}={asked} does not fit what is known; {other} is not heard"))
        }
        None => refuse(
            "it does not fit the present state, in which something else would be lost or another would lead. The \
             condition Blocked has the request that fits, if there is one"
                .into(),
        ),
    }
}

/// What is still to be done before the old primary can't commit any more. `Ok(None)`: it can't; `Err`: why that can't be
/// known.
fn fence(facts: &Facts<'_>, primary: u32, broken: &Broken<'_>) -> Result<Option<Decision>, String> {
    let name = facts.names.pod(primary);
    if let Some(why) = may_run_still(facts, primary) {
        return Err(why);
    }
    let Some(pod) = facts.instance(primary).and_then(|instance| instance.pod.as_ref()) else {
        return Ok(None);
    };
    let Some(report) = facts.live(primary) else {
        if pod.node.is_none() || nodes::proven_gone(facts, primary).is_ok() {
            return Ok(None);
        }
        return Err(format!("{name} is not heard, and it is not proven that it can't commit any more"));
    };
    if report.busy() {
        return Ok(Some(Decision::Wait(Reason::NoPrimary, format!("{name} is carrying out an order"))));
    }
    match (&report.server, report.marker()) {
        (Server::Stopped { .. }, None) if matches!(broken, Broken::Directory(_) | Broken::Distrusted(_)) => {
            Ok(None)
        }
        (Server::Running { state }, Some(marker)) => {
            let stands = marker.grant.is_none() && state.super_read_only;
            let why = format!("{name} stands down, because another is to lead");
            Ok((!stands).then(|| send(facts, report, Action::StandDown, why)))
        }
        _ => Err(format!("the server of {name} can't be told to stand down at the moment")),
    }
}

/// Its pod is gone from the API, or is another by now; but the node on which it ran is silent, and its server may run there
/// for clients that reach it. Only a volume that was attached there and is not any more tells that it can't.
fn may_run_still(facts: &Facts<'_>, primary: u32) -> Option<String> {
    let left = facts.ledger_entry(primary)?;
    let node = left.node.as_deref()?;
    let now = facts.instance(primary).and_then(|instance| instance.pod.as_ref()?.node.as_deref());
    let surroundings = &facts.observation.surroundings;
    let found = surroundings.nodes.get(node);
    let heard = found.is_some_and(|node| node.ready.as_deref() == Some("True") || node.out_of_service);
    if !surroundings.known || now == Some(node) || heard {
        return None;
    }
    let volume = left.volume.as_ref().and_then(|name| surroundings.volumes.get(name));
    let attached = volume.is_some_and(|volume| volume.attached_to.iter().any(|on| on == node));
    (!left.attached || attached).then(|| {
        let how = if found.is_some() { "set" } else { "make the Node again with" };
        format!(
            "{} last ran on the node {node}, which is not heard, and may serve there still. If that machine is off, {how} \
             the taint node.kubernetes.io/out-of-service and ask again",
            facts.names.pod(primary)
        )
    })
}

fn carry_out(facts: &Facts<'_>, primary: u32, offer: &Offer, asked: &str) -> Decision {
    let (from, to) = (facts.names.pod(primary), facts.names.pod(offer.candidate));
    let message =
        format!("{to} is to lead, because a person asked for it: the data of {from} is gone. {}", {
            loss(facts, offer)
        });
    let lost = Lost {
        from,
        to,
        at: Time(facts.observation.now),
        known: offer.known.as_ref().map(ToString::to_string).unwrap_or_default(),
        seen_at: offer.seen_at.clone(),
        unheard: offer.unheard.clone(),
    };
    let next = facts.record.lead_from(offer.candidate, lost, asked.to_owned());
    record(facts, next, Reason::LedFrom, message)
}

/// What would be lost, for people.
pub(in crate::plan) fn loss(facts: &Facts<'_>, offer: &Offer) -> String {
    let to = facts.names.pod(offer.candidate);
    let from = facts.primary().map(|p| facts.names.pod(p)).unwrap_or_default();
    let mut text = match &offer.known {
        Some(known) if known.is_empty() => {
            format!(
                "As far as is known nothing is given up by it: {to} holds all that {from} was last seen to hold"
            )
        }
        Some(known) => {
            format!("It gives up these transactions for good: {}", ledger::short(&known.to_string()))
        }
        None if offer.counted_anew => format!(
            "GTIDs do not tell what is given up by it: {RESET} was run, and not every instance was copied since. The others \
             may hold rows that {to} does not have: look there first"
        ),
        None => format!("What is given up by it is not known: it was never noted what {from} held"),
    };
    if facts.primary().and_then(|p| facts.live(p)).is_some_and(|report| report.marker().is_some()) {
        text.push_str(&format!(
            ". If {} was run on {from}, the sets say nothing, and it may hold rows that no other has: look there first",
            RESET
        ));
    }
    if let Some(at) = &offer.seen_at {
        text.push_str(&format!(". What {from} committed after {} and no other received goes too", at.0));
    }
    if !offer.unheard.is_empty() {
        text.push_str(&format!(". Not heard: {}; they may hold more", offer.unheard.join(", ")));
    }
    text
}

/// Writes down that a request was answered.
fn answer(facts: &Facts<'_>, asked: Option<&str>, reason: Reason, message: String) -> Decision {
    record(facts, facts.record.answer_lead_from(asked), reason, message)
}
