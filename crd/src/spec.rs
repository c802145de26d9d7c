//! `spec` of a `MySQLCluster`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node_loss::{LocalVolumes, NodeLoss, ReclaimPolicy};
use crate::retention::Retention;
use crate::status::MySQLClusterStatus;

/// A primary MySQL server with replicas, each on a volume of its own. Replication is asynchronous.
#[allow(clippy::duplicated_attributes, reason = "every column has a type")]
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "mysql.mainstay.dev",
    version = "v1alpha1",
    kind = "MySQLCluster",
    plural = "mysqlclusters",
    shortname = "myc",
    namespaced,
    doc = "A primary MySQL server with replicas, each on a volume of its own.",
    status = "MySQLClusterStatus",
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "Primary", type_ = "string", json_path = ".status.primary"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='Ready')].message"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct MySQLClusterSpec {
    /// Number of instances: one primary, the others replicas. 1 to 9.
    #[serde(default = "default_replicas")]
    pub replicas: i32,
    /// Image with the MySQL server (8.4 or 9.7): `mysql:9.7` or one built from it.
    pub image: String,
    /// When to pull the image. Kubernetes decides by the tag if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets with credentials for the image's registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The volume of each instance.
    pub storage: Storage,
    /// CPU and memory of the container that runs MySQL. The buffer pool is sized from the memory limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ResourceRequirements")]
    pub resources: Option<ResourceRequirements>,
    /// Entries for MySQL's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Config>,
    /// How new replicas get their data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<CloneSpec>,
    /// Where instances may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// Labels, annotations and type of the Services for clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceTemplate>,
    /// Labels and annotations of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_metadata: Option<Metadata>,
    /// User and group that all containers run as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security: Option<PodSecurity>,
    /// While true the operator observes and reports, but begins nothing. What `status.replication` announces goes on: a
    /// switchover is ended, and a primary that restarts leads again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// While true, deleting this object tears nothing down: the database serves on, whatever `whenDeleted` says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletion_protection: bool,
    /// What is done about a node that is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_loss: Option<NodeLoss>,
    /// The id of a cluster whose kept volumes this one may take over, where the operator asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<String>,
}

fn default_replicas() -> i32 {
    3
}

/// When to pull an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At every start.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never.
    Never,
}

/// The volume of each instance.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size of each volume.
    pub size: Quantity,
    /// Storage class; the cluster's default class if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Access modes; `ReadWriteOnce` if left out.
    #[serde(default = "default_access_modes")]
    pub access_modes: Vec<AccessMode>,
    /// Selects volumes made by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// What becomes of claims that no instance uses any more; all are kept if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Set on every bound volume; the storage class decides if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaim_policy: Option<ReclaimPolicy>,
    /// What is done about volumes that only one node can mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalVolumes>,
}

fn default_access_modes() -> Vec<AccessMode> {
    vec![AccessMode::ReadWriteOnce]
}

/// Ways in which a volume can be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AccessMode {
    /// By one node.
    ReadWriteOnce,
    /// By one pod.
    ReadWriteOncePod,
    /// By many nodes.
    ReadWriteMany,
}

/// Entries for MySQL's configuration: option names without dashes, values as in an option file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// For every instance. A change takes effect with a restart, one instance after the other.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub common: BTreeMap<String, String>,
    /// For the primary; set when an instance becomes one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub primary: BTreeMap<String, String>,
    /// For replicas; set when an instance becomes one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub replica: BTreeMap<String, String>,
}

/// How new replicas get their data.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloneSpec {
    /// The method; [`CloneSpec::chosen`] where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<CloneMethod>,
    /// Image with the copy tool, for the method XtraBackup: `xtrabackup` and `xbstream` of the server's own series in
    /// the PATH. If left out, Percona's for the version that `spec.image`'s tag begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Compression on the way, for the method XtraBackup.
    pub compress: CloneCompression,
    /// Bounds on what a clone may take from its donor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<CloneLimits>,
}

impl CloneSpec {
    /// The method that is asked for, or that follows from the image.
    pub fn chosen(&self) -> CloneMethod {
        self.method.unwrap_or(match self.image {
            Some(_) => CloneMethod::XtraBackup,
            None => CloneMethod::Plugin,
        })
    }
}

/// How to clone. If left out, XtraBackup where `image` names the tool's, else Plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum CloneMethod {
    /// MySQL's CLONE plugin; needs no second image.
    Plugin,
    /// A stream of Percona XtraBackup's, from a container beside the donor's server to one in the new replica's pod;
    /// needs the tool's image, and goes back to the plugin where a pod has no such container.
    XtraBackup,
}

/// Whether a clone is compressed on the way. What arrives is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum CloneCompression {
    /// Not: for a network that is faster than a core compresses.
    #[default]
    None,
    /// With zstd, by the donor's container.
    Zstd,
}

/// Percona's image of XtraBackup; its tags are the servers' series. Without a host, as is `mysql:9.7`: the nodes look for
/// both in the same place.
const XTRABACKUP_IMAGE: &str = "percona/percona-xtrabackup";

impl MySQLClusterSpec {
    /// The image with the copy tool, if the spec asks for one and it is known.
    pub fn copy_tool_image(&self) -> Option<String> {
        let clone = self.clone.as_ref().filter(|clone| clone.chosen() == CloneMethod::XtraBackup)?;
        if let Some(image) = &clone.image {
            return Some(image.clone());
        }
        let name = self.image.split('@').next()?;
        let (_, tag) = name.rsplit('/').next()?.rsplit_once(':')?;
        let mut numbers = tag.split('.');
        let number = |text: Option<&str>| {
            let text = text?;
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            (digits > 0).then(|| text[..digits].to_owned())
        };
        let major = numbers.next().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
        let (major, minor) = (number(Some(major))?, number(numbers.next())?);
        Some(format!("{XTRABACKUP_IMAGE}:{major}.{minor}"))
    }
}

/// Bounds on what a clone may take from its donor.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloneLimits {
    /// Most bytes a second that a donor sends, for example `50Mi`; no bound if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<Quantity>,
}

/// Where instances may run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Scheduling {
    /// Whether instances keep away from each other's nodes.
    pub anti_affinity: AntiAffinity,
    /// Affinity rules, in addition to the anti-affinity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that instances tolerate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// How instances spread over zones and nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// The pods' priority class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
}

/// Whether instances keep away from each other's nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AntiAffinity {
    /// Where that is possible.
    #[default]
    Preferred,
    /// Always: an instance stays Pending rather than share a node.
    Required,
    /// No rule.
    Disabled,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Labels; those of the operator win.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations; those of the operator win.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Metadata and type of the Services for clients (`NAME-primary` and `NAME-read`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceTemplate {
    /// Labels and annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Type; `ClusterIP` if left out.
    #[serde(rename = "type")]
    pub type_: ServiceType,
}

/// Types of Services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ServiceType {
    /// Reached from inside the cluster.
    #[default]
    ClusterIP,
    /// Reached through a port of every node.
    NodePort,
    /// Reached through the provider's load balancer.
    LoadBalancer,
}

/// User and group that all containers run as.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSecurity {
    /// User id, not 0.
    pub run_as_user: i64,
    /// Group id of the processes and of the volume's files.
    pub fs_group: i64,
}

impl Default for PodSecurity {
    fn default() -> Self {
        PodSecurity { run_as_user: 999, fs_group: 999 }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_copy_tools_image_is_the_one_that_was_asked_for_or_perconas_of_the_servers_series() {
        let digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let table = [
            ("mysql:8.0", Some("percona/percona-xtrabackup:8.0")),
            ("mysql:8.0.42-bookworm", Some("percona/percona-xtrabackup:8.0")),
            ("percona/percona-server:8.4.6-6.1", Some("percona/percona-xtrabackup:8.4")),
            ("mysql:9.7", Some("percona/percona-xtrabackup:9.7")),
            ("mysql:9.10.1", Some("percona/percona-xtrabackup:9.10")),
            ("registry.example:5000/db/mysql:9.7.4-oracle", Some("percona/percona-xtrabackup:9.7")),
            (&format!("mysql:8.4.7{digest}"), Some("percona/percona-xtrabackup:8.4")),
            ("mysql", None),
            ("mysql:latest", None),
            ("mysql:8", None),
            ("mysql:v8.4", None),
            ("mysql:8.x", None),
            ("registry.example:5000/mysql", None),
            (&format!("mysql{digest}"), None),
            (&format!("registry.example:5000/mysql:lts{digest}"), None),
        ];
        for (image, expected) in table {
            let spec = |clone: serde_json::Value| -> MySQLClusterSpec {
                let spec = json!({"image": image, "storage": {"size": "1Gi"}, "clone": clone});
                serde_json::from_value(spec).unwrap()
            };
            let tool = |clone| spec(clone).copy_tool_image();
            assert_eq!(tool(json!({"method": "XtraBackup"})).as_deref(), expected, "{image}");
            let own = json!({"method": "XtraBackup", "image": "tool:1"});
            assert_eq!(tool(own).as_deref(), Some("tool:1"), "{image}");
            assert_eq!(tool(json!({"image": "tool:1"})).as_deref(), Some("tool:1"), "{image}");
            assert_eq!(tool(json!({"method": "Plugin", "image": "tool:1"})), None, "{image}");
            assert_eq!(tool(json!({})), None, "{image}");
            assert_eq!(tool(json!({"method": "Plugin"})), None, "{image}");
        }
    }
}
