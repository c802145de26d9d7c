//! The add-on `csi` itself: tests of growth, attachment and snapshots build on it.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::{exec, note, tools, wait};
use serde_json::{Value, json};

/// What is written.
const WORDS: &str = "written before the snapshot";

/// Importance 2: a claim is bound, written to, grown and restored from a snapshot; what can't be had is refused.
#[tokio::test]
async fn csi_addon() -> Result<(), Failed> {
    scope::run("csi_addon", wait::LONG * 2, async |scope| {
        if !scope.env.addon("csi").await? {
            return Ok(());
        }
        claim(scope, "first", json!({"storageClassName": "csi"})).await?;
        pod(scope, "first").await?;
        in_pod(scope, "first", &format!("echo '{WORDS}' >/data/words; sync")).await?;
        has_its_size(scope, "first", 320).await?;
        snapshot(scope, "first").await?;
        in_pod(scope, "first", "echo later >/data/words").await?;
        grows(scope, "first", 640).await?;
        let source =
            json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "first"});
        claim(scope, "second", json!({"storageClassName": "csi", "dataSource": source})).await?;
        pod(scope, "second").await?;
        let read = in_pod(scope, "second", "cat /data/words").await?;
        ensure!(read.trim() == WORDS, "the restored claim has {read:?}");
        fixed_class_refuses(scope).await
    })
    .await
}

/// The file system is as large as the claim says and no larger, so the disk can be filled.
async fn has_its_size(scope: &Scope, name: &str, mebibytes: u64) -> Result<()> {
    let said = in_pod(scope, name, "df --output=size --block-size=1M /data | tail -n 1").await?;
    let size: u64 = said.trim().parse()?;
    // Its own tables take some of it.
    ensure!(
        (mebibytes * 3 / 4..=mebibytes).contains(&size),
        "a disk of {mebibytes} MiB has {size} MiB for files"
    );
    Ok(())
}

async fn grows(scope: &Scope, name: &str, mebibytes: u64) -> Result<()> {
    let size = format!("{mebibytes}Mi");
    let more = Patch::Merge(json!({"spec": {"resources": {"requests": {"storage": size}}}}));
    let claims = scope.api::<PersistentVolumeClaim>();
    claims.patch(name, &PatchParams::default(), &more).await?;
    let what = format!("claim {name} to have {size}");
    wait::object(&claims, name, &what, wait::LONG, |claim| {
        let capacity = claim.status.as_ref().and_then(|status| status.capacity.as_ref());
        capacity.and_then(|capacity| capacity.get("storage")).is_some_and(|has| has.0 == size)
    })
    .await?;
    note!("{name} has grown while its pod runs");
    has_its_size(scope, name, mebibytes).await
}

async fn fixed_class_refuses(scope: &Scope) -> Result<()> {
    claim(scope, "fixed", json!({"storageClassName": "csi-fixed"})).await?;
    pod(scope, "fixed").await?;
    let more = Patch::Merge(json!({"spec": {"resources": {"requests": {"storage": "640Mi"}}}}));
    let refused = scope.api::<PersistentVolumeClaim>().patch("fixed", &PatchParams::default(), &more).await;
    let refused = refused.err().context("a claim of csi-fixed was grown")?;
    ensure!(refused.to_string().contains("resize"), "refused otherwise: {refused}");
    Ok(())
}

async fn claim(scope: &Scope, name: &str, spec: Value) -> Result<()> {
    let mut claim = json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "320Mi"}}},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        claim["spec"][key] = value.clone();
    }
    let claim = serde_json::from_value(claim)?;
    scope.api::<PersistentVolumeClaim>().create(&PostParams::default(), &claim).await?;
    Ok(())
}

/// A pod, as confined as an instance's, that has the claim of its name.
async fn pod(scope: &Scope, name: &str) -> Result<()> {
    let pod = json!({
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 999,
                "runAsGroup": 999,
                "fsGroup": 999,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "shell",
                "image": tools::image(),
                "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "infinity"],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}],
        },
    });
    let pods = scope.api::<Pod>();
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    let what = format!("pod {name} to run");
    wait::object(&pods, name, &what, wait::LONG, |pod| {
        pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
    })
    .await?;
    Ok(())
}

async fn in_pod(scope: &Scope, name: &str, script: &str) -> Result<String> {
    exec::in_pod(&scope.api(), name, "shell", &["bash", "-euc", script]).await
}

/// Takes a snapshot of the claim of this name and waits until it can be used.
async fn snapshot(scope: &Scope, name: &str) -> Result<()> {
    let kind =
        ApiResource::from_gvk(&GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", "VolumeSnapshot"));
    let snapshots: Api<DynamicObject> = Api::namespaced_with(scope.client(), &scope.namespace, &kind);
    let spec = json!({"source": {"persistentVolumeClaimName": name}});
    let snapshot = DynamicObject::new(name, &kind).data(json!({"spec": spec}));
    snapshots.create(&PostParams::default(), &snapshot).await?;
    let what = format!("snapshot {name} to be ready");
    wait::poll(&what, wait::LONG, || async {
        let snapshot = snapshots.get(name).await?;
        Ok((snapshot.data["status"]["readyToUse"] == true).then_some(()))
    })
    .await
}
