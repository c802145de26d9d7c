//! The init container: a complete directory goes on by itself, anything else waits for its order.

use std::sync::Arc;
use std::time::Duration;

use mainstay_proto::{Directory, Order, Task, TaskState};
use tokio::sync::watch;

use crate::hub::Hub;
use crate::orders;
use crate::server::Launcher;
use crate::shutdown::Stop;
use crate::tasks::data;
use crate::volume::lock::{Lock, LockError};

/// Between two looks at a volume that can't be used yet.
const LOOK: Duration = Duration::from_secs(2);

/// Returns true once the directory is complete, false if the container is to stop.
pub(crate) async fn run(
    launcher: Arc<Launcher>,
    hub: Arc<Hub>,
    mut orders: watch::Receiver<Option<Order>>,
    mut stop: Stop,
) -> bool {
    let mut held: Option<Lock> = None;
    loop {
        if held.is_none() {
            held = take(&launcher, &hub);
        }
        if held.is_some() && matches!(hub.inspect(), Directory::Complete { .. }) {
            return true;
        }
        tokio::select! {
            () = stop.wanted() => return false,
            () = tokio::time::sleep(LOOK) => {}
            Ok(()) = orders.changed() => {
                let order = orders.borrow_and_update().clone();
                if let (Some(order), Some(lock)) = (order, held.as_ref()) {
                    tokio::select! {
                        () = stop.wanted() => return false,
                        () = carry_out(&launcher, &hub, lock, &order) => {}
                    }
                }
            }
        }
    }
}

fn take(launcher: &Launcher, hub: &Hub) -> Option<Lock> {
    let id = hub.identity();
    let holder = format!("pod {} ({}) on {} boot {}", id.pod_name, id.pod_uid, id.node, id.boot_id);
    match Lock::take(&launcher.settings.volume, &holder) {
        Ok(lock) => Some(lock),
        Err(LockError::Held(holder)) => {
            hub.set_directory(Directory::Locked { holder });
            None
        }
        Err(error) => {
            let user = &launcher.settings;
            let message = format!(
                "{error}; the volume must be writable for the pod's user and group: where fsGroup has no effect \
                 (host paths), chown {} once",
                user.volume.display()
            );
            hub.set_directory(Directory::Unusable { message });
            None
        }
    }
}

async fn carry_out(launcher: &Launcher, hub: &Hub, lock: &Lock, order: &Order) {
    let fence = orders::fence(order);
    let kind = order.action.kind().to_owned();
    let operation = orders::operation(&order.action).map(str::to_owned);
    tracing::info!(kind, ?operation, "making the data directory");
    hub.set_task(Task { fence, kind, operation, state: TaskState::Running, progress: None });
    let state = match data::make(launcher, hub, lock, order).await {
        Ok(()) => TaskState::Done,
        Err(error) => {
            tracing::error!(%error, "the data directory was not made");
            TaskState::Failed { error: error.to_string() }
        }
    };
    hub.end_task(fence, state);
}
