//! Everything that can be tuned, read once from flags and environment.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use clap::{Args, Parser, ValueEnum};

/// The Mainstay operator: runs MySQL clusters on Kubernetes.
#[derive(Clone, Debug, Parser)]
#[command(name = "mainstay-controller", version, about)]
pub struct Settings {
    /// Where to look for clusters.
    #[command(flatten)]
    pub scope: ScopeSettings,
    /// Image with the agent's binary at `/mainstay-agent`; pods copy it from there.
    #[arg(long, env = "MAINSTAY_AGENT_IMAGE", value_name = "IMAGE")]
    pub agent_image: String,
    /// Address for `/metrics`, `/healthz` and `/readyz`.
    #[arg(long, env = "MAINSTAY_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Who may act, of several operators.
    #[command(flatten)]
    pub election: ElectionSettings,
    /// How logs are written.
    #[arg(long, env = "MAINSTAY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// How agents are reached.
    #[arg(long, env = "MAINSTAY_DIAL", value_enum, default_value_t = Dial::Auto)]
    pub dial: Dial,
    /// Keys of taints by which nodes are drained: a primary on one of them hands over, as on a node that is cordoned.
    #[arg(
        long,
        env = "MAINSTAY_DRAIN_TAINTS",
        value_name = "KEYS",
        value_delimiter = ',',
        default_value = DRAIN_TAINTS
    )]
    pub drain_taints: Vec<String>,
    /// Most clusters that are worked on at the same time, for each namespace flag.
    #[arg(long, env = "MAINSTAY_CONCURRENCY", default_value = "8", value_name = "N")]
    pub concurrency: NonZeroU16,
}

/// By whom nodes are drained, besides a cordon (which `kubectl drain` begins with, and which is a taint too): Kubernetes'
/// cluster-autoscaler, Karpenter of today and before 1.0, medik8s' node maintenance, AWS' node termination handler, and
/// GKE for instances that Google Cloud takes away.
const DRAIN_TAINTS: &str = "node.kubernetes.io/unschedulable,ToBeDeletedByClusterAutoscaler,karpenter.sh/disrupted,\
karpenter.sh/disruption,medik8s.io/drain,aws-node-termination-handler/spot-itn,\
aws-node-termination-handler/scheduled-maintenance,aws-node-termination-handler/asg-lifecycle-termination,\
cloud.google.com/impending-node-termination";

/// Where to look for clusters.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct ScopeSettings {
    /// Look after the clusters of this namespace; can be given more than once.
    #[arg(long = "namespace", env = "MAINSTAY_NAMESPACES", value_name = "NS", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Look after the clusters of all namespaces.
    #[arg(long)]
    pub all_namespaces: bool,
}

/// Who may act, of several operators.
#[derive(Args, Clone, Debug)]
pub struct ElectionSettings {
    /// Namespace of the Lease; the operator's own if left out, else the first of `--namespace`.
    #[arg(long = "leader-election-namespace", env = "POD_NAMESPACE", value_name = "NS")]
    pub namespace: Option<String>,
    /// Act without a Lease. Only where no other operator can run, as with `cargo run`.
    #[arg(long = "no-leader-election")]
    pub off: bool,
    /// Name by which this operator holds the Lease; made up if left out.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub identity: Option<String>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// How agents are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dial {
    /// Directly in a pod, through the API server elsewhere.
    Auto,
    /// By the pod's address.
    Direct,
    /// Through the API server's port forwarding.
    Forward,
}

impl Settings {
    /// The namespaces to look after; `None` is all of them.
    pub fn scopes(&self) -> Vec<Option<String>> {
        if self.scope.all_namespaces {
            return vec![None];
        }
        let mut namespaces = self.scope.namespaces.clone();
        namespaces.sort();
        namespaces.dedup();
        namespaces.into_iter().map(Some).collect()
    }

    /// Namespace of the Lease.
    pub fn election_namespace(&self) -> String {
        let first = || self.scope.namespaces.first().cloned();
        self.election.namespace.clone().or_else(first).unwrap_or_else(|| "default".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Settings, clap::Error> {
        Settings::try_parse_from([&["mainstay-controller", "--agent-image", "mainstay:1"], args].concat())
    }

    #[test]
    fn each_namespace_is_looked_after_once() {
        let settings = parse(&["--namespace", "b", "--namespace", "a,b"]).unwrap();
        assert_eq!(settings.scopes(), [Some("a".into()), Some("b".into())]);
        assert_eq!(parse(&["--all-namespaces"]).unwrap().scopes(), [None]);
    }

    #[test]
    fn drains_are_known_by_their_taints_unless_others_are_named() {
        let usual = parse(&["--all-namespaces"]).unwrap().drain_taints;
        assert!(usual.contains(&"ToBeDeletedByClusterAutoscaler".to_owned()));
        assert!(usual.contains(&"karpenter.sh/disrupted".to_owned()));
        assert!(usual.iter().all(|key| !key.contains(char::is_whitespace)), "{usual:?}");
        let own = parse(&["--all-namespaces", "--drain-taints=a,b/c"]).unwrap().drain_taints;
        assert_eq!(own, ["a", "b/c"]);
    }

    #[test]
    fn where_to_look_must_be_said_and_not_twice() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["--all-namespaces", "--namespace", "a"]).is_err());
    }
}
