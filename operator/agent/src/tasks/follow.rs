//! Follow and StandDown: a server is read-only, and replicates or not.

use std::time::Duration;

use jiff::Timestamp;
use mainstay_proto::{Endpoint, Grant};

use super::demote::make_read_only;
use super::roles;
use crate::context::{Command, Context, Session};
use crate::credentials::{Credentials, CredentialsError};
use crate::mysqld::options::Role;
use crate::sql::replication::{self, Change, ChannelConfig};
use crate::sql::{Client, state};
use crate::task::{Guard, TaskError};

/// Longest time for a writable server to become read-only. After it mysqld is killed, and comes back read-only.
const READ_ONLY: Duration = Duration::from_secs(10);

/// Becomes read-only, writes the grant down, takes a replica's settings, and replicates from `source`.
pub(super) async fn follow(
    context: &Context,
    session: &Session,
    guard: &Guard,
    source: &Endpoint,
    grant: Option<Grant>,
) -> Result<(), TaskError> {
    let mut client = read_only(context, session, guard, grant).await?;
    roles::apply(context, &session.run, &mut client, Role::Replica).await?;
    roles::ensure_safe(&session.run, &mut client).await?;
    let credentials = Credentials::read(&context.settings.credentials)?;
    let configured = replication::configured(&mut client).await?;
    let password = match (credentials.replication_fits(), &configured) {
        (true, _) => &credentials.replication,
        // The source does not have the new one either.
        (false, Some(configured)) => configured.password(),
        (false, None) => return Err(CredentialsError::TooLong.into()),
    };
    let wanted = ChannelConfig::new(source, password, &context.settings.tls.join(CA));
    let channel = state::channel(&mut client).await?;
    let applying = channel.is_some_and(|channel| channel.applier_running);
    guard.check()?;
    let change = replication::change(configured.as_ref(), &wanted, applying);
    tracing::info!(host = source.host, port = source.port, ?change, "replication channel");
    match change {
        Change::None => {}
        Change::Receiver => {
            client.run("STOP REPLICA IO_THREAD", "STOP REPLICA IO_THREAD").await?;
            guard.check()?;
            replication::configure(&mut client, &wanted, false).await?;
        }
        Change::Whole => {
            client.run("STOP REPLICA", "STOP REPLICA").await?;
            guard.check()?;
            replication::configure(&mut client, &wanted, true).await?;
        }
    }
    guard.check()?;
    session.run.start_channel(Timestamp::now());
    client.run("START REPLICA", "START REPLICA").await?;
    Ok(())
}

/// The authority's certificate in the mounted Secret.
const CA: &str = "ca.crt";

/// Becomes read-only, takes the grant back, and stops receiving. The applier goes on with what was received: who
/// is elected next is judged by received and executed transactions, and each must come to be executed anyway.
pub(super) async fn stand_down(context: &Context, session: &Session, guard: &Guard) -> Result<(), TaskError> {
    let mut client = read_only(context, session, guard, None).await?;
    guard.check()?;
    client.run("STOP REPLICA IO_THREAD", "STOP REPLICA IO_THREAD").await?;
    Ok(())
}

/// Makes the server read-only and then writes the grant down. A server that can't be made read-only is killed: it
/// comes back read-only, and by the grant it goes on from there.
async fn read_only(
    context: &Context,
    session: &Session,
    guard: &Guard,
    grant: Option<Grant>,
) -> Result<Client, TaskError> {
    guard.check()?;
    let mut client = Client::connect(&session.access).await?;
    let (read_only,): (bool,) = client.row("read super_read_only", "SELECT @@global.super_read_only").await?;
    // While a statement that sets it still waits, the variable reads 1 already.
    let reached = if read_only && !session.run.writable() {
        true
    } else {
        make_read_only(session, READ_ONLY).await.reached
    };
    guard.check()?;
    context.store.with(move |volume| volume.grant(grant)).await?;
    if reached {
        return Ok(client);
    }
    if context.commands.send(Command::Kill).await.is_err() {
        return Err(TaskError::NoServer);
    }
    Err(TaskError::Outcome(
        "the server could not be made read-only in time; it is killed, comes back read-only and goes on"
            .to_owned(),
    ))
}
