//! The server's SQL: thin, over the socket, as the agent's own account.

pub(crate) mod accounts;
pub(crate) mod quote;
pub(crate) mod state;

use std::path::Path;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use crate::credentials::Password;

/// The agent's account, on the socket only; its password is made anew with every agent and leaves no pod.
pub(crate) const AGENT: &str = "mainstay_agent";
/// A statement that reads must answer within this.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An error of the server or of the way to it. Never shows a statement: some carry passwords.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SqlError {
    /// The server refused a statement.
    #[error("{doing}: error {code} ({state}): {message}")]
    Server {
        /// What was being done.
        doing: &'static str,
        /// MySQL's error code.
        code: u16,
        /// SQLSTATE.
        state: String,
        /// MySQL's message.
        message: String,
    },
    /// There was no answer.
    #[error("{doing}: {cause}")]
    Connection {
        /// What was being done.
        doing: &'static str,
        /// Why.
        cause: String,
    },
    /// It took too long.
    #[error("{doing}: no answer within {} ms", .after.as_millis())]
    Timeout {
        /// What was being done.
        doing: &'static str,
        /// The bound.
        after: Duration,
    },
    /// An answer had another form.
    #[error("{doing}: the server's answer has another form than expected")]
    Form {
        /// What was being done.
        doing: &'static str,
    },
}

impl SqlError {
    fn of(doing: &'static str, error: mysql_async::Error) -> Self {
        match error {
            // MySQL quotes the statement in syntax errors, and a statement may hold a password.
            mysql_async::Error::Server(error) if error.code == 1064 => SqlError::Server {
                doing,
                code: error.code,
                state: error.state,
                message: "a syntax error".into(),
            },
            mysql_async::Error::Server(error) => {
                SqlError::Server { doing, code: error.code, state: error.state, message: error.message }
            }
            other => SqlError::Connection { doing, cause: other.to_string() },
        }
    }

    /// MySQL's error code, if the server refused a statement.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            SqlError::Server { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// A connection over the socket.
pub(crate) struct Session {
    conn: Conn,
}

impl Session {
    pub(crate) async fn open(socket: &Path, password: &Password) -> Result<Session, SqlError> {
        let doing = "connecting";
        let options = OptsBuilder::default()
            .socket(Some(socket.to_string_lossy().into_owned()))
            .prefer_socket(true)
            .user(Some(AGENT))
            .pass(Some(password.reveal()));
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, Conn::new(options)).await;
        let conn = connecting
            .map_err(|_| SqlError::Timeout { doing, after: CONNECT_TIMEOUT })?
            .map_err(|error| SqlError::of(doing, error))?;
        Ok(Session { conn })
    }

    /// Carries out a statement without a bound of its own.
    pub(crate) async fn run(&mut self, doing: &'static str, statement: &str) -> Result<(), SqlError> {
        self.conn.query_drop(statement).await.map_err(|error| SqlError::of(doing, error))
    }

    /// The first row, as text by column name.
    pub(crate) async fn row(
        &mut self,
        doing: &'static str,
        statement: &str,
    ) -> Result<Option<mysql_async::Row>, SqlError> {
        let query = self.conn.query_first::<mysql_async::Row, _>(statement);
        tokio::time::timeout(READ_TIMEOUT, query)
            .await
            .map_err(|_| SqlError::Timeout { doing, after: READ_TIMEOUT })?
            .map_err(|error| SqlError::of(doing, error))
    }
}

/// A column as text; empty if it is NULL or not there.
pub(crate) fn text(row: &mysql_async::Row, column: &str) -> String {
    row.get_opt::<Option<String>, _>(column).and_then(Result::ok).flatten().unwrap_or_default()
}

/// A column as a number.
pub(crate) fn number(row: &mysql_async::Row, column: &str) -> Option<u64> {
    text(row, column).parse().ok()
}
