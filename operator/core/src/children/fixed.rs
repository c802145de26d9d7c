//! What of a StatefulSet can never be changed: another is made in its place.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use mainstay_crd::quantity::whole;
use serde::{Deserialize, Serialize};

/// The fields of a StatefulSet that the API server lets nobody change, as far as the operator sets them. Source: Kubernetes,
/// `ValidateStatefulSetUpdate`: all of the spec but replicas, template, strategies and the claims' retention.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FixedFields {
    service_name: Option<String>,
    selector: LabelSelector,
    access_modes: Vec<String>,
    claim_selector: Option<LabelSelector>,
    /// Bytes that a claim asks for.
    size: Option<u64>,
    class: Option<String>,
}

impl FixedFields {
    /// Those of `set`, if it has a claim template.
    pub fn of(set: &StatefulSet) -> Option<Self> {
        let spec = set.spec.as_ref()?;
        let claim = spec.volume_claim_templates.as_ref()?.first()?.spec.as_ref()?;
        let requests = claim.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        Some(FixedFields {
            service_name: spec.service_name.clone(),
            selector: spec.selector.clone(),
            access_modes: claim.access_modes.clone().unwrap_or_default(),
            claim_selector: claim.selector.clone(),
            size: requests.and_then(|requests| whole(requests.get("storage")?)),
            class: claim.storage_class_name.clone(),
        })
    }

    /// Whether all that the two differ in is the size of claims or the class that they name: those that `spec.storage` lets a
    /// person change, as far as no claim is touched by it.
    pub fn differs_in_claims_only(&self, wanted: &Self) -> bool {
        let as_wanted = FixedFields { size: wanted.size, class: wanted.class.clone(), ..self.clone() };
        self != wanted && as_wanted == *wanted
    }
}
