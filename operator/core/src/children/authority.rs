//! The certificate of the cluster's own authority, for clients.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{Blueprint, meta};

/// The key, as in the Secrets that hold it beside others, and as other parts of Kubernetes name it.
const KEY: &str = "ca.crt";

/// The ConfigMap `NAME-ca`. The Secret of this name has the authority's key besides, so it is nothing to be mounted.
pub fn ca_config_map(blueprint: &Blueprint<'_>, certificate: &str) -> ConfigMap {
    ConfigMap {
        metadata: meta::metadata(blueprint, blueprint.names().ca_config_map()),
        data: Some(BTreeMap::from([(KEY.into(), certificate.into())])),
        ..Default::default()
    }
}
