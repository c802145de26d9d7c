//! Tells contents of mounted directories apart.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// Tells one content of a directory from another. The kubelet replaces a mount as a whole, by a symbolic link, and
/// keeps the old files' times: only the content tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(u64);

/// The digest of the files in a directory; of what can be read of them.
pub(crate) fn digest(directory: &Path) -> Digest {
    let files: BTreeMap<_, _> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.clone(), std::fs::read(path).ok()?))
        })
        .collect();
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    Digest(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_content_tells() {
        let directory = crate::testing::directory();
        std::fs::write(directory.join("a"), "1").unwrap();
        let first = digest(&directory);
        std::fs::write(directory.join("a"), "2").unwrap();
        assert_ne!(digest(&directory), first);
        std::fs::write(directory.join("a"), "1").unwrap();
        assert_eq!(digest(&directory), first);
    }
}
