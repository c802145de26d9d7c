//! The option file: what the ConfigMap says, and after it what only the agent knows, which wins.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mainstay_proto::GrantedRole;
use mainstay_proto::pod::config_keys;

use crate::settings::Settings;

/// What mysqld is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To make a data directory; reached over the socket only.
    Prepare,
    /// To serve.
    Serve,
}

/// Paths of what lives as long as the container.
pub(crate) struct RunFiles<'a>(pub(crate) &'a Path);

impl RunFiles<'_> {
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("mysql.sock")
    }
    pub(crate) fn options(&self) -> PathBuf {
        self.0.join("my.cnf")
    }
    pub(crate) fn init(&self) -> PathBuf {
        self.0.join("init.sql")
    }
    pub(crate) fn client(&self) -> PathBuf {
        self.0.join("client.cnf")
    }
}

/// The whole option file.
pub(crate) fn render(
    settings: &Settings,
    ordinal: u32,
    purpose: Purpose,
    role: Option<&GrantedRole>,
) -> io::Result<String> {
    let mut text = read(settings, config_keys::COMMON)?;
    let file = match role {
        Some(GrantedRole::Primary { .. }) => Some(config_keys::PRIMARY),
        Some(GrantedRole::Replica { .. }) => Some(config_keys::REPLICA),
        None => None,
    };
    if let Some(file) = file {
        text.push('\n');
        text.push_str(&read(settings, file)?);
    }
    text.push_str("\n[mysqld]\n");
    for (name, value) in own(settings, ordinal, purpose) {
        text.push_str(&format!("{name}={value}\n"));
    }
    Ok(text)
}

fn read(settings: &Settings, key: &str) -> io::Result<String> {
    match fs::read_to_string(settings.config.join(key)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

fn own(settings: &Settings, ordinal: u32, purpose: Purpose) -> Vec<(&'static str, String)> {
    let run = RunFiles(&settings.run);
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let on = || "ON".to_owned();
    let mut options = vec![
        ("datadir", path(&settings.datadir())),
        ("tmpdir", path(&settings.tmpdir())),
        ("socket", path(&run.socket())),
        ("pid_file", path(&settings.run.join("mysqld.pid"))),
        ("init_file", path(&run.init())),
        ("secure_file_priv", "NULL".into()),
        ("server_id", settings.server_id_base.saturating_add(ordinal).to_string()),
        ("log_bin", "binlog".into()),
        ("relay_log", "relay".into()),
        ("gtid_mode", on()),
        ("enforce_gtid_consistency", on()),
        ("super_read_only", on()),
        ("skip_replica_start", on()),
        ("relay_log_recovery", "OFF".into()),
        ("plugin_load_add", "mysql_clone.so".into()),
        ("loose_mysqlx", "OFF".into()),
        ("loose_clone_ssl_ca", path(&settings.tls.join("ca.crt"))),
    ];
    match purpose {
        Purpose::Prepare => options.push(("skip_networking", on())),
        Purpose::Serve => options.extend([
            ("port", settings.mysql_port.to_string()),
            ("bind_address", "*".into()),
            ("admin_address", settings.pod_ip.to_string()),
            ("admin_port", settings.admin_port.to_string()),
            ("create_admin_listener_thread", on()),
            ("report_host", settings.host(ordinal)),
            ("report_port", settings.mysql_port.to_string()),
        ]),
    }
    for (ca, cert, key) in
        [("ssl_ca", "ssl_cert", "ssl_key"), ("admin_ssl_ca", "admin_ssl_cert", "admin_ssl_key")]
    {
        options.push((ca, path(&settings.tls.join("ca.crt"))));
        options.push((cert, path(&settings.tls.join("tls.crt"))));
        options.push((key, path(&settings.tls.join("tls.key"))));
    }
    options
}

/// The entries of one of the ConfigMap's option files, in the order of their names.
pub(crate) fn entries(settings: &Settings, key: &str) -> io::Result<BTreeMap<String, String>> {
    let text = read(settings, key)?;
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '[', ';']));
    Ok(lines
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap_or((line, "ON"));
            (name.trim().replace('-', "_"), value.trim().to_owned())
        })
        .collect())
}

/// Writes a file that only this user can read.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
