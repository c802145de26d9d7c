//! Events, written by one task, so that an event that can't be written holds nobody up.

mod event;
mod recorder;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tracing::warn;

use crate::api::said;
pub(crate) use event::Event;
use recorder::Recorder;

/// Events that may wait to be written; what comes on top is lost.
const WAITING: usize = 256;

/// Where events go.
#[derive(Clone)]
pub(crate) struct Events {
    to: mpsc::Sender<(ObjectReference, Event)>,
    lost: Counter,
}

impl Events {
    /// Starts the task that writes them, as `instance`.
    pub(crate) fn start(client: Client, instance: &str, lost: Counter) -> Self {
        let mut recorder = Recorder::new(client, instance);
        let (to, mut from) = mpsc::channel::<(ObjectReference, Event)>(WAITING);
        let failed = lost.clone();
        tokio::spawn(async move {
            while let Some((about, event)) = from.recv().await {
                if let Err(error) = recorder.publish(&about, event).await {
                    failed.inc();
                    warn!(error = said(&error), "an event was not written");
                }
            }
        });
        Events { to, lost }
    }

    /// Has `event` about an object written some time.
    pub(crate) fn publish(&self, about: &ObjectReference, event: Event) {
        if self.to.try_send((about.clone(), event)).is_err() {
            self.lost.inc();
        }
    }
}
