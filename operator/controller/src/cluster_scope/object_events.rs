//! What Kubernetes says in events about a claim or a pod in trouble. Asked only then, one request for each object
//! and time, and never waited for: an answer that says something new calls for a look at whoever asked.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Event, Node};
use kube::api::ListParams;
use kube::{Api, Client};
use tracing::debug;

use crate::watch::Caller;

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(30);
/// Questions a second, of all clusters together, and how many of them may come at once. While hundreds of clusters are
/// being made, each is in trouble for a moment: what is not asked now is asked at the next look.
const PACE: f64 = 5.0;
const AT_ONCE: f64 = 10.0;
/// What was not asked for again after this long is forgotten.
const FORGET: Duration = Duration::from_secs(300);
/// Longest time that one request may take.
const BOUND: Duration = Duration::from_secs(5);
/// Events of one object that are looked through.
const MOST: u32 = 50;
/// Longest text that is kept of an event, in characters.
const LONGEST: usize = 512;

/// Why a claim is not bound or not resized. Source: `pkg/controller/volume/events` in Kubernetes, and the sidecars
/// `external-provisioner` and `external-resizer`.
const OF_CLAIMS: [&str; 7] = [
    "ProvisioningFailed",
    "ProvisioningCleanupFailed",
    "VolumeMismatch",
    "ClaimLost",
    "ClaimMisbound",
    "VolumeResizeFailed",
    "FileSystemResizeFailed",
];
/// Why a pod's volumes are not there. Source: the same.
const OF_PODS: [&str; 3] = ["FailedMount", "FailedAttachVolume", "FailedMapVolume"];

/// A kubelet says so of a Secret or ConfigMap that its watch has not brought yet, and has it a moment later. Source:
/// `pkg/kubelet/util/manager` in Kubernetes.
const NOT_READ_YET: &str = "cache: timed out waiting for the condition";

/// Why a StatefulSet can't make a pod, or its claim: a quota, a limit, a class of priority that does not exist, a webhook.
const OF_STATEFUL_SETS: [&str; 1] = ["FailedCreate"];

/// What was said, by the UID of whom it is about.
pub(crate) struct ObjectEvents {
    client: Client,
    said: Arc<Mutex<HashMap<String, Said>>>,
    budget: Mutex<Budget>,
}

/// How many questions may be put now.
struct Budget {
    left: f64,
    at: Instant,
}

impl Budget {
    fn full() -> Self {
        Budget { left: AT_ONCE, at: Instant::now() }
    }

    /// Takes a question, if there is one left.
    fn take(&mut self, now: Instant) -> bool {
        let grown = now.saturating_duration_since(self.at).as_secs_f64() * PACE;
        (self.left, self.at) = ((self.left + grown).min(AT_ONCE), now);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

struct Said {
    text: Option<String>,
    asked: Instant,
    /// Who is told of the answer.
    waiting: Vec<Caller>,
}

impl Said {
    /// Notes an answer, and calls who waits for it if it says something new.
    fn answer(&mut self, text: Option<String>) {
        let new = self.text != text;
        self.text = text;
        self.waiting.drain(..).filter(|_| new).for_each(|caller| caller.call());
    }
}

impl ObjectEvents {
    /// Nothing was asked yet.
    pub(crate) fn new(client: Client) -> Self {
        ObjectEvents { client, said: Arc::default(), budget: Mutex::new(Budget::full()) }
    }

    /// The latest event that says why this claim is not bound.
    pub(crate) fn about_claim(&self, caller: &Caller, uid: &str) -> Option<String> {
        self.about(caller, uid, &OF_CLAIMS)
    }

    /// The latest event that says why this pod's volumes are not there.
    pub(crate) fn about_pod(&self, caller: &Caller, uid: &str) -> Option<String> {
        self.about(caller, uid, &OF_PODS)
    }

    /// The latest event that says why this StatefulSet makes no pod.
    pub(crate) fn about_stateful_set(&self, caller: &Caller, uid: &str) -> Option<String> {
        self.about(caller, uid, &OF_STATEFUL_SETS)
    }

    /// The value of an annotation of a node.
    pub(crate) fn of_node(&self, caller: &Caller, node: &str, annotation: &str) -> Option<String> {
        let (api, name): (Api<Node>, _) = (Api::all(self.client.clone()), node.to_owned());
        let annotation = annotation.to_owned();
        self.ask(caller, format!("{node} {annotation}"), None, async move {
            let metadata = api.get_metadata_opt(&name).await?.map(|node| node.metadata);
            Ok(metadata.and_then(|metadata| metadata.annotations?.remove(&annotation)))
        })
    }

    fn about(&self, caller: &Caller, uid: &str, reasons: &'static [&'static str]) -> Option<String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &caller.cluster.namespace);
        let parameters = ListParams::default().fields(&format!("involvedObject.uid={uid}")).limit(MOST);
        self.ask(caller, uid.to_owned(), Some(&self.budget), async move {
            Ok(latest(api.list(&parameters).await?.items, reasons))
        })
    }

    /// What is known under `key`; `question` is put if that is old, and if `budget` allows it.
    fn ask(
        &self,
        caller: &Caller,
        key: String,
        budget: Option<&Mutex<Budget>>,
        question: impl Future<Output = kube::Result<Option<String>>> + Send + 'static,
    ) -> Option<String> {
        let now = Instant::now();
        let mut said = lock(&self.said);
        let known = said.get_mut(&key);
        let text = known.as_ref().and_then(|known| known.text.clone());
        if let Some(known) = known.filter(|known| now.duration_since(known.asked) < FRESH) {
            caller.join(&mut known.waiting);
            return text;
        }
        if budget.is_some_and(|budget| !budget.lock().unwrap_or_else(PoisonError::into_inner).take(now)) {
            return text;
        }
        said.retain(|_, said| now.duration_since(said.asked) < FORGET);
        said.insert(key.clone(), Said { text: text.clone(), asked: now, waiting: vec![caller.clone()] });
        drop(said);
        let all = self.said.clone();
        tokio::spawn(async move {
            match tokio::time::timeout(BOUND, question).await {
                Ok(Ok(answer)) => {
                    if let Some(said) = lock(&all).get_mut(&key) {
                        said.answer(answer);
                    }
                }
                Ok(Err(error)) => debug!(%error, "the trouble of an object can't be read"),
                Err(_) => debug!("the trouble of an object was not read in time"),
            }
        });
        text
    }
}

fn lock(said: &Mutex<HashMap<String, Said>>) -> MutexGuard<'_, HashMap<String, Said>> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

fn latest(events: Vec<Event>, reasons: &[&str]) -> Option<String> {
    let telling = events.into_iter().filter(|e| e.reason.as_deref().is_some_and(|r| reasons.contains(&r)));
    let telling =
        telling.filter(|e| !e.message.as_deref().is_some_and(|message| message.contains(NOT_READ_YET)));
    let event = telling.max_by_key(|event| {
        let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
        let times = [
            series.map(|at| at.0),
            event.last_timestamp.as_ref().map(|at| at.0),
            event.event_time.as_ref().map(|at| at.0),
            event.metadata.creation_timestamp.as_ref().map(|at| at.0),
        ];
        times.into_iter().flatten().max()
    })?;
    let message = event.message.unwrap_or_default();
    let text = format!("{}: {}", event.reason.unwrap_or_default(), message.trim());
    Some(text.chars().take(LONGEST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(reason: &str, message: &str, at: &str) -> Event {
        serde_json::from_value(json!({"metadata": {"name": "e"}, "involvedObject": {}, "reason": reason,
            "message": message, "lastTimestamp": at}))
        .unwrap()
    }

    #[test]
    fn a_thousand_in_trouble_at_once_are_asked_for_one_after_the_other() {
        let (mut budget, start) = (Budget::full(), Instant::now());
        let mut asked =
            |after: u64| (0..1000).filter(|_| budget.take(start + Duration::from_secs(after))).count();
        assert_eq!(asked(0), 10);
        assert_eq!(asked(1), 5);
        assert_eq!(asked(3600), 10);
    }

    #[test]
    fn the_latest_word_on_the_matter_counts() {
        let events = vec![
            event("ProvisioningFailed", "no space", "2026-01-01T00:00:02Z"),
            event("ProvisioningFailed", "no quota", "2026-01-01T00:00:01Z"),
            event("WaitForFirstConsumer", "waiting", "2026-01-01T00:00:03Z"),
        ];
        assert_eq!(latest(events, &OF_CLAIMS).as_deref(), Some("ProvisioningFailed: no space"));
        assert_eq!(latest(vec![event("Scheduled", "", "2026-01-01T00:00:02Z")], &OF_PODS), None);
        let passing = "MountVolume.SetUp failed for volume \"tls\" : failed to sync secret cache: timed out waiting for \
                       the condition";
        assert_eq!(latest(vec![event("FailedMount", passing, "2026-01-01T00:00:02Z")], &OF_PODS), None);
    }
}
