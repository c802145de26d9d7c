//! What the API server refuses is found out before anything is touched.

use serde_json::{Value, json};

use crate::testing::{CLUSTER, Rig};

const SET: &str = "/apis/apps/v1/namespaces/db/statefulsets/shop";
const POD: &str = "/api/v1/namespaces/db/pods/shop-0";

async fn running() -> Rig {
    let mut rig = Rig::new();
    rig.settle().await;
    let set = rig.api.get(SET).unwrap();
    let hash = set["metadata"]["annotations"]["mysql.mainstay.dev/template-hash"].clone();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Pending"},
        "metadata": {"name": "shop-0", "namespace": "db", "labels": {"mysql.mainstay.dev/cluster": "shop"},
            "annotations": {"mysql.mainstay.dev/template-hash": hash}}});
    rig.api.put(POD, pod);
    rig.settle().await;
    rig
}

fn change(rig: &Rig, image: &str) {
    rig.api.edit(CLUSTER, |cluster| cluster["spec"]["image"] = json!(image));
}

fn children(rig: &Rig) -> Vec<Value> {
    ["statefulsets", "configmaps", "pods"].iter().flat_map(|kind| rig.api.list(kind)).collect()
}

#[tokio::test]
async fn what_is_refused_changes_nothing_is_said_with_its_words_and_heals() {
    for refused in ["statefulsets/shop", "pods"] {
        let mut rig = running().await;
        let before = children(&rig);
        rig.api.refuse_dry_runs(refused);
        change(&rig, "mysql:9.8");
        for _ in 0..3 {
            assert_eq!(rig.reconcile().await.unwrap_err().kind(), "Child", "{refused}");
        }
        assert_eq!(children(&rig), before, "{refused}");
        let valid = rig.condition("SpecValid");
        assert_eq!((&valid["status"], &valid["reason"]), (&json!("False"), &json!("InvalidSpec")));
        assert!(valid["message"].as_str().unwrap().contains("refused by the test"), "{valid}");
        assert_eq!(rig.condition("Blocked")["status"], "True");
        let tried = rig.api.dry_runs().len();
        assert!(rig.reconcile().await.is_err());
        assert_eq!(rig.api.dry_runs().len(), tried, "it is not asked again at each look");

        change(&rig, "mysql:9.7");
        rig.settle().await;
        assert_eq!(rig.condition("SpecValid")["status"], "True");
        assert_eq!(children(&rig), before, "{refused}");
    }
}

#[tokio::test]
async fn what_is_taken_is_tried_once_and_a_new_operator_tries_nothing() {
    let mut rig = running().await;
    change(&rig, "mysql:9.8");
    rig.reconcile().await.unwrap();
    assert_eq!(rig.api.list("pods").len(), 1, "the watch has not brought the new template yet");
    rig.settle().await;
    assert_eq!(rig.api.list("pods"), [] as [Value; 0], "a pod that does not serve is replaced");
    let tried = rig.api.dry_runs();
    assert_eq!(tried.len(), 4, "two for the first template, two for the second: {tried:?}");
    Rig::started(rig.api.clone()).settle().await;
    assert_eq!(rig.api.dry_runs().len(), 4);
}

#[tokio::test]
async fn the_template_that_was_proven_is_put_back_from_the_history() {
    let mut rig = running().await;
    let proven = |rig: &Rig, hash: &str| {
        rig.api.edit(CLUSTER, |cluster| cluster["status"]["template"] = json!({"proven": hash}));
    };
    let image = |rig: &Rig| {
        let set = rig.api.get(SET).unwrap();
        (
            set["spec"]["template"]["spec"]["containers"][0]["image"].clone(),
            set["metadata"]["annotations"].clone(),
        )
    };
    let before = image(&rig);
    proven(&rig, "unknown");
    rig.settle().await;
    assert_eq!(image(&rig), before, "what the history does not have changes nothing");
    for (revision, hash, image) in
        [(1, "older", "mysql:8.3"), (2, "older", "mysql:8.4"), (3, "other", "mysql:9.6")]
    {
        let name = format!("shop-{revision}");
        let template = json!({"$patch": "replace",
            "metadata": {"creationTimestamp": null, "annotations": {"mysql.mainstay.dev/template-hash": hash}},
            "spec": {"containers": [{"name": "mysql", "image": image}]}});
        let object = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": revision,
            "metadata": {"name": name, "namespace": "db"}, "data": {"spec": {"template": template}}});
        rig.api.put(&format!("/apis/apps/v1/namespaces/db/controllerrevisions/{name}"), object);
    }
    proven(&rig, "older");
    rig.settle().await;
    let (held, annotations) = image(&rig);
    assert_eq!(
        (held, &annotations["mysql.mainstay.dev/template-hash"]),
        (json!("mysql:8.4"), &json!("older"))
    );
    rig.reconcile().await.unwrap();
    assert_eq!(rig.api.requests(), [], "nothing is read or written while nothing differs");
}

#[tokio::test]
async fn a_new_cluster_whose_pods_are_refused_says_why_nothing_serves() {
    let mut rig = Rig::new();
    rig.api.refuse_dry_runs("pods");
    for _ in 0..3 {
        let _ = rig.reconcile().await;
    }
    assert_eq!(rig.api.get(SET), None);
    for type_ in ["Ready", "Available", "SpecValid", "Blocked", "Progressing"] {
        let told = rig.condition(type_);
        assert_eq!(told["reason"], "InvalidSpec", "{told}");
        assert!(told["message"].as_str().unwrap().contains("refused by the test"), "{told}");
    }
    assert!(rig.condition("Ready")["message"].as_str().unwrap().starts_with("0 of 3 instances serve: "));
}
