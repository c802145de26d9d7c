//! Room on the volume for a copy.

use std::path::{Path, PathBuf};

use crate::stream::error::{StreamError, io_error};

/// Room that must stay free while a copy arrives, in bytes.
const RESERVE: u64 = 16 << 20;

/// Watches a volume's free space.
#[derive(Clone, Debug)]
pub(super) struct Room(PathBuf);

impl Room {
    /// Of the file system that this directory is on.
    pub(super) fn of(directory: &Path) -> Self {
        Room(directory.to_owned())
    }

    fn free(&self) -> Result<u64, StreamError> {
        let stat = rustix::fs::statvfs(&self.0).map_err(|e| io_error("look for free space")(e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Fails if what was announced does not fit.
    pub(super) fn fits(&self, total: u64) -> Result<(), StreamError> {
        let (free, needed) = (self.free()?, needed(total));
        if free < needed { Err(StreamError::Room { free, needed }) } else { Ok(()) }
    }

    /// Fails if the space runs out: better than to let the tool run into it, since others may share the file system.
    pub(super) fn lasts(&self) -> Result<(), StreamError> {
        let free = self.free()?;
        if free < RESERVE { Err(StreamError::Room { free, needed: RESERVE }) } else { Ok(()) }
    }
}

/// A twentieth more than announced, for what the donor's clients write meanwhile.
fn needed(total: u64) -> u64 {
    total.saturating_add(total / 20).saturating_add(RESERVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_file_system_has_does_not_fit() {
        let room = Room::of(&std::env::temp_dir());
        assert!(room.fits(0).is_ok());
        assert!(matches!(room.fits(u64::MAX / 2), Err(StreamError::Room { .. })));
    }
}
