//! Scheduled events run on who leads, and nowhere else.
//!
//! On a replica they are `REPLICA_SIDE_DISABLED`, and stay so when it is promoted: the agent enables them. A server
//! that no longer leads keeps its events, but its scheduler is off, as it is in every start.

use mainstay_proto::EventName;

use crate::context::{Context, ServerRun};
use crate::mysqld::options::{ConfigFiles, Role};
use crate::sql::quote::{identifier, text};
use crate::sql::{Client, SqlError};
use crate::task::TaskError;

/// An event that was replicated: schema, name, definer, and the SQL mode that is its own.
type Replicated = (String, String, String, String);

/// Enables the events that came by replication but for those that are `disabled` where they come from, and starts
/// the scheduler, if a person did not switch it off. What the server refuses is told and does not stop a primary from
/// leading.
pub(super) async fn start(
    context: &Context,
    run: &ServerRun,
    client: &mut Client,
    disabled: Option<&[EventName]>,
) -> Result<(), TaskError> {
    let files = ConfigFiles::read(&context.settings.config).map_err(TaskError::Config)?;
    let mut refused = Vec::new();
    let query = "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER, SQL_MODE FROM information_schema.EVENTS \
                 WHERE STATUS IN ('REPLICA_SIDE_DISABLED', 'SLAVESIDE_DISABLED')";
    let replicated: Vec<Replicated> = client.rows("list the replicated events", query).await?;
    for event in &replicated {
        let (schema, name, ..) = event;
        let shown = format!("event {schema}.{name}");
        let Some(disabled) = disabled else {
            // To run what a person had disabled may do harm that nothing undoes.
            refused.push(format!(
                "{shown}: whether it was enabled on the primary before is not known: ALTER EVENT … ENABLE, or DISABLE"
            ));
            continue;
        };
        let to = if disabled.iter().any(|event| event.schema == *schema && event.name == *name) {
            "DISABLE"
        } else {
            "ENABLE"
        };
        if let Err(error) = alter(client, event, to).await {
            told(&mut refused, shown, error)?;
        }
    }
    client.run("set the SQL mode", "SET SESSION sql_mode = ''").await?;
    if files.wants_events() {
        let outcome = client.run("start the event scheduler", "SET GLOBAL event_scheduler = ON").await;
        if let Err(error) = outcome {
            told(&mut refused, "event_scheduler".to_owned(), error)?;
        }
    }
    tracing::info!(replicated = replicated.len(), refused = refused.len(), "scheduled events");
    if !refused.is_empty() {
        run.set_role(Role::Primary, run.setting_errors().into_iter().chain(refused).collect());
    }
    Ok(())
}

/// Enables or disables one, and leaves its definer and SQL mode as they are: `ALTER EVENT` without them takes the
/// session's.
async fn alter(
    client: &mut Client,
    (schema, name, definer, mode): &Replicated,
    to: &str,
) -> Result<(), SqlError> {
    let Some((user, host)) = definer.rsplit_once('@') else {
        return Err(SqlError::Unexpected { what: "read an event's definer" });
    };
    client.run("set the event's SQL mode", &format!("SET SESSION sql_mode = {}", text(mode))).await?;
    let statement = format!(
        "ALTER DEFINER = {}@{} EVENT {}.{} {to}",
        identifier(user),
        identifier(host),
        identifier(schema),
        identifier(name)
    );
    client.run("enable or disable an event", &statement).await
}

/// Only the server's own refusal concerns the one thing; all else ends the task.
fn told(refused: &mut Vec<String>, what: String, error: SqlError) -> Result<(), TaskError> {
    tracing::warn!(what, %error, "scheduled events are not as they should be");
    if error.code().is_none() {
        return Err(error.into());
    }
    refused.push(format!("{what}: {error}"));
    Ok(())
}

/// Stops the scheduler. Where it can't be stopped it is disabled, or the server is about to be killed.
pub(super) async fn stop(client: &mut Client) {
    let outcome = client.run("stop the event scheduler", "SET GLOBAL event_scheduler = OFF").await;
    if let Err(error) = outcome {
        tracing::info!(%error, "the event scheduler was not stopped");
    }
}
