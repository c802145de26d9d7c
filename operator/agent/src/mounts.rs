//! Follows changes of the mounted Secrets: passwords and certificates are replaced while the server runs.

use std::sync::Arc;
use std::time::Duration;

use mainstay_proto::TaskState;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::accounts as kept;
use crate::context::{Command, Context, Mounted, Session};
use crate::credentials::Credentials;
use crate::digest::{Digest, digest};
use crate::executor::Executor;
use crate::mysqld::accounts;
use crate::sql::{Client, SqlError};
use crate::tls::server_config;

/// Looks at the mounts until it is cancelled.
pub(crate) async fn follow(
    context: Arc<Context>,
    executor: Executor,
    tls: watch::Sender<Arc<ServerConfig>>,
    mut served: Digest,
) {
    let mut tick = interval(Duration::from_secs(context.settings.mounts_seconds.max(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = digest(&context.settings.tls);
        if now != served {
            match server_config(&context.settings.tls) {
                Ok(config) => {
                    tls.send_replace(Arc::new(config));
                    served = now;
                    tracing::info!("the agent's certificate was replaced");
                }
                Err(error) => tracing::warn!(%error, "the new certificate can't be used; the old one stays"),
            }
        }
        if let Some(session) = context.session()
            && let Err(error) = pass_on(&context, &executor, &session, now).await
        {
            tracing::warn!(%error, "what was mounted anew could not be given to the server yet");
        }
    }
}

/// Gives the server what it does not have yet.
async fn pass_on(
    context: &Context,
    executor: &Executor,
    session: &Session,
    tls: Digest,
) -> Result<(), SqlError> {
    let has = session.run.mounted();
    if has.tls != tls {
        let mut client = Client::connect(&session.access).await?;
        client.run("ALTER INSTANCE RELOAD TLS", "ALTER INSTANCE RELOAD TLS").await?;
        let admin = "ALTER INSTANCE RELOAD TLS FOR CHANNEL mysql_admin";
        client.run("ALTER INSTANCE RELOAD TLS", admin).await?;
        session.run.set_mounted(Mounted { tls, ..has.clone() });
        tracing::info!("the server's certificate was replaced");
    }
    let credentials = match Credentials::read(&context.settings.credentials) {
        Ok(credentials) => credentials,
        Err(error) => {
            tracing::warn!(%error, "the passwords can't be read; the old ones stay");
            return Ok(());
        }
    };
    let changed = credentials != has.credentials;
    if changed && let Some((key, why)) = credentials.unfit() {
        tracing::warn!(key, %why, "a password can't be adopted; the old ones stay");
    } else if changed {
        // Hashing takes a moment, and is done once for each password.
        let own = has.own;
        let accounts = Arc::new(accounts::wanted(&credentials, &own));
        let replication = credentials.replication != has.credentials.replication;
        session.run.change_secret(Mounted { credentials, accounts, own, tls });
        tracing::info!("new passwords are mounted");
        if replication && context.publisher.follows() {
            // Its channel is given the new one; until the source has it too, the receiver tries again.
            executor.resume().await;
        }
    }
    see_to_accounts(context, session).await
}

/// Sees to the server's accounts, if it has a role and no order is being carried out.
async fn see_to_accounts(context: &Context, session: &Session) -> Result<(), SqlError> {
    let task = context.publisher.report().task;
    let busy = task.is_some_and(|task| task.state == TaskState::Running);
    if busy || !(context.publisher.follows() || session.run.writable()) {
        return Ok(());
    }
    let outcome = kept::keep(session).await;
    if outcome.is_err() && !session.run.writable() {
        // It can't be told whether it is read-only again. After a start it is.
        let _ = context.commands.send(Command::Kill).await;
    }
    outcome
}
