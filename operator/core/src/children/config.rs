//! The ConfigMap with MySQL's option files.
//!
//! `common.cnf` has safe defaults, the user's entries in place of those, and last what the operator relies on.
//! The agent adds what differs between instances. Only options that mean the same in 8.4 and 9.7 are used.
//! Which options a user may set is the API's to say (`mainstay_crd::rules`); here the operator's simply win.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec, ResourceRequirements};
use mainstay_crd::Config;
use mainstay_crd::names::{ANNOTATION_CONFIG, Names};
use mainstay_proto::pod::{config_keys, ports};

use super::{Blueprint, digest, memory, meta};

/// Most bytes of option files that a template tells. All annotations of an object together may have 256 KiB (Kubernetes,
/// `TotalAnnotationSizeLimitB`).
const TOLD: usize = 128 << 10;

/// Defaults that the user may replace.
const DEFAULTS: [(&str, &str); 4] = [
    ("innodb_dedicated_server", "OFF"),
    // A receiver notices within this many seconds that its source is silent; the heartbeat is a second.
    ("replica_net_timeout", "4"),
    ("replica_preserve_commit_order", "ON"),
    // Pods' addresses change with every restart; accounts are not bound to hosts.
    ("skip_name_resolve", "ON"),
];

/// What the operator's decisions rest on: written last, and never from the user's entries. Why each is the operator's is in
/// [`mainstay_proto::options`]. What was added there since is in the agent's own part of the option file, or is read back:
/// another line here gives the ConfigMap another name, and would have every pod replaced.
pub(super) fn owned() -> Entries {
    let options = [
        ("admin_port", ports::ADMIN.to_string()),
        ("create_admin_listener_thread", "ON".into()),
        ("enforce_gtid_consistency", "ON".into()),
        ("gtid_mode", "ON".into()),
        // With `sync_binlog`: a commit that was acknowledged is on disk (manual, "Binary Logging Options").
        ("innodb_flush_log_at_trx_commit", "1".into()),
        // Its socket would lie outside of the directories that can be written, and no Service offers its port.
        ("loose_mysqlx", "OFF".into()),
        ("port", ports::MYSQL.to_string()),
        ("read_only", "ON".into()),
        // ON would throw away received transactions that this replica may have acknowledged.
        ("relay_log_recovery", "OFF".into()),
        // The server refuses to start if the directory compiled in is not there, or is another user's.
        ("secure_file_priv", "NULL".into()),
        ("skip_replica_start", "ON".into()),
        ("super_read_only", "ON".into()),
        ("sync_binlog", "1".into()),
    ];
    options.into_iter().map(|(name, value)| Entry::keyed(name, value)).collect()
}

/// The ConfigMap `NAME-config-HASH`. It belongs to the templates that mount it and is never changed: kubelets bring a
/// change of a mounted ConfigMap to pods that run, whose servers would take it up at any restart in place.
pub(super) fn config_map(blueprint: &Blueprint<'_>) -> ConfigMap {
    let data = files(blueprint);
    immutable(blueprint, name_of(&blueprint.names(), &data), data)
}

fn immutable(blueprint: &Blueprint<'_>, name: String, data: BTreeMap<String, String>) -> ConfigMap {
    ConfigMap {
        metadata: meta::metadata(blueprint, name),
        immutable: Some(true),
        data: Some(data),
        ..Default::default()
    }
}

fn name_of(names: &Names, data: &BTreeMap<String, String>) -> String {
    names.config_map(&digest::content(data)[..8])
}

/// The name of the ConfigMap that the template mounts.
pub(super) fn name(blueprint: &Blueprint<'_>) -> String {
    name_of(&blueprint.names(), &files(blueprint))
}

/// What the template tells of its ConfigMap; none if that is too large.
pub(super) fn told(blueprint: &Blueprint<'_>) -> Option<String> {
    serde_json::to_string(&files(blueprint)).ok().filter(|text| text.len() <= TOLD)
}

/// The ConfigMap `name` as `template` tells it, if that is the one that it mounts and tells: a name is that of one content.
/// A template that an operator up to 0.1 made tells none.
pub fn config_map_told(
    blueprint: &Blueprint<'_>,
    template: &PodTemplateSpec,
    name: &str,
) -> Option<ConfigMap> {
    let annotations = template.metadata.as_ref()?.annotations.as_ref()?;
    let data: BTreeMap<String, String> = serde_json::from_str(annotations.get(ANNOTATION_CONFIG)?).ok()?;
    let is_it = name_of(&blueprint.names(), &data) == name;
    is_it.then(|| immutable(blueprint, name.to_owned(), data))
}

/// Those of the ConfigMaps that pods mount which are not there, and are to be: the cluster's configurations.
pub fn missing_config_maps(
    names: &Names,
    mounted: &BTreeSet<String>,
    is_there: impl Fn(&str) -> bool,
) -> Vec<String> {
    let missing = mounted.iter().filter(|name| names.is_config_map(name) && !is_there(name));
    missing.cloned().collect()
}

fn files(blueprint: &Blueprint<'_>) -> BTreeMap<String, String> {
    let user = blueprint.spec.config.clone().unwrap_or_default();
    let common = common(&user, blueprint.spec.resources.as_ref());
    BTreeMap::from([
        (config_keys::COMMON.into(), common),
        (config_keys::PRIMARY.into(), render(&[&accepted(&user.primary)])),
        (config_keys::REPLICA.into(), render(&[&accepted(&user.replica)])),
    ])
}

/// ConfigMaps of those `there` that no pod mounts and no new one will.
pub fn unused_config_maps<'a>(
    names: &Names,
    wanted: &str,
    there: impl Iterator<Item = &'a str>,
    mounted: &BTreeSet<String>,
) -> Vec<&'a str> {
    let ours = |name: &str| name == names.old_config_map() || names.is_config_map(name);
    there.filter(|name| ours(name) && *name != wanted && !mounted.contains(*name)).collect()
}

/// The user's entries as they take effect, for the template's hash: `common`, `primary`, `replica`.
pub(super) fn effective(config: &Config) -> [BTreeMap<String, String>; 3] {
    [&config.common, &config.primary, &config.replica]
        .map(|entries| accepted(entries).into_values().map(|entry| (entry.name, entry.value)).collect())
}

/// An option as it is written.
pub(super) struct Entry {
    name: String,
    value: String,
}

/// Options by identity, so that each is written once however it was spelt.
pub(super) type Entries = BTreeMap<String, Entry>;

impl Entry {
    /// The entry with its identity: MySQL takes dashes for underscores in names, and `loose_` only keeps it from
    /// refusing an option that it does not know (manual, "Program Option Modifiers").
    fn keyed(name: &str, value: impl Into<String>) -> (String, Entry) {
        let name = name.trim().replace('-', "_");
        let identity = name.strip_prefix("loose_").unwrap_or(&name).to_owned();
        (identity, Entry { name, value: value.into() })
    }
}

/// The user's entries without those of the operator.
fn accepted(entries: &BTreeMap<String, String>) -> Entries {
    let owned = owned();
    entries
        .iter()
        .filter(|(name, value)| !has_control(name) && !has_control(value))
        .map(|(name, value)| Entry::keyed(name, value.trim()))
        .filter(|(identity, _)| !owned.contains_key(identity))
        .collect()
}

/// A line break would smuggle in another line. The API refuses it; an older one may not have.
fn has_control(text: &str) -> bool {
    text.contains(char::is_control)
}

fn common(user: &Config, resources: Option<&ResourceRequirements>) -> String {
    let theirs = accepted(&user.common);
    let mut sized = memory::options(resources.and_then(memory::limit));
    // Size and instances of the buffer pool go together: ours are of no use beside another's.
    if memory::POOL_OPTIONS.iter().any(|name| theirs.contains_key(*name)) {
        sized.retain(|(name, _)| !memory::POOL_OPTIONS.contains(name));
    }
    let mut entries: Entries = DEFAULTS.iter().map(|(name, value)| Entry::keyed(name, *value)).collect();
    entries.extend(sized.into_iter().map(|(name, value)| Entry::keyed(name, value)));
    entries.extend(theirs);
    render(&[&entries, &owned()])
}

fn render(blocks: &[&Entries]) -> String {
    let mut text =
        String::from("# Written by Mainstay from the MySQLCluster; changes are overwritten.\n[mysqld]\n");
    for entry in blocks.iter().flat_map(|entries| entries.values()) {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{}={}", entry.name, entry.value);
    }
    text
}
