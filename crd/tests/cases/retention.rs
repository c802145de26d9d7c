//! What becomes of claims.

use serde_json::json;

use super::Verdict::{Accepted, Misshapen, Refused};
use super::{Case, field};

pub(super) fn retention() -> Vec<Case> {
    let required = Refused("after is required with the policy DeleteAfter");
    let time = Refused("after must be a time in hours, minutes and seconds");
    let after = |after: &str| json!({"policy": "DeleteAfter", "after": after});
    [
        field(
            "storage.retention.whenScaled",
            vec![
                (json!({}), Accepted),
                (json!({"policy": "Retain"}), Accepted),
                (json!({"policy": "Delete"}), Accepted),
                (json!({"policy": "Snapshot"}), Accepted),
                (after("24h"), Accepted),
                (after("1h30m"), Accepted),
                (after("90s"), Accepted),
                (json!({"policy": "DeleteAfter"}), required),
                (json!({"policy": "Delete", "after": "24h"}), required),
                (json!({"after": "24h"}), required),
                (after("1d"), time),
                (after(""), time),
                (after("24"), time),
                (after("-1h"), time),
                (after("1.5h"), time),
                (after("30m1h"), time),
                (json!({"policy": "Forget"}), Misshapen("Unsupported value")),
                (json!("Delete"), Misshapen("spec.storage.retention.whenScaled")),
            ],
        ),
        field(
            "storage.retention.whenDeleted",
            vec![
                (json!({"policy": "Retain"}), Accepted),
                (json!({"policy": "Delete"}), Accepted),
                (json!({"policy": "Snapshot"}), Accepted),
                (after("24h"), Refused("whenDeleted can't be DeleteAfter")),
            ],
        ),
        field(
            "deletionProtection",
            vec![(json!(true), Accepted), (json!("yes"), Misshapen("spec.deletionProtection"))],
        ),
    ]
    .concat()
}
