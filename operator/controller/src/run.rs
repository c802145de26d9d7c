//! Starts everything, and ends it in order.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::try_join_all;
use kube::Client;
use kube::runtime::controller::{Config, Controller};
use kube::runtime::watcher;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::agents::{Agents, Dialer, Trust};
use crate::anew::NoLongerLeads;
use crate::cluster_scope::{ClusterScope, Leases, ObjectEvents};
use crate::context::{Context, Scope};
use crate::election::{Election, identity};
use crate::events::Events;
use crate::memory::Memory;
use crate::reconcile::{Reconciler, after_error, reconcile};
use crate::settings::Settings;
use crate::telemetry::{Health, Metrics, serve, start_logs};
use crate::watch::{Guarded, Trigger};
use crate::watches::Watches;
use crate::{anew, client};

/// How long the start waits for volumes and nodes to be read.
const CLUSTER_SCOPE_READ: Duration = Duration::from_secs(30);
/// How long running reconciliations may take to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// If it can't start. Once the Lease is lost another acts: then the process is replaced by itself, and stands by.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    start_logs(settings.log_format)?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider was installed before"))?;
    let config = client::config().await?;
    let client = client::client(&config)?;
    let (metrics, health) = (Arc::new(Metrics::new()), Arc::new(Health::default()));
    let stop = CancellationToken::new();
    let pages = serve(settings.listen, metrics.clone(), health.clone(), stop.child_token());
    let identity = identity(settings.election.identity.as_deref())?;
    let context = Arc::new(context(client.clone(), settings.clone(), metrics, &identity));
    let mut election = match settings.election.off {
        true => None,
        // By connections of its own, so that renewing the Lease waits for nothing else.
        false => {
            Some(Election::new(client::client(&config)?, &settings.election_namespace(), identity.clone()))
        }
    };
    info!(version = env!("CARGO_PKG_VERSION"), identity, "starting");
    let outcome = tokio::select! {
        outcome = lead(context.clone(), &health, election.as_mut(), &stop) => outcome,
        outcome = pages => outcome.and_then(|()| Err(anyhow::anyhow!("the HTTP server ended"))),
    };
    // Before another may begin.
    context.agents.close();
    if let Some(election) = &mut election {
        match tokio::time::timeout(PATIENCE, election.release()).await {
            Ok(Ok(())) => info!("Lease released"),
            Ok(Err(error)) => warn!(error = %error, "the Lease was not released"),
            Err(_) => warn!("the Lease was not released in time"),
        }
    }
    if anew::is_due(&outcome) {
        if let Err(error) = &outcome {
            warn!(error = format!("{error:#}"), "standing by again");
        }
        return Err(anew::begin());
    }
    outcome
}

fn context(client: Client, settings: Settings, metrics: Arc<Metrics>, identity: &str) -> Context {
    let dialer = Dialer::new(settings.dial, client.clone());
    Context {
        agents: Agents::new(dialer, Trust::new(client.clone()), metrics.clone()),
        events: Events::start(client.clone(), identity, metrics.events_lost.clone()),
        cluster_scope: Arc::new(ClusterScope::new(settings.drain_taints.clone())),
        object_events: ObjectEvents::new(client.clone()),
        leases: Leases::new(client.clone()),
        client,
        settings,
        metrics,
    }
}

/// Stands by until the Lease is ours, then works until a signal comes or the Lease is lost.
async fn lead(
    context: Arc<Context>,
    health: &Health,
    mut election: Option<&mut Election>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let signal = signals()?;
    tokio::pin!(signal);
    if let Some(election) = election.as_deref_mut() {
        // Ready to take over.
        health.set_ready(true);
        tokio::select! {
            () = election.won() => {}
            name = &mut signal => {
                info!(signal = name, "ending");
                return Ok(());
            }
        }
        health.set_ready(false);
    }
    context.metrics.leading.set(1);
    let lost = async {
        match election {
            Some(election) => election.lost().await,
            None => std::future::pending().await,
        }
    };
    let ending = stop.child_token();
    let work = work(context, health, ending.clone());
    tokio::pin!(work, lost);
    tokio::select! {
        outcome = &mut work => outcome.and(Err(anyhow::anyhow!("the watches ended"))),
        error = &mut lost => Err(error.context(NoLongerLeads)),
        name = &mut signal => {
            info!(signal = name, "ending");
            ending.cancel();
            tokio::select! {
                outcome = tokio::time::timeout(PATIENCE, &mut work) => outcome.unwrap_or(Ok(())),
                // It is ending anyway.
                error = &mut lost => Err(error),
            }
        }
    }
}

/// The name of the first signal to end.
fn signals() -> anyhow::Result<impl Future<Output = &'static str>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        }
    })
}

/// Works on the clusters of all scopes until `ending`, and until what was begun has ended.
async fn work(context: Arc<Context>, health: &Health, ending: CancellationToken) -> anyhow::Result<()> {
    let (mut starts, mut controllers) = (Vec::new(), Vec::new());
    for namespace in context.settings.scopes() {
        let (filled, controller) = scope(context.clone(), namespace, ending.clone());
        starts.push(filled);
        controllers.push(controller);
    }
    let ready = async {
        try_join_all(starts).await?;
        health.set_ready(true);
        info!("all stores are filled");
        anyhow::Ok(())
    };
    let (cluster_scope, client, metrics) =
        (context.cluster_scope.clone(), context.client.clone(), context.metrics.clone());
    tokio::select! {
        outcome = async { tokio::try_join!(ready, try_join_all(controllers)) } => outcome.map(|_| ()),
        () = cluster_scope.run(client, &metrics) => Err(anyhow::anyhow!("the watches of volumes and nodes ended")),
    }
}

/// One namespace, or all: watches, stores, and the controller that starts once the stores are filled. Returns what
/// ends when they are, and what ends when the controller has.
fn scope(
    context: Arc<Context>,
    namespace: Option<String>,
    ending: CancellationToken,
) -> (impl Future<Output = anyhow::Result<()>>, impl Future<Output = anyhow::Result<()>>) {
    let (to, calls) = futures::channel::mpsc::unbounded();
    let trigger = Trigger::new(to);
    let memory = Arc::new(Memory::default());
    let (watches, stores) = Watches::new(context.clone(), memory.clone(), namespace, trigger.clone());
    context.cluster_scope.join(stores.clone(), trigger.clone());
    let (filled, cluster_scope) = (stores.clone(), context.cluster_scope.clone());
    let config = Config::default().concurrency(context.settings.concurrency.get());
    let reconciler = Arc::new(Reconciler { scope: Scope { context, stores, trigger }, memory });
    let controller = async move {
        reconciler.scope.stores.filled().await?;
        // What can't be read even now is unknown, and said to be: databases do not wait for it.
        if tokio::time::timeout(CLUSTER_SCOPE_READ, cluster_scope.settled()).await.is_err() {
            warn!("volumes and nodes could not be read in time");
        }
        // Every change comes through `calls`: that of the object itself as well.
        let silent = futures::stream::pending::<Result<Guarded, watcher::Error>>();
        Controller::for_stream(silent, reconciler.scope.stores.clusters.clone())
            .with_config(config)
            .reconcile_on(calls)
            .graceful_shutdown_on(ending.cancelled_owned())
            .run(reconcile, after_error, reconciler)
            .for_each(|outcome| async {
                // What failed was told with its backoff; the rest is of objects that are gone by now.
                if let Err(error) = outcome {
                    debug!(error = %error, "not reconciled");
                }
            })
            .await;
        anyhow::Ok(())
    };
    let controller = async move {
        tokio::select! {
            () = watches.run() => {
                error!("all watches ended");
                Err(anyhow::anyhow!("all watches ended"))
            }
            outcome = controller => outcome,
        }
    };
    (async move { Ok(filled.filled().await?) }, controller)
}
