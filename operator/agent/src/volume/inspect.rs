//! What is on a volume. Reads only.

use std::fs;
use std::io;
use std::path::Path;

use mainstay_proto::{Directory, Marker};

use super::marker::{self, Kind, MARKER, MarkerFile, State};
use super::{DATA, TEMPORARY, lock::LOCK};

/// What was found on a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// For reports and decisions.
    pub(crate) directory: Directory,
    /// The marker, if there is one that can be read.
    pub(crate) marker: Option<MarkerFile>,
}

/// Looks at the volume whose root is `root` with the eyes of instance `ordinal` of cluster `cluster_id`.
pub(crate) fn inspect(root: &Path, cluster_id: &str, ordinal: u32) -> Found {
    let marker = match marker::read(root) {
        Ok(marker) => marker,
        Err(error) => return Found { directory: unusable(error.to_string()), marker: None },
    };
    let directory = match &marker {
        Some(marker) => with_marker(root, marker, cluster_id, ordinal),
        None => without_marker(root),
    };
    Found { directory: directory.unwrap_or_else(|error| unusable(error.to_string())), marker }
}

fn unusable(message: String) -> Directory {
    Directory::Unusable { message }
}

fn with_marker(root: &Path, marker: &MarkerFile, cluster_id: &str, ordinal: u32) -> io::Result<Directory> {
    let foreign = |message: String| {
        Ok(Directory::Foreign {
            cluster_id: Some(marker.cluster_id.clone()),
            ordinal: Some(marker.ordinal),
            message,
        })
    };
    match marker.state {
        // Reported as what it is even if another cluster left it; that it is not ours forbids to wipe it.
        State::Partial if marker.cluster_id != cluster_id || marker.ordinal == ordinal => {
            Ok(Directory::Partial {
                operation: marker.operation.clone(),
                cluster_id: marker.cluster_id.clone(),
                copied: marker.kind == Kind::Clone,
            })
        }
        _ if marker.cluster_id != cluster_id => {
            foreign(format!("the data belongs to the cluster with the id {}", marker.cluster_id))
        }
        _ if marker.ordinal != ordinal => {
            foreign(format!("the data belongs to the instance {} of this cluster", marker.ordinal))
        }
        _ => complete(root, marker),
    }
}

/// A directory that its marker calls complete: believed only if the data is there and is the marker's.
fn complete(root: &Path, marker: &MarkerFile) -> io::Result<Directory> {
    let data = root.join(DATA);
    if !data.join("mysql.ibd").exists() {
        return Ok(unusable(format!(
            "{MARKER} says that the data directory is complete, but {DATA}/mysql.ibd is not there: its data was \
             removed. Put it back"
        )));
    }
    let server_uuid = marker.server_uuid.clone().unwrap_or_default();
    match auto_cnf_uuid(&data)? {
        Some(found) if found != server_uuid => Ok(Directory::Foreign {
            cluster_id: Some(marker.cluster_id.clone()),
            ordinal: Some(marker.ordinal),
            message: format!("the data is of the server {found}, but {MARKER} says {server_uuid}"),
        }),
        None => Ok(unusable(format!(
            "{DATA}/auto.cnf is not there, and without it the server would take itself for another. Put it back: \
             [auto] and below it server-uuid={server_uuid}"
        ))),
        Some(_) => Ok(Directory::Complete {
            marker: Marker {
                cluster_id: marker.cluster_id.clone(),
                ordinal: marker.ordinal,
                operation: marker.operation.clone(),
                server_uuid,
                grant: marker.grant.clone(),
            },
        }),
    }
}

/// The server's UUID in `auto.cnf`, if it is there.
fn auto_cnf_uuid(data: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(data.join("auto.cnf")) {
        Ok(text) => Ok(text
            .lines()
            .find_map(|line| line.trim().strip_prefix("server-uuid=").map(|uuid| uuid.trim().to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A volume without a marker is empty only if nothing on it could be anybody's data.
fn without_marker(root: &Path) -> io::Result<Directory> {
    let mut strangers = Vec::new();
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let harmless = name == LOCK
            || name == TEMPORARY
            || name == "lost+found"
            || name.starts_with('.')
            || name == format!("{MARKER}.tmp")
            || (name == DATA && is_empty_directory(&root.join(DATA))?);
        if !harmless {
            strangers.push(name);
        }
    }
    if strangers.is_empty() {
        return Ok(Directory::Empty);
    }
    strangers.sort();
    let more = if strangers.len() > 5 { " and more" } else { "" };
    strangers.truncate(5);
    Ok(Directory::Foreign {
        cluster_id: None,
        ordinal: None,
        message: format!(
            "there is no {MARKER}, but there are {}{more}: this is never taken. Give the claim another volume, or empty this \
             one yourself if nothing on it is wanted",
            strangers.join(", ")
        ),
    })
}

/// Nothing in it but what a file system puts there. A symbolic link is not a directory.
fn is_empty_directory(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(path)? {
        if entry?.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use mainstay_proto::Term;

    use super::super::marker::{Kind, VERSION};
    use super::*;

    fn marker(state: State, cluster_id: &str, ordinal: u32) -> MarkerFile {
        MarkerFile {
            version: VERSION,
            cluster_id: cluster_id.into(),
            ordinal,
            state,
            kind: Kind::Initialize,
            operation: "op".into(),
            server_uuid: Some("uuid-1".into()),
            highest: Term::default(),
            grant: None,
            last_start: None,
            unjudged: None,
            history: mainstay_proto::History::default(),
            received: None,
        }
    }

    fn kind(directory: &Directory) -> &'static str {
        match directory {
            Directory::Empty => "Empty",
            Directory::Partial { .. } => "Partial",
            Directory::Complete { .. } => "Complete",
            Directory::Foreign { .. } => "Foreign",
            Directory::Locked { .. } => "Locked",
            Directory::Unusable { .. } => "Unusable",
        }
    }

    #[test]
    fn without_a_marker_only_an_empty_volume_is_empty() {
        let table: [(&[&str], &str); 10] = [
            (&[], "Empty"),
            (&["lost+found/"], "Empty"),
            (&["data/", "lost+found/", LOCK], "Empty"),
            (&["data/lost+found/"], "Empty"),
            (&[".snapshot/"], "Empty"),
            (&["data/ibdata1"], "Foreign"),
            (&["data/.hidden"], "Foreign"),
            (&["ibdata1", "auto.cnf", "mysql/"], "Foreign"),
            (&["mysql/"], "Foreign"),
            (&["dump.sql"], "Foreign"),
        ];
        for (files, expected) in table {
            let root = crate::testing::directory();
            for file in files {
                let path = root.join(file);
                fs::create_dir_all(if file.ends_with('/') { &path } else { path.parent().unwrap() }).unwrap();
                if !file.ends_with('/') {
                    fs::write(path, "x").unwrap();
                }
            }
            assert_eq!(kind(&inspect(&root, "c", 1).directory), expected, "{files:?}");
        }
    }

    #[test]
    fn a_data_directory_that_is_a_link_is_foreign() {
        let root = crate::testing::directory();
        let elsewhere = crate::testing::directory();
        std::os::unix::fs::symlink(&*elsewhere, root.join(DATA)).unwrap();
        assert_eq!(kind(&inspect(&root, "c", 1).directory), "Foreign");
    }

    #[test]
    fn a_marker_is_believed_only_for_this_instance() {
        use State::{Complete, Partial};
        let table = [
            (Complete, "c", 1, "Complete"),
            (Complete, "c", 2, "Foreign"),
            (Complete, "other", 1, "Foreign"),
            (Partial, "c", 1, "Partial"),
            (Partial, "c", 2, "Foreign"),
            (Partial, "other", 1, "Partial"),
        ];
        for (state, cluster, ordinal, expected) in table {
            let root = crate::testing::directory();
            fs::create_dir(root.join(DATA)).unwrap();
            fs::write(root.join("data/mysql.ibd"), "x").unwrap();
            fs::write(root.join("data/auto.cnf"), "[auto]\nserver-uuid=uuid-1\n").unwrap();
            marker::write(&root, &marker(state, cluster, ordinal)).unwrap();
            assert_eq!(kind(&inspect(&root, "c", 1).directory), expected, "{state:?} {cluster} {ordinal}");
        }
    }

    #[test]
    fn a_complete_marker_without_its_data_is_unusable_and_with_anothers_data_foreign() {
        let root = crate::testing::directory();
        marker::write(&root, &marker(State::Complete, "c", 1)).unwrap();
        assert_eq!(kind(&inspect(&root, "c", 1).directory), "Unusable");
        fs::create_dir(root.join(DATA)).unwrap();
        fs::write(root.join("data/mysql.ibd"), "x").unwrap();
        assert_eq!(kind(&inspect(&root, "c", 1).directory), "Unusable", "it would get a new UUID");
        fs::write(root.join("data/auto.cnf"), "[auto]\nserver-uuid=uuid-2\n").unwrap();
        assert_eq!(kind(&inspect(&root, "c", 1).directory), "Foreign");
        fs::write(root.join("data/auto.cnf"), "[auto]\nserver-uuid=uuid-1\n").unwrap();
        assert_eq!(kind(&inspect(&root, "c", 1).directory), "Complete");
    }

    #[test]
    fn a_damaged_marker_is_never_an_empty_volume() {
        let root = crate::testing::directory();
        fs::write(root.join(MARKER), "{").unwrap();
        assert_eq!(kind(&inspect(&root, "c", 1).directory), "Unusable");
    }

    #[test]
    fn a_volume_that_is_not_there_is_unusable() {
        assert_eq!(kind(&inspect(Path::new("/nonexistent-volume"), "c", 1).directory), "Unusable");
    }
}
