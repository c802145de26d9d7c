//! The agent in each MySQL pod: sees to the data directory, runs mysqld, carries out the operator's orders.

mod context;
mod credentials;
mod desk;
mod http;
mod install;
mod lag;
mod monitor;
mod mounts;
mod mysqld;
mod orders;
mod prepare;
mod reaper;
mod report;
mod serve;
mod settings;
mod shutdown;
mod sql;
mod start;
mod supervise;
mod tasks;
#[cfg(test)]
mod testing;
mod tls;
mod volume;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use settings::Settings;

/// The agent in each MySQL pod.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copies this binary to DEST.
    Install {
        /// Path of the copy.
        dest: PathBuf,
    },
    /// Init container: waits until the data directory is complete, and makes it so when ordered.
    Prepare(Settings),
    /// Runs mysqld and serves the operator and the kubelet.
    Serve(Settings),
}

fn main() -> ExitCode {
    let filter = EnvFilter::builder()
        .with_env_var("MAINSTAY_LOG")
        .with_default_directive(tracing::Level::INFO.into())
        .from_env_lossy();
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).with_env_filter(filter).init();
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(%error, "the agent can't go on");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    if let Command::Install { dest } = &arguments.command {
        install::install(dest)?;
        return Ok(ExitCode::SUCCESS);
    }
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return Err("another TLS provider is installed".into());
    }
    // One thread: the agent waits more than it works, and shares the server's memory limit.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
    Ok(match arguments.command {
        Command::Prepare(settings) => runtime.block_on(prepare::prepare(settings))?,
        Command::Serve(settings) => runtime.block_on(serve::serve(settings))?,
        Command::Install { .. } => ExitCode::SUCCESS,
    })
}
