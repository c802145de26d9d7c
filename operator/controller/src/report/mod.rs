//! Status, events and metrics: what people see. Also when something failed.

mod status;
mod transitions;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use mainstay_core::{ClaimStep, Observation, Plan, PodStep, Step};
use mainstay_crd::MySQLCluster;
use mainstay_crd::conditions::Reason;
use mainstay_crd::names::{MANAGER_STATUS, Names};
use serde_json::json;

use crate::act::{ActError, Outcome};
use crate::api::is_conflict;
use crate::api::merge_patch;
use crate::context::Context;
use crate::events::Event;
use crate::secrets::Checked;
use crate::telemetry::Metrics;

/// Why the status was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// It can't be written as JSON.
    #[error("status: {0}")]
    Json(#[from] serde_json::Error),
    /// The API server refused or did not answer.
    #[error("status: {0}")]
    Api(#[from] kube::Error),
}

/// Writes the status if it differs from that of `cluster`, and tells the transitions. Returns the object if it was
/// written.
///
/// # Errors
/// If the status was not written, and that is not because the object has changed since it was read.
pub(crate) async fn report(
    context: &Context,
    cluster: &MySQLCluster,
    observation: &Observation,
    plan: &Plan,
    failure: Option<&ActError>,
    checked: &Checked,
) -> Result<Option<MySQLCluster>, ReportError> {
    let before = cluster.status.clone().unwrap_or_default();
    let names = Names::new(&observation.cluster.namespace, &observation.cluster.name);
    let after = status::of(observation, plan, failure, checked.told(&names));
    if !status::differs(&before, &after, observation.now) {
        return Ok(None);
    }
    let api: Api<MySQLCluster> = Api::namespaced(context.client.clone(), &observation.cluster.namespace);
    // With the version that was read: what an operator writes that has been replaced is refused.
    let patch = json!({
        "metadata": {"uid": cluster.uid(), "resourceVersion": cluster.resource_version()},
        "status": merge_patch(&before, &after)?,
    });
    let params = PatchParams { field_manager: Some(MANAGER_STATUS.into()), ..PatchParams::default() };
    match api.patch_status(&observation.cluster.name, &params, &Patch::Merge(patch)).await {
        Ok(written) => {
            Metrics::count(&context.metrics.writes, "Status");
            for event in transitions::transitions(&before, &after) {
                context.events.publish(&cluster.object_ref(&()), event);
            }
            Ok(Some(written))
        }
        Err(error) if is_conflict(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Tells of a step that people want to know of, once it was carried out.
pub(crate) fn tell_step(context: &Context, cluster: &MySQLCluster, step: &Step, outcome: &Outcome) {
    let event = match (step, outcome) {
        (Step::Record { reason, message, .. }, Outcome::Recorded(_)) => {
            Event::normal(reason.as_str(), message)
        }
        (Step::Pod { pod, step: PodStep::Replace, message, .. }, Outcome::Told) => {
            Event::normal(Reason::Rolling.as_str(), &format!("{pod} is replaced: {message}"))
        }
        (Step::Claim { step: ClaimStep::Note { note: None, .. }, message, .. }, Outcome::Told) => {
            Event::normal(Reason::ClaimReused.as_str(), message)
        }
        (Step::Claim { step: ClaimStep::Delete { .. }, message, .. }, Outcome::Told) => {
            Event::normal(Reason::ClaimDeleted.as_str(), message)
        }
        (
            Step::Pod { message, .. }
            | Step::Claim { step: ClaimStep::Grow { .. }, message, .. }
            | Step::Volume { message, .. }
            | Step::Node { message, .. },
            Outcome::Told,
        ) if !step.is_bookkeeping() => Event::normal(step.kind(), message),
        _ => return,
    };
    context.events.publish(&cluster.object_ref(&()), event);
}

/// The time, for conditions.
fn time(now: Timestamp) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now)
}
