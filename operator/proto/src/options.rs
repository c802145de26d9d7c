//! MySQL's options that are not simply a person's to set: one list, with the reason for each.
//!
//! From it come what `spec.config` refuses (`mainstay_crd::rules`), what the agent leaves out of persisted options and of
//! what it sets for a role, and what it reads back from a server that serves. Whatever else the operator and the agent
//! write into option files has a test that holds it against this list.

use Kind::{Bounded, Layout, Safety, WithRole};

/// Options for one reason.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Who sets them.
    pub kind: Kind,
    /// Why not simply a person, for people: what is so because of it, in words that follow "so that".
    pub why: &'static str,
    /// The options.
    pub options: &'static [Owned],
}

/// Who sets an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The operator alone, because safety rests on it: it is neither persisted nor set for a role.
    Safety,
    /// The operator alone, because the pod is laid out by it: it is not set for a role.
    Layout,
    /// A person, within the bounds of [`Owned::must_be`], in `spec.config` alone: it is not persisted.
    Bounded,
    /// A person says what it is on the primary, and the agent sets it with the role.
    WithRole,
}

/// An option, or all whose names begin alike.
#[derive(Clone, Copy, Debug)]
pub struct Owned {
    /// Its name, as MySQL's variable has it; or the beginning of the names.
    pub name: &'static str,
    /// `name` is a beginning.
    pub prefix: bool,
    /// What it must be for a server to serve: it is read back from one that runs.
    pub must_be: Option<MustBe>,
    /// `SET GLOBAL` brings that back.
    pub dynamic: bool,
}

impl Owned {
    fn is(&self, name: &str) -> bool {
        if self.prefix { name.starts_with(self.name) } else { name == self.name }
    }
}

/// What an option must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MustBe {
    /// This, as the server shows it.
    Is(&'static str),
    /// At least this; or 0, which is no limit.
    AtLeast(u64),
}

impl MustBe {
    /// Whether a value, as the server shows it, is so.
    pub fn met(self, value: &str) -> bool {
        match self {
            MustBe::Is(wanted) => value.eq_ignore_ascii_case(wanted),
            MustBe::AtLeast(least) => value.parse::<u64>().is_ok_and(|value| value == 0 || value >= least),
        }
    }
}

/// For people.
impl std::fmt::Display for MustBe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MustBe::Is("") => write!(f, "empty"),
            MustBe::Is(wanted) => write!(f, "{wanted}"),
            MustBe::AtLeast(least) => write!(f, "at least {least}"),
        }
    }
}

const fn plain(name: &'static str) -> Owned {
    Owned { name, prefix: false, must_be: None, dynamic: false }
}

const fn prefix(name: &'static str) -> Owned {
    Owned { name, prefix: true, must_be: None, dynamic: false }
}

const fn fixed(name: &'static str, wanted: &'static str) -> Owned {
    Owned { name, prefix: false, must_be: Some(MustBe::Is(wanted)), dynamic: false }
}

const fn dynamic(name: &'static str, wanted: &'static str) -> Owned {
    Owned { name, prefix: false, must_be: Some(MustBe::Is(wanted)), dynamic: true }
}

/// Whether scheduled events run.
pub const EVENT_SCHEDULER: &str = "event_scheduler";

/// What MySQL takes off the front of an option's name, any number of times: `loose_skip_log_bin` is `log_bin`.
/// Source: `special_opt_prefix` as seen on 9.7, which accepts neither abbreviations nor upper case.
pub const MODIFIERS: [&str; 5] = ["loose_", "skip_", "disable_", "enable_", "maximum_"];

/// The list. Names of before stand beside those of today: servers take both.
pub const GROUPS: [Group; 20] = [
    Group {
        kind: Safety,
        why: "it is certain which transactions an instance holds, and whoever is to lead next can give the others what they \
              lack",
        options: &[
            plain("server_id"),
            plain("server_uuid"),
            fixed("gtid_mode", "ON"),
            dynamic("enforce_gtid_consistency", "ON"),
            fixed("log_bin", "ON"),
            plain("log_bin_index"),
            fixed("log_replica_updates", "ON"),
            plain("log_slave_updates"),
            // A replica executes what its source did, not what it makes of the statement.
            dynamic("binlog_format", "ROW"),
            plain("relay_log"),
            plain("relay_log_index"),
            plain("relay_log_purge"),
            // ON throws away what was received, and may have been acknowledged.
            fixed("relay_log_recovery", "OFF"),
        ],
    },
    Group {
        kind: Safety,
        why: "only the operator says who may write and who replicates from whom, and a volume that was set back does not \
              fill its gaps before anybody has looked at it",
        options: &[
            plain("super_read_only"),
            plain("read_only"),
            plain("innodb_read_only"),
            plain("offline_mode"),
            fixed("skip_replica_start", "ON"),
            plain("skip_slave_start"),
        ],
    },
    Group {
        kind: Safety,
        why: "a commit that was acknowledged is on disk, and a crash tears no page",
        options: &[
            dynamic("sync_binlog", "1"),
            dynamic("innodb_flush_log_at_trx_commit", "1"),
            dynamic("innodb_doublewrite", "ON"),
        ],
    },
    Group {
        kind: Safety,
        why: "a page or a log that was damaged is noticed, and not read past",
        options: &[
            plain("innodb_checksum_algorithm"),
            fixed("innodb_force_recovery", "0"),
            plain("innodb_log_checksums"),
        ],
    },
    Group {
        kind: Safety,
        why: "a commit is in the binary log, or fails; and the log is there until every replica had time to read it",
        options: &[dynamic("binlog_error_action", "ABORT_SERVER"), plain("binlog_space_limit")],
    },
    Group {
        kind: Safety,
        why: "a replica holds what its GTID set says, or has an error: nothing is skipped, converted with a loss, or read \
              from a damaged log",
        options: &[
            dynamic("binlog_checksum", "CRC32"),
            plain("binlog_do_db"),
            plain("binlog_ignore_db"),
            dynamic("replica_exec_mode", "STRICT"),
            fixed("replica_skip_errors", "OFF"),
            dynamic("replica_sql_verify_checksum", "ON"),
            dynamic("replica_type_conversions", ""),
            plain("slave_exec_mode"),
            plain("slave_skip_errors"),
            plain("slave_sql_verify_checksum"),
            plain("slave_type_conversions"),
            plain("sql_replica_skip_counter"),
            plain("sql_slave_skip_counter"),
        ],
    },
    Group {
        kind: Safety,
        why: "a copy holds what the position says that it was taken at",
        options: &[
            dynamic("binlog_order_commits", "ON"),
            plain("master_info_repository"),
            plain("relay_log_info_repository"),
        ],
    },
    Group {
        kind: Safety,
        // These run statements that no binary log has, for each client or at each start of a replica's applier. The
        // receivers of replicas are clients too, which an error in it turns away.
        why: "every statement that changes data is in a binary log",
        options: &[dynamic("init_connect", ""), dynamic("init_replica", ""), plain("init_slave")],
    },
    Group {
        kind: Layout,
        why: "files are on the volume, or in the pod's directories",
        options: &[
            plain("basedir"),
            plain("character_sets_dir"),
            plain("chroot"),
            plain("datadir"),
            plain("init_file"),
            plain("innodb_data_home_dir"),
            plain("innodb_doublewrite_dir"),
            plain("innodb_log_group_home_dir"),
            plain("innodb_temp_tablespaces_dir"),
            plain("innodb_undo_directory"),
            plain("lc_messages_dir"),
            plain("log_error"),
            plain("pid_file"),
            plain("plugin_dir"),
            plain("replica_load_tmpdir"),
            plain("secure_file_priv"),
            plain("slave_load_tmpdir"),
            plain("socket"),
            plain("tmpdir"),
        ],
    },
    Group {
        kind: Layout,
        why: "the server is reached as the operator and its clients expect, and by nobody else",
        options: &[
            plain("admin_address"),
            plain("admin_port"),
            plain("bind_address"),
            plain("create_admin_listener_thread"),
            plain("default_authentication_plugin"),
            plain("port"),
            plain("skip_grant_tables"),
            plain("skip_networking"),
            plain("ssl"),
        ],
    },
    Group {
        kind: Layout,
        why: "the server is the agent's child, in the foreground, with the configuration that is shown",
        options: &[
            plain("daemonize"),
            plain("early_plugin_load"),
            plain("help"),
            plain("initialize"),
            plain("initialize_insecure"),
            plain("persisted_globals_load"),
            plain("user"),
            plain("validate_config"),
            plain("version"),
        ],
    },
    Group {
        kind: Layout,
        why: "the agent can clone, with the bandwidth of spec.clone.limits",
        options: &[plain("clone"), plain("clone_max_data_bandwidth"), plain("clone_valid_donor_list")],
    },
    Group {
        kind: Layout,
        why: "certificates and keys are the cluster's own",
        options: &[prefix("admin_ssl_"), prefix("admin_tls_"), prefix("clone_ssl_"), prefix("ssl_")],
    },
    Group {
        kind: Layout,
        why: "only the operator says who replicates what from whom",
        options: &[prefix("group_replication_"), prefix("replicate_"), prefix("rpl_semi_sync_")],
    },
    Group { kind: Layout, why: "no port is open that no Service offers", options: &[prefix("mysqlx")] },
    Group { kind: Layout, why: "the server has the plugin that clones", options: &[prefix("plugin_load")] },
    Group { kind: Layout, why: "a replica is known by its pod's name", options: &[prefix("report_")] },
    Group {
        kind: Bounded,
        why: "a crash loses no commit and a clone has every row, which is so with InnoDB alone",
        options: &[dynamic("default_storage_engine", "InnoDB")],
    },
    Group {
        kind: Bounded,
        why: "a replica that was away for a while finds the binary logs that it lacks",
        options: &[Owned {
            name: "binlog_expire_logs_seconds",
            prefix: false,
            must_be: Some(MustBe::AtLeast(3600)),
            dynamic: true,
        }],
    },
    Group {
        kind: WithRole,
        why: "scheduled events run on the primary, and nowhere else",
        options: &[plain(EVENT_SCHEDULER)],
    },
];

/// Each option with its group.
fn all() -> impl Iterator<Item = (&'static Group, &'static Owned)> {
    GROUPS.iter().flat_map(|group| group.options.iter().map(move |option| (group, option)))
}

/// The options that nobody but the operator sets: names, then beginnings of names, each in the order in which the rule of
/// `spec.config` has them.
pub fn refused() -> (Vec<&'static str>, Vec<&'static str>) {
    let refused = all().filter(|(group, _)| matches!(group.kind, Safety | Layout)).map(|(_, option)| option);
    let (mut names, mut prefixes) = (Vec::new(), Vec::new());
    for option in refused {
        if option.prefix { prefixes.push(option.name) } else { names.push(option.name) }
    }
    prefixes.sort_unstable();
    (names, prefixes)
}

/// The group that the option `name` is in, without regard to [`MODIFIERS`].
pub fn group(name: &str) -> Option<&'static Group> {
    all().find(|(_, option)| option.is(name)).map(|(group, _)| group)
}

/// Whether nobody but the operator sets the option `name`, with any [`MODIFIERS`] before it.
pub fn is_refused(name: &str) -> bool {
    let mut rest = name;
    loop {
        if group(rest).is_some_and(|group| matches!(group.kind, Safety | Layout)) {
            return true;
        }
        match MODIFIERS.iter().find_map(|modifier| rest.strip_prefix(modifier)) {
            Some(shorter) => rest = shorter,
            None => return false,
        }
    }
}

/// Names of the options of which no persisted value is to take effect. What the agent writes into its own part of the option
/// file comes to these.
pub fn never_persisted() -> impl Iterator<Item = &'static str> {
    all().filter(|(group, _)| matches!(group.kind, Safety | Bounded)).map(|(_, option)| option.name)
}

/// The options that are read back from a server that serves, each with what it must be. A server of a series that does not
/// have one of them is not asked for it.
pub fn required() -> impl Iterator<Item = (&'static Owned, MustBe)> {
    all().filter_map(|(_, option)| Some((option, option.must_be?)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_option_stands_once() {
        let mut names = BTreeSet::new();
        for (_, option) in all() {
            assert!(names.insert(option.name), "{}", option.name);
        }
    }

    #[test]
    fn what_stands_before_a_name_hides_nothing() {
        for name in ["sync_binlog", "loose_sync_binlog", "loose_skip_log_bin", "skip_ssl", "loose_ssl_ca"] {
            assert!(is_refused(name), "{name}");
        }
        for name in ["x_sync_binlog", "max_connections", "log_bin_trust_function_creators", EVENT_SCHEDULER] {
            assert!(!is_refused(name), "{name}");
        }
    }

    #[test]
    fn bounds_that_no_one_reads_back_would_bind_nobody() {
        for (group, option) in all().filter(|(group, _)| group.kind == Bounded) {
            assert!(option.must_be.is_some() && option.dynamic, "{}: {}", option.name, group.why);
        }
    }

    #[test]
    fn logs_are_kept_for_an_hour_or_for_ever() {
        let (_, must_be) =
            required().find(|(option, _)| option.name == "binlog_expire_logs_seconds").unwrap();
        for (value, safe) in [("0", true), ("1", false), ("3599", false), ("3600", true), ("2592000", true)] {
            assert_eq!(must_be.met(value), safe, "{value}");
        }
    }
}
