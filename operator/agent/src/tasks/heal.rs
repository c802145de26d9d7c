//! A server that did not come up as it must be is started once for the agent alone.

use mainstay_proto::Server;
use tokio_util::sync::CancellationToken;

use super::scratch;
use crate::context::Context;
use crate::task::{Guard, TaskError};

/// Starts the server for the agent alone, out of everybody's reach, sees to its accounts, and stops it. The server
/// that clients reach is never writable for its accounts' sake before it has a role.
pub(crate) async fn heal(context: &Context, stop: &CancellationToken) -> Result<(), TaskError> {
    context.publisher.server(Server::Starting);
    let guard = Guard::new(stop.clone(), context.publisher.report().highest);
    let server = scratch::start(context, &guard).await?;
    scratch::stop(server).await
}
