//! Volumes and clones, and how a volume may change.

use serde_json::{Value, json};

use super::Verdict::{Accepted, Misshapen, Refused};
use super::{Case, Change, Verdict, field, object};

pub(super) fn storage() -> Vec<Case> {
    let size = Refused("size must be a quantity of at least 256Mi");
    let modes = Refused("accessModes must name exactly one mode");
    let class = Refused("class must be the name of a StorageClass");
    [
        field(
            "storage.size",
            vec![
                (json!("100Gi"), Accepted),
                (json!("1.5Ti"), Accepted),
                (json!(1_073_741_824_i64), Accepted),
                (json!("10e9"), Accepted),
                (json!("256Mi"), Accepted),
                (json!("0"), size),
                (json!(0), size),
                (json!("-1Gi"), size),
                (json!("255Mi"), size),
                (json!("100m"), size),
                (json!("10GB"), size),
                (json!("1 Gi"), size),
                (json!("much"), size),
                (json!(""), size),
                (json!(1.5), Misshapen("spec.storage.size")),
            ],
        ),
        field(
            "storage.class",
            vec![
                (json!("fast"), Accepted),
                (json!("csi.example.com"), Accepted),
                (json!(""), Accepted),
                (json!("Fast"), class),
                (json!("fast disk"), class),
            ],
        ),
        field(
            "storage.accessModes",
            vec![
                (json!(["ReadWriteOnce"]), Accepted),
                (json!(["ReadWriteOncePod"]), Accepted),
                (json!(["ReadWriteMany"]), Accepted),
                (json!([]), modes),
                (json!(["ReadWriteOnce", "ReadWriteMany"]), modes),
                (json!(["ReadOnlyMany"]), Misshapen("Unsupported value")),
            ],
        ),
        field("storage.selector", vec![(json!({"matchLabels": {"disk": "fast"}}), Accepted)]),
    ]
    .concat()
}

pub(super) fn cloning() -> Vec<Case> {
    let bandwidth = Refused("bytesPerSecond must be a quantity of at least 1Mi");
    [
        field(
            "clone.limits.bytesPerSecond",
            vec![
                (json!("50Mi"), Accepted),
                (json!("1Mi"), Accepted),
                (json!(5_000_000), Accepted),
                (json!("0"), bandwidth),
                (json!("1000k"), bandwidth),
                (json!("-50Mi"), bandwidth),
                (json!("fast"), bandwidth),
            ],
        ),
        field(
            "clone.method",
            vec![
                (json!("Plugin"), Accepted),
                (json!("XtraBackup"), Accepted),
                (json!("Dump"), Misshapen("Unsupported value")),
            ],
        ),
        field(
            "clone.compress",
            vec![
                (json!("None"), Accepted),
                (json!("Zstd"), Refused("clone.compress is for the method XtraBackup")),
                (json!("Gzip"), Misshapen("Unsupported value")),
            ],
        ),
        field(
            "clone.image",
            vec![
                (json!("percona/percona-xtrabackup:8.4"), Accepted),
                (json!("not an image"), Refused("clone.image must be an image's name")),
            ],
        ),
        tool_images(),
    ]
    .concat()
}

/// Whether the tool's image follows from the server's.
fn tool_images() -> Vec<Case> {
    let refused = Refused("clone.image must be given for the method XtraBackup");
    let plugins = Refused("clone.compress is for the method XtraBackup");
    let case = |image: &str, clone: Value, verdict| Case {
        name: format!("spec.image {image} with spec.clone {clone}"),
        object: object(&json!({"spec": {"image": image, "clone": clone}})),
        verdict,
    };
    let digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let own = json!({"method": "XtraBackup", "image": "registry.example:5000/tool"});
    vec![
        case("mysql:9.7", json!({"method": "XtraBackup"}), Accepted),
        case(&format!("host:5000/db/mysql:8.4.7-oracle{digest}"), json!({"method": "XtraBackup"}), Accepted),
        case("mysql:lts", json!({"method": "XtraBackup"}), refused),
        case("mysql:8", json!({"method": "XtraBackup"}), refused),
        case("mysql:v8.4", json!({"method": "XtraBackup"}), refused),
        case("host:5000/mysql", json!({"method": "XtraBackup"}), refused),
        case(&format!("mysql{digest}"), json!({"method": "XtraBackup"}), refused),
        case("mysql:lts", json!({"method": "Plugin"}), Accepted),
        case("mysql:lts", own, Accepted),
        case("mysql:lts", json!({"image": "registry.example:5000/tool"}), Accepted),
        case("mysql:lts", json!({"image": "tool:1", "compress": "Zstd"}), Accepted),
        case("mysql:9.7", json!({"compress": "Zstd"}), plugins),
        case("mysql:9.7", json!({"method": "Plugin", "image": "tool:1", "compress": "Zstd"}), plugins),
        case("mysql:9.7", json!({"method": "XtraBackup", "compress": "Zstd"}), Accepted),
    ]
}

/// Every case of change.
pub(super) fn changes() -> Vec<Change> {
    let size = Refused("size can't shrink below what a claim has");
    let class = Refused("class can't change in place once a claim was bound");
    let modes = Refused("accessModes can't change in place");
    let selector = Refused("selector can't change in place");
    let disk = |name: &str| json!({"matchLabels": {"disk": name}});
    let storage = |field: &str, value: Value| json!({"spec": {"storage": {field: value}}});
    let row = |field: &str, from: Value, to: Value, verdict| Change {
        name: format!("spec.storage.{field}: {from} to {to}"),
        from: object(&storage(field, from)),
        to: object(&storage(field, to)),
        verdict,
    };
    let spec = |name: &str, from: Value, to: Value, verdict| Change {
        name: name.into(),
        from: object(&json!({ "spec": from })),
        to: object(&json!({ "spec": to })),
        verdict,
    };
    let fixed = vec![
        row("size", json!("1Gi"), json!("2Gi"), Accepted),
        row("size", json!("1Gi"), json!("1024Mi"), Accepted),
        row("size", json!("900Mi"), json!("1Gi"), Accepted),
        row("size", json!("1Gi"), json!(1_073_741_824_i64), Accepted),
        row("size", json!("1Gi"), json!("1023Mi"), size),
        row("size", json!("1Gi"), json!("1G"), size),
        row("size", json!("1Gi"), json!(1_073_741_823_i64), size),
        row("class", json!("fast"), json!("fast"), Accepted),
        row("class", json!("fast"), json!("slow"), class),
        row("class", json!(null), json!("fast"), class),
        row("class", json!("fast"), json!(null), class),
        row("class", json!(null), json!(""), class),
        row("accessModes", json!(["ReadWriteOnce"]), json!(null), Accepted),
        row("accessModes", json!(["ReadWriteOnce"]), json!(["ReadWriteOncePod"]), modes),
        row("accessModes", json!(["ReadWriteMany"]), json!(null), modes),
        row("selector", disk("a"), disk("a"), Accepted),
        row("selector", disk("a"), disk("b"), selector),
        row("selector", json!(null), disk("a"), selector),
        row("selector", disk("a"), json!(null), selector),
        spec("more replicas", json!({"replicas": 3}), json!({"replicas": 5}), Accepted),
        spec(
            "no replicas",
            json!({"replicas": 3}),
            json!({"replicas": 0}),
            Refused("replicas must be from 1 to 9"),
        ),
        spec("another image", json!({"image": "mysql:8.4"}), json!({"image": "mysql:9.7"}), Accepted),
        spec(
            "an owned option",
            json!({"config": {"common": {"max_connections": "100"}}}),
            json!({"config": {"common": {"max_connections": "100", "server_id": "1"}}}),
            Refused("the operator sets these options, or relies on their defaults; remove: server_id"),
        ),
    ];
    [fixed, by_claims(size, class)].concat()
}

/// What may be set back or named hangs on what the claims have.
fn by_claims(size: Verdict, class: Verdict) -> Vec<Change> {
    let row = |what: &str, status: Value, from: Value, to: Value, verdict| {
        let name = format!("spec.storage.{what}: {from} to {to} with status.storage {status}");
        let object =
            |value| object(&json!({"spec": {"storage": {what: value}}, "status": {"storage": status}}));
        Change { name, from: object(from), to: object(to), verdict }
    };
    let largest = |size: &str| json!({"largest": size, "class": "standard"});
    vec![
        row("size", largest("1Gi"), json!("2Gi"), json!("1Gi"), Accepted),
        row("size", largest("1Gi"), json!("2Gi"), json!("1536Mi"), Accepted),
        row("size", largest("1Gi"), json!("2Gi"), json!(1_073_741_824_i64), Accepted),
        row("size", largest("1Gi"), json!("2Gi"), json!("1023Mi"), size),
        row("size", largest("2Gi"), json!("2Gi"), json!("1Gi"), size),
        row("size", largest("3Gi"), json!("1Gi"), json!("1Gi"), Accepted),
        row("size", largest("3Gi"), json!("1Gi"), json!("2Gi"), Accepted),
        row("size", json!({}), json!("100Ti"), json!("1Gi"), Accepted),
        row("size", json!(null), json!("100Ti"), json!("1Gi"), size),
        row("class", largest("1Gi"), json!(null), json!("standard"), Accepted),
        row("class", largest("1Gi"), json!("standrad"), json!("standard"), Accepted),
        row("class", largest("1Gi"), json!(null), json!("other"), class),
        row("class", largest("1Gi"), json!("standard"), json!("other"), class),
        row("class", largest("1Gi"), json!("standard"), json!(null), class),
        row("class", json!({"largest": "1Gi"}), json!(null), json!("standard"), class),
        // No claim was ever bound: a class that was typed wrong can be put right.
        row("class", json!({}), json!(null), json!("standard"), Accepted),
        row("class", json!({}), json!("standrad"), json!("standard"), Accepted),
        row("class", json!({}), json!("standrad"), json!(null), Accepted),
    ]
}
