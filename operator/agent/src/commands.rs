//! The subcommands: what each container of a pod runs.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::settings::Settings;
use crate::{install, prepare, serve, stream};

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
    /// Init container in the copy tool's image: receives a copy when ordered, before `prepare`.
    Receive(Settings),
    /// Gives copies of the data directory to the cluster's other instances, one at a time.
    Donor(Settings),
    /// Runs mysqld and serves the operator and the kubelet.
    Serve(Settings),
}

/// Does what the command line asks for.
pub fn main() -> ExitCode {
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
    let mut builder = match arguments.command {
        // A copy keeps a thread busy with TLS and another with what is around it.
        Command::Receive(_) | Command::Donor(_) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(2);
            builder
        }
        // One thread: the agent waits more than it works, and shares the server's memory limit.
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().max_blocking_threads(4).build()?;
    Ok(match arguments.command {
        Command::Receive(settings) => runtime.block_on(stream::receive(settings))?,
        Command::Donor(settings) => runtime.block_on(stream::donor(settings))?,
        Command::Prepare(settings) => runtime.block_on(prepare::prepare(settings))?,
        Command::Serve(settings) => runtime.block_on(serve::serve(settings))?,
        Command::Install { .. } => ExitCode::SUCCESS,
    })
}
