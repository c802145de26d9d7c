//! `prepare`: the init container that sees to the data directory.

use std::process::ExitCode;
use std::time::Duration;

use mainstay_proto::{Directory, Stage, TaskState};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::settings::Settings;
use crate::start::{self, Parts, StartError};

/// Time between two looks at a directory that nothing can be done with.
const LOOK: Duration = Duration::from_secs(2);

/// Goes on at once if the directory is complete. Else waits for an order that makes it so.
pub(crate) async fn prepare(settings: Settings) -> Result<ExitCode, StartError> {
    // There is no server to command.
    let (commands, _) = mpsc::channel(1);
    let Parts { context, executor, stop } = start::parts(settings, Stage::Prepare, commands)?;
    let look = || async {
        context
            .store
            .with(|volume| {
                volume.examine();
                Ok(())
            })
            .await
            .map_err(StartError::Volume)?;
        Ok::<_, StartError>(matches!(context.publisher.report().directory, Directory::Complete { .. }))
    };
    if look().await? {
        tracing::info!("the data directory is complete");
        return Ok(ExitCode::SUCCESS);
    }
    // Before anybody can order something else: a clone by the plugin would wipe what is here.
    executor.take_up().await.map_err(StartError::Volume)?;
    start::listen(&context, &executor).await?;
    if executor.idle().await {
        tracing::info!(directory = ?context.publisher.report().directory, "waiting for an order");
    }
    let mut changes = context.publisher.watch();
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => {
                executor.close().await;
                // Not success: the directory is not ready for the server.
                return Ok(ExitCode::FAILURE);
            }
            changed = changes.changed() => if changed.is_err() {
                return Ok(ExitCode::FAILURE);
            },
            _ = tick.tick() => if executor.idle().await {
                look().await?;
            },
        }
        let report = context.publisher.report();
        let busy = report.task.is_some_and(|task| task.state == TaskState::Running);
        if matches!(report.directory, Directory::Complete { .. }) && !busy {
            tracing::info!("the data directory is complete");
            return Ok(ExitCode::SUCCESS);
        }
    }
}
