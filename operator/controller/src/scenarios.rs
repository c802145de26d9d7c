//! The operator on an API server in memory: what it writes, what it leaves alone, and when it is silent.

use axum::http::Method;
use mainstay_core::Node;
use serde_json::{Value, json};

use crate::testing::{CLUSTER, Request, Rig};

const SECRETS: [&str; 4] = ["shop-ca", "shop-credentials", "shop-operator-tls", "shop-tls"];

pub(crate) fn path(group: &str, plural: &str, name: &str) -> String {
    format!("{group}/namespaces/db/{plural}/{name}")
}

fn names(objects: Vec<Value>) -> Vec<String> {
    objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn writes(requests: Vec<Request>) -> Vec<String> {
    let writes = requests.into_iter().filter(|request| request.method != Method::GET);
    writes.map(|request| format!("{} {}", request.method, request.what)).collect()
}

#[tokio::test]
async fn a_new_cluster_gets_its_id_first_and_then_its_children() {
    let mut rig = Rig::new();
    rig.reconcile().await.unwrap();
    assert_eq!(
        writes(rig.api.requests()),
        ["PATCH mysqlclusters/shop/status"],
        "the id comes before all else"
    );
    let id = rig.status()["clusterId"].clone();
    assert!(id.is_string());

    rig.settle().await;
    assert_eq!(names(rig.api.list("secrets")), SECRETS);
    assert_eq!(names(rig.api.list("services")), ["shop", "shop-primary", "shop-read"]);
    assert_eq!(names(rig.api.list("statefulsets")), ["shop"]);
    assert_eq!(names(rig.api.list("poddisruptionbudgets")).len(), 2);
    for secret in rig.api.list("secrets") {
        assert_eq!(secret["metadata"]["labels"]["mysql.mainstay.dev/cluster-id"], id);
    }
    assert_eq!(rig.status()["ready"], "0/3");
    assert_eq!(rig.status()["observedGeneration"], 1);
}

#[tokio::test]
async fn silence() {
    let mut rig = Rig::new();
    rig.settle().await;
    rig.reconcile().await.unwrap();
    assert_eq!(rig.api.requests(), [], "nothing differs, so nothing is asked and nothing is written");
}

#[tokio::test]
async fn nothing_is_made_twice_while_the_watches_lag_behind() {
    let mut rig = Rig::new();
    rig.sync();
    for _ in 0..5 {
        rig.reconcile_stale().await.unwrap();
    }
    let made = writes(rig.api.requests());
    let count = |what: &str| made.iter().filter(|write| write.contains(what)).count();
    assert_eq!(count("POST secrets"), 4, "{made:?}");
    assert_eq!(count("PATCH mysqlclusters/shop/status"), 2, "the id, then the state: {made:?}");
    assert_eq!(made.len(), 4 + 2 + 9, "each child once: {made:?}");
}

#[tokio::test]
async fn an_operator_that_starts_anew_changes_nothing() {
    let mut rig = Rig::new();
    rig.settle().await;
    let before = rig.api.version();
    let mut next = Rig::started(rig.api.clone());
    next.settle().await;
    assert_eq!(next.api.version(), before);
}

#[tokio::test]
async fn what_a_person_changed_is_put_right_and_nothing_else_is_touched() {
    let mut rig = Rig::new();
    rig.settle().await;
    let service = path("/api/v1", "services", "shop-primary");
    let port = rig.api.get(&service).unwrap()["spec"]["ports"].clone();
    rig.api.edit(&service, |service| service["spec"]["ports"] = json!([]));
    rig.reconcile().await.unwrap();
    assert_eq!(writes(rig.api.requests()), ["PATCH services/shop-primary"]);
    assert_eq!(rig.api.get(&service).unwrap()["spec"]["ports"], port);
    rig.reconcile().await.unwrap();
    assert_eq!(rig.api.requests(), []);
}

#[tokio::test]
async fn what_controllers_report_on_children_calls_for_nothing() {
    let mut rig = Rig::new();
    rig.settle().await;
    for (group, plural, name) in [
        ("/apis/apps/v1", "statefulsets", "shop"),
        ("/apis/policy/v1", "poddisruptionbudgets", "shop-primary"),
    ] {
        rig.api
            .edit(&path(group, plural, name), |object| object["status"] = json!({"observedGeneration": 1}));
    }
    rig.reconcile().await.unwrap();
    assert_eq!(rig.api.requests(), []);
}

#[tokio::test]
async fn a_paused_cluster_is_reported_on_and_not_changed() {
    let mut rig = Rig::new();
    rig.api.edit(CLUSTER, |cluster| cluster["spec"]["paused"] = json!(true));
    rig.reconcile().await.unwrap();
    rig.reconcile().await.unwrap();
    assert_eq!(writes(rig.api.requests()), ["PATCH mysqlclusters/shop/status"]);
    assert!(rig.api.list("secrets").is_empty());
    assert_eq!(rig.condition("Progressing")["reason"], "Paused");
}

#[tokio::test]
async fn a_record_is_not_written_over_what_others_changed_meanwhile() {
    let mut rig = Rig::new();
    rig.sync();
    rig.api.edit(CLUSTER, |cluster| cluster["spec"]["replicas"] = json!(5));
    rig.reconcile_stale().await.unwrap();
    assert!(rig.status().is_null());
    rig.reconcile().await.unwrap();
    assert!(rig.status()["clusterId"].is_string());
}

#[tokio::test]
async fn a_child_that_is_refused_is_named_and_keeps_no_other_from_being_made() {
    let mut rig = Rig::new();
    rig.api.refuse("shop-read", 422);
    rig.reconcile().await.unwrap();
    let error = rig.reconcile().await.unwrap_err();
    assert_eq!(error.kind(), "Child");
    assert_eq!(names(rig.api.list("statefulsets")), ["shop"]);
    let blocked = rig.condition("Blocked");
    assert_eq!((&blocked["status"], &blocked["reason"]), (&json!("True"), &json!("ApiError")));
    assert_eq!(blocked["message"], "Service shop-read: refused by the test");

    // Nothing more is said while nothing more is known than that there is a StatefulSet, and no claim yet.
    assert!(rig.reconcile().await.is_err());
    let before = rig.api.version();
    assert!(rig.reconcile().await.is_err());
    assert_eq!(rig.api.version(), before);
}

#[tokio::test]
async fn an_api_server_that_is_busy_blocks_nobody_for_good() {
    let mut rig = Rig::new();
    rig.api.refuse("shop-read", 500);
    rig.reconcile().await.unwrap();
    assert!(rig.reconcile().await.is_err());
    assert_eq!(rig.condition("Blocked")["status"], "False");
    assert_eq!(rig.condition("Progressing")["reason"], "ApiError");
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_told_once_and_changes_nothing() {
    let mut rig = Rig::new();
    rig.api.edit(CLUSTER, |cluster| cluster["spec"]["replicas"] = json!("three"));
    for _ in 0..2 {
        rig.reconcile().await.unwrap();
    }
    assert_eq!(rig.api.requests(), []);
    while rig.api.list("events").is_empty() {
        tokio::task::yield_now().await;
    }
    let events = rig.api.list("events");
    assert_eq!(events.len(), 1);
    assert!(events[0]["note"].as_str().unwrap().contains("can't be read"), "{events:?}");
}

fn put_claim(rig: &Rig, name: &str) {
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "db", "labels": {"mysql.mainstay.dev/cluster": "shop",
            "mysql.mainstay.dev/aside": "1"}}});
    rig.api.put(&path("/api/v1", "persistentvolumeclaims", name), claim);
}

fn delete_cluster(rig: &Rig) {
    rig.api.edit(CLUSTER, |cluster| cluster["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
}

#[tokio::test]
async fn a_cluster_that_goes_with_its_claims_takes_all_of_them_and_others_finalizers_stay() {
    let mut rig = Rig::new();
    rig.api.edit(CLUSTER, |cluster| {
        cluster["metadata"]["finalizers"] = json!(["theirs/x"]);
        cluster["spec"]["storage"]["retention"] = json!({"whenDeleted": {"policy": "Delete"}});
    });
    rig.settle().await;
    let finalizers = |rig: &Rig| rig.api.get(CLUSTER).unwrap()["metadata"]["finalizers"].clone();
    assert_eq!(finalizers(&rig), json!(["theirs/x", "mysql.mainstay.dev/retention"]));
    put_claim(&rig, "data-shop-0");
    put_claim(&rig, "data-shop-1-aside-0");
    delete_cluster(&rig);
    rig.settle().await;
    assert_eq!(rig.api.list("statefulsets"), [] as [Value; 0]);
    assert_eq!(rig.api.list("persistentvolumeclaims"), [] as [Value; 0]);
    assert_eq!(finalizers(&rig), json!(["theirs/x"]));
}

#[tokio::test]
async fn a_cluster_whose_primary_has_lost_its_data_keeps_its_claims_whatever_its_policy_and_tells_why() {
    let mut rig = Rig::new();
    rig.api.edit(CLUSTER, |cluster| {
        cluster["spec"]["storage"]["retention"] = json!({"whenDeleted": {"policy": "Delete"}});
    });
    rig.settle().await;
    // Its label would say that the primary's claim has data.
    put_claim(&rig, "data-shop-0");
    rig.api.edit(CLUSTER, |cluster| {
        let record = &mut cluster["status"]["replication"];
        *record = json!({"epoch": 1, "revision": 2, "initialized": true, "primary": 0});
    });
    delete_cluster(&rig);
    rig.settle().await;
    assert_eq!(rig.api.list("persistentvolumeclaims").len(), 1);
    assert_eq!(rig.api.get(CLUSTER).unwrap()["metadata"]["finalizers"], json!([]));
    let told = rig.api.list("events").into_iter().find(|event| event["reason"] == "ClaimKept").unwrap();
    assert!(told["note"].as_str().unwrap().contains("every claim and Secret is kept"), "{told}");
}

#[tokio::test]
async fn a_cluster_whose_claims_are_kept_is_let_go_untouched() {
    let mut rig = Rig::new();
    rig.settle().await;
    put_claim(&rig, "data-shop-0");
    assert_eq!(rig.api.get(CLUSTER).unwrap()["metadata"]["finalizers"], Value::Null);
    delete_cluster(&rig);
    rig.reconcile().await.unwrap();
    assert_eq!(writes(rig.api.requests()), ["PATCH mysqlclusters/shop/status"]);
}

#[tokio::test]
async fn a_protected_cluster_is_looked_after_while_it_is_being_deleted() {
    let mut rig = Rig::new();
    rig.api.edit(CLUSTER, |cluster| {
        cluster["spec"]["deletionProtection"] = json!(true);
        cluster["spec"]["storage"]["retention"] = json!({"whenDeleted": {"policy": "Delete"}});
    });
    rig.settle().await;
    put_claim(&rig, "data-shop-0");
    delete_cluster(&rig);
    rig.api
        .edit(&path("/api/v1", "services", "shop-primary"), |service| service["spec"]["ports"] = json!([]));
    rig.settle().await;
    assert_eq!(rig.condition("Blocked")["reason"], "DeletionProtected");
    assert_eq!(rig.api.list("persistentvolumeclaims").len(), 1);
    let service = rig.api.get(&path("/api/v1", "services", "shop-primary")).unwrap();
    assert_ne!(service["spec"]["ports"], json!([]), "children are still put right");
}

#[tokio::test]
async fn a_larger_size_replaces_the_statefulset_and_no_pod() {
    let mut rig = Rig::new();
    rig.settle().await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shop-0", "namespace": "db",
        "labels": {"mysql.mainstay.dev/cluster": "shop"}}, "status": {"phase": "Pending"}});
    rig.api.put(&path("/api/v1", "pods", "shop-0"), pod);
    rig.api.edit(CLUSTER, |cluster| cluster["spec"]["storage"]["size"] = json!("2Gi"));
    // The refusal, the step, and what comes after.
    for _ in 0..4 {
        rig.reconcile().await.unwrap();
    }
    let made: Vec<String> =
        writes(rig.api.requests()).into_iter().filter(|w| !w.contains("mysqlclusters")).collect();
    let expected = ["PATCH statefulsets/shop", "DELETE statefulsets/shop", "PATCH statefulsets/shop"];
    assert_eq!(made, expected);
    let set = rig.api.get(&path("/apis/apps/v1", "statefulsets", "shop")).unwrap();
    let claims = &set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"];
    assert_eq!(claims["storage"], "2Gi");
    assert!(rig.api.get(&path("/api/v1", "pods", "shop-0")).is_some());
}

#[tokio::test]
async fn what_is_known_of_nodes_is_said_and_what_may_not_be_read_too() {
    let mut rig = Rig::new();
    for ordinal in 0..3 {
        let name = format!("data-shop-{ordinal}");
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name,
            "namespace": "db", "labels": {"mysql.mainstay.dev/cluster": "shop"}}});
        rig.api.put(&path("/api/v1", "persistentvolumeclaims", &name), claim);
    }
    rig.settle().await;
    let unseen = rig.condition("StorageReady");
    assert_eq!(unseen["status"], "True");
    assert!(unseen["message"].as_str().unwrap().contains("may not read persistentvolumes"), "{unseen}");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shop-0", "namespace": "db",
        "labels": {"mysql.mainstay.dev/cluster": "shop"}}, "spec": {"nodeName": "n1"},
        "status": {"phase": "Running"}});
    rig.api.put(&path("/api/v1", "pods", "shop-0"), pod);
    let cluster_scope = &rig.context.cluster_scope;
    cluster_scope.volumes.filled([]);
    cluster_scope.classes.filled([]);
    cluster_scope.attachments.filled([]);
    cluster_scope.nodes.filled([]);
    rig.settle().await;
    let gone = rig.condition("StorageReady");
    assert_eq!((&gone["status"], &gone["reason"]), (&json!("False"), &json!("NodeGone")));
    let node = Node { ready: Some("True".into()), ..Node::default() };
    rig.context.cluster_scope.nodes.filled([("n1".to_owned(), node)]);
    rig.settle().await;
    assert_eq!(rig.condition("StorageReady")["status"], "True");
}
