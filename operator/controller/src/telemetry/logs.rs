//! Logs.

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// What is logged if `RUST_LOG` does not say. The libraries' own spans repeat what each line says by itself, and
/// their errors are returned and logged here.
const FILTER: &str = "info,kube=warn,kube_client=off,kube_runtime=warn";

/// Starts logging to standard error.
///
/// # Errors
/// If logging was started before.
pub(crate) fn start_logs(format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
        LogFormat::Text => logs.try_init(),
    }
    .map_err(anyhow::Error::from_boxed)
    .context("logging was started before")
}
