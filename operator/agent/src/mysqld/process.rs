//! mysqld's process.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::RESTART_STATUS;
use super::output::{Tail, pass_through};
use crate::credentials::Password;
use crate::reaper::Children;
use crate::sql::{Access, Client, SqlError};

/// Time between two attempts to connect to a server that is starting.
const KNOCK: Duration = Duration::from_millis(100);
/// Longest time that the log may take to end after the process did.
const LOG_END: Duration = Duration::from_secs(1);

/// Why mysqld was not started or did not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    /// There is no mysqld.
    #[error("there is no mysqld in PATH ({0}) nor in /usr/sbin: is the image one of MySQL's server?")]
    NotFound(String),
    /// It can't be started.
    #[error("can't start mysqld: {0}")]
    Spawn(#[source] io::Error),
    /// It can't be waited for.
    #[error("can't wait for mysqld: {0}")]
    Wait(#[source] io::Error),
    /// It ended before it answered.
    #[error("mysqld ended before it answered: {0}")]
    Ended(Exit),
    /// It answers, but does not let the agent in.
    #[error("mysqld does not let the agent in: {0}")]
    Denied(String),
}

/// Where mysqld is.
#[derive(Clone, Debug)]
pub(crate) struct ServerBinary(PathBuf);

impl ServerBinary {
    /// Looks in `PATH` and in `/usr/sbin`.
    pub(crate) fn find() -> Result<Self, ProcessError> {
        let path = std::env::var("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin")])
            .map(|directory| directory.join("mysqld"))
            .find(|candidate| candidate.is_file())
            .map(ServerBinary)
            .ok_or(ProcessError::NotFound(path))
    }
}

/// How mysqld ended.
#[derive(Clone, Debug)]
pub(crate) struct Exit {
    status: ExitStatus,
    tail: Tail,
}

impl Exit {
    /// It asks to be started again.
    pub(crate) fn wants_restart(&self) -> bool {
        self.status.code() == Some(RESTART_STATUS)
    }

    /// It ended well.
    pub(crate) fn success(&self) -> bool {
        self.status.success()
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => write!(f, "exit status {code}")?,
            (_, Some(signal)) => write!(f, "killed by signal {signal}")?,
            _ => write!(f, "{}", self.status)?,
        }
        let told = self.tail.telling();
        if told.is_empty() { Ok(()) } else { write!(f, "; its log: {told}") }
    }
}

/// A running mysqld. It is killed if this is dropped.
#[derive(Debug)]
pub(crate) struct Mysqld {
    child: Child,
    pid: Option<u32>,
    tail: Tail,
    log: Option<JoinHandle<()>>,
    children: Children,
}

impl Mysqld {
    /// Starts mysqld. `lock` becomes its standard input, which it does not read: so the volume stays locked as
    /// long as it lives, even if the agent does not.
    pub(crate) fn spawn(
        binary: &ServerBinary,
        arguments: &[OsString],
        lock: File,
        secrets: Vec<Password>,
        children: &Children,
    ) -> Result<Mysqld, ProcessError> {
        let mut command = Command::new(&binary.0);
        command
            .args(arguments)
            // RESTART, which a clone ends with, works only if mysqld's parent says that it will start it again.
            .env("MYSQLD_PARENT_PID", std::process::id().to_string())
            .current_dir(Path::new("/"))
            .stdin(Stdio::from(lock))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = children.spawn(&mut command).map_err(ProcessError::Spawn)?;
        let tail = Tail::default();
        let log = child
            .stderr
            .take()
            .map(|log| tokio::spawn(pass_through(log, io::stderr(), secrets, tail.clone())));
        tracing::info!(pid = child.id(), "mysqld started");
        Ok(Mysqld { pid: child.id(), child, tail, log, children: children.clone() })
    }

    /// Waits until it ends. May be cancelled and called again.
    pub(crate) async fn wait(&mut self) -> Result<Exit, ProcessError> {
        let status = self.child.wait().await.map_err(ProcessError::Wait)?;
        if let Some(pid) = self.pid.take() {
            self.children.forget(pid);
        }
        // What the log said last came before the end; a child that inherited it may keep it open for ever.
        if let Some(log) = &mut self.log {
            if timeout(LOG_END, &mut *log).await.is_err() {
                log.abort();
            }
            self.log = None;
        }
        let exit = Exit { status, tail: self.tail.clone() };
        tracing::info!(%exit, "mysqld ended");
        Ok(exit)
    }

    /// Waits until it lets the agent in, however long its recovery takes.
    pub(crate) async fn answers(&mut self, access: &Access) -> Result<Client, ProcessError> {
        loop {
            tokio::select! {
                exit = self.wait() => return Err(ProcessError::Ended(exit?)),
                connected = Client::connect(access) => match connected {
                    Ok(client) => return Ok(client),
                    // Before the accounts are there, nobody can connect: to be turned away is final.
                    Err(error) if error.is_denied() => {
                        return Err(ProcessError::Denied(self.explained(&error)));
                    }
                    Err(error) => tracing::debug!(%error, "mysqld does not answer yet"),
                },
            }
            sleep(KNOCK).await;
        }
    }

    /// Cancelled once it said that it was told to stop, by whomever.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.tail.stopping()
    }

    /// An error with what the log says of its cause: a statement of the init file that failed, say.
    fn explained(&self, error: &SqlError) -> String {
        let errors = self.tail.errors();
        if errors.is_empty() { error.to_string() } else { format!("{error}; its log: {errors}") }
    }

    /// Asks it to stop. A primary only as invariant I14 says.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Stops it cleanly, or after `bound` at once.
    pub(crate) async fn stop(&mut self, bound: Duration) -> Result<Exit, ProcessError> {
        self.terminate();
        match timeout(bound, self.wait()).await {
            Ok(exit) => exit,
            Err(_) => {
                tracing::warn!(seconds = bound.as_secs(), "mysqld did not stop in time and is killed");
                self.kill();
                self.wait().await
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // No id: it was waited for, and the number may be another process' by now.
        let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
        if let Err(error) = kill_process(pid, signal) {
            tracing::warn!(%error, ?signal, "mysqld could not be signalled");
        }
    }
}
