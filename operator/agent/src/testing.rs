//! For this crate's unit tests.

use std::ops::Deref;
use std::path::{Path, PathBuf};

/// A directory that is removed with it.
pub(crate) struct Directory(PathBuf);

/// A new empty directory.
pub(crate) fn directory() -> Directory {
    let path = std::env::temp_dir().join(format!("mainstay-agent-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&path).unwrap();
    Directory(path)
}

impl Deref for Directory {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left behind in the temporary directory fails no test.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
