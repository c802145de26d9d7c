//! Rules about what ends up in the pods: image, resources, user.

use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::Schema;
use serde_json::{Value, json};

use super::pattern::Pattern;
use super::{Rule, add, property};
use crate::quantity::{at_least, nanos};
use crate::spec::{CloneLimits, PodSecurity};

/// An image reference: optional host and port, path, optional tag, optional digest.
/// Source: the grammar in `github.com/distribution/reference`.
pub(super) static IMAGE: Pattern = Pattern::new(
    "^(([A-Za-z0-9][-A-Za-z0-9.]*|\\[[0-9a-fA-F:]+\\])(:[0-9]+)?/)?\
                                [a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*\
                                (:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(@[a-z0-9]+:[0-9a-fA-F]{32,})?$",
);
/// An image whose tag begins with a version: XtraBackup's image can be told from it.
pub(super) static VERSIONED_IMAGE: Pattern = Pattern::new("^.*:[0-9]+[.][0-9]+[^/:@]*(@.*)?$");
/// A cluster's id is a label's value on its volumes.
pub(super) static CLUSTER_ID: Pattern = Pattern::new("^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$");
/// The name of a cluster-wide object; empty, for a class, says that volumes are made by hand.
pub(super) static SUBDOMAIN_OR_EMPTY: Pattern =
    Pattern::new("^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$");
/// Least memory limit. MySQL 9.7 with every buffer at its least and the performance schema off was seen to take
/// 282 MiB when idle, and 512 MiB with defaults and a buffer pool of 5 MiB: below this it is killed in a circle.
const MIN_MEMORY: &str = "384Mi";
/// Least clone bandwidth: `clone_max_data_bandwidth` counts in MiB, and its 0 means no bound.
const MIN_BANDWIDTH: &str = "1Mi";
/// Greatest user or group id. Source: `IsValidUserID` in `k8s.io/apimachinery/pkg/util/validation`.
const MAX_ID: i64 = 2_147_483_647;
/// Most resources that can be limited or requested.
const MAX_RESOURCES: u32 = 16;

/// Longest quantity, in characters.
const MAX_QUANTITY: u32 = 32;

pub(super) fn resource_rules() -> Vec<Rule<ResourceRequirements>> {
    let valid = |map: &str| {
        format!(
            "(!has(self.{map}) || self.{map}.all(k, isQuantity(string(self.{map}[k])) && \
             quantity(string(self.{map}[k])).compareTo(quantity('0')) >= 0))"
        )
    };
    vec![
        Rule {
            field: "limits",
            message: "limits must be quantities of at least 0, such as 2 or 500m for cpu and 4Gi for memory",
            cel: valid("limits"),
            holds: |r| r.limits.iter().flat_map(|map| map.values()).all(|q| nanos(q).is_some_and(|n| n >= 0)),
        },
        Rule {
            field: "requests",
            message: "requests must be quantities of at least 0, such as 2 or 500m for cpu and 4Gi for memory",
            cel: valid("requests"),
            holds: |r| {
                r.requests.iter().flat_map(|map| map.values()).all(|q| nanos(q).is_some_and(|n| n >= 0))
            },
        },
        Rule {
            field: "requests",
            message: "requests must not exceed limits: lower the requests or raise the limits",
            cel: format!(
                "!has(self.limits) || !has(self.requests) || !{} || !{} || self.requests.all(k, \
                 !(k in self.limits) || \
                 quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)",
                valid("limits"),
                valid("requests")
            ),
            holds: requests_within_limits,
        },
        Rule {
            field: "limits",
            message: "the memory limit must be at least 384Mi: MySQL does not run in less; 1Gi is a good beginning",
            cel: format!(
                "!has(self.limits) || !('memory' in self.limits) || \
                 !isQuantity(string(self.limits['memory'])) || \
                 quantity(string(self.limits['memory'])).compareTo(quantity('{MIN_MEMORY}')) >= 0"
            ),
            holds: |r| {
                let memory = r.limits.as_ref().and_then(|limits| limits.get("memory"));
                memory.is_none_or(|q| nanos(q).is_none() || at_least(q, MIN_MEMORY))
            },
        },
        Rule {
            field: "claims",
            message: "claims are not supported: remove them",
            cel: "!has(self.claims) || self.claims.size() == 0".into(),
            holds: |r| r.claims.as_ref().is_none_or(Vec::is_empty),
        },
    ]
}

fn requests_within_limits(resources: &ResourceRequirements) -> bool {
    let (Some(limits), Some(requests)) = (&resources.limits, &resources.requests) else { return true };
    requests.iter().all(|(name, request)| match (nanos(request), limits.get(name).map(nanos)) {
        (Some(request), Some(Some(limit))) => request <= limit,
        _ => true,
    })
}

pub(super) fn security_rules() -> Vec<Rule<PodSecurity>> {
    vec![
        Rule {
            field: "runAsUser",
            message: "runAsUser must be from 1 to 2147483647: nothing here runs as root; official images of MySQL \
                      use 999",
            cel: format!("self.runAsUser >= 1 && self.runAsUser <= {MAX_ID}"),
            holds: |security| (1..=MAX_ID).contains(&security.run_as_user),
        },
        Rule {
            field: "fsGroup",
            message: "fsGroup must be from 1 to 2147483647: nothing here runs as root; official images of MySQL \
                      use 999",
            cel: format!("self.fsGroup >= 1 && self.fsGroup <= {MAX_ID}"),
            holds: |security| (1..=MAX_ID).contains(&security.fs_group),
        },
    ]
}

pub(super) fn clone_rules() -> Vec<Rule<CloneLimits>> {
    vec![Rule {
        field: "bytesPerSecond",
        message: "bytesPerSecond must be a quantity of at least 1Mi; leave it out for no bound",
        cel: format!(
            "!has(self.bytesPerSecond) || isQuantity(string(self.bytesPerSecond)) && \
             quantity(string(self.bytesPerSecond)).compareTo(quantity('{MIN_BANDWIDTH}')) >= 0"
        ),
        holds: |limits| limits.bytes_per_second.as_ref().is_none_or(|q| at_least(q, MIN_BANDWIDTH)),
    }]
}

/// Schema transform of `spec.resources`.
pub(crate) fn resources(schema: &mut Schema) {
    for field in ["limits", "requests"] {
        if let Some(map) = property(schema, field) {
            map.insert("maxProperties".into(), json!(MAX_RESOURCES));
            if let Some(Value::Object(quantity)) = map.get_mut("additionalProperties") {
                quantity.insert("maxLength".into(), json!(MAX_QUANTITY));
            }
        }
    }
    if let Some(claims) = property(schema, "claims") {
        claims.insert("maxItems".into(), json!(MAX_RESOURCES));
    }
    add(schema, resource_rules().iter().map(Rule::to_json));
}

/// Schema transform of [`PodSecurity`].
pub(crate) fn pod_security(schema: &mut Schema) {
    add(schema, security_rules().iter().map(Rule::to_json));
}

/// Schema transform of [`CloneLimits`].
pub(crate) fn clone_limits(schema: &mut Schema) {
    add(schema, clone_rules().iter().map(Rule::to_json));
}
