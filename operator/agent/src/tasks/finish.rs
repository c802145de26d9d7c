//! The last part of a copy that was received: its first start, out of reach of everybody, in which the donor's
//! history becomes the recorded one.

use super::scratch;
use crate::context::Context;
use crate::sql::quote::text;
use crate::stream::before;
use crate::task::{Guard, TaskError};
use crate::volume::Received;

/// First starts that may be begun. An agent that dies in each of them is killed by what it does.
const STARTS: u32 = 3;

/// Starts the copy without network, replication or writes; takes the donor's channel and logs out of it; gives it
/// the GTID set that was recorded; and only then marks the directory complete. If that fails all is wiped, and the
/// copy has to be received again.
pub(super) async fn finish(context: &Context, guard: &Guard, operation: &str) -> Result<(), TaskError> {
    let outcome = attempt(context, guard, operation).await;
    // An agent that ends can go on after its next start.
    if outcome.as_ref().is_err_and(|error| !matches!(error, TaskError::Superseded)) {
        let id = operation.to_owned();
        context.store.with(move |volume| volume.discard(&id)).await?;
    }
    outcome
}

async fn attempt(context: &Context, guard: &Guard, operation: &str) -> Result<(), TaskError> {
    let settings = &context.settings;
    let received = begin(context, operation).await?;
    before(settings, "start").await;
    let mut server = scratch::start(context, guard).await?;
    before(settings, "reset").await;
    let client = &mut server.client;
    client.run("RESET REPLICA ALL", "RESET REPLICA ALL").await?;
    client.run("RESET BINARY LOGS AND GTIDS", "RESET BINARY LOGS AND GTIDS").await?;
    before(settings, "purge").await;
    let set = text(&received.gtid_set);
    client.run("set gtid_purged", &format!("SET GLOBAL gtid_purged = {set}")).await?;
    before(settings, "verify").await;
    let query = format!(
        "SELECT @@server_uuid, @@global.gtid_executed, GTID_SUBSET(@@global.gtid_executed, {set}) AND \
         GTID_SUBSET({set}, @@global.gtid_executed) AND GTID_SUBSET({set}, @@global.gtid_purged)"
    );
    let (uuid, executed, same): (String, String, bool) = client.row("read the copy's GTIDs", &query).await?;
    if !same {
        return Err(TaskError::Outcome(format!(
            "the copy holds {executed:?}, but {:?} was recorded",
            received.gtid_set
        )));
    }
    tracing::info!(server_uuid = uuid, gtid_executed = executed, "the copy has started");
    scratch::stop(server).await?;
    guard.check()?;
    before(settings, "complete").await;
    let id = operation.to_owned();
    context.store.with(move |volume| volume.complete(&id, &uuid)).await?;
    Ok(())
}

/// Counts the start, and makes the server forget the donor's UUID, if it has it.
async fn begin(context: &Context, operation: &str) -> Result<Received, TaskError> {
    let id = operation.to_owned();
    let begun = context.store.with(move |volume| {
        let Some(received) = volume.ours().and_then(|marker| marker.received.clone()) else {
            return Ok(None);
        };
        let received = Received { starts: received.starts.saturating_add(1), ..received };
        volume.received(&id, received.clone())?;
        volume.forget_uuid(&id)?;
        volume.make_temporary()?;
        Ok(Some(received))
    });
    match begun.await? {
        None => Err(TaskError::Outcome("nothing was received".to_owned())),
        Some(received) if received.starts > STARTS => Err(TaskError::Outcome(format!(
            "the copy's first start was begun {STARTS} times and never ended"
        ))),
        Some(received) => Ok(received),
    }
}
