//! The manifests of `examples/`: what users copy must be accepted whole.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't go on says why")]

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::PersistentVolume;
use k8s_openapi::api::storage::v1::StorageClass;
use mainstay_crd::MySQLCluster;
use mainstay_crd::rules::{validate, validate_name};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

fn files() -> Vec<PathBuf> {
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")];
    let mut files = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in directory.read_dir().expect("the examples can be listed") {
            let path = entry.expect("an example can be listed").path();
            if path.is_dir() { &mut directories } else { &mut files }.push(path);
        }
    }
    files
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

/// The fields of a document that its type does not have.
fn unknown<K: DeserializeOwned + Serialize>(file: &str, written: &Value) -> Vec<String> {
    let object: K = serde_json::from_value(written.clone()).unwrap_or_else(|e| panic!("{file}: {e}"));
    let read = serde_json::to_value(object).expect("an object serialises");
    let mut found = Vec::new();
    unread(written, &read, "", &mut found);
    found
}

#[test]
fn every_document_is_what_it_says_and_no_field_is_unknown() {
    for (file, value) in documents() {
        let found = match (value["apiVersion"].as_str(), value["kind"].as_str()) {
            (Some("mysql.mainstay.dev/v1alpha1"), Some("MySQLCluster")) => {
                unknown::<MySQLCluster>(&file, &value)
            }
            (Some("v1"), Some("PersistentVolume")) => unknown::<PersistentVolume>(&file, &value),
            (Some("storage.k8s.io/v1"), Some("StorageClass")) => unknown::<StorageClass>(&file, &value),
            other => panic!("{file}: a document of kind {other:?}"),
        };
        assert!(found.is_empty(), "{file}: {found:?}");
    }
}

/// A file of `examples/storage` is complete: applied as it is, each instance finds a volume.
#[test]
fn volumes_made_by_hand_fit_their_cluster() {
    let documents = documents();
    for path in files().iter().filter(|path| path.parent().is_some_and(|parent| parent.ends_with("storage")))
    {
        let file = path.display().to_string();
        let of_kind = |kind: &'static str| {
            documents
                .iter()
                .filter(|(of, _)| *of == file)
                .map(|(_, value)| value)
                .filter(move |value| value["kind"] == kind)
        };
        let cluster = of_kind("MySQLCluster").next().expect("a storage example has a cluster");
        let storage = &cluster["spec"]["storage"];
        assert!(of_kind("StorageClass").any(|class| class["metadata"]["name"] == storage["class"]), "{file}");
        let wanted = storage["selector"]["matchLabels"].as_object();
        let fitting = of_kind("PersistentVolume").filter(|volume| {
            let labels = &volume["metadata"]["labels"];
            volume["spec"]["storageClassName"] == storage["class"]
                && volume["spec"]["capacity"]["storage"] == storage["size"]
                && volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
                && wanted.is_none_or(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
        });
        assert_eq!(Some(fitting.count() as u64), cluster["spec"]["replicas"].as_u64(), "{file}");
    }
}
