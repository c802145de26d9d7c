//! Merge patches (RFC 7386).

use serde::Serialize;
use serde_json::Value;

/// A merge patch that turns `before` into `after`.
///
/// A merge patch keeps what it does not name, so what `after` lacks is named as null. What an object holds besides
/// what `before` names, for example fields of a later version, is kept.
///
/// # Errors
/// If one of them can't be written as JSON.
pub(crate) fn merge_patch<T: Serialize>(before: &T, after: &T) -> Result<Value, serde_json::Error> {
    Ok(difference(&serde_json::to_value(before)?, serde_json::to_value(after)?))
}

fn difference(before: &Value, after: Value) -> Value {
    let (old, mut new) = match (before, after) {
        (Value::Object(old), Value::Object(new)) => (old, new),
        (_, after) => return after,
    };
    for (key, value) in old {
        match new.get_mut(key) {
            Some(same) if same == value => {
                new.remove(key);
            }
            Some(other) => *other = difference(value, other.take()),
            None => {
                new.insert(key.clone(), Value::Null);
            }
        }
    }
    Value::Object(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_no_more_is_named() {
        let before = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1, 2], "f": "same"});
        let after = json!({"b": {"d": 3, "x": {"y": 1}}, "e": [1], "f": "same"});
        let patch = merge_patch(&before, &after).unwrap();
        assert_eq!(patch, json!({"a": null, "b": {"c": null, "d": 3, "x": {"y": 1}}, "e": [1]}));
    }
}
