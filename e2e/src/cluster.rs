//! The cluster that the tests run on, with the operator in it.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;

use crate::exec::here;
pub use crate::place::{program, root, script};
use crate::wait;

/// A cluster that answers and has the operator installed. While it lives, no other test runs on it.
pub struct Env {
    /// The client of the test's runtime.
    pub client: Client,
    /// The kubeconfig that it came from.
    pub kubeconfig: PathBuf,
    /// Whether it is the local cluster of `e2e/cluster/up`, whose nodes may be harmed.
    pub local: bool,
    /// Released when it is closed. Tests share nodes, so two at a time would see each other's faults.
    pub(crate) _lock: File,
}

impl Env {
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
