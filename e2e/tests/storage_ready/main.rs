//! Why an instance has no volume, or can't mount the one that it has: each reason of the condition `StorageReady`, on a
//! real control plane. Every case says what it must name, and goes away once it is mended.

mod bound;
mod disks;
mod pending;
mod silent;
mod used;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::{BoxFuture, join_all};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Resource;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use mainstay_crd::MySQLClusterStatus;
use mainstay_crd::conditions::{ConditionType, Reason};
use mainstay_e2e::database::Database;
use mainstay_e2e::faults::Nodes;
use mainstay_e2e::scope::{self, Failed, Scope};
use mainstay_e2e::static_volumes::{Place, StaticVolumes};
use mainstay_e2e::{note, wait};
use serde_json::{Value, json};

/// An image that nobody has: the volumes are bound and mounted, and no server is started.
const ABSENT: &str = "localhost:1/absent:9.7";
/// Rows that are written where a server runs.
const ROWS: u32 = 1000;

/// Importance 1: each reason names the thing and what to do, and goes away once that is done.
#[tokio::test]
async fn reasons_of_volumes() -> Result<(), Failed> {
    scope::run("reasons_of_volumes", wait::LONG * 3, async |scope| {
        let Some(bench) = Bench::of(scope).await? else { return Ok(()) };
        bench.all(pending::cases().into_iter().chain(bound::cases())).await
    })
    .await
}

/// Importance 1: the same of volumes that hold data, which is all there afterwards.
#[tokio::test]
async fn reasons_of_volumes_with_data() -> Result<(), Failed> {
    scope::run("reasons_with_data", wait::LONG * 3, async |scope| {
        let Some(bench) = Bench::of(scope).await? else { return Ok(()) };
        bench.all(used::cases()).await
    })
    .await
}

/// Importance 1: the same of disks that are attached to one node at a time, and have a size.
#[tokio::test]
async fn reasons_of_disks() -> Result<(), Failed> {
    scope::run("reasons_of_disks", wait::LONG * 4, async |scope| {
        let Some(bench) = Bench::of(scope).await? else { return Ok(()) };
        if !scope.env.addon("csi").await? {
            return Ok(());
        }
        bench.all(disks::cases()).await
    })
    .await
}

/// Importance 1: a node that stalls is suspected before Kubernetes calls it lost; nothing is done to what runs on it,
/// and once it is back nothing is wrong.
#[tokio::test]
async fn reasons_of_a_silent_node() -> Result<(), Failed> {
    scope::run("reasons_of_a_silent_node", wait::LONG * 4, async |scope| {
        let Some(bench) = Bench::of(scope).await? else { return Ok(()) };
        let Some(nodes) = Nodes::of(&scope.env) else { return Ok(()) };
        if !scope.env.addon("csi").await? {
            return Ok(());
        }
        silent::play(&bench, nodes).await
    })
    .await
}

/// What the cases work with.
struct Bench<'a> {
    scope: &'a Scope,
    volumes: StaticVolumes<'a>,
    /// A node that directories are made through.
    node: String,
    /// A directory on all nodes, for volumes that nothing is written to.
    void: String,
}

/// A case: its name, which is its cluster's, and what happens in it.
type Case = (&'static str, for<'b> fn(&'b Patient<'b>) -> BoxFuture<'b, Result<Vec<Row>>>);

/// What was said in a case.
struct Row {
    reason: Reason,
    message: String,
    told: Duration,
}

/// The cluster of a case.
struct Patient<'b> {
    bench: &'b Bench<'b>,
    database: Database<'b>,
    name: &'static str,
}

impl<'a> Bench<'a> {
    async fn of(scope: &'a Scope) -> Result<Option<Bench<'a>>> {
        let Some(volumes) = StaticVolumes::of(scope) else { return Ok(None) };
        let node = volumes.workers().await?.into_iter().next().context("a cluster without workers")?;
        let void = volumes.directory(Place::Network, &node, "void")?;
        Ok(Some(Bench { scope, volumes, node, void }))
    }

    /// Plays all cases at once, and shows what was said.
    async fn all(&self, cases: impl IntoIterator<Item = Case>) -> Result<()> {
        let play = async |(name, play): Case| {
            let patient = Patient { bench: self, database: self.scope.database(name), name };
            (name, play(&patient).await)
        };
        let outcomes = join_all(cases.into_iter().map(play)).await;
        let mut wrong = Vec::new();
        for (name, outcome) in outcomes {
            match outcome {
                Ok(rows) => rows.iter().for_each(|row| row.show(name)),
                Err(error) => wrong.push(format!("{name}: {error:#}")),
            }
        }
        ensure!(wrong.is_empty(), "{} cases went wrong:\n{}", wrong.len(), wrong.join("\n"));
        Ok(())
    }
}

impl Row {
    fn show(&self, name: &str) {
        let (reason, told) = (self.reason.as_str(), self.told.as_secs_f64());
        note!("{name:<12} {reason:<18} {told:>5.1} s  {}", self.message);
    }
}

impl Patient<'_> {
    /// What something of this name is called, which belongs to no namespace.
    fn called(&self, what: &str) -> String {
        self.bench.volumes.name(&self.own(what))
    }

    fn own(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    /// A class of volumes that people make, with this binding mode.
    async fn class(&self, what: &str, binding: &str) -> Result<String> {
        let class = json!({
            "metadata": {"name": self.own(what)},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": binding,
        });
        self.bench.volumes.class(serde_json::from_value(class)?).await?;
        Ok(self.called(what))
    }

    /// A volume of 1Gi and a class of this case, but for what `spec` says.
    async fn volume(&self, what: &str, class: &str, spec: Value) -> Result<String> {
        let mut volume = json!({
            "metadata": {"name": self.own(what)},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": self.own(class),
                "hostPath": {"path": self.bench.void, "type": "Directory"},
            },
        });
        for (key, value) in spec.as_object().into_iter().flatten() {
            volume["spec"][key] = value.clone();
        }
        self.bench.volumes.volume(serde_json::from_value(volume)?).await?;
        Ok(self.called(what))
    }

    /// The cluster, of one instance whose server never starts.
    async fn apply(&self, storage: Value) -> Result<()> {
        let mut spec = json!({"image": ABSENT, "storage": {"size": "1Gi"}});
        for (key, value) in storage.as_object().into_iter().flatten() {
            spec["storage"][key] = value.clone();
        }
        self.database.create(1, spec).await.map(drop)
    }

    /// Waits until the condition gives this reason and has all of these words.
    async fn told(&self, reason: Reason, words: &[&str]) -> Result<Row> {
        let began = Instant::now();
        let mut message = String::new();
        let what = format!("StorageReady of {} to say {} with {words:?}", self.name, reason.as_str());
        self.database
            .until(&what, wait::LONG, |status| {
                let Some((ready, given, text)) = condition(status) else { return false };
                let found =
                    !ready && given == reason.as_str() && words.iter().all(|word| text.contains(word));
                text.clone_into(&mut message);
                found
            })
            .await?;
        Ok(Row { reason, message, told: began.elapsed() })
    }

    /// Waits until nothing is wrong.
    async fn mended(&self) -> Result<()> {
        let what = format!("StorageReady of {} to be True", self.name);
        self.database
            .until(&what, wait::LONG, |status| condition(status).is_some_and(|(ready, ..)| ready))
            .await
            .map(drop)
    }

    /// Changes a volume of this case.
    async fn change(&self, volume: &str, change: Value) -> Result<()> {
        let volumes: Api<PersistentVolume> = Api::all(self.bench.scope.client());
        volumes.patch(volume, &PatchParams::default(), &Patch::Merge(change)).await?;
        Ok(())
    }

    /// Deletes an object of the namespace, and does not wait for its end.
    async fn delete<K>(&self, name: &str) -> Result<()>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope> + Clone + std::fmt::Debug,
        K: serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        self.bench.scope.api::<K>().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    fn claim(&self) -> String {
        self.database.names.claim(0)
    }

    fn pod(&self) -> String {
        self.database.names.pod(0)
    }
}

fn condition(status: &MySQLClusterStatus) -> Option<(bool, &str, &str)> {
    let condition = status.conditions.iter().find(|c| c.type_ == ConditionType::StorageReady.as_str())?;
    Some((condition.status == "True", &condition.reason, &condition.message))
}
