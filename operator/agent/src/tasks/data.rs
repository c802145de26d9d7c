//! Making a data directory: marked partial before, complete after, and nothing in between counts (I6).

use std::time::Duration;

use mainstay_proto::{Action, Order};

use super::clone;
use crate::hub::Hub;
use crate::mysqld::options::Purpose;
use crate::orders;
use crate::server::{Doing, Launcher, ServerError};
use crate::sql::state;
use crate::volume::lock::Lock;
use crate::volume::marker::{Kind, MarkerFile, State, VERSION};
use crate::volume::wipe;

/// A server without clients ends sooner.
const STOP: Duration = Duration::from_secs(120);

/// Carries out Initialize or Clone.
pub(crate) async fn make(
    launcher: &Launcher,
    hub: &Hub,
    lock: &Lock,
    order: &Order,
) -> Result<(), ServerError> {
    let kind = match &order.action {
        Action::Clone { .. } => Kind::Clone,
        _ => Kind::Initialize,
    };
    let operation = orders::operation(&order.action).unwrap_or_default().to_owned();
    let fence = orders::fence(order);
    let identity = hub.identity().clone();
    hub.write_marker(MarkerFile {
        version: VERSION,
        cluster_id: identity.cluster_id,
        ordinal: identity.ordinal,
        state: State::Partial,
        kind,
        operation,
        server_uuid: None,
        highest: fence,
        grant: None,
        last_start: None,
    })
    .doing("marking the directory partial")?;
    wipe(&launcher.settings.volume).doing("emptying the directory")?;
    launcher.initialize(lock).await?;
    let server_uuid = match &order.action {
        Action::Clone { donor, max_mib_per_second, .. } => {
            clone::fetch(launcher, hub, lock, donor, *max_mib_per_second).await?
        }
        _ => first_start(launcher, lock).await?,
    };
    complete(hub, server_uuid)
}

fn complete(hub: &Hub, server_uuid: String) -> Result<(), ServerError> {
    hub.change_marker(|marker| {
        marker.state = State::Complete;
        marker.server_uuid = Some(server_uuid);
    })
    .doing("marking the directory complete")
}

/// The first start sets the accounts. The history of the cluster's writes begins empty.
async fn first_start(launcher: &Launcher, lock: &Lock) -> Result<String, ServerError> {
    let mut mysqld = launcher.start(Purpose::Prepare, None, lock)?;
    let mut session = launcher.answers(&mut mysqld).await?;
    let state = state::read(&mut session).await?;
    if !state.gtid_executed.is_empty() {
        session.run("beginning the binary log anew", "RESET BINARY LOGS AND GTIDS").await?;
    }
    drop(session);
    let ended = mysqld.stop(STOP).await;
    if ended.success { Ok(state.server_uuid) } else { Err(ServerError::Ended(ended)) }
}
