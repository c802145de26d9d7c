//! The marker: what the volume says of itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mainstay_proto::{Action, Grant, History, Term};
use serde::{Deserialize, Serialize};

/// Name of the marker in the volume's root.
pub(crate) const MARKER: &str = "mainstay.json";
/// Version of the marker that this agent writes, and the highest that it reads.
pub(crate) const VERSION: u32 = 1;

/// What the volume says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MarkerFile {
    /// [`VERSION`] of the writer.
    pub(crate) version: u32,
    /// The cluster's id.
    pub(crate) cluster_id: String,
    /// The instance's ordinal.
    pub(crate) ordinal: u32,
    /// Whether the data directory holds anything of worth.
    pub(crate) state: State,
    /// What made the directory, or was making it.
    pub(crate) kind: Kind,
    /// The operation's id.
    pub(crate) operation: String,
    /// The server's UUID; known once complete.
    #[serde(default)]
    pub(crate) server_uuid: Option<String>,
    /// The highest term seen.
    #[serde(default)]
    pub(crate) highest: Term,
    /// The role that was last ordered.
    #[serde(default)]
    pub(crate) grant: Option<Grant>,
    /// The last start of mysqld.
    #[serde(default)]
    pub(crate) last_start: Option<Start>,
    /// GTIDs that the server came up with: from when a new pod mounted the volume until the operator, which has judged
    /// them then, gives it a role.
    #[serde(default)]
    pub(crate) unjudged: Option<String>,
    /// From which count the server's transactions are.
    #[serde(default)]
    pub(crate) history: History,
    /// In a partial directory: a copy was received and made consistent, and waits for its first start.
    #[serde(default)]
    pub(crate) received: Option<Received>,
}

/// A copy that was received and made consistent by the copy tool. What is left to do needs the server's image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Received {
    /// The GTID set that it holds, as the copy tool recorded it.
    pub(crate) gtid_set: String,
    /// The donor server's binary log file and position at the time of the copy, for people.
    #[serde(default)]
    pub(crate) position: Option<(String, u64)>,
    /// The donor server's version.
    pub(crate) server_version: String,
    /// The order, so that the next container can go on with it.
    pub(crate) order: Action,
    /// How many times its first start was begun.
    #[serde(default)]
    pub(crate) starts: u32,
}

/// Whether a data directory holds anything of worth. There is nothing in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum State {
    /// An operation has begun and not ended: wiped as a whole before the next.
    Partial,
    /// Never wiped.
    Complete,
}

/// How a data directory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    /// Initialised.
    Initialize,
    /// Copied from a donor.
    Clone,
}

/// Who started mysqld on the directory. The boot id tells whether the node went down since.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Start {
    /// UID of the pod.
    pub(crate) pod_uid: String,
    /// Its node.
    pub(crate) node: String,
    /// The node's boot id.
    pub(crate) boot_id: String,
}

/// Why a marker can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MarkerError {
    /// The file can't be read.
    #[error("can't read {MARKER}: {0}")]
    Io(#[from] io::Error),
    /// It is not what an agent writes.
    #[error("{MARKER} is damaged ({0}); it is written whole or not at all, so look for a fault of the disk")]
    Damaged(#[from] serde_json::Error),
    /// A newer agent wrote it.
    #[error("{MARKER} has version {0}, this agent knows up to {VERSION}; run a newer agent")]
    TooNew(u32),
}

/// Only the version: read before the rest, whose form depends on it.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Reads the marker; `None` if there is none.
pub(crate) fn read(root: &Path) -> Result<Option<MarkerFile>, MarkerError> {
    let text = match fs::read(root.join(MARKER)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    parse(&text).map(Some)
}

/// A marker of what its file holds.
pub(super) fn parse(text: &[u8]) -> Result<MarkerFile, MarkerError> {
    let Version { version } = serde_json::from_slice(text)?;
    if version > VERSION {
        return Err(MarkerError::TooNew(version));
    }
    Ok(serde_json::from_slice(text)?)
}

/// What a marker's file holds.
pub(super) fn render(marker: &MarkerFile) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(marker)?;
    text.push(b'\n');
    Ok(text)
}

/// Writes the marker so that a crash leaves the old one or the new one: temporary file, fsync, rename, fsync of
/// the directory.
pub(crate) fn write(root: &Path, marker: &MarkerFile) -> io::Result<()> {
    let temporary = temporary(root);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
    file.write_all(&render(marker)?)?;
    file.sync_all()?;
    fs::rename(&temporary, root.join(MARKER))?;
    sync_directory(root)
}

fn temporary(root: &Path) -> PathBuf {
    root.join(format!("{MARKER}.tmp"))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> MarkerFile {
        MarkerFile {
            version: VERSION,
            cluster_id: "c".into(),
            ordinal: 1,
            state: State::Partial,
            kind: Kind::Clone,
            operation: "op".into(),
            server_uuid: None,
            highest: Term { epoch: 3, revision: 9 },
            grant: None,
            last_start: None,
            unjudged: None,
            history: History::default().reset(1, 7),
            received: None,
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let root = crate::testing::directory();
        assert!(read(&root).unwrap().is_none());
        write(&root, &marker()).unwrap();
        assert_eq!(read(&root).unwrap(), Some(marker()));
    }

    fn received() -> MarkerFile {
        let donor = mainstay_proto::Endpoint { host: "shop-1.shop.db.svc".into(), port: 9444 };
        let order = Action::Receive {
            operation: "op".into(),
            donor,
            donor_ordinal: 1,
            compress: true,
            max_mib_per_second: Some(7),
            from_primary: false,
            history: History::default(),
        };
        let received = Received {
            gtid_set: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".into(),
            position: Some(("binlog.000002".into(), 4)),
            server_version: "9.7.4".into(),
            order,
            starts: 1,
        };
        MarkerFile { received: Some(received), ..marker() }
    }

    #[test]
    fn what_was_received_is_read_back_and_an_older_marker_has_none() {
        let root = crate::testing::directory();
        write(&root, &received()).unwrap();
        assert_eq!(read(&root).unwrap(), Some(received()));
        let old =
            r#"{"version":1,"clusterId":"c","ordinal":1,"state":"partial","kind":"clone","operation":"op"}"#;
        fs::write(root.join(MARKER), old).unwrap();
        let old = read(&root).unwrap().unwrap();
        assert_eq!((old.received, old.history), (None, History::default()));
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_marker_is_an_error_or_says_the_same_of_what_is_there(
            at in proptest::prelude::any::<proptest::sample::Index>(),
            by in 1_u8..=255,
            cut in proptest::prelude::any::<bool>(),
        ) {
            let root = crate::testing::directory();
            write(&root, &received()).unwrap();
            let mut bytes = fs::read(root.join(MARKER)).unwrap();
            let at = at.index(bytes.trim_ascii_end().len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= by;
            }
            fs::write(root.join(MARKER), &bytes).unwrap();
            // Never absent, which would be an empty volume; and never complete.
            match read(&root) {
                Ok(found) => {
                    let found = found.unwrap();
                    proptest::prop_assert!(!cut && found.state == State::Partial);
                }
                Err(MarkerError::Damaged(_) | MarkerError::TooNew(_)) => {}
                Err(MarkerError::Io(error)) => return Err(proptest::test_runner::TestCaseError::fail(error.to_string())),
            }
        }

        #[test]
        fn arbitrary_bytes_are_no_marker(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let root = crate::testing::directory();
            fs::write(root.join(MARKER), bytes).unwrap();
            proptest::prop_assert!(read(&root).is_err());
        }
    }

    #[test]
    fn a_newer_or_damaged_marker_is_an_error_and_not_an_absent_one() {
        let root = crate::testing::directory();
        fs::write(root.join(MARKER), r#"{"version": 2, "all": "else differs"}"#).unwrap();
        assert!(matches!(read(&root), Err(MarkerError::TooNew(2))));
        fs::write(root.join(MARKER), "").unwrap();
        assert!(matches!(read(&root), Err(MarkerError::Damaged(_))));
    }
}
