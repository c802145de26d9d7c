//! Options that safety rests on: read back by name, and set back where the server lets that be done while it runs.
//!
//! The option file has them all; but `SET GLOBAL` changes some, and what was persisted outranks the file. Which they are,
//! and why, is in [`mainstay_proto::options`].

use mainstay_proto::UnsafeOption;
use mainstay_proto::options::{self, MustBe};

use super::quote::setting;
use super::{Client, SqlError};

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
        outcome.mended.push(format!("SET PERSIST {name} = {value} was taken back{}", so_that(&name)));
    }
    for option in differing(client).await? {
        let required =
            options::required().find(|(required, _)| required.name == option.name && required.dynamic);
        let Some((required, must_be)) = required else { continue };
        let name = required.name;
        let statement = format!("SET GLOBAL {name} = {}", literal(must_be));
        if !refused(client.run("SET GLOBAL", &statement).await, name)? {
            let mended = format!("{name} was {} and was set to {must_be}{}", option.value, so_that(name));
            outcome.mended.push(mended);
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
    let all = list(options::required().map(|(option, _)| option.name));
    let query = format!(
        "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.global_variables WHERE VARIABLE_NAME IN ({all})"
    );
    let rows: Vec<(String, String)> = client.rows("read options back", &query).await?;
    Ok(rows.into_iter().filter_map(|(name, value)| judge(&name, value)).collect())
}

fn judge(name: &str, value: String) -> Option<UnsafeOption> {
    let (_, must_be) = options::required().find(|(required, _)| required.name == name)?;
    let (name, wanted) = (name.to_owned(), must_be.to_string());
    (!must_be.met(&value)).then_some(UnsafeOption { name, value, wanted })
}

async fn persisted(client: &mut Client) -> Result<Vec<(String, String)>, SqlError> {
    // An option that is only the agent's own is left out at the next start; until then it changes nothing.
    let all = list(options::never_persisted());
    let query = format!(
        "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.persisted_variables \
         WHERE VARIABLE_NAME IN ({all})"
    );
    client.rows("read persisted options", &query).await
}

/// As a literal for `SET GLOBAL`.
fn literal(must_be: MustBe) -> String {
    match must_be {
        MustBe::Is(wanted) => setting(wanted),
        MustBe::AtLeast(least) => least.to_string(),
    }
}

/// Why an option is not a person's to set otherwise, for people.
pub(crate) fn so_that(name: &str) -> String {
    options::group(name).map(|group| format!(", so that {}", group.why)).unwrap_or_default()
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
    fn what_is_set_back_is_a_literal() {
        let literal =
            |name| literal(options::required().find(|(required, _)| required.name == name).unwrap().1);
        assert_eq!(literal("sync_binlog"), "1");
        assert_eq!(literal("binlog_expire_logs_seconds"), "3600");
        assert_eq!(literal("init_connect"), "''");
        assert_eq!(literal("replica_exec_mode"), "'STRICT'");
    }
}
