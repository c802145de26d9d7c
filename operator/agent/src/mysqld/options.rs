//! The option file: what the operator wrote for all, what it wrote for the role, and what only the agent knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use mainstay_proto::options::{EVENT_SCHEDULER, is_refused};
use mainstay_proto::pod::config_keys;
use mainstay_proto::{Grant, GrantedRole};

use crate::settings::Settings;
use crate::sql::{ADMIN_ADDRESS, quote};

/// A role for which there is an option file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `primary.cnf`.
    Primary,
    /// `replica.cnf`.
    Replica,
}

impl Role {
    /// The role of a grant.
    pub(crate) fn of(grant: Option<&Grant>) -> Option<Role> {
        match grant?.role {
            GrantedRole::Primary { .. } => Some(Role::Primary),
            GrantedRole::Replica { .. } => Some(Role::Replica),
        }
    }
}

/// The mounted option files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigFiles {
    common: String,
    primary: String,
    replica: String,
}

impl ConfigFiles {
    /// Reads the mounted ConfigMap. A key that is missing is an empty file.
    pub(crate) fn read(directory: &Path) -> io::Result<Self> {
        let read = |key: &str| match std::fs::read_to_string(directory.join(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            outcome => outcome,
        };
        Ok(ConfigFiles {
            common: read(config_keys::COMMON)?,
            primary: read(config_keys::PRIMARY)?,
            replica: read(config_keys::REPLICA)?,
        })
    }

    fn role(&self, role: Role) -> &str {
        match role {
            Role::Primary => &self.primary,
            Role::Replica => &self.replica,
        }
    }

    /// Whether scheduled events are to run on the primary: MySQL's default is that they do.
    pub(crate) fn wants_events(&self) -> bool {
        let of = |file: &str| entries(file).remove(EVENT_SCHEDULER);
        let value = of(&self.primary).or_else(|| of(&self.common));
        value.is_none_or(|value| matches!(value.to_ascii_uppercase().as_str(), "ON" | "1" | "TRUE"))
    }

    /// What to `SET GLOBAL` when the server takes on `role`: the role's own entries, and for those that only the
    /// other role has, what `common.cnf` says, else the default. An option that is the operator's never.
    pub(crate) fn changes_for(&self, role: Role) -> Vec<(String, Option<String>)> {
        let other = match role {
            Role::Primary => Role::Replica,
            Role::Replica => Role::Primary,
        };
        let (mine, common) = (entries(self.role(role)), entries(&self.common));
        let back = entries(self.role(other))
            .into_keys()
            .filter(|name| !mine.contains_key(name))
            .map(|name| (name.clone(), common.get(&name).cloned()))
            .collect::<Vec<_>>();
        back.into_iter()
            .chain(mine.into_iter().map(|(name, value)| (name, Some(value))))
            .filter(|(name, _)| name != EVENT_SCHEDULER && !is_refused(name))
            .collect()
    }
}

/// The entries of the `[mysqld]` group: the last of equal names counts, as in MySQL.
fn entries(file: &str) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    let mut in_group = false;
    for line in file.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';', '!']) {
            continue;
        }
        if let Some(group) = line.strip_prefix('[') {
            in_group = group.strip_suffix(']').is_some_and(|name| name.trim() == "mysqld");
            continue;
        }
        if !in_group {
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or((line, "ON"));
        let Some(name) = quote::variable(name) else { continue };
        let name = name.strip_prefix("loose_").unwrap_or(&name).to_owned();
        entries.insert(name, unquoted(value.trim()).to_owned());
    }
    entries
}

/// Option files may enclose values in quotes.
fn unquoted(value: &str) -> &str {
    ['"', '\''].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

/// Names of the options that the agent itself gives a server.
pub(crate) fn owned(settings: &Settings) -> BTreeSet<String> {
    let own = own(settings, 0, Purpose::Serve(None)).into_iter();
    own.map(|(name, _)| name.strip_prefix("loose_").unwrap_or(name).to_owned()).collect()
}

/// How mysqld is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// `--initialize-insecure`: no accounts, no network.
    Initialize,
    /// Up for the agent alone: no network, nothing replicates.
    Alone,
    /// For clients, in a role if one was ordered.
    Serve(Option<Role>),
}

/// The option file's text.
pub(crate) fn render(settings: &Settings, ordinal: u32, files: &ConfigFiles, purpose: Purpose) -> String {
    let mut text = "[mysqld]\n".to_owned();
    // First, so that a person's wins.
    write(&mut text, defaults(settings, purpose));
    text.push_str(&files.common);
    if let Purpose::Serve(Some(role)) = purpose {
        text.push('\n');
        text.push_str(files.role(role));
    }
    // Last, so that it wins.
    text.push_str("\n[mysqld]\n");
    write(&mut text, own(settings, ordinal, purpose));
    text
}

fn write(text: &mut String, options: Vec<(&'static str, String)>) {
    for (name, value) in options {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{name}={value}");
    }
}

/// What a person may set otherwise. Here and not in the ConfigMap is what comes with the agent's version: there it
/// would have every pod replaced.
fn defaults(settings: &Settings, purpose: Purpose) -> Vec<(&'static str, String)> {
    let mut needless: Vec<&str> = NEEDLESS.iter().map(|(number, _)| *number).collect();
    if purpose == Purpose::Initialize {
        needless.push(WITHOUT_PASSWORD);
    }
    vec![
        ("tmpdir", settings.tmpdir().display().to_string()),
        // A container may not set memory policies (seccomp, without CAP_SYS_NICE): the server tries, and says five
        // times that it can't. A server that was built without the option does not have it.
        ("loose_innodb_numa_interleave", "OFF".to_owned()),
        ("log_error_suppression_list", needless.join(",")),
    ]
}

/// Warnings of every start that nobody is to act upon, and why: what is left in the log is worth reading (manual,
/// "Priority-Based Error Log Filtering").
const NEEDLESS: [(&str, &str); 3] = [
    ("MY-010068", "the certificate of the cluster's own authority is signed by itself, as every root is"),
    ("MY-011810", "the directory of the pid file is open to all users, but only the server's is in the pod"),
    ("MY-015655", "limits of containers are not looked at: the operator sizes the server's memory by them"),
];

/// `root@localhost` without a password: it is dropped before anybody can reach the server.
const WITHOUT_PASSWORD: &str = "MY-010453";

fn own(settings: &Settings, ordinal: u32, purpose: Purpose) -> Vec<(&'static str, String)> {
    let run = |name: &str| settings.run.join(name).display().to_string();
    let tls = |name: &str| settings.tls.join(name).display().to_string();
    let mut own = vec![
        ("datadir", settings.datadir().display().to_string()),
        ("socket", run(super::SOCKET)),
        ("pid_file", run("mysqld.pid")),
        ("port", settings.mysql_port.to_string()),
        ("server_id", settings.server_id_base.saturating_add(ordinal).to_string()),
        ("report_host", settings.host(ordinal)),
        ("report_port", settings.mysql_port.to_string()),
        ("loose_mysqlx", "OFF".to_owned()),
        ("secure_file_priv", "NULL".to_owned()),
        ("gtid_mode", "ON".to_owned()),
        ("enforce_gtid_consistency", "ON".to_owned()),
        // Names that do not come from the host's: a pod's volume may come back under another.
        ("log_bin", "binlog".to_owned()),
        ("log_bin_index", "binlog.index".to_owned()),
        ("relay_log", "relay".to_owned()),
        ("relay_log_index", "relay.index".to_owned()),
        ("relay_log_recovery", "OFF".to_owned()),
        ("skip_replica_start", "ON".to_owned()),
        // Events run on who leads: it is switched on with that role.
        (EVENT_SCHEDULER, "OFF".to_owned()),
        ("ssl_ca", tls("ca.crt")),
        ("ssl_cert", tls("tls.crt")),
        ("ssl_key", tls("tls.key")),
    ];
    if purpose == Purpose::Initialize {
        own.push(("skip_networking", "ON".to_owned()));
        return own;
    }
    own.extend([
        ("super_read_only", "ON".to_owned()),
        ("plugin_load_add", "mysql_clone.so".to_owned()),
        ("loose_clone_ssl_ca", tls("ca.crt")),
    ]);
    match purpose {
        Purpose::Serve(_) => own.extend([
            ("bind_address", "*".to_owned()),
            ("admin_address", ADMIN_ADDRESS.to_string()),
            ("admin_port", settings.admin_port.to_string()),
            ("create_admin_listener_thread", "ON".to_owned()),
            ("admin_ssl_ca", tls("ca.crt")),
            ("admin_ssl_cert", tls("tls.crt")),
            ("admin_ssl_key", tls("tls.key")),
        ]),
        _ => own.extend([("skip_networking", "ON".to_owned()), ("init_file", run(super::INIT_FILE))]),
    }
    own
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use mainstay_proto::options::required;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn settings() -> Settings {
        Line::parse_from([
            "agent",
            "--namespace=db",
            "--cluster=shop",
            "--cluster-id=c",
            "--pod-name=shop-2",
            "--pod-uid=u",
            "--node=n",
            "--server-id-base=1000",
        ])
        .settings
    }

    fn files() -> ConfigFiles {
        ConfigFiles {
            common: "[mysqld]\nmax_connections=10\nsuper_read_only=OFF\nlong-query-time = 2\n".into(),
            primary: "[mysqld]\nlong_query_time=1\nread_buffer_size=1\nsync_binlog=0\nsuper_read_only=OFF\n".into(),
            replica:
                "# for replicas\n[mysqld]\nread-buffer-size=1000\ninnodb_io_capacity='400'\n[client]\nuser=x\n"
                    .into(),
        }
    }

    /// The value that MySQL would take: the last one of the name.
    fn last<'a>(text: &'a str, name: &str) -> Option<&'a str> {
        text.lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }

    #[test]
    fn the_agents_own_options_win_and_the_roles_come_after_the_common_ones() {
        let text = render(&settings(), 2, &files(), Purpose::Serve(Some(Role::Primary)));
        assert_eq!(last(&text, "super_read_only"), Some("ON"));
        assert_eq!(last(&text, "max_connections"), Some("10"));
        assert_eq!(last(&text, "read_buffer_size"), Some("1"));
        assert_eq!(last(&text, "server_id"), Some("1002"));
        assert_eq!(last(&text, "admin_address"), Some("127.0.0.1"));
        assert_eq!(last(&text, "report_host"), Some("shop-2.shop.db.svc"));
        assert_eq!(last(&text, "skip_networking"), None);
    }

    #[test]
    fn a_persons_options_win_over_the_agents_defaults() {
        for name in ["tmpdir", "loose_innodb_numa_interleave", "log_error_suppression_list"] {
            let common = format!("[mysqld]\n{name}=theirs\n");
            let ours = render(&settings(), 2, &ConfigFiles::default(), Purpose::Serve(None));
            let theirs = ConfigFiles { common, ..ConfigFiles::default() };
            let theirs = render(&settings(), 2, &theirs, Purpose::Serve(None));
            assert!(last(&ours, name).is_some_and(|value| !value.is_empty()));
            assert_eq!(last(&theirs, name), Some("theirs"));
        }
    }

    #[test]
    fn a_server_that_is_being_prepared_is_out_of_reach_and_has_no_role() {
        for purpose in [Purpose::Initialize, Purpose::Alone] {
            let text = render(&settings(), 2, &files(), purpose);
            assert_eq!(last(&text, "skip_networking"), Some("ON"));
            assert_eq!(last(&text, "admin_address"), None);
            assert_eq!(last(&text, "read_buffer_size"), None);
        }
    }

    #[test]
    fn a_components_variables_change_with_the_role_too() {
        let files = ConfigFiles {
            common: "[mysqld]\nvalidate_password.length=8\n".into(),
            primary: "[mysqld]\nloose_validate_password.length=12\n".into(),
            replica: String::new(),
        };
        let length = |value: &str| [("validate_password.length".to_owned(), Some(value.to_owned()))];
        assert_eq!(files.changes_for(Role::Primary), length("12"));
        assert_eq!(files.changes_for(Role::Replica), length("8"));
    }

    #[test]
    fn events_run_on_a_primary_unless_a_person_says_otherwise_and_on_no_start() {
        let with = |common: &str, primary: &str| ConfigFiles {
            common: format!("[mysqld]\n{common}\n"),
            primary: format!("[mysqld]\n{primary}\n"),
            replica: String::new(),
        };
        for (common, primary, expected) in [
            ("", "", true),
            ("event_scheduler=OFF", "", false),
            ("event-scheduler=DISABLED", "", false),
            ("event_scheduler=OFF", "event_scheduler=ON", true),
            ("event_scheduler=on", "event_scheduler=0", false),
        ] {
            let files = with(common, primary);
            assert_eq!(files.wants_events(), expected, "{common} {primary}");
            let text = render(&settings(), 2, &files, Purpose::Serve(Some(Role::Primary)));
            assert_eq!(last(&text, "event_scheduler"), Some("OFF"));
            assert!(files.changes_for(Role::Primary).iter().all(|(name, _)| name != EVENT_SCHEDULER));
        }
    }

    #[test]
    fn what_the_agent_gives_a_server_is_on_the_list_and_as_it_must_be() {
        for purpose in [Purpose::Initialize, Purpose::Alone, Purpose::Serve(None)] {
            for (name, value) in own(&settings(), 2, purpose) {
                let name = name.strip_prefix("loose_").unwrap_or(name);
                assert!(is_refused(name) || name == EVENT_SCHEDULER, "{name}");
                let must_be = required().find(|(option, _)| option.name == name).map(|(_, must_be)| must_be);
                // It names the binary log, which switches it on.
                let met = name == "log_bin" || must_be.is_none_or(|must_be| must_be.met(&value));
                assert!(met, "{name} = {value}");
            }
        }
    }

    #[test]
    fn only_a_server_that_nobody_else_reaches_has_an_init_file() {
        let has = |purpose| last(&render(&settings(), 2, &files(), purpose), "init_file").is_some();
        assert!(has(Purpose::Alone) && !has(Purpose::Serve(None)) && !has(Purpose::Initialize));
    }

    #[test]
    fn a_change_of_role_sets_its_entries_and_takes_the_others_back() {
        let to_replica = files().changes_for(Role::Replica);
        assert_eq!(
            to_replica,
            [
                ("long_query_time".to_owned(), Some("2".to_owned())),
                ("innodb_io_capacity".to_owned(), Some("400".to_owned())),
                ("read_buffer_size".to_owned(), Some("1000".to_owned())),
            ]
        );
        let to_primary = files().changes_for(Role::Primary);
        assert_eq!(
            to_primary,
            [
                ("innodb_io_capacity".to_owned(), None),
                ("long_query_time".to_owned(), Some("1".to_owned())),
                ("read_buffer_size".to_owned(), Some("1".to_owned())),
            ]
        );
    }
}
