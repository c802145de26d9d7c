//! Faults of the local cluster: nodes, the API server, processes killed behind Kubernetes' back.
//!
//! Each fault that lasts is undone when what it returned is dropped, also when the test failed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::Api;

use crate::cluster::Env;
use crate::exec::here;
use crate::place::{self, script, shared};
use crate::wait;

/// The container of the local cluster's control plane runs as root and holds the kubelet's manifests here.
const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
/// Where the API server's manifest waits while the API server is away.
const AWAY: &str = "/etc/kubernetes/kube-apiserver.away";

/// The taint by which an administrator vouches that nothing runs on a node.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The nodes of the local cluster, which may be harmed.
#[derive(Clone, Copy, Debug)]
pub struct Nodes(());

/// A fault that ends when this is dropped.
#[derive(Debug)]
#[must_use = "the fault ends when this is dropped"]
pub struct Fault {
    undo: Vec<Command>,
    what: String,
}

impl Nodes {
    /// The nodes, or `None`, having said so, on a cluster that is not ours to harm.
    pub fn of(env: &Env) -> Option<Nodes> {
        if env.local {
            return Some(Nodes(()));
        }
        note!("SKIPPED: this test harms nodes, and {} is not the local cluster", env.kubeconfig.display());
        None
    }

    /// Undoes all that a test whose process was killed may have left.
    pub(crate) fn recover() -> Result<()> {
        if !marker().exists() {
            return Ok(());
        }
        note!("undoing what a test that was killed did to the nodes");
        here(script("node").arg("heal-all"))?;
        here(&mut api_back(&control_plane()?))?;
        here(&mut untaint(&["--all"]))?;
        here(&mut default_class(true))?;
        Ok(std::fs::remove_file(marker())?)
    }

    /// Powers a node off, at once. Its power comes back with the end of the fault.
    ///
    /// # Errors
    /// If the node is not one of the local cluster.
    pub fn lose(&self, node: &str) -> Result<Fault> {
        self.begin(node, &["lose", node])
    }

    /// Freezes all processes of a node.
    ///
    /// # Errors
    /// If the node is not one of the local cluster, or does not run.
    pub fn stall(&self, node: &str) -> Result<Fault> {
        self.begin(node, &["stall", node])
    }

    /// Drops every packet between the node and `scope`: `from-nodes`, `from-api` or `from-all`.
    ///
    /// # Errors
    /// If the node is not one of the local cluster, or does not run.
    pub fn cut(&self, node: &str, scope: &str) -> Result<Fault> {
        self.begin(node, &["cut", node, scope])
    }

    /// Deletes the Node object. The machine and what runs on it know nothing of it.
    ///
    /// # Errors
    /// If the node is not one of the local cluster, or the API server does not answer.
    pub fn forget(&self, node: &str) -> Result<Fault> {
        self.begin(node, &["forget", node])
    }

    fn begin(&self, node: &str, arguments: &[&str]) -> Result<Fault> {
        let mut undo = script("node");
        undo.args(["heal", node]);
        let fault = Fault::begin(arguments.join(" "), vec![undo])?;
        here(script("node").args(arguments))?;
        Ok(fault)
    }

    /// Vouches that nothing runs on a node that was lost, as an administrator does.
    /// <https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#non-graceful-node-shutdown>
    ///
    /// # Errors
    /// If there is no such node.
    pub fn vouch(&self, node: &str) -> Result<Fault> {
        let fault = Fault::begin(format!("vouch that nothing runs on {node}"), vec![untaint(&[node])])?;
        let taint = format!("{OUT_OF_SERVICE}=nodeshutdown:NoExecute");
        here(Command::new("kubectl").args(["taint", "node", node, &taint]))?;
        Ok(fault)
    }

    /// Writes `KEY=VALUE` on a node's object, as a fencing tool does. It goes with the end of the fault, and so does a
    /// taint for which somebody took it as a proof.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn fence(&self, node: &str, annotation: &str) -> Result<Fault> {
        let key = annotation.split_once('=').map_or(annotation, |(key, _)| key);
        let mut erase = Command::new("kubectl");
        erase.args(["annotate", "node", node, &format!("{key}-")]);
        let fault =
            Fault::begin(format!("annotate {node} with {annotation}"), vec![erase, untaint(&[node])])?;
        here(Command::new("kubectl").args(["annotate", "--overwrite", "node", node, annotation]))?;
        Ok(fault)
    }

    /// Waits until a node is Ready.
    ///
    /// # Errors
    /// If it does not become so.
    pub async fn ready(client: Client, node: &str) -> Result<()> {
        let nodes: Api<Node> = Api::all(client);
        wait::object(&nodes, node, &format!("{node} to be Ready"), wait::LONG, |node| {
            let status = node.status.as_ref();
            let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
            conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
        })
        .await
        .map(drop)
    }

    /// Leaves the cluster without a default storage class.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub fn without_default_class(&self) -> Result<Fault> {
        let fault = Fault::begin("no default storage class".into(), vec![default_class(true)])?;
        here(&mut default_class(false))?;
        Ok(fault)
    }

    /// Takes the API server away: its process is killed and its manifest hidden from the kubelet.
    ///
    /// # Errors
    /// If the control plane's container can't be reached.
    pub fn take_api_away(&self) -> Result<Fault> {
        let node = control_plane()?;
        let fault = Fault::begin("API server away".into(), vec![api_back(&node)])?;
        let away = format!(
            "mv {MANIFEST} {AWAY}
             while pgrep -x kube-apiserver >/dev/null; do pkill -KILL -x kube-apiserver; sleep 0.2; done"
        );
        on_node(&node, &away, &[])?;
        Ok(fault)
    }

    /// Kills every process `name` of the pod with this UID with SIGKILL, from the node: the API server has no part
    /// in it.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn kill_in_pod(node: &str, pod_uid: &str, name: &str) -> Result<()> {
        ensure!(kill_processes(node, pod_uid, name)? > 0, "pod {pod_uid} on {node} has no process {name}");
        Ok(())
    }
}

/// As [`Nodes::kill_in_pod`], but it is no error if there is no such process. Returns how many there were.
///
/// # Errors
/// If the node is out of reach.
pub(crate) fn kill_processes(node: &str, pod_uid: &str, name: &str) -> Result<usize> {
    // In one go: what is to be killed in the middle of something does not wait.
    let kill = format!(r#"found=$({FIND}); [[ -z $found ]] || kill -KILL $found; wc -w <<<"$found""#);
    Ok(on_node(node, &kill, &[pod_uid, name])?.trim().parse()?)
}

/// Prints a pod's processes. The kernel keeps 15 characters of a name; systemd writes the UID's dashes as underscores.
const FIND: &str = r#"
    for process in $(pgrep -x "${2:0:15}"); do
      if tr _ - <"/proc/$process/cgroup" | grep -qF "$1"; then echo "$process"; fi
    done"#;

/// The processes of a pod whose program is called `name`, by their ids on the node.
///
/// # Errors
/// If the node is out of reach.
pub fn processes(node: &str, pod_uid: &str, name: &str) -> Result<Vec<String>> {
    let found = on_node(node, FIND, &[pod_uid, name])?;
    Ok(found.lines().map(str::to_owned).collect())
}

impl Fault {
    /// Notes that a fault begins, so that it is undone even if this process is killed.
    fn begin(what: String, undo: Vec<Command>) -> Result<Fault> {
        std::fs::write(marker(), &what)?;
        note!("fault: {what}");
        Ok(Fault { undo, what })
    }

    /// Ends the fault.
    pub fn end(self) {}
}

impl Drop for Fault {
    fn drop(&mut self) {
        let mut undone = true;
        for command in &mut self.undo {
            if let Err(error) = here(command) {
                note!("{} can't be undone: {error:#}", self.what);
                undone = false;
            }
        }
        if undone {
            note!("fault ends: {}", self.what);
            // Faults of one test may overlap; the last one's end removes it for good.
            let _ = std::fs::remove_file(marker());
        }
    }
}

/// Exists while a fault lasts.
fn marker() -> PathBuf {
    shared("fault")
}

fn control_plane() -> Result<String> {
    let label = format!("label=io.x-k8s.kind.cluster={}", place::name());
    let role = "label=io.x-k8s.kind.role=control-plane";
    here(Command::new("docker").args(["ps", "--filter", &label, "--filter", role, "--format", "{{.Names}}"]))
        .context("find the control plane's container")
}

/// Whether the local cluster's default storage class is one.
fn default_class(is: bool) -> Command {
    let mut command = Command::new("kubectl");
    let annotation = format!("storageclass.kubernetes.io/is-default-class={is}");
    command.args(["annotate", "--overwrite", "storageclass", "network", &annotation]);
    command
}

/// It is no error if a node has no such taint.
fn untaint(nodes: &[&str]) -> Command {
    let mut command = Command::new("bash");
    let script = format!(
        r#"said=$(kubectl taint node "$@" {OUT_OF_SERVICE}- 2>&1) || [[ $said == *"not found"* ]] || {{ echo "$said" >&2; exit 1; }}"#
    );
    command.args(["-c", &script, "bash"]).args(nodes);
    command
}

fn api_back(node: &str) -> Command {
    let mut command = Command::new("docker");
    command.args(["exec", node, "bash", "-c"]).arg(format!("[[ ! -e {AWAY} ]] || mv {AWAY} {MANIFEST}"));
    command
}

/// Runs a script in a node's container, where it sees the processes of all pods.
///
/// # Errors
/// If it fails.
pub fn on_node(node: &str, script: &str, arguments: &[&str]) -> Result<String> {
    here(Command::new("docker").args(["exec", node, "bash", "-c", script, "bash"]).args(arguments))
}
