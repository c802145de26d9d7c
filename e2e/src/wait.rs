//! Waiting for a condition, with what was seen last in the error when it does not come.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures::StreamExt;
use k8s_openapi::serde::{Serialize, de::DeserializeOwned};
use kube::api::{Api, ObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};

/// Long enough for anything that takes seconds on an idle machine, on a busy one.
pub const LONG: Duration = Duration::from_secs(180);
/// For what follows at once.
pub const SHORT: Duration = Duration::from_secs(60);
/// Pause between two looks at something that can't be watched.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// Waits, by a watch, until `met` holds for the object `name`, and returns it as it was then.
///
/// # Errors
/// After `limit`, with the object as it was seen last.
pub async fn object<K>(
    api: &Api<K>,
    name: &str,
    what: &str,
    limit: Duration,
    mut met: impl FnMut(&K) -> bool,
) -> Result<K>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
{
    watch(api, name, what, limit, |object| object.filter(|object| met(object)).cloned()).await
}

/// Waits, by a watch, until no object `name` with this `uid` exists (or none at all, if `uid` is `None`).
///
/// # Errors
/// After `limit`, with the object as it was seen last.
pub async fn gone<K>(api: &Api<K>, name: &str, uid: Option<&str>, limit: Duration) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
{
    let what = format!("{name} to be gone");
    watch(api, name, &what, limit, |object| match object {
        None => Some(()),
        Some(other) => uid.is_some_and(|uid| other.uid().as_deref() != Some(uid)).then_some(()),
    })
    .await
}

/// The watch behind the others: ends with what `outcome` makes of the object, or of its absence.
async fn watch<K, T>(
    api: &Api<K>,
    name: &str,
    what: &str,
    limit: Duration,
    mut outcome: impl FnMut(Option<&K>) -> Option<T>,
) -> Result<T>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
{
    let mut last: Result<Option<K>> = Err(anyhow!("nothing was heard of it"));
    let mut states = watcher::watch_object(api.clone(), name).default_backoff().boxed();
    let waiting = async {
        while let Some(state) = states.next().await {
            match state {
                Ok(object) => {
                    let done = outcome(object.as_ref());
                    last = Ok(object);
                    if done.is_some() {
                        return done;
                    }
                }
                Err(error) => last = Err(error.into()),
            }
        }
        None
    };
    match tokio::time::timeout(limit, waiting).await {
        Ok(Some(done)) => Ok(done),
        Ok(None) => bail!("waited for {what}: the watch ended"),
        Err(_) => bail!("waited {} s for {what}; last seen:\n{}", limit.as_secs(), describe(last)),
    }
}

fn describe<K>(last: Result<Option<K>>) -> String
where
    K: Resource + Serialize,
{
    match last {
        Ok(Some(object)) => yaml(object),
        Ok(None) => "it does not exist".into(),
        Err(error) => format!("{error:#}"),
    }
}

/// An object as YAML, without what no reader wants.
pub fn yaml<K: Resource + Serialize>(mut object: K) -> String {
    let meta: &mut ObjectMeta = object.meta_mut();
    meta.managed_fields = None;
    serde_norway::to_string(&object).unwrap_or_else(|error| format!("not to be shown: {error}"))
}

/// Asks again and again until there is an answer; for what can't be watched, such as a server's tables.
///
/// An error counts as "not yet", and the last one is told at the end.
///
/// # Errors
/// After `limit`, with the last error.
pub async fn poll<T, F, Fut>(what: &str, limit: Duration, mut ask: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let mut last = anyhow!("no answer came");
    let asking = async {
        loop {
            match ask().await {
                Ok(Some(answer)) => return answer,
                Ok(None) => last = anyhow!("it answered, but not that"),
                Err(error) => last = error,
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    let answer = tokio::time::timeout(limit, asking).await;
    answer.map_err(|_| last).with_context(|| format!("waited {} s for {what}", limit.as_secs()))
}
