//! `serve`: process 1 of the container that runs MySQL.

use std::process::ExitCode;

use mainstay_proto::Stage;
use tokio::sync::mpsc;

use crate::settings::Settings;
use crate::start::{self, Parts, StartError};
use crate::{http, reaper, supervise};

/// Runs mysqld, answers the operator and the kubelet, and carries out orders, until SIGTERM.
pub(crate) async fn serve(settings: Settings) -> Result<ExitCode, StartError> {
    let (sender, commands) = mpsc::channel(4);
    let Parts { context, executor, stop } = start::parts(settings, Stage::Serve, sender)?;
    let probes = http::listen(context.settings.probe_port).await.map_err(StartError::Listen)?;
    tokio::spawn(http::serve_probes(probes, context.publisher.clone()));
    start::listen(&context, &executor).await?;
    let children = context.children.clone();
    tokio::spawn(async move {
        if let Err(error) = reaper::run(children).await {
            tracing::error!(%error, "processes of others are not reaped");
        }
    });
    supervise::run(context, executor, commands, stop).await;
    tracing::info!("the agent ends");
    Ok(ExitCode::SUCCESS)
}
