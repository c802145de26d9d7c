//! Clients' sessions: ended at a demotion, because pools keep connections that no label cuts.

use super::{AGENT, CLONE, Client, OPERATOR, REPLICATION, SqlError};

/// Ends the sessions of clients: neither the server's own threads, nor replication's, nor ours.
pub(crate) async fn end_clients(client: &mut Client) -> Result<usize, SqlError> {
    let query = format!(
        "SELECT ID FROM performance_schema.processlist WHERE USER NOT IN ('system user', 'event_scheduler', \
         'unauthenticated user', 'mysql.session', '{AGENT}', '{OPERATOR}', '{REPLICATION}', '{CLONE}') \
         AND COMMAND NOT IN ('Daemon', 'Binlog Dump', 'Binlog Dump GTID')"
    );
    let ids: Vec<(u64,)> = client.rows("list the sessions", &query).await?;
    for (id,) in &ids {
        client.kill(*id).await?;
    }
    Ok(ids.len())
}

/// Sessions besides this one: of clients, of replicas, and ours. The server's own threads are none.
pub(crate) async fn others(client: &mut Client) -> Result<u64, SqlError> {
    let query = "SELECT COUNT(*) FROM performance_schema.processlist \
                 WHERE ID <> CONNECTION_ID() AND USER NOT IN ('system user', 'event_scheduler')";
    let (count,): (u64,) = client.row("count the sessions", query).await?;
    Ok(count)
}

/// Sessions that wait for a replica's acknowledgement. 0 where the plugin is not loaded: then none ever waits.
pub(crate) async fn waiting_for_acknowledgement(client: &mut Client) -> Result<u64, SqlError> {
    let query = "SELECT VARIABLE_VALUE FROM performance_schema.global_status \
                 WHERE VARIABLE_NAME = 'Rpl_semi_sync_source_wait_sessions'";
    let rows: Vec<(String,)> = client.rows("read who waits for an acknowledgement", query).await?;
    let Some((value,)) = rows.first() else { return Ok(0) };
    value.parse().map_err(|_| SqlError::Unexpected { what: "read who waits for an acknowledgement" })
}

/// Whether the plugin is loaded by which commits wait for acknowledgements.
pub(crate) async fn commits_may_wait(client: &mut Client) -> Result<bool, SqlError> {
    let query = "SELECT COUNT(*) FROM performance_schema.global_variables \
                 WHERE VARIABLE_NAME = 'rpl_semi_sync_source_enabled' AND VARIABLE_VALUE = 'ON'";
    let (count,): (u64,) = client.row("look for semi-synchronous replication", query).await?;
    Ok(count > 0)
}
