//! The plan around the step: the cluster's state in one word, its conditions, its instances.

use mainstay_crd::ClusterPhase;
use mainstay_crd::OperationKind;
use mainstay_crd::conditions::{ConditionType, Reason, Wanted};

use super::view::{Seen, View};
use super::{Decision, Plan, Step, instances, storage};

pub(super) fn of(view: &View<'_>, decision: Option<Decision>) -> Plan {
    let primary = view.primary().filter(|&p| view.leads(p) || kept_lead(view, p));
    let instances = instances::statuses(view);
    let ready = instances.iter().filter(|i| i.ready).count();
    let ready = u32::try_from(ready).unwrap_or(u32::MAX);
    let version = view
        .primary()
        .and_then(|p| Some(view.live(p)?.serving()?.version.clone()))
        .or_else(|| view.o.cluster.status.version.clone());
    Plan {
        phase: phase(view, primary, ready, decision.as_ref()),
        cluster_id: view.cluster_id.map(String::from),
        stateful_set_replicas: view.stateful_set_replicas(),
        roles: instances::roles(view),
        conditions: conditions(view, primary, ready, decision.as_ref()),
        instances,
        primary: primary.map(|p| view.names.pod(p)),
        version,
        ready,
        step: match decision {
            Some(Decision::Do(step)) => Some(step),
            _ => None,
        },
    }
}

/// Its agent is silent, but its pod is Ready under the primary's label: what serves is not called dead for that.
fn kept_lead(view: &View<'_>, primary: u32) -> bool {
    let Some(instance) = view.instance(primary) else { return false };
    let labelled =
        |pod: &crate::Pod| pod.ready && pod.role.as_deref() == Some(mainstay_crd::names::ROLE_PRIMARY);
    instance.agent.live().is_none() && instance.pod.as_ref().is_some_and(labelled)
}

fn phase(view: &View<'_>, primary: Option<u32>, ready: u32, decision: Option<&Decision>) -> ClusterPhase {
    let lost = [Reason::PrimaryDataLost, Reason::RolledBack, Reason::ForeignVolume];
    if matches!(decision, Some(Decision::Blocked(reason, _)) if lost.contains(reason)) {
        return ClusterPhase::Lost;
    }
    let operation = |kind| view.record.operations.iter().any(|o| o.kind == kind);
    match primary {
        None if view.primary().is_some() => ClusterPhase::Failed,
        None if operation(OperationKind::Initialize) => ClusterPhase::Initializing,
        None => ClusterPhase::Incomplete,
        Some(_) if ready >= view.wanted() => ClusterPhase::Healthy,
        Some(_) if operation(OperationKind::Clone) => ClusterPhase::Cloning,
        Some(_) => ClusterPhase::Degraded,
    }
}

fn conditions(view: &View<'_>, primary: Option<u32>, ready: u32, decision: Option<&Decision>) -> Vec<Wanted> {
    let told = match decision {
        None => None,
        Some(Decision::Do(step)) => Some(doing(step)),
        Some(Decision::Wait(reason, message) | Decision::Blocked(reason, message)) => {
            Some((*reason, message.clone()))
        }
    };
    vec![
        ready_condition(view, primary, ready, told.as_ref()),
        available(view, primary, told.as_ref()),
        progressing(decision, told.as_ref()),
        spec_valid(view, decision),
        storage::condition(view),
        blocked(decision),
    ]
}

fn doing(step: &Step) -> (Reason, String) {
    match step {
        Step::Record { reason, message, .. } => (*reason, message.clone()),
        Step::Order { order, message, .. } => {
            let reason = match order.action.kind() {
                "Initialize" => Reason::Initializing,
                "Clone" => Reason::Cloning,
                "Follow" => Reason::CatchingUp,
                _ => Reason::NoPrimary,
            };
            (reason, message.clone())
        }
        Step::LabelClaim { claim, .. } => (Reason::CatchingUp, format!("{claim} is being labelled")),
        Step::ReplacePod { message, .. } => (Reason::Rolling, message.clone()),
        Step::Storage { step, message } => (step.reason(), message.clone()),
    }
}

fn ready_condition(
    view: &View<'_>,
    primary: Option<u32>,
    ready: u32,
    told: Option<&(Reason, String)>,
) -> Wanted {
    let wanted = view.wanted();
    let all = primary.is_some() && ready >= wanted;
    let (reason, message) = if all {
        (Reason::AllReady, format!("{ready} of {wanted} instances serve"))
    } else {
        let fallback = if primary.is_none() { Reason::NoPrimary } else { Reason::ReplicasMissing };
        let (reason, why) = told.cloned().unwrap_or((fallback, "waiting for the instances".into()));
        (reason, format!("{ready} of {wanted} instances serve: {why}"))
    };
    Wanted { type_: ConditionType::Ready, status: Some(all), reason, message }
}

fn available(view: &View<'_>, primary: Option<u32>, told: Option<&(Reason, String)>) -> Wanted {
    let (reason, message) = match primary {
        Some(p) => (Reason::PrimaryConfirmed, format!("{} serves writes", view.names.pod(p))),
        None => told.cloned().unwrap_or((Reason::NoPrimary, "no instance serves writes".into())),
    };
    Wanted { type_: ConditionType::Available, status: Some(primary.is_some()), reason, message }
}

fn progressing(decision: Option<&Decision>, told: Option<&(Reason, String)>) -> Wanted {
    let stands = match decision {
        None | Some(Decision::Blocked(..) | Decision::Wait(Reason::Paused, _)) => true,
        Some(Decision::Do(_) | Decision::Wait(..)) => false,
    };
    let (reason, message) = told.cloned().unwrap_or((Reason::Idle, "nothing is to be done".into()));
    Wanted { type_: ConditionType::Progressing, status: Some(!stands), reason, message }
}

fn spec_valid(view: &View<'_>, decision: Option<&Decision>) -> Wanted {
    let primary_in_the_way = view.primary().filter(|p| p + 1 > view.wanted());
    let (valid, reason, message) = match (decision, primary_in_the_way) {
        (Some(Decision::Blocked(Reason::InvalidSpec, message)), _) => {
            (false, Reason::InvalidSpec, message.clone())
        }
        (_, Some(primary)) => (
            false,
            Reason::PrimaryInTheWay,
            format!(
                "spec.replicas is {}, but {} leads: its instance is kept. Set spec.replicas to at least {}",
                view.wanted(),
                view.names.pod(primary),
                primary + 1
            ),
        ),
        _ => (true, Reason::Accepted, "the spec can be carried out".into()),
    };
    Wanted { type_: ConditionType::SpecValid, status: Some(valid), reason, message }
}

fn blocked(decision: Option<&Decision>) -> Wanted {
    let (status, reason, message) = match decision {
        Some(Decision::Blocked(reason, message)) => (true, *reason, message.clone()),
        _ => (false, Reason::Unblocked, "nothing is in the way".into()),
    };
    Wanted { type_: ConditionType::Blocked, status: Some(status), reason, message }
}
