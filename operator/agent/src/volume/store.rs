//! The volume behind a lock, off the asynchronous threads: a disk may stall, and reports must go on.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Volume, VolumeError};
use crate::report::ReportPublisher;

/// The agent's one [`Volume`]. What changes on it is published before a call returns.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    volume: Arc<Mutex<Volume>>,
    publisher: ReportPublisher,
}

impl Store {
    /// Wraps the volume.
    pub(crate) fn new(volume: Volume, publisher: ReportPublisher) -> Self {
        Store { volume: Arc::new(Mutex::new(volume)), publisher }
    }

    /// Does something with the volume on a thread that may block.
    pub(crate) async fn with<T, F>(&self, work: F) -> Result<T, VolumeError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Volume) -> Result<T, VolumeError> + Send + 'static,
    {
        let (volume, publisher) = (self.volume.clone(), self.publisher.clone());
        let joined = tokio::task::spawn_blocking(move || {
            // After a panic the marker on disk is still whole: it is written by rename.
            let mut volume = volume.lock().unwrap_or_else(PoisonError::into_inner);
            let outcome = work(&mut volume);
            publisher.volume(volume.directory().clone(), volume.highest());
            outcome
        });
        match joined.await {
            Ok(outcome) => outcome,
            Err(error) => Err(VolumeError::Forbidden(format!("the work on the volume was cut off: {error}"))),
        }
    }
}
