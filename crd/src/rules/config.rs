//! Rules about `spec.config`: which options of MySQL the operator keeps to itself, and what can't stand in an
//! option file.

use schemars::Schema;

use super::add;
use super::entries::{EntryRule, bound};
use super::pattern::Pattern;

/// Options that the operator sets, or that would take away what it relies on. Grouped by the reason.
const OWNED: &[&str] = &[
    // Identity, and the record of who holds which transactions.
    "server_id",
    "server_uuid",
    "gtid_mode",
    "enforce_gtid_consistency",
    "log_bin",
    "log_bin_index",
    "log_replica_updates",
    "log_slave_updates",
    "binlog_format",
    "relay_log",
    "relay_log_index",
    "relay_log_purge",
    "relay_log_recovery",
    // Who may write, and who replicates from whom.
    "super_read_only",
    "read_only",
    "innodb_read_only",
    "offline_mode",
    "skip_replica_start",
    "skip_slave_start",
    // A commit that was acknowledged is on disk.
    "sync_binlog",
    "innodb_flush_log_at_trx_commit",
    "innodb_doublewrite",
    // A replica holds what its GTID set says, or an error.
    "binlog_do_db",
    "binlog_ignore_db",
    "replica_skip_errors",
    "slave_skip_errors",
    // Where files are: on the volume, or in the pod's directories.
    "basedir",
    "character_sets_dir",
    "chroot",
    "datadir",
    "init_file",
    "innodb_data_home_dir",
    "innodb_doublewrite_dir",
    "innodb_log_group_home_dir",
    "innodb_temp_tablespaces_dir",
    "innodb_undo_directory",
    "lc_messages_dir",
    "log_error",
    "pid_file",
    "plugin_dir",
    "replica_load_tmpdir",
    "secure_file_priv",
    "slave_load_tmpdir",
    "socket",
    "tmpdir",
    // How the server is reached, and by whom.
    "admin_address",
    "admin_port",
    "bind_address",
    "create_admin_listener_thread",
    "default_authentication_plugin",
    "port",
    "skip_grant_tables",
    "skip_networking",
    "ssl",
    // What the server is: the agent's child, in the foreground, with the configuration that is shown.
    "daemonize",
    "early_plugin_load",
    "help",
    "initialize",
    "initialize_insecure",
    "persisted_globals_load",
    "user",
    "validate_config",
    "version",
    // Cloning; the bandwidth is spec.clone.limits.
    "clone",
    "clone_max_data_bandwidth",
    "clone_valid_donor_list",
];

/// Beginnings of names that belong to the operator, likewise.
const OWNED_PREFIXES: &[&str] = &[
    "admin_ssl_",
    "admin_tls_",
    "clone_ssl_",
    "group_replication_",
    "mysqlx",
    "plugin_load",
    "replicate_",
    "report_",
    "rpl_semi_sync_",
    "ssl_",
];

/// What MySQL takes off the front of an option's name, any number of times: `loose_skip_log_bin` is `log_bin`.
/// Source: `special_opt_prefix` as seen on 9.7, which accepts neither abbreviations nor upper case.
const MODIFIERS: &[&str] = &["loose_", "skip_", "disable_", "enable_", "maximum_"];

/// An option's name; the one dot is that of a component's variable, as in `validate_password.policy`.
static OPTION_NAME: Pattern = Pattern::new("^[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*)?$");
/// What would end the line in an option file, or the file.
const CONTROL: &str = "[\\x00-\\x1f\\x7f]";
/// Most entries of one part of the configuration.
const MAX_ENTRIES: u32 = 200;
/// Longest value, in characters: `optimizer_switch` in full has about a thousand.
const MAX_VALUE: u32 = 2048;

/// Whether the option `name` belongs to the operator, with any [`MODIFIERS`] before it.
pub(crate) fn owned(name: &str) -> bool {
    let mut rest = name;
    loop {
        if OWNED.contains(&rest) || OWNED_PREFIXES.iter().any(|prefix| rest.starts_with(prefix)) {
            return true;
        }
        match MODIFIERS.iter().find_map(|modifier| rest.strip_prefix(modifier)) {
            Some(shorter) => rest = shorter,
            None => return false,
        }
    }
}

/// [`owned`] as one regular expression.
fn owned_pattern() -> String {
    format!("^({})*(({})$|{})", MODIFIERS.join("|"), OWNED.join("|"), OWNED_PREFIXES.join("|"))
}

pub(super) fn rules() -> Vec<EntryRule> {
    vec![
        EntryRule {
            message: "options are written in lower case with underscores, as MySQL's variables are (sql_mode, not \
                      sql-mode); correct",
            cel: format!("k.{}", OPTION_NAME.cel()),
            holds: |key, _| OPTION_NAME.matches(key),
        },
        EntryRule {
            message: "the operator sets these options, or relies on their defaults; remove",
            cel: format!("!k.matches(r'{}')", owned_pattern()),
            holds: |key, _| !owned(key),
        },
        EntryRule {
            message: "values must be on one line, without control characters, and must not begin with a bracket; \
                      correct the values of",
            cel: format!("!self[k].matches(r'{CONTROL}') && !self[k].startsWith('[')"),
            holds: |_, value| !value.chars().any(|c| c.is_ascii_control()) && !value.starts_with('['),
        },
    ]
}

/// Schema transform of one part of the configuration.
pub(crate) fn config_entries(schema: &mut Schema) {
    bound(schema, MAX_ENTRIES, MAX_VALUE);
    add(schema, rules().iter().map(EntryRule::to_json));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_list_agree_whatever_stands_before_a_name() {
        let regex = regex_lite::Regex::new(&owned_pattern()).expect("the pattern compiles");
        let free = [
            "max_connections",
            "log_bin_trust_function_creators",
            "portal",
            "sockets",
            "users",
            "tls_version",
        ];
        let prefixes = OWNED_PREFIXES.iter().map(|p| format!("{p}x"));
        for name in OWNED.iter().chain(&free).map(ToString::to_string).chain(prefixes) {
            for before in
                ["", "loose_", "skip_", "disable_", "loose_skip_", "maximum_loose_", "enable_", "x_"]
            {
                let key = format!("{before}{name}");
                assert_eq!(regex.is_match(&key), owned(&key), "{key}");
                assert_eq!(owned(&key), before != "x_" && !free.contains(&name.as_str()), "{key}");
            }
        }
    }
}
