//! What is said of each instance: its state, and why it is not Ready.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mainstay_crd::{CloneProgress, InstanceRole, InstanceState, InstanceStatus};
use mainstay_proto::{Directory, Progress, Report, Server, ServerState, TaskState};

use crate::facts::{Facts, Seen};
use crate::plan::replicas::COPIES;
use crate::plan::{advice, bootstrap, divergence, nodes, options, storage, threads};
use crate::{Agent, Instance, record};

/// One entry for each ordinal that is to have a pod or has one, or whose claim does not tell yet what it left.
pub(in crate::plan) fn statuses(facts: &Facts<'_>) -> Vec<InstanceStatus> {
    let ordinals = facts.ordinals();
    facts
        .observation
        .instances
        .iter()
        .filter(|(i, instance)| ordinals.contains(i) || instance.pod.is_some() || facts.alone_in_status(**i))
        .map(|(&i, instance)| status(facts, i, instance))
        .collect()
}

fn status(facts: &Facts<'_>, ordinal: u32, instance: &Instance) -> InstanceStatus {
    let name = facts.names.pod(ordinal);
    let before = facts.before(ordinal);
    let report = instance.agent.last();
    let server = report.and_then(|r| r.serving());
    let (state, message) = state(facts, ordinal, instance);
    let full = storage::full(facts, ordinal, instance).map(|(_, full)| full);
    let message = full.or(message);
    let role = facts
        .primary()
        .map(|primary| if primary == ordinal { InstanceRole::Primary } else { InstanceRole::Replica });
    let claim = instance.claim.as_ref();
    InstanceStatus {
        ordinal: record::signed(ordinal),
        role: role.filter(|_| report.and_then(Seen::marker).is_some()),
        ready: state == InstanceState::Ready,
        state,
        message,
        node: instance.pod.as_ref().and_then(|pod| pod.node.clone()),
        claim: claim.map(|claim| claim.name.clone()),
        claim_uid: claim.map(|claim| claim.uid.clone()),
        volume: claim.and_then(|claim| claim.volume.clone()),
        server_uuid: known(server, |s| s.server_uuid.clone()).or_else(|| before?.server_uuid.clone()),
        gtid_executed: server.map(|s| s.gtid_executed.clone()).or_else(|| before?.gtid_executed.clone()),
        seen_at: match (server, &instance.agent) {
            (Some(_), Agent::Broken { since, .. }) => Some(Time(*since)),
            (Some(_), _) => Some(Time(facts.observation.now)),
            (None, _) => before.and_then(|b| b.seen_at.clone()),
        },
        lag_seconds: server
            .and_then(|s| s.channel.as_ref()?.lag_seconds)
            .map(|lag| i64::try_from(lag).unwrap_or(i64::MAX)),
        clone: report.and_then(|r| progress(facts, ordinal, r)),
        ledger: facts.next_ledger_entry(ordinal),
        verdict: facts.verdict(ordinal).cloned(),
        name,
    }
}

fn known(server: Option<&ServerState>, of: impl Fn(&ServerState) -> String) -> Option<String> {
    server.map(of).filter(|text| !text.is_empty())
}

fn state(facts: &Facts<'_>, ordinal: u32, instance: &Instance) -> (InstanceState, Option<String>) {
    let Some(pod) = &instance.pod else {
        let why = facts.pod_trouble(ordinal).unwrap_or_else(|| "it has no pod".into());
        return (InstanceState::Offline, Some(why));
    };
    if facts.leaving().any(|i| i == ordinal) {
        let why = "spec.replicas no longer asks for it; its claim is kept for now";
        return (InstanceState::Waiting, Some(why.into()));
    }
    let Some(report) = instance.agent.live() else {
        let serving = pod.ready && pod.role.is_some();
        if let Some((_, lost)) = nodes::problem(facts, ordinal) {
            return (InstanceState::Offline, Some(lost));
        }
        return match (&pod.trouble, serving) {
            (Some(trouble), _) => (InstanceState::Offline, Some(trouble.clone())),
            (None, true) => (InstanceState::Ready, Some("its agent is not heard at the moment".into())),
            (None, false) if pod.deleting => (InstanceState::Offline, Some("its pod is ending".into())),
            (None, false) => (InstanceState::Unknown, Some("its agent has not been heard".into())),
        };
    };
    if facts.ready(ordinal) && !pod.ready {
        return (
            InstanceState::Joining,
            Some("it serves, but its readiness probe has not said so yet".into()),
        );
    }
    if facts.ready(ordinal) {
        let pending = report.serving().map(|s| s.setting_errors.join("; ")).filter(|text| !text.is_empty());
        let all: Vec<String> = options::denied(facts, ordinal).into_iter().chain(pending).collect();
        return (InstanceState::Ready, (!all.is_empty()).then(|| all.join("; ")));
    }
    match &report.directory {
        Directory::Complete { .. } => with_data(facts, ordinal, report),
        Directory::Foreign { message, .. } | Directory::Unusable { message } => {
            // What was judged has the ways out.
            let judged = facts.quarantine_verdict(ordinal).map(|_| quarantined(facts, ordinal));
            (InstanceState::Quarantined, judged.or_else(|| Some(message.clone())))
        }
        Directory::Locked { holder } => (InstanceState::Waiting, Some(locked(holder))),
        Directory::Empty | Directory::Partial { .. } => match bootstrap::begun_by_another(facts, ordinal) {
            Some(text) => (InstanceState::Quarantined, Some(text)),
            None => without_data(report),
        },
    }
}

/// What was found, and what to do about it as the cluster stands now.
fn quarantined(facts: &Facts<'_>, ordinal: u32) -> String {
    let found = facts.quarantine_verdict(ordinal).map_or("", |verdict| advice::evidence(&verdict.message));
    let way_out = match facts.primary() {
        Some(primary) if primary == ordinal => "It neither serves nor leads; Blocked has the ways out".into(),
        Some(_) => advice::stays_out(facts, ordinal),
        None => advice::before_a_record(facts, ordinal),
    };
    format!("{found} {way_out}")
}

fn locked(holder: &str) -> String {
    format!(
        "its data directory is in use by {holder}; it starts once that has ended. If that does not end by itself, its node \
         has not heard that the pod is gone: let it reach the API server again, or power it off"
    )
}

fn without_data(report: &Report) -> (InstanceState, Option<String>) {
    let Some(task) = &report.task else {
        return (InstanceState::Waiting, Some("it holds no data and waits for an order".into()));
    };
    let doing = if COPIES.contains(&task.kind.as_str()) {
        InstanceState::Cloning
    } else {
        InstanceState::Initializing
    };
    match &task.state {
        TaskState::Failed { error } => (doing, Some(format!("the last try failed: {error}"))),
        TaskState::Running | TaskState::Done => (doing, None),
    }
}

fn with_data(facts: &Facts<'_>, ordinal: u32, report: &Report) -> (InstanceState, Option<String>) {
    if facts.quarantine_verdict(ordinal).is_some() {
        return (InstanceState::Quarantined, Some(quarantined(facts, ordinal)));
    }
    if let Some(divergence) = divergence::find(facts, ordinal) {
        return (InstanceState::Quarantined, Some(divergence.says(facts, ordinal)));
    }
    if let Some(message) = divergence::undecided(facts, ordinal) {
        return (InstanceState::Quarantined, message);
    }
    if let Some(message) = options::unsafe_ones(report) {
        return (InstanceState::Quarantined, Some(message));
    }
    let failed = report.task.as_ref().and_then(|task| match &task.state {
        TaskState::Failed { error } => Some(format!("{} failed: {error}", task.kind)),
        TaskState::Running | TaskState::Done => None,
    });
    match &report.server {
        Server::Stopped { last_exit } => (InstanceState::Offline, last_exit.clone().or(failed)),
        Server::Stopping => (InstanceState::Offline, Some("its server is stopping".into())),
        Server::Starting => (InstanceState::Starting, failed),
        Server::Silent { error } => {
            (InstanceState::Lagging, Some(format!("its server does not answer: {error}")))
        }
        Server::Running { state } => match &state.channel {
            Some(channel) if Some(ordinal) != facts.primary() => {
                let error = threads::trouble(facts, ordinal, channel).map(|(_, why)| why);
                let behind = channel.lag_seconds.map(|lag| format!("it is {lag} s behind"));
                (InstanceState::Lagging, error.or(failed).or(behind))
            }
            _ => (InstanceState::Joining, failed),
        },
    }
}

fn progress(facts: &Facts<'_>, ordinal: u32, report: &Report) -> Option<CloneProgress> {
    let operation = facts.record.announced_for(ordinal)?;
    let donor = facts.names.pod(operation.donor?);
    let task = report.task.as_ref().filter(|task| COPIES.contains(&task.kind.as_str()))?;
    let progress = task.progress.unwrap_or_default();
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    // What a failed try said stays until one ends well: the next is announced at once.
    let said =
        facts.before(ordinal).and_then(|i| i.clone.as_ref()).and_then(|clone| clone.last_error.clone());
    Some(CloneProgress {
        donor,
        bytes: signed(progress.bytes),
        total_bytes: progress.total_bytes.map(signed),
        bytes_per_second: progress.bytes_per_second.map(signed),
        remaining_seconds: remaining(progress).map(signed),
        failures: record::signed(operation.failures),
        last_error: match &task.state {
            TaskState::Failed { error } => Some(error.clone()),
            TaskState::Running | TaskState::Done => said.filter(|_| operation.failures > 0),
        },
    })
}

/// Whole seconds until all that is expected is here; none while nothing moves. The expectation is a little less or
/// more than what comes.
fn remaining(progress: Progress) -> Option<u64> {
    let missing = progress.total_bytes?.saturating_sub(progress.bytes);
    progress.bytes_per_second.filter(|&rate| rate > 0).map(|rate| missing.div_ceil(rate))
}
