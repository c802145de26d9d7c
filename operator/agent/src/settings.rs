//! What the pod's template tells the agent: environment, paths and ports.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mainstay_proto::pod::{env, paths, ports};
use mainstay_proto::{Identity, pod};

/// What the pod's template tells the agent. Nothing in it is secret.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Namespace of the pod.
    #[arg(long, env = env::NAMESPACE)]
    pub(crate) namespace: String,
    /// Name of the cluster.
    #[arg(long, env = env::CLUSTER)]
    pub(crate) cluster: String,
    /// The cluster's id.
    #[arg(long, env = env::CLUSTER_ID)]
    pub(crate) cluster_id: String,
    /// Name of the pod; its ordinal is what follows the last dash.
    #[arg(long, env = env::POD_NAME)]
    pub(crate) pod_name: String,
    /// UID of the pod.
    #[arg(long, env = env::POD_UID)]
    pub(crate) pod_uid: String,
    /// Node of the pod.
    #[arg(long, env = env::NODE)]
    pub(crate) node: String,
    /// Base of the server ids.
    #[arg(long, env = env::SERVER_ID_BASE)]
    pub(crate) server_id_base: u32,
    /// Seconds that the kubelet grants between SIGTERM and SIGKILL.
    #[arg(long, env = env::GRACE_SECONDS, default_value_t = 60)]
    pub(crate) grace_seconds: u64,
    /// Mount of the claim.
    #[arg(long, default_value = paths::VOLUME)]
    pub(crate) volume: PathBuf,
    /// Mount of the ConfigMap with the option files.
    #[arg(long, default_value = paths::CONFIG)]
    pub(crate) config: PathBuf,
    /// Mount of the Secret with the passwords.
    #[arg(long, default_value = paths::CREDENTIALS)]
    pub(crate) credentials: PathBuf,
    /// Mount of the Secret with the certificates.
    #[arg(long, default_value = paths::TLS)]
    pub(crate) tls: PathBuf,
    /// Directory for the socket, the rendered configuration and what else lives as long as the container.
    #[arg(long, default_value = paths::RUN)]
    pub(crate) run: PathBuf,
    /// MySQL's port.
    #[arg(long, default_value_t = ports::MYSQL)]
    pub(crate) mysql_port: u16,
    /// MySQL's administrative port.
    #[arg(long, default_value_t = ports::ADMIN)]
    pub(crate) admin_port: u16,
    /// The agent's HTTPS port.
    #[arg(long, default_value_t = ports::AGENT)]
    pub(crate) agent_port: u16,
    /// The agent's port for the kubelet's probes.
    #[arg(long, default_value_t = ports::PROBE)]
    pub(crate) probe_port: u16,
    /// The port of the container that gives copies.
    #[arg(long, default_value_t = ports::DONOR)]
    pub(crate) donor_port: u16,
    /// Seconds without a byte or a sign of life after which the other side of a copy is given up.
    #[arg(long, default_value_t = 30)]
    pub(crate) stall_seconds: u64,
    /// Step of a copy before which to stop for ever, for tests.
    #[cfg(debug_assertions)]
    #[arg(long, hide = true)]
    pub(crate) halt_before: Option<String>,
    /// Seconds between two looks at the mounted Secrets.
    #[arg(long, default_value_t = 10)]
    pub(crate) mounts_seconds: u64,
}

/// The pod's name has no ordinal at its end.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not the name of a StatefulSet's pod")]
pub(crate) struct NoOrdinal(String);

impl Settings {
    /// The instance's ordinal.
    pub(crate) fn ordinal(&self) -> Result<u32, NoOrdinal> {
        self.pod_name
            .rsplit_once('-')
            .and_then(|(_, digits)| digits.parse().ok())
            .ok_or_else(|| NoOrdinal(self.pod_name.clone()))
    }

    /// Who the agent is, for reports and for the check of orders.
    pub(crate) fn identity(&self) -> Result<Identity, NoOrdinal> {
        Ok(Identity {
            namespace: self.namespace.clone(),
            cluster: self.cluster.clone(),
            cluster_id: self.cluster_id.clone(),
            ordinal: self.ordinal()?,
            pod_name: self.pod_name.clone(),
            pod_uid: self.pod_uid.clone(),
            node: self.node.clone(),
            boot_id: boot_id(),
        })
    }

    /// DNS name under which the instance is known to the others.
    pub(crate) fn host(&self, ordinal: u32) -> String {
        pod::host(&self.namespace, &self.cluster, ordinal)
    }

    /// The time that a stop may take, less what the agent needs for itself.
    pub(crate) fn stop_bound(&self) -> Duration {
        Duration::from_secs(self.grace_seconds.saturating_sub(2).max(1))
    }

    /// MySQL's data directory.
    pub(crate) fn datadir(&self) -> PathBuf {
        self.volume.join(crate::volume::DATA)
    }

    /// Where a copy is unpacked and made consistent, before it takes the data directory's place.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.volume.join(crate::volume::INCOMING)
    }

    /// Directory for MySQL's temporary files: on the volume, because the container's other directories are small.
    pub(crate) fn tmpdir(&self) -> PathBuf {
        self.volume.join(crate::volume::TEMPORARY)
    }
}

/// The kernel's boot id; empty where the kernel does not tell.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}
