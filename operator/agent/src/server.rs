//! Starting mysqld until it answers: what preparing and serving have in common.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use mainstay_proto::GrantedRole;

use crate::credentials::{Credentials, CredentialsError, Password};
use crate::mysqld::options::{self, Purpose, RunFiles};
use crate::mysqld::process::{Ended, Mysqld};
use crate::settings::Settings;
use crate::sql::{AGENT, Session, SqlError, accounts};
use crate::volume::lock::Lock;

/// Between two tries to reach a server that is starting.
const POLL: Duration = Duration::from_millis(100);

/// Why the server is not up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// A file can't be read or written, or mysqld can't be started.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The error.
        source: io::Error,
    },
    /// A password can't be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// It ended instead of answering.
    #[error("{}", .0.message)]
    Ended(Ended),
    /// It refused a statement.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

/// Adds what was being done to an error of the file system.
pub(crate) trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T, ServerError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &'static str) -> Result<T, ServerError> {
        self.map_err(|source| ServerError::Io { doing: what, source })
    }
}

/// What is needed to start mysqld, and to talk to it.
pub(crate) struct Launcher {
    pub(crate) settings: Settings,
    pub(crate) ordinal: u32,
    /// The agent's own account; a new one with every agent.
    password: Password,
}

impl Launcher {
    pub(crate) fn new(settings: Settings, ordinal: u32) -> Self {
        Launcher { settings, ordinal, password: Password::random() }
    }

    fn run(&self) -> RunFiles<'_> {
        RunFiles(&self.settings.run)
    }

    fn options(&self) -> PathBuf {
        self.run().options()
    }

    /// Runs `mysqld --initialize-insecure`: the accounts are set by the first start.
    pub(crate) async fn initialize(&self, lock: &Lock) -> Result<(), ServerError> {
        let text =
            options::render(&self.settings, self.ordinal, Purpose::Prepare, None).doing("reading options")?;
        // The init file would be run by the bootstrap too, before there are accounts.
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("init_file"))
            .map(|line| format!("{line}\n"))
            .collect();
        options::write_private(&self.options(), &text).doing("writing options")?;
        let lock = lock.duplicate().doing("handing on the lock")?;
        let mut mysqld =
            Mysqld::start(&self.options(), &["--initialize-insecure"], lock).doing("starting mysqld")?;
        let ended = mysqld.ended().await;
        if ended.success { Ok(()) } else { Err(ServerError::Ended(ended)) }
    }

    /// Starts mysqld; the accounts are set before anybody can connect.
    pub(crate) fn start(
        &self,
        purpose: Purpose,
        role: Option<&GrantedRole>,
        lock: &Lock,
    ) -> Result<Mysqld, ServerError> {
        let credentials = Credentials::read(&self.settings.credentials)?;
        std::fs::create_dir_all(self.settings.tmpdir()).doing("making the directory for temporary files")?;
        let text = options::render(&self.settings, self.ordinal, purpose, role).doing("reading options")?;
        options::write_private(&self.options(), &text).doing("writing options")?;
        let init = accounts::init_file(&credentials, &self.password);
        options::write_private(&self.run().init(), &init).doing("writing the init file")?;
        let client = format!(
            "[client]\nuser={AGENT}\npassword={}\nsocket={}\n",
            self.password.reveal(),
            self.run().socket().display()
        );
        options::write_private(&self.run().client(), &client).doing("writing client.cnf")?;
        let lock = lock.duplicate().doing("handing on the lock")?;
        Mysqld::start(&self.options(), &[], lock).doing("starting mysqld")
    }

    /// A session with a server that is up.
    pub(crate) async fn session(&self) -> Result<Session, SqlError> {
        Session::open(&self.run().socket(), &self.password).await
    }

    /// Waits until the server answers or ends. However long recovery takes, it is not hurried.
    pub(crate) async fn answers(&self, mysqld: &mut Mysqld) -> Result<Session, ServerError> {
        loop {
            if let Ok(session) = self.session().await {
                // The passwords in it have done their work.
                let _ = std::fs::remove_file(self.run().init());
                return Ok(session);
            }
            tokio::select! {
                ended = mysqld.ended() => {
                    let _ = std::fs::remove_file(self.run().init());
                    return Err(ServerError::Ended(ended));
                }
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }
}
