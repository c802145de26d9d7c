//! Objects of the children's names that are not the cluster's, and an operator that begins where another ended.

use axum::http::Method;
use serde_json::{Value, json};

use crate::testing::{CLUSTER, Rig};

const CLUSTERS: &str = "/apis/mysql.mainstay.dev/v1alpha1/namespaces/db/mysqlclusters";

/// Paths of all children but Secrets.
async fn children() -> Vec<String> {
    let mut rig = Rig::new();
    rig.settle().await;
    let maps = rig.api.list("configmaps");
    assert_eq!(maps.len(), 2);
    let names = maps.iter().map(|map| map["metadata"]["name"].as_str().unwrap());
    let map = format!("configmaps/{}", names.max().unwrap());
    [
        ("/api/v1", "serviceaccounts/shop"),
        ("/api/v1", map.as_str()),
        ("/api/v1", "configmaps/shop-ca"),
        ("/api/v1", "services/shop"),
        ("/api/v1", "services/shop-primary"),
        ("/api/v1", "services/shop-read"),
        ("/apis/policy/v1", "poddisruptionbudgets/shop-primary"),
        ("/apis/policy/v1", "poddisruptionbudgets/shop-replica"),
        ("/apis/apps/v1", "statefulsets/shop"),
    ]
    .map(|(group, what)| format!("{group}/namespaces/db/{what}"))
    .into()
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

/// An object that a person made.
fn theirs(path: &str) -> Value {
    json!({"metadata": {"name": name(path), "namespace": "db", "labels": {"team": "theirs"}}, "data": {"k": "v"},
        "spec": {"selector": {"app": "theirs"}}})
}

/// Reconciles until that fails, and says as what.
async fn failure(rig: &mut Rig) -> &'static str {
    for _ in 0..5 {
        if let Err(error) = rig.reconcile().await {
            return error.kind();
        }
    }
    panic!("nothing fails");
}

/// All methods but for reads, with what they were about, without the cluster's own.
fn writes(rig: &Rig) -> Vec<String> {
    let writes = rig.api.requests().into_iter().filter(|request| request.method != Method::GET);
    let writes = writes.filter(|request| !request.what.starts_with("mysqlclusters"));
    writes.map(|request| format!("{} {}", request.method, request.what)).collect()
}

#[tokio::test]
async fn what_a_person_made_under_a_childs_name_is_told_and_never_written_to() {
    for path in children().await {
        let mut rig = Rig::new();
        rig.api.put(&path, theirs(&path));
        let before = rig.api.get(&path);
        assert_eq!(failure(&mut rig).await, "ChildForeign", "{path}");
        assert_eq!(rig.api.get(&path), before, "{path} was written to");
        let blocked = rig.condition("Blocked");
        assert_eq!((&blocked["status"], &blocked["reason"]), (&json!("True"), &json!("ForeignObject")));
        let said = blocked["message"].as_str().unwrap();
        assert!(said.contains(&format!(" {} exists and is not this cluster's", name(&path))), "{said}");
        let sets = rig.api.list("statefulsets");
        assert!(sets.is_empty() || path.contains("statefulsets"), "no pod begins: {path}");

        rig.api.remove(&path);
        rig.settle().await;
        assert_eq!(rig.api.list("statefulsets").len(), 1, "{path}");
        assert_eq!(rig.condition("Blocked")["status"], "False", "{path}");
    }
}

#[tokio::test]
async fn a_label_makes_nothing_ours() {
    let path = "/api/v1/namespaces/db/services/shop-read";
    let mut rig = Rig::new();
    let mut service = theirs(path);
    service["metadata"]["labels"] = json!({"mysql.mainstay.dev/cluster": "shop"});
    rig.api.put(path, service);
    let before = rig.api.get(path);
    assert_eq!(failure(&mut rig).await, "ChildForeign");
    assert_eq!(rig.api.get(path), before);
}

#[tokio::test]
async fn what_a_deleted_object_of_the_name_left_is_waited_for() {
    let path = "/api/v1/namespaces/db/services/shop-read";
    let mut rig = Rig::new();
    rig.settle().await;
    rig.api.edit(path, |service| service["metadata"]["ownerReferences"][0]["uid"] = json!("old"));
    let before = rig.api.get(path);
    assert_eq!(failure(&mut rig).await, "Child");
    assert_eq!(rig.api.get(path), before, "it is the garbage collector's");
    assert_eq!(rig.condition("Progressing")["reason"], "LeftoverObject");
    assert_eq!(rig.condition("Blocked")["status"], "False", "nobody needs to act");
    rig.api.remove(path);
    rig.settle().await;
    assert!(rig.api.get(path).is_some());
}

#[tokio::test]
async fn children_that_were_left_to_themselves_are_taken_up_again() {
    let mut rig = Rig::new();
    rig.settle().await;
    for path in children().await {
        rig.api.edit(&path, |child| child["metadata"]["ownerReferences"] = json!([]));
    }
    let mut rig = Rig::started(rig.api.clone());
    rig.settle().await;
    for path in children().await {
        let owners = rig.api.get(&path).unwrap()["metadata"]["ownerReferences"].clone();
        assert_eq!(owners[0]["kind"], "MySQLCluster", "{path}");
    }
}

#[tokio::test]
async fn a_cluster_beside_an_older_one_of_colliding_names_makes_nothing_until_that_is_gone() {
    let mut rig = Rig::new();
    let rival = format!("{CLUSTERS}/shop-read");
    rig.api.put(
        &rival,
        json!({"apiVersion": "mysql.mainstay.dev/v1alpha1", "kind": "MySQLCluster",
            "metadata": {"name": "shop-read", "namespace": "db", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"replicas": 1, "image": "mysql:9.7", "storage": {"size": "1Gi"}},
            "status": {"clusterId": "theirs"}}),
    );
    rig.settle().await;
    for plural in ["secrets", "services", "configmaps", "serviceaccounts", "statefulsets"] {
        assert!(rig.api.list(plural).is_empty(), "{plural}");
    }
    let blocked = rig.condition("Blocked");
    assert_eq!((&blocked["status"], &blocked["reason"]), (&json!("True"), &json!("NameTaken")));
    assert!(blocked["message"].as_str().unwrap().contains("MySQLCluster shop-read"), "{blocked}");

    rig.api.remove(&rival);
    rig.settle().await;
    assert_eq!(rig.api.list("statefulsets").len(), 1);
    assert_eq!(rig.condition("Blocked")["status"], "False");
}

#[tokio::test]
async fn an_operator_that_takes_over_writes_nothing_and_asks_for_no_child() {
    let mut rig = Rig::new();
    rig.settle().await;
    let mut next = Rig::started(rig.api.clone());
    next.reconcile().await.unwrap();
    assert_eq!(next.api.requests(), [], "the watches have told it all");
}

#[tokio::test]
async fn an_operator_that_takes_over_puts_right_what_was_changed_meanwhile_and_nothing_else() {
    for path in children().await {
        let mut rig = Rig::new();
        rig.settle().await;
        let before = rig.api.get(&path).unwrap();
        rig.api
            .edit(&path, |child| child["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("me"));
        let mut next = Rig::started(rig.api.clone());
        next.reconcile().await.unwrap();
        let what = path.split("/namespaces/db/").nth(1).unwrap();
        assert_eq!(writes(&next), [format!("PATCH {what}")]);
        assert_eq!(next.api.get(&path).unwrap()["metadata"]["labels"], before["metadata"]["labels"]);
    }
}

#[tokio::test]
async fn what_others_say_about_a_child_calls_for_nothing() {
    let mut rig = Rig::new();
    rig.settle().await;
    let service = "/api/v1/namespaces/db/services/shop-primary";
    rig.api.edit(service, |service| {
        service["status"] = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}});
        service["metadata"]["annotations"]["cloud.example/handle"] = json!("lb-1");
    });
    rig.reconcile().await.unwrap();
    assert_eq!(rig.api.requests(), []);
}

#[tokio::test]
async fn a_changed_spec_is_applied_by_an_operator_that_takes_over() {
    let mut rig = Rig::new();
    rig.settle().await;
    rig.api.edit(CLUSTER, |cluster| {
        cluster["spec"]["service"] = json!({"metadata": {"annotations": {"dns": "a"}}});
    });
    let mut next = Rig::started(rig.api.clone());
    next.reconcile().await.unwrap();
    assert_eq!(writes(&next), ["PATCH services/shop-primary", "PATCH services/shop-read"]);
}

#[tokio::test]
async fn a_secret_that_was_changed_between_two_operators_is_looked_into() {
    let mut rig = Rig::new();
    rig.settle().await;
    let secret = "/api/v1/namespaces/db/secrets/shop-credentials";
    rig.api.edit(secret, |secret| {
        secret["data"].as_object_mut().unwrap().remove("clone");
    });
    let mut next = Rig::started(rig.api.clone());
    next.reconcile().await.unwrap();
    assert!(next.api.get(secret).unwrap()["data"]["clone"].is_string());
    let asked: Vec<String> = next.api.requests().into_iter().map(|request| request.what).collect();
    let secrets: Vec<&String> = asked.iter().filter(|what| what.starts_with("secrets/")).collect();
    assert!(
        secrets.iter().all(|what| what.ends_with("shop-credentials")),
        "the others are as they were: {asked:?}"
    );
}
