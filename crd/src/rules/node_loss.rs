//! Rules about lost nodes and the volumes on them.

use schemars::Schema;
use serde_json::json;

use super::pattern::Pattern;
use super::{Rule, add, property};
use crate::{LocalVolumes, WhenProven};

/// Hours, minutes and seconds, at least one of them.
static DURATION: Pattern =
    Pattern::new("^([0-9]{1,5}h([0-9]{1,4}m)?([0-9]{1,4}s)?|[0-9]{1,4}m([0-9]{1,4}s)?|[0-9]{1,4}s)$");
/// An annotation's key with its prefix, an equals sign, and a value.
/// Source: Kubernetes, "Labels and Selectors", "Syntax and character set".
static ANNOTATION: Pattern = Pattern::new(
    "^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?=[^ ]{1,253}$",
);

pub(super) fn proof_rules() -> Vec<Rule<WhenProven>> {
    vec![
        Rule {
            field: "nodeAnnotation",
            message: "nodeAnnotation must be an annotation's key with its prefix and a value, such as \
                      fencing.example.com/state=off",
            cel: format!("self.nodeAnnotation.{}", ANNOTATION.cel()),
            holds: |proof| ANNOTATION.matches(&proof.node_annotation),
        },
        Rule {
            field: "after",
            message: "after must be a time in hours, minutes and seconds, such as 5m or 1h30m",
            cel: format!("self.after.{}", DURATION.cel()),
            holds: |proof| DURATION.matches(&proof.after),
        },
    ]
}

pub(super) fn local_rules() -> Vec<Rule<LocalVolumes>> {
    vec![Rule {
        field: "replaceAfter",
        message: "replaceAfter must be a time in hours, minutes and seconds, such as 30m or 2h; leave it out for never",
        cel: format!("!has(self.replaceAfter) || self.replaceAfter.{}", DURATION.cel()),
        holds: |local| local.replace_after.as_ref().is_none_or(|after| DURATION.matches(after)),
    }]
}

/// Schema transform of [`WhenProven`].
pub(crate) fn when_proven(schema: &mut Schema) {
    for (field, length) in [("nodeAnnotation", 600), ("after", 20)] {
        if let Some(schema) = property(schema, field) {
            schema.insert("maxLength".into(), json!(length));
        }
    }
    add(schema, proof_rules().iter().map(Rule::to_json));
}

/// Schema transform of [`LocalVolumes`].
pub(crate) fn local_volumes(schema: &mut Schema) {
    if let Some(after) = property(schema, "replaceAfter") {
        after.insert("maxLength".into(), json!(20));
    }
    add(schema, local_rules().iter().map(Rule::to_json));
}
