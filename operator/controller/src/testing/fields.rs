//! Who owns which field, as an API server keeps it: lists are taken as a whole.

use mainstay_crd::names::MANAGER_CLUSTER;
use serde_json::{Map, Value, json};

/// What is applied, with the list of fields that whoever applies it owns from then on.
pub(super) fn manage(mut applied: Value) -> Value {
    let mut fields = owned(&applied);
    for key in ["f:apiVersion", "f:kind"] {
        fields.as_object_mut().unwrap().remove(key);
    }
    for key in ["f:name", "f:namespace", "f:uid"] {
        fields["f:metadata"].as_object_mut().unwrap().remove(key);
    }
    applied["metadata"]["managedFields"] = json!([{"manager": MANAGER_CLUSTER, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields}]);
    applied
}

fn owned(value: &Value) -> Value {
    let Value::Object(map) = value else { return json!({}) };
    map.iter().map(|(key, value)| (format!("f:{key}"), owned(value))).collect::<Map<_, _>>().into()
}

/// Takes away from whoever applied the object what somebody else changed in it.
pub(super) fn take(before: &Value, after: &mut Value) {
    const FIELDS: &str = "/metadata/managedFields/0/fieldsV1";
    let Some(fields) = after.pointer_mut(FIELDS).map(Value::take) else { return };
    let left = unchanged(fields, before, after);
    *after.pointer_mut(FIELDS).unwrap() = left;
}

fn unchanged(fields: Value, before: &Value, after: &Value) -> Value {
    let Value::Object(fields) = fields else { return fields };
    let kept = fields.into_iter().filter_map(|(key, fields)| {
        let name = key.strip_prefix("f:")?;
        let (before, after) = (&before[name], &after[name]);
        let leaf = fields.as_object().is_none_or(Map::is_empty);
        if leaf && before != after {
            return None;
        }
        let left = unchanged(fields, before, after);
        (leaf || left.as_object().is_some_and(|left| !left.is_empty())).then_some((key, left))
    });
    kept.collect::<Map<_, _>>().into()
}
