//! The status as it is to be, and whether it is worth a write.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use mainstay_core::children::pod_selector;
use mainstay_core::{Observation, Plan, storage_status};
use mainstay_crd::conditions::{ConditionType, DesiredCondition, merge};
use mainstay_crd::{InstanceState, InstanceStatus, MySQLClusterStatus, SecretsStatus};

use super::time;
use crate::act::ActError;

/// GTIDs and lag alone are written at most this often.
const MOVEMENT: SignedDuration = SignedDuration::from_secs(60);
/// The progress of a clone is written at most this often.
const PROGRESS: SignedDuration = SignedDuration::from_secs(10);

/// The status as it is to be.
pub(super) fn of(
    observation: &Observation,
    plan: &Plan,
    failure: Option<&ActError>,
    secrets: Option<SecretsStatus>,
) -> MySQLClusterStatus {
    let cluster = &observation.cluster;
    let mut wanted = plan.conditions.clone();
    if let Some(failure) = failure {
        blame(&mut wanted, failure);
        if observation.stateful_set.is_none() && failure.is_final() {
            explain(&mut wanted, failure, &format!("{} of {}", plan.ready, cluster.spec.replicas));
        }
    }
    let pods = observation.instances.values().filter(|instance| instance.pod.is_some()).count();
    MySQLClusterStatus {
        observed_generation: Some(cluster.generation),
        state: Some(plan.phase),
        conditions: merge(&cluster.status.conditions, &wanted, cluster.generation, &time(observation.now)),
        replicas: i32::try_from(pods).unwrap_or(i32::MAX),
        ready_replicas: i32::try_from(plan.ready).unwrap_or(i32::MAX),
        ready: Some(format!("{}/{}", plan.ready, cluster.spec.replicas)),
        selector: Some(pod_selector(&cluster.name)),
        primary: plan.primary.clone(),
        version: plan.version.clone(),
        cluster_id: cluster.status.cluster_id.clone(),
        replication: cluster.status.replication.clone(),
        // What is refused is not tried.
        template: match failure.filter(|failure| failure.is_of_the_spec()) {
            Some(_) => cluster.status.template.clone(),
            None => plan.template.clone(),
        },
        storage: Some(storage_status(observation, plan.step.as_ref())),
        instances: plan.instances.clone(),
        secrets: secrets.or_else(|| cluster.status.secrets.clone()),
    }
}

/// Says what failed: progress stands still, and if it can't go on by itself, a person must act.
fn blame(wanted: &mut Vec<DesiredCondition>, failure: &ActError) {
    let blocked = wanted.iter().any(|c| c.type_ == ConditionType::Blocked && c.status == Some(true));
    let mut say = |type_, status| {
        wanted.retain(|condition| condition.type_ != type_);
        wanted.push(DesiredCondition {
            type_,
            status: Some(status),
            reason: failure.reason(),
            message: failure.said(),
        });
    };
    say(ConditionType::Progressing, false);
    if failure.is_of_the_spec() {
        say(ConditionType::SpecValid, false);
    }
    // What the plan says that a person must do stands: it has the way out.
    if failure.is_final() && !blocked {
        say(ConditionType::Blocked, true);
    }
}

/// Until there is a StatefulSet, no pod can come, and what keeps it from being made is why nothing serves.
fn explain(wanted: &mut [DesiredCondition], failure: &ActError, serve: &str) {
    for condition in wanted.iter_mut().filter(|condition| condition.status == Some(false)) {
        condition.message = match condition.type_ {
            ConditionType::Ready => format!("{serve} instances serve: {}", failure.said()),
            ConditionType::Available => failure.said(),
            _ => continue,
        };
        condition.reason = failure.reason();
    }
}

/// Whether `after` is worth a write: at transitions, and once in a while if only GTIDs, lag or progress moved.
pub(super) fn differs(before: &MySQLClusterStatus, after: &MySQLClusterStatus, now: Timestamp) -> bool {
    if still(before) != still(after) {
        return true;
    }
    let age = before.instances.iter().filter_map(|instance| instance.seen_at.as_ref()).map(|at| at.0).max();
    let older_than = |than| age.is_none_or(|at| now.duration_since(at) >= than);
    let pairs = || before.instances.iter().zip(&after.instances);
    let moved = pairs().any(|(b, a)| b.gtid_executed != a.gtid_executed || b.lag_seconds != a.lag_seconds);
    let progressed = pairs().any(|(b, a)| b.clone != a.clone);
    (moved && older_than(MOVEMENT)) || (progressed && older_than(PROGRESS))
}

/// The status with everything that moves all the time taken out.
fn still(status: &MySQLClusterStatus) -> MySQLClusterStatus {
    MySQLClusterStatus {
        instances: status.instances.iter().map(still_instance).collect(),
        conditions: status.conditions.iter().map(still_condition).collect(),
        ..status.clone()
    }
}

fn still_instance(instance: &InstanceStatus) -> InstanceStatus {
    let mut still = instance.clone();
    still.gtid_executed = still.gtid_executed.map(|_| String::new());
    still.seen_at = None;
    still.lag_seconds = None;
    if let Some(entry) = &mut still.ledger {
        entry.gtid_executed.clear();
        entry.seen_at = None;
    }
    if let Some(clone) = &mut still.clone {
        (clone.bytes, clone.total_bytes) = (0, None);
        (clone.bytes_per_second, clone.remaining_seconds) = (None, None);
    }
    // What it says may count the seconds that it is behind.
    if still.state == InstanceState::Lagging {
        still.message = still.message.as_deref().map(without_numbers);
    }
    still
}

fn still_condition(condition: &Condition) -> Condition {
    Condition { message: without_numbers_of_seconds(&condition.message), ..condition.clone() }
}

fn without_numbers(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// `text` without the numbers in words like `it is 31 s behind`.
fn without_numbers_of_seconds(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let is_count = |i: usize| {
        words[i].bytes().all(|b| b.is_ascii_digit()) && words.get(i + 1).is_some_and(|next| *next == "s")
    };
    (0..words.len()).filter(|i| !is_count(*i)).map(|i| words[i]).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::tests::{observation, plan};
    use crate::api::merge_patch;
    use mainstay_crd::conditions::Reason;
    use mainstay_crd::{CloneProgress, ReplicationRecord};
    use serde_json::json;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn status(change: impl FnOnce(&mut InstanceStatus)) -> MySQLClusterStatus {
        let mut instance: InstanceStatus = serde_json::from_value(json!({
            "name": "shop-1", "ordinal": 1, "role": "Replica", "ready": true, "state": "Ready",
            "gtidExecuted": "u:1-5", "seenAt": "2026-01-01T00:00:00Z", "lagSeconds": 0,
        }))
        .unwrap();
        change(&mut instance);
        MySQLClusterStatus { instances: vec![instance], ..MySQLClusterStatus::default() }
    }

    fn moved(change: impl FnOnce(&mut InstanceStatus), now: &str) -> bool {
        let after = status(|instance| {
            instance.seen_at = Some(time(at(now)));
            change(instance);
        });
        differs(&status(|_| ()), &after, at(now))
    }

    #[test]
    fn nothing_is_written_when_only_the_time_moved() {
        assert!(!moved(|_| (), "2026-01-01T09:00:00Z"));
    }

    #[test]
    fn transactions_and_lag_are_written_at_most_once_a_minute() {
        for change in [
            (|i: &mut InstanceStatus| i.gtid_executed = Some("u:1-6".into())) as fn(&mut InstanceStatus),
            |i| i.lag_seconds = Some(3),
        ] {
            assert!(!moved(change, "2026-01-01T00:00:59Z"));
            assert!(moved(change, "2026-01-01T00:01:00Z"));
        }
    }

    #[test]
    fn transitions_are_written_at_once() {
        assert!(moved(|i| i.ready = false, "2026-01-01T00:00:01Z"));
        assert!(moved(|i| i.state = InstanceState::Lagging, "2026-01-01T00:00:01Z"));
        assert!(moved(|i| i.gtid_executed = None, "2026-01-01T00:00:01Z"));
        let clone = CloneProgress {
            donor: "shop-0".into(),
            bytes: 1,
            total_bytes: None,
            bytes_per_second: None,
            remaining_seconds: None,
            failures: 0,
            last_error: None,
        };
        assert!(moved(|i| i.clone = Some(clone), "2026-01-01T00:00:01Z"));
    }

    #[test]
    fn a_replica_that_is_behind_does_not_cause_a_write_each_second() {
        let behind = |seconds: u64| {
            let mut status = status(|i| {
                i.state = InstanceState::Lagging;
                i.message = Some(format!("it is {seconds} s behind"));
            });
            let wanted = DesiredCondition {
                type_: ConditionType::Ready,
                status: Some(false),
                reason: Reason::CatchingUp,
                message: format!("1 of 2 instances serve: shop-1: it is {seconds} s behind"),
            };
            status.conditions = merge(&[], &[wanted], 1, &time(at("2026-01-01T00:00:00Z")));
            status
        };
        assert!(!differs(&behind(31), &behind(32), at("2026-01-01T00:00:01Z")));
    }

    #[test]
    fn a_status_never_carries_a_record() {
        let mut observation = observation();
        observation.cluster.status.replication = Some(ReplicationRecord::default());
        observation.cluster.status.cluster_id = Some("id".into());
        let after = of(&observation, &plan(), None, None);
        let patch = merge_patch(&observation.cluster.status, &after).unwrap();
        assert!(patch.get("replication").is_none() && patch.get("clusterId").is_none(), "{patch}");
    }

    #[test]
    fn others_conditions_stay() {
        let mut observation = observation();
        let theirs: Condition =
            serde_json::from_value(json!({"type": "Audited", "status": "True", "reason": "X",
            "message": "", "lastTransitionTime": "2025-01-01T00:00:00Z"}))
            .unwrap();
        observation.cluster.status.conditions = vec![theirs.clone()];
        assert_eq!(of(&observation, &plan(), None, None).conditions, [theirs]);
    }
}
