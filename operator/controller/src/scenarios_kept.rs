//! What keeps alive that which runs goes on while the spec is paused or invalid, or a change of it is broken.

use axum::http::Method;
use serde_json::{Value, json};

use crate::secrets::tests::ending;
use crate::testing::{CLUSTER, Rig};

const MAPS: &str = "/api/v1/namespaces/db/configmaps";
const SET: &str = "/apis/apps/v1/namespaces/db/statefulsets/shop";

/// What a person may delete, but for the configuration.
const DELETED: [&str; 10] = [
    "/api/v1/namespaces/db/serviceaccounts/shop",
    "/api/v1/namespaces/db/services/shop",
    "/api/v1/namespaces/db/services/shop-primary",
    "/api/v1/namespaces/db/services/shop-read",
    "/api/v1/namespaces/db/configmaps/shop-ca",
    "/api/v1/namespaces/db/secrets/shop-credentials",
    "/api/v1/namespaces/db/secrets/shop-tls",
    "/api/v1/namespaces/db/secrets/shop-operator-tls",
    "/apis/policy/v1/namespaces/db/poddisruptionbudgets/shop-primary",
    "/apis/policy/v1/namespaces/db/poddisruptionbudgets/shop-replica",
];

/// In what state of the spec: paused, invalid, refused by the API server.
const HELD: [fn(&Rig); 3] = [
    |rig| rig.api.edit(CLUSTER, |cluster| cluster["spec"]["paused"] = json!(true)),
    |rig| rig.api.edit(CLUSTER, |cluster| cluster["spec"]["storage"]["size"] = json!("1")),
    |rig| rig.api.refuse_dry_runs("pods"),
];

/// A cluster whose first pod was made from its first template, which is in the history.
async fn running() -> Rig {
    let mut rig = Rig::new();
    rig.settle().await;
    let set = rig.api.get(SET).unwrap();
    let template = &set["spec"]["template"];
    let metadata = json!({"name": "shop-0", "namespace": "db", "labels": {"mysql.mainstay.dev/cluster": "shop"},
        "annotations": template["metadata"]["annotations"]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"],
        "status": {"phase": "Pending"}});
    rig.api.put("/api/v1/namespaces/db/pods/shop-0", pod);
    let revision = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1,
        "metadata": {"name": "shop-1", "namespace": "db", "labels": {"mysql.mainstay.dev/cluster": "shop"}},
        "data": {"spec": {"template": template}}});
    rig.api.put("/apis/apps/v1/namespaces/db/controllerrevisions/shop-1", revision);
    rig.settle().await;
    rig
}

/// Another configuration and other labels, to be held back.
fn change(rig: &Rig) {
    rig.api.edit(CLUSTER, |cluster| {
        cluster["spec"]["config"] = json!({"common": {"max_connections": "99"}});
        cluster["spec"]["replicas"] = json!(5);
    });
}

/// Reconciles a few times, whatever comes of it.
async fn turn(rig: &mut Rig) {
    for _ in 0..4 {
        let _ = rig.reconcile().await;
    }
}

fn configuration(rig: &Rig) -> (String, Value) {
    let is_it = |map: &Value| map["metadata"]["name"].as_str().unwrap().starts_with("shop-config-");
    let map = rig.api.list("configmaps").into_iter().find(is_it).unwrap();
    (format!("{MAPS}/{}", map["metadata"]["name"].as_str().unwrap()), map["data"].clone())
}

#[tokio::test]
async fn what_somebody_deletes_is_made_again_in_whatever_state_the_spec_is() {
    for (at, hold) in HELD.iter().enumerate() {
        let mut rig = running().await;
        change(&rig);
        hold(&rig);
        let set = rig.api.get(SET).unwrap();
        let (map, files) = configuration(&rig);
        for path in DELETED {
            rig.api.remove(path);
            turn(&mut rig).await;
            assert!(rig.api.get(path).is_some(), "{path}, {at}");
        }
        rig.api.remove(&map);
        turn(&mut rig).await;
        assert_eq!(rig.api.get(&map).map(|map| map["data"].clone()), Some(files), "{map}, {at}");
        assert_eq!(rig.api.get(SET).unwrap()["spec"], set["spec"], "{at}");
    }
}

#[tokio::test]
async fn what_is_there_stays_as_it_is_while_paused_and_nothing_is_asked() {
    let mut rig = running().await;
    rig.api.edit(CLUSTER, |cluster| cluster["spec"]["paused"] = json!(true));
    rig.settle().await;
    let service = "/api/v1/namespaces/db/services/shop-read";
    change(&rig);
    rig.api.edit(service, |service| service["spec"]["ports"] = json!([]));
    rig.settle().await;
    assert_eq!(rig.api.get(service).unwrap()["spec"]["ports"], json!([]));
    rig.reconcile().await.unwrap();
    assert_eq!(rig.api.requests(), []);
    rig.api.remove(SET);
    rig.settle().await;
    assert_eq!(rig.api.get(SET), None, "pods are not made by a spec that is held back");
    rig.api.edit(CLUSTER, |cluster| cluster["spec"]["paused"] = json!(false));
    turn(&mut rig).await;
    assert_ne!(rig.api.get(service).unwrap()["spec"]["ports"], json!([]));
    assert!(rig.api.get(SET).is_some());
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_renewed_in_whatever_state_the_spec_is() {
    let secret = |name: &str| format!("/api/v1/namespaces/db/secrets/{name}");
    for hold in HELD {
        let mut rig = running().await;
        hold(&rig);
        let ends = ending(&rig.api.get(&secret("shop-ca")).unwrap()["data"]);
        rig.api.edit(&secret("shop-tls"), |tls| tls["data"] = ends.clone());
        turn(&mut rig).await;
        let now = rig.api.get(&secret("shop-tls")).unwrap()["data"].clone();
        assert_ne!(now["tls.crt"], ends["tls.crt"]);
        assert_eq!(now["ca.crt"], ends["ca.crt"]);
    }
}

#[tokio::test]
async fn a_configuration_that_nothing_tells_is_said_to_be_lost_and_is_back_with_its_spec() {
    let mut rig = running().await;
    let (map, files) = configuration(&rig);
    // As an older operator made it.
    rig.api.edit("/apis/apps/v1/namespaces/db/controllerrevisions/shop-1", |revision| {
        let told = revision.pointer_mut("/data/spec/template/metadata/annotations").unwrap();
        told.as_object_mut().unwrap().remove("mysql.mainstay.dev/config").unwrap();
    });
    change(&rig);
    rig.api.refuse_dry_runs("pods");
    rig.api.remove(&map);
    turn(&mut rig).await;
    assert_eq!(rig.api.get(&map), None);
    let told = rig.condition("Blocked");
    let name = map.rsplit('/').next().unwrap();
    assert!(
        told.to_string().contains("InvalidSpec") || told["message"].as_str().unwrap().contains(name),
        "{told}"
    );
    rig.api.edit(CLUSTER, |cluster| cluster["spec"]["paused"] = json!(true));
    turn(&mut rig).await;
    let told = rig.condition("Blocked");
    assert_eq!((&told["status"], &told["reason"]), (&json!("True"), &json!("ConfigMapLost")));
    assert!(told["message"].as_str().unwrap().contains(name), "{told}");
    rig.api.edit(CLUSTER, |cluster| cluster["spec"]["config"] = Value::Null);
    turn(&mut rig).await;
    assert_eq!(rig.api.get(&map).unwrap()["data"], files);
    assert_eq!(rig.condition("Blocked")["status"], "False");
    let writes = rig.api.requests().into_iter().filter(|request| request.method == Method::DELETE);
    assert_eq!(writes.count(), 0);
}
