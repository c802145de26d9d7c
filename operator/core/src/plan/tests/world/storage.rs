//! The world's claims, volumes and nodes, and the steps on them.

use mainstay_crd::RetentionPolicy;
use mainstay_crd::names::{
    ANNOTATION_GTID_SET, ANNOTATION_KEPT_SINCE, ANNOTATION_LEDGER, ANNOTATION_LEFT_POD, ANNOTATION_SNAPSHOT,
};

use super::{NAME, NAMESPACE, Volume, World, node};
use crate::{ClaimStep, GtidSet, Node, ObjectStep, Surroundings, Unneeded, VolumeStep};

impl World {
    /// Each ordinal has a node of its own.
    pub(crate) fn surroundings(&self) -> Surroundings {
        let node = |i: &u32| {
            (
                node(*i),
                Node { cordoned: self.drained.contains(i), ready: Some("True".into()), ..Node::default() },
            )
        };
        let bound = self.volumes.iter().filter(|(i, _)| !self.unbound.contains(i));
        let claims = bound.map(|(i, v)| (format!("data-{NAME}-{i}"), v));
        let released = self
            .released
            .iter()
            .map(|v| (v.reserved.clone().or_else(|| v.was.clone()).unwrap_or("gone".into()), v));
        let aside = self.aside.iter().map(|(name, v)| (name.clone(), v));
        let volumes = claims.chain(released).chain(aside).map(|(claim, v)| {
            let volume = crate::Volume {
                phase: v.was.is_some().then(|| "Released".to_owned()).filter(|_| v.reserved.is_none()),
                name: v.pv.clone(),
                uid: format!("uid-{}", v.pv),
                source: Some("csi".into()),
                handle: Some(v.pv.clone()),
                labels: v.labels.clone(),
                reclaim_policy: if v.kept { Some("Retain".into()) } else { self.reclaim.clone() },
                claim: Some((NAMESPACE.into(), claim)),
                claim_uid: Some(v.claim_uid.clone()).filter(|_| v.reserved.is_none()),
                annotations: v.marks.clone(),
                ..crate::Volume::default()
            };
            (v.pv.clone(), volume)
        });
        if self.blind {
            let unseen = vec!["persistentvolumes".into(), "nodes".into()];
            return Surroundings { unseen, ..Surroundings::default() };
        }
        Surroundings {
            known: true,
            nodes: self.pods.keys().map(node).collect(),
            volumes: volumes.collect(),
            ..Surroundings::default()
        }
    }

    pub(crate) fn do_to_claim(&mut self, uid: &str, step: ClaimStep) {
        if let ClaimStep::Label { ordinal, .. }
        | ClaimStep::Note { ordinal, .. }
        | ClaimStep::Snapshot { ordinal, .. } = step
        {
            let volume = self.volumes.get_mut(&ordinal).unwrap();
            assert_eq!(volume.claim_uid, uid);
            volume.version += 1;
            self.write_on_claim(ordinal, step);
            return;
        }
        match step {
            ClaimStep::Delete { unneeded, resource_version } => match unneeded {
                Unneeded::Unused { ordinal } => self.delete_claim(ordinal, uid, &resource_version.unwrap()),
                Unneeded::WithCluster => {
                    assert!(self.deleting && !self.spec.deletion_protection && self.pods.is_empty());
                    self.volumes.retain(|_, volume| volume.claim_uid != uid);
                    self.acknowledged = GtidSet::default();
                }
                Unneeded::VolumeKept { .. } => {
                    let volume = self.volumes.values_mut().find(|v| v.claim_uid == uid).unwrap();
                    assert!(volume.kept, "I5: the volume would go with its claim");
                    volume.deleting = true;
                    self.release();
                }
            },
            other => panic!("nobody asked for {other:?}"),
        }
    }

    fn write_on_claim(&mut self, ordinal: u32, step: ClaimStep) {
        let volume = self.volumes.get_mut(&ordinal).unwrap();
        match step {
            ClaimStep::Label { cluster_id, .. } => volume.cluster_id = Some(cluster_id),
            ClaimStep::Note { note, .. } => {
                volume.annotations.retain(|key, _| key == ANNOTATION_SNAPSHOT);
                if let Some(note) = note {
                    volume.annotations.insert(ANNOTATION_GTID_SET.into(), note.gtid_set);
                    volume.annotations.insert(ANNOTATION_KEPT_SINCE.into(), note.since.to_string());
                    volume.annotations.insert(ANNOTATION_LEFT_POD.into(), note.pod_uid);
                    let ledger = note.ledger.map(|ledger| serde_json::to_string(&ledger).unwrap());
                    volume.annotations.extend(ledger.map(|ledger| (ANNOTATION_LEDGER.into(), ledger)));
                }
            }
            ClaimStep::Snapshot { snapshot, .. } => {
                self.snapshots.insert(snapshot.clone(), volume.gtids.clone());
                volume.annotations.insert(ANNOTATION_SNAPSHOT.into(), snapshot);
            }
            other => panic!("nothing is written by {other:?}"),
        }
    }

    pub(crate) fn do_to_volume(&mut self, name: &str, step: VolumeStep) {
        let all = self.volumes.values_mut().chain(&mut self.released).chain(self.aside.values_mut());
        let volume = all.into_iter().find(|volume| volume.pv == name).unwrap();
        match step {
            VolumeStep::Mark { labels } => volume.labels.extend(labels),
            VolumeStep::Keep { claim_uid, labels, annotations } => {
                assert_eq!(volume.claim_uid, claim_uid);
                volume.labels.extend(labels);
                volume.kept = true;
                volume.marks.extend(annotations);
            }
            VolumeStep::Reserve { claim, .. } => {
                let released = self.released.iter_mut().find(|volume| volume.pv == name).unwrap();
                released.reserved = Some(claim);
            }
            VolumeStep::ClaimAside { aside, .. } => {
                let at = self.released.iter().position(|volume| volume.pv == name).unwrap();
                let volume = self.released.remove(at);
                assert!(self.aside.insert(aside.claim, volume).is_none());
            }
        }
    }

    pub(crate) fn do_to_object(&mut self, step: ObjectStep) {
        match step {
            ObjectStep::SetFinalizers { finalizers } => self.finalizers = finalizers,
            ObjectStep::DeleteStatefulSet { .. } => {
                assert!(self.deleting && !self.spec.deletion_protection);
                self.replicas = 0;
                self.pods.clear();
            }
        }
    }

    /// A new claim of an ordinal gets the volume that is reserved for it, or a new one.
    pub(crate) fn bound_to_new_claim(&mut self, ordinal: u32) -> Volume {
        let (claim_uid, claim) = (self.id("claim"), format!("data-{NAME}-{ordinal}"));
        let reserved = self.released.iter().position(|v| v.reserved.as_ref() == Some(&claim));
        let Some(at) = reserved else { return Volume { claim_uid, pv: self.id("pv"), ..Volume::default() } };
        let volume = self.released.remove(at);
        Volume { claim_uid, cluster_id: None, reserved: None, was: None, ..volume }
    }

    /// Claims that are being deleted go once no pod uses them.
    pub(crate) fn release(&mut self) {
        let gone = self.volumes.iter().filter(|(i, v)| v.deleting && !self.pods.contains_key(i));
        for ordinal in gone.map(|(&i, _)| i).collect::<Vec<_>>() {
            let volume = self.volumes.remove(&ordinal);
            let stays = |volume: &Volume| volume.kept || self.reclaim.as_deref() != Some("Delete");
            self.released.extend(volume.filter(stays));
        }
    }

    /// I5: only by policy, and never the last copy.
    fn delete_claim(&mut self, ordinal: u32, uid: &str, version: &str) {
        let volume = self.volumes.remove(&ordinal).unwrap();
        assert_eq!((volume.claim_uid.as_str(), volume.version.to_string().as_str()), (uid, version));
        let retention = self.spec.storage.retention.clone().unwrap_or_default().scaled();
        assert_ne!(retention.policy, RetentionPolicy::Retain, "I5: against the policy");
        assert!(ordinal >= u32::try_from(self.spec.replicas).unwrap() && !self.pods.contains_key(&ordinal));
        assert_ne!(self.recorded_primary(), Some(ordinal));
        let another = self.volumes.values().any(|other| other.gtids.contains(&volume.gtids));
        assert!(another, "I5: the last copy of {}", volume.gtids);
        if retention.policy == RetentionPolicy::Snapshot {
            assert!(self.snapshots.values().any(|copy| *copy == volume.gtids));
        }
        self.deleted += 1;
    }
}
