//! Why a pod is not running, in Kubernetes' words.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus};

use crate::watch::Pod;

/// Reasons of a waiting container that are the usual way of things.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// Why `pod` is not running, if Kubernetes says so.
pub(super) fn of(pod: &Pod) -> Option<String> {
    ended(pod).or_else(|| containers(pod)).or_else(|| unscheduled(pod))
}

/// Evicted, preempted, rejected by a kubelet.
fn ended(pod: &Pod) -> Option<String> {
    let failed = pod.status.phase.as_deref() == Some("Failed");
    let reason = pod.status.reason.as_deref().or(failed.then_some("Failed"))?;
    Some(with_message(reason, pod.status.message.as_deref()))
}

fn containers(pod: &Pod) -> Option<String> {
    pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses).find_map(container)
}

fn container(status: &ContainerStatus) -> Option<String> {
    let state = status.state.as_ref()?;
    if let Some(ended) = state.terminated.as_ref().filter(|ended| ended.exit_code != 0) {
        return Some(format!("{}: {}", status.name, exit(ended)));
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| !USUAL.contains(reason))?;
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    let why = match (reason, last) {
        // The message only says how long the kubelet waits, and changes all the time.
        ("CrashLoopBackOff", Some(last)) => format!("CrashLoopBackOff: {}", exit(last)),
        ("CrashLoopBackOff", None) => "CrashLoopBackOff".into(),
        _ => with_message(reason, waiting.message.as_deref()),
    };
    Some(format!("{}: {why}", status.name))
}

fn exit(ended: &ContainerStateTerminated) -> String {
    let how = match ended.signal {
        Some(signal) if signal != 0 => format!("ended by signal {signal}"),
        _ => format!("exit status {}", ended.exit_code),
    };
    match (ended.reason.as_deref(), ended.message.as_deref().map(str::trim)) {
        (_, Some(message)) if !message.is_empty() => format!("{how}: {message}"),
        (Some(reason), _) if reason != "Error" => format!("{how} ({reason})"),
        _ => how,
    }
}

fn unscheduled(pod: &Pod) -> Option<String> {
    let condition =
        pod.status.conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    let reason = condition.reason.as_deref().unwrap_or("Unschedulable");
    Some(with_message(reason, condition.message.as_deref()))
}

fn with_message(reason: &str, message: Option<&str>) -> String {
    match message.map(str::trim) {
        Some(message) if !message.is_empty() => format!("{reason}: {message}"),
        _ => reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn trouble(status: Value) -> Option<String> {
        let pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shop-0"}, "status": status});
        of(&serde_json::from_value(pod).unwrap())
    }

    fn mysql(state: Value, last: Value) -> Value {
        json!({"containerStatuses": [{"name": "mysql", "image": "mysql:9.7", "imageID": "", "ready": false,
            "restartCount": 3, "state": state, "lastState": last}]})
    }

    #[test]
    fn a_pod_that_starts_has_no_trouble() {
        assert_eq!(trouble(json!({"phase": "Pending"})), None);
        assert_eq!(trouble(mysql(json!({"waiting": {"reason": "PodInitializing"}}), json!({}))), None);
        assert_eq!(
            trouble(mysql(json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}), json!({}))),
            None
        );
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named() {
        let waiting =
            json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling \"mysql:9\""}});
        let told = trouble(mysql(waiting, json!({})));
        assert_eq!(told.as_deref(), Some("mysql: ImagePullBackOff: Back-off pulling \"mysql:9\""));
    }

    #[test]
    fn a_crash_loop_says_how_it_ended_and_not_how_long_the_kubelet_waits() {
        let waiting =
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}});
        let last =
            json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "unknown variable 'x=1'\n"}});
        let told = trouble(mysql(waiting.clone(), last));
        assert_eq!(told.as_deref(), Some("mysql: CrashLoopBackOff: exit status 1: unknown variable 'x=1'"));
        let last = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let told = trouble(mysql(waiting, last));
        assert_eq!(told.as_deref(), Some("mysql: CrashLoopBackOff: exit status 137 (OOMKilled)"));
    }

    #[test]
    fn the_scheduler_says_why_no_node_will_do() {
        let told =
            trouble(json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/4 nodes are available"}]}));
        assert_eq!(told.as_deref(), Some("Unschedulable: 0/4 nodes are available"));
    }

    #[test]
    fn an_evicted_pod_says_so() {
        let told = trouble(json!({"phase": "Failed", "reason": "Evicted", "message": "disk pressure"}));
        assert_eq!(told.as_deref(), Some("Evicted: disk pressure"));
    }
}
