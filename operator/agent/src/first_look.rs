//! What a server is found to hold when it has come up, before anything is replicated.

use crate::context::Context;
use crate::sql::{Client, state};

/// What the server holds before replication starts, executed or received: later it can't be told what it came up
/// with, since its source would have filled every gap.
pub(crate) async fn look_at_start(mut client: Client) -> Option<String> {
    let state = match state::read(&mut client).await {
        Ok(state) => state,
        Err(error) => {
            tracing::warn!(%error, "the server's state can't be read");
            return None;
        }
    };
    tracing::info!(
        server_uuid = state.server_uuid,
        gtid_executed = state.gtid_executed,
        gtid_purged = state.gtid_purged,
        version = state.version,
        "the server answers"
    );
    match state::channel(&mut client).await {
        Ok(channel) => {
            let received = channel.map(|channel| channel.gtid_received).unwrap_or_default();
            let sets = [state.gtid_executed, received];
            Some(sets.into_iter().filter(|set| !set.is_empty()).collect::<Vec<_>>().join(","))
        }
        Err(error) => {
            tracing::warn!(%error, "what the server has received can't be read");
            None
        }
    }
}

/// What is to be judged of this start, and whether it was not judged yet.
pub(crate) async fn came_with(
    context: &Context,
    gtids: Option<String>,
    moved: bool,
) -> (Option<String>, bool) {
    let Some(found) = gtids else { return (None, false) };
    let text = found.clone();
    match context.store.with(move |volume| volume.came_with(&text, moved)).await {
        Ok(Some(first)) => (Some(first), true),
        Ok(None) => (Some(found), false),
        Err(error) => {
            tracing::warn!(%error, "what the server came up with could not be kept");
            (Some(found), false)
        }
    }
}
