//! Claims with a pod to look into them, and snapshots.

use anyhow::Result;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};

use crate::namespace::Scope;
use crate::{exec, tools, wait};

/// Makes a claim of 320 MiB; `spec` goes over its own.
///
/// # Errors
/// If the API server refuses it.
pub async fn claim(scope: &Scope, name: &str, spec: Value) -> Result<()> {
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

/// Starts a pod, as confined as an instance's, that has the claim of its name at `/data`.
///
/// # Errors
/// If it does not run.
pub async fn pod(scope: &Scope, name: &str) -> Result<()> {
    let pod = json!({
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "securityContext": tools::confined_pod(),
            "containers": [{
                "name": "shell",
                "image": tools::image(),
                "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "infinity"],
                "securityContext": tools::confined_container(),
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

/// Runs a script in a pod of [`pod`], and returns what it wrote.
///
/// # Errors
/// If it fails.
pub async fn run(scope: &Scope, name: &str, script: &str) -> Result<String> {
    exec::in_pod(&scope.api(), name, "shell", &["bash", "-euc", script]).await
}

/// The kind VolumeSnapshot, which not every cluster has.
pub fn snapshot_kind() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", "VolumeSnapshot"))
}

/// The test's VolumeSnapshots.
pub fn snapshots(scope: &Scope) -> Api<DynamicObject> {
    Api::namespaced_with(scope.client(), &scope.namespace, &snapshot_kind())
}

/// What makes a claim a copy of a snapshot, to be given to [`claim`].
pub fn copy_of(class: &str, snapshot: &str) -> Value {
    let source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot});
    json!({"storageClassName": class, "dataSource": source})
}
