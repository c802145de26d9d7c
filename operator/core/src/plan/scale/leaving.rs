//! Instances that are no longer asked for.
//!
//! One that leaves stops receiving first, so that what it holds is final, and its claim is told: whoever decides
//! later on the claim, be it to delete it or to use it again, has no pod to ask. Only then may its pod go.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mainstay_crd::LedgerEntry;
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::{ANNOTATION_GTID_SET, ANNOTATION_KEPT_SINCE, ANNOTATION_LEFT_POD};
use mainstay_proto::{Action, Report, Server, TaskState};

use crate::facts::{Facts, Seen, gtids};
use crate::plan::{Decision, nodes, send};
use crate::{Claim, ClaimStep, GtidSet, LeaveNote, Pod, Step, guards, ledger};

/// What a claim says that it holds, if it was told.
pub(in crate::plan) fn gtids_on_claim(claim: &Claim) -> Option<GtidSet> {
    gtids(claim.annotations.get(ANNOTATION_GTID_SET)?)
}

/// Whether the pod of an ordinal that is not asked for must stay for now.
pub(in crate::plan) fn must_stay(facts: &Facts<'_>, ordinal: u32) -> bool {
    let Some(instance) = facts.instance(ordinal) else { return false };
    let (Some(pod), Some(claim)) = (&instance.pod, &instance.claim) else { return false };
    if pod.deleting {
        return false;
    }
    if guards::may_take(facts, ordinal).is_err() {
        return true;
    }
    if claim.deleting {
        return false;
    }
    if earlier_note(facts, ordinal).is_some() {
        return true;
    }
    let Some(report) = instance.agent.live() else {
        // An operator that has just started hears a pod that runs in a moment; one that has stood down is not Ready.
        let runs = pod.started && pod.trouble.is_none() && nodes::problem(facts, ordinal).is_none();
        let told = left_with(claim, pod);
        return (pod.ready || runs && !told) && instance.agent.last().is_none();
    };
    if report.marker().is_none() {
        return false;
    }
    match &report.server {
        Server::Starting => true,
        Server::Running { .. } => {
            final_gtid_set(facts, ordinal).is_none_or(|set| gtids_on_claim(claim).as_ref() != Some(set))
        }
        Server::Stopped { .. } | Server::Stopping | Server::Silent { .. } => false,
    }
}

/// The next step of an instance's leave, the highest ordinal first, as the StatefulSet removes them.
pub(in crate::plan) fn decide(facts: &Facts<'_>) -> Option<Decision> {
    let ordinal = facts.leaving().rev().find(|&i| must_stay(facts, i))?;
    let name = facts.names.pod(ordinal);
    let waiting = |why: &str| {
        let message = format!("{name} is leaving, as spec.replicas says: {why}");
        Some(Decision::Wait(Reason::ScalingDown, message))
    };
    if let Err(why) = guards::may_take(facts, ordinal) {
        return waiting(&why);
    }
    // One that can't say what it holds leaves with what was noted before, and from now on.
    let again = || note(facts, ordinal, Some(&earlier_note(facts, ordinal)?));
    let Some(report) = facts.live(ordinal) else {
        return again().or_else(|| waiting("its agent has not reported"));
    };
    if report.serving().is_none() {
        return again().or_else(|| waiting("its server is starting"));
    }
    match final_gtid_set(facts, ordinal) {
        Some(set) => note(facts, ordinal, Some(set)),
        None if running(report, Action::StandDown.kind()) => waiting("it stops receiving"),
        None => Some(send(facts, report, Action::StandDown, format!("{name} is leaving"))),
    }
}

/// A claim whose instance is in use again: what was noted of it is no longer so. Not before the status has its entry
/// in the ledger: until then, only the claim tells what left.
pub(in crate::plan) fn forget_notes(facts: &Facts<'_>) -> Option<Decision> {
    facts.ordinals().find_map(|ordinal| {
        let claim = facts.instance(ordinal)?.claim.as_ref()?;
        let told = claim.annotations.contains_key(ANNOTATION_GTID_SET);
        let entered = facts.ledger_entry(ordinal).is_some_and(|entry| entry.claim_uid == claim.uid);
        (told && entered && facts.ready(ordinal)).then(|| note(facts, ordinal, None)).flatten()
    })
}

/// The ledger's entry of an instance that leaves. Of one that is not trusted it says what it should have been. What one
/// has executed before it is confirmed may be less than what it holds: the entry then stays as it was.
fn entry(facts: &Facts<'_>, ordinal: u32) -> Option<Box<LedgerEntry>> {
    let entry = facts.next_ledger_entry(ordinal)?;
    let state = facts.serving(ordinal).filter(|state| !state.unconfirmed);
    Some(Box::new(match state.filter(|_| facts.may_serve(ordinal)) {
        Some(state) => {
            let (gtid_executed, history) = (state.gtid_executed.clone(), ledger::history(state));
            LedgerEntry { gtid_executed, history, seen_at: Some(Time(facts.observation.now)), ..entry }
        }
        None => entry,
    }))
}

fn note(facts: &Facts<'_>, ordinal: u32, set: Option<&GtidSet>) -> Option<Decision> {
    let instance = facts.instance(ordinal)?;
    let claim = instance.claim.as_ref().filter(|claim| !claim.uid.is_empty())?;
    let same = instance.pod.as_ref().is_some_and(|pod| left_with(claim, pod));
    let since = claim.annotations.get(ANNOTATION_KEPT_SINCE).filter(|_| same).and_then(|at| at.parse().ok());
    let note = set.map(|set| LeaveNote {
        gtid_set: set.to_string(),
        since: since.unwrap_or(facts.observation.now),
        pod_uid: instance.pod.as_ref().map(|pod| pod.uid.clone()).unwrap_or_default(),
        ledger: entry(facts, ordinal),
    });
    let (claim, uid) = (claim.name.clone(), claim.uid.clone());
    let message = match &note {
        Some(_) => format!("what claim {claim} holds is written on it"),
        None => format!("claim {claim} is in use again"),
    };
    let step = ClaimStep::Note { ordinal, cluster_id: facts.cluster_id?.into(), note };
    Some(Decision::Do(Step::Claim { claim, uid, step, reason: Reason::ScalingDown, message }))
}

/// What was noted of it when it left before: it came back since, and its time is counted from this leave.
fn earlier_note(facts: &Facts<'_>, ordinal: u32) -> Option<GtidSet> {
    let instance = facts.instance(ordinal)?;
    let (pod, claim) = (instance.pod.as_ref()?, instance.claim.as_ref()?);
    gtids_on_claim(claim).filter(|_| !left_with(claim, pod))
}

fn left_with(claim: &Claim, pod: &Pod) -> bool {
    claim.annotations.get(ANNOTATION_LEFT_POD) == Some(&pod.uid)
}

/// Executed and received, once it receives nothing more and will not by itself.
fn final_gtid_set<'v>(facts: &'v Facts<'_>, ordinal: u32) -> Option<&'v GtidSet> {
    let state = facts.serving(ordinal).filter(|state| state.super_read_only)?;
    facts.marker(ordinal).filter(|marker| marker.grant.is_none())?;
    // One that only lost its source receives again as soon as it finds it.
    let receives = state.channel.as_ref().is_some_and(|c| c.receiver_running || c.receiver_connecting);
    facts.received_or_executed(ordinal).filter(|_| !receives)
}

fn running(report: &Report, kind: &str) -> bool {
    report.task.as_ref().is_some_and(|task| task.kind == kind && task.state == TaskState::Running)
}
