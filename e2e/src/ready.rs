//! How a test comes by its cluster.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::cluster::Env;
use crate::exec::here;
use crate::faults::Nodes;
use crate::place::{script, shared};
use crate::{operator, remains, wait};

impl Env {
    /// Connects to the cluster of KUBECONFIG or the local one, waits for its turn, and sees to it that the operator
    /// of this checkout runs there.
    ///
    /// # Errors
    /// If there is no cluster, if its API server does not answer, or if the operator can't be installed.
    pub async fn ensure() -> Result<Env> {
        let env = Env::connect().await?;
        operator::ensure(&env).await?;
        remains::sweep(&env).await.context("remove what tests left")?;
        Ok(env)
    }

    /// As [`Env::ensure`], but leaves the operator alone.
    ///
    /// # Errors
    /// If there is no cluster or its API server does not answer.
    pub async fn connect() -> Result<Env> {
        // An error here means that someone else was first, and the provider is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig: PathBuf = here(&mut script("kubeconfig"))
            .context("no cluster to test on: run e2e/cluster/up, or set KUBECONFIG to one that exists")?
            .into();
        let local = here(script("kubeconfig").env_remove("KUBECONFIG"))
            .is_ok_and(|own| Path::new(&own) == kubeconfig);
        let lock = tokio::task::spawn_blocking(lock).await??;
        if local {
            Nodes::recover().context("undo what a test that was killed did to the nodes")?;
        }
        let client = client(&kubeconfig).await?;
        let env = Env { client, kubeconfig, local, _lock: lock };
        env.answers(wait::SHORT).await?;
        Ok(env)
    }
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig).with_context(|| format!("read {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Holds the cluster's lock, the same one for all checkouts on this machine; blocks until whoever has it is done.
fn lock() -> Result<File> {
    let path = shared("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    if file.try_lock().is_err() {
        note!("waiting for another test on the cluster to end ({})", path.display());
        file.lock().with_context(|| format!("lock {}", path.display()))?;
    }
    Ok(file)
}
