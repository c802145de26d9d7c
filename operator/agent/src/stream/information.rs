//! The files in which a copy tool tells what it copied.
//!
//! Their forms: XtraBackup's manual, "Index of files created by Percona XtraBackup", "Create a new (or repair a
//! broken) GTID-based replica" (`xtrabackup_binlog_info`: file, position and GTID set, separated by tabs; the set
//! goes on over several lines, each but the last ending in a comma, as in `@@gtid_executed`); MariaDB's "Files
//! created by mariadb-backup".

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::adapter::Kind;
use super::error::StreamError;

/// Longest information file, in bytes. A GTID set of ten thousand servers is below it.
const LONGEST: u64 = 1024 * 1024;

/// Where in the donor's history a copy was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Position {
    /// The binary log's file.
    pub(crate) file: String,
    /// Position in it.
    pub(crate) position: u64,
    /// The GTID set that the copy holds, without blanks; empty if the server had executed none.
    pub(crate) gtid_set: String,
}

/// What a copy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Information {
    /// Where in the donor's history.
    pub(crate) position: Position,
    /// Version of the copied server.
    pub(crate) server_version: String,
}

/// Reads the information files of a prepared copy, and checks that it is a whole and prepared one.
pub(crate) fn read(kind: Kind, directory: &Path) -> Result<Information, StreamError> {
    let (file, text) = first(directory, kind.checkpoint_files())?;
    checkpoints(&text, kind.prepared()).map_err(|message| StreamError::Information { file, message })?;
    let (file, text) = first(directory, kind.info_files())?;
    let server_version = info(&text).map_err(|message| StreamError::Information { file, message })?;
    let (file, text) = first(directory, kind.position_files())?;
    let position = position(&text).map_err(|message| StreamError::Information { file, message })?;
    Ok(Information { position, server_version })
}

/// The first of the files that is there.
fn first(directory: &Path, names: &[&str]) -> Result<(String, String), StreamError> {
    let name = names.iter().find(|name| directory.join(name).exists()).or(names.first());
    let name = name.copied().unwrap_or_default();
    let error = |message: String| StreamError::Information { file: name.to_owned(), message };
    let mut text = String::new();
    File::open(directory.join(name))
        .and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text))
        .map_err(|e| error(e.to_string()))?;
    if text.len() as u64 > LONGEST {
        Err(error("it is too long".to_owned()))
    } else {
        Ok((name.to_owned(), text))
    }
}

/// The file with the position.
pub(crate) fn position(text: &str) -> Result<Position, String> {
    let mut fields = text.trim_end().splitn(3, '\t');
    let file = fields.next().unwrap_or_default().trim();
    if file.is_empty() {
        return Err("it names no binary log: is the donor's switched off?".to_owned());
    }
    if file.chars().any(char::is_control) {
        return Err("it begins with more than a binary log's name".to_owned());
    }
    let position = fields.next().unwrap_or_default().trim();
    let position = position.parse().map_err(|_| format!("{position:?} is not a position"))?;
    let gtid_set: String = fields.next().unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-:,_".contains(c);
    if !gtid_set.chars().all(plain) || gtid_set.starts_with(',') || gtid_set.ends_with(',') {
        return Err("its GTID set is damaged or cut short".to_owned());
    }
    Ok(Position { file: file.to_owned(), position, gtid_set })
}

/// `xtrabackup_checkpoints`: only a full copy that was prepared to the end can be started.
pub(super) fn checkpoints(text: &str, prepared: &str) -> Result<(), String> {
    match value(text, "backup_type") {
        Some(state) if state == prepared => Ok(()),
        Some(other) => Err(format!("the copy is {other}, not {prepared}")),
        None => Err("it names no backup_type".to_owned()),
    }
}

/// `xtrabackup_info`: the server's version, if the copy is of everything.
pub(super) fn info(text: &str) -> Result<String, String> {
    for flag in ["partial", "incremental"] {
        if value(text, flag).is_some_and(|value| value != "N") {
            return Err(format!("the copy is {flag}"));
        }
    }
    match value(text, "server_version") {
        Some(version) if !version.is_empty() => Ok(version.to_owned()),
        _ => Err("it names no server_version".to_owned()),
    }
}

/// The value of `name = value`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == name).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e659069-3cd8-11e5-9a49-001c4270714e";

    #[test]
    fn a_position_is_file_position_and_set_over_any_number_of_lines() {
        let at = |file: &str, position, gtid_set: String| Position { file: file.into(), position, gtid_set };
        let table = [
            // 8.0, "Create a new (or repair a broken) GTID-based replica".
            (
                "mysql-bin.000002\t1232\tc777888a-b6df-11e2-a604-080027635ef5:1-4\n".to_owned(),
                at("mysql-bin.000002", 1232, "c777888a-b6df-11e2-a604-080027635ef5:1-4".into()),
            ),
            // Two servers: @@gtid_executed breaks the line after each.
            (
                format!("binlog.000011\t197\t{A}:1-5:11-18,\n{B}:1-27\n"),
                at("binlog.000011", 197, format!("{A}:1-5:11-18,{B}:1-27")),
            ),
            // 8.4 and 9.x: GTIDs with tags.
            (
                format!("binlog.000007\t4\t{A}:1-9:backup:1-2:x_1:4,\n{B}:1\n"),
                at("binlog.000007", 4, format!("{A}:1-9:backup:1-2:x_1:4,{B}:1")),
            ),
            // Without GTIDs.
            ("binlog.000002\t156\n".to_owned(), at("binlog.000002", 156, String::new())),
            ("binlog.000002\t156\t\n".to_owned(), at("binlog.000002", 156, String::new())),
            // MariaDB's GTIDs are positions.
            ("mariadb-bin.000096\t568\t0-1-2\n".to_owned(), at("mariadb-bin.000096", 568, "0-1-2".into())),
        ];
        for (text, expected) in table {
            assert_eq!(position(&text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn a_position_that_is_cut_short_is_an_error() {
        for text in [
            String::new(),
            "\n".into(),
            "binlog.000001".into(),
            "binlog.000001\tx".into(),
            "binlog.000001\t4\t'; DROP".into(),
            format!("binlog.000001\t4\t{A}:1-5,\n"),
            "binlog.000001\nbinlog.000002\t4\t\n".into(),
        ] {
            assert!(position(&text).is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_position_that_is_read_holds_nothing_but_a_set(text in "[a-z.0-9]{0,8}\t[0-9a]{0,4}\t.{0,80}") {
            if let Ok(position) = position(&text) {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-:,_".contains(c);
                proptest::prop_assert!(position.gtid_set.chars().all(plain), "{position:?}");
            }
        }
    }

    fn copy(state: &str, partial: &str) -> crate::testing::Directory {
        let directory = crate::testing::directory();
        let files = [
            (
                "xtrabackup_checkpoints",
                format!(
                    "backup_type = {state}\nfrom_lsn = 0\nto_lsn = 19561204\nlast_lsn = 19561204\nflushed_lsn = \
                 19561204\nredo_memory = 0\nredo_frames = 0\n"
                ),
            ),
            (
                "xtrabackup_info",
                format!(
                    "uuid = 6a21ef6b-d3a6-11ee-9c0c-0242ac110002\nname = \ntool_name = xtrabackup\ntool_command = \
                 --backup --stream=xbstream\ntool_version = 8.4.0-1\nibbackup_version = 8.4.0-1\nserver_version = \
                 8.4.3\nstart_time = 2025-01-02 10:00:00\nend_time = 2025-01-02 10:00:09\nlock_time = 0\nbinlog_pos \
                 = filename 'binlog.000003', position '197', GTID of the last change \
                 '{A}:1-9,\n{B}:1-2'\ninnodb_from_lsn = 0\ninnodb_to_lsn = 19561204\npartial = {partial}\n\
                 incremental = N\nformat = xbstream\ncompressed = N\nencrypted = N\n"
                ),
            ),
            ("xtrabackup_binlog_info", format!("binlog.000003\t197\t{A}:1-9,\n{B}:1-2\n")),
        ];
        for (name, text) in files {
            std::fs::write(directory.join(name), text).unwrap();
        }
        directory
    }

    #[test]
    fn a_prepared_full_copy_tells_its_set_and_its_servers_version() {
        let read = read(Kind::Xtrabackup, &copy("full-prepared", "N")).unwrap();
        assert_eq!(read.server_version, "8.4.3");
        assert_eq!(read.position.gtid_set, format!("{A}:1-9,{B}:1-2"));
    }

    #[test]
    fn a_copy_that_is_not_prepared_or_not_whole_or_says_nothing_is_none() {
        for (state, partial) in [("full-backuped", "N"), ("log-applied", "N"), ("full-prepared", "Y")] {
            assert!(read(Kind::Xtrabackup, &copy(state, partial)).is_err(), "{state} {partial}");
        }
        let nameless = copy("full-prepared", "N");
        std::fs::write(nameless.join("xtrabackup_info"), "server_version = \npartial = N\n").unwrap();
        assert!(read(Kind::Xtrabackup, &nameless).is_err());
        for file in ["xtrabackup_checkpoints", "xtrabackup_info", "xtrabackup_binlog_info"] {
            let directory = copy("full-prepared", "N");
            std::fs::remove_file(directory.join(file)).unwrap();
            assert!(read(Kind::Xtrabackup, &directory).is_err(), "{file}");
        }
    }
}
