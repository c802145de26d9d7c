//! Receives a copy: unpacks while it streams, checks, makes it consistent, and puts it in the data directory's place.
//! What can go wrong leaves a directory that is partial and empty, for the next attempt.

mod fetch;
mod memory;
mod room;

use std::process::Stdio;

use mainstay_proto::{Action, Endpoint, Order};

use super::adapter::{CopyTool, Kind};
use super::before;
use super::error::{StreamError, io_error};
use super::information::{self, Information};
use super::process::{Program, Running};
use crate::context::Context;
use crate::task::{Guard, TaskError};
use crate::volume::{self, Received};

/// Carries out [`Action::Receive`].
pub(crate) async fn take(context: &Context, guard: &Guard, order: &Order) -> Result<(), TaskError> {
    let Action::Receive { operation, history, .. } = &order.action else {
        return Err(TaskError::Outcome(format!("{} is no order to receive", order.action.kind())));
    };
    let (id, history) = (operation.clone(), *history);
    context.store.with(move |volume| volume.begin(volume::Kind::Clone, &id, history)).await?;
    let work = attempt(context, guard, operation, &order.action);
    let outcome = tokio::select! {
        outcome = work => outcome,
        // What it started is killed with it.
        () = guard.superseded() => Err(TaskError::Superseded),
    };
    if outcome.is_err() {
        // A tool that was killed may still be in its last write.
        context.children.none().await;
        let id = operation.clone();
        if let Err(error) = context.store.with(move |volume| volume.discard(&id)).await {
            tracing::warn!(%error, "what was received could not be wiped yet; the next attempt does it");
        }
    }
    outcome
}

async fn attempt(
    context: &Context,
    guard: &Guard,
    operation: &str,
    action: &Action,
) -> Result<(), TaskError> {
    let settings = &context.settings;
    let id = operation.to_owned();
    context.store.with(move |volume| volume.make_incoming(&id)).await?;
    let tool = CopyTool::find().await?;
    fetch::fetch(context, &tool, action).await?;
    guard.check()?;
    before(settings, "prepare").await;
    make_consistent(context, &tool).await?;
    before(settings, "read").await;
    let Information { position, server_version } = read(context, tool.kind).await?;
    tracing::info!(gtid_set = position.gtid_set, server_version, "the copy is consistent");
    guard.check()?;
    before(settings, "place").await;
    let id = operation.to_owned();
    context.store.with(move |volume| volume.place(&id)).await?;
    before(settings, "received").await;
    let received = Received {
        gtid_set: position.gtid_set,
        position: Some((position.file, position.position)),
        server_version,
        order: action.clone(),
        starts: 0,
    };
    let id = operation.to_owned();
    context.store.with(move |volume| volume.received(&id, received)).await?;
    Ok(())
}

/// Applies the redo log that came with the copy. The tool holds the volume's lock as long as it lives.
async fn make_consistent(context: &Context, tool: &CopyTool) -> Result<(), TaskError> {
    let lock = context.store.with(|volume| volume.lock_for_server()).await?;
    let memory = memory::for_tool();
    tracing::info!(memory, "making the copy consistent");
    let arguments = tool.kind.prepare_arguments(&context.settings.incoming(), memory);
    let program = Program { name: tool.kind.tool(), path: &tool.program, arguments: &arguments };
    let mut running =
        Running::start(&program, Stdio::from(lock), Stdio::null(), Vec::new(), &context.children)?;
    Ok(running.wait().await?)
}

/// Reads the tool's information files, and removes them: they are nothing of the server's.
async fn read(context: &Context, kind: Kind) -> Result<Information, StreamError> {
    let incoming = context.settings.incoming();
    let work = move || {
        let information = information::read(kind, &incoming)?;
        for entry in std::fs::read_dir(&incoming).map_err(io_error("list the copy"))? {
            let entry = entry.map_err(io_error("list the copy"))?;
            if Kind::is_left_behind(&entry.file_name().to_string_lossy()) {
                std::fs::remove_file(entry.path()).map_err(io_error("remove the tool's files"))?;
            }
        }
        Ok(information)
    };
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| io_error("read the copy's information")(std::io::Error::other(error)))?
}

/// The donor, for messages.
fn name(donor: &Endpoint) -> String {
    format!("{}:{}", donor.host, donor.port)
}
