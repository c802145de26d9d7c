//! What to do next: how the cluster stands chooses the questions, which are asked in the order of their weight. The first
//! that has something to do is the plan's step.

mod advice;
mod bootstrap;
mod credentials;
mod decision;
mod order_id;
mod primary;
mod replicas;
mod scale;
mod storage;
mod summary;
#[cfg(test)]
mod tests;
mod ways_back;

use mainstay_crd::conditions::Reason;
use mainstay_crd::names::Names;
use mainstay_proto::{Action, Order, Report};

use crate::facts::Facts;
use crate::state::{self, Broken, ClusterState};
use crate::{Dispatched, Observation, Record, Step};
use bootstrap::{evidence, identity, rivals};
pub use credentials::unfit_passwords;
use decision::Decision;
pub use decision::Plan;
pub use growth::storage_status;
use order_id::order_id;
use primary::{announced, candidates, eligible, lead_from, options, roles, scheduled, switchover};
use replicas::{divergence, quarantine, threads};
use scale::{canary, deletion, leaving, pods, retention, rollout, template, upkeep};
use storage::{aside, growth, last_copy, nodes, volumes};
pub use template::Hold;
pub use upkeep::Upkeep;

/// Decides what to do next.
pub fn plan(observation: &Observation) -> Plan {
    let names = Names::new(&observation.cluster.namespace, &observation.cluster.name);
    let record = Record::of(observation.cluster.status.replication.as_ref());
    let facts = Facts::of(observation, &names, &record);
    let state = state::classify(&facts);
    let decided = decide(&facts, &state);
    summary::of(&facts, decided)
}

/// What is decided, and, where something is done all the same, what a person must act on.
#[derive(Clone, Debug, Default)]
struct Decided {
    decision: Option<Decision>,
    blocked: Option<Decision>,
}

impl From<Decision> for Decided {
    fn from(decision: Decision) -> Self {
        let blocked = Some(decision.clone()).filter(|d| matches!(d, Decision::Blocked(..)));
        Decided { decision: Some(decision), blocked }
    }
}

/// A question: `None` has nothing to say.
type Question<'q> = &'q dyn Fn(&Facts<'_>) -> Option<Decision>;

/// Which questions are asked in which state, the weightiest first: the answer that keeps all later ones back, else all
/// that remain, weighed.
fn decide(facts: &Facts<'_>, state: &ClusterState<'_>) -> Decided {
    match state {
        ClusterState::TornDown => deletion::tear_down(facts).into(),
        ClusterState::HandingOver { from, to } => {
            nodes::force(facts).unwrap_or_else(|| switchover::under_way(facts, *from, *to)).into()
        }
        ClusterState::SetBack { by, knows } => {
            beforehand(facts, state).unwrap_or_else(|| primary::set_back(facts, *by, *knows).into())
        }
        ClusterState::Beginning => beforehand(facts, state).unwrap_or_else(|| {
            // What a person gives back comes before anything is begun anew.
            weigh(
                facts,
                &[&volumes::give_back, &growth::grow, &credentials::before_bootstrap, &credentials::decide],
            )
        }),
        ClusterState::Led { primary } => beforehand(facts, state)
            .or_else(|| lead_from::decide(facts).map(Decided::from))
            .unwrap_or_else(|| led(facts, *primary)),
        ClusterState::Leaderless { primary, why } => beforehand(facts, state)
            .or_else(|| lead_from::decide(facts).map(Decided::from))
            .unwrap_or_else(|| leaderless(facts, *primary, why.as_ref())),
    }
}

/// What comes before all else, and what must be so before anything is begun.
fn beforehand(facts: &Facts<'_>, state: &ClusterState<'_>) -> Option<Decided> {
    // What was on a node that is proven gone comes back only once its pod is gone; and a spec that is wrong is no reason
    // to lose a copy.
    if let Some(decision) = first(facts, &[&nodes::force, &last_copy::keep]) {
        return Some(decision.into());
    }
    if let Some(held) = held(facts) {
        return Some(held_back(facts, state, held));
    }
    let begins: [Question<'_>; 5] = [
        &rivals::decide,
        &deletion::finalizers,
        &identity::decide,
        &growth::replace_stateful_set,
        &rollout::replace_broken,
    ];
    first(facts, &begins).map(Decided::from)
}

/// There is a primary that serves writes.
fn led(facts: &Facts<'_>, primary: u32) -> Decided {
    weigh(
        facts,
        &[
            &|facts| quarantine::decide(facts, None),
            &replicas::label_claims,
            &volumes::give_back,
            &|facts| primary::decide(facts, primary, None),
            &candidates::decide,
            &volumes::replace_stranded,
            &leaving::decide,
            &aside::decide,
            &leaving::forget_notes,
            &replicas::decide,
            &nodes::taint,
            // What a class or a missing right may refuse comes late: it is tried again and again, and keeps back only
            // what stands behind it.
            &growth::grow,
            &rollout::roll,
            &retention::decide,
            &volumes::mark,
            &credentials::decide,
        ],
    )
}

/// Nobody serves writes: nobody hands over then, and no claim is deleted because no instance uses it.
fn leaderless(facts: &Facts<'_>, primary: u32, why: Option<&Broken<'_>>) -> Decided {
    weigh(
        facts,
        &[
            &|facts| quarantine::decide(facts, why),
            &replicas::label_claims,
            &volumes::give_back,
            &options::of_primary,
            &|facts| primary::decide(facts, primary, why),
            &volumes::replace_stranded,
            &leaving::decide,
            &aside::decide,
            &leaving::forget_notes,
            &replicas::decide,
            &nodes::taint,
            &growth::grow,
            &rollout::roll,
            &volumes::mark,
            &credentials::decide,
        ],
    )
}

/// What in the spec keeps anything from being begun.
fn held(facts: &Facts<'_>) -> Option<Decision> {
    if facts.observation.cluster.spec.paused {
        return Some(Decision::Wait(Reason::Paused, PAUSED.into()));
    }
    facts.invalid().map(|message| Decision::Blocked(Reason::InvalidSpec, message.to_owned()))
}

/// Only who the record says leads or follows does so. That the primary's data is lost is said all the same.
fn held_back(facts: &Facts<'_>, state: &ClusterState<'_>, held: Decision) -> Decided {
    let first = match facts.observation.cluster.spec.paused {
        true => "First take spec.paused back",
        false => "First mend the spec, as SpecValid says",
    };
    let lost = match state {
        ClusterState::Leaderless { primary, why: Some(broken) } => {
            Some(primary::blocked(facts, *primary, broken))
        }
        ClusterState::SetBack { by, knows } => Some(primary::set_back(facts, *by, *knows)),
        _ => None,
    };
    let lost = lost.map(|lost| match lost {
        Decision::Blocked(reason, message) => {
            Decision::Blocked(reason, format!("{message}. {first}: until then nothing is done"))
        }
        other => other,
    });
    let held_blocks = Some(held.clone()).filter(|held| matches!(held, Decision::Blocked(..)));
    Decided { decision: Some(announced::roles(facts, state, held)), blocked: lost.or(held_blocks) }
}

/// Nobody serves, and the primary's data will not come back by itself.
const LOST: [Reason; 3] = [Reason::PrimaryDataLost, Reason::RolledBack, Reason::ForeignVolume];

/// What is said of a cluster that is paused.
const PAUSED: &str =
    "spec.paused is set: nothing is changed, but who the record says leads or follows does so";

/// The first that has anything to say.
fn first(facts: &Facts<'_>, questions: &[Question<'_>]) -> Option<Decision> {
    questions.iter().find_map(|question| question(facts))
}

/// What can be done is done, even if a weightier question waits or is blocked; what is said is the weightiest that is
/// blocked, or else that waits.
fn weigh(facts: &Facts<'_>, questions: &[Question<'_>]) -> Decided {
    let (mut does, mut blocked, mut waits) = (None, None, None);
    for decision in questions.iter().filter_map(|question| question(facts)) {
        let first = match decision {
            Decision::Do(_) => &mut does,
            Decision::Blocked(..) => &mut blocked,
            Decision::Wait(..) => &mut waits,
        };
        first.get_or_insert(decision);
    }
    Decided { decision: does.or_else(|| blocked.clone()).or(waits), blocked }
}

/// A step that writes the record.
fn record(facts: &Facts<'_>, record: Record, reason: Reason, message: String) -> Decision {
    let cluster_id = facts.cluster_id.unwrap_or_default().into();
    Decision::Do(Step::Record { cluster_id, record, reason, message })
}

/// A step that sends an order to the instance that `report` came from, under the record's epoch and revision. One that is
/// on its way already is waited for, and keeps nothing else back.
fn send(facts: &Facts<'_>, report: &Report, action: Action, message: String) -> Decision {
    let order = order(facts, report, action);
    let ordinal = order.ordinal;
    let given = facts.instance(ordinal).and_then(|instance| instance.dispatched.as_ref());
    match given.filter(|given| given.holds_back(&order)) {
        Some(given) => on_its_way(facts, given, &order),
        None => Decision::Do(Step::Order { ordinal, order, message }),
    }
}

/// An order to the instance that `report` came from, under the record's epoch and revision.
fn order(facts: &Facts<'_>, report: &Report, action: Action) -> Order {
    let (term, ordinal) = (facts.record.term(), report.identity.ordinal);
    let mut order = Order {
        proto: mainstay_proto::VERSION,
        id: String::new(),
        cluster_id: facts.cluster_id.unwrap_or_default().into(),
        disabled_events: scheduled::disabled(facts, ordinal, &action),
        pod_uid: report.identity.pod_uid.clone(),
        ordinal,
        epoch: term.epoch,
        revision: term.revision,
        action,
    };
    order.id = order_id(&order);
    order
}

fn on_its_way(facts: &Facts<'_>, given: &Dispatched, order: &Order) -> Decision {
    let (reason, message) = match given.trouble() {
        Some(why) => {
            let pod = facts.names.pod(order.ordinal);
            (Reason::OrderFailed, format!("ordering {pod} to {}: {why}", order.action.kind()))
        }
        None => summary::ordering(facts, order.ordinal, &order.action),
    };
    Decision::Wait(reason, message)
}
