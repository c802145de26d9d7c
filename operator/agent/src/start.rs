//! What `prepare` and `serve` start alike.

use std::io;
use std::sync::Arc;

use mainstay_proto::Stage;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::context::{Command, Context};
use crate::executor::Executor;
use crate::mysqld::{ProcessError, ServerBinary};
use crate::reaper::Children;
use crate::report::ReportPublisher;
use crate::settings::{NoOrdinal, Settings};
use crate::tls::{TlsError, server_config};
use crate::volume::{Store, Volume, VolumeError};
use crate::{digest, http, mounts, room};

/// Why the agent can't start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The pod's name.
    #[error(transparent)]
    Name(#[from] NoOrdinal),
    /// There is no mysqld.
    #[error(transparent)]
    Server(#[from] ProcessError),
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The volume.
    #[error(transparent)]
    Volume(VolumeError),
    /// A port.
    #[error("can't listen: {0}")]
    Listen(#[source] io::Error),
    /// Signals.
    #[error("can't wait for signals: {0}")]
    Signal(#[source] io::Error),
}

/// What `prepare` and `serve` have in common.
pub(crate) struct Parts {
    /// What is shared.
    pub(crate) context: Arc<Context>,
    /// Where orders arrive.
    pub(crate) executor: Executor,
    /// Cancelled by SIGTERM.
    pub(crate) stop: CancellationToken,
}

/// Puts the parts together.
pub(crate) fn parts(
    settings: Settings,
    stage: Stage,
    commands: mpsc::Sender<Command>,
) -> Result<Parts, StartError> {
    let identity = settings.identity()?;
    let publisher = ReportPublisher::new(identity.clone(), stage);
    let ordinal = identity.ordinal;
    let store = Store::new(Volume::new(settings.volume.clone(), identity), publisher.clone());
    let context = Arc::new(Context {
        // The copy tool's image has none.
        binary: if stage == Stage::Receive { None } else { Some(ServerBinary::find()?) },
        settings,
        ordinal,
        publisher,
        store,
        children: Children::default(),
        session: watch::Sender::new(None),
        commands,
        pass: CancellationToken::new(),
    });
    Ok(Parts { executor: Executor::new(context.clone()), context, stop: on_sigterm()? })
}

/// Serves the operator, and follows the mounted Secrets and the room on the volume from now on.
pub(crate) async fn listen(context: &Arc<Context>, executor: &Executor) -> Result<(), StartError> {
    let digest = digest::digest(&context.settings.tls);
    let (sender, receiver) = watch::channel(Arc::new(server_config(&context.settings.tls)?));
    let listener = http::listen(context.settings.agent_port).await.map_err(StartError::Listen)?;
    tokio::spawn(http::serve_operator(listener, receiver, context.publisher.clone(), executor.clone()));
    let volume = context.settings.volume.clone();
    tokio::spawn(room::follow(context.publisher.clone(), room::SILENT, move || room::of(&volume)));
    tokio::spawn(mounts::follow(context.clone(), executor.clone(), sender, digest));
    Ok(())
}

/// Cancelled by SIGTERM, which the kubelet sends, or by SIGINT.
pub(crate) fn on_sigterm() -> Result<CancellationToken, StartError> {
    let mut term = signal(SignalKind::terminate()).map_err(StartError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signal)?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop");
        stop.cancel();
    });
    Ok(token)
}
