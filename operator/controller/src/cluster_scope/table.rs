//! Objects by name, as they are read, filled from one watch.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use futures::{Stream, StreamExt, pin_mut};
use kube::Resource;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::telemetry::Metrics;

/// How it stands with a kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was heard yet.
    Unread,
    /// Everything is in the table.
    Read,
    /// The operator has no right to it.
    Forbidden,
}

/// Objects by name.
pub(crate) struct Table<T> {
    rows: RwLock<HashMap<String, Arc<T>>>,
    state: watch::Sender<State>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { rows: RwLock::default(), state: watch::Sender::new(State::Unread) }
    }
}

impl<T> Table<T> {
    /// The object of this name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<T>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Shows each object to `look`.
    pub(crate) fn each(&self, mut look: impl FnMut(&str, &Arc<T>)) {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.iter().for_each(|(name, row)| look(name, row));
    }

    /// Whether everything is in it.
    pub(super) fn is_read(&self) -> bool {
        *self.state.borrow() == State::Read
    }

    /// Comes back once it is known whether everything is in it.
    pub(super) async fn settled(&self) {
        // Fails only if the sender is gone, and that is `self`.
        let _ = self.state.subscribe().wait_for(|state| *state != State::Unread).await;
    }

    fn put(&self, name: &str, row: Option<T>) -> Option<Arc<T>> {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        match row {
            Some(row) => rows.insert(name.to_owned(), Arc::new(row)),
            None => rows.remove(name),
        }
    }

    fn names(&self) -> Vec<String> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Everything is in it now, as if a watch had brought it.
    #[cfg(test)]
    pub(crate) fn filled(&self, rows: impl IntoIterator<Item = (String, T)>) {
        for (name, row) in rows {
            self.put(&name, Some(row));
        }
        self.state.send_replace(State::Read);
    }
}

/// Fills `table` from `events` for ever. `read` says what is kept of an object, if anything; `see` is told of every
/// change of that, with what was kept before and what is now, once the table has it.
pub(super) async fn fill<K, T>(
    events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    table: &Table<T>,
    metrics: &Metrics,
    read: impl Fn(K) -> Option<T>,
    mut see: impl FnMut(&str, Option<&T>, Option<&T>),
) where
    K: Resource<DynamicType = ()>,
    T: PartialEq,
{
    let events = events.default_backoff();
    pin_mut!(events);
    let mut listed = HashSet::new();
    let mut take = |name: &str, row: Option<T>| {
        let before = table.get(name);
        if before.as_deref() != row.as_ref() {
            table.put(name, row);
            see(name, before.as_deref(), table.get(name).as_deref());
        }
    };
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object)) => take(&name_of(&object), read(object)),
            Ok(Event::Delete(object)) => take(&name_of(&object), None),
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                let name = name_of(&object);
                take(&name, read(object));
                listed.insert(name);
            }
            Ok(Event::InitDone) => {
                table.names().iter().filter(|name| !listed.contains(*name)).for_each(|name| take(name, None));
                listed = HashSet::new();
                if table.state.send_replace(State::Read) == State::Forbidden {
                    info!(kind = %K::kind(&()), "may be read now");
                }
            }
            Err(error) => failed::<K, T>(table, metrics, &error),
        }
    }
}

fn name_of(object: &impl Resource) -> String {
    object.meta().name.clone().unwrap_or_default()
}

/// A right that is missing is said once; the watch goes on asking, so that it is taken up once it is there.
fn failed<K: Resource<DynamicType = ()>, T>(table: &Table<T>, metrics: &Metrics, error: &watcher::Error) {
    let kind = K::kind(&());
    if !is_forbidden(error) {
        Metrics::count(&metrics.watch_errors, "Surroundings");
        warn!(%kind, %error, "watch failed; it is begun anew");
    } else if table.state.send_replace(State::Forbidden) == State::Forbidden {
        debug!(%kind, "still may not be read");
    } else {
        warn!(%kind, %error, "may not be read: what hangs on it can't be seen or said");
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status,
        _ => return false,
    };
    status.code == 403
}
