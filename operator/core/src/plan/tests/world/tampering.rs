//! Volumes that are changed behind the operator's back, and what is done to volumes.

use mainstay_crd::LedgerEntry;
use mainstay_crd::names::ANNOTATION_LEDGER;
use mainstay_proto::{Directory, Marker, Term};

use super::{NAME, World, uuid};
use crate::GtidSet;

/// The directory of another cluster, or of another time.
const STRAY: u32 = 77;

/// What can become of a volume while nobody looks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tampering {
    Wiped,
    Empty,
    Foreign,
    RolledBack,
    Partial,
}

impl World {
    /// Changes what is on a volume behind the operator's back, and has its pod made anew. Returns whether it could.
    pub(crate) fn tamper(&mut self, ordinal: u32, how: Tampering) -> bool {
        let Some(noted) = self.ledger(ordinal) else { return false };
        let other = self.id("pv");
        let Some(volume) = self.volumes.get_mut(&ordinal).filter(|volume| volume.original.is_none()) else {
            return false;
        };
        let Some(Directory::Complete { marker }) = volume.directory.clone() else { return false };
        if noted.operation != marker.operation {
            // Nobody has noted yet what it holds.
            return false;
        }
        let original = Some(Box::new(volume.clone()));
        let cluster_id = marker.cluster_id.clone();
        match how {
            Tampering::Wiped => volume.directory = None,
            Tampering::Empty => {
                (volume.directory, volume.pv) = (None, other);
                volume.labels.clear();
            }
            Tampering::Partial => {
                volume.directory =
                    Some(Directory::Partial { operation: "stray".into(), cluster_id, copied: true });
            }
            Tampering::Foreign => {
                let (operation, server_uuid) = ("stray".into(), uuid(STRAY));
                volume.directory =
                    Some(Directory::Complete { marker: Marker { operation, server_uuid, ..marker } });
                volume.pv = other;
            }
            // Below what was noted: what came after that, nobody can miss.
            Tampering::RolledBack => match half(&noted.gtid_executed.parse().unwrap(), self.directories) {
                Some(half) => volume.gtids = half,
                None => return false,
            },
        }
        // As it was in the past, when all was well.
        volume.unjudged = None;
        if !matches!(how, Tampering::RolledBack | Tampering::Foreign) {
            volume.gtids = GtidSet::default();
            volume.highest = Term::default();
        }
        volume.original = original;
        self.pods.remove(&ordinal);
        true
    }

    /// What the ledger has of an instance, or its claim if that was scaled away.
    fn ledger(&self, ordinal: u32) -> Option<LedgerEntry> {
        let name = format!("{NAME}-{ordinal}");
        let known = self.status.instances.iter().find(|i| i.name == name);
        let left = || self.volumes.get(&ordinal)?.annotations.get(ANNOTATION_LEDGER);
        known.and_then(|i| i.ledger.clone()).or_else(|| serde_json::from_str(left()?).ok())
    }

    /// Every volume is again what it was before it was changed, under a new pod.
    pub(crate) fn put_back(&mut self) {
        for (ordinal, volume) in &mut self.volumes {
            if let Some(original) = volume.original.take() {
                *volume = *original;
                self.pods.remove(ordinal);
            }
        }
    }
}

/// Half of the transactions of the first server that committed several.
fn half(set: &GtidSet, directories: u32) -> Option<GtidSet> {
    (0..directories).find_map(|i| {
        let all: GtidSet = format!("{}:1-100000", uuid(i)).parse().unwrap();
        let count = set.count() - set.subtract(&all).count();
        let late: GtidSet = format!("{}:{}-100000", uuid(i), count / 2 + 1).parse().unwrap();
        (count >= 2).then(|| set.subtract(&late))
    })
}
