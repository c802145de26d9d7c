//! Pods with MySQL's client and sysbench, which work on a database from inside the cluster.

use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams, PostParams};
use mainstay_proto::pod::credentials;
use serde_json::{Value, json};

use crate::database::Database;
use crate::namespace::Scope;
use crate::{exec, wait};

/// The container in such a pod.
const CONTAINER: &str = "tool";
/// Where a client finds root's password; in memory, written by the pod itself.
pub const LOGIN: &str = "/work/client.cnf";

/// A pod that runs a script.
pub struct Tool<'a> {
    scope: &'a Scope,
    name: String,
}

/// The image: MAINSTAY_TOOLS_IMAGE, or what `e2e/cluster/up` loads.
pub fn image() -> String {
    std::env::var("MAINSTAY_TOOLS_IMAGE").unwrap_or_else(|_| "mainstay-testbed/tools:1".into())
}

/// Writes [`LOGIN`] for `$HOST`, then goes to the directory that outlives it no longer than the pod.
const PRELUDE: &str = r#"
set -euo pipefail
export LC_ALL=C
umask 077
cd /work
if [[ -e /credentials ]]; then
  printf '[client]\nuser=root\npassword="%s"\nhost=%s\nconnect-timeout=2\n' "$(</credentials/root)" "$HOST" >client.cnf
fi
"#;

impl<'a> Tool<'a> {
    /// Starts a pod that runs a bash script with these variables, in an empty writable directory.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn start(
        scope: &'a Scope,
        name: &str,
        script: &str,
        variables: &[(&str, String)],
    ) -> Result<Tool<'a>> {
        Tool::create(scope, name, script, variables, &Value::Null, json!({})).await
    }

    /// As [`Tool::start`], with [`LOGIN`] for root at `service` of the database.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn start_for(
        database: &Database<'a>,
        name: &str,
        service: &str,
        script: &str,
        variables: &[(&str, String)],
    ) -> Result<Tool<'a>> {
        let secret = json!({
            "secretName": database.names.credentials_secret(),
            "items": [{"key": credentials::ROOT, "path": "root"}],
        });
        let host = ("HOST", format!("{service}.{}.svc", database.names.namespace));
        let variables: Vec<_> = [host].into_iter().chain(variables.iter().cloned()).collect();
        Tool::create(database.scope, name, script, &variables, &secret, json!({})).await
    }

    /// As [`Tool::start`], on a certain node.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn start_on(
        scope: &'a Scope,
        name: &str,
        node: &str,
        script: &str,
        variables: &[(&str, String)],
    ) -> Result<Tool<'a>> {
        Tool::create(scope, name, script, variables, &Value::Null, json!({"nodeName": node})).await
    }

    async fn create(
        scope: &'a Scope,
        name: &str,
        script: &str,
        variables: &[(&str, String)],
        secret: &Value,
        more: Value,
    ) -> Result<Tool<'a>> {
        let mut pod = manifest(name, &format!("{PRELUDE}{script}"), variables);
        if !secret.is_null() {
            push(&mut pod, "/spec/volumes", json!({"name": "credentials", "secret": secret}));
            let mount = json!({"name": "credentials", "mountPath": "/credentials", "readOnly": true});
            push(&mut pod, "/spec/containers/0/volumeMounts", mount);
        }
        for (key, value) in more.as_object().into_iter().flatten() {
            pod["spec"][key] = value.clone();
        }
        scope.api::<Pod>().create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
        Ok(Tool { scope, name: name.into() })
    }

    fn pods(&self) -> Api<Pod> {
        self.scope.api()
    }

    /// Waits until it runs.
    ///
    /// # Errors
    /// If it does not.
    pub async fn running(&self) -> Result<Pod> {
        let what = format!("{} to run", self.name);
        wait::object(&self.pods(), &self.name, &what, wait::LONG, |pod| phase(pod) == "Running").await
    }

    /// Waits until the script has ended, and returns what it wrote to its standard output and error.
    ///
    /// # Errors
    /// If it failed, with what it wrote, or goes on after `limit`.
    pub async fn finished(&self, limit: Duration) -> Result<String> {
        let ended = |pod: &Pod| matches!(phase(pod), "Succeeded" | "Failed");
        let what = format!("{} to end", self.name);
        let pod = wait::object(&self.pods(), &self.name, &what, limit, ended).await?;
        let log = self.log().await?;
        if phase(&pod) == "Failed" {
            bail!("{} failed:\n{log}", self.name);
        }
        Ok(log)
    }

    /// What the script has written so far.
    ///
    /// # Errors
    /// If the pod has not started, or is out of reach.
    pub async fn log(&self) -> Result<String> {
        Ok(self.pods().logs(&self.name, &LogParams::default()).await?)
    }

    /// Runs a command beside the script.
    ///
    /// # Errors
    /// If it fails, or the pod is out of reach.
    pub async fn exec(&self, command: &[&str]) -> Result<String> {
        exec::in_pod(&self.pods(), &self.name, CONTAINER, command).await
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Prefers the control plane's nodes, which no test takes away.
fn manifest(name: &str, script: &str, variables: &[(&str, String)]) -> Value {
    let variables: Vec<Value> =
        variables.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let control_plane = json!({"matchExpressions": [
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"},
    ]});
    json!({
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "preference": control_plane},
            ]}},
            "securityContext": confined_pod(),
            "containers": [{
                "name": CONTAINER,
                "image": image(),
                "imagePullPolicy": "IfNotPresent",
                "command": ["bash", "-c", script],
                "env": variables,
                "securityContext": confined_container(),
                "volumeMounts": [{"name": "work", "mountPath": "/work"}],
            }],
            "volumes": [{"name": "work", "emptyDir": {}}],
        },
    })
}

/// The security context of a pod that is as confined as an instance's.
pub(crate) fn confined_pod() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": 999,
        "runAsGroup": 999,
        "fsGroup": 999,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// The security context of a container in such a pod.
pub(crate) fn confined_container() -> Value {
    json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
}

fn push(pod: &mut Value, list: &str, item: Value) {
    if let Some(Value::Array(items)) = pod.pointer_mut(list) {
        items.push(item);
    }
}
