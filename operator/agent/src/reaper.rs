//! Process 1 inherits processes whose parents ended (a shell of `kubectl exec`, say) and has to reap them.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::interval;

/// Our own children: reaped by those who wait for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children {
    known: Arc<Mutex<HashSet<u32>>>,
    forgotten: Arc<Notify>,
}

impl Children {
    fn lock(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a child of ours. The lock is held meanwhile: one that ends at once must be known before the reaper
    /// sees it.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut known = self.lock();
        let child = command.spawn()?;
        known.extend(child.id());
        Ok(child)
    }

    /// It was waited for.
    pub(crate) fn forget(&self, pid: u32) {
        self.lock().remove(&pid);
        self.forgotten.notify_waiters();
    }

    /// Waits until all of them have ended and were waited for.
    pub(crate) async fn none(&self) {
        loop {
            let forgotten = self.forgotten.notified();
            if self.lock().is_empty() {
                return;
            }
            forgotten.await;
        }
    }

    /// Reaps the zombies that are nobody's. `/proc` is searched, because waiting for "any child" would take away
    /// the exit status of ours.
    fn reap(&self) {
        let known = self.lock();
        for pid in zombies(std::process::id()) {
            let Some(id) = Pid::from_raw(pid.cast_signed()).filter(|_| !known.contains(&pid)) else {
                continue;
            };
            if let Err(error) = waitpid(Some(id), WaitOptions::NOHANG) {
                tracing::debug!(%error, pid, "a zombie was not reaped");
            }
        }
    }
}

/// Children of `parent` that have ended and were not waited for.
fn zombies(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| is_zombie_of(&stat, parent).unwrap_or(false))
        })
        .collect()
}

/// Whether `/proc/PID/stat` is of a zombie whose parent is `parent`. The name in it may contain anything, also
/// parentheses and blanks, so what follows its last parenthesis counts (proc_pid_stat(5)).
fn is_zombie_of(stat: &str, parent: u32) -> Option<bool> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let (state, ppid) = (fields.next()?, fields.next()?);
    Some(state == "Z" && ppid.parse::<u32>().ok()? == parent)
}

/// Reaps for ever, if this is process 1.
pub(crate) async fn run(children: Children) -> io::Result<()> {
    if std::process::id() != 1 {
        return Ok(());
    }
    let mut ended = signal(SignalKind::child())?;
    // A child of ours that has ended hides nobody, but signals of others may be merged into its.
    let mut tick = interval(Duration::from_secs(30));
    loop {
        tokio::select! {
            _ = ended.recv() => {}
            _ = tick.tick() => {}
        }
        children.reap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_is_told_by_what_follows_its_name() {
        assert_eq!(is_zombie_of("7 (sh) Z 1 7", 1), Some(true));
        assert_eq!(is_zombie_of("7 (a) S (b) Z 1 7", 1), Some(true));
        assert_eq!(is_zombie_of("7 (sh) S 1 7", 1), Some(false));
        assert_eq!(is_zombie_of("7 (sh) Z 2 7", 1), Some(false));
        assert_eq!(is_zombie_of("", 1), None);
    }

    #[tokio::test]
    async fn an_own_child_is_left_to_who_waits_for_it() {
        let children = Children::default();
        let mut command = Command::new("sh");
        let mut child = children.spawn(command.args(["-c", "exit 3"])).unwrap();
        let pid = child.id().unwrap();
        // Not waited for, it stays a zombie.
        while !zombies(std::process::id()).contains(&pid) {
            tokio::task::yield_now().await;
        }
        children.reap();
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
    }
}
