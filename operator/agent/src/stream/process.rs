//! A copy tool's process, with all that it may start.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::error::StreamError;
use crate::credentials::Password;
use crate::mysqld::output::{Tail, pass_through};
use crate::reaper::Children;

/// Longest time that the log may take to end after the process did.
const LOG_END: Duration = Duration::from_secs(1);
/// What a pipe to or from a tool holds, in bytes: the most that a process without privileges may ask for.
const PIPE: usize = 1024 * 1024;

/// A program with its arguments. There is no shell.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    /// Its name, for messages.
    pub(crate) name: &'static str,
    /// Its file.
    pub(crate) path: &'a Path,
    /// Its arguments.
    pub(crate) arguments: &'a [OsString],
}

/// A running tool. Dropped, it is killed, and with it all that it started.
#[derive(Debug)]
pub(crate) struct Running {
    name: &'static str,
    child: Option<Child>,
    group: Option<Pid>,
    pid: Option<u32>,
    tail: Tail,
    log: Option<JoinHandle<()>>,
    children: Children,
}

impl Running {
    /// Starts it in a process group of its own. Of the agent's environment it gets `PATH` alone. Its standard error
    /// goes to the agent's log, without the secrets.
    pub(crate) fn start(
        program: &Program<'_>,
        stdin: Stdio,
        stdout: Stdio,
        secrets: Vec<Password>,
        children: &Children,
    ) -> Result<Running, StreamError> {
        let name = program.name;
        let mut command = Command::new(program.path);
        command
            .args(program.arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir("/")
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child =
            children.spawn(&mut command).map_err(|source| StreamError::Run { tool: name, source })?;
        let tail = Tail::default();
        let log = child
            .stderr
            .take()
            .map(|log| tokio::spawn(pass_through(log, io::stderr(), secrets, tail.clone())));
        let pid = child.id();
        let group = pid.and_then(|pid| Pid::from_raw(pid.cast_signed()));
        tracing::info!(tool = name, pid, "tool started");
        Ok(Running { name, child: Some(child), group, pid, tail, log, children: children.clone() })
    }

    /// Its standard output, if it was piped and not taken yet.
    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        let pipe = self.child.as_mut()?.stdout.take()?;
        widen(&pipe);
        Some(pipe)
    }

    /// Its standard input, if it was piped and not taken yet.
    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        let pipe = self.child.as_mut()?.stdin.take()?;
        widen(&pipe);
        Some(pipe)
    }

    /// Waits for its end; an error if that is no good one. May be cancelled and called again.
    pub(crate) async fn wait(&mut self) -> Result<(), StreamError> {
        let tool = self.name;
        let Some(child) = &mut self.child else {
            return Err(StreamError::Tool { tool, outcome: "it has ended before".to_owned() });
        };
        let status = child.wait().await.map_err(|source| StreamError::Run { tool, source })?;
        if let Some(pid) = self.pid.take() {
            self.children.forget(pid);
        }
        self.kill();
        if let Some(log) = &mut self.log {
            if timeout(LOG_END, &mut *log).await.is_err() {
                log.abort();
            }
            self.log = None;
        }
        tracing::info!(tool, %status, "tool ended");
        if status.success() {
            return Ok(());
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (_, Some(signal)) => format!("killed by signal {signal}"),
            _ => status.to_string(),
        };
        let told = self.tail.telling();
        Err(StreamError::Tool {
            tool,
            outcome: if told.is_empty() { how } else { format!("{how}; its log: {told}") },
        })
    }

    /// Kills it and all that it started.
    pub(crate) fn kill(&mut self) {
        // Taken: once all have ended, the number may be another group's.
        if let Some(group) = self.group.take()
            && let Err(error) = kill_process_group(group, Signal::KILL)
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!(%error, tool = self.name, "a tool could not be killed");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        let (Some(mut child), Some(pid)) = (self.child.take(), self.pid.take()) else { return };
        let children = self.children.clone();
        // Whoever waits for the agent's children to end has to learn of it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if child.wait().await.is_ok() {
                    children.forget(pid);
                }
            });
        }
    }
}

/// A larger pipe means fewer turns between the tool and the agent; with a smaller one all works as well.
fn widen(pipe: &impl std::os::fd::AsFd) {
    if let Err(error) = rustix::pipe::fcntl_setpipe_size(pipe, PIPE) {
        tracing::debug!(%error, "a pipe stays small");
    }
}
