//! What of a change is told in an event: transitions only.

use mainstay_crd::conditions::ConditionType;
use mainstay_crd::{ClusterPhase, InstanceState, InstanceStatus, Judgement, MySQLClusterStatus};

use crate::events::Event;

/// What changed between two states of a cluster that people want to know of.
pub(super) fn transitions(before: &MySQLClusterStatus, after: &MySQLClusterStatus) -> Vec<Event> {
    let mut events = Vec::new();
    if let Some(state) = after.state.filter(|state| before.state != Some(*state)) {
        let note = condition(after, ConditionType::Ready).map(|c| c.message.as_str()).unwrap_or_default();
        let bad = matches!(state, ClusterPhase::Degraded | ClusterPhase::Failed | ClusterPhase::Lost);
        let name = format!("{state:?}");
        events.push(if bad { Event::warning(&name, note) } else { Event::normal(&name, note) });
    }
    if let Some(blocked) = condition(after, ConditionType::Blocked).filter(|c| c.status == "True") {
        let same = condition(before, ConditionType::Blocked)
            .is_some_and(|c| c.status == blocked.status && c.reason == blocked.reason);
        if !same {
            events.push(Event::warning(&blocked.reason, &blocked.message));
        }
    }
    for instance in after.instances.iter().filter(|i| i.state == InstanceState::Quarantined) {
        let was = before.instances.iter().find(|b| b.name == instance.name).map(|b| b.state);
        if was != Some(InstanceState::Quarantined) {
            let why = instance.message.as_deref().unwrap_or("its data may not be used");
            events.push(Event::warning("Quarantined", &format!("{}: {why}", instance.name)));
        }
    }
    events.extend(
        after.instances.iter().filter_map(|instance| {
            judged(before.instances.iter().find(|b| b.name == instance.name)?, instance)
        }),
    );
    events
}

/// What was found of an instance that was known before, once for each pod and judgement.
fn judged(before: &InstanceStatus, after: &InstanceStatus) -> Option<Event> {
    let (left, verdict) = (before.ledger.as_ref()?, after.verdict.as_ref()?);
    let told = before
        .verdict
        .as_ref()
        .is_some_and(|told| told.judgement == verdict.judgement && told.pod_uid == verdict.pod_uid);
    if told {
        return None;
    }
    let moved = left.node.is_some() && after.node.is_some() && left.node != after.node;
    Some(match verdict.judgement {
        Judgement::SameVolume if moved => Event::normal("VolumeRebound", &verdict.message),
        Judgement::SameVolume => Event::normal("SameVolume", &verdict.message),
        bad => Event::warning(&format!("{bad:?}"), &verdict.message),
    })
}

fn condition(
    status: &MySQLClusterStatus,
    type_: ConditionType,
) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: ClusterPhase) -> MySQLClusterStatus {
        MySQLClusterStatus { state: Some(state), ..MySQLClusterStatus::default() }
    }

    #[test]
    fn a_state_is_told_when_it_changes_and_not_again() {
        let (well, ill) = (status(ClusterPhase::Healthy), status(ClusterPhase::Degraded));
        assert_eq!(transitions(&well, &ill), [Event::warning("Degraded", "")]);
        assert_eq!(transitions(&ill, &ill), []);
        assert_eq!(transitions(&ill, &well), [Event::normal("Healthy", "")]);
    }

    fn instance(patch: serde_json::Value) -> MySQLClusterStatus {
        let mut instance = serde_json::json!({"name": "shop-1", "ordinal": 1, "ready": true, "state": "Ready",
            "node": "n1", "ledger": {"claimUID": "c", "node": "n1", "operation": "o", "serverUUID": "s",
            "gtidExecuted": ""}});
        for (key, value) in patch.as_object().unwrap() {
            instance[key] = value.clone();
        }
        let instance = serde_json::from_value(instance).unwrap();
        MySQLClusterStatus { instances: vec![instance], ..MySQLClusterStatus::default() }
    }

    #[test]
    fn what_came_back_is_told_once_with_both_nodes_if_it_moved() {
        let verdict = |judgement: &str, pod: &str| serde_json::json!({"judgement": judgement, "message": "m", "podUID": pod, "at": "2026-01-01T00:00:00Z"});
        let first = instance(serde_json::json!({"verdict": verdict("SameVolume", "a")}));
        let moved = instance(serde_json::json!({"verdict": verdict("SameVolume", "b"), "node": "n2"}));
        assert_eq!(transitions(&first, &moved), [Event::normal("VolumeRebound", "m")]);
        assert_eq!(transitions(&moved, &moved), []);
        let wiped = instance(serde_json::json!({"verdict": verdict("Wiped", "b")}));
        assert_eq!(transitions(&moved, &wiped), [Event::warning("Wiped", "m")]);
    }
}
