//! Whether an object is still as we applied it last, told from its metadata alone.
//!
//! Each child carries the digest of what was applied. Whoever changes or removes a field that we applied takes it away
//! from us, and the API server writes that down: our entry of `managedFields` lacks it then (Kubernetes, "Server-Side
//! Apply", on conflicts). So an object with the digest of what is wanted, and with all fields of that still ours, is as
//! it is to be. Where this can't be told, it is applied once more, which changes nothing that does not differ.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use mainstay_crd::names::{ANNOTATION_APPLIED, MANAGER_CLUSTER};
use serde_json::{Map, Value};

/// Fields that no manager is said to own.
const UNOWNED: [&str; 3] = ["apiVersion", "kind", "metadata"];
/// The same within `metadata`.
const UNOWNED_METADATA: [&str; 3] = ["name", "namespace", "uid"];

/// It is our own entry, of what we applied.
pub(crate) fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(MANAGER_CLUSTER)
        && entry.operation.as_deref() == Some("Apply")
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

/// Whether the object with this metadata is as `wanted`, which carries the digest of itself.
pub(crate) fn is_as_applied(live: &ObjectMeta, wanted: &Value) -> bool {
    let digest =
        |annotations: Option<&Value>| annotations?.get(ANNOTATION_APPLIED)?.as_str().map(String::from);
    let asked = digest(wanted["metadata"].get("annotations"));
    let had = live.annotations.as_ref().and_then(|annotations| annotations.get(ANNOTATION_APPLIED));
    if asked.is_none() || asked.as_ref() != had {
        return false;
    }
    let ours = live.managed_fields.iter().flatten().find(|entry| is_ours(entry));
    let Some(fields) = ours.and_then(|entry| entry.fields_v1.as_ref()) else { return false };
    let parsed;
    let fields = match &fields.0 {
        // As it is kept in memory.
        Value::String(text) => {
            let Ok(value) = serde_json::from_str::<Value>(text) else { return false };
            parsed = value;
            &parsed
        }
        value => value,
    };
    let (Value::Object(wanted), Value::Object(fields)) = (wanted, fields) else { return false };
    let metadata = |key: &str| fields.get("f:metadata").and_then(|of| of.get(format!("f:{key}")));
    let in_metadata = wanted.get("metadata").and_then(Value::as_object).into_iter().flatten();
    let mut in_metadata = in_metadata.filter(|(key, _)| !UNOWNED_METADATA.contains(&key.as_str()));
    let mut rest = wanted.iter().filter(|(key, _)| !UNOWNED.contains(&key.as_str()));
    in_metadata.all(|(key, value)| metadata(key).is_some_and(|fields| covers(fields, value)))
        && rest.all(|(key, value)| has(fields, key, value))
}

/// Whether `fields`, in the form of `fieldsV1`, names all that there is of `value`.
fn covers(fields: &Value, value: &Value) -> bool {
    let Some(fields) = fields.as_object() else { return false };
    match value {
        // The whole of it is one field.
        _ if fields.is_empty() => true,
        Value::Object(map) => map.iter().all(|(key, value)| has(fields, key, value)),
        Value::Array(items) => items.iter().all(|item| has_item(fields, item)),
        _ => true,
    }
}

fn has(fields: &Map<String, Value>, key: &str, value: &Value) -> bool {
    fields.get(&format!("f:{key}")).is_some_and(|fields| covers(fields, value))
}

/// Items are told by their keys, or, in a set, by their value.
fn has_item(fields: &Map<String, Value>, item: &Value) -> bool {
    fields.iter().any(|(key, fields)| match key.split_once(':') {
        Some(("k", keys)) => is_item(keys, item) && covers(fields, item),
        Some(("v", value)) => serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item),
        _ => false,
    })
}

/// A key that the item leaves out has its default.
fn is_item(keys: &str, item: &Value) -> bool {
    let Ok(Value::Object(keys)) = serde_json::from_str::<Value>(keys) else { return false };
    keys.iter().all(|(key, value)| item.get(key).is_none_or(|named| named == value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted() -> Value {
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "shop-read", "namespace": "db", "annotations": {ANNOTATION_APPLIED: "d"},
                "labels": {"a": "b"}, "ownerReferences": [{"uid": "u", "name": "shop"}]},
            "spec": {"type": "ClusterIP", "selector": {"x": "y"}, "ports": [{"port": 3306, "name": "mysql"}]}})
    }

    /// As an API server writes it down.
    fn fields() -> Value {
        json!({"f:metadata": {"f:annotations": {(format!("f:{ANNOTATION_APPLIED}")): {}}, "f:labels": {"f:a": {}},
                "f:ownerReferences": {"k:{\"uid\":\"u\"}": {}}},
            "f:spec": {"f:type": {}, "f:selector": {},
                "f:ports": {"k:{\"port\":3306,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:name": {}}}}})
    }

    fn live(fields: Value) -> ObjectMeta {
        serde_json::from_value(json!({"annotations": {ANNOTATION_APPLIED: "d"}, "managedFields": [
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:x": {}}},
            {"manager": MANAGER_CLUSTER, "operation": "Apply", "fieldsV1": fields}]}))
        .unwrap()
    }

    #[test]
    fn what_is_as_it_was_applied_is_seen_to_be() {
        assert!(is_as_applied(&live(fields()), &wanted()));
        assert!(is_as_applied(&live(Value::String(fields().to_string())), &wanted()));
    }

    #[test]
    fn every_field_that_another_took_is_missed() {
        for taken in [
            "/f:metadata/f:labels/f:a",
            "/f:metadata/f:labels",
            "/f:metadata/f:ownerReferences/k:{\"uid\":\"u\"}",
            "/f:spec/f:type",
            "/f:spec/f:selector",
            "/f:spec/f:ports/k:{\"port\":3306,\"protocol\":\"TCP\"}/f:name",
            "/f:spec/f:ports/k:{\"port\":3306,\"protocol\":\"TCP\"}",
            "/f:spec",
        ] {
            let mut fields = fields();
            let (parent, key) = taken.rsplit_once('/').unwrap();
            fields.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
            // The server drops what is empty; where it does not, nothing is one field any more.
            if let Some(parent) = fields.pointer_mut(parent).filter(|_| !parent.is_empty())
                && parent.as_object().is_some_and(serde_json::Map::is_empty)
            {
                *parent = json!({".": {}});
            }
            assert!(!is_as_applied(&live(fields), &wanted()), "{taken}");
        }
    }

    #[test]
    fn another_wish_and_what_was_never_applied_differ() {
        let mut other = wanted();
        other["metadata"]["annotations"][ANNOTATION_APPLIED] = json!("e");
        assert!(!is_as_applied(&live(fields()), &other));
        let mut bare = live(fields());
        bare.managed_fields = None;
        assert!(!is_as_applied(&bare, &wanted()));
        let mut undigested = wanted();
        undigested["metadata"]["annotations"] = json!({});
        assert!(!is_as_applied(&live(fields()), &undigested));
    }
}
