//! The cluster that the tests run on, with the operator in it.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::exec::here;
use crate::faults::Nodes;
use crate::scope::Scope;
use crate::{operator, wait};

/// A cluster that answers and has the operator installed. While it lives, no other test runs on it.
pub struct Env {
    /// The client of the test's runtime.
    pub client: Client,
    /// The kubeconfig that it came from.
    pub kubeconfig: PathBuf,
    /// Whether it is the local cluster of `e2e/cluster/up`, whose nodes may be harmed.
    pub local: bool,
    /// Released when it is closed. Tests share nodes, so two at a time would see each other's faults.
    _lock: File,
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A script of `e2e/cluster`.
pub fn script(name: &str) -> Command {
    Command::new(root().join("e2e/cluster").join(name))
}

impl Env {
    /// Connects to the cluster of KUBECONFIG or the local one, waits for its turn, and sees to it that the operator
    /// of this checkout runs there.
    ///
    /// # Errors
    /// If there is no cluster, if its API server does not answer, or if the operator can't be installed.
    pub async fn ensure() -> Result<Env> {
        let env = Env::connect().await?;
        operator::ensure(&env).await?;
        Scope::sweep(&env).await.context("remove what tests left")?;
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

    /// Makes sure that an add-on of the local cluster runs, as `e2e/cluster/addon` does. Returns whether it does:
    /// on another cluster, having said so, it does not.
    ///
    /// # Errors
    /// If it can't be built or does not start.
    pub async fn addon(&self, name: &'static str) -> Result<bool> {
        if !self.local {
            note!("SKIPPED: this test needs the add-on {name} of the local cluster");
            return Ok(false);
        }
        note!("add-on {name}");
        addon(vec![name]).await?;
        Ok(true)
    }

    /// Takes an add-on away again.
    ///
    /// # Errors
    /// If something still uses it, or it does not go.
    pub async fn addon_down(&self, name: &'static str) -> Result<()> {
        note!("add-on {name} goes");
        addon(vec![name, "down"]).await
    }

    /// Waits until the API server answers.
    ///
    /// # Errors
    /// If it does not within `limit`.
    pub async fn answers(&self, limit: Duration) -> Result<()> {
        let where_ = self.kubeconfig.display();
        wait::poll(&format!("the API server of {where_}"), limit, || async {
            Ok(Some(self.client.apiserver_version().await?))
        })
        .await
        .map(drop)
    }
}

async fn addon(arguments: Vec<&'static str>) -> Result<()> {
    // It is for the cluster of e2e/cluster/up, which KUBECONFIG may name by another path.
    let what = format!("add-on {}", arguments.join(" "));
    let run = move || here(script("addon").args(arguments).env_remove("KUBECONFIG"));
    tokio::task::spawn_blocking(run).await?.context(what)?;
    Ok(())
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

/// Name of the local cluster: MAINSTAY_CLUSTER, or `mainstay`.
pub(crate) fn name() -> String {
    std::env::var("MAINSTAY_CLUSTER").unwrap_or_else(|_| "mainstay".into())
}

/// A file that all tests on one cluster share. Those on another do not disturb them.
pub(crate) fn shared(what: &str) -> PathBuf {
    std::env::temp_dir().join(format!("mainstay-e2e.{}.{what}", name()))
}

/// The program `name`: from the variable that is its name in capitals, from PATH, or from the local cluster's cache.
///
/// # Errors
/// If there is none.
pub fn program(name: &str) -> Result<PathBuf> {
    let variable = name.to_uppercase();
    if let Some(given) = std::env::var_os(&variable).filter(|given| !given.is_empty()) {
        return Ok(given.into());
    }
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain([cache().join("bin")])
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    ensure!(found.is_some(), "there is no {name} in PATH; e2e/cluster/up makes one, or set {variable}");
    found.with_context(|| format!("find {name}"))
}

/// Where the scripts of the local cluster keep what they built.
fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("MAINSTAY_CACHE").map_or_else(
        || std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("mainstay"),
        PathBuf::from,
    )
}
