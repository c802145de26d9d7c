//! What a running server says of itself.

use mainstay_proto::{Channel, ServerState};

use super::{Session, SqlError, number, text};

const SELF: &str = "SELECT @@version AS v, @@server_uuid AS u, @@super_read_only AS r, \
                    @@GLOBAL.gtid_executed AS e, @@GLOBAL.gtid_purged AS p";

/// Asks for everything that a report has. Manual: "SHOW REPLICA STATUS Statement".
pub(crate) async fn read(session: &mut Session) -> Result<ServerState, SqlError> {
    let doing = "reading the server's state";
    let row = session.row(doing, SELF).await?.ok_or(SqlError::Form { doing })?;
    let channel = session.row(doing, "SHOW REPLICA STATUS").await?.as_ref().map(channel);
    Ok(ServerState {
        version: text(&row, "v"),
        server_uuid: text(&row, "u"),
        super_read_only: text(&row, "r") != "0",
        gtid_executed: one_line(&text(&row, "e")),
        gtid_purged: one_line(&text(&row, "p")),
        channel: channel.filter(|channel| !channel.source_host.is_empty()),
        setting_errors: Vec::new(),
    })
}

fn channel(row: &mysql_async::Row) -> Channel {
    let error = |column| Some(text(row, column)).filter(|text| !text.is_empty());
    Channel {
        source_host: text(row, "Source_Host"),
        source_port: number(row, "Source_Port").and_then(|port| port.try_into().ok()).unwrap_or_default(),
        receiver_running: text(row, "Replica_IO_Running") == "Yes",
        applier_running: text(row, "Replica_SQL_Running") == "Yes",
        gtid_received: one_line(&text(row, "Retrieved_Gtid_Set")),
        lag_seconds: number(row, "Seconds_Behind_Source"),
        receiver_error: error("Last_IO_Error"),
        applier_error: error("Last_SQL_Error"),
    }
}

/// The server breaks long sets into lines.
fn one_line(set: &str) -> String {
    set.replace('\n', "")
}
