//! Rules about maps: labels, annotations, and what they share with configuration.

use std::collections::BTreeMap;

use schemars::Schema;
use serde_json::{Value, json};

use super::pattern::Pattern;
use super::{Violation, add};

/// A qualified name: an optional DNS subdomain and a slash, then a name of at most 63 characters.
/// Source: `IsQualifiedName` in `k8s.io/apimachinery/pkg/util/validation`.
static QUALIFIED_NAME: Pattern = Pattern::new(
    "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
                              [A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
);
/// A label's value. Source: `IsValidLabelValue`, likewise.
static LABEL_VALUE: Pattern = Pattern::new("^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$");
/// Most labels, and most annotations, of one object.
const MAX_ENTRIES: u32 = 64;
/// Longest annotation: with [`MAX_ENTRIES`] of them the 256 KiB that Kubernetes grants an object are full.
const MAX_ANNOTATION: u32 = 4096;

/// A rule that each entry of a map must obey.
pub(crate) struct EntryRule {
    /// What is wrong and what to do; the keys at fault follow.
    pub(crate) message: &'static str,
    /// The keys that it is about; none: all. Those that are named cost the API server a hundredth: it reckons with as many
    /// entries, and as long ones, as there may be.
    pub(crate) about: &'static [&'static str],
    /// The rule in CEL: `k` is the key, `self[k]` the value.
    pub(crate) cel: String,
    /// The same rule in Rust, for key and value.
    pub(crate) holds: fn(&str, &str) -> bool,
}

impl EntryRule {
    pub(crate) fn to_json(&self) -> Value {
        let cel = &self.cel;
        let message = self.message.replace('\'', "\\'");
        let (keys, holds, broken) = if self.about.is_empty() {
            ("self".to_owned(), cel.clone(), format!("!({cel})"))
        } else {
            let keys = format!("['{}']", self.about.join("', '"));
            (keys, format!("!(k in self) || {cel}"), format!("k in self && !({cel})"))
        };
        json!({
            "rule": format!("{keys}.all(k, {holds})"),
            // Where the expression below fails, which it should not.
            "message": self.message,
            "messageExpression": format!("'{message}: ' + {keys}.filter(k, {broken})[0]"),
        })
    }
}

/// Applies `rules` to each entry; one violation a rule, which names all keys at fault.
pub(super) fn check(
    rules: &[EntryRule],
    map: &BTreeMap<String, String>,
    path: &str,
    found: &mut Vec<Violation>,
) {
    for rule in rules {
        let broken: Vec<&str> = map
            .iter()
            .filter(|(key, value)| !(rule.holds)(key, value))
            .map(|(key, _)| key.as_str())
            .collect();
        if !broken.is_empty() {
            let message = format!("{}: {}", rule.message, broken.join(", "));
            found.push(Violation { field: path.into(), message });
        }
    }
}

pub(super) fn label_rules() -> Vec<EntryRule> {
    vec![
        EntryRule {
            message: "labels under mysql.mainstay.dev/ and app.kubernetes.io/ are set by the operator; remove",
            about: &[],
            cel: "!k.startsWith('mysql.mainstay.dev/') && !k.startsWith('app.kubernetes.io/')".into(),
            holds: |key, _| !key.starts_with("mysql.mainstay.dev/") && !key.starts_with("app.kubernetes.io/"),
        },
        EntryRule {
            message: "labels need a key of letters, digits, '-', '_' and '.', at most 63, after an optional DNS name \
                      and a slash, and a value of at most 63 of the same; correct",
            about: &[],
            cel: format!("k.{} && self[k].{}", QUALIFIED_NAME.cel(), LABEL_VALUE.cel()),
            holds: |key, value| QUALIFIED_NAME.matches(key) && LABEL_VALUE.matches(value),
        },
    ]
}

pub(super) fn annotation_rules() -> Vec<EntryRule> {
    vec![
        EntryRule {
            message: "annotations under mysql.mainstay.dev/ are set by the operator; remove",
            about: &[],
            cel: "!k.startsWith('mysql.mainstay.dev/')".into(),
            holds: |key, _| !key.starts_with("mysql.mainstay.dev/"),
        },
        EntryRule {
            message: "annotations need a key of letters, digits, '-', '_' and '.', at most 63, after an optional DNS \
                      name and a slash; correct",
            about: &[],
            cel: format!("k.{}", QUALIFIED_NAME.cel()),
            holds: |key, _| QUALIFIED_NAME.matches(key),
        },
    ]
}

/// Bounds a map's size, without which the API server can't bound what its rules cost.
pub(super) fn bound(schema: &mut Schema, entries: u32, value_length: u32) {
    let schema = schema.ensure_object();
    schema.insert("maxProperties".into(), json!(entries));
    if let Some(values) = schema.get_mut("additionalProperties").and_then(Value::as_object_mut) {
        values.insert("maxLength".into(), json!(value_length));
    }
}

/// Schema transform of a map of labels.
pub(crate) fn labels(schema: &mut Schema) {
    bound(schema, MAX_ENTRIES, 63);
    add(schema, label_rules().iter().map(EntryRule::to_json));
}

/// Schema transform of a map of annotations.
pub(crate) fn annotations(schema: &mut Schema) {
    bound(schema, MAX_ENTRIES, MAX_ANNOTATION);
    add(schema, annotation_rules().iter().map(EntryRule::to_json));
}
