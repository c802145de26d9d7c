//! Which agent is meant.

use std::net::IpAddr;

use mainstay_crd::names::Names;
use mainstay_proto::{Identity, pod};

use super::AgentError;
use crate::watch::{ClusterKey, Pod};

/// The agent of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) cluster: ClusterKey,
    pub(crate) ordinal: u32,
    pub(crate) pod: String,
    pub(crate) uid: String,
    pub(crate) ip: IpAddr,
}

impl Target {
    /// The agent of `pod`; none if the pod is not an instance's, has no address or has ended.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let meta = &pod.metadata;
        let cluster = ClusterKey::of_child(meta)?;
        let name = meta.name.clone()?;
        let ordinal = Names::new(&cluster.namespace, &cluster.name).ordinal_of_pod(&name)?;
        if matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return None;
        }
        Some(Target {
            ordinal,
            pod: name,
            uid: meta.uid.clone()?,
            ip: pod.status.pod_ip.as_ref()?.parse().ok()?,
            cluster,
        })
    }

    /// The name that the agent's certificate must cover. Never the address: siblings take over each other's.
    pub(crate) fn host(&self) -> String {
        pod::host(&self.cluster.namespace, &self.cluster.name, self.ordinal)
    }

    /// Whether it is this agent that speaks: a certificate covers all of a cluster's instances, and an address may
    /// have gone to a sibling since it was read.
    ///
    /// # Errors
    /// [`AgentError::Stranger`] with what differs.
    pub(crate) fn check(&self, identity: &Identity) -> Result<(), AgentError> {
        let differs = |what, ours: &str, theirs: &str| {
            Err(AgentError::Stranger { what, ours: ours.to_owned(), theirs: theirs.to_owned() })
        };
        if identity.pod_uid != self.uid {
            return differs("pod UID", &self.uid, &identity.pod_uid);
        }
        if identity.ordinal != self.ordinal {
            return differs("ordinal", &self.ordinal.to_string(), &identity.ordinal.to_string());
        }
        let (ours, theirs) = (&self.cluster, ClusterKey::named(&identity.namespace, &identity.cluster));
        if *ours != theirs {
            return differs("cluster", &ours.to_string(), &theirs.to_string());
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn target(ip: IpAddr) -> Target {
        Target {
            cluster: ClusterKey::named("db", "shop"),
            ordinal: 1,
            pod: "shop-1".into(),
            uid: "uid-1".into(),
            ip,
        }
    }

    fn pod(phase: &str, ip: Option<&str>) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some("db".into());
        pod.metadata.name = Some("shop-1".into());
        pod.metadata.uid = Some("uid-1".into());
        pod.metadata.labels = Some([(mainstay_crd::names::LABEL_CLUSTER.into(), "shop".into())].into());
        pod.status.phase = Some(phase.into());
        pod.status.pod_ip = ip.map(Into::into);
        pod
    }

    #[test]
    fn an_agent_is_followed_from_its_address_on_until_its_pod_has_ended() {
        assert_eq!(Target::of(&pod("Pending", None)), None);
        assert_eq!(Target::of(&pod("Failed", Some("10.0.0.7"))), None);
        assert_eq!(Target::of(&pod("Pending", Some("10.0.0.7"))), Some(target([10, 0, 0, 7].into())));
    }

    #[test]
    fn a_sibling_at_the_same_address_is_a_stranger() {
        let ours = Identity {
            pod_uid: "uid-1".into(),
            ordinal: 1,
            namespace: "db".into(),
            cluster: "shop".into(),
            ..Identity::default()
        };
        let target = target([10, 0, 0, 7].into());
        assert!(target.check(&ours).is_ok());
        let strangers = [
            Identity { pod_uid: "uid-0".into(), ..ours.clone() },
            Identity { ordinal: 0, ..ours.clone() },
            Identity { cluster: "other".into(), ..ours },
        ];
        for stranger in strangers {
            assert!(matches!(target.check(&stranger), Err(AgentError::Stranger { .. })), "{stranger:?}");
        }
    }
}
