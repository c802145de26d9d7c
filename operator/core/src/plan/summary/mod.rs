//! The plan around the step: the cluster's state in one word, its conditions, its instances.
mod instances;

use jiff::SignedDuration;
use mainstay_crd::conditions::{ConditionType, DesiredCondition, Reason};
use mainstay_crd::{ClusterPhase, InstanceState, InstanceStatus, OperationKind};
use mainstay_proto::Action;

use super::{
    Decided, Decision, LOST, PAUSED, Plan, deletion, divergence, eligible, nodes, options, pods, replicas,
    retention, roles, storage, switchover, template, threads, upkeep,
};
use crate::facts::Facts;
use crate::{ClaimStep, Object, ObjectStep, Operation, PodStep, Step, Unneeded, moments};

pub(super) fn of(facts: &Facts<'_>, decided: Decided) -> Plan {
    let primary = facts.primary().filter(|&p| facts.leads(p) || kept_lead(facts, p));
    let instances = instances::statuses(facts);
    let (hold, template) = template::decide(facts, facts.template_hash());
    let ready = ready(&instances);
    let upkeep = upkeep::decide(facts);
    let version = facts
        .primary()
        .and_then(|p| Some(facts.serving(p)?.version.clone()))
        .or_else(|| facts.observation.cluster.status.version.clone());
    Plan {
        phase: phase(facts, primary, ready, stops(&decided)),
        cluster_id: upkeep.and(facts.cluster_id).map(String::from),
        upkeep: upkeep.unwrap_or_default(),
        stateful_set_replicas: pods::replicas(facts),
        hold,
        template,
        roles: roles::roles(facts),
        conditions: conditions(facts, primary, &instances, &decided),
        instances,
        primary: primary.map(|p| facts.names.pod(p)),
        version,
        ready,
        look_again: look_again(facts),
        step: match decided.decision {
            Some(Decision::Do(step)) => Some(step),
            _ => None,
        },
    }
}

/// While a switchover is under way its bound is near; after one that was given up, its pause ends.
fn look_again(facts: &Facts<'_>) -> Option<SignedDuration> {
    let near = facts.target().map(|_| SignedDuration::from_secs(1));
    let rested = [
        switchover::rested_in(facts),
        retention::look_again(facts),
        replicas::look_again(facts),
        nodes::look_again(facts),
        divergence::look_again(facts),
        threads::look_again(facts),
    ];
    rested.into_iter().chain([near]).flatten().min()
}

/// Its agent is silent, but its pod is Ready under the primary's label: what serves is not called dead for that.
fn kept_lead(facts: &Facts<'_>, primary: u32) -> bool {
    let Some(instance) = facts.instance(primary) else { return false };
    let labelled =
        |pod: &crate::Pod| pod.ready && pod.role.as_deref() == Some(mainstay_crd::names::ROLE_PRIMARY);
    instance.agent.live().is_none() && instance.pod.as_ref().is_some_and(labelled)
}

fn phase(facts: &Facts<'_>, primary: Option<u32>, ready: u32, blocked: Option<&Decision>) -> ClusterPhase {
    if matches!(blocked, Some(Decision::Blocked(reason, _)) if LOST.contains(reason)) {
        return ClusterPhase::Lost;
    }
    let asked_for = |o: &&Operation| facts.ordinals().contains(&o.ordinal);
    let going = facts.record.operations().iter().filter(asked_for);
    let operation = |kind| going.clone().any(|o| o.kind == kind);
    let before = facts.observation.cluster.status.state;
    match primary {
        // Planned, and over in a moment: no failure.
        _ if in_passing(facts, blocked).is_some() => before.unwrap_or(ClusterPhase::Degraded),
        None if handing_over(facts).is_some() => ClusterPhase::Degraded,
        // It has never served, so nothing has failed: it is about to begin.
        None if facts.primary().is_some() => match before {
            None | Some(ClusterPhase::Incomplete) => ClusterPhase::Incomplete,
            Some(ClusterPhase::Initializing) => ClusterPhase::Initializing,
            Some(_) => ClusterPhase::Failed,
        },
        None if operation(OperationKind::Initialize) => ClusterPhase::Initializing,
        None => ClusterPhase::Incomplete,
        Some(_) if ready >= facts.wanted() && options::unseen(facts).is_none() => ClusterPhase::Healthy,
        Some(_) if operation(OperationKind::Clone) => ClusterPhase::Cloning,
        Some(_) => ClusterPhase::Degraded,
    }
}

/// Longest time for which a switchover is called no failure: from its announcement, and again from its outcome until the
/// new primary leads and all have turned to it.
const TAKE_OVER: SignedDuration = SignedDuration::from_secs(10);

/// A switchover is under way, or its outcome is in the record and is being carried out.
fn handing_over(facts: &Facts<'_>) -> Option<(Reason, String)> {
    if let Some(telling) = switchover::telling(facts) {
        // What takes longer is told as what it is: nobody can write.
        return Some(telling).filter(|_| switchover::lasts(facts).is_some_and(|time| time < TAKE_OVER));
    }
    let last = facts.record.switchover().filter(|last| last.given_up.is_none())?;
    let primary = facts.primary()?;
    let fresh = facts.seen_for(&moments::ended(last)?) < TAKE_OVER;
    let turning = (0..facts.wanted()).any(|i| !facts.ready(i));
    (fresh && turning)
        .then(|| (Reason::SwitchingOver, format!("{} is taking over", facts.names.pod(primary))))
}

/// The same, unless it can't go on, or an instance is missing for another reason: a pod that is gone or going is told.
fn in_passing(facts: &Facts<'_>, blocked: Option<&Decision>) -> Option<(Reason, String)> {
    let there = |ordinal| {
        let pod = facts.instance(ordinal).and_then(|instance| instance.pod.as_ref());
        pod.is_some_and(|pod| !pod.deleting)
    };
    let goes_on = blocked.is_none() && (0..facts.wanted()).all(there);
    handing_over(facts).filter(|_| goes_on)
}

/// What keeps anybody from serving. Passwords that can't be taken up do not: what runs has others.
fn stops(decided: &Decided) -> Option<&Decision> {
    let blocked = decided.blocked.as_ref();
    blocked.filter(|blocked| !matches!(blocked, Decision::Blocked(Reason::InvalidCredentials, _)))
}

/// What a condition of this type said last.
fn said_before(facts: &Facts<'_>, type_: ConditionType) -> Option<DesiredCondition> {
    let status = &facts.observation.cluster.status;
    let before = status.conditions.iter().find(|c| c.type_ == type_.as_str())?;
    Some(DesiredCondition {
        type_,
        status: match before.status.as_str() {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        },
        reason: Reason::parse(&before.reason)?,
        message: before.message.clone(),
    })
}

fn conditions(
    facts: &Facts<'_>,
    primary: Option<u32>,
    instances: &[InstanceStatus],
    decided: &Decided,
) -> Vec<DesiredCondition> {
    let (decision, blocking) = (decided.decision.as_ref(), decided.blocked.as_ref());
    let handing_over = in_passing(facts, stops(decided));
    // Where nobody serves, why that stays so comes before what is done meanwhile.
    let told = match stops(decided).filter(|_| primary.is_none()).or(decision) {
        None => None,
        Some(Decision::Do(step)) => doing(facts, step),
        Some(Decision::Wait(reason, message) | Decision::Blocked(reason, message)) => {
            Some((*reason, message.clone()))
        }
    };
    let told = handing_over.clone().or(told);
    let mut wanted = vec![
        ready_condition(facts, primary, instances, told.as_ref()),
        available(facts, primary, told.as_ref()),
        progressing(facts, decision, told.as_ref()),
        spec_valid(facts, blocking),
        storage::condition(facts),
        blocked(facts, blocking),
    ];
    wanted.extend(retention::condition(facts));
    // What lasts for a moment only is neither told as a failure, nor is it said that something was done when it is
    // only written down.
    for condition in &mut wanted {
        let keeps = match condition.type_ {
            ConditionType::Ready | ConditionType::Available => handing_over.is_some(),
            ConditionType::Progressing => {
                matches!(decision, Some(Decision::Do(step)) if step.is_bookkeeping())
            }
            _ => false,
        };
        if let Some(before) = said_before(facts, condition.type_).filter(|_| keeps) {
            *condition = before;
        }
    }
    wanted
}

/// What a step is part of, in words that are the same from its announcement to its end.
fn doing(facts: &Facts<'_>, step: &Step) -> Option<(Reason, String)> {
    Some(match step {
        Step::Record { reason, message, .. } => (*reason, message.clone()),
        Step::Order { ordinal, order, .. } => ordering(facts, *ordinal, &order.action),
        Step::AskReport { reason, message, .. } => (*reason, message.clone()),
        Step::Pod { step, message, .. } => match step {
            PodStep::Replace => (Reason::Rolling, message.clone()),
            PodStep::ForceDelete => (Reason::NodeGone, message.clone()),
        },
        Step::Claim { claim, step, reason, message, .. } => match step {
            ClaimStep::Label { .. } | ClaimStep::Note { .. } => return None,
            ClaimStep::Snapshot { .. } | ClaimStep::Delete { unneeded: Unneeded::Unused { .. }, .. } => {
                (*reason, format!("{claim} is no longer used and is being dealt with"))
            }
            ClaimStep::Delete { unneeded: Unneeded::WithCluster, .. } => torn_down(),
            ClaimStep::Delete { unneeded: Unneeded::VolumeKept { .. }, .. } | ClaimStep::Grow { .. } => {
                (*reason, message.clone())
            }
        },
        Step::Volume { reason, message, .. } => (*reason, message.clone()),
        Step::Node { message, .. } => (Reason::NodeGone, message.clone()),
        Step::Object(ObjectStep::ReplaceStatefulSet { message, .. }) => (Reason::Growing, message.clone()),
        Step::Object(ObjectStep::DeleteStatefulSet { .. }) => torn_down(),
        Step::Object(ObjectStep::SetFinalizers { .. }) => return None,
    })
}

/// What an order is part of, from when it is given until its agent reports.
pub(super) fn ordering(facts: &Facts<'_>, ordinal: u32, action: &Action) -> (Reason, String) {
    let name = facts.names.pod(ordinal);
    match action {
        Action::Initialize { .. } => (Reason::Initializing, format!("{name} is being initialised")),
        Action::Clone { donor, .. } | Action::Receive { donor, .. } => {
            let donor = donor.host.split('.').next().unwrap_or_default();
            (Reason::Cloning, format!("{name} is being cloned from {donor}"))
        }
        Action::Follow { .. } => threads::telling(facts, ordinal),
        Action::Lead { .. } => (Reason::NoPrimary, format!("{name} is being made to lead")),
        Action::StandDown if facts.quarantined(ordinal) => {
            (Reason::Quarantined, format!("{name} is kept out"))
        }
        Action::StandDown => (Reason::SwitchingOver, format!("{name} stands down")),
    }
}

fn torn_down() -> (Reason, String) {
    (Reason::Deleting, "the cluster is being deleted, with its claims".into())
}

fn ready_condition(
    facts: &Facts<'_>,
    primary: Option<u32>,
    instances: &[InstanceStatus],
    told: Option<&(Reason, String)>,
) -> DesiredCondition {
    let (wanted, ready) = (facts.wanted(), ready(instances));
    let unseen = options::unseen(facts);
    let all = primary.is_some() && ready >= wanted && unseen.is_none();
    let (reason, message) = if all {
        (Reason::AllReady, format!("{ready} of {wanted} instances serve"))
    } else {
        let kept_out = instances.iter().any(|i| i.state == InstanceState::Quarantined);
        let fallback = match primary {
            None => Reason::NoPrimary,
            Some(_) if kept_out => Reason::Quarantined,
            Some(_) => Reason::ReplicasMissing,
        };
        let unseen = unseen.filter(|_| primary.is_some() && ready >= wanted);
        let (reason, why) =
            unseen.or_else(|| told.cloned()).unwrap_or_else(|| (fallback, missing(instances)));
        (reason, format!("{ready} of {wanted} instances serve: {why}"))
    };
    DesiredCondition { type_: ConditionType::Ready, status: Some(all), reason, message }
}

fn ready(instances: &[InstanceStatus]) -> u32 {
    u32::try_from(instances.iter().filter(|i| i.ready).count()).unwrap_or(u32::MAX)
}

/// Where nothing is done or awaited: the first instance that does not serve, and why.
fn missing(instances: &[InstanceStatus]) -> String {
    let (kept_out, others): (Vec<_>, Vec<_>) =
        instances.iter().filter(|i| !i.ready).partition(|i| i.state == InstanceState::Quarantined);
    let missing = kept_out.into_iter().chain(others);
    let mut told = missing.filter_map(|i| Some(format!("{}: {}", i.name, i.message.as_ref()?)));
    told.next().unwrap_or_else(|| "waiting for the instances".into())
}

fn available(facts: &Facts<'_>, primary: Option<u32>, told: Option<&(Reason, String)>) -> DesiredCondition {
    let (reason, message) = match primary {
        Some(p) => (Reason::PrimaryConfirmed, format!("{} serves writes", facts.names.pod(p))),
        None => told.cloned().unwrap_or((Reason::NoPrimary, "no instance serves writes".into())),
    };
    DesiredCondition { type_: ConditionType::Available, status: Some(primary.is_some()), reason, message }
}

fn progressing(
    facts: &Facts<'_>,
    decision: Option<&Decision>,
    told: Option<&(Reason, String)>,
) -> DesiredCondition {
    let type_ = ConditionType::Progressing;
    if facts.observation.cluster.spec.paused
        && !matches!(decision, Some(Decision::Do(_)))
        && facts.target().is_none()
    {
        return DesiredCondition {
            type_,
            status: Some(false),
            reason: Reason::Paused,
            message: PAUSED.into(),
        };
    }
    let stands = match decision {
        None | Some(Decision::Blocked(..) | Decision::Wait(Reason::OrderFailed, _)) => true,
        Some(Decision::Do(_) | Decision::Wait(..)) => false,
    };
    let (reason, message) = told.cloned().unwrap_or((Reason::Idle, "nothing is to be done".into()));
    DesiredCondition { type_, status: Some(!stands), reason, message }
}

fn spec_valid(facts: &Facts<'_>, blocking: Option<&Decision>) -> DesiredCondition {
    let in_the_way = facts.primary().filter(|p| p + 1 > facts.wanted());
    let primary_in_the_way =
        in_the_way.filter(|_| facts.target().is_none() && eligible::best(facts).is_none());
    // No pod could be made of it, or none that serves.
    let given_up = match blocking {
        Some(Decision::Blocked(Reason::InvalidSpec, message)) => Some(message.clone()),
        _ => None,
    };
    let (valid, reason, message) = match (facts.invalid().map(String::from).or(given_up), primary_in_the_way)
    {
        (Some(message), _) => (false, Reason::InvalidSpec, message),
        (_, Some(primary)) => (
            false,
            Reason::PrimaryInTheWay,
            format!(
                "spec.replicas is {}, but {} leads and no instance that stays can take over: its instance is kept until one \
                 can. Or set spec.replicas to at least {}",
                facts.wanted(),
                facts.names.pod(primary),
                primary + 1
            ),
        ),
        _ => (true, Reason::Accepted, "the spec can be carried out".into()),
    };
    DesiredCondition { type_: ConditionType::SpecValid, status: Some(valid), reason, message }
}

fn blocked(facts: &Facts<'_>, blocking: Option<&Decision>) -> DesiredCondition {
    let (status, reason, message) = match blocking {
        _ if Object::from(&facts.observation.cluster).is_protected() => {
            let (reason, message) = deletion::protection();
            (true, reason, message)
        }
        Some(Decision::Blocked(reason, message)) => (true, *reason, message.clone()),
        _ => (false, Reason::Unblocked, "nothing is in the way".into()),
    };
    DesiredCondition { type_: ConditionType::Blocked, status: Some(status), reason, message }
}
