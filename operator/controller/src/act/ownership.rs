//! Whose an object of a child's name is. Nothing is applied onto one that is not the cluster's.
//!
//! The watches bring only what has our label. What they did not bring is asked for by name before it is made; what is
//! there is applied onto under its UID, so that it can't be another by then.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use mainstay_crd::names::{GROUP, LABEL_CLUSTER, MANAGER_CLUSTER};

/// Kind of a child's controller.
const KIND: &str = "MySQLCluster";

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This cluster's.
    Us,
    /// That of an object of this name that was deleted: Kubernetes is about to remove it.
    Predecessor,
    /// Nobody's, with our label: ours if we once applied it. Asked of [`was_applied_by_us`].
    Orphan,
    /// Somebody else's, in words.
    Other(String),
}

/// Whose the object with this metadata is, from the view of the cluster `name` with this UID.
pub(crate) fn owner(meta: &ObjectMeta, name: &str, uid: &str) -> Owner {
    let labelled = meta.labels.as_ref().and_then(|labels| labels.get(LABEL_CLUSTER));
    let controller = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    match controller {
        Some(owner) if owner.uid == uid => Owner::Us,
        Some(owner) if is_cluster(owner) && owner.name == name => Owner::Predecessor,
        Some(owner) => Owner::Other(format!("it is controlled by {} {}", owner.kind, owner.name)),
        None if labelled.is_some_and(|cluster| cluster == name) => Owner::Orphan,
        None => Owner::Other("it was not made by Mainstay".into()),
    }
}

fn is_cluster(owner: &OwnerReference) -> bool {
    owner.kind == KIND && owner.api_version.split('/').next() == Some(GROUP)
}

/// We applied the object once: it was left to itself, as by `kubectl delete --cascade=orphan`.
pub(crate) fn was_applied_by_us(meta: &ObjectMeta) -> bool {
    meta.managed_fields.iter().flatten().any(|entry| {
        entry.manager.as_deref() == Some(MANAGER_CLUSTER) && entry.operation.as_deref() == Some("Apply")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn whose(labels: Value, owners: Value) -> Owner {
        let meta = json!({"name": "shop", "labels": labels, "ownerReferences": owners});
        owner(&serde_json::from_value(meta).unwrap(), "shop", "u")
    }

    fn controller(api: &str, kind: &str, name: &str, uid: &str) -> Value {
        json!([{"apiVersion": api, "kind": kind, "name": name, "uid": uid, "controller": true}])
    }

    #[test]
    fn what_we_control_is_ours_even_if_somebody_took_the_label_away() {
        let ours = || controller("mysql.mainstay.dev/v1alpha1", "MySQLCluster", "shop", "u");
        assert_eq!(whose(json!({LABEL_CLUSTER: "shop"}), ours()), Owner::Us);
        assert_eq!(whose(json!({}), ours()), Owner::Us);
    }

    #[test]
    fn what_a_deleted_object_left_is_not_taken_from_the_garbage_collector() {
        let left = controller("mysql.mainstay.dev/v1alpha1", "MySQLCluster", "shop", "old");
        assert_eq!(whose(json!({LABEL_CLUSTER: "shop"}), left), Owner::Predecessor);
    }

    #[test]
    fn a_label_alone_or_another_controller_make_nothing_ours() {
        assert_eq!(whose(json!({LABEL_CLUSTER: "shop"}), json!([])), Owner::Orphan);
        for (labels, owners) in [
            (json!({}), json!([])),
            (json!({LABEL_CLUSTER: "shop-read"}), json!([])),
            (json!({LABEL_CLUSTER: "shop"}), controller("apps/v1", "Deployment", "shop", "d")),
            (json!({LABEL_CLUSTER: "shop"}), controller("other.dev/v1", "MySQLCluster", "shop", "d")),
            (
                json!({LABEL_CLUSTER: "shop-read"}),
                controller("mysql.mainstay.dev/v1alpha1", "MySQLCluster", "shop-read", "r"),
            ),
        ] {
            assert!(matches!(whose(labels.clone(), owners), Owner::Other(_)), "{labels}");
        }
    }

    #[test]
    fn an_orphan_is_ours_only_if_we_applied_it() {
        let meta = |entry: Value| serde_json::from_value(json!({"managedFields": [entry]})).unwrap();
        assert!(was_applied_by_us(&meta(json!({"manager": MANAGER_CLUSTER, "operation": "Apply"}))));
        assert!(!was_applied_by_us(&meta(json!({"manager": MANAGER_CLUSTER, "operation": "Update"}))));
        assert!(!was_applied_by_us(&meta(json!({"manager": "kubectl", "operation": "Apply"}))));
    }
}
