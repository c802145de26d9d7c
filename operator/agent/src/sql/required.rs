//! Options that safety rests on: read back by name, and set back where the server lets that be done while it runs.
//!
//! The option file has them all; but `SET GLOBAL` changes some, and what was persisted outranks the file.

use mainstay_proto::UnsafeOption;

use super::{Client, SqlError};

/// One option and the only value under which a server may serve.
struct Required {
    name: &'static str,
    wanted: &'static str,
    /// `SET GLOBAL` brings it back.
    dynamic: bool,
}

const fn fixed(name: &'static str, wanted: &'static str) -> Required {
    Required { name, wanted, dynamic: false }
}

const fn dynamic(name: &'static str, wanted: &'static str) -> Required {
    Required { name, wanted, dynamic: true }
}

const REQUIRED: [Required; 9] = [
    // A commit that was acknowledged is on disk, in the binary log and in the engine.
    dynamic("sync_binlog", "1"),
    dynamic("innodb_flush_log_at_trx_commit", "1"),
    // Who holds which transactions is told by GTIDs only, for every transaction.
    dynamic("enforce_gtid_consistency", "ON"),
    fixed("gtid_mode", "ON"),
    // Whoever is to lead next can give the others what they lack.
    fixed("log_bin", "ON"),
    fixed("log_replica_updates", "ON"),
    // Each replica executes what its source did, not what it makes of the statement.
    dynamic("binlog_format", "ROW"),
    // ON throws away what was received, and may have been acknowledged.
    fixed("relay_log_recovery", "OFF"),
    // A volume that was set back would fill its gaps before anybody has looked at it.
    fixed("skip_replica_start", "ON"),
];

/// Names whose persisted values are never to take effect, besides those in the agent's own part of the option file.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    // The old names of two of them are persisted beside the new ones; without doublewrite a crash can tear pages.
    let more = ["log_slave_updates", "skip_slave_start", "read_only", "offline_mode", "innodb_doublewrite"];
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
        if !refused(client.run("SET GLOBAL", &format!("SET GLOBAL {name} = {wanted}")).await, name)? {
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
    let (name, wanted) = (required.name.to_owned(), required.wanted.to_owned());
    (value != wanted).then_some(UnsafeOption { name, value, wanted })
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
    }
}
