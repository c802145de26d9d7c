//! The volume: its lock, its marker, and the only code that wipes a data directory.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod inspect;
mod lock;
mod marker;
mod store;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use mainstay_agent_core::grant;
use mainstay_proto::{Directory, Grant, History, Identity, Term};

pub(crate) use inspect::{Found, inspect};
use lock::{Lock, LockError};
pub(crate) use marker::{Kind, MarkerFile, Received, Start, State, read as read_marker};
pub(crate) use store::Store;

/// Name of MySQL's data directory in the volume's root.
pub(crate) const DATA: &str = "data";
/// Name of the directory in the volume's root in which a copy is unpacked and made consistent.
pub(crate) const INCOMING: &str = "incoming";
/// Name of MySQL's directory for temporary files in the volume's root.
pub(crate) const TEMPORARY: &str = "tmp";

/// Why something was not done to a volume.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The error.
        source: io::Error,
    },
    /// The directory's state forbids it.
    #[error("the data directory does not allow it: {0}")]
    Forbidden(String),
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> VolumeError {
    move |source| VolumeError::Io { what, source }
}

/// A volume as one agent sees it.
#[derive(Debug)]
pub(crate) struct Volume {
    root: PathBuf,
    identity: Identity,
    lock: Option<Lock>,
    found: Found,
    highest: Term,
}

impl Volume {
    /// The volume at `root`; [`Volume::examine`] looks at it.
    pub(crate) fn new(root: PathBuf, identity: Identity) -> Self {
        let found = Found {
            directory: Directory::Unusable { message: "not looked at yet".to_owned() },
            marker: None,
        };
        Volume { root, identity, lock: None, found, highest: Term::default() }
    }

    /// Takes the lock, if it is not held yet, and looks at the volume anew.
    pub(crate) fn examine(&mut self) {
        if self.lock.is_none() {
            match Lock::take(&self.root, &self.holder()) {
                Ok(lock) => self.lock = Some(lock),
                Err(LockError::Held(holder)) => {
                    self.found = Found { directory: Directory::Locked { holder }, marker: None };
                    return;
                }
                Err(LockError::Io(error)) => {
                    self.found = Found { directory: self.not_writable(&error), marker: None };
                    return;
                }
            }
        }
        self.found = inspect(&self.root, &self.identity.cluster_id, self.identity.ordinal);
        if let Some(marker) = self.ours() {
            self.highest = self.highest.max(marker.highest);
        }
    }

    /// What was found last.
    pub(crate) fn directory(&self) -> &Directory {
        &self.found.directory
    }

    /// The marker that was found last, if it is of this instance.
    pub(crate) fn ours(&self) -> Option<&MarkerFile> {
        self.found
            .marker
            .as_ref()
            .filter(|m| m.cluster_id == self.identity.cluster_id && m.ordinal == self.identity.ordinal)
    }

    /// The highest term that was seen on the volume or in an order.
    pub(crate) fn highest(&self) -> Term {
        self.highest
    }

    /// A duplicate of the lock's file for mysqld, so that the volume stays locked as long as mysqld lives.
    pub(crate) fn lock_for_server(&self) -> Result<File, VolumeError> {
        let lock = self.lock.as_ref().ok_or_else(|| VolumeError::Forbidden("it is not locked".to_owned()))?;
        lock.duplicate().map_err(io_error("duplicate the lock"))
    }

    /// Remembers that an order with this term was seen: on the volume if it has a marker of this instance, else
    /// for the agent's life.
    pub(crate) fn raise(&mut self, term: Term) -> Result<(), VolumeError> {
        if term <= self.highest {
            return Ok(());
        }
        if let Some(mut marker) = self.ours().cloned() {
            marker.highest = term;
            self.write(marker)?;
        }
        self.highest = term;
        Ok(())
    }

    /// Begins to make the data directory: marks it partial, then wipes it. The only place that removes data; it
    /// reads the marker again right before and goes on only with an empty volume or with this instance's own
    /// partial one. `history` is that of what the directory is to hold.
    pub(crate) fn begin(&mut self, kind: Kind, operation: &str, history: History) -> Result<(), VolumeError> {
        self.examine();
        let allowed = match &self.found.directory {
            Directory::Empty => true,
            Directory::Partial { .. } => self.ours().is_some_and(|marker| marker.state == State::Partial),
            _ => false,
        };
        if !allowed {
            return Err(VolumeError::Forbidden(format!("{:?}", self.found.directory)));
        }
        if matches!(self.found.directory, Directory::Partial { .. }) {
            // It is marked already; and on a volume that the last attempt has filled there is no room for a marker.
            self.wipe()?;
        }
        self.write(MarkerFile {
            version: marker::VERSION,
            cluster_id: self.identity.cluster_id.clone(),
            ordinal: self.identity.ordinal,
            state: State::Partial,
            kind,
            operation: operation.to_owned(),
            server_uuid: None,
            highest: self.highest,
            grant: None,
            last_start: None,
            unjudged: None,
            history,
            received: None,
        })?;
        self.wipe()?;
        DirBuilder::new()
            .mode(0o750)
            .create(self.root.join(DATA))
            .map_err(io_error("make the data directory"))?;
        marker::sync_directory(&self.root).map_err(io_error("sync the volume"))?;
        self.examine();
        Ok(())
    }

    /// Ends what [`Volume::begin`] began, after the server was checked and stopped cleanly.
    pub(crate) fn complete(&mut self, operation: &str, server_uuid: &str) -> Result<(), VolumeError> {
        self.examine();
        let marker = self.ours().filter(|m| m.state == State::Partial && m.operation == operation).cloned();
        let Some(marker) = marker else {
            return Err(VolumeError::Forbidden(format!("it is not partial by the operation {operation}")));
        };
        marker::sync_directory(&self.root.join(DATA)).map_err(io_error("sync the data directory"))?;
        let server_uuid = Some(server_uuid.to_owned());
        self.write(MarkerFile { state: State::Complete, server_uuid, received: None, ..marker })?;
        self.examine();
        Ok(())
    }

    /// The marker of a directory that `operation` has begun and not ended.
    fn partial_by(&self, operation: &str) -> Result<MarkerFile, VolumeError> {
        let marker = self.ours().filter(|m| m.state == State::Partial && m.operation == operation).cloned();
        marker
            .ok_or_else(|| VolumeError::Forbidden(format!("it is not partial by the operation {operation}")))
    }

    /// Makes the directory for a copy, empty. After [`Volume::begin`].
    pub(crate) fn make_incoming(&mut self, operation: &str) -> Result<(), VolumeError> {
        self.partial_by(operation)?;
        let incoming = self.root.join(INCOMING);
        remove(&incoming)?;
        DirBuilder::new().mode(0o750).create(incoming).map_err(io_error("make the directory for the copy"))
    }

    /// Puts a copy in the place of the (empty) data directory, after all of it is on disk.
    pub(crate) fn place(&mut self, operation: &str) -> Result<(), VolumeError> {
        self.partial_by(operation)?;
        let root = File::open(&self.root).map_err(io_error("open the volume"))?;
        rustix::fs::syncfs(&root).map_err(|error| io_error("sync the volume")(error.into()))?;
        fs::rename(self.root.join(INCOMING), self.root.join(DATA))
            .map_err(io_error("put the copy in place"))?;
        marker::sync_directory(&self.root).map_err(io_error("sync the volume"))
    }

    /// Writes down that the copy in the data directory is consistent, and what it holds.
    pub(crate) fn received(&mut self, operation: &str, received: Received) -> Result<(), VolumeError> {
        let marker = self.partial_by(operation)?;
        self.write(MarkerFile { received: Some(received), ..marker })?;
        self.examine();
        Ok(())
    }

    /// Removes all that the operation has brought. The directory stays partial by it.
    pub(crate) fn discard(&mut self, operation: &str) -> Result<(), VolumeError> {
        let marker = self.partial_by(operation)?;
        self.wipe()?;
        if marker.received.is_some() {
            self.write(MarkerFile { received: None, ..marker })?;
        }
        self.examine();
        Ok(())
    }

    /// Removes what a partial directory holds. What was in the data directory's place leaves it at once, so that a
    /// crash in the middle leaves nothing there that a server would start on.
    fn wipe(&self) -> Result<(), VolumeError> {
        let (data, incoming) = (self.root.join(DATA), self.root.join(INCOMING));
        remove(&incoming)?;
        match fs::rename(data, &incoming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("take the data directory away")(error));
            }
            _ => {}
        }
        remove(&incoming)
    }

    /// Removes `auto.cnf` of a copy that is not complete, so that its server gets a UUID of its own.
    pub(crate) fn forget_uuid(&mut self, operation: &str) -> Result<(), VolumeError> {
        self.partial_by(operation)?;
        match fs::remove_file(self.root.join(DATA).join("auto.cnf")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove auto.cnf")(error)),
            _ => Ok(()),
        }
    }

    /// Writes down which role was ordered last.
    pub(crate) fn grant(&mut self, grant: Option<Grant>) -> Result<(), VolumeError> {
        self.change(|marker| marker.grant = grant)
    }

    /// The last start of mysqld on it was by another pod.
    pub(crate) fn moved_here(&self) -> bool {
        let last = self.ours().and_then(|marker| marker.last_start.as_ref());
        last.is_some_and(|start| start.pod_uid != self.identity.pod_uid)
    }

    /// Writes down who starts mysqld.
    pub(crate) fn started(&mut self) -> Result<(), VolumeError> {
        let start = Start {
            pod_uid: self.identity.pod_uid.clone(),
            node: self.identity.node.clone(),
            boot_id: self.identity.boot_id.clone(),
        };
        self.change(|marker| marker.last_start = Some(start))
    }

    /// Remembers what the server came up with, if the volume has `moved` here, until [`Volume::judged`]. Returns what it came
    /// up with at the first start since, if that is not judged yet: a server that was set back, and wrote or received
    /// more than it had lost, would look whole at the next.
    pub(crate) fn came_with(&mut self, gtids: &str, moved: bool) -> Result<Option<String>, VolumeError> {
        let before = self.ours().and_then(|marker| marker.unjudged.clone());
        let unjudged = grant::unjudged(before.clone(), gtids.to_owned(), moved);
        if unjudged != before {
            self.change(|marker| marker.unjudged.clone_from(&unjudged))?;
        }
        Ok(unjudged)
    }

    /// The operator has judged what the server came up with.
    pub(crate) fn judged(&mut self) -> Result<(), VolumeError> {
        if self.ours().is_none_or(|marker| marker.unjudged.is_none()) {
            return Ok(());
        }
        self.change(|marker| marker.unjudged = None)
    }

    /// Writes down from which count the server's transactions are from now on.
    pub(crate) fn begins(&mut self, history: History) -> Result<(), VolumeError> {
        self.change(|marker| marker.history = history)
    }

    /// Makes the directory for temporary files, without what a crash left in it.
    pub(crate) fn make_temporary(&self) -> Result<(), VolumeError> {
        let temporary = self.root.join(TEMPORARY);
        remove(&temporary)?;
        DirBuilder::new().mode(0o750).create(temporary).map_err(io_error("make the temporary directory"))
    }

    fn change(&mut self, change: impl FnOnce(&mut MarkerFile)) -> Result<(), VolumeError> {
        let Some(mut marker) = self.ours().cloned() else {
            return Err(VolumeError::Forbidden("it has no marker of this instance".to_owned()));
        };
        change(&mut marker);
        self.write(marker)?;
        self.examine();
        Ok(())
    }

    fn write(&mut self, marker: MarkerFile) -> Result<(), VolumeError> {
        if self.lock.is_none() {
            return Err(VolumeError::Forbidden("it is not locked".to_owned()));
        }
        marker::write(&self.root, &marker).map_err(io_error("write the marker"))?;
        self.found.marker = Some(marker);
        Ok(())
    }

    fn holder(&self) -> String {
        let Identity { pod_name, pod_uid, node, boot_id, .. } = &self.identity;
        format!("pod {pod_name} (uid {pod_uid}) on node {node} (boot {boot_id})")
    }

    fn not_writable(&self, error: &io::Error) -> Directory {
        let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                format!(
                    ". Make {user}:{group} the owner of the directory behind the volume, and of all in it: for a directory of \
                     a node, there as root; for NFS, on the file server"
                )
            }
            _ => String::new(),
        };
        Directory::Unusable { message: format!("{}: {error}{hint}", self.root.display()) }
    }
}

fn remove(directory: &Path) -> Result<(), VolumeError> {
    match fs::remove_dir_all(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("wipe the directory")(error)),
    }
}

#[cfg(test)]
mod tests;
