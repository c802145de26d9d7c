//! The manifests of `examples/`: what users copy must be accepted whole.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't go on says why")]

use std::path::{Path, PathBuf};

use mainstay_crd::MySQLCluster;
use mainstay_crd::rules::{validate, validate_name};
use serde::Deserialize;
use serde_json::Value;

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let entries = directory.read_dir().expect("the examples can be listed");
    entries.map(|entry| entry.expect("an example can be listed").path()).collect()
}

/// Every document of every file, with the file's name.
fn documents() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for path in files() {
        let text = std::fs::read_to_string(&path).expect("an example can be read");
        for document in serde_norway::Deserializer::from_str(&text) {
            let value = Value::deserialize(document).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            found.push((path.display().to_string(), value));
        }
    }
    found
}

/// Whether everything that `written` says is in `read` too, so that no field of it was unknown.
fn unread(written: &Value, read: &Value, path: &str, found: &mut Vec<String>) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (key, value) in written {
                match read.get(key) {
                    Some(read) => unread(value, read, &format!("{path}.{key}"), found),
                    None => found.push(format!("{path}.{key}")),
                }
            }
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            for (number, (written, read)) in written.iter().zip(read).enumerate() {
                unread(written, read, &format!("{path}[{number}]"), found);
            }
        }
        (written, read) if written == read => {}
        _ => found.push(format!("{path} = {written}, read as {read}")),
    }
}

#[test]
fn every_file_has_one_cluster_that_the_rules_accept() {
    let documents = documents();
    for path in files() {
        let name = path.display().to_string();
        let clusters =
            documents.iter().filter(|(file, value)| *file == name && value["kind"] == "MySQLCluster");
        assert_eq!(clusters.count(), 1, "{name}");
    }
    for (file, value) in documents.iter().filter(|(_, value)| value["kind"] == "MySQLCluster") {
        let cluster: MySQLCluster =
            serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{file}: {e}"));
        let name = cluster.metadata.name.as_deref().expect("an example has a name");
        assert_eq!(validate_name(name), None, "{file}");
        assert_eq!(validate(&cluster.spec), [], "{file}");
    }
}

#[test]
fn no_field_of_an_example_is_unknown() {
    for (file, value) in documents().iter().filter(|(_, value)| value["kind"] == "MySQLCluster") {
        let cluster: MySQLCluster =
            serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{file}: {e}"));
        let read = serde_json::to_value(cluster).expect("a cluster serialises");
        let mut found = Vec::new();
        unread(value, &read, "", &mut found);
        assert!(found.is_empty(), "{file}: {found:?}");
    }
}
