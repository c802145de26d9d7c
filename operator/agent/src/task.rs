//! What all that is ordered has in common: why it was not carried out, and that a newer order ends it.

use std::io;

use mainstay_proto::Term;
use tokio_util::sync::CancellationToken;

use crate::credentials::CredentialsError;
use crate::mysqld::{Exit, FilesError, ProcessError};
use crate::sql::SqlError;
use crate::stream::error::StreamError;
use crate::volume::VolumeError;

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// A newer order came, or the agent is ending.
    #[error("superseded by a newer order, or by the agent's end")]
    Superseded,
    /// The server does not run.
    #[error("the server does not run")]
    NoServer,
    /// The volume does not allow it.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// mysqld's process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// mysqld's files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The passwords.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The configuration.
    #[error("can't read the configuration: {0}")]
    Config(#[source] io::Error),
    /// A statement.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// mysqld did not do what it was started for.
    #[error("mysqld failed to {what}: {exit}")]
    Failed {
        /// What it was started for.
        what: &'static str,
        /// How it ended.
        exit: Exit,
    },
    /// A copy.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// What came out is not what was wanted.
    #[error("{0}")]
    Outcome(String),
}

/// Looked at before each step: whether the order is still the newest.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    token: CancellationToken,
    term: Term,
}

impl Guard {
    /// For an order with this term, until `token` is cancelled.
    pub(crate) fn new(token: CancellationToken, term: Term) -> Self {
        Guard { token, term }
    }

    /// The order's term.
    pub(crate) fn term(&self) -> Term {
        self.term
    }

    /// Fails once a newer order came.
    pub(crate) fn check(&self) -> Result<(), TaskError> {
        if self.token.is_cancelled() { Err(TaskError::Superseded) } else { Ok(()) }
    }

    /// Comes back once a newer order came.
    pub(crate) async fn superseded(&self) {
        self.token.cancelled().await;
    }
}
