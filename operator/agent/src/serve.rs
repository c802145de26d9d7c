//! The container that runs MySQL: mysqld is started, watched, started again, and stopped as it should be.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use mainstay_proto::{Action, Directory, Grant, GrantedRole, Order, Server, Task, TaskState};
use tokio::sync::watch;

use crate::hub::{Hub, running};
use crate::mounts::Mounts;
use crate::mysqld::options::Purpose;
use crate::mysqld::process::{Ended, Mysqld};
use crate::orders;
use crate::server::{Launcher, ServerError};
use crate::shutdown::{self, Stop};
use crate::sql::{Session, accounts, state};
use crate::tasks::role::Change;
use crate::volume::lock::{Lock, LockError};
use crate::volume::marker::Start;

/// Between two looks at the server.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks at a volume that can't be used yet.
const VOLUME_LOOK: Duration = Duration::from_secs(2);
/// Looks without an answer after which the server counts as silent.
const SILENT_AFTER: u32 = 3;
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What keeps mysqld's loop going or ends it.
enum Next {
    /// mysqld ended by itself.
    Ended(Ended),
    /// It has to be started again for a change to take effect.
    Restart,
    /// The container is to stop.
    Stop,
}

/// Runs until the container is to stop.
pub(crate) async fn run(
    launcher: Arc<Launcher>,
    hub: Arc<Hub>,
    orders: watch::Receiver<Option<Order>>,
    stop: Stop,
) {
    let Some(lock) = usable(&launcher, &hub, stop.clone()).await else { return };
    let mut server = Serving { launcher, hub, orders, stop, setting_errors: Vec::new(), lock };
    let mut backoff = BACKOFF.0;
    loop {
        let started = tokio::time::Instant::now();
        let next = server.once().await;
        let message = match next {
            Ok(Next::Stop) => return,
            Ok(Next::Restart) => continue,
            Ok(Next::Ended(ended)) if ended.restart => continue,
            Ok(Next::Ended(ended)) | Err(ServerError::Ended(ended)) => ended.message,
            Err(error) => error.to_string(),
        };
        tracing::error!(%message, "the server does not run");
        server.hub.set_server(Server::Stopped { last_exit: Some(message) });
        if started.elapsed() > BACKOFF.1 {
            backoff = BACKOFF.0;
        }
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            () = server.stop.wanted() => return,
        }
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

/// Waits for a directory that is complete and not in use. Only such a one is ever given to mysqld.
async fn usable(launcher: &Launcher, hub: &Hub, mut stop: Stop) -> Option<Lock> {
    loop {
        let id = hub.identity();
        let holder = format!("pod {} ({}) on {} boot {}", id.pod_name, id.pod_uid, id.node, id.boot_id);
        match Lock::take(&launcher.settings.volume, &holder) {
            Ok(lock) => {
                if matches!(hub.inspect(), Directory::Complete { .. }) {
                    return Some(lock);
                }
            }
            Err(LockError::Held(holder)) => hub.set_directory(Directory::Locked { holder }),
            Err(error) => hub.set_directory(Directory::Unusable { message: error.to_string() }),
        }
        tokio::select! {
            () = tokio::time::sleep(VOLUME_LOOK) => {}
            () = stop.wanted() => return None,
        }
    }
}

struct Serving {
    launcher: Arc<Launcher>,
    hub: Arc<Hub>,
    orders: watch::Receiver<Option<Order>>,
    stop: Stop,
    /// What could not be set for the role.
    setting_errors: Vec<String>,
    lock: Lock,
}

impl Serving {
    /// From one start of mysqld to its end.
    async fn once(&mut self) -> Result<Next, ServerError> {
        // Read again before every start: what was complete once may have been taken away.
        if !matches!(self.hub.inspect(), Directory::Complete { .. }) {
            let message = "the data directory is no longer complete".to_owned();
            return Err(ServerError::Ended(Ended { restart: false, success: false, message }));
        }
        let id = self.hub.identity().clone();
        let start = Start { pod_uid: id.pod_uid, node: id.node, boot_id: id.boot_id };
        let noted = self.hub.change_marker(|marker| marker.last_start = Some(start));
        noted.map_err(|source| ServerError::Io { doing: "writing the marker", source })?;
        self.hub.set_server(Server::Starting);
        let grant = self.hub.marker().and_then(|marker| marker.grant);
        let mut mysqld =
            self.launcher.start(Purpose::Serve, grant.as_ref().map(|grant| &grant.role), &self.lock)?;
        let mut stop = self.stop.clone();
        let session = tokio::select! {
            session = self.launcher.answers(&mut mysqld) => session?,
            () = stop.wanted() => {
                // It has not been reachable, so nobody waits for a commit.
                mysqld.stop(self.launcher.settings.stop_bound()).await;
                return Ok(Next::Stop);
            }
        };
        let next = self.watch(&mut mysqld, session, grant).await;
        if !matches!(next, Next::Ended(_)) {
            self.hub.set_server(Server::Stopping);
            shutdown::stop(&self.launcher, &mut mysqld).await;
        }
        self.hub.set_server(Server::Stopped { last_exit: None });
        Ok(next)
    }

    /// Looks at the server, takes on roles, follows the mounts, until something ends it.
    async fn watch(&mut self, mysqld: &mut Mysqld, session: Session, grant: Option<Grant>) -> Next {
        let mut reader = Some(session);
        let mut silent = 0;
        self.look(&mut reader, &mut silent).await;
        let mut mounts = Mounts::new(&self.launcher.settings);
        let mut mount_looks = tokio::time::interval(mounts.every());
        let mut looks = tokio::time::interval(LOOK);
        let mut stop = self.stop.clone();
        let (launcher, hub) = (Arc::clone(&self.launcher), Arc::clone(&self.hub));
        // Waits for an order first if nothing is resumed; a newer order drops the one that hangs.
        let mut role: BoxFuture<'static, Option<Vec<String>>> = Box::pin(resume(launcher, hub, grant));
        loop {
            tokio::select! {
                ended = mysqld.ended() => return Next::Ended(ended),
                () = stop.wanted() => return Next::Stop,
                Ok(()) = self.orders.changed() => {
                    let order = self.orders.borrow_and_update().clone();
                    let (launcher, hub) = (Arc::clone(&self.launcher), Arc::clone(&self.hub));
                    role = Box::pin(ordered(launcher, hub, order));
                }
                unset = &mut role => {
                    self.setting_errors = unset.unwrap_or_else(|| self.setting_errors.clone());
                    role = Box::pin(nothing());
                    self.look(&mut reader, &mut silent).await;
                }
                _ = looks.tick() => self.look(&mut reader, &mut silent).await,
                _ = mount_looks.tick() => if self.mounts_changed(&mut mounts).await { return Next::Restart },
            }
        }
    }

    async fn look(&mut self, reader: &mut Option<Session>, silent: &mut u32) {
        if reader.is_none() {
            *reader = self.launcher.session().await.ok();
        }
        let said = match reader.as_mut() {
            Some(session) => state::read(session).await.map_err(|error| error.to_string()),
            None => Err("no connection over the socket".to_owned()),
        };
        match said {
            Ok(mut state) => {
                *silent = 0;
                state.setting_errors.clone_from(&self.setting_errors);
                self.hub.set_server(Server::Running { state: Box::new(state) });
            }
            Err(error) => {
                *reader = None;
                *silent += 1;
                if *silent >= SILENT_AFTER {
                    self.hub.set_server(Server::Silent { error });
                }
            }
        }
    }

    /// Takes up what changed in the mounted Secrets. True: by a restart.
    async fn mounts_changed(&mut self, mounts: &mut Mounts) -> bool {
        let changed = mounts.look();
        if changed.tls
            && let Ok(mut session) = self.launcher.session().await
        {
            for channel in ["mysql_main", "mysql_admin"] {
                let statement = format!("ALTER INSTANCE RELOAD TLS FOR CHANNEL {channel}");
                if let Err(error) = session.run("reloading certificates", &statement).await {
                    tracing::warn!(%error, "certificates");
                }
            }
        }
        let Some(credentials) = changed.credentials else { return false };
        let writable = running(&self.hub.server()).is_some_and(|state| !state.super_read_only);
        if !writable {
            return true;
        }
        let Ok(mut session) = self.launcher.session().await else { return false };
        let mut statements = vec!["SET SESSION sql_log_bin=0".to_owned()];
        statements.extend(accounts::statements(&credentials, None));
        for statement in statements {
            if let Err(error) = session.run("setting accounts", &statement).await {
                tracing::error!(%error, "accounts");
            }
        }
        false
    }
}

async fn nothing() -> Option<Vec<String>> {
    std::future::pending().await
}

/// After a start: what the role on the volume allows without being asked. A replica follows, one that was alone
/// leads; a primary among others waits to be confirmed, because another may lead by now.
async fn resume(launcher: Arc<Launcher>, hub: Arc<Hub>, grant: Option<Grant>) -> Option<Vec<String>> {
    let Some(grant) = grant else { return nothing().await };
    let action = match grant.role {
        GrantedRole::Replica { source } => Action::Follow { source },
        GrantedRole::Primary { alone: true } => Action::Lead { alone: true },
        GrantedRole::Primary { alone: false } => return nothing().await,
    };
    take_on(&launcher, &hub, hub.highest().max(grant.fence), &action).await
}

async fn ordered(launcher: Arc<Launcher>, hub: Arc<Hub>, order: Option<Order>) -> Option<Vec<String>> {
    let Some(order) = order else { return nothing().await };
    take_on(&launcher, &hub, orders::fence(&order), &order.action).await
}

async fn take_on(
    launcher: &Launcher,
    hub: &Hub,
    fence: mainstay_proto::Fence,
    action: &Action,
) -> Option<Vec<String>> {
    let kind = action.kind().to_owned();
    tracing::info!(kind, epoch = fence.epoch, revision = fence.revision, "taking on a role");
    hub.set_task(Task { fence, kind, operation: None, state: TaskState::Running, progress: None });
    let done = async {
        let mut session = launcher.session().await.map_err(ServerError::from)?;
        Change { launcher, hub, session: &mut session, fence }.carry_out(action).await
    };
    match done.await {
        Ok(unset) => {
            hub.end_task(fence, TaskState::Done);
            Some(unset)
        }
        Err(error) => {
            tracing::error!(%error, "a role was not taken on");
            hub.end_task(fence, TaskState::Failed { error: error.to_string() });
            None
        }
    }
}
