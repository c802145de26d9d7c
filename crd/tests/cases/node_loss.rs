//! Lost nodes, and the volumes on them.

use serde_json::json;

use super::Verdict::{Accepted, Misshapen, Refused};
use super::{Case, field};

pub(super) fn node_loss() -> Vec<Case> {
    let annotation = Refused("nodeAnnotation must be an annotation's key");
    let after = Refused("after must be a time in hours, minutes and seconds");
    let replace = Refused("replaceAfter must be a time in hours, minutes and seconds");
    let proof = |annotation: &str, after: &str| json!({"nodeAnnotation": annotation, "after": after});
    let off = "fencing.example.com/state=off";
    [
        field(
            "nodeLoss.whenProven",
            vec![
                (proof(off, "5m"), Accepted),
                (proof("a.b/c=d", "1h30m"), Accepted),
                (proof("state=off", "5m"), annotation),
                (proof("fencing.example.com/state", "5m"), annotation),
                (proof("fencing.example.com/state=", "5m"), annotation),
                (proof("", "5m"), annotation),
                (proof(off, "5"), after),
                (proof(off, ""), after),
                (proof(off, "1d"), after),
                (json!({"nodeAnnotation": off}), Misshapen("after")),
                (json!({"after": "5m"}), Misshapen("nodeAnnotation")),
            ],
        ),
        field("nodeLoss", vec![(json!({}), Accepted)]),
        field(
            "storage.local.replaceAfter",
            vec![
                (json!("30m"), Accepted),
                (json!("2h"), Accepted),
                (json!("0"), replace),
                (json!("soon"), replace),
                (json!("-1m"), replace),
            ],
        ),
        field(
            "storage.reclaimPolicy",
            vec![(json!("Retain"), Accepted), (json!("Delete"), Misshapen("Unsupported value"))],
        ),
    ]
    .concat()
}
