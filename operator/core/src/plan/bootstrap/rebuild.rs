//! From kept volumes to the primary that they had, when the object was made anew over them.

use mainstay_crd::conditions::Reason;
use mainstay_crd::names::{LABEL_CLUSTER_ID, LABEL_ORDINAL};
use mainstay_proto::{GrantedRole, Report};

use crate::facts::{Facts, Seen};
use crate::plan::advice::RESET;
use crate::plan::leaving::gtids_on_claim;
use crate::plan::{Decision, advice, aside, evidence, record};
use crate::{Claim, GtidSet, Term, ledger};

/// An instance whose data may lead: its report, and all that it has executed and received.
struct Survivor<'a> {
    ordinal: u32,
    report: &'a Report,
    held: &'a GtidSet,
}

/// Every instance has been heard; those with data must all be up. Who leads is written down, unless what may be the
/// newest data is not there.
pub(in crate::plan) fn decide(facts: &Facts<'_>, complete: &[(u32, &Report)]) -> Decision {
    let mut kept = Vec::new();
    for &(ordinal, report) in complete {
        match look(facts, ordinal, report) {
            Some(look) if facts.quarantine_verdict(ordinal).is_none() => kept.push(look),
            Some(_) => {}
            None => {
                let message = format!("{} holds data; its server is not up yet", facts.names.pod(ordinal));
                return Decision::Wait(Reason::WaitingForPods, message);
            }
        }
    }
    let Some(elected) = elect(facts, &kept) else {
        return complete.iter().find_map(|(i, _)| blocked_by_verdict(facts, *i)).unwrap_or_else(|| {
            Decision::Blocked(
                Reason::DataWithoutRecord,
                format!(
                    "the instances' GTID sets diverge and none says that it led last: {}",
                    advice::diverged()
                ),
            )
        });
    };
    let blocked = set_back(facts, &kept, elected).or_else(|| missing(facts, &kept, elected));
    if let Some(blocked) = blocked.or_else(|| left_behind(facts, &kept)) {
        return blocked;
    }
    let highest = complete.iter().map(|(_, report)| report.highest).max().unwrap_or_default();
    let name = facts.names.pod(elected.ordinal);
    let message = format!("kept volumes hold this cluster's data: {name} leads again");
    record(facts, facts.record.rebuilt(elected.ordinal, highest), Reason::PrimaryConfirmed, message)
}

fn look<'v>(facts: &'v Facts<'_>, ordinal: u32, report: &'v Report) -> Option<Survivor<'v>> {
    Some(Survivor { ordinal, report, held: facts.received_or_executed(ordinal)? })
}

/// The last primary, by the role that its marker says was granted last. If it is not there, whoever holds all that
/// the others hold. `None`: nobody does.
fn elect<'k, 'a>(facts: &Facts<'_>, kept: &'k [Survivor<'a>]) -> Option<&'k Survivor<'a>> {
    let last = kept.iter().filter_map(|k| Some((granted_lead(k.report)?, k))).max_by_key(|(term, _)| *term);
    let newest = kept.iter().filter_map(|k| Some(k.report.marker()?.grant.as_ref()?.term.epoch)).max();
    if let Some((term, last)) = last
        && newest == Some(term.epoch)
    {
        return Some(last);
    }
    // What was received is executed before it leads.
    let holds = |k: &Survivor<'_>, other: &Survivor<'_>| {
        facts.same_history(k.ordinal, other.ordinal) && k.held.contains(other.held)
    };
    kept.iter().find(|k| kept.iter().all(|other| holds(k, other)))
}

fn granted_lead(report: &Report) -> Option<Term> {
    let grant = report.marker()?.grant.as_ref()?;
    matches!(grant.role, GrantedRole::Primary { .. }).then_some(grant.term)
}

/// Others hold transactions that the elected was the first to commit and no longer has: a replica gets them only once
/// they are on its source's disk (`sync_binlog=1`), so its volume was set back. One that is writable may just not have
/// reported them yet.
fn set_back(facts: &Facts<'_>, kept: &[Survivor<'_>], elected: &Survivor<'_>) -> Option<Decision> {
    elected.report.serving().filter(|state| state.super_read_only)?;
    if let Some(later) = kept.iter().find(|other| is_later(facts, elected.ordinal, other.ordinal)) {
        let way_out = advice::last_was_set_back(facts, elected.ordinal, later.ordinal);
        let (name, other) = (facts.names.pod(elected.ordinal), facts.names.pod(later.ordinal));
        return Some(Decision::Blocked(
            Reason::RolledBack,
            format!(
                "{name} led last, but its volume was set back: {other} was copied after {RESET} was run, of which {name} \
                 knows nothing. {way_out}"
            ),
        ));
    }
    let (other, own) = kept
        .iter()
        .find_map(|other| Some((other.ordinal, facts.lost_to(elected.ordinal, other.ordinal)?)))?;
    let way_out = advice::last_was_set_back(facts, elected.ordinal, other);
    let (name, other) = (facts.names.pod(elected.ordinal), facts.names.pod(other));
    Some(Decision::Blocked(
        Reason::RolledBack,
        format!(
            "{name} led last, but its volume was set back: {other} holds transactions of it that it lacks itself \
             ({own}). {way_out}"
        ),
    ))
}

/// What another holds was copied from a server that was reset more often than this one. One that was reset itself only is
/// no later for that.
fn is_later(facts: &Facts<'_>, ordinal: u32, other: u32) -> bool {
    let (own, theirs) = (facts.history(ordinal), facts.history(other));
    theirs.resets > own.resets && theirs.by != other
}

fn blocked_by_verdict(facts: &Facts<'_>, ordinal: u32) -> Option<Decision> {
    let verdict = facts.quarantine_verdict(ordinal)?;
    let found = advice::evidence(&verdict.message);
    let message = format!("{found} {}", advice::before_a_record(facts, ordinal));
    Some(Decision::Blocked(ledger::reason(verdict.judgement), message))
}

/// A claim that held data of this cluster, has none to show that could be used, and may have held more than the
/// elected: its instance may have led last.
fn missing(facts: &Facts<'_>, kept: &[Survivor<'_>], elected: &Survivor<'_>) -> Option<Decision> {
    let instances =
        facts.observation.instances.iter().filter(|(i, _)| !kept.iter().any(|k| k.ordinal == **i));
    let claims = instances.filter_map(|(&i, instance)| Some((i, instance.claim.as_ref()?)));
    let mut labelled = claims.filter(|(_, claim)| claim.cluster_id.is_some());
    labelled.find_map(|(i, claim)| {
        let led = may_have_led(facts, kept, i);
        if let Some(blocked) =
            blocked_by_verdict(facts, i).filter(|_| led || !holds_note(facts, elected, i, claim))
        {
            return Some(blocked);
        }
        let what = if i >= facts.wanted() { "has no instance" } else { "has nothing on it that can be used" };
        let why = format!("{what}: {}", advice::restore(facts, i));
        led.then(|| {
            let name = facts.names.pod(i);
            let message =
                format!("the last primary was, or may have been, {name}, whose claim is kept but {why}");
            Decision::Blocked(Reason::DataWithoutRecord, message)
        })
    })
}

/// A volume that no claim has is of an instance that may have led last.
fn left_behind(facts: &Facts<'_>, kept: &[Survivor<'_>]) -> Option<Decision> {
    evidence::left(facts).find_map(|volume| {
        let ours = volume.labels.get(LABEL_CLUSTER_ID).map(String::as_str) == facts.cluster_id;
        let ordinal = volume.labels.get(LABEL_ORDINAL)?.parse().ok()?;
        let here = kept.iter().any(|k| k.ordinal == ordinal) || aside::was_taken(facts, volume);
        (ours && !here && may_have_led(facts, kept, ordinal)).then(|| {
            let (pod, name) = (facts.names.pod(ordinal), &volume.name);
            let message = format!(
                "the last primary was, or may have been, {pod}, and no claim has its volume {name}: {}. If its data is not \
                 wanted, take claimRef and the labels {LABEL_CLUSTER_ID} and {LABEL_ORDINAL} off {name}",
                advice::give_back_to(facts, ordinal, name)
            );
            Decision::Blocked(Reason::DataWithoutRecord, message)
        })
    })
}

fn holds_note(facts: &Facts<'_>, elected: &Survivor<'_>, ordinal: u32, claim: &Claim) -> bool {
    let comparable = facts.same_history(ordinal, elected.ordinal);
    comparable && gtids_on_claim(claim).is_some_and(|set| elected.held.contains(&set))
}

/// The newest grants call it their source, or its own says so; or one of those that are here was told to stand down,
/// so that nobody here can tell who was to lead.
fn may_have_led(facts: &Facts<'_>, kept: &[Survivor<'_>], ordinal: u32) -> bool {
    let grants = || kept.iter().filter_map(|k| k.report.marker()?.grant.as_ref());
    let stood = grants().count() < kept.len();
    let source = match grants().max_by_key(|grant| grant.term).map(|grant| &grant.role) {
        Some(GrantedRole::Replica { source }) => Some(&source.host),
        Some(GrantedRole::Primary { .. }) | None => None,
    };
    let own = facts.live(ordinal).and_then(granted_lead).is_some();
    stood || own || source == Some(&facts.endpoint(ordinal).host)
}
