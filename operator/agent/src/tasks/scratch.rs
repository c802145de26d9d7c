//! mysqld while a directory is being prepared: out of reach of everybody but the agent.

use std::ffi::OsString;
use std::time::Duration;

use crate::accounts;
use crate::context::Context;
use crate::mysqld::accounts::first;
use crate::mysqld::options::Purpose;
use crate::mysqld::{Exit, Files, Mysqld, write_initialize};
use crate::sql::{Access, Client};
use crate::task::{Guard, TaskError};

/// Longest time that an empty or freshly cloned server may take to stop.
const STOP: Duration = Duration::from_secs(120);

/// A server that only the agent reaches.
pub(crate) struct Scratch {
    /// Its process.
    pub(super) mysqld: Mysqld,
    /// The agent's connection.
    pub(super) client: Client,
    /// How the agent reaches it.
    pub(super) access: Access,
}

/// Makes MySQL's own tables in an empty data directory.
pub(super) async fn make_tables(context: &Context, guard: &Guard) -> Result<(), TaskError> {
    context.store.with(|volume| volume.make_temporary()).await?;
    let arguments = write_initialize(&context.settings, context.ordinal)?;
    let mut mysqld = spawn(context, &arguments, Vec::new()).await?;
    let exit = wait(&mut mysqld, guard).await?;
    if exit.success() { Ok(()) } else { Err(TaskError::Failed { what: "initialise", exit }) }
}

/// Starts mysqld without network, waits until it lets the agent in, and sees to its accounts.
pub(crate) async fn start(context: &Context, guard: &Guard) -> Result<Scratch, TaskError> {
    guard.check()?;
    let files = Files::write(&context.settings, context.ordinal, Purpose::Alone)?;
    let mut mysqld = spawn(context, &files.arguments, files.secrets()).await?;
    let mut client = tokio::select! {
        client = mysqld.answers(&files.access) => client?,
        () = guard.superseded() => return Err(TaskError::Superseded),
    };
    files.remove_init_file();
    let mut statements = accounts::differences(&mut client, &files.accounts, true).await?;
    if without_password(&mut client).await? {
        statements.extend(first(&files.accounts));
    }
    if !statements.is_empty() {
        let refused = accounts::carry_out(&mut client, &statements).await?;
        if !refused.is_empty() {
            return Err(TaskError::Outcome(refused.join("; ")));
        }
    }
    Ok(Scratch { mysqld, client, access: files.access })
}

/// Whether this is the account that `--initialize-insecure` made: no person makes one without a password.
async fn without_password(client: &mut Client) -> Result<bool, TaskError> {
    let query = "SELECT COUNT(*) FROM mysql.user WHERE User = 'root' AND Host = 'localhost' \
                 AND plugin = 'caching_sha2_password' AND authentication_string = ''";
    let (count,): (u64,) = client.row("look for the first account", query).await?;
    Ok(count > 0)
}

/// Stops it cleanly: a directory is complete only after that.
pub(crate) async fn stop(mut scratch: Scratch) -> Result<(), TaskError> {
    drop(scratch.client);
    let exit = scratch.mysqld.stop(STOP).await?;
    if exit.success() { Ok(()) } else { Err(TaskError::Failed { what: "stop", exit }) }
}

/// Waits for mysqld's end, or kills it when a newer order came: what it worked on is partial anyway.
pub(super) async fn wait(mysqld: &mut Mysqld, guard: &Guard) -> Result<Exit, TaskError> {
    let exit = tokio::select! {
        exit = mysqld.wait() => Some(exit?),
        () = guard.superseded() => None,
    };
    if let Some(exit) = exit {
        return Ok(exit);
    }
    mysqld.kill();
    mysqld.wait().await?;
    Err(TaskError::Superseded)
}

async fn spawn(
    context: &Context,
    arguments: &[OsString],
    secrets: Vec<crate::credentials::Password>,
) -> Result<Mysqld, TaskError> {
    let lock = context.store.with(|volume| volume.lock_for_server()).await?;
    let binary = context.binary.as_ref().ok_or(TaskError::NoServer)?;
    Ok(Mysqld::spawn(binary, arguments, lock, secrets, &context.children)?)
}
