//! Steps on nodes.

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::Api;
use kube::api::{Patch, PatchParams};
use mainstay_crd::names::MANAGER_CLUSTER;
use serde_json::json;

use super::outcome::{Outcome, StepError};
use crate::api::is_gone;
use crate::context::Context;

/// The taint by which an administrator vouches that nothing runs on a node. Source: KEP-2268.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Taints a node. Taints are a list that others write too: it is read, and written back only as it was read.
///
/// # Errors
/// If the API server refused or did not answer.
pub(super) async fn taint_out_of_service(
    context: &Context,
    name: &str,
    uid: &str,
) -> Result<Outcome, StepError> {
    let failed = |error| StepError::Node(name.to_owned(), error);
    let api = Api::<Node>::all(context.client.clone());
    let Some(node) = api.get_opt(name).await.map_err(failed)? else { return Ok(Outcome::Outdated) };
    let mut taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    if taints.iter().any(|taint| taint.key == OUT_OF_SERVICE) {
        return Ok(Outcome::Told);
    }
    taints.push(Taint {
        key: OUT_OF_SERVICE.into(),
        value: Some("nodeshutdown".into()),
        effect: "NoExecute".into(),
        ..Taint::default()
    });
    let metadata = json!({"uid": uid, "resourceVersion": node.metadata.resource_version});
    let change = Patch::Merge(json!({"metadata": metadata, "spec": {"taints": taints}}));
    let params = PatchParams { field_manager: Some(MANAGER_CLUSTER.into()), ..PatchParams::default() };
    match api.patch_metadata(name, &params, &change).await {
        Ok(_) => Ok(Outcome::Told),
        Err(error) if is_gone(&error) => Ok(Outcome::Outdated),
        Err(error) => Err(failed(error)),
    }
}
