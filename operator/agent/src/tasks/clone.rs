//! Clone: an empty or partial directory becomes a copy of a donor's, by MySQL's CLONE plugin.
//!
//! The recipient has no network; the donor is reached by the connection that the plugin makes. CLONE ends with a
//! restart, for which mysqld ends with [`crate::mysqld::RESTART_STATUS`]; the copy is verified by the next start.

use mainstay_proto::{Endpoint, History};

use super::progress::{Trouble, watch};
use super::scratch::{self, Scratch};
use crate::context::Context;
use crate::credentials::Credentials;
use crate::sql::quote::text;
use crate::sql::{CLONE, SqlError};
use crate::task::{Guard, TaskError};
use crate::volume::Kind;

/// `ER_RESTART_SERVER_FAILED`: the copy is there, but mysqld did not find whom to ask for a restart. It stops.
const RESTART_FAILED: u16 = 3707;

/// Marks the directory partial, copies the donor's data into it, verifies the copy by a start, takes the donor's
/// replication channel out of it, and marks it complete.
pub(super) async fn clone(
    context: &Context,
    guard: &Guard,
    operation: &str,
    donor: &Endpoint,
    max_mib_per_second: Option<u64>,
    history: History,
) -> Result<(), TaskError> {
    let id = operation.to_owned();
    context.store.with(move |volume| volume.begin(Kind::Clone, &id, history)).await?;
    scratch::make_tables(context, guard).await?;
    let server = scratch::start(context, guard).await?;
    copy(context, guard, server, donor, max_mib_per_second).await?;
    let mut server = scratch::start(context, guard).await?;
    let uuid = verify(&mut server).await?;
    scratch::stop(server).await?;
    guard.check()?;
    let id = operation.to_owned();
    context.store.with(move |volume| volume.complete(&id, &uuid)).await?;
    Ok(())
}

/// Runs CLONE until mysqld ends for the restart.
async fn copy(
    context: &Context,
    guard: &Guard,
    mut server: Scratch,
    donor: &Endpoint,
    max_mib_per_second: Option<u64>,
) -> Result<(), TaskError> {
    let Endpoint { host, port } = donor;
    let credentials = Credentials::read(&context.settings.credentials)?;
    let list = text(&format!("{host}:{port}"));
    server
        .client
        .run("set clone_valid_donor_list", &format!("SET GLOBAL clone_valid_donor_list = {list}"))
        .await?;
    // 0 is no bound (manual, "Clone System Variables").
    let bound = max_mib_per_second.unwrap_or(0);
    let statement = format!("SET GLOBAL clone_max_data_bandwidth = {bound}");
    server.client.run("set clone_max_data_bandwidth", &statement).await?;
    let statement = format!(
        "CLONE INSTANCE FROM '{CLONE}'@{}:{port} IDENTIFIED BY {} REQUIRE SSL",
        text(host),
        text(credentials.clone.reveal())
    );
    let Scratch { mut mysqld, mut client, access } = server;
    guard.check()?;
    let cloned = client.run_unbounded("CLONE", &statement, &credentials.clone);
    let outcome = tokio::select! {
        outcome = cloned => outcome,
        trouble = watch(&context.publisher, &access, donor) => {
            let Trouble(error) = trouble;
            mysqld.kill();
            mysqld.wait().await?;
            return Err(TaskError::Outcome(error));
        }
        () = guard.superseded() => {
            mysqld.kill();
            mysqld.wait().await?;
            return Err(TaskError::Superseded);
        }
    };
    match outcome {
        // The copy has taken the server's place: it goes down, and the connection with it.
        Ok(()) | Err(SqlError::Connection { .. }) => {}
        Err(error) if error.code() == Some(RESTART_FAILED) => {}
        Err(error) => {
            // The directory is partial, nothing of it is kept.
            mysqld.kill();
            mysqld.wait().await?;
            return Err(error.into());
        }
    }
    let exit = scratch::wait(&mut mysqld, guard).await?;
    // Whether it went well, the next start tells; but a server that crashed has not got that far.
    if exit.wants_restart() || exit.success() {
        Ok(())
    } else {
        Err(TaskError::Failed { what: "clone", exit })
    }
}

/// Checks that the copy ended well, takes the donor's channel out of it, and reads its new UUID.
async fn verify(server: &mut Scratch) -> Result<String, TaskError> {
    let query = "SELECT STATE, ERROR_NO, IFNULL(ERROR_MESSAGE, '') FROM performance_schema.clone_status";
    let rows: Vec<(String, u64, String)> = server.client.rows("read the clone's status", query).await?;
    match rows.into_iter().next() {
        Some((state, _, _)) if state == "Completed" => {}
        Some((state, number, message)) => {
            return Err(TaskError::Outcome(format!("the clone is {state}: error {number}: {message}")));
        }
        None => return Err(TaskError::Outcome("after the clone the server knows nothing of one".to_owned())),
    }
    server.client.run("RESET REPLICA ALL", "RESET REPLICA ALL").await?;
    let (uuid, executed): (String, String) =
        server.client.row("read the clone's GTIDs", "SELECT @@server_uuid, @@global.gtid_executed").await?;
    tracing::info!(server_uuid = uuid, gtid_executed = executed, "the clone is complete");
    Ok(uuid)
}
