//! A test in a namespace of its own, and what becomes of it.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures::FutureExt;

use crate::cluster::Env;
pub use crate::namespace::Scope;
use crate::remains::Remains;
use crate::{diagnose, wait};

/// Why a test failed: shown as people read it, without the places in the code that passed it on.
pub struct Failed(anyhow::Error);

impl std::fmt::Debug for Failed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:#}", self.0)
    }
}

/// Runs a test in a namespace of its own, tells what is to be known if it fails, and removes all that it made.
///
/// With MAINSTAY_KEEP=1 the namespace stays, for a person to look at.
///
/// # Errors
/// If the body fails, panics, or is not done within `limit`; and if there is no cluster.
pub async fn run(
    name: &str,
    limit: Duration,
    body: impl AsyncFnOnce(&Scope) -> Result<()>,
) -> Result<(), Failed> {
    run_in(name, limit, body).await.map_err(Failed)
}

async fn run_in(name: &str, limit: Duration, body: impl AsyncFnOnce(&Scope) -> Result<()>) -> Result<()> {
    let env = Env::ensure().await?;
    let scope = Scope::create(env, name).await?;
    let began = Instant::now();
    let outcome = match tokio::time::timeout(limit, AssertUnwindSafe(body(&scope)).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(anyhow!("an assertion failed")),
        Err(_) => Err(anyhow!("not done after {} s", limit.as_secs())),
    };
    let took = began.elapsed().as_secs_f64();
    match &outcome {
        Ok(()) => note!("{name}: passed after {took:.1} s"),
        Err(error) => {
            note!("{name}: FAILED after {took:.1} s: {error:#}");
            // A fault that the test left has been undone by now; the API server may still be starting.
            if scope.env.answers(wait::LONG).await.is_ok() {
                diagnose::print(&scope).await;
            }
        }
    }
    if std::env::var_os("MAINSTAY_KEEP").is_some_and(|keep| keep == "1") {
        scope.keep().await?;
        return outcome;
    }
    outcome.and(
        Remains::of(&scope).remove().await.with_context(|| format!("remove namespace {}", scope.namespace)),
    )
}
