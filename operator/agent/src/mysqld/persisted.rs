//! What was persisted (`SET PERSIST`, `SET PERSIST_ONLY`) of options that are not a person's to set.
//!
//! It outranks the option file, and takes effect before anybody can look: so it is left out before the server starts.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::Value;

/// MySQL's file of persisted options, in the data directory.
const FILE: &str = "mysqld-auto.cnf";

/// Takes `names` out of the persisted options. Returns which of them were there, with their values.
pub(crate) fn leave_out(datadir: &Path, names: &BTreeSet<String>) -> io::Result<Vec<String>> {
    let path = datadir.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    // What is no JSON the server refuses to start with, in its own words.
    let Ok(mut persisted) = serde_json::from_slice::<Value>(&text) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    take_out(&mut persisted, names, &mut found);
    if found.is_empty() {
        return Ok(found);
    }
    let temporary = datadir.join(format!("{FILE}.mainstay"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
    file.write_all(&serde_json::to_vec(&persisted)?)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(datadir)?.sync_all()?;
    Ok(found)
}

/// The file has groups of options, and of these there were others in each version of it: so they are found by name.
fn take_out(value: &mut Value, names: &BTreeSet<String>, found: &mut Vec<String>) {
    let Value::Object(entries) = value else { return };
    entries.retain(|name, entry| {
        let taken = entry.is_object() && names.contains(&name.to_ascii_lowercase().replace('-', "_"));
        if taken {
            let value = entry.get("Value").and_then(Value::as_str).unwrap_or("?");
            found.push(format!("SET PERSIST {name} = {value} was left out: safety rests on it"));
        }
        !taken
    });
    entries.values_mut().for_each(|entry| take_out(entry, names, found));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 9.7 writes it.
    const WRITTEN: &str = r#"{"Version": 2,
        "mysql_dynamic_parse_early_variables": {"max_connections": {"Value": "77", "Metadata": {"Host": "h", "User": "root", "Timestamp": 1}}},
        "mysql_dynamic_variables": {"sync_binlog": {"Value": "0", "Metadata": {"Host": "h", "User": "root", "Timestamp": 1}}},
        "mysql_static_variables": {"relay_log_recovery": {"Value": "ON", "Metadata": {"Host": "h", "User": "root", "Timestamp": 1}}}}"#;

    fn names() -> BTreeSet<String> {
        ["sync_binlog", "relay_log_recovery"].map(String::from).into()
    }

    #[test]
    fn what_safety_rests_on_is_left_out_and_the_rest_is_the_persons() {
        let directory = crate::testing::directory();
        fs::write(directory.join(FILE), WRITTEN).unwrap();
        let found = leave_out(&directory, &names()).unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        let text = fs::read_to_string(directory.join(FILE)).unwrap();
        assert!(text.contains("max_connections") && text.contains("77"), "{text}");
        assert!(!text.contains("sync_binlog") && !text.contains("relay_log_recovery"), "{text}");
        assert_eq!(leave_out(&directory, &names()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn without_the_file_or_with_one_that_cannot_be_read_nothing_is_written() {
        let directory = crate::testing::directory();
        assert!(leave_out(&directory, &names()).unwrap().is_empty());
        fs::write(directory.join(FILE), "{").unwrap();
        assert!(leave_out(&directory, &names()).unwrap().is_empty());
        assert_eq!(fs::read_to_string(directory.join(FILE)).unwrap(), "{");
    }
}
