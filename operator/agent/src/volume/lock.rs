//! The lock: one agent, and one mysqld, a volume.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Name of the lock file in the volume's root.
pub(crate) const LOCK: &str = "mainstay.lock";

/// An exclusive lock on a volume, held until it and every duplicate of its file are gone.
///
/// It is `flock`, which belongs to the open file description: closing another descriptor of the same file does not
/// release it, as it would with `fcntl`'s process locks, and mysqld inherits a duplicate, so that the volume stays
/// locked while either lives. It is a file of its own because the marker is replaced by rename: a lock on the
/// marker would stay with the file that the rename took away, and the next agent would lock the new one.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process holds it.
    #[error("locked by {0}")]
    Held(String),
    /// The lock file can't be opened, read or written.
    #[error("can't lock the volume: {0}")]
    Io(#[from] io::Error),
}

impl Lock {
    /// Takes the lock without waiting and writes down who holds it.
    pub(crate) fn take(root: &Path, holder: &str) -> Result<Lock, LockError> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(root.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The holder may be writing at this moment; what it wrote is for people only.
                if file.read_to_string(&mut text).is_err() || text.trim().is_empty() {
                    text = "a process that did not say who it is".to_owned();
                }
                return Err(LockError::Held(text.trim().to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{holder}")?;
        Ok(Lock { file })
    }

    /// A duplicate that keeps the volume locked, for mysqld.
    pub(crate) fn duplicate(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let root = crate::testing::directory();
        let first = Lock::take(&root, "pod 1 on node a").unwrap();
        let second = Lock::take(&root, "pod 2 on node b");
        assert!(matches!(second, Err(LockError::Held(holder)) if holder == "pod 1 on node a"));
        drop(first);
        Lock::take(&root, "pod 2").unwrap();
    }

    #[test]
    fn a_duplicate_keeps_the_volume_locked() {
        let root = crate::testing::directory();
        let first = Lock::take(&root, "pod 1").unwrap();
        let inherited = first.duplicate().unwrap();
        drop(first);
        assert!(matches!(Lock::take(&root, "pod 2"), Err(LockError::Held(_))));
        drop(inherited);
        Lock::take(&root, "pod 2").unwrap();
    }

    #[test]
    fn replacing_the_marker_does_not_release_the_lock() {
        let root = crate::testing::directory();
        let _first = Lock::take(&root, "pod 1").unwrap();
        std::fs::write(root.join("mainstay.json.tmp"), "{}").unwrap();
        std::fs::rename(root.join("mainstay.json.tmp"), root.join("mainstay.json")).unwrap();
        assert!(matches!(Lock::take(&root, "pod 2"), Err(LockError::Held(_))));
    }
}
