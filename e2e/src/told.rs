//! What statuses say.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use mainstay_crd::conditions::ConditionType;
use mainstay_crd::{ClusterPhase, InstanceStatus, MySQLClusterStatus};

/// The ordinal in an instance's status.
pub fn ordinal(instance: &InstanceStatus) -> u32 {
    u32::try_from(instance.ordinal).unwrap_or(u32::MAX)
}

/// What a status says of an instance.
pub fn instance(status: &MySQLClusterStatus, of: u32) -> Option<&InstanceStatus> {
    status.instances.iter().find(|instance| ordinal(instance) == of)
}

/// What a status says about why an instance is not Ready; nothing is empty.
pub fn message(status: &MySQLClusterStatus, of: u32) -> &str {
    instance(status, of).and_then(|instance| instance.message.as_deref()).unwrap_or_default()
}

/// A condition of a status.
pub fn condition(status: &MySQLClusterStatus, type_: ConditionType) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

/// Whether a pod has the condition Ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Healthy with this many instances, each of them Ready.
pub fn is_healthy(status: &MySQLClusterStatus, replicas: i32) -> bool {
    let condition = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    let all = usize::try_from(replicas) == Ok(status.instances.len());
    status.state == Some(ClusterPhase::Healthy)
        && status.ready_replicas == replicas
        && condition.is_some_and(|ready| ready.status == "True")
        && all
        && status.instances.iter().all(|instance| instance.ready)
}
