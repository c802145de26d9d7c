//! What was persisted (`SET PERSIST`, `SET PERSIST_ONLY`): it outranks the option file, and takes effect before anybody
//! can look.
//!
//! What is not a person's to set is left out before the server starts. What the server does not start with is left out
//! afterwards, if no start has come up with it before: such a value is not checked when it is persisted. What was in
//! effect already stays, whatever keeps the server from starting; then it is said how a person takes it out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mainstay_proto::options::never_persisted;
use serde_json::Value;

use super::options;
use crate::settings::Settings;
use crate::sql::required::so_that;

/// MySQL's file of persisted options, in the data directory.
const FILE: &str = "mysqld-auto.cnf";
/// Beside it: what it was when a server last came up with it.
const PROVEN: &str = "mysqld-auto.cnf.proven";
/// What it was before options were left out with which no server has come up, until one comes up without.
const TRIED: &str = "mysqld-auto.cnf.tried";
/// The same afterwards, for people.
const LEFT_OUT: &str = "mysqld-auto.cnf.left-out";

/// Options by name, with their values.
type Persisted = BTreeMap<String, String>;

/// What was persisted of options that safety rests on would outrank the option file. A server that was started with
/// one all the same is not let into a role.
pub(crate) fn leave_out_owned(settings: &Settings) -> Vec<String> {
    let mut names = options::owned(settings);
    names.extend(never_persisted().map(String::from));
    match leave_out(&settings.datadir(), &names) {
        Ok(found) => {
            let said = |(name, value): (String, String)| {
                format!("SET PERSIST {name} = {value} was left out{}", so_that(&name))
            };
            let said: Vec<String> = found.into_iter().map(said).collect();
            said.iter().for_each(|said| tracing::warn!("{said}"));
            said
        }
        Err(error) => {
            tracing::warn!(%error, "the persisted options could not be looked through");
            Vec::new()
        }
    }
}

/// A server has come up with what is persisted. Returns what had to be left out for that.
pub(crate) fn came_up(settings: &Settings) -> Option<String> {
    prove(&settings.datadir()).unwrap_or_else(|error| {
        tracing::warn!(%error, "the persisted options that the server has come up with could not be kept");
        None
    })
}

/// A server did not come up. Leaves out what was persisted since one did; or puts that back, if it was of no use.
/// Returns what is to be said of it.
pub(crate) fn after_failed_start(settings: &Settings) -> Option<String> {
    let datadir = settings.datadir();
    match leave_out_unproven(&datadir) {
        Ok(Some(names)) => {
            tracing::warn!(names, "what was persisted since the last start is left out at the next");
            Some(format!("It is started without what was persisted since it last came up: {names}"))
        }
        Ok(None) => way_out(settings, &read(&datadir.join(FILE)).ok()?),
        Err(error) => {
            tracing::warn!(%error, "the persisted options could not be looked through");
            None
        }
    }
}

/// How a person takes out what is persisted, if there is any.
fn way_out(settings: &Settings, text: &[u8]) -> Option<String> {
    let names = match persisted(text) {
        Some(persisted) if persisted.is_empty() => return None,
        Some(persisted) => format!("sets {}", list(persisted.keys())),
        None => "is no JSON".to_owned(),
    };
    let (namespace, pod) = (&settings.namespace, &settings.pod_name);
    let file = settings.datadir().join(FILE);
    let file = file.display();
    Some(format!(
        "{FILE} {names} (SET PERSIST). If that keeps it from starting, put it aside, and it starts without: \
         kubectl exec -n {namespace} {pod} -c mysql -- mv {file} {file}.aside"
    ))
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A file's content; empty if it is not there.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// The options in a file, `None` if it is no JSON; a file that is not there has none.
fn persisted(text: &[u8]) -> Option<Persisted> {
    let mut found = Persisted::new();
    if !text.is_empty() {
        collect(&serde_json::from_slice(text).ok()?, &mut found);
    }
    Some(found)
}

fn collect(value: &Value, found: &mut Persisted) {
    for (name, entry) in value.as_object().into_iter().flatten() {
        match entry.get("Value").and_then(Value::as_str) {
            Some(value) => drop(found.insert(name.clone(), value.to_owned())),
            None => collect(entry, found),
        }
    }
}

/// Those of `all` that `others` has not, or otherwise.
fn beyond(all: &Persisted, others: &Persisted) -> BTreeSet<String> {
    all.iter()
        .filter(|(name, value)| others.get(*name) != Some(*value))
        .map(|(name, _)| name.clone())
        .collect()
}

fn leave_out_unproven(datadir: &Path) -> io::Result<Option<String>> {
    let (path, tried) = (datadir.join(FILE), datadir.join(TRIED));
    if tried.exists() {
        // It does not come up without either.
        fs::rename(&tried, &path)?;
        File::open(datadir)?.sync_all()?;
        return Ok(None);
    }
    if !datadir.join(PROVEN).exists() {
        return Ok(None);
    }
    let text = read(&path)?;
    let (Some(now), Some(proven)) = (persisted(&text), persisted(&read(&datadir.join(PROVEN))?)) else {
        return Ok(None);
    };
    let unproven = beyond(&now, &proven);
    if unproven.is_empty() {
        return Ok(None);
    }
    write(datadir, TRIED, &text)?;
    leave_out(datadir, &unproven)?;
    Ok(Some(list(unproven.iter())))
}

fn prove(datadir: &Path) -> io::Result<Option<String>> {
    let text = read(&datadir.join(FILE))?;
    let proven = datadir.join(PROVEN);
    if !proven.exists() || read(&proven)? != text {
        write(datadir, PROVEN, &text)?;
    }
    let tried = datadir.join(TRIED);
    if !tried.exists() {
        return Ok(None);
    }
    let (before, now) = (persisted(&read(&tried)?), persisted(&text));
    fs::rename(&tried, datadir.join(LEFT_OUT))?;
    let left = beyond(&before.unwrap_or_default(), &now.unwrap_or_default());
    Ok((!left.is_empty()).then(|| {
        format!(
            "the server did not start with what was persisted of {}, and did without: it was left out, and is kept in \
             {LEFT_OUT} in the data directory",
            list(left.iter())
        )
    }))
}

/// Replaces a file of the data directory, for good.
fn write(datadir: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    let temporary = datadir.join(format!("{name}.mainstay"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&temporary, datadir.join(name))?;
    File::open(datadir)?.sync_all()
}

/// Takes `names` out of the persisted options. Returns which of them were there, with their values.
fn leave_out(datadir: &Path, names: &BTreeSet<String>) -> io::Result<Vec<(String, String)>> {
    let text = read(&datadir.join(FILE))?;
    // What is no JSON the server refuses to start with, in its own words; nor is what is not there.
    let Ok(mut persisted) = serde_json::from_slice::<Value>(&text) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    take_out(&mut persisted, names, &mut found);
    if found.is_empty() {
        return Ok(found);
    }
    write(datadir, FILE, &serde_json::to_vec(&persisted)?)?;
    Ok(found)
}

/// The file has groups of options, and of these there were others in each version of it: so they are found by name.
fn take_out(value: &mut Value, names: &BTreeSet<String>, found: &mut Vec<(String, String)>) {
    let Value::Object(entries) = value else { return };
    entries.retain(|name, entry| {
        let taken = entry.is_object() && names.contains(&name.to_ascii_lowercase().replace('-', "_"));
        if taken {
            let value = entry.get("Value").and_then(Value::as_str).unwrap_or("?");
            found.push((name.clone(), value.to_owned()));
        }
        !taken
    });
    entries.values_mut().for_each(|entry| take_out(entry, names, found));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        assert_eq!(leave_out(&directory, &names()).unwrap(), Vec::new());
    }

    #[test]
    fn without_the_file_or_with_one_that_cannot_be_read_nothing_is_written() {
        let directory = crate::testing::directory();
        assert!(leave_out(&directory, &names()).unwrap().is_empty());
        fs::write(directory.join(FILE), "{").unwrap();
        assert!(leave_out(&directory, &names()).unwrap().is_empty());
        assert_eq!(fs::read_to_string(directory.join(FILE)).unwrap(), "{");
    }

    fn put(directory: &Path, options: &[(&str, &str)]) {
        let options: serde_json::Map<String, Value> =
            options.iter().map(|(name, value)| ((*name).to_owned(), json!({"Value": value}))).collect();
        let text = json!({"Version": 2, "mysql_dynamic_variables": options}).to_string();
        fs::write(directory.join(FILE), text).unwrap();
    }

    fn now(directory: &Path) -> Vec<String> {
        persisted(&read(&directory.join(FILE)).unwrap()).unwrap().into_keys().collect()
    }

    #[test]
    fn only_what_no_server_came_up_with_is_left_out_and_it_is_kept() {
        let directory = crate::testing::directory();
        assert_eq!(prove(&directory).unwrap(), None);
        put(&directory, &[("sql_mode", "ANSI"), ("max_connections", "7")]);
        assert_eq!(prove(&directory).unwrap(), None);
        put(&directory, &[("sql_mode", "ANSI"), ("max_connections", "8"), ("innodb_buffer_pool_size", "9")]);
        let left = leave_out_unproven(&directory).unwrap();
        assert_eq!(left.as_deref(), Some("innodb_buffer_pool_size, max_connections"));
        assert_eq!(now(&directory), ["sql_mode"]);
        let said = prove(&directory).unwrap().unwrap();
        assert!(said.contains("innodb_buffer_pool_size, max_connections"), "{said}");
        assert!(fs::read_to_string(directory.join(LEFT_OUT)).unwrap().contains("innodb_buffer_pool_size"));
        assert_eq!(prove(&directory).unwrap(), None);
        assert_eq!(leave_out_unproven(&directory).unwrap(), None);
    }

    #[test]
    fn what_is_not_to_blame_is_put_back() {
        let directory = crate::testing::directory();
        prove(&directory).unwrap();
        put(&directory, &[("sql_mode", "ANSI")]);
        assert!(leave_out_unproven(&directory).unwrap().is_some());
        assert_eq!(now(&directory), Vec::<String>::new());
        assert_eq!(leave_out_unproven(&directory).unwrap(), None);
        assert_eq!(now(&directory), ["sql_mode"]);
    }

    #[test]
    fn where_nothing_is_known_of_a_start_nothing_is_left_out() {
        let directory = crate::testing::directory();
        put(&directory, &[("sql_mode", "ANSI")]);
        assert_eq!(leave_out_unproven(&directory).unwrap(), None);
        assert_eq!(now(&directory), ["sql_mode"]);
    }
}
