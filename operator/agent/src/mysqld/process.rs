//! mysqld as a child process.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How many lines of the log are kept for reports: errors before others.
const TAIL: usize = 5;
/// How MySQL marks an error in its log.
const ERROR: &str = "[ERROR]";
/// Exit status by which mysqld asks its supervisor to be started again. Manual: "RESTART Statement".
const RESTART: i32 = 16;

/// A running mysqld.
pub(crate) struct Mysqld {
    child: Child,
    tail: Arc<Mutex<VecDeque<String>>>,
}

/// How it ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// It asked to be started again.
    pub(crate) restart: bool,
    /// Its exit status was 0.
    pub(crate) success: bool,
    /// The exit status and what the log said last.
    pub(crate) message: String,
}

impl Mysqld {
    /// Starts mysqld with an option file. `lock` keeps the volume locked for as long as it lives: it is given as
    /// standard input, which mysqld does not read.
    pub(crate) fn start(options: &Path, arguments: &[&str], lock: File) -> io::Result<Mysqld> {
        let mut child = Command::new("mysqld")
            .arg(format!("--defaults-file={}", options.display()))
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin".into()))
            .env("MYSQLD_PARENT_PID", std::process::id().to_string())
            .stdin(Stdio::from(lock))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let tail = Arc::new(Mutex::new(VecDeque::with_capacity(TAIL)));
        if let Some(log) = child.stderr.take() {
            tokio::spawn(pass_on(log, Arc::clone(&tail)));
        }
        Ok(Mysqld { child, tail })
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> Ended {
        match self.child.wait().await {
            Ok(status) => self.describe(status),
            Err(error) => {
                Ended { restart: false, success: false, message: format!("can't wait for mysqld: {error}") }
            }
        }
    }

    fn describe(&self, status: ExitStatus) -> Ended {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let last = tail.iter().cloned().collect::<Vec<_>>().join(" | ");
        Ended {
            restart: status.code() == Some(RESTART),
            success: status.success(),
            message: format!("mysqld ended ({status}): {last}"),
        }
    }

    /// Sends a signal; nothing if it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may end at this moment, which is what is wanted.
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGTERM, and SIGKILL after the bound. Only for a server that has no commit waiting for an acknowledgement.
    pub(crate) async fn stop(&mut self, within: Duration) -> Ended {
        self.signal(Signal::TERM);
        match tokio::time::timeout(within, self.ended()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.signal(Signal::KILL);
                self.ended().await
            }
        }
    }
}

async fn pass_on(log: impl tokio::io::AsyncRead + Unpin, tail: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(log).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("{line}");
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        // The first errors name the cause; what follows them is how it took the server down.
        let errors = tail.iter().filter(|kept| kept.contains(ERROR)).count();
        if tail.len() == TAIL && errors < TAIL {
            let oldest = tail.iter().position(|kept| !kept.contains(ERROR)).unwrap_or_default();
            tail.remove(oldest);
        }
        if tail.len() < TAIL {
            tail.push_back(line.chars().take(300).collect());
        }
    }
}
