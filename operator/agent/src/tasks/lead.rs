//! Lead: a read-only server becomes the primary.

use std::time::Duration;

use mainstay_proto::{EventName, Grant};
use tokio::time::sleep;

use super::{events, roles};
use crate::context::{Context, Session};
use crate::mysqld::options::Role;
use crate::sql::quote::text;
use crate::sql::{Client, state};
use crate::task::{Guard, TaskError};

/// Time between two looks at the applier while relay logs are drained.
const PERIOD: Duration = Duration::from_millis(100);

/// Applies what was received, stops replicating, takes the primary's settings, writes the grant down, and only then
/// becomes writable.
pub(super) async fn lead(
    context: &Context,
    session: &Session,
    guard: &Guard,
    grant: Option<Grant>,
    disabled: Option<&[EventName]>,
) -> Result<(), TaskError> {
    let mut client = Client::connect(&session.access).await?;
    drain(&mut client, guard).await?;
    guard.check()?;
    client.run("STOP REPLICA", "STOP REPLICA").await?;
    guard.check()?;
    client.run("RESET REPLICA ALL", "RESET REPLICA ALL").await?;
    roles::apply(context, &session.run, &mut client, Role::Primary).await?;
    roles::ensure_safe(&session.run, &mut client).await?;
    guard.check()?;
    context.store.with(move |volume| volume.grant(grant)).await?;
    guard.check()?;
    let turn = session.run.window.lock().await;
    session.run.set_writable(true);
    client.run("become writable", "SET GLOBAL super_read_only = OFF").await?;
    client.run("become writable", "SET GLOBAL read_only = OFF").await?;
    drop(turn);
    events::start(context, &session.run, &mut client, disabled).await
}

/// Stops the receiver and lets the applier finish: what was received may have been acknowledged, and the relay logs
/// go with the channel.
async fn drain(client: &mut Client, guard: &Guard) -> Result<(), TaskError> {
    let Some(channel) = state::channel(client).await? else { return Ok(()) };
    guard.check()?;
    client.run("STOP REPLICA IO_THREAD", "STOP REPLICA IO_THREAD").await?;
    if !channel.applier_running {
        guard.check()?;
        client.run("START REPLICA SQL_THREAD", "START REPLICA SQL_THREAD").await?;
    }
    loop {
        guard.check()?;
        // In this order: what the receiver took in before it stopped is in its set.
        let Some(channel) = state::channel(client).await? else { return Ok(()) };
        let query = format!("SELECT GTID_SUBSET({}, @@global.gtid_executed)", text(&channel.gtid_received));
        let (applied,): (bool,) = client.row("compare received and executed GTIDs", &query).await?;
        if applied {
            return Ok(());
        }
        if !channel.applier_running {
            let error = channel.applier_error.unwrap_or_else(|| "it stopped without an error".to_owned());
            return Err(TaskError::Outcome(format!(
                "received transactions can't be applied, and leading would drop them: {error}"
            )));
        }
        sleep(PERIOD).await;
    }
}
