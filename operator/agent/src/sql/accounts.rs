//! The accounts that every instance has.
//!
//! They are set by an init file at every start, before any client can connect, and outside the binary log: an
//! account statement that is logged waits for an acknowledgement, and while it waits nobody can log in.

use crate::credentials::{Credentials, Password};
use crate::sql::AGENT;
use crate::sql::quote::string;

/// Statements, one a line, that leave the accounts as the mounted Secret says and the server read-only.
pub(crate) fn init_file(credentials: &Credentials, agent: &Password) -> String {
    let mut lines = vec!["SET GLOBAL super_read_only=OFF".to_owned(), "SET SESSION sql_log_bin=0".to_owned()];
    lines.extend(statements(credentials, Some(agent)));
    lines.push("SET SESSION sql_log_bin=1".to_owned());
    lines.push("SET GLOBAL super_read_only=ON".to_owned());
    lines.iter().map(|line| format!("{line};\n")).collect()
}

/// The same for a server that runs and may be written to; the agent's own account stays as it is.
pub(crate) fn statements(credentials: &Credentials, agent: Option<&Password>) -> Vec<String> {
    let mut lines = vec!["DROP USER IF EXISTS 'root'@'localhost'".to_owned()];
    if let Some(agent) = agent {
        lines.extend(account(AGENT, "localhost", agent, "", &["ALL PRIVILEGES ON *.*"], true));
    }
    lines.extend(account("root", "%", &credentials.root, "", &["ALL PRIVILEGES ON *.*"], true));
    let operator =
        ["REPLICATION CLIENT, PROCESS, SERVICE_CONNECTION_ADMIN ON *.*", "SELECT ON performance_schema.*"];
    lines.extend(account("mainstay_operator", "%", &credentials.operator, " REQUIRE SSL", &operator, false));
    let replication = ["REPLICATION SLAVE ON *.*"];
    lines.extend(account(
        "mainstay_repl",
        "%",
        &credentials.replication,
        " REQUIRE SSL",
        &replication,
        false,
    ));
    lines.extend(account(
        "mainstay_clone",
        "%",
        &credentials.clone,
        " REQUIRE SSL",
        &["BACKUP_ADMIN ON *.*"],
        false,
    ));
    lines
}

fn account(
    user: &str,
    host: &str,
    password: &Password,
    require: &str,
    grants: &[&str],
    grant_option: bool,
) -> Vec<String> {
    let password = string(password.reveal());
    let option = if grant_option { " WITH GRANT OPTION" } else { "" };
    let mut lines = vec![
        format!("CREATE USER IF NOT EXISTS '{user}'@'{host}' IDENTIFIED BY {password}"),
        format!("ALTER USER '{user}'@'{host}' IDENTIFIED BY {password}{require} ACCOUNT UNLOCK"),
    ];
    lines.extend(grants.iter().map(|grant| format!("GRANT {grant} TO '{user}'@'{host}'{option}")));
    lines
}
