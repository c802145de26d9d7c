//! The volume: what is on it, and the only code that removes anything from it.

pub(crate) mod lock;
pub(crate) mod marker;

use std::fs;
use std::io;
use std::path::Path;

use mainstay_proto::{Directory, Marker};

use marker::{MarkerFile, State};

/// MySQL's data directory in the volume's root.
pub(crate) const DATA: &str = "data";
/// MySQL's directory for temporary files in the volume's root.
pub(crate) const TEMPORARY: &str = "tmp";

/// Looks at the volume. Reads only.
pub(crate) fn inspect(root: &Path, cluster_id: &str, ordinal: u32) -> Directory {
    match marker::read(root) {
        Err(error) => Directory::Unusable { message: error.to_string() },
        Ok(Some(marker)) => judge(root, &marker, cluster_id, ordinal),
        Ok(None) => match unmarked(root) {
            Err(error) => Directory::Unusable { message: format!("can't read the volume: {error}") },
            Ok(None) => Directory::Empty,
            Ok(Some(message)) => Directory::Foreign { cluster_id: None, ordinal: None, message },
        },
    }
}

fn judge(root: &Path, marker: &MarkerFile, cluster_id: &str, ordinal: u32) -> Directory {
    if marker.cluster_id != cluster_id || marker.ordinal != ordinal {
        return Directory::Foreign {
            cluster_id: Some(marker.cluster_id.clone()),
            ordinal: Some(marker.ordinal),
            message: format!(
                "the volume holds instance {} of cluster {}, not {ordinal} of {cluster_id}: give it back to where it \
                 belongs, or remove what is on it by hand if it is not wanted",
                marker.ordinal, marker.cluster_id
            ),
        };
    }
    match marker.state {
        State::Partial => {
            Directory::Partial { operation: marker.operation.clone(), cluster_id: marker.cluster_id.clone() }
        }
        State::Complete if !root.join(DATA).join("ibdata1").exists() => Directory::Unusable {
            message: format!(
                "{} says that the data directory is complete, but it is not there",
                marker::MARKER
            ),
        },
        State::Complete => Directory::Complete { marker: reported(marker) },
    }
}

/// What a report says of a complete directory's marker.
pub(crate) fn reported(marker: &MarkerFile) -> Marker {
    Marker {
        cluster_id: marker.cluster_id.clone(),
        ordinal: marker.ordinal,
        operation: marker.operation.clone(),
        server_uuid: marker.server_uuid.clone().unwrap_or_default(),
        grant: marker.grant.clone(),
    }
}

/// What is on a volume that no agent has marked, if it looks like somebody's data.
fn unmarked(root: &Path) -> io::Result<Option<String>> {
    let data = root.join(DATA);
    if data.exists() && fs::read_dir(&data)?.next().is_some() {
        return Ok(Some(format!(
            "{DATA}/ holds files, but there is no {}: they were not made here",
            marker::MARKER
        )));
    }
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        let ours = [DATA, TEMPORARY, lock::LOCK, "lost+found"].iter().any(|own| name == *own);
        if !ours && !name.to_string_lossy().starts_with(marker::MARKER) {
            return Ok(Some(format!("the volume holds {}, which was not made here", name.to_string_lossy())));
        }
    }
    Ok(None)
}

/// Removes the data directory of an operation that has not ended, and makes an empty one.
///
/// # Errors
/// Anything but a marker that says partial, and whatever the file system says.
pub(crate) fn wipe(root: &Path) -> io::Result<()> {
    let marker = marker::read(root).map_err(io::Error::other)?;
    if marker.is_none_or(|marker| marker.state != State::Partial) {
        return Err(io::Error::other("only a directory that is marked partial is wiped"));
    }
    for name in [DATA, TEMPORARY] {
        let path = root.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
    }
    marker::sync_directory(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_proto::Fence;

    fn mark(root: &Path, cluster_id: &str, ordinal: u32, state: State) {
        let marker = MarkerFile {
            version: marker::VERSION,
            cluster_id: cluster_id.into(),
            ordinal,
            state,
            kind: marker::Kind::Initialize,
            operation: "op".into(),
            server_uuid: Some("uuid".into()),
            highest: Fence::default(),
            grant: None,
            last_start: None,
        };
        marker::write(root, &marker).unwrap();
    }

    fn with_data(root: &Path) {
        fs::create_dir_all(root.join(DATA)).unwrap();
        fs::write(root.join(DATA).join("ibdata1"), "rows").unwrap();
    }

    #[test]
    fn a_new_volume_is_empty_whatever_a_file_system_puts_there() {
        let root = crate::testing::directory();
        assert_eq!(inspect(&root, "c", 0), Directory::Empty);
        for name in ["lost+found", DATA, TEMPORARY] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::write(root.join(lock::LOCK), "").unwrap();
        assert_eq!(inspect(&root, "c", 0), Directory::Empty);
    }

    #[test]
    fn data_that_was_not_made_here_is_foreign() {
        let root = crate::testing::directory();
        fs::write(root.join("ibdata1"), "rows").unwrap();
        assert!(matches!(inspect(&root, "c", 0), Directory::Foreign { cluster_id: None, .. }));
        let root = crate::testing::directory();
        with_data(&root);
        assert!(matches!(inspect(&root, "c", 0), Directory::Foreign { cluster_id: None, .. }));
        mark(&root, "other", 0, State::Complete);
        assert!(matches!(inspect(&root, "c", 0), Directory::Foreign { cluster_id: Some(_), .. }));
        mark(&root, "c", 1, State::Complete);
        assert!(matches!(inspect(&root, "c", 0), Directory::Foreign { ordinal: Some(1), .. }));
    }

    #[test]
    fn only_what_is_marked_partial_is_wiped() {
        let root = crate::testing::directory();
        with_data(&root);
        assert!(wipe(&root).is_err());
        mark(&root, "c", 0, State::Complete);
        assert!(wipe(&root).is_err());
        assert!(matches!(inspect(&root, "c", 0), Directory::Complete { .. }));
        mark(&root, "c", 0, State::Partial);
        wipe(&root).unwrap();
        assert!(!root.join(DATA).join("ibdata1").exists());
        assert!(matches!(inspect(&root, "c", 0), Directory::Partial { .. }));
    }

    #[test]
    fn a_complete_directory_that_vanished_is_not_taken_for_an_empty_one() {
        let root = crate::testing::directory();
        mark(&root, "c", 0, State::Complete);
        assert!(matches!(inspect(&root, "c", 0), Directory::Unusable { .. }));
    }
}
