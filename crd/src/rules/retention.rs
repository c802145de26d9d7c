//! Rules about `spec.storage.retention`.

use schemars::Schema;
use serde_json::json;

use super::pattern::Pattern;
use super::{Rule, add, property};
use crate::{KeepOrDelete, Retention, RetentionPolicy};

/// Hours, minutes and seconds, at least one of them.
static DURATION: Pattern =
    Pattern::new("^([0-9]{1,5}h([0-9]{1,4}m)?([0-9]{1,4}s)?|[0-9]{1,4}m([0-9]{1,4}s)?|[0-9]{1,4}s)$");

pub(super) fn keep_rules() -> Vec<Rule<KeepOrDelete>> {
    vec![
        Rule {
            field: "after",
            message: "after is required with the policy DeleteAfter, and belongs to no other",
            cel: "(has(self.policy) && self.policy == 'DeleteAfter') == has(self.after)".into(),
            holds: |keep| (keep.policy == RetentionPolicy::DeleteAfter) == keep.after.is_some(),
        },
        Rule {
            field: "after",
            message: "after must be a time in hours, minutes and seconds, such as 24h or 1h30m",
            cel: format!("!has(self.after) || self.after.{}", DURATION.cel()),
            holds: |keep| keep.after.as_ref().is_none_or(|after| DURATION.matches(after)),
        },
    ]
}

pub(super) fn rules() -> Vec<Rule<Retention>> {
    vec![Rule {
        field: "whenDeleted",
        message: "whenDeleted can't be DeleteAfter: once the cluster is deleted nobody is left to wait; use Retain, \
                  Delete or Snapshot",
        cel: "!has(self.whenDeleted) || !has(self.whenDeleted.policy) || self.whenDeleted.policy != 'DeleteAfter'"
            .into(),
        holds: |retention| retention.deleted().policy != RetentionPolicy::DeleteAfter,
    }]
}

/// Schema transform of [`KeepOrDelete`].
pub(crate) fn keep_or_delete(schema: &mut Schema) {
    if let Some(after) = property(schema, "after") {
        after.insert("maxLength".into(), json!(20));
    }
    add(schema, keep_rules().iter().map(Rule::to_json));
}

/// Schema transform of [`Retention`].
pub(crate) fn retention(schema: &mut Schema) {
    add(schema, rules().iter().map(Rule::to_json));
}
