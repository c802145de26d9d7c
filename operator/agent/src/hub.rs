//! What the agent knows, in one place: reports are made from it, and changes of it push them.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use mainstay_proto::{
    Directory, Fence, Identity, Progress, Report, Server, ServerState, Stage, Task, TaskState, VERSION,
};
use tokio::sync::watch;

use crate::volume::marker::{self, MarkerFile};
use crate::volume::{self, marker::State as MarkerState};

/// What the agent knows.
pub(crate) struct Hub {
    identity: Identity,
    stage: Stage,
    root: PathBuf,
    known: Mutex<Known>,
    changed: watch::Sender<u64>,
}

struct Known {
    directory: Directory,
    marker: Option<MarkerFile>,
    highest: Fence,
    task: Option<Task>,
    server: Server,
}

impl Hub {
    pub(crate) fn new(identity: Identity, stage: Stage, root: PathBuf) -> Self {
        let known = Known {
            directory: Directory::Unusable { message: "not looked at yet".into() },
            marker: None,
            highest: Fence::default(),
            task: None,
            server: Server::Stopped { last_exit: None },
        };
        Hub { identity, stage, root, known: Mutex::new(known), changed: watch::Sender::new(0) }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Changes that are worth a report at once.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn report(&self) -> Report {
        let known = self.known();
        Report {
            proto: VERSION,
            agent_version: env!("CARGO_PKG_VERSION").into(),
            identity: self.identity.clone(),
            stage: self.stage,
            at: Timestamp::now(),
            highest: known.highest,
            directory: known.directory.clone(),
            task: known.task.clone(),
            server: known.server.clone(),
        }
    }

    /// Looks at the volume again.
    pub(crate) fn inspect(&self) -> Directory {
        let directory = volume::inspect(&self.root, &self.identity.cluster_id, self.identity.ordinal);
        let marker = marker::read(&self.root).ok().flatten();
        let marker =
            marker.filter(|m| m.cluster_id == self.identity.cluster_id && m.ordinal == self.identity.ordinal);
        let mut known = self.known();
        known.highest = known.highest.max(marker.as_ref().map(|m| m.highest).unwrap_or_default());
        known.marker = marker;
        let changed = known.directory != directory;
        known.directory = directory.clone();
        drop(known);
        if changed {
            self.tell();
        }
        directory
    }

    pub(crate) fn set_directory(&self, directory: Directory) {
        let mut known = self.known();
        if known.directory != directory {
            known.directory = directory;
            drop(known);
            self.tell();
        }
    }

    /// The marker of a directory that is this instance's.
    pub(crate) fn marker(&self) -> Option<MarkerFile> {
        self.known().marker.clone()
    }

    /// Puts another marker on the volume; what is reported follows only if that succeeded.
    pub(crate) fn write_marker(&self, mut next: MarkerFile) -> io::Result<()> {
        let mut known = self.known();
        next.highest = next.highest.max(known.highest);
        marker::write(&self.root, &next)?;
        known.directory = match next.state {
            MarkerState::Complete => Directory::Complete { marker: volume::reported(&next) },
            MarkerState::Partial => {
                Directory::Partial { operation: next.operation.clone(), cluster_id: next.cluster_id.clone() }
            }
        };
        known.marker = Some(next);
        drop(known);
        self.tell();
        Ok(())
    }

    /// Changes the marker that is there.
    ///
    /// # Errors
    /// There is none, or it can't be written.
    pub(crate) fn change_marker(&self, change: impl FnOnce(&mut MarkerFile)) -> io::Result<()> {
        let mut next = self.marker().ok_or_else(|| io::Error::other("the volume has no marker"))?;
        change(&mut next);
        self.write_marker(next)
    }

    pub(crate) fn highest(&self) -> Fence {
        self.known().highest
    }

    /// Keeps an order's fence, on the volume too if there is a marker: no older order is taken afterwards.
    pub(crate) fn raise(&self, fence: Fence) -> io::Result<()> {
        let mut known = self.known();
        if fence <= known.highest {
            return Ok(());
        }
        if let Some(mut marker) = known.marker.clone() {
            marker.highest = fence;
            marker::write(&self.root, &marker)?;
            known.marker = Some(marker);
        }
        known.highest = fence;
        Ok(())
    }

    pub(crate) fn set_task(&self, task: Task) {
        self.known().task = Some(task);
        self.tell();
    }

    pub(crate) fn end_task(&self, fence: Fence, state: TaskState) {
        let mut known = self.known();
        if let Some(task) = known.task.as_mut().filter(|task| task.fence == fence) {
            task.state = state;
        }
        drop(known);
        self.tell();
    }

    /// Progress goes out with the next heartbeat.
    pub(crate) fn set_progress(&self, progress: Progress) {
        if let Some(task) = self.known().task.as_mut() {
            task.progress = Some(progress);
        }
    }

    pub(crate) fn server(&self) -> Server {
        self.known().server.clone()
    }

    /// Movements of GTIDs and lag alone wait for the heartbeat.
    pub(crate) fn set_server(&self, server: Server) {
        let mut known = self.known();
        let significant = still(&known.server) != still(&server);
        known.server = server;
        drop(known);
        if significant {
            self.tell();
        }
    }
}

/// The server without what moves all the time.
fn still(server: &Server) -> Server {
    let mut still = server.clone();
    if let Server::Running { state } = &mut still {
        state.gtid_executed.clear();
        state.gtid_purged.clear();
        if let Some(channel) = &mut state.channel {
            channel.gtid_received.clear();
            channel.lag_seconds = channel.lag_seconds.map(|lag| lag / 30);
        }
    }
    still
}

/// A server that answers, as the last report has it.
pub(crate) fn running(server: &Server) -> Option<&ServerState> {
    match server {
        Server::Running { state } => Some(state),
        _ => None,
    }
}
