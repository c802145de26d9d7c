//! A `MySQLCluster` under test.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_crd::names::{ANNOTATION_SWITCHOVER_TO, LABEL_CLUSTER, Names};
use mainstay_crd::{MySQLCluster, MySQLClusterStatus};
use serde_json::{Value, json};

use crate::namespace::Scope;
use crate::place::root;
use crate::sql::{Login, Sql};
use crate::told::{condition, instance, is_healthy, is_ready, ordinal};
use crate::wait;

/// A `MySQLCluster` under test. It need not exist.
pub struct Database<'a> {
    /// Where it is.
    pub scope: &'a Scope,
    /// Its name and those of its children.
    pub names: Names,
}

/// The server's image: MAINSTAY_MYSQL_IMAGE, or `mysql:9.7`.
pub fn image() -> String {
    std::env::var("MAINSTAY_MYSQL_IMAGE").unwrap_or_else(|_| "mysql:9.7".into())
}

impl Scope {
    /// The cluster `name` in this namespace.
    pub fn database(&self, name: &str) -> Database<'_> {
        Database { scope: self, names: Names::new(&self.namespace, name) }
    }
}

impl<'a> Database<'a> {
    /// Creates it, small and on network storage; `spec` is merged into that.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn create(&self, replicas: i32, spec: Value) -> Result<MySQLCluster> {
        let mut manifest = json!({
            "apiVersion": "mysql.mainstay.dev/v1alpha1",
            "kind": "MySQLCluster",
            "metadata": {"name": self.names.cluster},
            "spec": {
                "replicas": replicas,
                "image": image(),
                "imagePullPolicy": "IfNotPresent",
                "storage": {"size": "2Gi"},
                "resources": {
                    "requests": {"cpu": "50m", "memory": "512Mi"},
                    "limits": {"memory": "512Mi"},
                },
            },
        });
        if self.scope.env.local {
            manifest["spec"]["storage"]["class"] = json!("network");
        }
        merge(&mut manifest["spec"], spec);
        let cluster: MySQLCluster = serde_json::from_value(manifest).context("the test's own manifest")?;
        let created = self.api().create(&PostParams::default(), &cluster).await?;
        note!("applied {} with {replicas} instances", self.names.cluster);
        Ok(created)
    }

    /// Creates it as `examples/FILE` says, on the cluster's default storage class.
    ///
    /// # Errors
    /// If there is no such example, or the API server refuses it.
    pub async fn create_example(&self, file: &str) -> Result<MySQLCluster> {
        let path = root().join("examples").join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut cluster: MySQLCluster = serde_norway::from_str(&text)?;
        cluster.metadata.name = Some(self.names.cluster.clone());
        cluster.spec.image = image();
        note!("applying {file} as {}", self.names.cluster);
        Ok(self.api().create(&PostParams::default(), &cluster).await?)
    }

    /// Creates it and waits until it is Healthy.
    ///
    /// # Errors
    /// If it does not become Healthy.
    pub async fn start(&self, replicas: i32) -> Result<MySQLCluster> {
        self.create(replicas, json!({})).await?;
        self.healthy(replicas, wait::LONG).await
    }

    /// Its API.
    pub fn api(&self) -> Api<MySQLCluster> {
        self.scope.api()
    }

    /// It, as it is now.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn get(&self) -> Result<MySQLCluster> {
        Ok(self.api().get(&self.names.cluster).await?)
    }

    /// Its status as it is now; empty if there is none yet.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn status(&self) -> Result<MySQLClusterStatus> {
        Ok(self.get().await?.status.unwrap_or_default())
    }

    /// Merges `spec` into its spec.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn patch(&self, spec: Value) -> Result<MySQLCluster> {
        let patch = Patch::Merge(json!({"spec": spec}));
        Ok(self.api().patch(&self.names.cluster, &PatchParams::default(), &patch).await?)
    }

    /// Asks for this many instances, as `kubectl scale` does, and waits until they are Healthy and the others gone.
    ///
    /// # Errors
    /// If that does not come.
    pub async fn scale(&self, replicas: i32) -> Result<()> {
        self.ask_for(replicas).await?;
        let what = format!("{replicas} instances to be Healthy and the others to be gone");
        self.until(&what, wait::LONG, |s| is_healthy(s, replicas) && s.replicas == replicas).await?;
        note!("{replicas} instances");
        Ok(())
    }

    /// Asks for this many instances, as `kubectl scale` does.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn ask_for(&self, replicas: i32) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.api().patch_scale(&self.names.cluster, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// As [`Self::led_by`], and waits until all are Healthy.
    ///
    /// # Errors
    /// If that does not come.
    pub async fn hand_over_to(&self, ordinal: u32) -> Result<()> {
        let replicas = self.get().await?.spec.replicas;
        self.led_by(ordinal).await?;
        self.healthy(replicas, wait::LONG).await.map(drop)
    }

    /// Asks for this instance to lead, waits until it does, and takes the request back, so that the same can be asked for
    /// again.
    ///
    /// # Errors
    /// If that does not come.
    pub async fn led_by(&self, ordinal: u32) -> Result<()> {
        let pod = self.names.pod(ordinal);
        let ask = async |whom: Option<&str>| {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION_SWITCHOVER_TO: whom}}}));
            self.api().patch(&self.names.cluster, &PatchParams::default(), &patch).await
        };
        let answer = |status: &MySQLClusterStatus| {
            status.replication.as_ref().and_then(|record| record.answered_request.clone())
        };
        ask(Some(&pod)).await?;
        let leads = |s: &MySQLClusterStatus| {
            s.primary.as_ref() == Some(&pod)
                && answer(s).as_ref() == Some(&pod)
                && instance(s, ordinal).is_some_and(|i| i.ready)
        };
        self.until(&format!("{pod} to lead"), wait::LONG, leads).await?;
        ask(None).await?;
        self.until("the request to be forgotten", wait::SHORT, |s| answer(s).is_none()).await.map(drop)
    }

    /// Deletes it and waits until it and its pods are gone.
    ///
    /// # Errors
    /// If they stay.
    pub async fn delete(&self) -> Result<()> {
        self.api().delete(&self.names.cluster, &DeleteParams::default()).await?;
        wait::gone(&self.api(), &self.names.cluster, None, wait::LONG).await?;
        wait::poll("the pods of a deleted cluster to be gone", wait::LONG, || async {
            Ok(self.pods().await?.is_empty().then_some(()))
        })
        .await
    }

    /// Waits until its status speaks of its present spec and `met` holds for it.
    ///
    /// # Errors
    /// After `limit`.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        mut met: impl FnMut(&MySQLClusterStatus) -> bool,
    ) -> Result<MySQLCluster> {
        wait::object(&self.api(), &self.names.cluster, what, limit, |cluster| {
            cluster.status.as_ref().is_some_and(|status| {
                status.observed_generation == cluster.metadata.generation && met(status)
            })
        })
        .await
    }

    /// Waits until it is Healthy with this many instances, each of them Ready.
    ///
    /// # Errors
    /// After `limit`.
    pub async fn healthy(&self, replicas: i32, limit: Duration) -> Result<MySQLCluster> {
        let what = format!("{} to be Healthy with {replicas} instances", self.names.cluster);
        let healthy = self.until(&what, limit, |status| is_healthy(status, replicas)).await?;
        note!("{} is Healthy", self.names.cluster);
        Ok(healthy)
    }

    /// Waits until a condition gives this reason, says which words, and returns them.
    ///
    /// # Errors
    /// After `limit`.
    pub async fn told(&self, type_: ConditionType, reason: Reason, limit: Duration) -> Result<String> {
        let what = format!("{} to be {}", type_.as_str(), reason.as_str());
        let gives = |condition: &Condition| condition.reason == reason.as_str();
        let told =
            self.until(&what, limit, |status| condition(status, type_).is_some_and(gives)).await?.status;
        let message = told.as_ref().and_then(|status| condition(status, type_)).map(|c| c.message.clone());
        let message = message.context("a condition without a message")?;
        note!("{} is {}: {message}", type_.as_str(), reason.as_str());
        Ok(message)
    }

    /// Its instances' pods, by ordinal.
    ///
    /// # Errors
    /// If they can't be listed.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let labels = format!("{LABEL_CLUSTER}={}", self.names.cluster);
        let mut pods = self.scope.api::<Pod>().list(&ListParams::default().labels(&labels)).await?.items;
        pods.retain(|pod| self.names.ordinal_of_pod(&pod.name_any()).is_some());
        pods.sort_by_key(|pod| self.names.ordinal_of_pod(&pod.name_any()));
        Ok(pods)
    }

    /// The pod of an ordinal.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn pod(&self, ordinal: u32) -> Result<Pod> {
        Ok(self.scope.api::<Pod>().get(&self.names.pod(ordinal)).await?)
    }

    /// The node of an ordinal's pod.
    ///
    /// # Errors
    /// If the pod does not exist or is not scheduled.
    pub async fn node(&self, ordinal: u32) -> Result<String> {
        let pod = self.pod(ordinal).await?;
        pod.spec.and_then(|spec| spec.node_name).context("not scheduled")
    }

    /// Waits until the pod of an ordinal is another one than that with this UID, and Ready.
    ///
    /// # Errors
    /// After `limit`.
    pub async fn replaced(&self, ordinal: u32, uid: &str, limit: Duration) -> Result<Pod> {
        let name = self.names.pod(ordinal);
        let what = format!("{name} to be replaced and Ready");
        wait::object(&self.scope.api(), &name, &what, limit, |pod: &Pod| {
            pod.metadata.uid.as_deref() != Some(uid) && is_ready(pod)
        })
        .await
    }

    /// Deletes the pod of an ordinal and waits until the next one is Ready and the cluster is Healthy again.
    ///
    /// # Errors
    /// If that does not come.
    pub async fn restart(&self, ordinal: u32, replicas: i32) -> Result<()> {
        let pod = self.pod(ordinal).await?;
        note!("deleting {}", pod.name_any());
        self.scope.api::<Pod>().delete(&pod.name_any(), &DeleteParams::default()).await?;
        self.replaced(ordinal, &pod.uid().unwrap_or_default(), wait::LONG).await?;
        self.healthy(replicas, wait::LONG).await?;
        Ok(())
    }

    /// The claim of an ordinal.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn claim(&self, ordinal: u32) -> Result<PersistentVolumeClaim> {
        Ok(self.scope.api::<PersistentVolumeClaim>().get(&self.names.claim(ordinal)).await?)
    }

    /// Ordinals of the instances that its status calls Ready.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn ready(&self) -> Result<Vec<u32>> {
        let instances = self.status().await?.instances;
        Ok(instances.iter().filter(|instance| instance.ready).map(ordinal).collect())
    }

    /// Ordinal of the instance that its status calls the primary.
    ///
    /// # Errors
    /// If there is none.
    pub async fn primary(&self) -> Result<u32> {
        let name = self.status().await?.primary.context("status names no primary")?;
        self.names.ordinal_of_pod(&name).with_context(|| format!("status.primary is {name}"))
    }

    /// Root's login, from its Secrets as they are now.
    ///
    /// # Errors
    /// If there are none.
    pub async fn login(&self) -> Result<Login> {
        let names = &self.names;
        Login::root(&self.scope.api(), &names.credentials_secret(), &names.tls_secret()).await
    }

    /// A connection to an instance as root.
    ///
    /// # Errors
    /// If it can't be reached.
    pub async fn sql(&self, ordinal: u32) -> Result<Sql> {
        Sql::connect(self.scope.api(), &self.names.pod(ordinal), &self.login().await?).await
    }

    /// A connection to an instance behind a Service, as root.
    ///
    /// # Errors
    /// If the Service has no ready endpoint, or it can't be reached.
    pub async fn sql_through(&self, service: &str) -> Result<Sql> {
        let what = format!("a ready endpoint of Service {service}");
        let endpoints = wait::poll(&what, wait::SHORT, || async {
            let endpoints = self.endpoints(service).await?;
            Ok((!endpoints.is_empty()).then_some(endpoints))
        })
        .await?;
        Sql::connect(self.scope.api(), &endpoints[0], &self.login().await?).await
    }

    /// The pods that a Service leads to, in order.
    ///
    /// # Errors
    /// If its EndpointSlices can't be listed.
    pub async fn endpoints(&self, service: &str) -> Result<Vec<String>> {
        let labels = format!("kubernetes.io/service-name={service}");
        let slices = self.scope.api::<EndpointSlice>().list(&ListParams::default().labels(&labels)).await?;
        let mut pods: Vec<String> = slices
            .items
            .into_iter()
            .flat_map(|slice| slice.endpoints)
            .filter(|endpoint| {
                endpoint.conditions.as_ref().is_some_and(|conditions| conditions.ready == Some(true))
            })
            .filter_map(|endpoint| endpoint.target_ref?.name)
            .collect();
        pods.sort();
        pods.dedup();
        Ok(pods)
    }
}

/// Merges as RFC 7386 says, but for `null`, which no caller has.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
