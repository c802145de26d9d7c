//! Rules about `spec.config`: which options of MySQL the operator keeps to itself ([`mainstay_proto::options`] has them,
//! and why), and what can't stand in an option file.

use mainstay_proto::options;
use schemars::Schema;

use super::entries::{EntryRule, bound};
use super::pattern::Pattern;
use super::{Transition, add};

/// An option's name; the one dot is that of a component's variable, as in `validate_password.policy`.
static OPTION_NAME: Pattern = Pattern::new("^[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*)?$");
/// What would end the line in an option file, or the file.
const CONTROL: &str = "[\\x00-\\x1f\\x7f]";
/// Most entries of one part of the configuration.
const MAX_ENTRIES: u32 = 200;
/// Longest value, in characters: `optimizer_switch` in full has about a thousand.
const MAX_VALUE: u32 = 2048;

/// An option of which a value that the server takes would end it later: with the modifier that keeps its meaning.
fn is_option(name: &str, option: &str) -> bool {
    name.strip_prefix("loose_").unwrap_or(name) == option
}

/// At least 2 MiB, in bytes or with a suffix. CLONE refuses a smaller packet on donor or recipient (error 3957,
/// `ER_CLONE_NETWORK_PACKET`).
static PACKET: Pattern = Pattern::new(
    "^0*([1-9][0-9]{7,}|[3-9][0-9]{6}|2[1-9][0-9]{5}|209[89][0-9]{3}|2097[2-9][0-9]{2}|20971[6-9][0-9]|209715[2-9]\
     |([1-9][0-9]{4,}|[3-9][0-9]{3}|2[1-9][0-9]{2}|20[5-9][0-9]|204[89])[kK]|([1-9][0-9]+|[2-9])[mM]\
     |[1-9][0-9]*[gGtT])$",
);
/// What needs no tables of time zones: they are loaded by hand, and a new data directory has none.
static TIME_ZONE: Pattern = Pattern::new("^(SYSTEM|system|[-+][0-9]{1,2}:[0-9]{2})$");
/// At least an hour, or 0 for ever. A replica that was away for longer than the logs are kept can't go on, and is to be
/// cloned anew.
static EXPIRY: Pattern = Pattern::new("^0*(0|[1-9][0-9]{4,}|[4-9][0-9]{3}|3[6-9][0-9]{2})$");
/// InnoDB, as a name; MySQL takes any case.
static INNODB: Pattern = Pattern::new("(?i)^innodb$");
/// Anywhere in a list.
static NAMES_INNODB: Pattern = Pattern::new("(?i)innodb");
/// Those that write to the disk before they say so: not `nosync` and `littlesync`, nor their numbers.
static FLUSH_METHOD: Pattern = Pattern::new("(?i)^(fsync|O_DSYNC|O_DIRECT|O_DIRECT_NO_FSYNC)$");
/// Options with which a server does not start on a data directory that was made with another value.
const FOR_GOOD: [&str; 3] = ["lower_case_table_names", "innodb_page_size", "innodb_data_file_path"];

/// They stay as they were, wherever in `spec.config` they stand.
pub(super) fn transitions() -> Vec<Transition> {
    let value = |of: &str, part: &str| {
        format!(
            "(has({of}.config) && has({of}.config.{part}) && o in {of}.config.{part} ? {of}.config.{part}[o] : '')"
        )
    };
    let same = ["common", "primary", "replica"]
        .map(|part| format!("{} == {}", value("self", part), value("oldSelf", part)));
    let options = FOR_GOOD.iter().flat_map(|option| [format!("'{option}'"), format!("'loose_{option}'")]);
    let options = options.collect::<Vec<_>>().join(", ");
    vec![Transition {
        field: "config",
        message: "lower_case_table_names, innodb_page_size and innodb_data_file_path can't change once there is data: the \
                  server would not start; set them back, or move the data to a new cluster",
        cel: format!("[{options}].all(o, {})", same.join(" && ")).into(),
    }]
}

/// [`options::is_refused`] as one regular expression.
fn refused_pattern() -> String {
    let (names, prefixes) = options::refused();
    format!("^({})*(({})$|{})", options::MODIFIERS.join("|"), names.join("|"), prefixes.join("|"))
}

pub(super) fn rules() -> Vec<EntryRule> {
    let mut rules = of_all();
    rules.extend(of_values());
    rules
}

/// What holds for every option.
fn of_all() -> Vec<EntryRule> {
    vec![
        EntryRule {
            message: "options are written in lower case with underscores, as MySQL's variables are (sql_mode, not \
                      sql-mode); correct",
            about: &[],
            cel: format!("k.{}", OPTION_NAME.cel()),
            holds: |key, _| OPTION_NAME.matches(key),
        },
        EntryRule {
            message: "the operator sets these options, or relies on their defaults; remove",
            about: &[],
            cel: format!("!k.matches(r'{}')", refused_pattern()),
            holds: |key, _| !options::is_refused(key),
        },
        EntryRule {
            message: "values must be on one line, without control characters, and must not begin with a bracket; \
                      correct the values of",
            about: &[],
            cel: format!("!self[k].matches(r'{CONTROL}') && !self[k].startsWith('[')"),
            holds: |_, value| !value.chars().any(|c| c.is_ascii_control()) && !value.starts_with('['),
        },
    ]
}

/// What holds for the values of some.
fn of_values() -> Vec<EntryRule> {
    vec![
        EntryRule {
            message: "max_allowed_packet must be at least 2M, or no instance can be cloned; correct",
            about: &["max_allowed_packet", "loose_max_allowed_packet"],
            cel: format!("self[k].{}", PACKET.cel()),
            holds: |key, value| !is_option(key, "max_allowed_packet") || PACKET.matches(value),
        },
        EntryRule {
            message: "default_time_zone must be SYSTEM or an offset such as +02:00: the tables with the names of time \
                      zones are not loaded when a server starts; correct",
            about: &["default_time_zone", "loose_default_time_zone"],
            cel: format!("self[k].{}", TIME_ZONE.cel()),
            holds: |key, value| !is_option(key, "default_time_zone") || TIME_ZONE.matches(value),
        },
        EntryRule {
            message: "binlog_expire_logs_seconds must be at least 3600, or 0 for ever: a replica that was away for longer \
                      than the binary logs are kept has to be cloned anew; correct",
            about: &["binlog_expire_logs_seconds", "loose_binlog_expire_logs_seconds"],
            cel: format!("self[k].{}", EXPIRY.cel()),
            holds: |key, value| !is_option(key, "binlog_expire_logs_seconds") || EXPIRY.matches(value),
        },
        EntryRule {
            message: "default_storage_engine must be InnoDB, and disabled_storage_engines must not name it: other engines \
                      lose commits in a crash, and their rows are in no clone; correct",
            about: &[
                "default_storage_engine",
                "loose_default_storage_engine",
                "disabled_storage_engines",
                "loose_disabled_storage_engines",
            ],
            cel: format!(
                "(!(k in ['default_storage_engine', 'loose_default_storage_engine']) || self[k].{}) && \
                 (!(k in ['disabled_storage_engines', 'loose_disabled_storage_engines']) || !self[k].{})",
                INNODB.cel(),
                NAMES_INNODB.cel()
            ),
            holds: |key, value| {
                (!is_option(key, "default_storage_engine") || INNODB.matches(value))
                    && (!is_option(key, "disabled_storage_engines") || !NAMES_INNODB.matches(value))
            },
        },
        EntryRule {
            message: "innodb_flush_method must be fsync, O_DSYNC, O_DIRECT or O_DIRECT_NO_FSYNC: with another, commits that \
                      were acknowledged are not on disk; correct",
            about: &["innodb_flush_method", "loose_innodb_flush_method"],
            cel: format!("self[k].{}", FLUSH_METHOD.cel()),
            holds: |key, value| !is_option(key, "innodb_flush_method") || FLUSH_METHOD.matches(value),
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
        let regex = regex_lite::Regex::new(&refused_pattern()).expect("the pattern compiles");
        let free = [
            "max_connections",
            "log_bin_trust_function_creators",
            "portal",
            "sockets",
            "users",
            "tls_version",
        ];
        let (names, prefixes) = options::refused();
        let prefixes = prefixes.iter().map(|p| format!("{p}x"));
        for name in names.iter().chain(&free).map(ToString::to_string).chain(prefixes) {
            for before in
                ["", "loose_", "skip_", "disable_", "loose_skip_", "maximum_loose_", "enable_", "x_"]
            {
                let key = format!("{before}{name}");
                let refused = options::is_refused(&key);
                assert_eq!(regex.is_match(&key), refused, "{key}");
                assert_eq!(refused, before != "x_" && !free.contains(&name.as_str()), "{key}");
            }
        }
    }

    /// What a server must have to serve is set back: a person who asks for anything else is to be told.
    #[test]
    fn what_a_server_must_have_is_asked_of_the_spec_too() {
        let accepted = |name: &str, value: &str| rules().iter().all(|rule| (rule.holds)(name, value));
        for (option, must_be) in options::required() {
            if options::is_refused(option.name) {
                continue;
            }
            for value in ["0", "1", "3599", "3600", "86400", "", "MyISAM", "InnoDB", "innodb"] {
                assert_eq!(accepted(option.name, value), must_be.met(value), "{} = {value}", option.name);
            }
        }
    }
}
