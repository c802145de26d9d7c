//! Initialise: an empty directory becomes a server without data.

use mainstay_proto::History;

use super::scratch;
use crate::context::Context;
use crate::task::{Guard, TaskError};
use crate::volume::Kind;

/// Marks the directory partial, makes MySQL's tables and accounts, checks that no transaction was logged, stops the
/// server cleanly, and marks the directory complete.
pub(super) async fn initialize(context: &Context, guard: &Guard, operation: &str) -> Result<(), TaskError> {
    let id = operation.to_owned();
    context.store.with(move |volume| volume.begin(Kind::Initialize, &id, History::default())).await?;
    scratch::make_tables(context, guard).await?;
    let mut server = scratch::start(context, guard).await?;
    let mut executed = executed(&mut server).await?;
    if !executed.is_empty() {
        // An instance that is born with transactions of its own would be errant from the start.
        server.client.run("RESET BINARY LOGS AND GTIDS", "RESET BINARY LOGS AND GTIDS").await?;
        executed = self::executed(&mut server).await?;
    }
    if !executed.is_empty() {
        return Err(TaskError::Outcome(format!("the new server holds transactions already: {executed}")));
    }
    let (uuid,): (String,) = server.client.row("read the server's UUID", "SELECT @@server_uuid").await?;
    scratch::stop(server).await?;
    guard.check()?;
    let id = operation.to_owned();
    context.store.with(move |volume| volume.complete(&id, &uuid)).await?;
    Ok(())
}

async fn executed(server: &mut scratch::Scratch) -> Result<String, TaskError> {
    let (executed,): (String,) =
        server.client.row("read the executed GTIDs", "SELECT @@global.gtid_executed").await?;
    Ok(executed)
}
