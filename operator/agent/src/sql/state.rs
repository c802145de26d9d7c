//! What the server says of itself.

use std::time::Duration;

use mainstay_proto::{Channel, EventName, ServerState};
use mysql_async::Row;

use super::{Client, SqlError, quote};

/// Longest time for each query of the monitor.
const BOUND: Duration = Duration::from_secs(2);

/// The state but for the channel.
pub(crate) async fn read(client: &mut Client) -> Result<ServerState, SqlError> {
    let query = "SELECT @@version, @@server_uuid, @@global.super_read_only, @@global.gtid_executed, \
                 @@global.gtid_purged";
    let what = "read the server's state";
    let mut rows: Vec<(String, String, bool, String, String)> =
        client.rows_within(BOUND, what, query).await?;
    let (version, server_uuid, super_read_only, executed, purged) =
        rows.pop().ok_or(SqlError::Unexpected { what })?;
    Ok(ServerState {
        version,
        server_uuid,
        super_read_only,
        gtid_executed: one_line(&executed),
        gtid_purged: one_line(&purged),
        ..ServerState::default()
    })
}

/// Whether each of these sets holds now what it held before: pairs of before and now.
pub(crate) async fn grew(
    client: &mut Client,
    executed: (&str, &str),
    purged: (&str, &str),
) -> Result<bool, SqlError> {
    let within =
        |(before, now): (&str, &str)| format!("GTID_SUBSET({}, {})", quote::text(before), quote::text(now));
    let query = format!("SELECT {} AND {}", within(executed), within(purged));
    let what = "compare the server's GTIDs";
    let mut rows: Vec<(bool,)> = client.rows_within(BOUND, what, &query).await?;
    rows.pop().map(|(grew,)| grew).ok_or(SqlError::Unexpected { what })
}

/// The scheduled events that are disabled here, as a person or the agent left them.
pub(crate) async fn disabled_events(client: &mut Client) -> Result<Vec<EventName>, SqlError> {
    let query = "SELECT EVENT_SCHEMA, EVENT_NAME FROM information_schema.EVENTS WHERE STATUS = 'DISABLED' \
                 ORDER BY EVENT_SCHEMA, EVENT_NAME";
    let rows: Vec<(String, String)> = client.rows_within(BOUND, "list the disabled events", query).await?;
    Ok(rows.into_iter().map(|(schema, name)| EventName { schema, name }).collect())
}

/// The default replication channel, if one is configured.
pub(crate) async fn channel(client: &mut Client) -> Result<Option<Channel>, SqlError> {
    let rows: Vec<Row> =
        client.rows_within(BOUND, "read the replica's status", "SHOW REPLICA STATUS").await?;
    let mut channel = rows.iter().find(|row| text(row, "Channel_Name").is_empty()).map(from_row);
    if let Some(error) = channel.as_mut().and_then(|channel| channel.applier_error.as_mut())
        && error.contains(WORKERS)
        && let Some(said) = of_worker(client).await?
    {
        *error = said;
    }
    Ok(channel)
}

/// Where a coordinator points to that was stopped by one of its workers: it does not say itself what went wrong.
const WORKERS: &str = "replication_applier_status_by_worker";

/// The latest error of the default channel's workers.
async fn of_worker(client: &mut Client) -> Result<Option<String>, SqlError> {
    let query = "SELECT LAST_ERROR_NUMBER, LAST_ERROR_MESSAGE \
                 FROM performance_schema.replication_applier_status_by_worker \
                 WHERE CHANNEL_NAME = '' AND LAST_ERROR_NUMBER <> 0 ORDER BY LAST_ERROR_TIMESTAMP DESC LIMIT 1";
    let rows: Vec<(u64, String)> = client.rows_within(BOUND, "read the workers' errors", query).await?;
    Ok(rows.into_iter().next().map(|(number, message)| format!("error {number}: {message}")))
}

fn from_row(row: &Row) -> Channel {
    let error = |number: &str, message: &str| {
        let number: u64 = row.get_opt(number).and_then(Result::ok).unwrap_or(0);
        (number != 0).then(|| format!("error {number}: {}", text(row, message)))
    };
    Channel {
        // Who looks knows when.
        read_at: None,
        source_host: text(row, "Source_Host"),
        source_port: row.get_opt("Source_Port").and_then(Result::ok).unwrap_or(0),
        receiver_running: text(row, "Replica_IO_Running") == "Yes",
        receiver_connecting: text(row, "Replica_IO_Running") == "Connecting",
        applier_running: text(row, "Replica_SQL_Running") == "Yes",
        gtid_received: one_line(&text(row, "Retrieved_Gtid_Set")),
        lag_seconds: row.get_opt::<Option<u64>, _>("Seconds_Behind_Source").and_then(Result::ok).flatten(),
        receiver_error: error("Last_IO_Errno", "Last_IO_Error"),
        applier_error: error("Last_SQL_Errno", "Last_SQL_Error"),
    }
}

fn text(row: &Row, column: &str) -> String {
    row.get_opt::<Option<String>, _>(column).and_then(Result::ok).flatten().unwrap_or_default()
}

/// MySQL breaks long GTID sets into lines.
fn one_line(set: &str) -> String {
    set.chars().filter(|c| !c.is_whitespace()).collect()
}
