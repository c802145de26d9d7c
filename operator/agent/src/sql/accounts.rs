//! Accounts as the server has them.

use std::collections::BTreeSet;

use super::{AGENT, BACKUP, CLONE, Client, OPERATOR, REPLICATION, SqlError};
use crate::mysqld::accounts::{Found, MONITORING, SESSIONS};

/// The accounts that are of interest, as they are.
pub(crate) async fn read(client: &mut Client) -> Result<Vec<Found>, SqlError> {
    let users = format!("('root', '{AGENT}', '{BACKUP}', '{OPERATOR}', '{REPLICATION}', '{CLONE}')");
    let query = format!(
        "SELECT User, Host, plugin, IFNULL(authentication_string, ''), ssl_type <> '', \
         account_locked = 'N' AND password_expired = 'N' AND IFNULL(password_lifetime, 1) = 0 \
         AND IFNULL(Password_reuse_history, 1) = 0 AND IFNULL(Password_reuse_time, 1) = 0 \
         AND IFNULL(Password_require_current, '') = 'N' \
         AND max_questions = 0 AND max_updates = 0 AND max_connections = 0 \
         AND max_user_connections >= {SESSIONS} \
         AND JSON_EXTRACT(User_attributes, '$.Password_locking') IS NULL \
         FROM mysql.user WHERE User IN {users}"
    );
    let rows: Vec<(String, String, String, String, bool, bool)> =
        client.rows("read the accounts", &query).await?;
    let quoted = "CONCAT('''', User, '''@''', Host, '''')";
    let query = format!(
        "SELECT User, Host, PRIVILEGE_TYPE FROM mysql.user \
         JOIN information_schema.USER_PRIVILEGES ON GRANTEE = {quoted} WHERE User IN {users} \
         UNION ALL SELECT User, Host, '{MONITORING}' FROM mysql.db \
         WHERE Db IN ('performance_schema', 'performance\\\\_schema') AND Select_priv = 'Y' AND User IN {users}"
    );
    let privileges: Vec<(String, String, String)> =
        client.rows("read the accounts' privileges", &query).await?;
    let of = |user: &str, host: &str| -> BTreeSet<String> {
        let theirs = privileges.iter().filter(|(u, h, _)| u == user && h == host);
        theirs.map(|(_, _, privilege)| privilege.clone()).collect()
    };
    let found = rows.into_iter().map(|(user, host, plugin, kept, ssl, open)| Found {
        privileges: of(&user, &host),
        user,
        host,
        plugin,
        kept,
        ssl,
        open,
    });
    Ok(found.collect())
}
