//! The operator on an API server in memory: Secrets, and what clients get of them.

use std::time::Duration;

use kube::runtime::controller::Action;
use serde_json::{Value, json};

use crate::scenarios::path;
use crate::testing::Rig;

#[tokio::test]
async fn clients_find_the_authoritys_certificate_without_its_key() {
    let mut rig = Rig::new();
    rig.settle().await;
    let map = path("/api/v1", "configmaps", "shop-ca");
    let certificate = rig.api.get(&map).unwrap()["data"].clone();
    let secret = rig.api.get(&path("/api/v1", "secrets", "shop-ca")).unwrap()["data"].clone();
    assert_eq!(certificate.as_object().unwrap().len(), 1);
    let pem = certificate["ca.crt"].as_str().unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----") && !pem.contains("KEY"), "{pem}");
    // Put right, taken up by the next operator without a look into any Secret, and made anew with the authority.
    rig.api.edit(&map, |map| map["data"] = json!({"ca.crt": "theirs"}));
    rig.settle().await;
    assert_eq!(rig.api.get(&map).unwrap()["data"], certificate);
    let mut next = Rig::started(rig.api.clone());
    next.reconcile().await.unwrap();
    assert_eq!(next.api.requests(), []);
    next.api.remove(&path("/api/v1", "secrets", "shop-ca"));
    next.settle().await;
    assert_ne!(next.api.get(&path("/api/v1", "secrets", "shop-ca")).unwrap()["data"], secret);
    assert_ne!(next.api.get(&map).unwrap()["data"], certificate);
}

#[tokio::test]
async fn a_password_that_no_instance_can_take_up_is_told_until_it_is_replaced() {
    let mut rig = Rig::new();
    rig.settle().await;
    let secret = path("/api/v1", "secrets", "shop-credentials");
    let well = rig.api.get(&secret).unwrap()["data"]["replication"].clone();
    // 33 times x.
    rig.api
        .edit(&secret, |s| s["data"]["replication"] = json!("eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4"));
    assert_eq!(rig.reconcile().await.unwrap(), Action::requeue(Duration::ZERO), "it is said at once");
    rig.settle().await;
    let told = rig.condition("Blocked");
    assert_eq!((&told["status"], &told["reason"]), (&json!("True"), &json!("InvalidCredentials")));
    assert!(told["message"].as_str().unwrap().contains("replication has more than 32 characters"), "{told}");
    assert!(!rig.status().to_string().contains("xxxx"));
    let (mut next, before) = (Rig::started(rig.api.clone()), rig.api.version());
    for _ in 0..2 {
        next.reconcile().await.unwrap();
    }
    next.settle().await;
    assert_eq!(
        (next.api.version(), next.condition("Blocked")),
        (before, told),
        "the next operator says it too"
    );
    next.api.edit(&secret, |s| s["data"]["replication"] = well.clone());
    next.reconcile().await.unwrap();
    next.settle().await;
    assert_eq!(next.condition("Blocked")["status"], "False");
}

#[tokio::test]
async fn a_secret_of_the_same_name_that_is_not_ours_is_left_alone() {
    let mut rig = Rig::new();
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "data": {"root": "eA=="},
        "metadata": {"name": "shop-credentials", "namespace": "db"}});
    rig.api.put(&path("/api/v1", "secrets", "shop-credentials"), theirs);
    let before = rig.api.list("secrets");
    rig.reconcile().await.unwrap();
    // A metadata watch by label does not bring it.
    let error = loop {
        if let Err(error) = rig.reconcile().await {
            break error;
        }
    };
    assert_eq!(error.kind(), "SecretForeign");
    assert_eq!(rig.api.list("secrets"), before);
    assert!(rig.condition("Blocked")["message"].as_str().unwrap().contains("shop-credentials"));
}

#[tokio::test]
async fn secrets_belong_to_every_claim_that_there_is() {
    let mut rig = Rig::new();
    rig.settle().await;
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-shop-4", "namespace": "db", "uid": "kept",
            "labels": {"mysql.mainstay.dev/cluster": "shop"}}});
    rig.api.put(&path("/api/v1", "persistentvolumeclaims", "data-shop-4"), claim);
    let passwords = rig.api.get(&path("/api/v1", "secrets", "shop-credentials")).unwrap()["data"].clone();
    rig.settle().await;
    for secret in rig.api.list("secrets") {
        let owners: Vec<&Value> = secret["metadata"]["ownerReferences"]
            .as_array()
            .unwrap()
            .iter()
            .map(|owner| &owner["uid"])
            .collect();
        assert!(owners.contains(&&json!("kept")), "{owners:?}");
        assert_eq!(owners.len(), 2);
    }
    let after = rig.api.get(&path("/api/v1", "secrets", "shop-credentials")).unwrap();
    assert_eq!(after["data"], passwords);
}

#[tokio::test]
async fn a_secret_that_lost_a_password_gets_another_and_keeps_the_rest() {
    let mut rig = Rig::new();
    rig.settle().await;
    let secret = path("/api/v1", "secrets", "shop-credentials");
    let before = rig.api.get(&secret).unwrap()["data"].clone();
    rig.api.edit(&secret, |secret| {
        secret["data"].as_object_mut().unwrap().remove("clone");
    });
    rig.settle().await;
    let after = rig.api.get(&secret).unwrap()["data"].clone();
    assert_eq!(after["root"], before["root"]);
    assert!(after["clone"].is_string());
}
