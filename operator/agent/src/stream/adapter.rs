//! The copy tools: how each is called, what its files are named, and which servers it fits.
//!
//! Sources: Percona XtraBackup's manual ("xtrabackup option reference", "The xbstream command-line options",
//! "Server version and backup version comparison", "Index of files created by Percona XtraBackup") and MariaDB's
//! ("mariadb-backup options", "Files created by mariadb-backup").

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::StreamError;

/// Which copy tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Percona XtraBackup, for MySQL 8.0, 8.4 and 9.x.
    Xtrabackup,
    /// mariadb-backup, for MariaDB.
    MariadbBackup,
}

/// What differs between the tools.
struct Names {
    /// The tool, also as its messages name it.
    tool: &'static str,
    /// What unpacks its stream.
    unpack: &'static str,
    /// What its version is introduced by in the output of `--version`.
    version_after: &'static str,
    /// Names of the file with the binary log's position and the GTID set, the newest first.
    position: &'static [&'static str],
    /// Names of the file that describes the copy, the newest first.
    info: &'static [&'static str],
    /// Names of the file with the copy's state, the newest first.
    checkpoints: &'static [&'static str],
    /// The `backup_type` of a full copy that was prepared to the end.
    prepared: &'static str,
}

/// `xtrabackup_binlog_info` and its like are what `--backup` writes; `--prepare` of a copy leaves them.
const XTRABACKUP: Names = Names {
    tool: "xtrabackup",
    unpack: "xbstream",
    version_after: "xtrabackup version ",
    position: &["xtrabackup_binlog_info"],
    info: &["xtrabackup_info"],
    checkpoints: &["xtrabackup_checkpoints"],
    // `log-applied` is what `--apply-log-only` leaves, which still lacks the roll-back.
    prepared: "full-prepared",
};

/// The names with `mariadb_backup_` came with MariaDB 11.1; before, they were XtraBackup's.
const MARIADB_BACKUP: Names = Names {
    tool: "mariadb-backup",
    unpack: "mbstream",
    version_after: "based on MariaDB server ",
    position: &["mariadb_backup_binlog_info", "xtrabackup_binlog_info"],
    info: &["mariadb_backup_info", "xtrabackup_info"],
    checkpoints: &["mariadb_backup_checkpoints", "xtrabackup_checkpoints"],
    // Seen with 11.8: the server itself rolls back.
    prepared: "log-applied",
};

/// What both leave in the copy for themselves. Neither is of use to a server.
const LEFT_BEHIND: [&str; 3] = ["xtrabackup_", "mariadb_backup_", "backup-my.cnf"];

impl Kind {
    /// All tools, in the order in which they are looked for.
    pub(crate) const ALL: [Kind; 2] = [Kind::Xtrabackup, Kind::MariadbBackup];

    fn names(self) -> &'static Names {
        match self {
            Kind::Xtrabackup => &XTRABACKUP,
            Kind::MariadbBackup => &MARIADB_BACKUP,
        }
    }

    /// Name of the tool's program.
    pub(crate) fn tool(self) -> &'static str {
        self.names().tool
    }

    /// Name of the program that unpacks its stream.
    pub(crate) fn unpack(self) -> &'static str {
        self.names().unpack
    }

    /// Names of the file with the position, the newest first.
    pub(crate) fn position_files(self) -> &'static [&'static str] {
        self.names().position
    }

    /// Names of the file that describes the copy, the newest first.
    pub(crate) fn info_files(self) -> &'static [&'static str] {
        self.names().info
    }

    /// Names of the file with the copy's state, the newest first.
    pub(crate) fn checkpoint_files(self) -> &'static [&'static str] {
        self.names().checkpoints
    }

    /// The `backup_type` of a full copy that was prepared to the end.
    pub(crate) fn prepared(self) -> &'static str {
        self.names().prepared
    }

    /// Whether a file in the copy's root is the tool's own, and none of the server's.
    pub(crate) fn is_left_behind(name: &str) -> bool {
        LEFT_BEHIND.iter().any(|prefix| name.starts_with(prefix))
    }

    /// Arguments of a copy of `datadir`, streamed to standard output. `account` is an option file with how the
    /// server is reached; being the only one that is read, no other file of the image has a say. Nothing here
    /// comes from a request.
    pub(crate) fn backup_arguments(
        self,
        account: &Path,
        datadir: &Path,
        scratch: &Path,
        parallel: usize,
    ) -> Vec<OsString> {
        vec![
            with_path("--defaults-file=", account),
            "--backup".into(),
            "--stream=xbstream".into(),
            with_path("--datadir=", datadir),
            with_path("--target-dir=", scratch),
            format!("--parallel={parallel}").into(),
        ]
    }

    /// Arguments that unpack a stream from standard input into `directory`.
    pub(crate) fn unpack_arguments(self, directory: &Path, parallel: usize) -> Vec<OsString> {
        vec!["-x".into(), with_path("--directory=", directory), format!("--parallel={parallel}").into()]
    }

    /// Arguments that make an unpacked copy consistent. `memory` is in bytes. The InnoDB options are those that the
    /// copy itself brings.
    pub(crate) fn prepare_arguments(self, directory: &Path, memory: u64) -> Vec<OsString> {
        vec![
            with_path("--defaults-file=", &directory.join("backup-my.cnf")),
            "--prepare".into(),
            with_path("--target-dir=", directory),
            format!("--use-memory={memory}").into(),
        ]
    }

    /// The version in what the tool prints for `--version`.
    pub(crate) fn parse_version(self, said: &str) -> Option<Version> {
        let (_, rest) = said.split_once(self.names().version_after)?;
        Version::parse(rest.split_whitespace().next()?)
    }

    /// Whether the tool of this version may copy a server, or prepare its copy. Both tools want the server's own
    /// series: XtraBackup 8.4.x "can safely back up the source server from 8.4.x to 8.4.xx" ("Server version and
    /// backup version comparison", likewise for 8.0.34 and later and for each 9.x), and a copy by mariadb-backup of
    /// another series may be damaged. Told apart by what it calls itself, because mariadb-backup connects to MySQL
    /// without complaint.
    pub(crate) fn fits(self, tool: Version, server: &str) -> Result<(), String> {
        let mariadb = server.contains("MariaDB");
        if mariadb != (self == Kind::MariadbBackup) {
            return Err(format!("{} does not copy a server of the version {server}", self.tool()));
        }
        let Some(version) = Version::parse(server) else {
            return Err(format!("the server's version {server:?} can't be read"));
        };
        if tool.series() != version.series() {
            return Err(format!("{} {tool} does not fit a server of the version {server}", self.tool()));
        }
        Ok(())
    }
}

fn with_path(option: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(option);
    argument.push(path);
    argument
}

/// A version: `8.4.0-1`, `9.7.1-rc1`, `11.8.3-MariaDB`. What follows the third number does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub(crate) struct Version(u32, u32, u32);

impl Version {
    /// Reads the three numbers that a version begins with.
    pub(crate) fn parse(text: &str) -> Option<Version> {
        let mut numbers = text.split('.');
        let (major, minor, rest) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some(Version(major.parse().ok()?, minor.parse().ok()?, rest[..digits].parse().ok()?))
    }

    fn series(self) -> (u32, u32) {
        (self.0, self.1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A tool as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyTool {
    /// Which.
    pub(crate) kind: Kind,
    /// Its program.
    pub(crate) program: PathBuf,
    /// The program that unpacks its stream.
    pub(crate) unpack: PathBuf,
    /// Its version.
    pub(crate) version: Version,
}

impl CopyTool {
    /// Looks for a tool in `PATH` and asks it for its version.
    pub(crate) async fn find() -> Result<CopyTool, StreamError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = |name: &str| {
            std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
        };
        let found = Kind::ALL
            .into_iter()
            .find_map(|kind| Some((kind, program(kind.tool())?, program(kind.unpack())?)));
        let (kind, program, unpack) = found.ok_or(StreamError::NoTool)?;
        let output = tokio::process::Command::new(&program)
            .arg("--version")
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .map_err(|source| StreamError::Run { tool: kind.tool(), source })?;
        // XtraBackup says it on standard error.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let version = kind.parse_version(&said).ok_or_else(|| StreamError::ToolVersion {
            tool: kind.tool(),
            said: said.chars().take(200).collect(),
        })?;
        Ok(CopyTool { kind, program, unpack, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_version_is_read_from_what_it_prints() {
        let table = [
            (
                Kind::Xtrabackup,
                "2024-03-01T10:00:00 0 [Note] [MY-011825] [Xtrabackup] recognized server arguments:\nxtrabackup \
                 version 8.0.35-31 based on MySQL server 8.0.35 Linux (x86_64) (revision id: 55ec21d7)\n",
                "8.0.35",
            ),
            (
                Kind::Xtrabackup,
                "xtrabackup version 8.4.0-1 based on MySQL server 8.4.0 Linux (x86_64) (revision id: da6e1abd)\n",
                "8.4.0",
            ),
            (Kind::Xtrabackup, "xtrabackup version 9.7.1-rc1 based on MySQL server 9.7.1", "9.7.1"),
            (
                Kind::MariadbBackup,
                "mariadb-backup based on MariaDB server 11.8.3-MariaDB debian-linux-gnu (x86_64)\n",
                "11.8.3",
            ),
        ];
        for (kind, said, version) in table {
            assert_eq!(kind.parse_version(said).unwrap().to_string(), version, "{said}");
        }
        assert_eq!(Kind::Xtrabackup.parse_version("mariadb-backup based on MariaDB server 11.8.3"), None);
        assert_eq!(Kind::Xtrabackup.parse_version("xtrabackup version "), None);
    }

    #[test]
    fn a_tool_fits_the_servers_own_series_only() {
        use Kind::{MariadbBackup, Xtrabackup};
        let table = [
            (Xtrabackup, "8.0.35-31", "8.0.42", true),
            (Xtrabackup, "8.4.0-1", "8.4.7", true),
            (Xtrabackup, "9.7.1-rc1", "9.7.4-0ubuntu1", true),
            (Xtrabackup, "8.4.0-1", "9.7.4", false),
            (Xtrabackup, "8.4.0-1", "8.0.42", false),
            (Xtrabackup, "9.1.0-1", "9.7.4", false),
            (Xtrabackup, "11.8.0", "11.8.3-MariaDB-0+deb13u1", false),
            (MariadbBackup, "11.8.3-MariaDB", "11.8.6-MariaDB-0+deb13u1-log", true),
            (MariadbBackup, "10.11.3-MariaDB", "11.8.6-MariaDB", false),
            (MariadbBackup, "9.7.0", "9.7.0", false),
            (Xtrabackup, "9.7.1", "unknown", false),
        ];
        for (kind, tool, server, fits) in table {
            let outcome = kind.fits(Version::parse(tool).unwrap(), server);
            assert_eq!(outcome.is_ok(), fits, "{tool} {server}: {outcome:?}");
        }
    }

    #[test]
    fn the_only_option_file_is_the_first_argument() {
        let arguments = Kind::Xtrabackup.backup_arguments(
            Path::new("/run/mainstay/backup.cnf"),
            Path::new("/var/lib/mysql/data"),
            Path::new("/tmp"),
            2,
        );
        assert_eq!(arguments[0], "--defaults-file=/run/mainstay/backup.cnf");
        assert!(arguments.contains(&"--stream=xbstream".into()));
        assert!(arguments.iter().all(|argument| !argument.to_string_lossy().contains("password")));
    }

    #[test]
    fn the_tools_own_files_are_told_from_the_servers() {
        for name in ["xtrabackup_info", "xtrabackup_logfile", "mariadb_backup_checkpoints", "backup-my.cnf"] {
            assert!(Kind::is_left_behind(name), "{name}");
        }
        for name in ["ibdata1", "mysql.ibd", "undo_001", "ib_logfile0", "#innodb_redo", "shop"] {
            assert!(!Kind::is_left_behind(name), "{name}");
        }
    }
}
