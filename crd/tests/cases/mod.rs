//! Objects that the rules must accept or refuse, with a reason: for the tests of this crate and of `e2e`.

mod basics;
mod entries;
mod node_loss;
mod retention;
mod storage;

use serde_json::{Value, json};

/// What is to become of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is taken.
    Accepted,
    /// A rule refuses it, with a message that holds this.
    Refused(&'static str),
    /// Its shape is refused, by the schema alone, with a message that holds this.
    Misshapen(&'static str),
}

/// An object that someone creates.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What is tried.
    pub(crate) name: String,
    /// The whole `MySQLCluster`.
    pub(crate) object: Value,
    /// What is to become of it.
    pub(crate) verdict: Verdict,
}

/// A change that someone makes to an object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// What is tried.
    pub(crate) name: String,
    /// The object as it was.
    pub(crate) from: Value,
    /// The object as it is to be.
    pub(crate) to: Value,
    /// What is to become of it.
    pub(crate) verdict: Verdict,
}

/// The smallest object that is accepted, with `patch` merged into it (RFC 7386: null removes).
pub(crate) fn object(patch: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "mysql.mainstay.dev/v1alpha1",
        "kind": "MySQLCluster",
        "metadata": {"name": "case"},
        "spec": {"image": "mysql:9.7", "paused": true, "storage": {"size": "1Gi"}},
    });
    merge(&mut object, patch);
    object
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let Value::Object(map) = into else { return };
    for (key, change) in changes {
        if change.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

/// A table of one field's values: the field's path below `spec`, then value and verdict.
fn field(path: &str, values: Vec<(Value, Verdict)>) -> Vec<Case> {
    let case = |(value, verdict): (Value, Verdict)| Case {
        name: format!("spec.{path} = {value}"),
        object: object(&json!({"spec": nest(path, value)})),
        verdict,
    };
    values.into_iter().map(case).collect()
}

fn nest(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, key| json!({ key: inner }))
}

/// Every case of a change.
pub(crate) fn changes() -> Vec<Change> {
    [storage::changes(), entries::changes()].concat()
}

/// Every case of creation.
pub(crate) fn creations() -> Vec<Case> {
    let basics = [basics::names(), basics::basics(), basics::pods(), basics::resources()];
    let storage = [storage::storage(), storage::cloning(), retention::retention(), node_loss::node_loss()];
    let entries = [
        entries::config_keys(),
        entries::config_values(),
        entries::fatal_values(),
        entries::unsafe_values(),
        entries::metadata(),
    ];
    [basics.concat(), storage.concat(), entries.concat()].concat()
}
