//! Replicas: cloned when they hold nothing, told whom to follow when they hold data.
pub(super) mod divergence;
pub(super) mod quarantine;
pub(super) mod threads;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mainstay_crd::conditions::Reason;
use mainstay_crd::quantity;
use mainstay_crd::{CloneCompression, CloneMethod, OperationKind};
use mainstay_proto::pod::ports;
use mainstay_proto::{Action, Channel, Directory, Endpoint, GrantedRole, Marker, Report, Stage, TaskState};

use super::{Decision, aside, options, record, send, template};
use crate::facts::{Facts, Seen};
use crate::{ClaimStep, Operation, Step, moments};

/// Pause before the third try of a copy, and the longest, to which it doubles.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);

/// Kinds of the tasks that bring a copy of a donor's data.
pub(super) const COPIES: [&str; 2] = ["Clone", "Receive"];

/// The first replica that something can be done for; else what is being waited for.
pub(super) fn decide(facts: &Facts<'_>) -> Option<Decision> {
    if let Some(outcome) = outcomes(facts) {
        return Some(outcome);
    }
    let mut waiting = None;
    for ordinal in facts.ordinals().filter(|&i| Some(i) != facts.primary()) {
        match decide_one(facts, ordinal) {
            Some(Decision::Wait(reason, message)) => {
                let of_change =
                    (reason == Reason::ReplicasMissing).then(|| template::tried_on(facts, ordinal));
                let (reason, message) = of_change.flatten().unwrap_or((reason, message));
                waiting.get_or_insert(Decision::Wait(reason, message));
            }
            Some(other @ Decision::Do(_)) => return Some(other),
            Some(Decision::Blocked(..)) | None => {}
        }
    }
    waiting
}

/// Tells a replica to follow whom the record names, whatever else is to be done for replicas.
pub(super) fn turn(facts: &Facts<'_>) -> Option<Decision> {
    let follows = |decision: &Decision| {
        let Decision::Do(Step::Order { order, .. }) = decision else { return false };
        matches!(order.action, Action::Follow { .. })
    };
    let replicas = facts.ordinals().filter(|&i| Some(i) != facts.primary());
    replicas.filter_map(|ordinal| decide_one(facts, ordinal)).find(follows)
}

/// A claim whose directory is complete says so from then on: it is never taken for new again.
pub(super) fn label_claims(facts: &Facts<'_>) -> Option<Decision> {
    let cluster_id = facts.cluster_id?;
    facts.observation.instances.iter().find_map(|(&ordinal, instance)| {
        instance.agent.live()?.marker()?;
        let claim = instance.claim.as_ref()?;
        let missing = claim.cluster_id.as_deref() != Some(cluster_id);
        (missing && !claim.deleting && !claim.uid.is_empty()).then(|| {
            let (claim, uid) = (claim.name.clone(), claim.uid.clone());
            let message = format!("claim {claim} holds this cluster's data");
            let step = ClaimStep::Label { ordinal, cluster_id: cluster_id.into() };
            Decision::Do(Step::Claim { claim, uid, step, reason: Reason::AsExpected, message })
        })
    })
}

/// Clones that ended well leave the record; and those that nothing will come of, because their instance is no longer
/// asked for, or has other data by now: its volume was put back, and what is complete is never copied over. The claim of
/// one that is no longer asked for may hold a copy that nobody has heard of: as long as there is such a claim, the record
/// says whose copy that is.
fn outcomes(facts: &Facts<'_>) -> Option<Decision> {
    let over = |operation: &Operation| {
        let ordinal = operation.ordinal;
        let marker = facts.live(ordinal).and_then(Seen::marker);
        let ended =
            marker.is_some_and(|marker| marker.operation != operation.id || is_noted(facts, ordinal, marker));
        let claimed = facts.instance(ordinal).is_some_and(|instance| instance.claim.is_some());
        let left = !facts.ordinals().contains(&ordinal) && !claimed;
        operation.kind == OperationKind::Clone && (ended || left)
    };
    let (next, ended) = facts.record.end(over)?;
    let names: Vec<String> = ended.into_iter().map(|ordinal| facts.names.pod(ordinal)).collect();
    Some(record(facts, next, Reason::Cloning, format!("no longer being cloned: {}", names.join(", "))))
}

/// The ledger has what the marker says, on the volume that is there now: else what an operation made would be taken
/// for foreign data once the record does not announce it any more.
fn is_noted(facts: &Facts<'_>, ordinal: u32, marker: &Marker) -> bool {
    let claim = facts.instance(ordinal).and_then(|instance| instance.claim.as_ref());
    facts.ledger_entry(ordinal).is_some_and(|entry| {
        let same = claim.is_none_or(|claim| entry.claim_uid == claim.uid && entry.volume == claim.volume);
        same && entry.operation == marker.operation && entry.server_uuid == marker.server_uuid
    })
}

fn decide_one(facts: &Facts<'_>, ordinal: u32) -> Option<Decision> {
    let name = facts.names.pod(ordinal);
    if aside::operation(facts, ordinal).is_some() {
        return None;
    }
    let Some(report) = facts.live(ordinal) else {
        let reason = if facts.has_pod(ordinal) { Reason::ReplicasMissing } else { Reason::PodRefused };
        let why = facts.pod_trouble(ordinal);
        let reason = why.as_ref().map_or(Reason::ReplicasMissing, |_| reason);
        return Some(Decision::Wait(
            reason,
            why.map_or_else(|| facts.silence(ordinal), |why| format!("{name}: {why}")),
        ));
    };
    if facts.begun_by_another(ordinal).is_some() {
        return None;
    }
    if report.vacant() {
        return clone(facts, ordinal, report);
    }
    match &report.directory {
        Directory::Complete { .. } if facts.quarantine_verdict(ordinal).is_some() => None,
        Directory::Complete { .. } => follow(facts, ordinal, report),
        Directory::Locked { holder } => Some(Decision::Wait(
            Reason::ReplicasMissing,
            format!("{name}: its data directory is in use by {holder}"),
        )),
        _ => None,
    }
}

fn clone(facts: &Facts<'_>, ordinal: u32, report: &Report) -> Option<Decision> {
    let name = facts.names.pod(ordinal);
    let Some(operation) = facts.record.announced_for(ordinal) else {
        return announce_clone(facts, ordinal, 0);
    };
    let donor = operation.donor?;
    let task = COPIES.into_iter().find_map(|kind| report.task(kind, Some(&operation.id)));
    match task.map(|task| &task.state) {
        Some(TaskState::Running) => Some(Decision::Wait(
            Reason::Cloning,
            format!("{name} is being cloned from {}", facts.names.pod(donor)),
        )),
        // The pod's next container finishes it; until that has ended, no other may be announced in its place.
        Some(TaskState::Done) => {
            Some(Decision::Wait(Reason::Cloning, format!("{name} has its copy and is about to start on it")))
        }
        Some(TaskState::Failed { .. }) => announce_clone(facts, ordinal, operation.failures + 1),
        _ if rests(facts, operation).is_some() => {
            let (tries, at) = (operation.failures, operation.not_before.as_ref()?.0);
            let message = format!("{name}: {tries} copies in a row have failed; the next is tried at {at}");
            Some(Decision::Wait(Reason::Cloning, message))
        }
        _ if !can_give(facts, donor) => announce_clone(facts, ordinal, operation.failures),
        _ if others(facts, ordinal)
            .any(|o| o.donor == operation.donor && o.revision > operation.revision) =>
        {
            Some(Decision::Wait(
                Reason::Cloning,
                format!("{name} waits for its donor, which gives to another"),
            ))
        }
        _ => {
            let action = copy(facts, report, &operation.id, donor);
            Some(send(facts, report, action, format!("{name} holds no data")))
        }
    }
}

/// Pause before a try, after so many that failed: none before the second, which another donor may serve well.
fn pause(failures: u32) -> Option<SignedDuration> {
    let doublings = failures.checked_sub(2)?;
    Some(FIRST_PAUSE.saturating_mul(1 << doublings.min(10)).min(LONGEST_PAUSE))
}

fn rests(facts: &Facts<'_>, operation: &Operation) -> Option<SignedDuration> {
    let rested = facts.seen_for(&moments::rest(operation)?);
    Some(pause(operation.failures)? - rested).filter(|left| left.is_positive())
}

/// What is announced for other instances and does not rest: a recipient whose copies fail again and again keeps no
/// donor from the others meanwhile. It waits if another was announced for its donor then. Nor does one that has left.
fn others<'v>(facts: &'v Facts<'_>, ordinal: u32) -> impl Iterator<Item = &'v Operation> {
    let asked_for = |o: &&Operation| facts.ordinals().contains(&o.ordinal);
    let theirs = facts.record.operations().iter().filter(move |o| o.ordinal != ordinal);
    let theirs = theirs.filter(asked_for);
    theirs.filter(|o| rests(facts, o).is_none())
}

/// When the first copy that rests may be tried again.
pub(super) fn look_again(facts: &Facts<'_>) -> Option<SignedDuration> {
    facts.record.operations().iter().filter_map(|operation| rests(facts, operation)).min()
}

/// By the copy tool where the spec asks for it and the pod's container for it waits; else by the plugin, which needs
/// none: pods that are older than the spec have no such container, and a copy that could not be started was
/// received by one that has ended.
fn copy(facts: &Facts<'_>, report: &Report, operation: &str, donor: u32) -> Action {
    let (operation, max_mib_per_second) = (operation.to_owned(), limit(facts));
    let spec = facts.observation.cluster.spec.clone.as_ref();
    let wanted = spec.is_some_and(|clone| clone.chosen() == CloneMethod::XtraBackup);
    // What it copies is not of an earlier one: at worst the donor is reset meanwhile, and the copy is found out.
    let (endpoint, history) = (facts.endpoint(donor), facts.history(donor));
    if !wanted || report.stage != Stage::Receive {
        return Action::Clone { operation, donor: endpoint, max_mib_per_second, history };
    }
    Action::Receive {
        operation,
        donor: Endpoint { port: ports::DONOR, ..endpoint },
        donor_ordinal: donor,
        compress: spec.is_some_and(|clone| clone.compress == CloneCompression::Zstd),
        max_mib_per_second,
        // The plan knows who leads, and takes the primary only where nobody else can give.
        from_primary: facts.primary() == Some(donor),
        history,
    }
}

/// The bound in whole MiB, at least one: `clone_max_data_bandwidth` knows no finer.
fn limit(facts: &Facts<'_>) -> Option<u64> {
    let limits = facts.observation.cluster.spec.clone.as_ref()?.limits.as_ref()?;
    let bytes = quantity::whole(limits.bytes_per_second.as_ref()?)?;
    Some((bytes / (1 << 20)).max(1))
}

/// Announces a clone from the best donor that is free.
fn announce_clone(facts: &Facts<'_>, ordinal: u32, failures: u32) -> Option<Decision> {
    let name = facts.names.pod(ordinal);
    let before = facts.record.announced_for(ordinal);
    let last_donor = before.filter(|_| failures > 0).and_then(|o| o.donor);
    let taken = |donor: u32| others(facts, ordinal).any(|o| o.donor == Some(donor));
    let free: Vec<u32> = donors(facts).filter(|&d| d != ordinal && !taken(d)).collect();
    let another = free.iter().find(|&&donor| Some(donor) != last_donor);
    let Some(&donor) = another.or(free.first()) else {
        return Some(Decision::Wait(Reason::Cloning, format!("{name} waits for a donor that is free")));
    };
    let next = facts.record.announce_instead(Operation {
        donor: Some(donor),
        failures,
        not_before: pause(failures).map(|pause| Time(facts.observation.now + pause)),
        ..Operation::new(facts.observation.fresh_id.clone(), OperationKind::Clone, ordinal)
    });
    let message = format!("{name} holds no data: it is cloned from {}", facts.names.pod(donor));
    Some(record(facts, next, Reason::Cloning, message))
}

/// Replicas that are in time before the primary, whose clients would feel it.
fn donors<'v>(facts: &'v Facts<'_>) -> impl Iterator<Item = u32> + 'v {
    let replicas = facts.ordinals().filter(|&i| facts.in_time(i));
    replicas.chain(facts.primary()).filter(|&donor| can_give(facts, donor))
}

/// It serves, and lacks nothing that the primary keeps no binary logs of: a copy of one that does, as after a dump with
/// `gtid_purged` was read into the primary, could never follow.
fn can_give(facts: &Facts<'_>, donor: u32) -> bool {
    let purged = facts.primary().and_then(|primary| facts.purged(primary));
    let held = facts.received_or_executed(donor);
    let holds = purged.is_none_or(|purged| held.is_some_and(|held| held.contains(purged)));
    facts.leads(donor) || (facts.in_time(donor) && holds)
}

/// Tells a replica whom to follow, unless it holds what the primary lacks, or lacks what the primary no longer has, or that
/// can't be told.
fn follow(facts: &Facts<'_>, ordinal: u32, report: &Report) -> Option<Decision> {
    let name = facts.names.pod(ordinal);
    let primary = facts.primary()?;
    if !facts.leads(primary) {
        return Some(Decision::Wait(Reason::NoPrimary, format!("{name} waits for a primary that leads")));
    }
    let Some(state) = report.serving() else {
        return Some(Decision::Wait(Reason::ReplicasMissing, format!("{name}: {}", options::not_up(report))));
    };
    let source = facts.endpoint(primary);
    let role = GrantedRole::Replica { source: source.clone() };
    let told = report.marker().and_then(|m| m.grant.as_ref()).is_some_and(|grant| grant.role == role);
    let action = Action::Follow { source: source.clone() };
    let from_it = |c: &Channel| c.source_host == source.host && c.source_port == source.port;
    let right = state.channel.as_ref().is_some_and(from_it);
    let settled = told && right && state.super_read_only && !state.awaits_operator && !state.unconfirmed;
    if let Some(divergence) = divergence::find(facts, ordinal) {
        let blocked =
            || Decision::Blocked(Reason::Quarantined, format!("{name}: {}", divergence.says(facts, ordinal)));
        let announced = aside::announce(facts, ordinal, &divergence);
        let certain = facts.diverged(ordinal).is_some();
        // What is purged may be in its relay logs' gaps only for a moment, as long as it receives.
        return announced.or_else(|| (!settled || certain).then(blocked)).or_else(|| {
            let (reason, message) = threads::telling(facts, ordinal);
            Some(Decision::Wait(reason, message))
        });
    }
    if let Some(open) = divergence::open(facts, ordinal) {
        return Some(open);
    }
    if settled {
        return threads::mend(facts, ordinal, report, state, action);
    }
    if report.busy() {
        return Some(Decision::Wait(Reason::CatchingUp, format!("{name} is catching up")));
    }
    Some(send(facts, report, action, format!("{name} does not follow the primary yet")))
}
