//! mysqld's log: passed through to the container's, its last lines kept for reports.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio_util::sync::CancellationToken;

use crate::credentials::Password;
use crate::redact::redact;

/// Lines that are kept.
const KEPT: usize = 12;
/// Longest part of a line that is kept, in bytes.
const LONGEST: usize = 400;

/// The last lines of a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
    stopping: CancellationToken,
}

impl Tail {
    fn push(&self, line: &str) {
        if is_stop(line) {
            self.stopping.cancel();
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(LONGEST).collect());
    }

    /// Its errors, or if it has none its last three lines.
    pub(crate) fn telling(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = errors(&lines);
        if errors.is_empty() {
            let skipped = lines.len().saturating_sub(3);
            return lines.iter().skip(skipped).map(String::as_str).collect::<Vec<_>>().join(" | ");
        }
        errors.join(" | ")
    }

    /// Cancelled once the server said that it stops.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Its errors.
    pub(crate) fn errors(&self) -> String {
        errors(&self.lines.lock().unwrap_or_else(PoisonError::into_inner)).join(" | ")
    }
}

/// Whether the server says that it was told to stop: by `SHUTDOWN`, by `RESTART`, or by a signal. It says so before it
/// ends its sessions, whatever `log_error_verbosity` is.
fn is_stop(line: &str) -> bool {
    // Time, thread, priority, number, subsystem, text. A text that quotes a client's words is no such line.
    let mut parts = line.splitn(6, ' ').skip(2);
    let (priority, subsystem) = (parts.next(), parts.nth(1));
    let text = parts.next().unwrap_or_default();
    priority == Some("[System]")
        && subsystem == Some("[Server]")
        && ["Received SHUTDOWN from user ", "Received RESTART from user "]
            .iter()
            .any(|said| text.starts_with(said))
}

fn errors(lines: &VecDeque<String>) -> Vec<&str> {
    lines.iter().filter(|line| line.contains("[ERROR]")).map(String::as_str).collect()
}

/// Copies a log line by line to `out` until it ends. A secret in it is replaced: an error in
/// an account statement quotes the statement.
pub(crate) async fn pass_through(
    log: impl AsyncRead + Unpin,
    mut out: impl Write,
    secrets: Vec<Password>,
    tail: Tail,
) {
    let mut log = BufReader::new(log);
    let mut line = Vec::new();
    loop {
        line.clear();
        match log.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = redact(text.trim_end(), &secrets);
        tail.push(&text);
        // Nobody is there to be told that the log can't be written.
        let _ = writeln!(out, "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_tail_tells_errors_without_secrets() {
        let tail = Tail::default();
        let log = b"one\n[ERROR] near 'hidden'\nthree\n".as_slice();
        pass_through(log, std::io::sink(), vec![Password::new("hidden")], tail.clone()).await;
        assert_eq!(tail.telling(), "[ERROR] near '***'");
    }

    #[test]
    fn a_stop_is_known_by_what_the_server_says_of_itself_alone() {
        let said = "2026-11-30T09:28:10.3Z 12 [System] [MY-013172] [Server] Received SHUTDOWN from user root. Shutting \
                    down mysqld (Version: 9.7.4).";
        let restart = "2026-11-30T09:28:10.3Z 12 [System] [MY-000000] [Server] Received RESTART from user root.  Restarting";
        let denied = "2026-11-30T09:28:10.3Z 12 [Note] [MY-010926] [Server] Access denied for user 'Received SHUTDOWN \
                      from user '@'10.0.0.1'";
        let other =
            "2026-11-30T09:28:10.3Z 0 [System] [MY-010931] [Server] /usr/sbin/mysqld: ready for connections.";
        assert!(is_stop(said) && is_stop(restart));
        assert!(!is_stop(denied) && !is_stop(other) && !is_stop(""));
    }

    #[tokio::test]
    async fn without_errors_the_last_lines_are_told_and_memory_is_bounded() {
        let tail = Tail::default();
        let log: String = (0..1000).map(|n| format!("{n}{}\n", "x".repeat(1000))).collect();
        pass_through(log.as_bytes(), std::io::sink(), Vec::new(), tail.clone()).await;
        assert!(tail.telling().contains("999x"));
        assert!(tail.telling().len() < 4 * LONGEST);
    }
}
