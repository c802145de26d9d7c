//! The agent of Mainstay: in each MySQL pod it sees to the data directory, runs mysqld, and carries out the
//! operator's orders.

mod credentials;
mod http;
mod hub;
mod mounts;
mod mysqld;
mod orders;
mod prepare;
mod serve;
mod server;
mod settings;
mod shutdown;
mod sql;
mod tasks;
#[cfg(test)]
mod testing;
mod tls;
mod volume;

use std::error::Error;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use mainstay_proto::Stage;
use tokio::sync::watch;

use hub::Hub;
use server::Launcher;
use settings::Settings;
use shutdown::Stop;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Copy this binary to DESTINATION.
    Install {
        /// The file to be made.
        destination: PathBuf,
    },
    /// See to the data directory; end once it is complete.
    Prepare(Settings),
    /// Run MySQL.
    Serve(Settings),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    let done = match Arguments::parse().command {
        Command::Install { destination } => install(&destination).map_err(Into::into),
        Command::Prepare(settings) => run(settings, Stage::Prepare),
        Command::Serve(settings) => run(settings, Stage::Serve),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the agent ends");
            ExitCode::FAILURE
        }
    }
}

/// A copy under another name first, so that nobody ever runs half of it.
fn install(destination: &Path) -> std::io::Result<()> {
    let temporary = destination.with_extension("new");
    std::fs::copy(std::env::current_exe()?, &temporary)?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(&temporary, destination)
}

fn run(settings: Settings, stage: Stage) -> Result<(), Box<dyn Error>> {
    // Two providers may be compiled in; the process uses one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work(settings, stage))
}

async fn work(settings: Settings, stage: Stage) -> Result<(), Box<dyn Error>> {
    let stop = Stop::listen()?;
    let hub = Arc::new(Hub::new(settings.identity()?, stage, settings.volume.clone()));
    let (sender, orders) = watch::channel(None);
    let desk = http::Desk { hub: Arc::clone(&hub), orders: sender };
    let operator = http::bind(settings.agent_port).await?;
    let probes = http::bind(settings.probe_port).await?;
    tokio::spawn(http::serve_operator(operator, tls::Tls::new(&settings.tls), desk));
    tokio::spawn(http::serve_probes(probes, Arc::clone(&hub)));
    let launcher = Arc::new(Launcher::new(settings.clone(), settings.ordinal()?));
    match stage {
        Stage::Prepare => {
            if !prepare::run(launcher, hub, orders, stop).await {
                return Err("asked to stop before the data directory was complete".into());
            }
        }
        Stage::Serve => serve::run(launcher, hub, orders, stop).await,
    }
    Ok(())
}
