//! Names, images, numbers of instances, and what ends up in the pods.

use serde_json::json;

use super::Verdict::{Accepted, Misshapen, Refused};
use super::{Case, field, object};

pub(super) fn names() -> Vec<Case> {
    let refused = Refused("name must be at most 40");
    let long = "a".repeat(40);
    let longer = "a".repeat(41);
    [
        ("a", Accepted),
        ("shop-1", Accepted),
        (long.as_str(), Accepted),
        (longer.as_str(), refused),
        ("1shop", refused),
        ("shop.eu", refused),
    ]
    .into_iter()
    .map(|(name, verdict)| Case {
        name: format!("metadata.name = {name}"),
        object: object(&json!({"metadata": {"name": name}})),
        verdict,
    })
    .collect()
}

pub(super) fn basics() -> Vec<Case> {
    let replicas = Refused("replicas must be from 1 to 9");
    let image = Refused("image must be an image's name");
    let adopt = Refused("adopt must be a cluster's id");
    let digest = format!("mysql@sha256:{}", "0".repeat(64));
    [
        field(
            "replicas",
            vec![
                (json!(1), Accepted),
                (json!(9), Accepted),
                (json!(0), replicas),
                (json!(-1), replicas),
                (json!(10), replicas),
                (json!("3"), Misshapen("spec.replicas")),
            ],
        ),
        field(
            "image",
            vec![
                (json!("mysql"), Accepted),
                (json!("mysql:8.4.6-oracle"), Accepted),
                (json!("localhost:5000/db/mysql__x:9.7"), Accepted),
                (json!("[fd00::1]:5000/mysql:9.7"), Accepted),
                (json!("registry.example.com/team/mysql:9.7"), Accepted),
                (json!(digest), Accepted),
                (json!(""), image),
                (json!(" "), image),
                (json!(":9.7"), image),
                (json!("mysql:"), image),
                (json!("mysql :9.7"), image),
                (json!("mysql:9.7\n"), image),
                (json!("MySQL:9.7"), image),
                (json!("mysql@sha256:12"), image),
                (json!("a".repeat(513)), Misshapen("Too long")),
            ],
        ),
        field(
            "adopt",
            vec![
                (json!("5b8e1c1e-2a0b-4f0e-9a55-6a0f3f6d2c11"), Accepted),
                (json!(""), adopt),
                (json!("two words"), adopt),
                (json!("-x"), adopt),
            ],
        ),
        vec![
            Case {
                name: "no image".into(),
                object: object(&json!({"spec": {"image": null}})),
                verdict: Misshapen("spec.image"),
            },
            Case {
                name: "no storage".into(),
                object: object(&json!({"spec": {"storage": null}})),
                verdict: Misshapen("spec.storage"),
            },
        ],
    ]
    .concat()
}

pub(super) fn pods() -> Vec<Case> {
    let user = Refused("runAsUser must be from 1");
    let group = Refused("fsGroup must be from 1");
    [
        field(
            "podSecurity.runAsUser",
            vec![
                (json!(1000), Accepted),
                (json!(0), user),
                (json!(-1), user),
                (json!(4_294_967_295_i64), user),
            ],
        ),
        field(
            "podSecurity.fsGroup",
            vec![(json!(1000), Accepted), (json!(0), group), (json!(2_147_483_648_i64), group)],
        ),
        field(
            "scheduling.antiAffinity",
            vec![(json!("Required"), Accepted), (json!("Sometimes"), Misshapen("Unsupported value"))],
        ),
        field(
            "service.type",
            vec![(json!("LoadBalancer"), Accepted), (json!("ExternalName"), Misshapen("Unsupported value"))],
        ),
    ]
    .concat()
}

pub(super) fn resources() -> Vec<Case> {
    let above = Refused("requests must not exceed limits");
    let floor = Refused("the memory limit must be at least 384Mi");
    let limits = Refused("limits must be quantities");
    let requests = Refused("requests must be quantities");
    field(
        "resources",
        vec![
            (json!({}), Accepted),
            (
                json!({"limits": {"cpu": 2, "memory": "4Gi"}, "requests": {"cpu": "500m", "memory": "4096Mi"}}),
                Accepted,
            ),
            (json!({"requests": {"cpu": "2", "memory": "64Gi"}}), Accepted),
            (json!({"limits": {"memory": "1Gi"}, "requests": {"cpu": "8"}}), Accepted),
            (json!({"limits": {"memory": "384Mi"}}), Accepted),
            (json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1001m"}}), above),
            (json!({"limits": {"memory": "1Gi"}, "requests": {"memory": "1100Mi"}}), above),
            (json!({"limits": {"memory": "383Mi"}}), floor),
            (json!({"limits": {"memory": "1G", "cpu": "lots"}}), limits),
            (json!({"limits": {"memory": "1Gb"}}), limits),
            (json!({"requests": {"cpu": "-1"}}), requests),
            (json!({"claims": [{"name": "gpu"}]}), Refused("claims are not supported")),
        ],
    )
}
