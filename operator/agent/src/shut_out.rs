//! What is done when the agent is not let into its server.
//!
//! Somebody may drop, lock or change the agent's own account while the server runs. Sessions that are open stay as they
//! were (manual, "When Privilege Changes Take Effect"): by the one that looks at the server all the time, the account is
//! made anew. Where that is of no use, a replica's server is started again, since each start begins with the accounts;
//! and so is any whose last session is gone, for it serves nobody then. A primary that serves is left alone.

use mainstay_proto::TaskState;
use tokio::sync::mpsc;

use crate::accounts as kept;
use crate::context::{Command, Session};
use crate::report::ReportPublisher;
use crate::sql::Client;

/// Has the server killed and started again: only by its start its accounts come back.
pub(crate) fn start_again(commands: &mpsc::Sender<Command>, why: &str) {
    tracing::warn!(
        why,
        "the server does not let the agent in: it is started again, with its accounts made anew"
    );
    // One that waits already is enough.
    let _ = commands.try_send(Command::Kill);
}

/// Makes the agent's account anew by a session that was open before, if it was not let in.
pub(crate) async fn see_to_it(
    publisher: &ReportPublisher,
    session: &Session,
    client: &mut Client,
    commands: &mpsc::Sender<Command>,
) {
    let run = &session.run;
    let busy = publisher.report().task.is_some_and(|task| task.state == TaskState::Running);
    if busy || !run.entry.is_shut() {
        return;
    }
    // One without a role is not made writable for its accounts' sake while clients reach it.
    let outcome = match publisher.follows() || run.writable() {
        true => kept::keep_by(client, session).await,
        false => Ok(()),
    };
    let again = Client::connect(&session.access).await;
    run.entry.asked(&again);
    match (outcome, again) {
        (Ok(()), Ok(_)) => tracing::warn!("the agent's account was changed, and was made as it should be"),
        // That is not about the account.
        (Ok(()), Err(error)) if !error.is_denied() => {}
        (outcome, again) => {
            run.entry.failed();
            let why = outcome.err().or(again.err()).map(|error| error.to_string()).unwrap_or_default();
            if run.writable() {
                tracing::error!(why, "the agent's account could not be made anew; the primary serves on");
            } else {
                start_again(commands, &why);
            }
        }
    }
}
