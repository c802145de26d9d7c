//! Moments of an operation at which the operator is killed: named, seen by watches that miss nothing, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use futures::stream::select;
use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use mainstay_crd::names::ANNOTATION_GTID_SET;
use mainstay_crd::{InstanceState, MySQLCluster, MySQLClusterStatus, OperationKind, ReplicationRecord};

use crate::database::Database;
use crate::operator;
use crate::told::{instance, is_healthy};

/// A moment: its name, and how it is known.
pub type Moment = (&'static str, fn(&Seen) -> bool);

/// What can be seen of a cluster from outside.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Instances that are asked for.
    pub wanted: i32,
    /// The cluster's status.
    pub status: MySQLClusterStatus,
    /// Whether the status speaks of the present spec.
    current: bool,
    /// The claims of its instances, by ordinal, once all of them were told.
    claims: BTreeMap<u32, PersistentVolumeClaim>,
    claims_are_known: bool,
}

impl Seen {
    /// The record.
    pub fn record(&self) -> ReplicationRecord {
        self.status.replication.clone().unwrap_or_default()
    }

    /// Whether a copy for this instance is announced.
    pub fn clone_announced(&self, ordinal: i32) -> bool {
        let announced = self.record().operations;
        announced.iter().any(|o| o.kind == OperationKind::Clone && o.ordinal == ordinal)
    }

    /// Whether an instance is in status and is as `is` says.
    pub fn instance(&self, ordinal: u32, is: impl Fn(InstanceState) -> bool) -> bool {
        instance(&self.status, ordinal).is_some_and(|instance| is(instance.state))
    }

    /// Whether a claim says what it holds, since its instance leaves.
    pub fn noted(&self, ordinal: u32) -> bool {
        self.claims.get(&ordinal).is_some_and(|claim| claim.annotations().contains_key(ANNOTATION_GTID_SET))
    }

    /// Whether there is a claim of this ordinal that is not being deleted.
    pub fn claimed(&self, ordinal: u32) -> bool {
        self.claims.get(&ordinal).is_some_and(|claim| claim.metadata.deletion_timestamp.is_none())
    }

    fn is_over(&self) -> bool {
        let replicas = self.wanted;
        self.current && is_healthy(&self.status, replicas) && self.status.replicas == replicas
    }

    fn take(&mut self, news: News, database: &Database<'_>) {
        match news {
            News::Cluster(cluster) => {
                let status = cluster.status.unwrap_or_default();
                self.wanted = cluster.spec.replicas;
                self.current = status.observed_generation == cluster.metadata.generation;
                self.status = status;
            }
            News::AllClaims => self.claims_are_known = true,
            News::Claim(claim, gone) => {
                let Some(ordinal) = database.names.ordinal_of_claim(&claim.name_any()) else { return };
                match gone {
                    true => self.claims.remove(&ordinal),
                    false => self.claims.insert(ordinal, *claim),
                };
            }
        }
    }
}

/// The moments that are still to come.
pub struct Moments {
    left: Vec<Moment>,
    /// How often the operator was killed.
    pub kills: usize,
}

impl Moments {
    /// All of them.
    pub fn new(all: &[Moment]) -> Moments {
        Moments { left: all.to_vec(), kills: 0 }
    }

    /// Whether there was a kill at each.
    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// Says at which moments there was no kill.
    ///
    /// # Errors
    /// If there are any.
    pub fn done(&self) -> Result<()> {
        let left: Vec<&str> = self.left.iter().map(|(name, _)| *name).collect();
        ensure!(left.is_empty(), "the operator was never killed when {}", left.join(", nor when "));
        Ok(())
    }

    /// Asks for this many instances, kills the operator at each moment that is still to come, and waits until all of
    /// the others are Healthy and nothing is left over in the record.
    ///
    /// # Errors
    /// After `limit`.
    pub async fn scale(&mut self, database: &Database<'_>, replicas: i32, limit: Duration) -> Result<()> {
        let (mut seen, mut told) = (Seen::default(), BTreeSet::new());
        let mut news = Box::pin(news(database));
        database.ask_for(replicas).await?;
        let watching = async {
            while let Some(next) = news.next().await {
                seen.take(next, database);
                // What has come while the operator was being killed is over: a moment is one only while it lasts.
                while let Some(Some(next)) = news.next().now_or_never() {
                    seen.take(next, database);
                }
                if seen.wanted != replicas || !seen.claims_are_known {
                    continue;
                }
                told.extend(seen.status.conditions.iter().map(|c| c.message.clone()));
                if let Some(at) = self.left.iter().position(|(_, is)| is(&seen)) {
                    let (name, _) = self.left.remove(at);
                    self.kills += operator::kill(&database.scope.env).await?;
                    note!("killed the operator: {name}");
                } else if seen.is_over() {
                    return Ok(());
                }
            }
            bail!("the watch ended")
        };
        match tokio::time::timeout(limit, watching).await {
            Ok(outcome) => outcome?,
            Err(_) => bail!("not {replicas} instances after {} s; said was {told:#?}", limit.as_secs()),
        }
        let record = seen.record();
        ensure!(record.operations.is_empty() && record.target.is_none(), "left over: {record:?}");
        Ok(())
    }
}

enum News {
    Cluster(Box<MySQLCluster>),
    /// One, and whether it is gone.
    Claim(Box<PersistentVolumeClaim>, bool),
    /// All that there were at the beginning are told.
    AllClaims,
}

/// What happens to the cluster and its claims, in the order in which each is told.
fn news(database: &Database<'_>) -> impl Stream<Item = News> + use<> {
    let only = Config::default().fields(&format!("metadata.name={}", database.names.cluster));
    let clusters = watcher(database.api(), only).default_backoff().filter_map(async |event| match event {
        Ok(Event::Apply(cluster) | Event::InitApply(cluster)) => Some(News::Cluster(Box::new(cluster))),
        _ => None,
    });
    let claims = watcher(database.scope.api::<PersistentVolumeClaim>(), Config::default()).default_backoff();
    let claims = claims.filter_map(async |event| match event {
        Ok(Event::Apply(claim) | Event::InitApply(claim)) => Some(News::Claim(Box::new(claim), false)),
        Ok(Event::InitDone) => Some(News::AllClaims),
        Ok(Event::Delete(claim)) => Some(News::Claim(Box::new(claim), true)),
        _ => None,
    });
    select(Box::pin(clusters), Box::pin(claims))
}
