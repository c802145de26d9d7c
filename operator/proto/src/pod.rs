//! How a pod is laid out: what the operator puts into the pod's template and the agent finds there.

/// Ports of a pod.
pub mod ports {
    /// Clients reach MySQL here.
    pub const MYSQL: u16 = 3306;
    /// MySQL's administrative port, on the loopback address: for the agent.
    pub const ADMIN: u16 = 33062;
    /// The agent's HTTPS port (client certificates required).
    pub const AGENT: u16 = 9443;
    /// The agent's HTTP port for the kubelet's probes: `/livez`, `/readyz`.
    pub const PROBE: u16 = 9080;
    /// The HTTPS port of the container `donor` (client certificates of the cluster's instances required).
    pub const DONOR: u16 = 9444;
}

/// Paths in the containers.
pub mod paths {
    /// Directory (emptyDir) with the agent's binary.
    pub const BIN: &str = "/opt/mainstay";
    /// The agent's binary in it.
    pub const AGENT: &str = "/opt/mainstay/mainstay-agent";
    /// Mount of the claim. `data/` in it is MySQL's data directory, `mainstay.json` the marker,
    /// `mainstay.lock` the lock.
    pub const VOLUME: &str = "/var/lib/mysql";
    /// Mount of the ConfigMap: [`super::config_keys`].
    pub const CONFIG: &str = "/etc/mainstay/config";
    /// Mount of the Secret with the passwords: [`super::credentials`].
    pub const CREDENTIALS: &str = "/etc/mainstay/credentials";
    /// Mount of the Secret with `ca.crt`, `tls.crt` and `tls.key`.
    pub const TLS: &str = "/etc/mainstay/tls";
    /// emptyDir in memory: socket, rendered configuration, init file, a person's `client.cnf`.
    pub const RUN: &str = "/run/mainstay";
}

/// Keys of the ConfigMap; each value is an option file with a `[mysqld]` group.
pub mod config_keys {
    /// For every instance.
    pub const COMMON: &str = "common.cnf";
    /// For the primary.
    pub const PRIMARY: &str = "primary.cnf";
    /// For replicas.
    pub const REPLICA: &str = "replica.cnf";
}

/// Keys of the Secret with the passwords. Each is also the account that it is for.
pub mod credentials {
    /// `root@'%'`, for people.
    pub const ROOT: &str = "root";
    /// `mainstay_operator@'%'`. The agent's own password, which is in no Secret, follows from its.
    pub const OPERATOR: &str = "operator";
    /// `mainstay_repl@'%'`: the replicas' receivers.
    pub const REPLICATION: &str = "replication";
    /// `mainstay_clone@'%'`: recipients of a clone.
    pub const CLONE: &str = "clone";
    /// All of them.
    pub const KEYS: [&str; 4] = [ROOT, OPERATOR, REPLICATION, CLONE];
}

/// Environment variables (nothing secret is ever in one).
pub mod env {
    /// Namespace of the pod.
    pub const NAMESPACE: &str = "MAINSTAY_NAMESPACE";
    /// Name of the cluster.
    pub const CLUSTER: &str = "MAINSTAY_CLUSTER";
    /// The cluster's id.
    pub const CLUSTER_ID: &str = "MAINSTAY_CLUSTER_ID";
    /// Name of the pod; its ordinal is what follows the last dash.
    pub const POD_NAME: &str = "MAINSTAY_POD_NAME";
    /// UID of the pod.
    pub const POD_UID: &str = "MAINSTAY_POD_UID";
    /// Address of the pod. Read by agents whose administrative port listened on it.
    pub const POD_IP: &str = "MAINSTAY_POD_IP";
    /// Node of the pod.
    pub const NODE: &str = "MAINSTAY_NODE";
    /// Base of the server ids: an instance's is this plus its ordinal.
    pub const SERVER_ID_BASE: &str = "MAINSTAY_SERVER_ID_BASE";
    /// Seconds that the kubelet grants between SIGTERM and SIGKILL.
    pub const GRACE_SECONDS: &str = "MAINSTAY_GRACE_SECONDS";
}

/// Name of the container that runs MySQL.
pub const CONTAINER_MYSQL: &str = "mysql";
/// Name of the init container that installs the agent's binary.
pub const CONTAINER_AGENT: &str = "agent";
/// Name of the init container that sees to the data directory.
pub const CONTAINER_PREPARE: &str = "prepare";
/// Name of the init container, in the copy tool's image, that receives a copy; before [`CONTAINER_PREPARE`].
pub const CONTAINER_RECEIVE: &str = "receive";
/// Name of the container, in the copy tool's image, that gives copies.
pub const CONTAINER_DONOR: &str = "donor";

/// DNS name by which TLS knows the operator: the subject alternative name of its client certificate.
pub const OPERATOR_SAN: &str = "operator.mysql.mainstay.dev";

/// DNS name of an instance, which its certificate covers (by a wildcard for the cluster's instances).
pub fn host(namespace: &str, cluster: &str, ordinal: u32) -> String {
    format!("{cluster}-{ordinal}.{cluster}.{namespace}.svc")
}
