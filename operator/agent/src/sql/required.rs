//! Options that safety rests on: read back by name, and set back where the server lets that be done while it runs.
//!
//! The option file has them all; but `SET GLOBAL` changes some, and what was persisted outranks the file.

use mainstay_proto::UnsafeOption;

use super::quote::setting;
use super::{Client, SqlError};

/// One option and how a server must have it to serve.
struct Required {
    name: &'static str,
    wanted: Wanted,
    /// `SET GLOBAL` brings it back.
    dynamic: bool,
}

/// What an option must be.
#[derive(Clone, Copy)]
enum Wanted {
    /// This, as the server shows it.
    Is(&'static str),
    /// At least this; or 0, which is no limit.
    AtLeast(u64),
}

impl Wanted {
    fn met(self, value: &str) -> bool {
        match self {
            Wanted::Is(wanted) => value.eq_ignore_ascii_case(wanted),
            Wanted::AtLeast(least) => value.parse::<u64>().is_ok_and(|value| value == 0 || value >= least),
        }
    }

    /// As a literal for `SET GLOBAL`.
    fn literal(self) -> String {
        match self {
            Wanted::Is(wanted) => setting(wanted),
            Wanted::AtLeast(least) => least.to_string(),
        }
    }
}

/// For people.
impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wanted::Is("") => write!(f, "empty"),
            Wanted::Is(wanted) => write!(f, "{wanted}"),
            Wanted::AtLeast(least) => write!(f, "at least {least}"),
        }
    }
}

const fn fixed(name: &'static str, wanted: &'static str) -> Required {
    Required { name, wanted: Wanted::Is(wanted), dynamic: false }
}

const fn dynamic(name: &'static str, wanted: &'static str) -> Required {
    Required { name, wanted: Wanted::Is(wanted), dynamic: true }
}

/// A server that does not have one of them, of another series, is not asked for it.
const REQUIRED: [Required; 22] = [
    // A commit that was acknowledged is on disk, in the binary log and in the engine.
    dynamic("sync_binlog", "1"),
    dynamic("innodb_flush_log_at_trx_commit", "1"),
    // ... whole: without it a crash can tear pages.
    dynamic("innodb_doublewrite", "ON"),
    // ... in an engine that survives a crash, and whose rows are in a clone.
    dynamic("default_storage_engine", "InnoDB"),
    // ... and in the binary log, or it fails.
    dynamic("binlog_error_action", "ABORT_SERVER"),
    // Logs and pages that were damaged are noticed, not read past.
    fixed("innodb_force_recovery", "0"),
    dynamic("binlog_checksum", "CRC32"),
    dynamic("replica_sql_verify_checksum", "ON"),
    // Who holds which transactions is told by GTIDs only, for every transaction.
    dynamic("enforce_gtid_consistency", "ON"),
    fixed("gtid_mode", "ON"),
    // Whoever is to lead next can give the others what they lack, and they had time to take it.
    fixed("log_bin", "ON"),
    fixed("log_replica_updates", "ON"),
    Required { name: "binlog_expire_logs_seconds", wanted: Wanted::AtLeast(3600), dynamic: true },
    // Each replica executes what its source did, not what it makes of the statement, and says where it can't.
    dynamic("binlog_format", "ROW"),
    dynamic("replica_exec_mode", "STRICT"),
    dynamic("replica_type_conversions", ""),
    // Statements that no binary log has, in each client's session and at each start of the applier.
    dynamic("init_connect", ""),
    dynamic("init_replica", ""),
    // A copy holds what the position says that it was taken at.
    dynamic("binlog_order_commits", "ON"),
    fixed("replica_skip_errors", "OFF"),
    // ON throws away what was received, and may have been acknowledged.
    fixed("relay_log_recovery", "OFF"),
    // A volume that was set back would fill its gaps before anybody has looked at it.
    fixed("skip_replica_start", "ON"),
];

/// Names whose persisted values are never to take effect, besides those in the agent's own part of the option file.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    // The old names are persisted beside the new ones.
    let more = [
        "init_slave",
        "log_slave_updates",
        "offline_mode",
        "read_only",
        "skip_slave_start",
        "slave_exec_mode",
        "slave_skip_errors",
        "slave_sql_verify_checksum",
        "slave_type_conversions",
    ];
    REQUIRED.iter().map(|option| option.name).chain(more)
}

/// What came of looking at the options.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What was set back, for people.
    pub(crate) mended: Vec<String>,
    /// What is otherwise, and stays so while the server runs.
    pub(crate) left: Vec<UnsafeOption>,
}

/// Reads the options back, and sets back those that can be.
pub(crate) async fn enforce(client: &mut Client) -> Result<Outcome, SqlError> {
    let mut outcome = Outcome::default();
    for (name, value) in persisted(client).await? {
        if refused(client.run("RESET PERSIST", &format!("RESET PERSIST IF EXISTS {name}")).await, &name)? {
            continue;
        }
        outcome.mended.push(format!("SET PERSIST {name} = {value} was taken back: safety rests on it"));
    }
    for option in differing(client).await? {
        let required = REQUIRED.iter().find(|required| required.name == option.name && required.dynamic);
        let Some(Required { name, wanted, .. }) = required else { continue };
        let statement = format!("SET GLOBAL {name} = {}", wanted.literal());
        if !refused(client.run("SET GLOBAL", &statement).await, name)? {
            outcome
                .mended
                .push(format!("{name} was {} and was set to {wanted}: safety rests on it", option.value));
        }
    }
    outcome.left = differing(client).await?;
    for mended in &outcome.mended {
        tracing::warn!("{mended}");
    }
    Ok(outcome)
}

/// Whether the server refused it, which concerns this option only.
fn refused(outcome: Result<(), SqlError>, name: &str) -> Result<bool, SqlError> {
    match outcome {
        Ok(()) => Ok(false),
        Err(error) if error.code().is_some() => {
            tracing::warn!(name, %error, "an option could not be set back");
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

async fn differing(client: &mut Client) -> Result<Vec<UnsafeOption>, SqlError> {
    let all = list(REQUIRED.iter().map(|option| option.name));
    let query = format!(
        "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.global_variables WHERE VARIABLE_NAME IN ({all})"
    );
    let rows: Vec<(String, String)> = client.rows("read options back", &query).await?;
    Ok(rows.into_iter().filter_map(|(name, value)| judge(&name, value)).collect())
}

fn judge(name: &str, value: String) -> Option<UnsafeOption> {
    let required = REQUIRED.iter().find(|required| required.name == name)?;
    let (name, wanted) = (required.name.to_owned(), required.wanted.to_string());
    (!required.wanted.met(&value)).then_some(UnsafeOption { name, value, wanted })
}

async fn persisted(client: &mut Client) -> Result<Vec<(String, String)>, SqlError> {
    // An option that is only the agent's own is left out at the next start; until then it changes nothing.
    let all = list(names());
    let query = format!(
        "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.persisted_variables \
         WHERE VARIABLE_NAME IN ({all})"
    );
    client.rows("read persisted options", &query).await
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_unsafe() {
        assert_eq!(judge("sync_binlog", "1".into()), None);
        assert_eq!(judge("max_connections", "0".into()), None, "it is the person's");
        let found = judge("relay_log_recovery", "ON".into()).unwrap();
        assert_eq!((found.value.as_str(), found.wanted.as_str()), ("ON", "OFF"));
        assert_eq!(judge("default_storage_engine", "innodb".into()), None);
        assert_eq!(judge("replica_type_conversions", "ALL_LOSSY".into()).unwrap().wanted, "empty");
    }

    #[test]
    fn logs_are_kept_for_an_hour_or_for_ever() {
        for (value, safe) in [("0", true), ("1", false), ("3599", false), ("3600", true), ("2592000", true)] {
            assert_eq!(judge("binlog_expire_logs_seconds", value.into()).is_none(), safe, "{value}");
        }
    }

    #[test]
    fn what_is_set_back_is_a_literal() {
        let literal = |name| REQUIRED.iter().find(|r| r.name == name).unwrap().wanted.literal();
        assert_eq!(literal("sync_binlog"), "1");
        assert_eq!(literal("binlog_expire_logs_seconds"), "3600");
        assert_eq!(literal("init_connect"), "''");
        assert_eq!(literal("replica_exec_mode"), "'STRICT'");
    }
}
