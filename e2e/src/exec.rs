//! Commands: in containers through the API server, and on this machine.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams};
use tokio::io::AsyncReadExt;

/// Runs `command` in a container and returns what it wrote to standard output.
///
/// # Errors
/// If it can't be run or fails; with what it wrote to standard error.
pub async fn in_pod(pods: &Api<Pod>, pod: &str, container: &str, command: &[&str]) -> Result<String> {
    let how = AttachParams::default().container(container).stdout(true).stderr(true);
    let mut process = pods
        .exec(pod, command.iter().copied(), &how)
        .await
        .with_context(|| format!("run {command:?} in {pod}/{container}"))?;
    let status = process.take_status().context("a command without a status")?;
    let mut out = process.stdout().context("a command without an output")?;
    let mut err = process.stderr().context("a command without an error output")?;
    let (mut written, mut complained) = (Vec::new(), Vec::new());
    tokio::try_join!(out.read_to_end(&mut written), err.read_to_end(&mut complained))?;
    let status = status.await.ok_or_else(|| anyhow!("{command:?} in {pod}: the connection broke"))?;
    if status.status.as_deref() != Some("Success") {
        let message = status.message.unwrap_or_default();
        bail!("{command:?} in {pod}/{container}: {message}: {}", String::from_utf8_lossy(&complained));
    }
    Ok(String::from_utf8_lossy(&written).into_owned())
}

/// Runs a program on this machine and returns what it wrote to standard output, without the last line's end.
/// Blocks: programs that take long belong in [`tokio::task::spawn_blocking`].
///
/// # Errors
/// If it can't be run or fails; with what it wrote to standard error.
pub fn here(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
