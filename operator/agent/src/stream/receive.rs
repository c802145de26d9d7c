//! `receive`: the init container in the copy tool's image, before `prepare`.

use std::process::ExitCode;
use std::time::Duration;

use mainstay_proto::{Directory, Stage};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::context::Context;
use crate::settings::Settings;
use crate::start::{self, Parts, StartError};

/// Time between two looks at a volume that is locked.
const LOOK: Duration = Duration::from_secs(2);

/// What is to be done with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Nothing here: the next container goes on.
    GoOn,
    /// It may be this container's: wait for an order, or for the volume's lock.
    Wait,
}

/// Goes on at once unless the directory is empty or partial. Then it waits for an order: to receive a copy, which it
/// does, or any other, for which it makes way.
pub(crate) async fn receive(settings: Settings) -> Result<ExitCode, StartError> {
    // There is no server to command.
    let (commands, _) = mpsc::channel(1);
    let Parts { context, executor, stop } = start::parts(settings, Stage::Receive, commands)?;
    if look(&context).await? == Next::GoOn {
        tracing::info!(directory = ?context.publisher.report().directory, "nothing to receive");
        return Ok(ExitCode::SUCCESS);
    }
    tracing::info!(directory = ?context.publisher.report().directory, "waiting for an order");
    start::listen(&context, &executor).await?;
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changes = context.publisher.watch();
    loop {
        tokio::select! {
            () = stop.cancelled() => {
                executor.close().await;
                return Ok(ExitCode::FAILURE);
            }
            () = context.pass.cancelled() => {
                tracing::info!("the order is for the next container");
                return Ok(ExitCode::SUCCESS);
            }
            changed = changes.changed() => if changed.is_err() {
                return Ok(ExitCode::FAILURE);
            },
            _ = tick.tick() => {}
        }
        if executor.idle().await && look(&context).await? == Next::GoOn {
            tracing::info!("there is something for the next container");
            return Ok(ExitCode::SUCCESS);
        }
    }
}

async fn look(context: &Context) -> Result<Next, StartError> {
    let look = context.store.with(|volume| {
        volume.examine();
        let received = volume.ours().is_some_and(|marker| marker.received.is_some());
        Ok(next(volume.directory(), received))
    });
    look.await.map_err(StartError::Volume)
}

fn next(directory: &Directory, received: bool) -> Next {
    match directory {
        Directory::Partial { .. } if received => Next::GoOn,
        Directory::Empty | Directory::Partial { .. } | Directory::Locked { .. } => Next::Wait,
        Directory::Complete { .. } | Directory::Foreign { .. } | Directory::Unusable { .. } => Next::GoOn,
    }
}
