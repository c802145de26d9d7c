//! Writes events. What says the same again within a while counts up the event that said it first; anything else is an
//! event of its own, also under the same reason: what differs is told.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event as Written, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::event::Event;

/// Who reports.
const CONTROLLER: &str = "mainstay";
/// How long after its last occurrence an event is counted up. The API server keeps events for an hour.
const SERIES: SignedDuration = SignedDuration::from_mins(30);
/// Longest `reportingInstance` that the API takes, in bytes.
const INSTANCE: usize = 128;

/// Writes events as one instance of the operator.
pub(super) struct Recorder {
    client: Client,
    instance: String,
    told: HashMap<(Option<String>, Event), Told>,
}

/// The event that said it first.
struct Told {
    name: String,
    count: i32,
    last: Timestamp,
}

impl Recorder {
    pub(super) fn new(client: Client, instance: &str) -> Self {
        let mut instance = instance.to_owned();
        while instance.len() > INSTANCE {
            instance.pop();
        }
        Recorder { client, instance, told: HashMap::new() }
    }

    /// Writes `event` about an object, or counts it.
    ///
    /// # Errors
    /// If the API server does not take it.
    pub(super) async fn publish(&mut self, about: &ObjectReference, event: Event) -> kube::Result<()> {
        let now = Timestamp::now();
        self.told.retain(|_, told| now.duration_since(told.last) < SERIES);
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let events: Api<Written> = Api::namespaced(self.client.clone(), namespace);
        let key = (about.uid.clone(), event);
        if let Some(told) = self.told.get_mut(&key) {
            (told.count, told.last) = (told.count + 1, now);
            let series = EventSeries { count: told.count, last_observed_time: MicroTime(now) };
            let patch = Patch::Merge(json!({"series": series}));
            match events.patch(&told.name, &PatchParams::default(), &patch).await {
                // Somebody removed it: it is told anew.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                outcome => return outcome.map(|_| ()),
            }
        }
        let name = format!("{}.{:x}", about.name.as_deref().unwrap_or(CONTROLLER), now.as_nanosecond());
        events.create(&PostParams::default(), &self.written(about, &key.1, &name, now)).await?;
        self.told.insert(key, Told { name, count: 1, last: now });
        Ok(())
    }

    fn written(&self, about: &ObjectReference, event: &Event, name: &str, now: Timestamp) -> Written {
        Written {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: about.namespace.clone(),
                ..ObjectMeta::default()
            },
            action: Some("Reconcile".into()),
            event_time: Some(MicroTime(now)),
            note: Some(event.note()),
            reason: Some(event.reason().into()),
            regarding: Some(about.clone()),
            reporting_controller: Some(CONTROLLER.into()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(event.type_().into()),
            ..Written::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Api as World;
    use serde_json::Value;

    fn about(uid: &str) -> ObjectReference {
        ObjectReference {
            name: Some("shop".into()),
            namespace: Some("db".into()),
            uid: Some(uid.into()),
            ..ObjectReference::default()
        }
    }

    /// What was written: note, and how often it is said to have occurred.
    fn told(world: &World) -> Vec<(Value, Value)> {
        let events = world.list("events").into_iter();
        events.map(|event| (event["note"].clone(), event["series"]["count"].clone())).collect()
    }

    #[tokio::test]
    async fn what_differs_is_told_each_and_what_is_the_same_is_counted() {
        let world = World::default();
        let mut recorder = Recorder::new(world.client(), "test");
        for note in ["shop-2 is replaced", "shop-1 is replaced", "shop-2 is replaced", "shop-0 is replaced"] {
            recorder.publish(&about("u"), Event::normal("Rolling", note)).await.unwrap();
        }
        let expected = [("shop-2", Some(2)), ("shop-1", None), ("shop-0", None)];
        let expected = expected.map(|(pod, count)| (json!(format!("{pod} is replaced")), json!(count)));
        assert_eq!(told(&world), expected);
    }

    #[tokio::test]
    async fn another_object_and_a_removed_event_are_told_anew() {
        let world = World::default();
        let mut recorder = Recorder::new(world.client(), "test");
        recorder.publish(&about("a"), Event::warning("Failed", "x")).await.unwrap();
        recorder.publish(&about("b"), Event::warning("Failed", "x")).await.unwrap();
        assert_eq!(told(&world).len(), 2);
        for event in world.list("events") {
            let name = event["metadata"]["name"].as_str().unwrap().to_owned();
            world.remove(&format!("/apis/events.k8s.io/v1/namespaces/db/events/{name}"));
        }
        recorder.publish(&about("a"), Event::warning("Failed", "x")).await.unwrap();
        assert_eq!(told(&world).len(), 1);
    }
}
