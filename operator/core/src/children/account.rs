//! The pods' account.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{Blueprint, meta};

/// An account that is bound to no role; its token is not mounted. It exists so that pods don't share the
/// namespace's default account, to which someone may have granted something.
pub(super) fn service_account(blueprint: &Blueprint<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: meta::metadata(blueprint, blueprint.names().base()),
        automount_service_account_token: Some(false),
        ..Default::default()
    }
}
