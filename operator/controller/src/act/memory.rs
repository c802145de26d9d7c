//! What is remembered of one cluster between two times that something is written. All of it can be lost: it saves requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::adopt::Missed;
use super::fixed::RefusedChange;
use super::revisions::LastTemplate;
use super::trial::Trials;
use crate::api::Applied;
use crate::secrets::Checked;

/// See above.
#[derive(Default)]
pub(crate) struct ActMemory {
    /// How the children were when they were last applied.
    pub(crate) applied: Applied,
    /// Whether the API server takes the template.
    pub(crate) trials: Trials,
    /// The template that is held in place of the one that the spec asks for.
    pub(crate) last: LastTemplate,
    /// What the API server refuses to change of the StatefulSet.
    pub(crate) refused_change: RefusedChange,
    /// Which Secrets were looked into.
    pub(crate) checked: Checked,
    /// Pods whose claims were not seen.
    pub(crate) missed: Missed,
    /// Volumes that could not be kept.
    pub(crate) refused: Refused,
}

/// How long a volume that could not be kept is left alone.
const REFUSED: Duration = Duration::from_secs(300);

/// Volumes that the API server did not let be kept, with its words.
#[derive(Debug, Default)]
pub(crate) struct Refused(BTreeMap<String, (String, Instant)>);

impl Refused {
    /// Notes what it said.
    pub(crate) fn note(&mut self, volume: &str, words: String, now: Instant) {
        self.0.insert(volume.to_owned(), (words, now));
    }

    /// What it said of late.
    pub(crate) fn words(&mut self, now: Instant) -> BTreeMap<String, String> {
        self.0.retain(|_, (_, at)| now.duration_since(*at) < REFUSED);
        self.0.iter().map(|(volume, (words, _))| (volume.clone(), words.clone())).collect()
    }
}
