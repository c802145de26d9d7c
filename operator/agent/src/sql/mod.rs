//! The agent's connections to its own server, with an account that is kept at every start.

pub(crate) mod accounts;
mod connect;
pub(crate) mod quote;
pub(crate) mod replication;
pub(crate) mod required;
pub(crate) mod sessions;
pub(crate) mod sha2_password;
pub(crate) mod state;

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, DriverError, Row};
use tokio::time::{sleep, timeout};

use crate::credentials::Password;
use crate::redact::redact;

pub(crate) use connect::{ADMIN_ADDRESS, Access, Admin};

/// The agent's account.
pub(crate) const AGENT: &str = "mainstay_agent";
/// The account of copy tools, over the socket.
pub(crate) const BACKUP: &str = "mainstay_backup";
/// The operator's account.
pub(crate) const OPERATOR: &str = "mainstay_operator";
/// The account of the replicas' receivers.
pub(crate) const REPLICATION: &str = "mainstay_repl";
/// The account of clones' recipients.
pub(crate) const CLONE: &str = "mainstay_clone";

/// `ER_NO_SUCH_THREAD`: the session that was to be ended has ended.
const NO_SUCH_THREAD: u16 = 1094;
/// `ER_PARSE_ERROR`: its message quotes the statement.
const PARSE_ERROR: u16 = 1064;

/// What an account that is not as it should be is told: access denied, password expired (to a client that can't
/// change it, and to one that did not), locked, no such plugin, TLS demanded, and a privilege that it lacks.
const DENIED: [u16; 7] = [1045, 1862, 1820, 3118, 1524, 3159, 1227];

/// Longest time for a statement that nothing should hold up.
pub(crate) const SHORT: Duration = Duration::from_secs(30);
/// Longest time to wait until a statement that was killed is gone.
const GONE: Duration = Duration::from_secs(5);

/// What went wrong with a statement. Never contains the statement.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SqlError {
    /// The server refused.
    #[error("{what}: error {code} ({state}): {message}")]
    Server {
        /// What was tried.
        what: &'static str,
        /// MySQL's error number.
        code: u16,
        /// SQLSTATE.
        state: String,
        /// MySQL's message.
        message: String,
    },
    /// The server asks for a way to log in that the account does not have. Of an account that it does not know it
    /// asks for any, so that nobody can tell (seen on 9.7.4).
    #[error("{what}: the server asks the account for {plugin}")]
    OtherPlugin {
        /// What was tried.
        what: &'static str,
        /// The plugin.
        plugin: String,
    },
    /// The connection failed.
    #[error("{what}: {message}")]
    Connection {
        /// What was tried.
        what: &'static str,
        /// The error.
        message: String,
    },
    /// No answer in time.
    #[error("{what}: no answer within {seconds} s")]
    Timeout {
        /// What was tried.
        what: &'static str,
        /// The bound in seconds.
        seconds: u64,
    },
    /// An answer without the expected row.
    #[error("{what}: an unexpected answer")]
    Unexpected {
        /// What was tried.
        what: &'static str,
    },
}

impl SqlError {
    /// Whether the account is not as it should be: to try again does not help.
    pub(crate) fn is_denied(&self) -> bool {
        match self {
            SqlError::Server { code, .. } => DENIED.contains(code),
            SqlError::OtherPlugin { .. } => true,
            SqlError::Connection { .. } | SqlError::Timeout { .. } | SqlError::Unexpected { .. } => false,
        }
    }

    /// MySQL's error number, if it was the server that refused.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            SqlError::Server { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The driver's error without anything of the statement. `secret` is one that holds a password.
    fn new(what: &'static str, error: mysql_async::Error, secret: Option<&Password>) -> Self {
        match error {
            mysql_async::Error::Server(error) => {
                let message = match secret {
                    Some(_) if error.code == PARSE_ERROR => "syntax error".to_owned(),
                    Some(password) => redact(&error.message, std::slice::from_ref(password)),
                    None => error.message,
                };
                SqlError::Server { what, code: error.code, state: error.state, message }
            }
            mysql_async::Error::Driver(DriverError::UnknownAuthPlugin { name }) => {
                SqlError::OtherPlugin { what, plugin: name }
            }
            other => SqlError::Connection { what, message: other.to_string() },
        }
    }
}

/// A connection to the agent's server.
pub(crate) struct Client {
    access: Access,
    conn: Conn,
}

impl Client {
    /// Connects. The session writes nothing to the binary log, and its literals are as [`quote::text`] makes them.
    pub(crate) async fn connect(access: &Access) -> Result<Client, SqlError> {
        Ok(Client { access: access.clone(), conn: connect::connect(access).await? })
    }

    /// Says goodbye, and is gone.
    pub(crate) async fn close(self) -> Result<(), SqlError> {
        self.conn.disconnect().await.map_err(|error| SqlError::new("disconnect", error, None))
    }

    /// The session's id in the server.
    pub(crate) fn id(&self) -> u32 {
        self.conn.id()
    }

    /// Carries out a statement without a result.
    pub(crate) async fn run(&mut self, what: &'static str, statement: &str) -> Result<(), SqlError> {
        self.run_within(SHORT, what, statement, None).await
    }

    /// Carries out a statement that holds a password.
    pub(crate) async fn run_secret(
        &mut self,
        what: &'static str,
        statement: &str,
        secret: &Password,
    ) -> Result<(), SqlError> {
        self.run_within(SHORT, what, statement, Some(secret)).await
    }

    /// Carries out a statement within a bound. One that does not end in time is killed, and this comes back when
    /// it is gone: a statement left behind could take effect after what a newer order said.
    pub(crate) async fn run_within(
        &mut self,
        bound: Duration,
        what: &'static str,
        statement: &str,
        secret: Option<&Password>,
    ) -> Result<(), SqlError> {
        match timeout(bound, self.conn.query_drop(statement)).await {
            Ok(outcome) => outcome.map_err(|error| SqlError::new(what, error, secret)),
            Err(_) => {
                let id = self.id();
                kill_and_wait(&self.access, id).await?;
                Err(SqlError::Timeout { what, seconds: bound.as_secs() })
            }
        }
    }

    /// `SET GLOBAL super_read_only = ON`, as long as it takes: it waits for writes that are under way. Left behind
    /// it does no harm, since it can only end in a server that is read-only.
    pub(crate) async fn run_read_only(&mut self) -> Result<(), SqlError> {
        let what = "become read-only";
        let outcome = self.conn.query_drop("SET GLOBAL super_read_only = ON").await;
        outcome.map_err(|error| SqlError::new(what, error, None))
    }

    /// Carries out a statement that ends only with the operation it begins: CLONE.
    pub(crate) async fn run_unbounded(
        &mut self,
        what: &'static str,
        statement: &str,
        secret: &Password,
    ) -> Result<(), SqlError> {
        self.conn.query_drop(statement).await.map_err(|error| SqlError::new(what, error, Some(secret)))
    }

    /// All rows of a query.
    pub(crate) async fn rows<T>(&mut self, what: &'static str, query: &str) -> Result<Vec<T>, SqlError>
    where
        T: FromRow + Send + 'static,
    {
        self.rows_within(SHORT, what, query).await
    }

    /// All rows of a query within a bound. The connection is of no use after a timeout.
    pub(crate) async fn rows_within<T>(
        &mut self,
        bound: Duration,
        what: &'static str,
        query: &str,
    ) -> Result<Vec<T>, SqlError>
    where
        T: FromRow + Send + 'static,
    {
        let rows: Vec<Row> = timeout(bound, self.conn.query(query))
            .await
            .map_err(|_| SqlError::Timeout { what, seconds: bound.as_secs() })?
            .map_err(|error| SqlError::new(what, error, None))?;
        rows.into_iter().map(|row| T::from_row_opt(row).map_err(|_| SqlError::Unexpected { what })).collect()
    }

    /// The one row of a query.
    pub(crate) async fn row<T>(&mut self, what: &'static str, query: &str) -> Result<T, SqlError>
    where
        T: FromRow + Send + 'static,
    {
        self.rows(what, query).await?.pop().ok_or(SqlError::Unexpected { what })
    }

    /// Ends another session; no error if it has ended already.
    pub(crate) async fn kill(&mut self, id: u64) -> Result<(), SqlError> {
        let what = "KILL";
        match timeout(SHORT, self.conn.query_drop(format!("KILL CONNECTION {id}"))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(mysql_async::Error::Server(error))) if error.code == NO_SUCH_THREAD => Ok(()),
            Ok(Err(error)) => Err(SqlError::new(what, error, None)),
            Err(_) => Err(SqlError::Timeout { what, seconds: SHORT.as_secs() }),
        }
    }
}

/// Kills the session `id` and waits until the server has no such session.
async fn kill_and_wait(access: &Access, id: u32) -> Result<(), SqlError> {
    let what = "end a statement that takes too long";
    let mut client = Client::connect(access).await?;
    client.kill(u64::from(id)).await?;
    let gone = async {
        loop {
            let query = format!("SELECT COUNT(*) FROM performance_schema.processlist WHERE ID = {id}");
            let (left,): (u64,) = client.row(what, &query).await?;
            if left == 0 {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(GONE, gone).await.map_err(|_| SqlError::Timeout { what, seconds: GONE.as_secs() })?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(code: u16, message: &str) -> mysql_async::Error {
        let message = message.to_owned();
        mysql_async::Error::Server(mysql_async::ServerError { code, message, state: "42000".into() })
    }

    #[test]
    fn an_error_does_not_repeat_a_password() {
        let password = Password::new("hid'den");
        for error in [
            server_error(1064, "You have an error near 'hid''den' ACCOUNT"),
            server_error(3862, "Clone Donor Error: hid'den was refused"),
        ] {
            let shown = SqlError::new("clone", error, Some(&password)).to_string();
            assert!(!shown.contains("hid"), "{shown}");
        }
        let shown = SqlError::new("clone", server_error(3862, "Donor is gone"), Some(&password)).to_string();
        assert!(shown.contains("Donor is gone"));
    }
}
