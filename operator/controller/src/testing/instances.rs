//! What a StatefulSet and kubelets do, on the API server in memory, and the agents in the pods.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::controller::Action;
use mainstay_crd::names::LABEL_CLUSTER;
use mainstay_proto::{Identity, pod};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{FakeAgent, Rig, obedient};
use crate::agents::Target;
use crate::watch::ClusterKey;

/// Longest time, by a clock that stands still while there is work, until something calls for a look.
const QUIET: Duration = Duration::from_secs(120);

impl Rig {
    /// Looks at the cluster whenever something calls for it, until `done`. Returns how many looks that took.
    pub(crate) async fn work(&mut self, mut done: impl FnMut(&Rig) -> bool) -> u32 {
        for look in 1..500 {
            let next = self.reconcile().await.unwrap();
            self.start_pods();
            if done(self) {
                return look;
            }
            if next != Action::requeue(Duration::ZERO) && !done(self) {
                // Without a call it is looked at all the same.
                let _ = timeout(QUIET, self.calls.next()).await;
            }
        }
        panic!("it does not come to that: {}", self.status());
    }

    /// The agent of an instance that has a pod.
    pub(crate) fn agent(&self, ordinal: u32) -> &FakeAgent {
        &self.instances[&ordinal]
    }

    /// Makes the pods that the StatefulSet asks for, with their claims.
    fn start_pods(&mut self) {
        let Some(set) = self.api.list("statefulsets").into_iter().next() else { return };
        let wanted = set["spec"]["replicas"].as_u64().unwrap();
        for ordinal in 0..u32::try_from(wanted).unwrap() {
            if !self.instances.contains_key(&ordinal) {
                self.start_pod(&set, ordinal);
            }
        }
    }

    fn start_pod(&mut self, set: &Value, ordinal: u32) {
        let (name, ip) = (format!("shop-{ordinal}"), Ipv4Addr::new(10, 0, 0, u8::try_from(ordinal).unwrap()));
        let labels = json!({LABEL_CLUSTER: "shop"});
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": format!("data-{name}"), "namespace": "db", "labels": labels},
            "spec": {"volumeName": format!("pv-{ordinal}"), "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
        self.api.put(&format!("/api/v1/namespaces/db/persistentvolumeclaims/data-{name}"), claim);
        let running = |name: &str| json!({"name": name, "state": {"running": {}}});
        let condition = |type_: &str| json!({"type": type_, "status": "True"});
        let path = format!("/api/v1/namespaces/db/pods/{name}");
        let object = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "db", "labels": labels,
                "annotations": set["spec"]["template"]["metadata"]["annotations"]},
            "spec": {"nodeName": format!("node-{ordinal}")},
            "status": {"phase": "Running", "podIP": ip.to_string(),
                "conditions": [condition("Initialized"), condition("Ready")],
                "containerStatuses": [running(pod::CONTAINER_MYSQL)]}});
        self.api.put(&path, object);
        let uid = self.api.get(&path).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
        let identity = Identity {
            namespace: "db".into(),
            cluster: "shop".into(),
            cluster_id: self.status()["clusterId"].as_str().unwrap().into(),
            ordinal,
            pod_name: name.clone(),
            pod_uid: uid.clone(),
            ..Identity::default()
        };
        let ip = IpAddr::from(ip);
        let agent = self.net.host(ip, self.keys(), obedient::empty(identity));
        self.instances.insert(ordinal, agent);
        let cluster = ClusterKey::named("db", "shop");
        let target = Target { cluster, ordinal, pod: name, uid, ip };
        self.context.agents.follow(target, self.trigger.clone());
    }

    /// What the instances' Secret says.
    fn keys(&self) -> ServerConfig {
        let secret = self.api.get("/api/v1/namespaces/db/secrets/shop-tls").unwrap();
        let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret).unwrap();
        let data = secret.data.unwrap();
        let part = |key: &str| data[key].0.as_slice();
        let certificates = |key: &str| CertificateDer::pem_slice_iter(part(key)).map(Result::unwrap);
        let mut roots = RootCertStore::empty();
        certificates("ca.crt").for_each(|root| roots.add(root).unwrap());
        let verifier = WebPkiClientVerifier::builder(roots.into()).build().unwrap();
        let key = PrivateKeyDer::from_pem_slice(part("tls.key")).unwrap();
        let config = ServerConfig::builder().with_client_cert_verifier(verifier);
        config.with_single_cert(certificates("tls.crt").collect(), key).unwrap()
    }
}
