//! Settings that go with a role.

use crate::context::{Context, ServerRun};
use crate::mysqld::options::{ConfigFiles, Role};
use crate::sql::quote::setting;
use crate::sql::{Client, required};
use crate::task::TaskError;

/// Gives a running server the settings of a role that it does not have yet. What can't be set is written down and
/// does not stop the change of role: it waits for a restart.
pub(super) async fn apply(
    context: &Context,
    run: &ServerRun,
    client: &mut Client,
    role: Role,
) -> Result<(), TaskError> {
    if run.role() == Some(role) {
        return Ok(());
    }
    let files = ConfigFiles::read(&context.settings.config).map_err(TaskError::Config)?;
    let mut errors = Vec::new();
    for (name, value) in files.changes_for(role) {
        let value = value.map_or_else(|| "DEFAULT".to_owned(), |value| setting(&value));
        let outcome = client.run("SET GLOBAL", &format!("SET GLOBAL {name} = {value}")).await;
        if let Err(error) = outcome {
            tracing::warn!(name, %error, "a setting of the role could not be set");
            // Only the server's own refusal concerns the setting; all else ends the task.
            if error.code().is_none() {
                return Err(error.into());
            }
            errors.push(format!("{name}: {error}"));
        }
    }
    run.set_role(role, errors);
    Ok(())
}

/// A server takes up no role with options by which what was committed, or received, could be lost.
pub(super) async fn ensure_safe(run: &ServerRun, client: &mut Client) -> Result<(), TaskError> {
    run.looked_at_options(required::enforce(client).await?);
    let left = run.unsafe_options();
    if left.is_empty() {
        return Ok(());
    }
    let each = left.iter().map(|o| format!("{} is {} and must be {}", o.name, o.value, o.wanted));
    let all = each.collect::<Vec<_>>().join(", ");
    Err(TaskError::Outcome(format!("the server runs with options that would lose data: {all}")))
}
